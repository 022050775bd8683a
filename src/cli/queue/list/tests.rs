//! Lists as people see them, at 80 and at 120 columns, and off a terminal.
//!
//! `BLESS=1` writes the golden files anew.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::*;

/// In the middle of a day, wherever the test runs: no time of the list is of another one.
const NOW: Timestamp = Timestamp(1_800_014_400_000);

/// A message in the words of the API, so many minutes old.
fn message(minutes: i64, subject: &str, departure: Value, recipients: &[Value]) -> Message {
    let document = json!({
        "id": "06hhgq2g000000005jfavybr78", "accepted_at": NOW.0 - minutes * 60_000,
        "from": "scanner@office.example.org", "size_bytes": 1_990_000, "lane": "normal", "eight_bit": false,
        "internationalized": false, "subject": subject, "client": "192.0.2.7", "user": null,
        "departure": departure, "recipients": recipients,
    });
    serde_json::from_value(document).expect("a message of the API")
}

fn recipient(address: &str, state: &str, attempts: u32, reason: Option<&str>) -> Value {
    let waits = matches!(state, "queued" | "uncertain");
    json!({
        "address": address, "state": state, "since": null, "next_attempt": waits.then_some(NOW.0),
        "reason": reason, "attempts": attempts, "last_reply": null,
    })
}

fn departure(because: &str, minutes: Option<i64>, account: Option<&str>) -> Value {
    let at = minutes.map(|minutes| NOW.0 + minutes * 60_000);
    json!({"at": at, "because": because, "why": "so it is", "account": account})
}

/// One message for every reason.
fn messages() -> Vec<Message> {
    let boss = |attempts| [recipient("boss@example.net", "queued", attempts, None)];
    let two = [
        recipient("boss@example.net", "queued", 3, None),
        recipient("gone@example.net", "dead", 1, Some("550 5.1.1 no such user")),
    ];
    let dead =
        [recipient("gone@example.net", "dead", 1, Some("550 5.1.1 no such user \u{1b}[2J."))];
    let held =
        [recipient("boss@example.net", "held", 2, Some("no answer came to the final dot twice"))];
    let unsure = [recipient("boss@example.net", "uncertain", 0, None)];
    let long = "A subject that is much longer than what fits into a line of a terminal of eighty columns, and goes on";
    let mut urgent = message(1, "UPS on battery", departure("now", Some(0), None), &boss(0));
    urgent.lane = "urgent".into();
    urgent.from = None;
    // Of a relay with several accounts.
    let of_second = |because, minutes, account| {
        let mut departure = departure(because, minutes, account);
        departure["account_name"] = json!("second");
        message(4, "Scan", departure, &boss(0))
    };
    vec![
        message(3, "toner low", departure("budget", Some(32), None), &boss(0)),
        message(95, long, departure("due", Some(10), None), &two),
        message(3_000, "", departure("account", None, Some("paused-credentials")), &boss(0)),
        message(
            4,
            "B\u{fc}ro: \u{4e2d}\u{6587}",
            departure("account", Some(45), Some("backing-off")),
            &boss(1),
        ),
        message(4, "\u{1b}[2J\u{202e}evil", Value::Null, &dead),
        message(4, "Scan", departure("held", None, None), &held),
        message(4, "Scan", departure("due", Some(2), None), &unsure),
        message(4, "Scan", departure("turn", Some(0), None), &boss(0)),
        message(4, "Scan", departure("probe", Some(0), None), &boss(0)),
        message(4, "Scan", departure("pace", Some(1), None), &boss(0)),
        message(4, "Scan", departure("logins", Some(20), None), &boss(0)),
        message(4, "Scan", departure("budget", None, None), &boss(0)),
        message(4, "Scan", departure("store", None, None), &boss(0)),
        message(4, "Scan", departure("stopping", None, None), &boss(0)),
        message(4, "Scan", departure("in-flight", Some(0), None), &boss(0)),
        urgent,
        of_second("account", Some(45), Some("paused-credentials")),
        of_second("budget", Some(32), None),
    ]
}

/// Every time of day as it would be in UTC: what is compared does not depend on the zone of the machine.
fn printed(width: Option<usize>) -> String {
    let mut listing = Listing::new(Form::Text, width);
    let mut out = Vec::new();
    listing.page(&mut out, &messages(), NOW).expect("written");
    let mut text = String::from_utf8(out).expect("text");
    for minutes in [0, 1, 2, 10, 20, 32, 45] {
        let at = NOW.after(std::time::Duration::from_secs(minutes * 60));
        text = text.replace(&screen::local(at, NOW), &format!("12:{minutes:02}"));
    }
    for message in messages() {
        text = text.replace(&local_in_full(message.accepted_at), "2027-01-15 12:00:00");
    }
    text
}

#[test]
fn a_list_fits_its_terminal_and_says_in_words_what_each_message_waits_for() {
    for (name, width) in [("80", Some(80)), ("120", Some(120)), ("file", None)] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/golden/queue_list_{name}.txt"));
        let text = printed(width);
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &text).expect("written");
        }
        assert_eq!(text, fs::read_to_string(&path).expect("the golden file"), "{name}");
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(width.is_none_or(|width| widest <= Some(width)), "{name}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{name}");
        let now = text.lines().filter(|line| line.contains("now")).count();
        assert_eq!(now, 1, "only what nothing keeps leaves now: {text}");
    }
}
