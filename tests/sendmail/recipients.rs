//! Whom a message is for: every address that was written gets it, or somebody is told.

use super::{
    stage::{Dropped, Stage},
    stand_in::StandIn,
};

const BOTH: [&str; 2] = ["RCPT TO:<bob@example.net>", "RCPT TO:<ann@example.net>"];

fn sorted(files: &[Dropped]) -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = files.iter().map(|file| file.head.recipients.clone()).collect();
    all.sort();
    all
}

#[test]
fn every_address_of_a_field_or_an_argument_gets_the_message() {
    for to in [
        "Bob <bob@example.net> Ann <ann@example.net>",
        "<bob@example.net><ann@example.net>",
        "bob@example.net / ann@example.net",
        "bob@example.net and ann@example.net",
        "Bob <bob@example.net>\n Ann <ann@example.net>",
        "Bob <bob@example.net>; Ann <ann@example.net>",
        "\"B, Bob\" <bob@example.net>, team: Ann <ann@example.net>;",
        "bob@example.net. ann@example.net.",
    ] {
        let stage = Stage::new();
        stage.sendmail(&["-t"], format!("To: {to}\n\ntext\n")).quietly();
        assert_eq!(stage.only_dropped().head.recipients, BOTH, "-t: {to}");
        let stage = Stage::new();
        stage.sendmail(&["--", &to.replace('\n', "\r\n")], "Subject: x\n\ntext\n").quietly();
        assert_eq!(stage.only_dropped().head.recipients, BOTH, "argument: {to}");
    }
    let stage = Stage::new();
    stage.sendmail(&["root@localhost."], "Subject: x\n\ntext\n").quietly();
    assert_eq!(stage.only_dropped().head.recipients, ["RCPT TO:<root@localhost>"]);
}

#[test]
fn what_cannot_be_read_is_told_and_the_others_get_the_message() {
    for (to, told) in [
        ("bob@example.net, ann@@example.net", "\"ann@@example.net\" is not an address"),
        ("bob@example.net and root", "\"root\" is not an address"),
        ("Bob <bob@example.net>, Ann <>", "\"Ann <>\" is not an address"),
    ] {
        let stage = Stage::new();
        let done = stage.sendmail(&["-t"], format!("To: {to}\n\ntext\n"));
        assert_eq!(done.code, Some(65), "{done:?}");
        assert!(done.stderr.contains(told) && done.stderr.contains("others get it"), "{done:?}");
        assert_eq!(stage.only_dropped().head.recipients, BOTH[..1]);
    }
}

#[test]
fn a_daemon_that_dies_over_a_message_for_some_costs_the_others_nothing() {
    let stage = Stage::new();
    // Whoever was accepted may have it already, under the id of the first file; the others have ids of their own.
    let daemon = StandIn::at(
        &stage.socket(),
        &[
            ("RCPT TO:<root>", "550 5.1.3 nobody"),
            ("RCPT TO:<c@", "452 4.5.3 too many"),
            ("RCPT TO:<d@", "450 4.2.0 not now"),
            ("BDAT", ""),
        ],
    );
    let done =
        stage.sendmail(&["a@b.example", "root", "c@d.example", "d@e.example"], "Subject: x\n\ny\n");
    assert_eq!(done.code, Some(67), "{done:?}");
    let commands = daemon.commands();
    let mail = commands.iter().find(|command| command.starts_with("MAIL")).unwrap();
    let id = mail.split(' ').find_map(|word| word.strip_prefix("XQUEUEID=")).unwrap();
    let files = stage.dropped();
    let recipients =
        |to: &[&str]| to.iter().map(|to| format!("RCPT TO:<{to}>")).collect::<Vec<_>>();
    assert_eq!(
        sorted(&files),
        [recipients(&["a@b.example"]), recipients(&["c@d.example", "d@e.example"])]
    );
    for file in files {
        let is_first = file.name == format!("new.{id}");
        assert_eq!(is_first, file.head.recipients == recipients(&["a@b.example"]), "{}", file.name);
    }
}
