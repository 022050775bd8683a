//! `sendmail -bs`, as symfony/mailer and alpine use it.

use super::{stage::Stage, stand_in::StandIn};

const DIALOGUE: &str = "EHLO web01\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example> NOTIFY=NEVER\r\n\
                        DATA\r\nSubject: x\r\nBcc: hidden@y.example\r\n\r\n..dot\r\n.\r\nQUIT\r\n";

fn codes(output: &str) -> Vec<&str> {
    output
        .lines()
        .filter(|line| line.as_bytes().get(3) == Some(&b' '))
        .map(|line| &line[..3])
        .collect()
}

#[test]
fn a_message_is_safe_when_its_250_is_read_also_while_the_daemon_is_down() {
    let stage = Stage::new();
    let done = stage.sendmail(&["-bs", "-odb", "-oem"], DIALOGUE);
    assert_eq!((done.code, &done.stderr[..]), (Some(0), ""));
    assert_eq!(
        codes(&done.stdout),
        ["220", "250", "250", "250", "354", "250", "221"],
        "{}",
        done.stdout
    );
    let dropped = stage.only_dropped();
    assert_eq!(dropped.head.recipients, ["RCPT TO:<b@y.example> NOTIFY=NEVER"]);
    assert_eq!(dropped.text(), "From: a@x.example\r\nSubject: x\r\n\r\n.dot\r\n");
    let id = dropped.name.strip_prefix("new.").unwrap();
    assert!(done.stdout.contains(id), "the 250 names the id under which the daemon will have it");
}

#[test]
fn it_speaks_with_the_daemon_for_each_message() {
    let stage = Stage::new();
    let daemon = StandIn::at(&stage.socket(), &[]);
    let done = stage.sendmail(&["-bs"], DIALOGUE);
    assert_eq!(done.code, Some(0));
    assert_eq!(daemon.heard.recv().unwrap(), b"From: a@x.example\r\nSubject: x\r\n\r\n.dot\r\n");
    assert!(daemon.commands()[1].starts_with("MAIL FROM:<a@x.example> SIZE="));
    assert!(stage.dropped().is_empty());
}

#[test]
fn what_the_daemon_refuses_for_good_is_refused_for_good() {
    let stage = Stage::new();
    let daemon = StandIn::at(&stage.socket(), &[("RCPT TO:<nobody>", "550 5.1.1 no such user")]);
    let input = DIALOGUE.replace("RCPT TO:<b@y", "RCPT TO:<nobody>\r\nRCPT TO:<b@y");
    let done = stage.sendmail(&["-bs"], input);
    let answers = codes(&done.stdout);
    assert_eq!(
        answers[answers.len() - 2..],
        ["554", "221"],
        "one reply for all recipients: {}",
        done.stdout
    );
    assert!(done.stderr.contains("no such user"));
    drop(daemon.commands());
    assert!(stage.dropped().is_empty());
}

#[test]
fn what_cannot_be_kept_is_refused_for_now() {
    let stage = Stage::new();
    std::fs::remove_dir(stage.drop_directory()).unwrap();
    let done = stage.sendmail(&["-bs"], DIALOGUE);
    assert!(codes(&done.stdout).contains(&"451"), "{}", done.stdout);
    assert!(done.stderr.contains("submit.sock"));
}

#[test]
fn a_caller_that_goes_away_in_the_middle_leaves_nothing() {
    let stage = Stage::new();
    let done = stage.sendmail(&["-bs"], &DIALOGUE[..DIALOGUE.len() - 12]);
    assert_eq!(done.code, Some(0));
    assert!(stage.dropped().is_empty());
}
