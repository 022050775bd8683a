//! `pillarbox budget simulate`: what a daemon has relayed and folded, once more under other settings.

use std::{fs, time::Duration};

use serde_json::Value;

use crate::support::{
    client::Client,
    daemon::{Home, within},
    gmail::Gmail,
};

const PATIENCE: Duration = Duration::from_secs(60);
const ADMIN: &str = "admin@example.org";
const SECTIONS: &str = "[budget]\npace_per_minute = 0\n[identity]\nadmin = \"admin@example.org\"\n\
                        [notices]\nto = \"nobody\"\n";

fn simulated(home: &Home, arguments: &[&str]) -> Value {
    let all = [&["budget", "simulate", "--json"], arguments].concat();
    let output = home.output(&all);
    assert!(output.status.success(), "{all:?}: {}", output.stderr.escape_ascii());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn figures(found: &Value, which: &str) -> [u64; 4] {
    ["relayed", "folded", "waiting", "refused"]
        .map(|name| found["all"][which][name].as_u64().unwrap_or_else(|| panic!("{name}: {found}")))
}

#[test]
fn what_was_relayed_and_folded_is_played_through_under_other_settings() {
    let gmail = Gmail::start();
    let home = Home::with_sections(&gmail.upstream(), SECTIONS);
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    for number in 0..8 {
        let text =
            format!("From: <root@nas>\nTo: {ADMIN}\nSubject: banned 192.0.2.{number}\n\nBan.\n");
        assert!(client.mail("root@nas.example.org", &[ADMIN], &text).starts_with("250"));
    }
    for number in 0..4 {
        let text =
            format!("From: <shop@web>\nTo: c@example.net\nSubject: order {number}\n\nThanks.\n");
        let to = format!("c{number}@example.net");
        assert!(client.mail("shop@web.example.org", &[&to], &text).starts_with("250"));
    }
    // Five of the eight, and all of the four.
    let has_left = || figures(&simulated(&home, &[]), "was") == [9, 3, 0, 0];
    assert!(within(PATIENCE, has_left), "{}", simulated(&home, &[]));
    let same = simulated(&home, &["--last", "1h"]);
    assert_eq!(figures(&same, "would"), figures(&same, "was"), "{same}");
    assert_eq!(
        (&same["all"]["messages"], &same["days"][0]["recipients"]),
        (&12.into(), &12.into())
    );

    let unfolded = simulated(&home, &["--storm-after", "0"]);
    assert_eq!(figures(&unfolded, "would"), [12, 0, 0, 0], "{unfolded}");
    // 25 are the owner's, one in a hundred is for notices.
    let few = simulated(&home, &["--recipients-per-day", "28"]);
    let [relayed, folded, waiting, _] = figures(&few, "would");
    assert_eq!((relayed + waiting, folded), (9, 3), "{few}");
    assert_eq!(Value::from(relayed), few["limit_would"], "{few}");
    assert_ne!(few["limit_would"], few["limit_was"]);
    let one_each = simulated(&home, &["--origin-limit", "1"]);
    assert_eq!(figures(&one_each, "would"), [2, 3, 7, 0], "{one_each}");

    let rules = "[[rule]]\nname = \"no-orders\"\nmatch = { subject = \"order\" }\nrefuse = \"No.\"\n\
                 [[rule]]\nname = \"lists\"\nmatch = { header = \"list\" }\nlane = \"bulk\"\n";
    let other = home.path("other.toml");
    fs::write(&other, fs::read_to_string(home.config()).unwrap() + rules).unwrap();
    let mut command = crate::support::daemon::pillarbox();
    let output = command
        .env("PILLARBOX__IDENTITY__ALIASES_FILE", "off")
        .args(["budget", "simulate", "--json", "--config"])
        .arg(&other)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", output.stderr.escape_ascii());
    let ruled: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(figures(&ruled, "would"), [5, 3, 0, 4], "{ruled}");
    assert_eq!(
        (&ruled["open"][0]["rule"], &ruled["open"][0]["unfit"]),
        (&"lists".into(), &8.into())
    );

    let said = home.output(["budget", "simulate", "--recipients-per-day", "28"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.starts_with("12 messages to 12 recipients came since "), "{said}");
    assert!(said.contains("with [budget] recipients_per_day = 28"), "{said}");
    assert!(daemon.terminate(PATIENCE).success());
}
