//! Mail beyond the limit that Gmail takes all the same, missing STARTTLS, wrong certificates.

use pillarbox_sandbox::{Certificate, JournalLine, Options, OverLimit};
use tokio::net::TcpStream;

use super::client::*;

#[tokio::test]
async fn mail_beyond_the_limit_may_be_accepted_and_bounced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let (sandbox, clock) = start_with(|options| {
        options.recipients_per_day = 1;
        options.over_limit = OverLimit::AcceptThenBounce;
        options.journal = Some(path.clone());
    })
    .await;
    let mut events = sandbox.events();
    let mut client = Client::ready(&sandbox).await;
    client.message("ok", ACCEPTED).await;
    client.message("ok", ACCEPTED).await;
    clock.advance(24 * HOUR);
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;

    let bounced: Vec<bool> =
        sandbox.mailbox().accepted().iter().map(|message| message.bounced).collect();
    assert_eq!(bounced, [false, true, false]);
    assert_eq!(sandbox.spent("me@gmail.com"), 1, "what bounces is not counted");
    let counters = sandbox.mailbox().counters();
    assert_eq!((counters.bounces, counters.quota_refusals), (1, 0));
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<JournalLine> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line.bounced).collect::<Vec<_>>(), bounced);
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.extend(
            event.text.starts_with("bounced into the account's inbox").then_some(event.text),
        );
    }
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("You have reached a limit for sending mail. Your message was not sent.")
    );
}

#[tokio::test]
async fn starttls_may_be_missing_as_behind_a_middlebox() {
    let sandbox = start(Options { offer_starttls: false, ..Options::default() }).await;
    let mut client = Client::starttls(&sandbox).await;
    client
        .talk(
            "S: 220 \nC: EHLO relay.example.org\nS: 250-smtp.gmail.com at your service\nS: 250-SIZE \nS: 250-8BITMIME
S: 250-ENHANCEDSTATUSCODES\nS: 250-PIPELINING\nS: 250-CHUNKING\nS: 250 SMTPUTF8
C: STARTTLS\nS: 502-5.5.1 Unimplemented\nS: 502-5.5.1 \nS: 502 5.5.1 
C: AUTH PLAIN\nS: 530-5.7.0 \nS: 530-5.7.0 \nS: 530 5.7.0 \nC: MAIL FROM:<>\nS: 530-5.7.0 \nS: 530-5.7.0 \nS: 530 5.7.0 ",
        )
        .await;
    // The other port is not affected.
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
}

#[tokio::test]
async fn a_wrong_certificate_is_one_that_no_client_accepts() {
    for (certificate, complaint) in [
        (Certificate::OtherName, "not valid for name"),
        (Certificate::OtherAuthority, "BadSignature|UnknownIssuer"),
        (Certificate::Expired, "expired"),
    ] {
        let sandbox = start(Options { certificate, ..Options::default() }).await;
        let stream = TcpStream::connect(sandbox.implicit_address()).await.unwrap();
        let error =
            Client::new(stream).secure(&sandbox, "smtp.gmail.com").await.err().unwrap().to_string();
        assert!(complaint.split('|').any(|word| error.contains(word)), "{certificate:?}: {error}");
    }
}
