//! The shape of a subject: what stays of it when numbers, times, ids and addresses are taken out, so that the thousandth
//! notice of a storm is known for what the first one was.
//!
//! Rule: two subjects that are taken for different cost a recipient, two that are taken for alike may hide an alarm. So a
//! host's name goes only where it names somebody else: beside its address, behind "from", "by" or "client", or when
//! it is made of an address. Where a monitor speaks (DOWN, CRITICAL, Problem:) what it watches is the news, and addresses
//! stay as well. A number that belongs to a name stays: web1, sda1, eth0.100. Must not know who sends.

use std::net::IpAddr;

/// What stands for a number, a date or a time.
const NUMBER: &str = "<n>";
const ADDRESS: &str = "<address>";
const HOST: &str = "<host>";
const ID: &str = "<id>";
const MAILBOX: &str = "<mailbox>";

/// Words of monitors, as whole words in capitals.
const STATES: [&str; 16] = [
    "DOWN",
    "UP",
    "UNREACHABLE",
    "OK",
    "WARNING",
    "CRITICAL",
    "UNKNOWN",
    "PROBLEM",
    "RECOVERY",
    "FIRING",
    "RESOLVED",
    "ACKNOWLEDGEMENT",
    "FLAPPINGSTART",
    "FLAPPINGSTOP",
    "DOWNTIMESTART",
    "DOWNTIMEEND",
];
/// How monitors begin.
const BEGINNINGS: [&str; 4] = ["Problem:", "Problem ", "Resolved", "Updated problem"];
/// What something is that is watched, behind "is".
const CONDITIONS: [&str; 6] = ["down", "up", "unreachable", "offline", "online", "back"];
/// Names of days and months go with a number beside them.
const DAYS_AND_MONTHS: [&str; 19] = [
    "mon", "tue", "wed", "thu", "fri", "sat", "sun", "jan", "feb", "mar", "apr", "may", "jun",
    "jul", "aug", "sep", "oct", "nov", "dec",
];
/// Behind these words somebody else is named.
const OF_OTHERS: [&str; 4] = ["from", "by", "client", "peer"];
/// Digits behind a dash or a dot of a name that are no part of it: `job-84231`, and not `web-01`.
const ID_DIGITS_MIN: usize = 5;
/// Characters of a hexadecimal id.
const HEXADECIMAL_MIN: usize = 8;
/// Characters of an id in which letters and digits are mixed.
const MIXED_MIN: usize = 12;
/// How often they change in it.
const MIXED_CHANGES_MIN: usize = 4;

/// The shape of a subject as lists show it.
#[must_use]
pub(crate) fn shape(subject: &str) -> String {
    let mut words: Vec<&str> = subject.split_whitespace().collect();
    if subject.ends_with("...") && words.len() > 1 {
        // It was cut, perhaps in the middle of an id.
        words.pop();
    }
    let is_monitor = is_of_a_monitor(subject, &words);
    let keeps_mailboxes = is_monitor || subject.starts_with("Cron <");
    let mut pieces: Vec<String> = Vec::with_capacity(words.len());
    for (place, word) in words.iter().enumerate() {
        let (before, core, behind) = bare(word);
        let previous = place.checked_sub(1).map(|place| words[place]);
        let piece = if is_monitor && begins_with_address(core) {
            core.to_owned()
        } else if is_monitor {
            generic(core)
        } else if core.contains('@') && !keeps_mailboxes {
            MAILBOX.to_owned()
        } else if keeps_mailboxes && core.contains('@') {
            core.to_owned()
        } else if let Some(piece) = peer(core, previous, words.get(place + 1).copied()) {
            piece
        } else {
            generic(core)
        };
        pieces.push(format!("{before}{piece}{behind}"));
    }
    joined(pieces)
}

/// Whether it says how something is that is watched.
fn is_of_a_monitor(subject: &str, words: &[&str]) -> bool {
    let letters = |word: &&str| -> String {
        let inner = word.trim_start_matches(|one: char| !one.is_ascii_alphabetic());
        inner.chars().take_while(char::is_ascii_alphabetic).collect()
    };
    let says_how = |pair: &[&str]| {
        pair[0].eq_ignore_ascii_case("is")
            && CONDITIONS.iter().any(|word| letters(&pair[1]).eq_ignore_ascii_case(word))
    };
    BEGINNINGS.iter().any(|beginning| subject.starts_with(beginning))
        || words.iter().any(|word| STATES.contains(&letters(word).as_str()))
        || words.windows(2).any(says_how)
}

