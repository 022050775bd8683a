//! The meaning of searches, the form in which they are written back, and what is said of one that cannot be understood.

use std::time::Duration;

use super::*;
use crate::{
    message::envelope::{Envelope, Lane, LocalUser, Origin},
    queue::{
        QueuedMessage,
        ending::{End, Ending},
        fixtures::envelope,
        state::RecipientState,
    },
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

/// A message of a printer, three hours old, with a recipient who waits and one who is dead.
fn printer() -> QueuedMessage {
    let envelope = Envelope {
        reverse_path: "Scanner@LAN.example".parse().ok(),
        forward_paths: ["boss@example.net", "gone@example.org"]
            .map(|path| path.parse().unwrap())
            .into(),
        lane: Lane::Bulk,
        origin: Origin {
            address: [192, 0, 2, 7].into(),
            login: Some("printer".into()),
            ..envelope(NOW).origin
        },
        ..envelope(NOW.before(3 * HOUR))
    };
    let mut record = MessageRecord::new(&envelope, 2_000_000, "B\u{fc}ro: toner \"low\"");
    record.recipients[0].last_reply = Some("451 4.3.0 Try again".into());
    record.recipients[1].state =
        RecipientState::Dead { since: NOW, reason: "550 5.1.1 no such user".into() };
    QueuedMessage { id: "06hhgq2g000000005jfavybr78".parse().unwrap(), record }
}

/// A notice of this relay, and a message of a program of this host.
fn own() -> [QueuedMessage; 2] {
    let origin =
        |address: [u8; 4], local| Origin { address: address.into(), local, ..envelope(NOW).origin };
    let alice = LocalUser { uid: 1_000, name: Some("alice".into()), claimed: false };
    [origin([0; 4], None), origin([127, 0, 0, 1], Some(alice))].map(|origin| {
        let record = MessageRecord::new(&Envelope { origin, ..envelope(NOW) }, 900, "");
        QueuedMessage { id: QueueId::from_bytes([7; 16]), record }
    })
}

fn holds(search: &str, message: &QueuedMessage) -> bool {
    let read: Search = search.parse().unwrap_or_else(|error| panic!("{error}"));
    let again: Search = read.to_string().parse().unwrap_or_else(|error| panic!("{read}: {error}"));
    assert_eq!(again, read, "{search} is written as {read}");
    read.matches(message.id, &message.record, NOW)
}

#[test]
fn every_word_of_a_search_must_hold() {
    let message = printer();
    for search in [
        "",
        "  ",
        "toner",
        "TONER",
        "b\u{dc}RO",
        "scanner",
        "boss@example.net",
        "192.0.2.",
        "06HHGQ",
        "printer",
        "from:scanner@lan",
        "FROM:scanner",
        "to:gone",
        "to:boss to:gone",
        "subject:toner",
        "subject:\"toner \\\"low\"",
        "id:06hhgq2g",
        "client:192.0.2.7",
        "client:[192.0.2.7]",
        "client:192.0.2.0/24",
        "client:192.0.2.9/24",
        "client:::ffff:192.0.2.7",
        "user:print",
        "lane:bulk",
        "lane:BULK",
        "state:dead",
        "state:queued",
        "reply:\"no such\"",
        "reply:4.3.0",
        "age>2h",
        "age<1d",
        "age>\"2h 30min\"",
        "older:2h",
        "newer:1d",
        "-older:1d",
        "larger:1MB",
        "smaller:2MiB",
        "-ended:relayed",
        "size>1MB",
        "size<2MiB",
        "-from:other",
        "-nothing",
        "toner -state:held",
        "\"toner\"",
    ] {
        assert!(holds(search, &message), "{search}");
    }
}

#[test]
fn a_message_is_not_found_when_one_word_does_not_hold() {
    let message = printer();
    for search in [
        "paper",
        "from:boss",
        "to:scanner",
        "subject:paper",
        "id:toner",
        "client:192.0.2.8",
        "client:198.51.100.0/24",
        "client:local",
        "client:2001:db8::/32",
        "user:boss",
        "lane:urgent",
        "state:held",
        "reply:250",
        "age>3h",
        "age<3h",
        "older:3h",
        "newer:3h",
        "larger:2000000",
        "smaller:2MB",
        "ended:relayed",
        "size>2000000",
        "size<2MB",
        "-toner",
        "-state:dead",
        "toner paper",
        "from:<>",
        "hhgq2g",
    ] {
        assert!(!holds(search, &message), "{search}");
    }
}

#[test]
fn mail_of_this_host_is_found_by_whose_it_is() {
    let [notice, local] = own();
    for (search, of_notice, of_local) in [
        ("from:<>", true, true),
        ("client:relay", true, false),
        ("client:local", false, true),
        ("client:LOCAL", false, true),
        ("client:127.0.0.1", false, false),
        ("client:0.0.0.0/0", false, false),
        ("user:alice", false, true),
        ("-user:alice", true, false),
        ("age<1s", true, true),
    ] {
        assert_eq!(
            (holds(search, &notice), holds(search, &local)),
            (of_notice, of_local),
            "{search}"
        );
    }
}

#[test]
fn mail_is_found_by_the_whole_name_of_the_rule_that_struck() {
    let QueuedMessage { id, mut record } = printer();
    assert!(!holds("rule:raid", &QueuedMessage { id, record: record.clone() }));
    record.rule = Some("raid".into());
    let message = QueuedMessage { id, record };
    assert!(holds("rule:RAID", &message) && holds("-rule:rai", &message));
}

#[test]
fn what_has_left_the_queue_is_found_by_how_it_ended() {
    let QueuedMessage { id, mut record } = printer();
    let endings =
        [Ending::Relayed, Ending::Deleted, Ending::Expired, Ending::Redirected(id), Ending::Folded]
            .map(|how| {
                record.end = Some(End { at: NOW, how, by: None });
                holds_only("ended:", &Ending::NAMES, &QueuedMessage { id, record: record.clone() })
            });
    assert_eq!(endings, Ending::NAMES);
}

/// The one of these words behind a key that holds of the message.
fn holds_only<'a>(key: &str, words: &[&'a str], message: &QueuedMessage) -> &'a str {
    let found: Vec<&str> =
        words.iter().copied().filter(|word| holds(&format!("{key}{word}"), message)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

#[test]
fn a_shell_completes_every_key_and_every_choice() {
    let lanes = Lane::ALL.map(Lane::name);
    let choices = [
        ("lane:", lanes.as_slice()),
        ("state:", &reading::STATES),
        ("ended:", &Ending::NAMES),
        ("client:", &["local", "relay"]),
    ];
    let words = |(key, names): (&str, &[&str])| {
        names.iter().map(|name| format!("{key}{name}")).collect::<Vec<_>>()
    };
    let mut expected: Vec<String> = choices.into_iter().flat_map(words).collect();
    assert!(expected.iter().all(|word| word.parse::<Search>().is_ok()), "{expected:?}");
    let is_open = |key: &&str| key.ends_with(':') && !["lane:", "state:", "ended:"].contains(key);
    expected.extend(term::KEYS.into_iter().filter(is_open).map(str::to_owned));
    expected.sort();
    let mut offered = BEGINNINGS.to_vec();
    offered.sort_unstable();
    assert_eq!(offered, expected);
}

#[test]
fn a_search_is_written_in_the_form_that_is_read_back() {
    for (search, written) in [
        ("  from:A   -B ", "from:a -b"),
        ("rule:No-Backups", "rule:no-backups"),
        ("age>120min", "older:2h"),
        ("age>14d size<1kB", "older:2w smaller:1000"),
        ("age<90s -newer:1d", "newer:90s -newer:1d"),
        ("OLDER:\"1h 30min\" larger:2MB", "older:90min larger:2000000"),
        ("Ended:Relayed", "ended:relayed"),
        ("client:192.0.2.9/24", "client:192.0.2.0/24"),
        ("client:::ffff:192.0.2.7", "client:192.0.2.7"),
        ("\"two words\" subject:\"a b\"", "\"two words\" subject:\"a b\""),
        ("\"-x\" \"from:a\" from:\"<>\" to:-x", "\"-x\" \"from:a\" from:\"<>\" to:-x"),
        ("::1 12:30 a@b", "\"::1\" \"12:30\" a@b"),
        ("\"a\\\\\\\"b\" a\\b", "\"a\\\\\\\"b\" a\\b"),
    ] {
        let read: Search = search.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.to_string(), written);
        assert_eq!(written.parse::<Search>().as_ref(), Ok(&read));
    }
}

