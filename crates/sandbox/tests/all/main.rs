//! The Gmail look-alike, spoken to by a raw client: what it must say, stage by stage.
//!
//! Each dialogue is a list of lines: `C: ` is sent, `S: ` is the beginning of the next reply line,
//! `close` means that the server closes without another word. Lines sent in a row go in one packet.
//! What it does when it fails or limits is in `failures`.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod api;
mod chunks;
mod client;
mod failures;
mod identity;
mod limits;
mod rewriting;
mod tokens;

use std::time::Duration;

use pillarbox_sandbox::{Options, Timestamp};
use tokio::{io::AsyncReadExt, net::TcpStream};

use client::*;

#[tokio::test]
async fn the_submission_port_speaks_as_gmail_does_before_and_after_starttls() {
    let (sandbox, _clock) = start_with_clock().await;
    let mut client = Client::starttls(&sandbox).await;
    client
        .talk(
            "S: 220 smtp.gmail.com ESMTP \nC: EHLO relay.example.org
S: 250-smtp.gmail.com at your service, [127.0.0.1]\nS: 250-SIZE 35882577\nS: 250-8BITMIME\nS: 250-STARTTLS
S: 250-ENHANCEDSTATUSCODES\nS: 250-PIPELINING\nS: 250-CHUNKING\nS: 250 SMTPUTF8
C: MAIL FROM:<me@gmail.com>
S: 530-5.7.0 Must issue a STARTTLS command first. For more information, go to
S: 530-5.7.0  https://support.google.com/a/answer/3221692 and review RFC 3207
S: 530 5.7.0 specifications.
C: AUTH PLAIN AG1lAHg=\nS: 530-5.7.0 \nS: 530-5.7.0 \nS: 530 5.7.0 
C: STARTTLS\nS: 220 2.0.0 Ready to start TLS",
        )
        .await;
    let mut client = Client::new(client.secure(&sandbox, "localhost").await.unwrap());
    client
        .talk(&format!(
            "C: MAIL FROM:<me@gmail.com>\nS: 503-5.5.1 EHLO/HELO first.\nS: 503-5.5.1 \nS: 503 5.5.1 
C: EHLO relay.example.org\n{EHLO_REST}\nC: STARTTLS\nS: 454 5.5.1 STARTTLS may not be repeated
C: MAIL FROM:<me@gmail.com>\nS: 530-5.7.0 Authentication Required.\nS: 530 5.7.0  https://support.google.com/mail/?p=WantAuthError
C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: bWVAZ21haWwuY29t\nS: 334 UGFzc3dvcmQ6\nC: YWJjZCBlZmdoIGlqa2wgbW5vcA==
S: 235 2.7.0 Accepted\n{OPEN}\nC: RCPT TO:<ok@example.net>\n{ACCEPTED}1716281641 \nC: QUIT\nS: 221 2.0.0 closing connection \nclose"
        ))
        .await;
    let accepted = sandbox.mailbox().accepted();
    assert_eq!(accepted[0].body, b"Message-ID: <1@x>\r\n\r\nhello\r\n");
    assert_eq!(accepted[0].username.as_deref(), Some("me@gmail.com"));
    let tls = accepted[0].tls.clone().unwrap();
    assert_eq!((tls.version.as_str(), tls.server_name.as_deref()), ("TLS1_3", Some("localhost")));
    assert!(tls.cipher_suite.starts_with("TLS_AES_"), "{}", tls.cipher_suite);
    assert_eq!(
        (accepted[0].ehlo.as_str(), accepted[0].at),
        ("relay.example.org", Timestamp(1_716_281_641_000))
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn every_connection_has_a_session_id_of_its_own_and_only_some_replies_carry_it() {
    let sandbox = start(Options::default()).await;
    let mut ids = Vec::new();
    for (mut client, mark) in [
        (Client::starttls(&sandbox).await, "sm"),
        (Client::starttls(&sandbox).await, "sm"),
        (Client::plain(&sandbox).await, "si"),
    ] {
        let greeting = client.line().await.unwrap();
        let id = greeting.split(' ').nth(3).unwrap().to_owned();
        assert!(greeting.ends_with(&format!(" ESMTP {id} - gsmtp")), "{greeting}");
        // Such as d2e1a72fcca58-76e7d551493sm9728466b3a.112.
        let (host, number) = id.split_once(mark).unwrap();
        let hexadecimal = |text: &str| text.bytes().all(|octet| octet.is_ascii_hexdigit());
        let (first, second) = host.split_once('-').unwrap();
        assert!(
            first.len() == 13 && second.len() == 11 && hexadecimal(first) && hexadecimal(second),
            "{id}"
        );
        let (number, port) = number.split_once('.').unwrap();
        assert!(hexadecimal(number) && port.bytes().all(|octet| octet.is_ascii_digit()), "{id}");
        client.send(b"NOOP\r\n").await;
        assert_eq!(client.line().await.unwrap(), format!("250 2.0.0 OK {id} - gsmtp"));
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);

    let mut client = Client::greeted(&sandbox).await;
    for (command, reply) in [
        ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
        ("bWU=", "334 UGFzc3dvcmQ6"),
        ("YWJjZGVmZ2hpamtsbW5vcA==", "235 2.7.0 Accepted"),
    ] {
        client.send(format!("{command}\r\n").as_bytes()).await;
        assert_eq!(client.line().await.unwrap(), reply);
    }
    let mut client = Client::starttls(&sandbox).await;
    client.talk("S: 220 \nC: HELO a.example\nS: 250 ").await;
    client.send(b"STARTTLS\r\n").await;
    assert_eq!(client.line().await.unwrap(), "220 2.0.0 Ready to start TLS");
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order_and_in_one_packet() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::ready(&sandbox).await;
    let group = "MAIL FROM:<me@gmail.com> SIZE=9 BODY=8BITMIME\r\nRCPT TO:<ok1@x.net>\r\nRCPT TO:<nosuch@x.net>\r\n\
                 RCPT TO:<ok2@x.net>\r\nDATA\r\n";
    client.send(group.as_bytes()).await;
    client
        .talk(
            "S: 250 2.1.0 OK \nS: 250 2.1.5 OK \nS: 550-5.1.1 \nS: 550-5.1.1 \nS: 550-5.1.1 \nS: 550 5.1.1 
S: 250 2.1.5 OK \nS: 354  Go ahead ",
        )
        .await;
    // The final dot, the whole next transaction and QUIT share a packet too.
    client.send(b"..stuffed\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<ok3@x.net>\r\nRSET\r\nQUIT\r\n").await;
    client
        .talk("S: 250 2.0.0 OK  \nS: 250 2.1.0 OK \nS: 250 2.1.5 OK \nS: 250 2.1.5 Flushed \nS: 221 2.0.0 \nclose")
        .await;
    let accepted = sandbox.mailbox().accepted();
    assert_eq!(accepted[0].rcpt_to, ["ok1@x.net", "ok2@x.net"]);
    assert_eq!(accepted[0].parameters, ["SIZE=9", "BODY=8BITMIME"]);
    assert_eq!(accepted[0].body, b".stuffed\r\n");
}

#[tokio::test]
async fn plain_text_behind_starttls_is_thrown_away() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::starttls(&sandbox).await;
    client.talk("S: 220 \nC: HELO relay.example.org\nS: 250 smtp.gmail.com at your service").await;
    client.talk("C: STARTTLS\nC: NOOP\nS: 220 2.0.0 ").await;
    let secured = client.secure(&sandbox, "localhost").await;
    // No reply to the injected NOOP may appear inside TLS.
    let mut client = Client::new(secured.unwrap());
    client.talk("C: QUIT\nS: 221 ").await;
    let commands = sandbox.mailbox().last_commands();
    assert_eq!(commands, ["1: HELO relay.example.org", "1: STARTTLS", "1: QUIT"]);
}

#[tokio::test]
async fn without_sni_a_client_meets_a_certificate_that_it_cannot_trust() {
    let sandbox = start(Options::default()).await;
    let connect =
        || async { Client::new(TcpStream::connect(sandbox.implicit_address()).await.unwrap()) };
    // An IP address as the name means that no SNI is sent.
    assert!(connect().await.secure(&sandbox, "127.0.0.1").await.is_err());
    assert!(connect().await.secure(&sandbox, "other.example.org").await.is_err());
    assert!(connect().await.secure(&sandbox, "smtp.gmail.com").await.is_ok());
    let sandbox = start(Options { require_sni: false, ..Options::default() }).await;
    let stream = TcpStream::connect(sandbox.implicit_address()).await.unwrap();
    assert!(Client::new(stream).secure(&sandbox, "127.0.0.1").await.is_ok());
}

#[tokio::test]
async fn each_trigger_password_gets_gmails_answer() {
    let sandbox = start(Options::default()).await;
    let cases = [
        ("abcd efgh ijkl mnop", "S: 235 2.7.0 Accepted"),
        ("abcdefghijklmnop", "S: 235 2.7.0 Accepted"),
        (
            "wrong",
            "S: 535-5.7.8 Username and Password not accepted.\nS: 535 5.7.8  https://support.google.com/mail/?p=BadCredentials ",
        ),
        ("anything else", "S: 535-5.7.8 \nS: 535 5.7.8 "),
        (
            "needs-app-password",
            "S: 534-5.7.9 Application-specific password required.\nS: 534 5.7.9  https://support.google.com/mail/?p=InvalidSecondFactor ",
        ),
        (
            "needs-browser",
            "S: 534-5.7.9 Please log in with your web browser and then try again.\nS: 534-5.7.9 \nS: 534 5.7.9 ",
        ),
        (
            "captcha",
            "S: 534-5.7.14 <https://accounts.google.com/signin/\nS: 534-5.7.14 \nS: 534-5.7.14 \nS: 534-5.7.14 \nS: 534 5.7.14 ",
        ),
        ("busy", "S: 454 4.7.0 Cannot authenticate due to temporary system problem."),
        (
            "toomany",
            "S: 454-4.7.0 Too many login attempts, please try again later.\nS: 454-4.7.0 \nS: 454 4.7.0 ",
        ),
        ("drop", "close"),
    ];
    for (password, reply) in cases {
        let mut client = Client::implicit(&sandbox).await;
        client
            .talk(&format!(
                "S: 220 \nC: EHLO a.example\n{EHLO_REST}\nC: {}\n{reply}",
                plain("u", password)
            ))
            .await;
    }
    // AUTH LOGIN meets the same triggers.
    let mut client = Client::greeted(&sandbox).await;
    let login = "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dQ==\nS: 334 UGFzc3dvcmQ6\n";
    client.talk(&format!("{login}C: YnVzeQ==\nS: 454 4.7.0 Cannot authenticate")).await;
    client.talk(&format!("{login}C: ZHJvcA==\nclose")).await;
    let counters = sandbox.mailbox().counters();
    assert_eq!((counters.logins, counters.login_refusals), (2, 10));
    assert!(
        sandbox.mailbox().last_commands().iter().all(|line| !line.contains("AG")),
        "no credentials kept"
    );
}

#[tokio::test]
async fn the_password_hang_gets_no_answer_at_all() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::implicit(&sandbox).await;
    let auth = plain("u", "hang");
    client.talk(&format!("S: 220 \nC: EHLO a.example\n{EHLO_REST}\nC: {auth}\nC: NOOP")).await;
    let mut octet = [0; 1];
    let silent =
        tokio::time::timeout(Duration::from_millis(100), client.stream.read(&mut octet)).await;
    assert!(silent.is_err(), "neither a reply nor the end of the connection");
}

