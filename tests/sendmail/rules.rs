//! Rules and the ways in: a `[[rule]]` strikes mail by SMTP, by the local socket and from the drop directory alike.

use std::time::Duration;

use serde_json::Value;

use super::stage::Stage;
use crate::support::{
    client::Client,
    daemon::{Home, Upstream, within},
};

const PATIENCE: Duration = Duration::from_secs(30);
const RULES: &str = "[[rule]]\nname = \"raid\"\nmatch = { subject = \"degraded\" }\nlane = \"urgent\"\n\
    [[rule]]\nname = \"held\"\nmatch = { subject = \"/^check [0-9]+/\", header = \"X-Check: yes\" }\nhold = true\n\
    [[rule]]\nname = \"unwanted\"\nmatch = { subject = \"Backup OK\" }\nrefuse = \"Backup reports are collected elsewhere.\"\n\
    [[rule]]\nname = \"programs\"\nmatch = { user = \"USER\" }\nlane = \"bulk\"\n";

/// Rule, lane and state of the message with this subject.
fn judged(home: &Home, subject: &str) -> Option<(Value, String, String)> {
    let output = home.output(["queue", "list", &format!("subject:\"{subject}\""), "--json"]);
    let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let message = list["messages"].as_array()?.first()?.clone();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let state = word(&message["recipients"][0]["state"]);
    Some((message["rule"].clone(), word(&message["lane"]), state))
}

#[test]
fn a_rule_strikes_mail_by_smtp_by_the_socket_and_from_the_drop_directory() {
    let user = rustix::process::getuid().as_raw().to_string();
    let home = Home::with_sections(&Upstream::nobody(), &RULES.replace("USER", &user));
    let daemon = home.start();
    let text = |path: std::path::PathBuf| path.to_str().expect("a path of ours").to_owned();
    let by_socket = Stage::new()
        .variable("PILLARBOX__SENDMAIL__SOCKET", &text(home.submit_socket()))
        .variable("PILLARBOX__SENDMAIL__DROP_DIRECTORY", &text(home.drop_directory()));
    let by_file = Stage::new()
        .variable("PILLARBOX__SENDMAIL__SOCKET", "off")
        .variable("PILLARBOX__SENDMAIL__DROP_DIRECTORY", &text(home.drop_directory()));
    let mut client = Client::hello(daemon.smtp);
    let mut smtp = |mail: &str| client.mail("joe@example.org", &["a@b.example"], mail);
    let handed_over = |stage: &Stage, mail: &str| stage.sendmail(&["a@b.example"], mail);

    for (way, number) in [("smtp", 1), ("socket", 2), ("file", 3)] {
        let alarm = format!("array {number} degraded");
        let check = format!("check {number}");
        let letter = format!("letter {number}");
        for (subject, field) in [(&alarm, ""), (&check, "X-Check: yes\n"), (&letter, "")] {
            let mail = format!("Subject: {subject}\n{field}\nx");
            match way {
                "smtp" => assert!(smtp(&mail).starts_with("250")),
                "socket" => handed_over(&by_socket, &mail).quietly(),
                _ => handed_over(&by_file, &mail).quietly(),
            }
        }
        assert!(within(PATIENCE, || judged(&home, &letter).is_some()), "{way}: {}", home.log());
        let is = |subject: &str, rule: Value, lane: &str, state: &str| {
            let expected = Some((rule, lane.to_owned(), state.to_owned()));
            assert_eq!(judged(&home, subject), expected, "{way}: {subject}");
        };
        is(&alarm, "raid".into(), "urgent", "queued");
        is(&check, "held".into(), "normal", "held");
        // Only programs of this host have a user.
        match way {
            "smtp" => is(&letter, Value::Null, "normal", "queued"),
            _ => is(&letter, "programs".into(), "bulk", "queued"),
        }
    }

    let report = "Subject: Backup OK\n\nx";
    let refusal = "Backup reports are collected elsewhere.";
    let reply = smtp(report);
    assert!(reply.starts_with("550 5.7.1") && reply.contains(refusal), "{reply}");
    let refused = handed_over(&by_socket, report);
    assert_eq!(refused.code, Some(77), "{refused:?}");
    assert!(refused.stderr.contains(refusal), "{refused:?}");
    // Who has left a file is not there any more to hear it: a person finds it set aside.
    handed_over(&by_file, report).quietly();
    let set_aside = || {
        let files = std::fs::read_dir(home.drop_directory()).expect("the directory");
        let mut names = files.map(|file| file.expect("a file").file_name());
        names.any(|name| name.to_string_lossy().starts_with("bad.new."))
    };
    assert!(within(PATIENCE, set_aside), "{}", home.log());
    assert_eq!(judged(&home, "Backup OK"), None, "nothing is kept of it");
    assert!(daemon.terminate(PATIENCE).success());
}
