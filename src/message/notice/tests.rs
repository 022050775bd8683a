//! Notices as they go out.

use super::*;

fn failure(id: &str, recipients: Vec<FailedRecipient>) -> Failure {
    Failure {
        id: id.into(),
        accepted_at: Timestamp(1_800_000_000_000),
        reverse_path: "root@web01.example".parse().ok(),
        origin: "web01.example [192.0.2.7]".into(),
        subject: Some("Backup\r\n failed: caf\u{e9}".into()),
        message_id: Some("<1@web01.example>".into()),
        envelope_id: None,
        recipients,
        returned: Returned::Headers(
            b"Subject: Backup failed\r\nMessage-ID: <1@web01.example>\r\n".to_vec(),
        ),
    }
}

fn refused(address: &str, reply: &str) -> FailedRecipient {
    FailedRecipient {
        address: address.parse().unwrap(),
        original_recipient: None,
        action: Action::Failed,
        reason: "refused by the upstream".into(),
        reply: Some(reply.into()),
        attempts: 1,
    }
}

fn build(failures: &[Failure], omitted: usize) -> String {
    let (from, to) = ("me@gmail.com".parse().unwrap(), "admin@example.org".parse().unwrap());
    let notice = Notice {
        hostname: "relay.example",
        from: &from,
        to: &to,
        at: Timestamp(1_800_000_600_000),
        boundary: "b0undary",
        failures,
        omitted,
        left_out: 3,
    };
    String::from_utf8(notice.build().unwrap()).unwrap()
}

/// The parts between the boundaries, without their own headers.
fn parts(message: &str) -> Vec<(&str, &str)> {
    let body = message.split_once("\r\n\r\n").unwrap().1;
    let sections = body.split("--b0undary").skip(1).filter(|section| !section.starts_with("--"));
    sections
        .map(|section| section.trim_start_matches("\r\n").split_once("\r\n\r\n").unwrap())
        .collect()
}

#[test]
fn one_failure_is_a_delivery_report_with_the_header_of_the_original() {
    let message =
        build(&[failure("01abc", vec![refused("gone@example.net", "550 5.1.1 no such user")])], 0);
    let header = message.split_once("\r\n\r\n").unwrap().0;
    assert!(
        header.contains("Content-Type: multipart/report; report-type=delivery-status"),
        "{header}"
    );
    for field in [
        "From: \"Pillarbox on relay.example\" <me@gmail.com>",
        "To: admin@example.org",
        "Date: Fri, 15 Jan 2027 08:10:00 +0000",
        "Auto-Submitted: auto-replied",
        "In-Reply-To: <1@web01.example>",
    ] {
        assert!(header.lines().any(|line| line == field), "{field} is missing in\n{header}");
    }
    let parts = parts(&message);
    assert_eq!(parts.len(), 3);
    assert!(parts[0].1.contains("gone@example.net: refused by the upstream"), "{}", parts[0].1);
    assert_eq!(
        parts[1].1.trim_end(),
        "Reporting-MTA: dns; relay.example\r\nX-Pillarbox-Queue-ID: 01abc\r\n\
         Arrival-Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n\r\n\
         Final-Recipient: rfc822; gone@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 no such user"
    );
    assert!(parts[2].0.starts_with("Content-Type: text/rfc822-headers"));
    assert_eq!(parts[2].1.trim_end(), "Subject: Backup failed\r\nMessage-ID: <1@web01.example>");
}

#[test]
fn several_failures_make_one_list_with_a_report_of_each_and_the_number_of_the_rest() {
    let failures: Vec<Failure> = (0..3)
        .map(|number| {
            failure(&format!("01{number}"), vec![refused("a@example.net", "550 5.1.1 no")])
        })
        .collect();
    let message = build(&failures, 40);
    assert!(message.contains("Subject: [relay.example] 43 messages could not be relayed\r\n"));
    assert!(message.contains("Auto-Submitted: auto-generated\r\n"));
    let parts = parts(&message);
    let kinds: Vec<bool> =
        parts.iter().map(|part| part.0.contains("Content-Type: message/delivery-status")).collect();
    assert_eq!(kinds, [false, true, true, true]);
    assert!(parts[0].1.contains("and 40 more; pillarbox dead list shows"), "{}", parts[0].1);
    assert!(parts[0].1.contains("Not told: 3 of the senders"), "{}", parts[0].1);
}

#[test]
fn a_refusal_of_our_own_has_its_status_and_no_reply_of_an_upstream() {
    let words = "5.6.7 r\u{e9}a@example.net needs SMTPUTF8, which the upstream does not offer";
    let message = build(&[failure("01abc", vec![refused("r\u{e9}a@example.net", words)])], 0);
    assert!(message.contains("Status: 5.6.7\r\n"), "{message}");
    assert!(!message.contains("Diagnostic-Code"), "{message}");
}

#[test]
fn a_lifetime_that_is_over_is_a_failure_although_the_last_reply_was_temporary() {
    let message = build(&[failure("01abc", vec![refused("a@example.net", "451 4.3.0 later")])], 0);
    assert!(
        message.contains("Status: 5.0.0\r\nDiagnostic-Code: smtp; 451 4.3.0 later\r\n"),
        "{message}"
    );
}