#[tokio::test]
async fn authentication_is_refused_where_gmail_refuses_it() {
    let accounts = [("me@gmail.com".to_owned(), "my password".to_owned())].into();
    let sandbox = start(Options { accounts, ..Options::default() }).await;
    let mut client = Client::implicit(&sandbox).await;
    let (right, other) =
        (plain("me@gmail.com", "my password"), plain("you@gmail.com", "my password"));
    client
        .talk(&format!(
            "S: 220 \nC: EHLO a.example\n{EHLO_REST}
C: AUTH XOAUTH dXNlcj0=\nS: 504 5.7.4 XOAUTH is no longer supported.
C: AUTH CRAM-MD5\nS: 504 5.7.4 Unrecognized Authentication Type\nC: AUTH PLAIN !!!\nS: 501 5.5.2 Cannot Decode response
C: AUTH PLAIN\nS: 334\nC: *\nS: 501 5.5.2 \nC: {other}\nS: 535-5.7.8 \nS: 535 5.7.8 
C: AUTH PLAIN\nS: 334\nC: {}\nS: 235 2.7.0 \nC: {right}\nS: 503 5.7.0 No identity changes permitted.",
            right.trim_start_matches("AUTH PLAIN ")
        ))
        .await;
}

#[tokio::test]
async fn an_ehlo_name_that_is_no_host_name_is_answered_like_rate_limiting() {
    let sandbox = start(Options::default()).await;
    for name in ["EHLO localhost", "EHLO [127.0.0.1]", "HELO LOCALHOST", "EHLO "] {
        let mut client = Client::starttls(&sandbox).await;
        client
            .talk(&format!(
                "S: 220 \nC: {name}\nS: 421-4.7.0 Try again later, closing connection. (EHLO)\nS: 421-4.7.0 \nS: 421 4.7.0 \nclose"
            ))
            .await;
    }
    let sandbox = start(Options { refuse_localhost_ehlo: false, ..Options::default() }).await;
    Client::plain(&sandbox)
        .await
        .talk("S: 220 mx.google.com ESMTP \nC: EHLO localhost\nS: 250-mx.google.com ")
        .await;
}

