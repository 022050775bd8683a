//! Gmail's copy of a message, for inspection, and what is kept beside it.

use pillarbox_sandbox::Options;

use super::client::*;

async fn sent(options: impl FnOnce(&mut Options), header: &str) -> String {
    let (sandbox, _clock) = start_with(options).await;
    let mut client = Client::ready(&sandbox).await;
    let lines: String = header.lines().map(|line| format!("C: {line}\n")).collect();
    let rest =
        format!("S: 250 2.1.5 OK \nC: DATA\nS: 354 \n{lines}C: \nC: body\nC: .\nS: 250 2.0.0 OK ");
    client.message("ok", &rest).await;
    let mailbox = sandbox.mailbox();
    let accepted = &mailbox.accepted()[0];
    // The original is stored verbatim beside the copy.
    assert_eq!(
        accepted.body,
        format!("{}\r\n\r\nbody\r\n", header.replace('\n', "\r\n")).as_bytes()
    );
    let copy = String::from_utf8(mailbox.rewritten(accepted)).unwrap();
    copy.replace(&accepted.session_id, "ID")
        .replace(&accepted.tls.as_ref().unwrap().cipher_suite, "CIPHER")
}

const TRACE: &str = "Return-Path: <me@gmail.com>\r
Received: from relay.example.org ([127.0.0.1])\r
        by smtp.gmail.com with ESMTPSA id ID\r
        for <ok@example.net>\r
        (version=TLS1_3 cipher=CIPHER bits=256/256);\r
        Tue, 21 May 2024 08:54:01 +0000\r
";

#[tokio::test]
async fn a_message_of_the_account_itself_gets_trace_fields_only() {
    let header = "From: Me <me@gmail.com>\nMessage-ID: <1@x>\nDate: Tue, 21 May 2024 10:00:00 +0200\nSubject: x\n y";
    let expected = format!("{TRACE}{}\r\n\r\nbody\r\n", header.replace('\n', "\r\n"));
    assert_eq!(sent(|_| (), header).await, expected);
}

#[tokio::test]
async fn a_foreign_from_becomes_the_account_unless_it_is_a_verified_address() {
    let header = "From: \"Root, web01\" <root@web01>\nMessage-ID: <1@x>\nDate: Tue, 21 May 2024 10:00:00 +0200";
    let copy = sent(|_| (), header).await;
    let from = "From: \"Root, web01\" <me@gmail.com>\r\nX-Google-Original-From: \"Root, web01\" <root@web01>\r\n";
    assert!(copy.contains(from), "{copy}");
    let copy = sent(|options| options.send_as = vec!["root@web01".into()], header).await;
    assert!(copy.contains("\nFrom: \"Root, web01\" <root@web01>\r\n"), "{copy}");
    assert!(!copy.contains("X-Google-Original"), "{copy}");
}

#[tokio::test]
async fn missing_fields_are_added_and_broken_ones_replaced_with_the_old_value_beside_them() {
    let copy = sent(|_| (), "From: me@gmail.com\nSubject: x").await;
    assert!(
        copy.contains("@mx.google.com>\r\nDate: Tue, 21 May 2024 08:54:01 +0000\r\nFrom: "),
        "{copy}"
    );
    assert!(copy.contains("Message-ID: <664c6129.1c69fb81."), "{copy}");
    let copy =
        sent(|_| (), "From: me@gmail.com\nMessage-ID: broken\nDate: Tue, 21 May 2024 08:00:00 GMT")
            .await;
    assert!(copy.contains(".SMTPIN_ADDED_BROKEN@mx.google.com>\r\n"), "{copy}");
    assert!(copy.contains("\nX-Google-Original-Message-ID: broken\r\n"), "{copy}");
    assert!(
        copy.contains(
            "\nDate: Tue, 21 May 2024 08:00:00 +0000\r\nX-Google-Original-Date: Tue, 21 May 2024 08:00:00 GMT\r\n"
        ),
        "{copy}"
    );
}

#[tokio::test]
async fn duplicates_are_recognised_by_their_message_id() {
    let sandbox = start(Options { messages_kept_max: 2, ..Options::default() }).await;
    let mut events = sandbox.events();
    let mut client = Client::ready(&sandbox).await;
    for copies in 1..=2 {
        client.message("ok", ACCEPTED).await;
        assert_eq!(sandbox.mailbox().accepted()[copies - 1].copies_before, copies - 1);
    }
    assert_eq!(sandbox.mailbox().duplicates().get("<1@x>"), Some(&2));
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(event.text.ends_with("message_id=<1@x> duplicate"));
    }
    assert_eq!(told.iter().filter(|duplicate| **duplicate).count(), 1);
    // What is forgotten is not a duplicate any more.
    for number in 2..=3 {
        client.message("ok", &ACCEPTED.replace("<1@x>", &format!("<{number}@x>"))).await;
    }
    assert!(sandbox.mailbox().duplicates().is_empty());
}
