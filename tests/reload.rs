//! A changed configuration, taken by a daemon that runs: what holds at once, what waits for a restart, what is refused.

use std::{fs, time::Duration};

use rustix::process::Signal;

use crate::support::{
    client::Client,
    daemon::{Home, Upstream, within},
    gmail::Gmail,
};

const LIMIT: Duration = Duration::from_secs(30);

/// Exit code and everything that was said. The command itself needs no configuration, so that the daemon is the judge.
fn say(home: &Home, arguments: &[&str]) -> (Option<i32>, String) {
    let socket = home.socket().display().to_string();
    let output = home.output(arguments.iter().copied().chain(["--socket", &socket]));
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

fn limit(home: &Home) -> serde_json::Value {
    let budget: serde_json::Value =
        serde_json::from_str(&say(home, &["budget", "--json"]).1).expect("JSON");
    budget["recipients_per_day"].clone()
}

fn replace(home: &Home, old: &str, new: &str) {
    let text = fs::read_to_string(home.config()).unwrap();
    assert!(text.contains(old), "{old} is not in {text}");
    fs::write(home.config(), text.replace(old, new)).unwrap();
}

#[test]
fn a_new_limit_lets_parked_mail_leave_and_no_connection_ends() {
    let gmail = Gmail::start();
    let budget = |recipients| {
        format!(
            "[budget]\nrecipients_per_day = {recipients}\nowner_reserve = 0\nnotice_reserve = 0\n"
        )
    };
    let home = Home::with_sections(&gmail.upstream(), &budget(1));
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    for recipient in ["one@example.net", "two@example.net"] {
        assert!(
            client.mail("a@example.org", &[recipient], "Subject: x\r\n\r\nx").starts_with("250")
        );
    }
    assert!(within(LIMIT, || say(&home, &["status"]).1.contains("budget")
        && gmail.accepted().len() == 1));

    home.configure(&gmail.upstream(), &budget(7));
    let (code, words) = say(&home, &["reload"]);
    assert_eq!(
        (code, words.as_str()),
        (Some(0), "Changed, and in force: budget.recipients_per_day.\n")
    );
    assert_eq!(limit(&home), 7);
    assert!(within(LIMIT, || gmail.accepted().len() == 2), "{}", home.log());
    assert!(client.command("NOOP").starts_with("250"), "the connection is the same");
    assert_eq!(say(&home, &["reload"]).1, "The configuration has not changed.\n");
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
}

#[test]
fn the_next_connection_is_served_on_the_new_terms_and_an_open_one_on_its_own() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    let mut open = Client::hello(daemon.smtp);
    let line = "hostname = \"relay.example.org\"";
    replace(&home, line, &format!("{line}\nmax_message_bytes = 2048\nmax_connections = 5"));
    let (_, words) = say(&home, &["reload"]);
    assert_eq!(
        words,
        "Changed, and in force: listener.max_message_bytes, listener.max_connections.\n"
    );
    let large = format!(
        "Subject: x\r\n\r\n{}",
        "x".repeat(60).replace("x", "xxxxxxxxxxxxxx\r\n").repeat(4)
    );
    assert!(open.mail("a@example.org", &["b@example.net"], &large).starts_with("250"));
    let mut next = Client::hello(daemon.smtp);
    assert!(next.command("EHLO x").contains("SIZE 2048"));
    assert!(next.mail("a@example.org", &["b@example.net"], &large).starts_with("552"));
    let _others: Vec<Client> = (0..2).map(|_| Client::hello(daemon.smtp)).collect();
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
}

#[test]
fn a_rule_that_is_never_reached_is_told_of_at_a_start_and_when_a_reload_brings_it() {
    let rule = |name: &str| {
        format!("[[rule]]\nname = \"{name}\"\nmatch = {{ size = \">1\" }}\nlane = \"urgent\"\n")
    };
    let behind = |events: &[serde_json::Value], name: &str| {
        events.iter().any(|event| event["rule"] == name && event["earlier"] == "first")
    };
    let both = [rule("first"), rule("second")].concat();
    let home = Home::with_sections(&Upstream::nobody(), &both);
    let daemon = home.start();
    assert!(within(LIMIT, || behind(&home.events(), "second")), "{}", home.log());
    replace(&home, &both, &[both.clone(), rule("third")].concat());
    let (code, words) = say(&home, &["reload"]);
    assert_eq!(code, Some(0), "{words}");
    assert!(within(LIMIT, || behind(&home.events(), "third")), "{}", home.log());
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
}