#[tokio::test]
async fn commands_out_of_order_or_malformed_are_refused_with_gmails_codes() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::ready(&sandbox).await;
    let three = |code: &str| {
        format!("S: {}\nS: {}\nS: {code}", code.replacen(' ', "-", 1), code.replacen(' ', "-", 1))
    };
    let two_and = |code: &str| format!("S: {}", code.replacen(' ', "-", 1));
    let (syntax, order) = (three("555 5.5.2 "), three("503 5.5.1 "));
    let sender = format!("{}\n{}", two_and("553 5.1.7 "), three("553 5.1.7 "));
    let recipient = format!("{}\n{}", two_and("553 5.1.3 "), three("553 5.1.3 "));
    client
        .talk(&format!(
            "C: RCPT TO:<a@b.net>\n{order}\nC: DATA\n{order}\nC: MAIL FROM:me@gmail.com\n{syntax}
C: MAIL FROM: <me@gmail.com>\n{syntax}\nC: MAIL FROM:<me@gmail.com> RET=HDRS\n{syntax}
C: MAIL FROM:<me@gmail.com> ENVID=1\n{syntax}
C: MAIL FROM:<me@gmail.com> SIZE=35882578\nS: 552-5.3.4 \nS: 552-5.3.4 \nS: 552 5.3.4  https://support.google.com/mail/?p=MaxSizeError 
C: MAIL FROM:<no-domain>\n{sender}\nC: MAIL FROM:<ü@gmail.com>\n{sender}
C: MAIL FROM:<ü@gmail.com> SMTPUTF8\nS: 250 2.1.0 \nC: MAIL FROM:<me@gmail.com>\n{order}\nC: DATA\n{order}
C: RCPT TO:<a@b.net> NOTIFY=NEVER\n{syntax}\nC: RCPT TO:<a b@c.net>\n{recipient}\nC: RCPT TO:<nodomain>\n{recipient}
C: RCPT TO:<ü@b.net>\nS: 250 2.1.5 \nC: RSET\nS: 250 2.1.5 Flushed \nC: NOOP\nS: 250 2.0.0 OK \nC: VRFY a\nS: 252 2.1.5 
C: HELP\nS: 214 2.0.0 "
        ))
        .await;
    let unknown = format!("C: HELLO?\n{}\n", three("502 5.5.1 ")).repeat(5);
    client
        .talk(&format!(
            "{unknown}C: HELLO?\nS: 502 5.5.1 Too many unrecognized commands, goodbye.\nclose"
        ))
        .await;
}

