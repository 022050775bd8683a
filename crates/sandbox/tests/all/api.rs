//! The API over HTTPS: who gets a message, what a token must allow, and the failures.

use std::time::Duration;

use pillarbox_sandbox::{
    ACCESS_TOKEN, Failure, Options, OverLimit, SEND_REFRESH_TOKEN, Sandbox, Stage,
};
use tokio::{io::AsyncReadExt, net::TcpStream};

use super::{client::*, identity::issued};

const MESSAGE: &str = "From: me@gmail.com\r\nTo: a@x.example\r\nBcc: b@x.example\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n";

/// Posts a message; returns the status and the body, or `None` when the connection ended without an answer.
async fn post(sandbox: &Sandbox, token: &str, message: &str) -> Option<(u16, String)> {
    let head = format!(
        "POST /upload/gmail/v1/users/me/messages/send?uploadType=media HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nContent-Type: message/rfc822\r\nContent-Length: {}\r\n\r\n",
        message.len()
    );
    request(sandbox, &(head + message)).await
}

async fn request(sandbox: &Sandbox, text: &str) -> Option<(u16, String)> {
    let stream = Client::new(TcpStream::connect(sandbox.api_address()).await.unwrap());
    let mut client = Client::new(stream.secure(sandbox, "localhost").await.unwrap());
    client.send(text.as_bytes()).await;
    let mut answer = Vec::new();
    let read = client.stream.read_to_end(&mut answer);
    drop(tokio::time::timeout(PATIENCE, read).await.expect("no end of the answer"));
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

async fn refused(sandbox: &Sandbox, message: &str) -> (u16, String) {
    let (status, body) = post(sandbox, ACCESS_TOKEN, message).await.unwrap();
    let value: serde_json::Value = serde_json::from_str(&body).unwrap();
    (status, value["error"]["errors"][0]["reason"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_message_goes_to_everybody_whom_its_header_names_and_counts_them() {
    let sandbox = start(Options::default()).await;
    let (status, body) = post(&sandbox, ACCESS_TOKEN, MESSAGE).await.unwrap();
    assert!(status == 200 && body.contains("\"SENT\""), "{status} {body}");
    let accepted = sandbox.mailbox().accepted();
    assert_eq!(accepted[0].rcpt_to, ["a@x.example", "b@x.example"]);
    assert_eq!(accepted[0].body, MESSAGE.as_bytes());
    assert_eq!(accepted[0].message_id.as_deref(), Some("<1@x>"));
    assert_eq!(sandbox.spent("you@gmail.com"), 2);
}

#[tokio::test]
async fn a_token_must_be_known_and_allow_to_send_and_the_narrow_one_opens_no_smtp() {
    let sandbox = start(Options::default()).await;
    let (status, body) = post(&sandbox, "ya29.unknown", MESSAGE).await.unwrap();
    assert!(status == 401 && body.contains("authError"), "{status} {body}");
    let narrow = issued(&sandbox, "narrow").await;
    let (status, body) = post(&sandbox, &narrow, MESSAGE).await.unwrap();
    assert!(status == 403 && body.contains("insufficientPermissions"), "{status} {body}");
    let token = issued(&sandbox, SEND_REFRESH_TOKEN).await;
    assert_eq!(post(&sandbox, &token, MESSAGE).await.unwrap().0, 200);
    let mut client = Client::greeted(&sandbox).await;
    let auth = super::tokens::xoauth2("me@gmail.com", &token);
    client.talk(&format!("C: {auth}\nS: 334 ")).await;
}

#[tokio::test]
async fn what_is_no_message_or_no_such_request_is_refused() {
    let sandbox = start(Options { size_bytes_max: 1_000, ..Options::default() }).await;
    let invalid = (400, "invalidArgument".to_owned());
    assert_eq!(refused(&sandbox, "Subject: a\r\n\r\n").await, invalid);
    assert_eq!(refused(&sandbox, "To: a@x.example b\r\n\r\n").await, invalid);
    let large = format!("{MESSAGE}{}", "x".repeat(1_000));
    assert_eq!(refused(&sandbox, &large).await, (413, "uploadTooLarge".to_owned()));
    let elsewhere =
        "GET /gmail/v1/users/me/profile HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(request(&sandbox, elsewhere).await.unwrap().0, 404);
    assert_eq!(sandbox.mailbox().count(), 0);
}

#[tokio::test]
async fn the_accounts_day_is_kept_as_over_smtp() {
    let sandbox = start(Options { recipients_per_day: 3, ..Options::default() }).await;
    assert_eq!(post(&sandbox, ACCESS_TOKEN, MESSAGE).await.unwrap().0, 200);
    assert_eq!(refused(&sandbox, MESSAGE).await, (429, "rateLimitExceeded".to_owned()));
    let bounces = Options {
        recipients_per_day: 1,
        over_limit: OverLimit::AcceptThenBounce,
        ..Options::default()
    };
    let sandbox = start(bounces).await;
    assert_eq!(post(&sandbox, ACCESS_TOKEN, MESSAGE).await.unwrap().0, 200);
    assert!(sandbox.mailbox().accepted()[0].bounced);
}

#[tokio::test]
async fn it_fails_at_each_stage_as_it_is_told_to() {
    let sandbox = start(Options::default()).await;
    let refusal = "403 accessNotConfigured Gmail API has not been used in project 1 before";
    for stage in [Stage::Auth, Stage::Data, Stage::Body, Stage::Dot] {
        sandbox.fail_next(stage, Failure::Reply(refusal.into()));
        assert_eq!(refused(&sandbox, MESSAGE).await, (403, "accessNotConfigured".to_owned()));
        sandbox.fail_next(stage, Failure::Drop);
        assert_eq!(post(&sandbox, ACCESS_TOKEN, MESSAGE).await, None, "{stage}");
    }
    assert_eq!(sandbox.mailbox().count(), 0);
    sandbox.fail_next(Stage::Dot, Failure::StoreAndDrop);
    assert_eq!(post(&sandbox, ACCESS_TOKEN, MESSAGE).await, None);
    assert_eq!(sandbox.mailbox().count(), 1);
    assert!(!sandbox.mailbox().accepted()[0].answered);
}

#[tokio::test]
async fn a_body_that_ends_early_is_no_message() {
    let sandbox = start(Options::default()).await;
    let stream = Client::new(TcpStream::connect(sandbox.api_address()).await.unwrap());
    let mut client = Client::new(stream.secure(&sandbox, "localhost").await.unwrap());
    let head = format!(
        "POST /upload/gmail/v1/users/me/messages/send?uploadType=media HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer {ACCESS_TOKEN}\r\nContent-Type: message/rfc822\r\nContent-Length: {}\r\n\r\n",
        MESSAGE.len() + 1
    );
    client.send((head + MESSAGE).as_bytes()).await;
    drop(client);
    tokio::time::timeout(PATIENCE, async {
        while sandbox.mailbox().counters().drops == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("the end of the connection is noticed");
    assert_eq!(sandbox.mailbox().count(), 0);
}