#[test]
fn a_bad_file_changes_nothing_and_is_told_with_its_line() {
    let home = Home::with_sections(&Upstream::nobody(), "[budget]\nrecipients_per_day = 99\n");
    let mut daemon = home.start();
    replace(&home, "recipients_per_day = 99", "recipients_per_day = 98\nrecipients_per_dya = 3");
    let (code, words) = say(&home, &["reload"]);
    assert_eq!(code, Some(78), "{words}");
    assert!(words.contains("recipients_per_dya") && words.contains("relay.toml:"), "{words}");
    assert!(words.contains("Did you mean `recipients_per_day`?"), "{words}");
    assert_eq!(limit(&home), 99);
    let told = |event: &serde_json::Value| event["message"] == "the configuration cannot be used";
    assert!(home.events().iter().any(told));

    // A file that the configuration names is a part of it: nothing is taken without it.
    replace(&home, "recipients_per_day = 98\nrecipients_per_dya = 3", "recipients_per_day = 98");
    let line = "hostname = \"relay.example.org\"";
    let files = "tls_certificate = \"/nowhere/cert.pem\"\ntls_key = \"/nowhere/key.pem\"";
    replace(&home, line, &format!("{line}\n{files}"));
    let (code, words) = say(&home, &["reload"]);
    assert!(code == Some(78) && words.contains("/nowhere/cert.pem"), "{code:?} {words}");
    assert_eq!(limit(&home), 99);

    fs::remove_file(home.config()).unwrap();
    assert_eq!(say(&home, &["reload"]).0, Some(78));
    assert!(daemon.is_running());
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
}

#[test]
fn what_needs_a_restart_is_named_and_keeps_its_old_value_with_all_that_follows_from_it() {
    let gmail = Gmail::start();
    let home = Home::with_sections(&gmail.upstream(), "[budget]\nrecipients_per_day = 99\n");
    let daemon = home.start();
    replace(&home, "recipients_per_day = 99", "recipients_per_day = 98");
    replace(&home, "username = \"relay@gmail.com\"", "username = \"another@gmail.com\"");
    replace(&home, "format = \"json\"", "format = \"text\"");
    for applied in [Some("Changed, and in force: budget.recipients_per_day."), None] {
        let (code, words) = say(&home, &["reload"]);
        let waiting = "Changed, and in force after a restart: upstream.username, log.format. Until then the old values stay.";
        let expected: Vec<&str> = applied.into_iter().chain([waiting]).collect();
        assert_eq!((code, words.lines().collect::<Vec<_>>()), (Some(0), expected));
    }
    let mut client = Client::hello(daemon.smtp);
    client.mail("a@example.org", &["b@example.net"], "From: a@example.org\r\nSubject: x\r\n\r\nx");
    assert!(within(LIMIT, || gmail.accepted().len() == 1), "{}", home.log());
    let header = String::from_utf8_lossy(&gmail.accepted()[0].body).into_owned();
    assert!(
        header.contains("relay@gmail.com") && !header.contains("another@gmail.com"),
        "{header}"
    );
    assert_eq!(limit(&home), 98);
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
}

#[test]
fn sighup_does_the_same() {
    let home = Home::with_sections(&Upstream::nobody(), "[budget]\nrecipients_per_day = 99\n");
    let daemon = home.start();
    replace(&home, "recipients_per_day = 99", "recipients_per_day = 98");
    replace(&home, "level = \"info\"", "level = \"debug\"");
    daemon.signal(Signal::HUP);
    assert!(within(LIMIT, || limit(&home) == 98), "{}", home.log());
    assert_eq!(say(&home, &["log"]).1, "The log is at debug, as configured.\n");
    let told = |event: &serde_json::Value| {
        event["message"] == "configuration read anew"
            && event["applied"] == "budget.recipients_per_day log.level"
    };
    assert!(home.events().iter().any(told), "{}", home.log());
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
}

#[test]
fn a_new_rule_strikes_the_mail_of_the_next_connection_and_what_waits_keeps_its_own() {
    let upstream = Upstream::nobody();
    let raid = "[[rule]]\nname = \"raid\"\nmatch = { subject = \"/degraded|failed/\" }\nlane = \"urgent\"\n";
    let home = Home::with_sections(&upstream, raid);
    let daemon = home.start();
    let take = |subject: &str| {
        let message = format!("Subject: {subject}\r\n\r\nx");
        Client::hello(daemon.smtp).mail("a@example.org", &["b@example.net"], &message)
    };
    let id = take("md0 failed").rsplit(' ').next().expect("an id").trim().to_owned();
    let explained = say(&home, &["queue", "explain", &id]).1;
    assert!(explained.contains("rule        raid: lane urgent\n"), "{explained}");
    assert!(explained.contains("lane        urgent\n"), "{explained}");

    let backups =
        "[[rule]]\nname = \"no-backups\"\nmatch = { subject = \"Backup\" }\nrefuse = \"No.\"\n";
    home.configure(&upstream, backups);
    let (code, words) = say(&home, &["reload"]);
    assert_eq!(code, Some(0), "{words}");
    assert_eq!(words, "Changed, and in force: rule.name, rule.match, rule.lane, rule.refuse.\n");
    assert_eq!(take("Backup OK").trim(), "550 5.7.1 No.");
    // The reply may be here before the line of the log.
    let is_told = |log: &str| log.contains("refused by a rule") && log.contains("no-backups");
    assert!(within(LIMIT, || is_told(&home.log())), "{}", home.log());
    let listed = say(&home, &["queue", "list", "rule:raid", "--json"]).1;
    assert!(listed.contains(&id) && listed.contains("\"rule\":\"raid\""), "{listed}");
    let explained = say(&home, &["queue", "explain", &id]).1;
    assert!(explained.contains("raid, which the configuration has no more"), "{explained}");
    assert!(say(&home, &["queue", "show", &id]).1.contains("rule        raid\n"));
}