#[tokio::test]
async fn the_hundred_and_first_recipient_is_refused_and_the_others_are_served() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::ready(&sandbox).await;
    let recipients: String =
        (0..100).map(|n| format!("C: RCPT TO:<ok{n}@x.net>\nS: 250 2.1.5 \n")).collect();
    client
        .talk(&format!(
            "{OPEN}\n{recipients}C: RCPT TO:<ok@x.net>\nS: 452-4.5.3 \nS: 452-4.5.3 \nS: 452 4.5.3 "
        ))
        .await;
    client.talk("C: DATA\nS: 354 \nC: .\nS: 250 2.0.0 OK ").await;
    assert_eq!(sandbox.mailbox().accepted()[0].rcpt_to.len(), 100);
    // RSET begins a new count.
    client
        .talk(&format!("{OPEN}\n{recipients}C: RSET\nS: 250 2.1.5 Flushed \n{OPEN}\n{recipients}"))
        .await;
    client.talk("C: DATA\nS: 354 \nC: .\nS: 250 2.0.0 OK ").await;
    assert_eq!(sandbox.mailbox().accepted()[1].rcpt_to.len(), 100);
}

#[tokio::test]
async fn data_too_large_or_with_bare_line_feeds_is_refused_behind_the_dot() {
    let sandbox = start(Options { size_bytes_max: 100, ..Options::default() }).await;
    let mut client = Client::implicit(&sandbox).await;
    let ehlo = EHLO_REST.replace("35882577", "100");
    let auth = plain("me@gmail.com", "abcdefghijklmnop");
    client.talk(&format!("S: 220 \nC: EHLO a.example\n{ehlo}\nC: {auth}\nS: 235 ")).await;
    let large = at_data(&format!(
        "S: 354 \nC: {}\nC: .\nS: 552-5.3.4 \nS: 552-5.3.4 \nS: 552 5.3.4 ",
        "x".repeat(99)
    ));
    client.message("ok", &large).await;
    client
        .message("ok", &at_data(&format!("S: 354 \nC: {}\nC: .\nS: 250 2.0.0 ", "x".repeat(98))))
        .await;
    client.message("ok", &at_data("S: 354 ")).await;
    client.send(b"a\n.\nb\r\n.\r\n").await;
    client
        .talk(
            "S: 451-4.5.0 SMTP protocol violation\nS: 451-4.5.0 \nS: 451 4.5.0 \nC: NOOP\nS: 250 ",
        )
        .await;
    assert_eq!(sandbox.mailbox().count(), 1);

    let sandbox = start(Options { strict_line_ends: false, ..Options::default() }).await;
    let mut client = Client::ready(&sandbox).await;
    client.message("ok", &at_data("S: 354 ")).await;
    client.send(b"a\n.\nb\r\n.\r\n").await;
    client.talk("S: 250 2.0.0 OK ").await;
    assert_eq!(sandbox.mailbox().accepted()[0].body, b"a\n.\nb\r\n");
}

#[tokio::test]
async fn the_plain_port_takes_mail_without_tls_and_login_and_without_a_daily_limit() {
    let sandbox = start(Options { recipients_per_day: 1, ..Options::default() }).await;
    let mut client = Client::plain(&sandbox).await;
    client
        .talk(
            "S: 220 mx.google.com ESMTP \nC: EHLO a.example\nS: 250-mx.google.com at your service, [127.0.0.1]
S: 250-SIZE 157286400\nS: 250-8BITMIME\nS: 250-ENHANCEDSTATUSCODES\nS: 250-PIPELINING\nS: 250-CHUNKING\nS: 250 SMTPUTF8
C: AUTH PLAIN\nS: 502-5.5.1 \nS: 502-5.5.1 \nS: 502 5.5.1 \nC: STARTTLS\nS: 502-5.5.1 \nS: 502-5.5.1 \nS: 502 5.5.1 ",
        )
        .await;
    client.message("ok", ACCEPTED).await;
    client.message("ok", ACCEPTED).await;
    let accepted = sandbox.mailbox().accepted();
    assert_eq!((accepted[1].tls.as_ref(), accepted[1].username.as_deref()), (None, None));
}
