//! The identity that mail is sent as, on the wire: envelope, header and the size that is announced.

use pillarbox::{
    message::identity::FromPolicy,
    sandbox::{Failure, Stage},
    shutdown::Phase,
};

use super::scene::{MINUTE, Scene, eventually};

const FOREIGN: &[u8] =
    b"From: Shop <shop@example.org>\r\nBcc: secret@example.net\r\nSubject: x\r\n\
      Message-ID: <1@example.org>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nbody\r\n";

fn header(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body).into_owned();
    text.split_once("\r\n\r\n").expect("an empty line").0.to_owned()
}

#[tokio::test]
async fn the_upstream_hears_the_account_and_the_true_size() {
    let scene = Scene::running(|_| {}).await;
    scene.submit_body(&["ok@example.net"], FOREIGN).await;
    let message = &scene.until_received(1).await[0];
    assert_eq!(message.mail_from, "me@gmail.com");
    let header = header(&message.body);
    assert!(
        header.contains("\r\nFrom: Shop <me@gmail.com>\r\nReply-To: shop@example.org\r\n"),
        "{header}"
    );
    assert!(header.contains("\r\nX-Original-From: Shop <shop@example.org>\r\n"), "{header}");
    assert!(!header.contains("Bcc"), "{header}");
    assert!(message.body.ends_with(b"\r\n\r\nbody\r\n"));
    let size = format!("SIZE={}", message.size);
    assert!(message.parameters.contains(&size), "{size} is not in {:?}", message.parameters);
}

#[tokio::test]
async fn a_corrected_configuration_applies_to_mail_that_waits_already() {
    let mut scene = Scene::new().await;
    scene.sandbox.fail_next(Stage::Dot, Failure::Reply("451 4.3.0 Try again later.".into()));
    scene.start();
    let id = scene.submit_body(&["ok@example.net"], FOREIGN).await;
    eventually(
        "the first attempt",
        async || scene.state(id).await.1 == 1,
        async || format!("{:?}", scene.state(id).await),
    )
    .await;
    scene.stop(Phase::Draining).await;
    scene.options.identity.from = FromPolicy::AliasList;
    scene.options.identity.send_as = vec!["shop@example.org".parse().unwrap()];
    scene.start();
    scene.advance(2 * MINUTE).await;
    scene.until_names(id, &["relayed"]).await;
    let message = &scene.until_received(1).await[0];
    assert_eq!(message.mail_from, "me@gmail.com", "bounces go to the account all the same");
    let header = header(&message.body);
    assert!(header.contains("\r\nFrom: Shop <shop@example.org>\r\nSubject"), "{header}");
}

#[tokio::test]
async fn every_attempt_sends_the_same_bytes() {
    let scene = Scene::running(|_| {}).await;
    let foreign = [&b"Message-ID: bad\r\nX-Note: f\xfcr\r\n"[..], FOREIGN].concat();
    let recipients: Vec<String> =
        (0..150).map(|number| format!("ok{number}@example.net")).collect();
    scene.submit_body(&recipients.iter().map(String::as_str).collect::<Vec<_>>(), &foreign).await;
    let received = scene.until_received(2).await;
    assert_eq!(received[0].body, received[1].body);
    let header = header(&received[0].body);
    assert_eq!(header.matches("\r\nMessage-ID: <").count(), 1, "{header}");
    assert_eq!(header.matches("\r\nX-Original-Message-ID: ").count(), 2, "{header}");
    assert!(header.contains("\r\nX-Note: =?utf-8?b?ZsO8cg==?=\r\n"), "{header}");
}