#[test]
fn what_others_wrote_can_break_neither_a_line_nor_a_limit() {
    let mut recipient = refused(
        "a@example.net",
        &format!("550 5.1.1 a\r\n\r\nAction: relayed\0{}", "x".repeat(5_000)),
    );
    recipient.original_recipient = Some("rfc822;x@y\r\nStatus: 2.0.0".into());
    let mut failure = failure("01abc", vec![recipient]);
    failure.origin = "evil\r\n.\r\nQUIT".into();
    failure.returned = Returned::Full(b"x\r\n".repeat(100_000));
    let message = build(&[failure], 0);
    assert!(
        !message.contains("\nAction: relayed") && !message.contains("\nStatus: 2.0.0"),
        "{message}"
    );
    assert!(message.lines().all(|line| line.len() <= 998 && line != "."));
    assert!(message.len() < RETURNED_BYTES_MAX + 10_000);
    assert!(message.contains("Content-Type: message/rfc822\r\n"));
}

#[test]
fn a_delay_is_told_as_such() {
    let mut recipient = refused("a@example.net", "450 4.2.1 too fast");
    recipient.action = Action::Delayed;
    let message = build(&[failure("01abc", vec![recipient])], 0);
    assert!(
        message.contains("Action: delayed\r\nStatus: 4.2.1\r\n")
            && message.contains("Mail is waiting")
    );
}

#[test]
fn a_success_is_told_as_relayed_and_not_as_delivered() {
    let mut recipient = refused("a@example.net", "250 2.0.0 OK");
    recipient.action = Action::Relayed;
    let message = build(&[failure("01abc", vec![recipient])], 0);
    assert!(message.contains("Action: relayed\r\nStatus: 2.0.0\r\n"), "{message}");
    assert!(
        message.contains("Mail was relayed") && !message.contains("Diagnostic-Code"),
        "{message}"
    );
}

#[test]
fn a_report_is_seven_bits_in_short_lines_and_says_all_of_the_diagnosis() {
    let reply =
        format!("550 5.7.1 see https://x.example/?a=b=3D Empf\u{e4}nger {}", "word ".repeat(40));
    let mut recipient = refused("gone@example.net", &reply);
    recipient.original_recipient = Some("utf-8;j\u{fc}rg@example.net".into());
    let mut failure = failure("01abc", vec![recipient]);
    failure.subject = Some("=?utf-8?b?QsO8cm8=?= \u{202e}7".into());
    let message = build(&[failure], 0);
    let status = parts(&message)[1];
    assert!(status.0.contains("Content-Transfer-Encoding: 7bit"), "{}", status.0);
    assert!(status.1.is_ascii() && status.1.lines().all(|line| line.len() <= 78), "{}", status.1);
    assert!(status.1.contains("?a=b=3D"), "{}", status.1);
    assert!(status.1.contains("Original-Recipient: utf-8; j\\x{FC}rg@example.net"), "{}", status.1);
    let people = parts(&message)[0];
    assert!(people.0.contains("quoted-printable") || people.0.contains("8bit"), "{}", people.0);
    assert!(!message.contains('\u{202e}') && message.contains("B=C3=BCro"), "{message}");
}

#[test]
fn what_got_no_answer_twice_is_told_as_what_may_have_arrived() {
    let reason = "the connection was lost (at final dot)";
    let mut recipient = refused("a@example.net", reason);
    (recipient.action, recipient.reason) = (Action::Held, reason.into());
    let message = build(&[failure("01abc", vec![recipient.clone()])], 0);
    assert!(message.contains("Mail may not have arrived"), "{message}");
    let parts = parts(&message);
    assert_eq!(
        parts[0].1.trim_end().replace("=\r\n", "").replace("\r\n", "\n"),
        "This is the mail relay on relay.example. A message may have arrived, or may not: no answer came to the final dot.\n\n\
         Message    01abc\n  subject  Backup failed: caf=C3=A9\n\
         \u{20} from     root@web01.example, handed over by web01.example [192.0.2.7]\n\
         \u{20} accepted Fri, 15 Jan 2027 08:00:00 +0000\n\
         \u{20} to       a@example.net (may have arrived): the connection was lost (at final dot)\n\n\
         Not told: 3 of the senders, because of the limit of notices in an hour ([notices] per_hour).\n\n\
         Where no answer came to the final dot twice, or once if [queue] uncertain\n\
         is \"hold\", the mail may have arrived. It is not sent again by itself, and\n\
         is kept for a time. Ask whether it has arrived; on the relay's host:\n\n\
         \u{20} pillarbox queue list --state held  what is kept, and why\n\
         \u{20} pillarbox queue retry ID           sends it again; it may arrive twice\n\
         \u{20} pillarbox queue delete ID          gives it up"
    );
    assert!(parts[1].1.trim_end().ends_with("Action: failed\r\nStatus: 5.4.2"), "{}", parts[1].1);

    let dead = refused("b@example.net", "550 5.1.1 no such user");
    let both = build(&[failure("01abc", vec![dead, recipient])], 0);
    for words in ["pillarbox dead resend ID", "pillarbox queue retry ID", "(may have arrived)"] {
        assert!(both.contains(words), "{words} is missing in\n{both}");
    }
}

#[test]
fn the_text_says_how_often_was_tried_what_was_tried_more_than_once() {
    let tried = |attempts, action| FailedRecipient {
        attempts,
        action,
        ..refused("box@example.net", "452 4.2.2 full")
    };
    let recipients = vec![
        tried(7, Action::Failed),
        tried(3, Action::Delayed),
        tried(1, Action::Relayed),
        tried(1, Action::Failed),
    ];
    let message = build(&[failure("01abc", recipients)], 0);
    let text = parts(&message)[0].1.replace("=\r\n", "");
    for fate in
        [" (tried 7 times): ", " (tried 3 times, still being tried): ", " (relayed): ", ": "]
    {
        let line = format!("to       box@example.net{fate}refused by the upstream");
        assert!(text.contains(&line), "{line} is missing in\n{text}");
    }
}