#[test]
fn a_mistake_is_shown_at_its_place_with_what_was_probably_meant() {
    for (search, marks, words) in [
        ("toner form:alice", "      ^^^^", "\"form\" is not a key: did you mean \"from:\"?"),
        ("-subjet:a", " ^^^^^^", "did you mean \"subject:\"?"),
        ("body:a", "^^^^", "the keys are from: to: subject:"),
        ("Re: toner", "^^^", "nothing follows Re:"),
        ("Re:toner", "^^", "stands in quotes: '\"Re:toner\"'"),
        ("state:ded", "      ^^^", "\"ded\" is not a state: did you mean \"dead\"?"),
        (
            "state:waiting",
            "      ^^^^^^^",
            "it is one of queued, scheduled, folded, uncertain, reserved, relayed, held, dead",
        ),
        ("lane:norml", "     ^^^^^", "did you mean \"normal\"?"),
        ("age>2x", "    ^^", "such as 90s, 30min, 2h, 5d or 1w"),
        ("age>5", "    ^", "is not a time"),
        ("age:2h", "^^^", "age is compared, such as age>2h"),
        ("size:1MB", "^^^^", "which is larger:1MB, or smaller:10k"),
        ("size>many", "     ^^^^", "is not a size"),
        ("older:yesterday", "      ^^^^^^^^^", "such as 90s, 30min, 2h, 5d or 1w"),
        ("-smaller:tiny", "         ^^^^", "is not a size"),
        ("older>2h", "^^^^^", "only age and size are compared; write older:2h"),
        ("odler:2h", "^^^^^", "did you mean \"older:\"?"),
        ("ended:relaid", "      ^^^^^^", "\"relaid\" is not an end: did you mean \"relayed\"?"),
        ("ended:yesterday", "      ^^^^^^^^^", "one of relayed, deleted, expired, redirected"),
        ("ended:refused", "      ^^^^^^^", "what was refused for good is state:dead"),
        ("to>a", "^^", "only age and size are compared; write to:a"),
        ("client:printer", "       ^^^^^^^", "is not an address or a network"),
        ("from:", "^^^^^", "nothing follows from:"),
        ("a -", "  ^", "nothing follows the -"),
        ("\"\"", "^^", "there is nothing between the quotes"),
        ("a subject:\"b c", "  ^^^^^^^^^^^^", "the quote is not closed"),
        ("\"a\"b", "^^^^", "a blank is missing behind the quote"),
    ] {
        let error = search.parse::<Search>().expect_err(search).to_string();
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines[1..], [format!("  {search}"), format!("  {marks}")], "{error}");
        assert!(lines[0].contains(words), "{error}");
    }
    let error = "age>\u{1b}[2J".parse::<Search>().expect_err("no time").to_string();
    assert!(
        !error.contains('\u{1b}') && error.ends_with(&"^".repeat("\\u{1b}[2J".len())),
        "{error}"
    );
}

