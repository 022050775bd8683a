//! `--host` and PILLARBOX_SUBMIT: plain SMTP to a relay in another container.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    time::Duration,
};

use super::stage::{Stage, call};
use crate::support::{
    daemon::within,
    gmail::Gmail,
    outage::{PLENTY, home_without_brakes},
};

#[test]
fn mail_reaches_the_upstream_through_a_relay_that_is_named() {
    let gmail = Gmail::start();
    let home = home_without_brakes(&gmail.upstream(), PLENTY);
    let daemon = home.start();
    let stage =
        Stage::new().variable("PILLARBOX_SUBMIT", &format!("localhost:{}", home.smtp.port()));
    let done = stage.sendmail(&["-v", "-f", "joe", "a@b.example"], "Subject: one\n\n.\nb\u{e4}r\n");
    assert_eq!((done.code, &done.stderr[..]), (Some(0), ""));
    assert!(done.stdout.starts_with("250 "), "{}", done.stdout);
    let host = home.smtp.to_string();
    let mut command = stage.command("pillarbox", &["sendmail", "--host", &host, "-t"]);
    std::os::unix::fs::symlink(
        crate::support::daemon::pillarbox().get_program(),
        stage.path("pillarbox"),
    )
    .unwrap();
    call(&mut command, b"To: c@d.example\nBcc: e@f.example\nSubject: two\n\nx\n").quietly();
    assert!(within(Duration::from_secs(30), || gmail.recipients() == 3), "{}", home.log());
    let arrived = gmail.accepted();
    let one = arrived.iter().find(|message| message.rcpt_to == ["a@b.example"]).unwrap();
    let text = String::from_utf8_lossy(&one.body);
    assert!(text.ends_with("\r\n\r\n.\r\nb\u{e4}r\r\n"), "{text}");
    let two = arrived.iter().find(|message| message.rcpt_to.len() == 2).unwrap();
    assert!(!String::from_utf8_lossy(&two.body).contains("e@f.example"));
    assert!(stage.dropped().is_empty());
    assert!(daemon.terminate(Duration::from_secs(20)).success());
}

#[test]
fn a_server_that_offers_nothing_gets_data_with_doubled_dots() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = Vec::new();
        let say = |words: &str| (&stream).write_all(words.as_bytes()).unwrap();
        say("220 old\r\n");
        for line in BufReader::new(&stream).lines().map(Result::unwrap) {
            let in_message = lines.last().is_some_and(|last| last == "DATA")
                || lines.contains(&"DATA".to_owned());
            match &line[..] {
                "." => say("250 taken\r\n"),
                "QUIT" => break,
                _ if in_message => {}
                "DATA" => say("354 go\r\n"),
                hello if hello.starts_with("EHLO") => say("502 what\r\n"),
                _ => say("250 ok\r\n"),
            }
            lines.push(line);
        }
        lines
    });
    let stage = Stage::new().variable("PILLARBOX_SUBMIT", &address);
    stage
        .sendmail(
            &["-f", "a@x.example", "-N", "never", "b@y.example"],
            "From: a\nSubject: x\n\n.\n..a\n",
        )
        .quietly();
    let lines = server.join().unwrap();
    assert!(lines[0].starts_with("EHLO ") && lines[1].starts_with("HELO "));
    assert_eq!(
        lines[2..],
        [
            "MAIL FROM:<a@x.example>",
            "RCPT TO:<b@y.example>",
            "DATA",
            "From: a",
            "Subject: x",
            "",
            "..",
            "...a",
            "."
        ]
    );
}
