//! XOAUTH2 and OAUTHBEARER: good, ended and malformed tokens, and the JSON that says which.

use std::time::Duration;

use data_encoding::BASE64;
use pillarbox_sandbox::{ACCESS_TOKEN, Options};

use super::client::*;

/// `{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}`, as seen at Gmail.
const REFUSED: &str = "334 eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ==";
/// `{"status":"invalid_request","scope":"https://mail.google.com/"}`, as seen at Gmail.
const MALFORMED: &str =
    "334 eyJzdGF0dXMiOiJpbnZhbGlkX3JlcXVlc3QiLCJzY29wZSI6Imh0dHBzOi8vbWFpbC5nb29nbGUuY29tLyJ9";
const BAD_CREDENTIALS: &str = "S: 535-5.7.8 Username and Password not accepted.\nS: 535 5.7.8  https://support.google.com/mail/?p=BadCredentials ";

pub(super) fn xoauth2(username: &str, token: &str) -> String {
    let text = format!("user={username}\u{1}auth=Bearer {token}\u{1}\u{1}");
    format!("AUTH XOAUTH2 {}", BASE64.encode(text.as_bytes()))
}

fn oauthbearer(username: &str, token: &str) -> String {
    let text = format!(
        "n,a={username},\u{1}host=smtp.gmail.com\u{1}port=587\u{1}auth=Bearer {token}\u{1}\u{1}"
    );
    format!("AUTH OAUTHBEARER {}", BASE64.encode(text.as_bytes()))
}

#[tokio::test]
async fn a_good_token_logs_in_with_and_without_an_initial_response() {
    let sandbox = start(Options::default()).await;
    for auth in [xoauth2("me@gmail.com", ACCESS_TOKEN), oauthbearer("me@gmail.com", ACCESS_TOKEN)] {
        let mut client = Client::greeted(&sandbox).await;
        client.talk(&format!("C: {auth}\nS: 235 2.7.0 Accepted")).await;
        client.message("ok", ACCEPTED).await;
        let (command, response) = auth.rsplit_once(' ').unwrap();
        let mut client = Client::greeted(&sandbox).await;
        client.talk(&format!("C: {command}\nS: 334\nC: {response}\nS: 235 2.7.0 Accepted")).await;
    }
    assert_eq!(sandbox.mailbox().accepted()[1].username.as_deref(), Some("me@gmail.com"));
    assert_eq!(sandbox.mailbox().counters().logins, 4);
    let commands = sandbox.mailbox().last_commands();
    assert!(commands.iter().any(|line| line.ends_with("AUTH XOAUTH2 ***")), "{commands:?}");
    assert!(
        !commands.iter().any(|line| line.contains("dXNlcj")),
        "no credentials kept: {commands:?}"
    );
}

#[tokio::test]
async fn a_refused_token_is_explained_in_json_and_refused_after_an_empty_line() {
    let sandbox = start(Options::default()).await;
    let cases = [
        (xoauth2("me@gmail.com", "ya29.expired"), REFUSED, ""),
        (xoauth2("me@gmail.com", "abcdefghijklmnop"), REFUSED, ""),
        (oauthbearer("me@gmail.com", "ya29.expired"), REFUSED, "AQ=="),
        (format!("AUTH XOAUTH2 {}", BASE64.encode(b"user=me")), MALFORMED, ""),
        (format!("AUTH OAUTHBEARER {}", BASE64.encode(b"n,a=me")), MALFORMED, "AQ=="),
    ];
    for (auth, json, acknowledgement) in &cases {
        let mut client = Client::greeted(&sandbox).await;
        client
            .talk(&format!("C: {auth}\nS: {json}\nC: {acknowledgement}\n{BAD_CREDENTIALS}"))
            .await;
        // The session is alive and takes another attempt.
        let again = xoauth2("me@gmail.com", ACCESS_TOKEN);
        client.talk(&format!("C: {again}\nS: 235 2.7.0 Accepted")).await;
    }
    let counters = sandbox.mailbox().counters();
    assert_eq!((counters.logins, counters.login_refusals), (5, 5));
    // Two payloads were malformed; the acknowledgements were all right.
    assert_eq!(counters.violations, 2);
}

#[tokio::test]
async fn any_other_answer_to_the_json_is_a_violation_and_still_gets_535() {
    let sandbox = start(Options::default()).await;
    let auth = xoauth2("me@gmail.com", "ya29.expired");
    let credentials = auth.rsplit_once(' ').unwrap().1;
    for (count, wrong) in [(1, credentials), (2, "*"), (3, "QUIT")] {
        let mut client = Client::greeted(&sandbox).await;
        client
            .talk(&format!(
                "C: {auth}\nS: {REFUSED}\nC: {wrong}\n{BAD_CREDENTIALS}\nC: NOOP\nS: 250 "
            ))
            .await;
        assert_eq!(sandbox.mailbox().counters().violations, count, "{wrong}");
    }
}

#[tokio::test]
async fn what_is_no_base64_cannot_be_decoded() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::greeted(&sandbox).await;
    for mechanism in ["XOAUTH2", "OAUTHBEARER", "PLAIN", "LOGIN"] {
        client
            .talk(&format!("C: AUTH {mechanism} dXNlcj1\nS: 501 5.5.2 Cannot Decode response"))
            .await;
    }
}

#[tokio::test]
async fn a_connection_ends_with_its_token_even_in_silence() {
    let (sandbox, clock) = start_with(|options| options.idle = 3 * HOUR).await;
    let auth = xoauth2("me@gmail.com", ACCESS_TOKEN);
    let mut silent = Client::greeted(&sandbox).await;
    silent.talk(&format!("C: {auth}\nS: 235 ")).await;
    let mut in_data = Client::greeted(&sandbox).await;
    in_data.talk(&format!("C: {auth}\nS: 235 ")).await;
    in_data.message("ok", &at_data("S: 354 ")).await;
    clock.advance(Duration::from_secs(3598));
    silent.talk("C: NOOP\nS: 250 2.0.0 OK ").await;
    clock.advance(Duration::from_secs(1));
    silent.talk("S: 421 4.7.0 Session expired, please login again.\nclose").await;
    // A message in transfer may finish; nothing comes behind it.
    in_data
        .talk("C: hello\nC: .\nS: 250 2.0.0 OK  \nC: NOOP\nS: 421 4.7.0 Session expired\nclose")
        .await;
}

#[tokio::test]
async fn a_password_login_does_not_end_with_any_token() {
    let (sandbox, clock) = start_with(|options| {
        options.idle = 3 * HOUR;
        options.age = 3 * HOUR;
    })
    .await;
    let mut client = Client::ready(&sandbox).await;
    clock.advance(2 * HOUR);
    client.message("ok", ACCEPTED).await;
}

#[tokio::test]
async fn logins_with_tokens_are_counted_like_all_logins() {
    let sandbox = start(Options { logins_per_minute: 1, ..Options::default() }).await;
    let auth = xoauth2("me@gmail.com", ACCESS_TOKEN);
    Client::greeted(&sandbox).await.talk(&format!("C: {auth}\nS: 235 ")).await;
    Client::greeted(&sandbox)
        .await
        .talk(&format!("C: {auth}\nS: 454-4.7.0 Too many login\nS: 454-4.7.0 \nS: 454 4.7.0 "))
        .await;
}