#[test]
fn a_search_is_bounded_before_it_is_read() {
    for (search, words) in [
        ("a".repeat(reading::LENGTH_MAX + 1), "more than 1000 octets"),
        ("a ".repeat(reading::TERMS_MAX + 1), "more than 32 words"),
    ] {
        let error = search.parse::<Search>().expect_err("too long").to_string();
        assert!(error.ends_with(words), "{error}");
    }
    assert!("a ".repeat(reading::TERMS_MAX).parse::<Search>().is_ok());
}

#[test]
fn a_word_that_can_be_said_of_no_message_of_a_place_is_shown_with_the_command_that_has_them() {
    for words in ["", "from:a -state:dead", "state:relayed older:2h", "reply:450 lane:bulk"] {
        for place in [Place::Queue, Place::History] {
            assert!(Search::read(words, place).is_ok(), "{words} {place:?}");
        }
    }
    for (words, place, other) in [
        ("ended:expired", Place::Queue, Place::History),
        ("to:boss -ended:deleted", Place::Queue, Place::History),
        ("state:queued", Place::History, Place::Queue),
        ("state:scheduled", Place::History, Place::Queue),
        ("state:uncertain", Place::History, Place::Queue),
        ("state:reserved", Place::History, Place::Queue),
        ("-state:held", Place::History, Place::Queue),
    ] {
        assert!(Search::read(words, other).is_ok(), "{words}");
        assert!(Search::read(words, place).is_err(), "{words}");
    }
    let error = Search::read("to:boss  ended:deleted newer:1w", Place::Queue).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the search cannot be understood: what is in the queue has not ended; ask for what has left it: pillarbox \
         history list ended:deleted\n  to:boss ended:deleted newer:1w\n          ^^^^^^^^^^^^^"
    );
    let error = Search::read("state:held", Place::History).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the search cannot be understood: what has left the queue is relayed or dead or folded; ask for what is in it: \
         pillarbox queue list state:held\n  state:held\n  ^^^^^^^^^^"
    );
}