/// A word without the punctuation around it.
fn bare(word: &str) -> (&str, &str, &str) {
    let is_around =
        |one: char| matches!(one, '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | '"' | '\'');
    let start = word.len() - word.trim_start_matches(is_around).len();
    let inner = word[start..].trim_end_matches(|one| is_around(one) || ",.;:!?".contains(one));
    let end = start + inner.len();
    (&word[..start], inner, &word[end..])
}

/// Somebody else: an address, or a host's name that stands for one.
fn peer(core: &str, previous: Option<&str>, next: Option<&str>) -> Option<String> {
    if is_address(core) {
        return Some(ADDRESS.to_owned());
    }
    if let Some((name, address)) = core.split_once(['[', '('])
        && is_address(bare(address).1)
    {
        let name = if is_host(name) { HOST.to_owned() } else { generic(name) };
        return Some(format!("{name}[{ADDRESS}"));
    }
    let is_beside = [previous, next].into_iter().flatten().any(|word| is_address(bare(word).1));
    let is_named = previous.is_some_and(|word| {
        OF_OTHERS.iter().any(|other| word.trim_end_matches(':').eq_ignore_ascii_case(other))
    });
    (is_host(core) && (is_beside || is_named || is_made_of_an_address(core)))
        .then(|| HOST.to_owned())
}

/// An address, perhaps with a port or the length of a network.
fn is_address(word: &str) -> bool {
    let bare = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let is_suffix = |text: &str| !text.is_empty() && text.bytes().all(|one| one.is_ascii_digit());
    bare(word)
        || word.rsplit_once(['/', ':', '#']).is_some_and(|(address, rest)| {
            is_suffix(rest)
                && bare(address)
                && (address.contains('.') || address.contains(']') || word.contains('/'))
        })
}

/// What is watched may be called by its address.
fn begins_with_address(core: &str) -> bool {
    let first = core.split(['/', ':', '[', '(']).next();
    is_address(core) || first.is_some_and(is_address)
}

/// A name with a domain.
fn is_host(word: &str) -> bool {
    let is_label = |label: &str| {
        let mut octets = label.bytes();
        !label.is_empty()
            && octets.all(|one| one.is_ascii_alphanumeric() || matches!(one, b'-' | b'_'))
    };
    word.rsplit_once('.').is_some_and(|(rest, top)| {
        top.len() >= 2
            && top.bytes().all(|one| one.is_ascii_alphabetic())
            && rest.split('.').all(is_label)
    })
}

/// `ec2-198-51-100-7.compute.example`: at least three numbers one behind the other.
fn is_made_of_an_address(host: &str) -> bool {
    let numbers = host.split(['-', '.']);
    let mut row = 0;
    numbers.into_iter().any(|part| {
        let is_number =
            !part.is_empty() && part.len() <= 3 && part.bytes().all(|one| one.is_ascii_digit());
        row = if is_number { row + 1 } else { 0 };
        row == 3
    })
}

/// Any other word: its ids and those numbers that belong to no name go.
fn generic(core: &str) -> String {
    if is_id(&core.replace('-', "")) && core.len() > HEXADECIMAL_MIN {
        return ID.to_owned();
    }
    let (mut shape, mut rest) = (String::with_capacity(core.len()), core);
    // The last letter or digit was a letter, and since then came nothing or a joint.
    let (mut in_name, mut joined) = (false, false);
    while let Some(first) = rest.chars().next() {
        if !first.is_ascii_alphanumeric() {
            (in_name, joined) = match first {
                '-' | '_' | '.' | '/' | '\\' => (in_name, true),
                one => (one.is_alphabetic(), false),
            };
            shape.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let end = rest.find(|one: char| !one.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        rest = behind;
        let digits = run.len() - run.trim_start_matches(|one: char| one.is_ascii_digit()).len();
        if is_id(run) {
            shape.push_str(ID);
            in_name = false;
        } else if digits == 0 || (in_name && (!joined || run.len() < ID_DIGITS_MIN)) {
            // A name, or a number that is part of one.
            shape.push_str(run);
            in_name = true;
        } else {
            let unit = &run[digits..];
            let of_a_time = matches!(unit, "T" | "Z") || unit.starts_with('T');
            if !shape.ends_with(NUMBER) {
                shape.push_str(NUMBER);
            }
            if !of_a_time {
                shape.push_str(unit);
            }
            in_name = false;
            rest = without_continuation(rest);
        }
        joined = false;
    }
    shape
}

/// Without a point, a comma, a colon ... behind a number that another digit follows: it is all one number.
fn without_continuation(rest: &str) -> &str {
    let mut octets = rest.bytes();
    let is_joint = octets.next().is_some_and(|one| b".,:-+/".contains(&one));
    if is_joint && octets.next().is_some_and(|one| one.is_ascii_digit()) {
        &rest[1..]
    } else {
        rest
    }
}

/// An id: hexadecimal, or letters and digits in no order.
fn is_id(run: &str) -> bool {
    let octets = run.as_bytes();
    let has_digit = octets.iter().any(u8::is_ascii_digit);
    let has_letter = octets.iter().any(u8::is_ascii_alphabetic);
    let is_hexadecimal = octets.iter().all(u8::is_ascii_hexdigit);
    if !has_digit || !has_letter || !octets.iter().all(u8::is_ascii_alphanumeric) {
        return false;
    }
    let changes = octets.windows(2);
    let changes =
        changes.filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
    (is_hexadecimal && octets.len() >= HEXADECIMAL_MIN)
        || (octets.len() >= MIXED_MIN && changes >= MIXED_CHANGES_MIN)
}

/// The pieces in one line: days and months go into the number beside them, and a list of the same is one.
fn joined(pieces: Vec<String>) -> String {
    let is_number = |piece: &String| piece.trim_matches(|one| "()[],.:".contains(one)) == NUMBER;
    let is_named_day = |piece: &String| {
        let letters: String = piece.trim_end_matches([',', '.']).to_ascii_lowercase();
        let is_short = letters.get(..3).is_some_and(|three| DAYS_AND_MONTHS.contains(&three));
        is_short && letters.bytes().all(|one| one.is_ascii_lowercase()) && letters.len() <= 9
    };
    let numbers: Vec<bool> = pieces.iter().map(is_number).collect();
    let beside = |place: usize| {
        let near = place.saturating_sub(2)..=(place + 2).min(numbers.len() - 1);
        numbers[near].iter().any(|is_number| *is_number)
    };
    let mut line: Vec<String> = Vec::with_capacity(pieces.len());
    for (place, piece) in pieces.iter().enumerate() {
        let piece =
            if is_named_day(piece) && beside(place) { NUMBER.to_owned() } else { piece.clone() };
        let of_a_list = line.last().is_some_and(|last| {
            let last = last.trim_end_matches(',');
            last == piece.trim_end_matches(',') && last.starts_with('<') && last.ends_with('>')
        });
        if of_a_list {
            line.pop();
        }
        line.push(piece);
    }
    line.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_of_real_programs_have_these_shapes() {
        for (subject, expected) in [
            (
                "[Fail2Ban] sshd: banned 192.0.2.7 from mail.example.org",
                "[Fail2Ban] sshd: banned <address> from <host>",
            ),
            (
                "[Fail2Ban] sshd: banned 2001:db8::7 from nas",
                "[Fail2Ban] sshd: banned <address> from nas",
            ),
            (
                "[Fail2Ban] sshd: started on web1.example.org",
                "[Fail2Ban] sshd: started on web1.example.org",
            ),
            (
                "Cron <root@web1> /usr/local/bin/backup --quick",
                "Cron <root@web1> /usr/local/bin/backup --quick",
            ),
            ("DegradedArray event on /dev/md0:nas1", "DegradedArray event on /dev/md0:nas1"),
            (
                "Fail event on /dev/md/0:nas1.example.org",
                "Fail event on /dev/md/0:nas1.example.org",
            ),
            (
                "SMART error (CurrentPendingSector) detected on host: nas1",
                "SMART error (CurrentPendingSector) detected on host: nas1",
            ),
            (
                "** PROBLEM Service Alert: web1/Disk is CRITICAL **",
                "** PROBLEM Service Alert: web1/Disk is CRITICAL **",
            ),
            (
                "** RECOVERY Host Alert: 10.0.0.5 is UP **",
                "** RECOVERY Host Alert: 10.0.0.5 is UP **",
            ),
            (
                "[PROBLEM] disk on web1.example.org is CRITICAL!",
                "[PROBLEM] disk on web1.example.org is CRITICAL!",
            ),
            (
                "Problem: High CPU utilization (over 90% for 5m)",
                "Problem: High CPU utilization (over <n>% for <n>m)",
            ),
            (
                "Resolved in 5m 3s: Low disk space on web2",
                "Resolved in <n>m <n>s: Low disk space on web2",
            ),
            (
                "vzdump backup status (pve1.example.com): backup failed",
                "vzdump backup status (pve1.example.com): backup failed",
            ),
            ("Replication Job: '100-0' failed", "Replication Job: '<n>' failed"),
            ("Logwatch for nas1 (Linux)", "Logwatch for nas1 (Linux)"),
            ("web1 2026-11-28 12:02 System Events", "web1 <n> System Events"),
            ("Backup of Sat, 28 Nov 2026 12:30:05 done", "Backup of <n> done"),
            ("finished at 2026-11-28T12:30:05Z", "finished at <n>"),
        ] {
            assert_eq!(shape(subject), expected, "{subject}");
        }
    }

    #[test]
    fn what_differs_only_in_numbers_ids_times_and_addresses_of_others_is_alike() {
        for (one, other) in [
            (
                "[Fail2Ban] sshd: banned 192.0.2.7 from nas",
                "[Fail2Ban] sshd: banned 2001:db8::9 from nas",
            ),
            ("3 failed logins from 192.0.2.7", "512 failed logins from 203.0.113.5"),
            ("login from dsl-192-0-2-7.isp.example", "login from dsl-203-0-113-5.isp.example"),
            ("scan by a.example.net[192.0.2.7]", "scan by b.example.com[203.0.113.5]"),
            ("scan by unknown[192.0.2.7]", "scan by unknown[203.0.113.5]"),
            ("bounce for alice@example.org", "bounce for bob@example.net"),
            ("job-84231 failed", "job-84232 failed"),
            ("order #17: 3,5 kg", "order #18: 12,25 kg"),
            ("commit 9fceb02d0a failed", "commit 1b2c3d4e5f failed"),
            (
                "request 550e8400-e29b-41d4-a716-446655440000",
                "request 6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            ),
            ("sshd[812]: error", "sshd[4711]: error"),
            ("backup of Mon 01 Dec 2025 12:30", "backup of Sat 28 Nov 2026 00:01"),
            ("Problem: CPU at 91%", "Problem: CPU at 100%"),
        ] {
            assert_eq!(shape(one), shape(other));
        }
    }

    #[test]
    fn what_is_news_is_not_alike() {
        for (one, other) in [
            ("host1 is DOWN", "host2 is DOWN"),
            ("host1 is DOWN", "host1 is UP"),
            ("web1.example.org is down", "web2.example.org is down"),
            ("10.0.0.5 is down", "10.0.0.6 is down"),
            (
                "** PROBLEM Service Alert: 10.0.0.5/HTTP is CRITICAL **",
                "** PROBLEM Service Alert: 10.0.0.6/HTTP is CRITICAL **",
            ),
            (
                "Problem: low disk space on web1.example.org",
                "Problem: low disk space on web2.example.org",
            ),
            ("Problem: low disk space on web1", "Resolved: low disk space on web1"),
            ("[FIRING:1] InstanceDown db1:9100", "[FIRING:1] InstanceDown db2:9100"),
            ("DegradedArray event on /dev/md0:nas1", "DegradedArray event on /dev/md1:nas1"),
            ("SMART error detected on /dev/sda", "SMART error detected on /dev/sdb"),
            (
                "SMART error detected on host: nas1.example.org",
                "SMART error detected on host: nas2.example.org",
            ),
            ("link eth0.100 is lost", "link eth0.200 is lost"),
            ("node-01 needs a reboot", "node-02 needs a reboot"),
            ("Cron <root@web1> backup", "Cron <root@web2> backup"),
            ("[Fail2Ban] sshd: banned 192.0.2.7", "[Fail2Ban] postfix: banned 192.0.2.7"),
        ] {
            assert_ne!(shape(one), shape(other));
        }
    }

    #[test]
    fn a_list_of_addresses_is_as_one_and_a_subject_that_was_cut_loses_its_last_word() {
        assert_eq!(shape("banned 192.0.2.7, 192.0.2.8, 192.0.2.9"), "banned <address>");
        assert_eq!(
            shape("banned 192.0.2.7 for trying rhost=192.0..."),
            shape("banned 192.0.2.9 for trying rhost=...")
        );
        assert_eq!((shape(""), shape("...")), (String::new(), "...".to_owned()));
    }

    #[test]
    fn no_subject_makes_it_panic_or_long() {
        let mut random = fastrand::Rng::with_seed(7);
        let alphabet: Vec<char> = "a1bF.:-/_@[]()<>,T Z9 0\u{e9}\u{1f534}#=%".chars().collect();
        for _ in 0..20_000 {
            let length = random.usize(0..60);
            let subject: String =
                (0..length).map(|_| alphabet[random.usize(..alphabet.len())]).collect();
            let found = shape(&subject);
            assert!(found.len() <= subject.len() * 9 + 9, "{subject} {found}");
            assert_eq!(found, shape(&subject));
        }
    }
}
