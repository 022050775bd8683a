//! A night on which a program goes wild: the real daemon, thousands of notices of one kind, and one alarm among them.

use std::{collections::BTreeSet, path::Path, time::Duration};

use pillarbox::{
    clock::{Clock as _, SystemClock},
    sandbox::Accepted,
};
use serde_json::Value;

use crate::support::{
    client::Client,
    daemon::{Daemon, Home, within},
    gmail::Gmail,
    playground::Playground,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Ban notices of one reboot; a user of fail2ban has counted 5,000, and with `PILLARBOX_TEST_NOTICES=5000` it is so many.
const NOTICES: usize = 600;
/// Connections by which they come.
const CONNECTIONS: usize = 4;
/// The alarm is expected within that.
const ALARM_WITHIN: Duration = Duration::from_secs(10);
const ADMIN: &str = "admin@example.org";
/// A day of which 20 recipients are left, and a pace that is no brake.
const SECTIONS: &str = "[budget]\nrecipients_per_day = 45\nowner_reserve = 25\npace_per_minute = 0\n\
                        [identity]\nadmin = \"admin@example.org\"\n[notices]\nto = \"nobody\"\n";

fn say(home: &Home, arguments: &[&str]) -> String {
    let output = home.output(arguments);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}{:?}", output.stderr.escape_ascii());
    said
}

fn json(home: &Home, arguments: &[&str]) -> Value {
    let said = say(home, &[arguments, &["--json"]].concat());
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
}

/// The notice of one ban; no two are the same.
fn ban(number: usize) -> String {
    let (high, low) = (number / 250, number % 250 + 1);
    format!(
        "From: Fail2Ban <root@nas>\nTo: {ADMIN}\n\
         Subject: [Fail2Ban] sshd: banned 198.51.{high}.{low} from nas\n\nBan {number}.\n"
    )
}

/// Hands in the notices with these numbers, over several connections.
fn hand_in(daemon: &Daemon, numbers: std::ops::Range<usize>) {
    std::thread::scope(|scope| {
        for first in 0..CONNECTIONS {
            let numbers = numbers.clone().skip(first).step_by(CONNECTIONS);
            scope.spawn(move || {
                let mut client = Client::hello(daemon.smtp);
                for number in numbers {
                    let reply = client.mail("root@nas.example.org", &[ADMIN], &ban(number));
                    assert!(reply.starts_with("250"), "{reply}");
                }
            });
        }
    });
}

fn subject(arrived: &Accepted) -> String {
    let text = String::from_utf8_lossy(&arrived.body);
    let field = text.lines().find_map(|line| line.strip_prefix("Subject: "));
    field.unwrap_or_default().to_owned()
}

fn bans(gmail: &Gmail) -> usize {
    gmail.accepted().iter().filter(|one| subject(one).starts_with("[Fail2Ban]")).count()
}

/// How many messages a list has that fit a search.
fn found(home: &Home, list: &str, words: &[&str]) -> u64 {
    let arguments = [&[list, "list", "--count-by", "state"][..], words].concat();
    let counted = json(home, &arguments);
    counted["messages"].as_u64().unwrap_or_else(|| panic!("{counted}"))
}

