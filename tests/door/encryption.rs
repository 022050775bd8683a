//! STARTTLS, implicit TLS, and certificates that are renewed.

use std::time::Duration;

use pillarbox::listener::Options;
use tokio::io::AsyncReadExt;

use super::stage::{Certificate, Door, Log, endpoint, let_others_work, patiently, with_tls};

/// More than the listener lets pass between two looks at its files.
const UNTIL_THE_NEXT_LOOK: Duration = Duration::from_secs(10);

#[tokio::test]
async fn starttls_protects_the_session_and_the_message_says_so() {
    let (certificate, issuer) = Certificate::new();
    let door = Door::open(with_tls(&certificate));
    let mut plain = door.greeted().await;
    assert!(plain.say("EHLO client.test", "250").await.contains("STARTTLS"));
    plain.say("STARTTLS", "220 2.0.0").await;
    let mut client = plain.handshake(&issuer).await.unwrap();
    assert!(!client.say("EHLO client.test", "250").await.contains("STARTTLS"));
    client.mail().await;
    client.say("QUIT", "221").await;
    client.expect_end().await;
    let message = door.messages().await.remove(0);
    assert!(message.contains("with ESMTPS"), "{message}");
}

#[tokio::test]
async fn a_large_message_comes_through_tls_byte_for_byte() {
    let (certificate, issuer) = Certificate::new();
    let door = Door::open(with_tls(&certificate));
    let mut client = door.secured(&issuer).await;
    client.start_message().await;
    let body = "0123456789abcdef\r\n".repeat(200_000);
    client.send(format!("X: y\r\n\r\n{body}.\r\n")).await;
    client.expect("250 2.0.0").await;
    assert!(door.messages().await[0].ends_with(&body));
}

#[tokio::test]
async fn commands_injected_behind_starttls_are_not_executed() {
    let (certificate, issuer) = Certificate::new();
    let door = Door::open(with_tls(&certificate));
    let mut client = door.greeted().await;
    client.say("EHLO client.test", "250").await;
    client.send("STARTTLS\r\nEHLO x\r\nMAIL FROM:<injected@client.test>\r\n").await;
    client.expect("220 2.0.0").await;
    let mut client = client.handshake(&issuer).await.unwrap();
    client.say("RCPT TO:<b@example.org>", "503").await;
    client.say("NOOP", "250").await;
}

#[tokio::test]
async fn a_port_with_implicit_tls_greets_within_it() {
    let (certificate, issuer) = Certificate::new();
    let door =
        Door::open(Options { addresses: vec![endpoint(true, false)], ..with_tls(&certificate) });
    let mut client = door.client().await.handshake(&issuer).await.unwrap();
    client.expect("220 relay.test").await;
    assert!(!client.say("EHLO client.test", "250").await.contains("STARTTLS"));
    client.mail().await;
    client.say("QUIT", "221").await;
    client.expect_end().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_clients_and_the_old_connection_lives() {
    let (certificate, first) = Certificate::new();
    let door = Door::open(with_tls(&certificate));
    let mut old = door.secured(&first).await;
    let second = certificate.renew();
    door.clock.advance(UNTIL_THE_NEXT_LOOK);
    let new = door.secured(&second).await;
    assert_eq!(new.0.get_ref().1.peer_certificates().unwrap()[0], second);
    old.mail().await;

    std::fs::write(certificate.path("cert.pem"), "half a certif").unwrap();
    door.clock.advance(UNTIL_THE_NEXT_LOOK);
    let mut kept = door.secured(&second).await;
    kept.mail().await;
}

#[tokio::test]
async fn a_client_that_is_too_old_for_tls_is_named_with_the_remedy() {
    let (log, _guard) = Log::capture();
    let (certificate, _) = Certificate::new();
    let door = Door::open(with_tls(&certificate));
    let mut client = door.greeted().await;
    client.say("EHLO printer", "250").await;
    client.say("STARTTLS", "220").await;
    client.send(hello_of_tls_1_0()).await;
    let mut alert = Vec::new();
    patiently(client.0.read_to_end(&mut alert)).await.ok();
    assert_eq!(alert.first(), Some(&21), "an alert, not silence: {alert:?}");
    let_others_work().await;
    let text = log.text();
    assert!(text.contains("handshake refused, client speaks TLS 1.0"), "{text}");
    assert!(text.contains("starttls = false"), "{text}");
    assert_eq!(door.summary().failed_handshakes, 1);
}

#[tokio::test]
async fn a_client_that_falls_silent_in_the_handshake_is_given_up() {
    let (certificate, _) = Certificate::new();
    for options in [
        with_tls(&certificate),
        Options { addresses: vec![endpoint(true, false)], ..with_tls(&certificate) },
    ] {
        let implicit = options.addresses[0].implicit_tls;
        let door = Door::open(options);
        let mut client = if implicit { door.client().await } else { door.greeted().await };
        if !implicit {
            client.say("EHLO x", "250").await;
            client.say("STARTTLS", "220").await;
        }
        let began = door.now_ms();
        door.time_passes(client.expect_end()).await;
        assert!(door.now_ms() - began >= 30_000);
    }
}

#[tokio::test]
async fn whoever_looks_whether_the_port_of_tls_is_open_is_not_counted_as_failed() {
    let (certificate, issuer) = Certificate::new();
    let door =
        Door::open(Options { addresses: vec![endpoint(true, false)], ..with_tls(&certificate) });
    drop(door.client().await);
    let mut client = door.client().await.handshake(&issuer).await.unwrap();
    client.expect("220").await;
    client.say("QUIT", "221").await;
    let_others_work().await;
    assert_eq!(door.summary().failed_handshakes, 0);
}

#[tokio::test]
async fn junk_after_starttls_is_told_as_what_it_is() {
    let (log, _guard) = Log::capture();
    let (certificate, _) = Certificate::new();
    let door = Door::open(with_tls(&certificate));
    let mut client = door.greeted().await;
    client.say("EHLO x", "250").await;
    client.say("STARTTLS", "220").await;
    client.send("EHLO again\r\n").await;
    patiently(client.0.read_to_end(&mut Vec::new())).await.ok();
    let_others_work().await;
    assert!(log.text().contains("client sent no TLS"), "{}", log.text());
    assert_eq!(door.summary().failed_handshakes, 1);
}

/// As an old printer sends it: version 3.1, one cipher (TLS_RSA_WITH_AES_128_CBC_SHA), no extensions.
fn hello_of_tls_1_0() -> Vec<u8> {
    let mut body = vec![3, 1];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x00, 0x2f, 1, 0]);
    let length = u8::try_from(body.len()).unwrap();
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length], &body[..]].concat()
}
