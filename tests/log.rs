//! The log as its readers meet it: one that stands still, and the journal.

use std::{
    io::{self, BufRead as _},
    os::unix::fs::MetadataExt as _,
    time::Duration,
};

use crate::support::{
    client::Client,
    daemon::{Home, within},
    gmail::Gmail,
};

/// Enough lines to fill a pipe (64 KiB) several times.
const MESSAGES: usize = 300;
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_log_that_nobody_reads_keeps_neither_mail_nor_a_stop_waiting() {
    let gmail = Gmail::with(|options| options.recipients_per_day = 100_000);
    let home = Home::with_sections(
        &gmail.upstream(),
        "[budget]\nrecipients_per_day = 9000\npace_per_minute = 10000\n",
    );
    let (_nobody_reads, log) = io::pipe().unwrap();
    let mut daemon = home.spawn_with_log(log.try_clone().unwrap(), log);
    daemon.wait_until_it_greets();
    let mut client = Client::hello(daemon.smtp);
    for number in 0..MESSAGES {
        let reply = client.mail(
            "a@example.org",
            &["b@example.net"],
            &format!("Subject: {number}\r\n\r\nx"),
        );
        assert!(reply.starts_with("250"), "{number}: {reply}");
    }
    assert!(within(LIMIT, || gmail.accepted().len() > MESSAGES / 10), "mail leaves");
    assert!(home.output(["status"]).status.success(), "status answers");
    assert!(daemon.is_running());
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
}

#[test]
fn under_systemd_each_line_has_its_priority_and_nothing_else_in_front() {
    let home = Home::new(&Gmail::start().upstream());
    // systemd names the stream that leads to the journal by device and inode; a pipe has them, too.
    let (journal, log) = io::pipe().unwrap();
    let stream = std::fs::File::from(std::os::fd::OwnedFd::from(log));
    let of_stream = stream.metadata().unwrap();
    let home = home
        .environment("JOURNAL_STREAM", &format!("{}:{}", of_stream.dev(), of_stream.ino()))
        // Whatever journal this machine has is no part of the test: without its socket the lines go to the stream.
        .environment("PILLARBOX_JOURNAL_SOCKET", "/nonexistent/socket")
        .environment("PILLARBOX__LOG__FORMAT", "auto");
    let mut daemon = home.spawn_with_log(std::process::Stdio::null(), stream);
    daemon.wait_until_it_greets();
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
    let lines: Vec<String> = io::BufReader::new(journal).lines().map(Result::unwrap).collect();
    assert!(!lines.is_empty());
    for line in &lines {
        let words = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let (priority, words) = words.unwrap_or_else(|| panic!("no priority: {line}"));
        assert!(["3", "4", "6"].contains(&priority), "{line}");
        assert!(words.starts_with(|letter: char| letter.is_ascii_lowercase()), "{line}");
    }
}

#[test]
fn a_person_can_have_more_logged_for_a_while() {
    let gmail = Gmail::start();
    let home = Home::new(&gmail.upstream());
    let daemon = home.start();
    let details = || home.events().iter().filter(|event| event["level"] == "DEBUG").count();
    let words = |arguments: &[&str]| {
        let output = home.output(arguments);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    assert_eq!(words(&["log"]), (Some(0), "The log is at info, as configured.\n".to_owned()));
    assert_eq!(details(), 0);

    let (code, answer) = words(&["log", "debug", "--for", "1h"]);
    assert_eq!(code, Some(0), "{answer}");
    assert!(answer.starts_with("The log is at debug until "), "{answer}");
    assert!(answer.ends_with(", then at info again.\n"), "{answer}");
    Client::hello(daemon.smtp).mail("a@example.org", &["b@example.net"], "Subject: x\r\n\r\nx");
    assert!(within(LIMIT, || details() > 0), "{}", home.log());

    let (_, answer) = words(&["log", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&answer["level"], &answer["configured"]), (&"debug".into(), &"info".into()));
    let left = answer["until"].as_i64().unwrap() - answer["now"].as_i64().unwrap();
    assert!((3_000_000..=3_600_000).contains(&left), "{left} ms");

    assert_eq!(
        words(&["log", "info"]),
        (Some(0), "The log is at info, as configured.\n".to_owned())
    );
    for wrong in [&["log", "shout"][..], &["log", "debug", "--for", "2d"], &["log", "--for", "1h"]]
    {
        assert_eq!(words(wrong).0, Some(64), "{wrong:?}");
    }
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
}