#[test]
fn of_many_ban_notices_five_are_spent_the_alarm_among_them_leaves_at_once_and_all_are_kept() {
    let asked = std::env::var("PILLARBOX_TEST_NOTICES").ok();
    let notices = asked.map_or(NOTICES, |number| number.parse().expect("a number"));
    let gmail = Gmail::start();
    let home = Home::with_sections(&gmail.upstream(), SECTIONS);
    let daemon = home.start();
    let begun = SystemClock::new().wall();
    hand_in(&daemon, 0..notices / 2);
    let alarm = "From: mdadm <root@nas>\nTo: admin@example.org\n\
                 Subject: DegradedArray event on /dev/md0:nas\n\nA disk has failed.\n";
    let mut client = Client::hello(daemon.smtp);
    assert!(client.mail("root@nas.example.org", &[ADMIN], alarm).starts_with("250"));
    let raised = SystemClock::new().wall();
    let has_arrived =
        || gmail.accepted().iter().any(|one| subject(one).starts_with("DegradedArray"));
    assert!(within(ALARM_WITHIN, has_arrived), "{}", home.log());
    let alarm_took = SystemClock::new().wall().since(raised);
    hand_in(&daemon, notices / 2..notices);
    assert!(within(PATIENCE, || found(&home, "queue", &["-state:folded"]) == 0), "{}", home.log());
    assert_eq!((bans(&gmail), gmail.recipients()), (5, 6), "five notices and the alarm");
    assert_eq!(json(&home, &["budget"])["spent"], 6);
    let folded = found(&home, "queue", &["state:folded"]);
    let report = json(&home, &["budget", "report", "--days", "1"]);
    assert_eq!(
        (&report["all"]["recipients"], &report["all"]["folded"]),
        (&6.into(), &folded.into())
    );
    assert_eq!(report["origins"][0]["by"], "127.0.0.1, from <root@nas.example.org>");
    assert_eq!(folded, u64::try_from(notices - 5).unwrap());
    // Every one of them can be found: the last and one in the middle by what is in its subject.
    for number in [notices * 2 / 3, notices - 1] {
        let ban = ban(number);
        let address = ban.split("banned ").nth(1).unwrap().split(' ').next().unwrap();
        let search = format!("subject:{address}");
        assert_eq!(found(&home, "queue", &[search.as_str()]), 1, "{search}");
    }
    let storms = json(&home, &["storm", "list"]);
    assert_eq!(
        (&storms["storms"][0]["messages"], &storms["storms"][0]["untold"]),
        (&folded.into(), &folded.into())
    );
    println!(
        "{notices} notices in {:?}: 5 relayed, {folded} folded; the alarm was relayed after {alarm_took:?}",
        SystemClock::new().wall().since(begun)
    );
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn a_storm_is_listed_shown_and_released() {
    let gmail = Gmail::start();
    let home = Home::with_sections(&gmail.upstream(), SECTIONS);
    let daemon = home.start();
    assert_eq!(say(&home, &["storm", "list"]), "Nothing is folded.\n");
    let mut client = Client::hello(daemon.smtp);
    for number in 0..9 {
        assert!(client.mail("root@nas.example.org", &[ADMIN], &ban(number)).starts_with("250"));
    }
    assert!(within(PATIENCE, || bans(&gmail) == 5), "{}", home.log());
    let storms = json(&home, &["storm", "list"]);
    let id = storms["storms"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(storms["storms"][0]["messages"], 4);
    let listed = say(&home, &["storm", "list"]);
    assert!(listed.contains(&id) && listed.contains("[Fail2Ban] sshd: banned"), "{listed}");
    let shown = say(&home, &["storm", "show", &id]);
    for number in 5..9 {
        let address = format!("198.51.0.{}", number + 1);
        assert!(shown.contains(&address), "{address}: {shown}");
    }
    let would = say(&home, &["storm", "release", &id, "--dry-run"]);
    assert!(would.contains('4'), "{would}");
    assert_eq!(found(&home, "queue", &["state:folded"]), 4, "nothing was done");
    let asked = home.output(["storm", "release", &id]);
    let words = String::from_utf8(asked.stderr).unwrap();
    assert_eq!(asked.status.code(), Some(64), "{words}");
    assert!(
        words.contains("each recipient counts for the budget; add --yes if you mean it"),
        "{words}"
    );
    assert_eq!(
        found(&home, "queue", &["state:folded"]),
        4,
        "nobody could answer, and nothing was done"
    );
    say(&home, &["storm", "release", &id, "--yes"]);
    assert!(within(PATIENCE, || bans(&gmail) == 9), "{}", home.log());
    assert_eq!(say(&home, &["storm", "list"]), "Nothing is folded.\n");
    let unknown = home.output(["storm", "show", "06h277d0ar000000dhjx51ywym"]);
    assert!(!unknown.status.success());
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn a_daemon_that_is_killed_in_a_storm_again_and_again_loses_nothing_and_goes_on_folding() {
    let gmail = Gmail::start();
    let home = Home::with_sections(&gmail.upstream(), SECTIONS);
    let mut acknowledged = BTreeSet::new();
    for round in 0..5 {
        let daemon = home.start();
        let mut client = Client::hello(daemon.smtp);
        for number in round * 40..(round + 1) * 40 {
            if client.mail("root@nas.example.org", &[ADMIN], &ban(number)).starts_with("250") {
                acknowledged.insert(number);
            }
        }
        daemon.kill();
    }
    let daemon = home.start();
    assert!(within(PATIENCE, || found(&home, "queue", &["-state:folded"]) == 0), "{}", home.log());
    let folded = found(&home, "queue", &["state:folded"]);
    let (left, acknowledged) = (bans(&gmail) as u64, acknowledged.len() as u64);
    assert!(folded + left >= acknowledged, "{folded} folded and {left} relayed of {acknowledged}");
    assert!(left <= 5 * 6, "a new process lets five leave at most: {left}");
    assert!(Path::new(home.state()).exists() && daemon.terminate(PATIENCE).success());
}

#[test]
fn the_sandbox_folds_mail_to_its_account_as_a_relay_with_a_real_one_does() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = Playground::start(directory.path(), &[]);
    for _ in 0..7 {
        sandbox.send("you@gmail.com");
    }
    let storms = Playground::ask(directory.path(), "storm list");
    assert_eq!(storms["storms"][0]["messages"], 2, "{storms}");
    sandbox.stop();
}
