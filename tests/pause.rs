//! The administrator's pause: nothing is sent, everything is taken, and every command says the same about it.

use std::time::Duration;

use crate::support::{
    client::Client,
    daemon::{Home, within},
    gmail::Gmail,
};

const LIMIT: Duration = Duration::from_secs(30);

/// Exit code and everything that was said.
fn say(home: &Home, arguments: &[&str]) -> (Option<i32>, String) {
    let socket = home.socket().display().to_string();
    let output = home.output(arguments.iter().copied().chain(["--socket", &socket]));
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

fn submit(daemon: &crate::support::daemon::Daemon, recipient: &str) {
    let mut client = Client::hello(daemon.smtp);
    let answer = client.mail("a@example.org", &[recipient], "Subject: x\r\n\r\nx");
    assert!(answer.starts_with("250"), "{answer}");
}

#[test]
fn mail_is_taken_and_kept_over_a_restart_until_resume_and_every_command_says_why() {
    let gmail = Gmail::start();
    let home = Home::new(&gmail.upstream());
    let daemon = home.start();
    let (code, words) = say(&home, &["pause", "--for", "2h", "new", "mail", "server"]);
    assert_eq!(code, Some(0), "{words}");
    assert!(words.starts_with("The relay is paused by the administrator until "), "{words}");
    assert!(words.contains(": new mail server.\nMail is still taken, and kept;"), "{words}");
    submit(&daemon, "one@example.net");
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));

    let daemon = home.start();
    submit(&daemon, "two@example.net");
    let told = "paused by the administrator";
    for (command, expected) in [
        (&["status"][..], 0),
        (&["queue", "list"], 0),
        (&["budget"], 0),
        (&["health", "--strict"], 1),
        (&["doctor", "--check", "account"], 0),
    ] {
        let (code, words) = say(&home, command);
        assert_eq!(code, Some(expected), "{command:?}: {words}");
        assert!(words.contains(told) && words.contains("new mail server"), "{command:?}: {words}");
    }
    let status: serde_json::Value =
        serde_json::from_str(&say(&home, &["status", "--json"]).1).unwrap();
    assert_eq!(status["account"]["condition"], "open");
    assert_eq!(status["account"]["pause"]["reason"], "new mail server");
    assert_eq!(status["account"]["pause"]["until"], status["departure"]["at"]);
    assert_eq!(status["departure"]["because"], "paused");
    assert_eq!(gmail.accepted().len(), 0);

    let (code, words) = say(&home, &["resume"]);
    assert_eq!(code, Some(0), "{words}");
    assert!(within(LIMIT, || gmail.accepted().len() == 2), "{}", home.log());
    assert!(!say(&home, &["status"]).1.contains(told));
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
}

#[test]
fn a_pause_has_an_end_ahead_or_none_and_what_others_write_into_its_reason_is_harmless() {
    let gmail = Gmail::start();
    let home = Home::new(&gmail.upstream());
    let daemon = home.start();
    for (wrong, words, expected) in [
        (&["pause", "--until", "noon"][..], "tomorrow 08:00", 64),
        (&["pause", "--until", "2020-01-01T00:00:00Z"], "that time has passed", 64),
        (&["pause", "--for", "0s"], "write a time such as", 64),
        (&["pause", "--for", "2h", "--until", "14:30"], "cannot be used with", 64),
        (&["pause", "--for", "3years"], "more than a year ahead; nothing was changed", 65),
    ] {
        let (code, said) = say(&home, wrong);
        assert!(code == Some(expected) && said.contains(words), "{wrong:?}: {code:?} {said}");
    }
    assert!(say(&home, &["status"]).1.contains("account     open"));
    let (code, words) = say(&home, &["pause", "bell\u{7}\u{1b}[31m & more=1"]);
    assert_eq!(code, Some(0), "{words}");
    assert!(!words.contains(['\u{7}', '\u{1b}']) && words.contains("& more=1"), "{words}");
    assert!(words.contains("until `pillarbox resume`"), "{words}");
    let (code, words) = say(&home, &["pause", "--until", "tomorrow 08:00"]);
    assert!(code == Some(0) && words.contains("08:00"), "the last order counts: {words}");
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
}
