//! The account service over HTTP: consent with PKCE, codes, refresh tokens, service accounts, failures.

use std::time::Duration;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use pillarbox_sandbox::{
    OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET, Options, PUBLIC_CLIENT_ID, REFRESH_TOKEN, Sandbox,
    TokenAnswer,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{client::*, tokens::xoauth2};

/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT: &str = "http://127.0.0.1:4711";

/// One HTTP exchange: status, header section, body; `None` when the server closed without an answer.
async fn exchange(sandbox: &Sandbox, request: String) -> Option<(u16, String, String)> {
    let url = sandbox.oauth_url();
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (header, body) = answer.split_once("\r\n\r\n")?;
    let status = header.split(' ').nth(1)?.parse().ok()?;
    Some((status, header.to_owned(), body.to_owned()))
}

async fn get(sandbox: &Sandbox, path: &str) -> (u16, String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    exchange(sandbox, request).await.unwrap()
}

async fn post(sandbox: &Sandbox, path: &str, form: &str) -> Option<(u16, String, String)> {
    post_with(sandbox, path, form, "").await
}

async fn post_with(
    sandbox: &Sandbox,
    path: &str,
    form: &str,
    field: &str,
) -> Option<(u16, String, String)> {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{field}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    exchange(sandbox, request).await
}

/// Status and JSON of a request for a token.
async fn token(sandbox: &Sandbox, form: &str) -> (u16, Value) {
    let (status, _, body) = post(sandbox, "/token", form).await.unwrap();
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

fn refresh(refresh_token: &str) -> String {
    format!(
        "grant_type=refresh_token&client_id={OAUTH_CLIENT_ID}&client_secret={OAUTH_CLIENT_SECRET}&refresh_token={refresh_token}"
    )
}

/// The access token that a refresh token brings.
pub(super) async fn issued(sandbox: &Sandbox, refresh_token: &str) -> String {
    let (_, answer) = token(sandbox, &refresh(refresh_token)).await;
    answer["access_token"].as_str().unwrap().to_owned()
}

fn consent(changes: &[(&str, &str)]) -> String {
    let mut parameters = vec![
        ("client_id", OAUTH_CLIENT_ID),
        ("redirect_uri", "http%3A%2F%2F127.0.0.1%3A4711"),
        ("response_type", "code"),
        ("scope", "https%3A%2F%2Fmail.google.com%2F"),
        ("state", "a+state%2F1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("access_type", "offline"),
    ];
    for (name, value) in changes {
        parameters.retain(|(known, _)| known != name);
        parameters.push((name, value));
    }
    let parameters: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("/o/oauth2/v2/auth?{}", parameters.join("&"))
}

/// The code that the browser brings back.
async fn code(sandbox: &Sandbox, changes: &[(&str, &str)]) -> String {
    let (status, header, _) = get(sandbox, &consent(changes)).await;
    assert_eq!(status, 302);
    let location = header.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    assert!(location.starts_with(&format!("{REDIRECT}?state=a%20state%2F1&code=")), "{location}");
    location.split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned()
}

fn exchange_form(code: &str, verifier: &str) -> String {
    format!(
        "grant_type=authorization_code&client_id={OAUTH_CLIENT_ID}&client_secret={OAUTH_CLIENT_SECRET}&code={code}&code_verifier={verifier}&redirect_uri=http%3A%2F%2F127.0.0.1%3A4711"
    )
}

async fn logs_in(sandbox: &Sandbox, username: &str, answer: &Value) -> bool {
    let auth = xoauth2(username, answer["access_token"].as_str().unwrap());
    let mut client = Client::greeted(sandbox).await;
    client.send(format!("{auth}\r\n").as_bytes()).await;
    client.line().await.unwrap() == "235 2.7.0 Accepted"
}

#[tokio::test]
async fn consent_leads_to_a_code_and_the_code_to_tokens_that_smtp_takes() {
    let sandbox = start(Options::default()).await;
    let hinted = code(&sandbox, &[("login_hint", "me%40gmail.com")]).await;
    let (status, answer) = token(&sandbox, &exchange_form(&hinted, VERIFIER)).await;
    assert_eq!(
        (status, &answer["expires_in"], &answer["token_type"]),
        (200, &json!(3599), &json!("Bearer"))
    );
    assert_eq!(answer["scope"], "https://mail.google.com/");
    assert!(logs_in(&sandbox, "me@gmail.com", &answer).await);
    assert!(!logs_in(&sandbox, "other@gmail.com", &answer).await, "a token belongs to its account");

    let (status, again) =
        token(&sandbox, &refresh(answer["refresh_token"].as_str().unwrap())).await;
    assert_eq!((status, again.get("refresh_token")), (200, None), "Google sends no new one");
    assert_ne!(again["access_token"], answer["access_token"]);
    assert!(logs_in(&sandbox, "me@gmail.com", &again).await);
    let counters = sandbox.mailbox().counters();
    assert_eq!((counters.authorizations, counters.token_requests), (1, 2));
}

#[tokio::test]
async fn the_verifier_must_fit_the_challenge_and_a_code_works_once_and_soon() {
    let (sandbox, clock) = start_with_clock().await;
    let short = &VERIFIER[..42];
    let other = VERIFIER.replace("dBj", "xBj");
    for (verifier, description) in [
        ("", "Missing code verifier."),
        (short, "Invalid code verifier."),
        (&other, "Invalid code verifier."),
    ] {
        let code = code(&sandbox, &[]).await;
        let (status, answer) = token(&sandbox, &exchange_form(&code, verifier)).await;
        assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")));
        assert_eq!(answer["error_description"], description, "{verifier}");
    }
    let once = code(&sandbox, &[]).await;
    assert_eq!(token(&sandbox, &exchange_form(&once, VERIFIER)).await.0, 200);
    assert_eq!(token(&sandbox, &exchange_form(&once, VERIFIER)).await.0, 400);
    let late = code(&sandbox, &[]).await;
    clock.advance(Duration::from_secs(600));
    assert_eq!(token(&sandbox, &exchange_form(&late, VERIFIER)).await.0, 400);
    let elsewhere = exchange_form(&code(&sandbox, &[]).await, VERIFIER).replace("4711", "4712");
    assert_eq!(token(&sandbox, &elsewhere).await.1["error"], "redirect_uri_mismatch");
}

#[tokio::test]
async fn a_wrong_request_for_consent_gets_a_page_and_never_a_redirect() {
    let sandbox = start(Options::default()).await;
    for (changed, word) in [
        (("client_id", "other"), "invalid_client"),
        (("redirect_uri", "https%3A%2F%2Fexample.org%2F"), "redirect_uri_mismatch"),
        (("redirect_uri", "urn%3Aietf%3Awg%3Aoauth%3A2.0%3Aoob"), "redirect_uri_mismatch"),
        (("redirect_uri", "http%3A%2F%2F127.0.0.1.example.org%3A80"), "redirect_uri_mismatch"),
        (("response_type", "token"), "unsupported_response_type"),
        (("scope", "openid"), "invalid_scope"),
        (("code_challenge_method", "plain"), "PKCE"),
        (("code_challenge", ""), "PKCE"),
        (("state", ""), "state"),
    ] {
        let (status, header, page) = get(&sandbox, &consent(&[changed])).await;
        assert_eq!(status, 400, "{changed:?}");
        assert!(page.contains(word) && !header.contains("location:"), "{changed:?}: {page}");
    }
    let (status, header, _) = get(&sandbox, &consent(&[("login_hint", "deny%40gmail.com")])).await;
    assert_eq!(status, 302);
    assert!(
        header.contains(&format!("location: {REDIRECT}?error=access_denied&state=a%20state%2F1"))
    );
}

#[tokio::test]
async fn each_trigger_refresh_token_gets_googles_answer() {
    let sandbox = start(Options::default()).await;
    for (refresh_token, status, error) in [
        (REFRESH_TOKEN, 200, Value::Null),
        ("rotate", 200, Value::Null),
        ("revoked", 400, json!("invalid_grant")),
        ("unknown", 400, json!("invalid_grant")),
        ("wrong-client", 401, json!("invalid_client")),
        ("limited", 429, json!("rate_limit_exceeded")),
        ("down", 503, Value::Null),
    ] {
        let (found, answer) = token(&sandbox, &refresh(refresh_token)).await;
        assert_eq!((found, &answer["error"]), (status, &error), "{refresh_token}");
        assert_eq!(answer.get("refresh_token").is_some(), refresh_token == "rotate");
        assert_eq!(answer.get("access_token").is_some(), status == 200);
    }
    let (status, _, body) = post(&sandbox, "/token", &refresh("truncated")).await.unwrap();
    assert_eq!(status, 200);
    assert!(body.starts_with("{\"access_token\"") && !body.ends_with('}'), "{body}");
    let (_, stale) = token(&sandbox, &refresh("stale")).await;
    assert!(!logs_in(&sandbox, "me@gmail.com", &stale).await, "SMTP takes it for expired");
    assert_eq!(post(&sandbox, "/token", &refresh("drop")).await, None);
    assert_eq!(sandbox.mailbox().counters().token_requests, 10);
}

#[tokio::test]
async fn a_test_can_order_what_the_next_requests_are_answered() {
    let sandbox = start(Options { rotate_refresh_tokens: true, ..Options::default() }).await;
    sandbox.answer_next_token_request(TokenAnswer::Unavailable);
    sandbox.answer_next_token_request(TokenAnswer::InvalidGrant);
    assert_eq!(token(&sandbox, &refresh(REFRESH_TOKEN)).await.0, 503);
    assert_eq!(token(&sandbox, &refresh(REFRESH_TOKEN)).await.1["error"], "invalid_grant");
    let (_, rotated) = token(&sandbox, &refresh(REFRESH_TOKEN)).await;
    let new = rotated["refresh_token"].as_str().unwrap();
    assert_eq!(token(&sandbox, &refresh(new)).await.0, 200);
    assert_eq!(token(&sandbox, &refresh(REFRESH_TOKEN)).await.0, 200, "the old one remains good");

    assert_eq!(post(&sandbox, "/revoke", &format!("token={new}")).await.unwrap().0, 200);
    assert_eq!(token(&sandbox, &refresh(new)).await.1["error"], "invalid_grant");
    assert_eq!(post(&sandbox, "/revoke", &format!("token={new}")).await.unwrap().0, 400);
    sandbox.revoke_all_tokens();
    assert!(!logs_in(&sandbox, "me@gmail.com", &rotated).await);
}

#[tokio::test]
async fn a_slow_answer_comes_when_the_clock_says_so() {
    let (sandbox, clock) = start_with_clock().await;
    let form = refresh("slow");
    let mut answer = std::pin::pin!(token(&sandbox, &form));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut answer).await;
    assert!(early.is_err(), "answered before its time");
    clock.advance(Duration::from_secs(10));
    assert_eq!(answer.await.0, 200);
}

#[tokio::test]
async fn a_client_may_name_itself_in_the_form_or_in_the_header_and_must_be_known() {
    let sandbox = start(Options::default()).await;
    let form = format!("grant_type=refresh_token&refresh_token={REFRESH_TOKEN}");
    for (secret, status) in [(OAUTH_CLIENT_SECRET, 200), ("other", 401)] {
        let credentials = BASE64.encode(format!("{OAUTH_CLIENT_ID}:{secret}").as_bytes());
        let field = format!("Authorization: Basic {credentials}\r\n");
        assert_eq!(
            post_with(&sandbox, "/token", &form, &field).await.unwrap().0,
            status,
            "{secret}"
        );
    }
    let (status, answer) =
        token(&sandbox, &refresh(REFRESH_TOKEN).replace("client_id=", "client_id=x")).await;
    assert_eq!((status, &answer["error"]), (401, &json!("invalid_client")));
    let (status, answer) = token(&sandbox, "grant_type=password").await;
    assert_eq!((status, &answer["error"]), (400, &json!("unsupported_grant_type")));
}

#[tokio::test]
async fn an_access_token_ends_after_its_lifetime() {
    let (sandbox, clock) =
        start_with(|options| options.token_lifetime = Duration::from_secs(60)).await;
    let (_, answer) = token(&sandbox, &refresh(REFRESH_TOKEN)).await;
    assert_eq!(answer["expires_in"], 60);
    clock.advance(Duration::from_secs(59));
    let auth = xoauth2("me@gmail.com", answer["access_token"].as_str().unwrap());
    let mut client = Client::greeted(&sandbox).await;
    client.talk(&format!("C: {auth}\nS: 235 ")).await;
    // The connection ends with the token, not a lifetime after the login.
    clock.advance(Duration::from_secs(1));
    client.talk("S: 421 4.7.0 Session expired\nclose").await;
    assert!(!logs_in(&sandbox, "me@gmail.com", &answer).await);
}

fn assertion(change: impl FnOnce(&mut Value)) -> String {
    let mut claims = json!({
        "iss": "relay@project.iam.gserviceaccount.com",
        "sub": "me@example.org",
        "scope": "https://mail.google.com/",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": 1_716_281_641,
        "exp": 1_716_281_641 + 3600,
    });
    change(&mut claims);
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(&json!({"alg": "RS256", "typ": "JWT"})), part(&claims));
    format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={signed}.c2lnbmF0dXJl"
    )
}

#[tokio::test]
async fn a_service_account_gets_a_token_for_the_mailbox_that_it_may_impersonate() {
    let (sandbox, _clock) = start_with_clock().await;
    let (status, answer) = token(&sandbox, &assertion(|_| ())).await;
    assert_eq!((status, answer.get("refresh_token")), (200, None));
    assert!(logs_in(&sandbox, "me@example.org", &answer).await);
    assert!(!logs_in(&sandbox, "you@example.org", &answer).await);
    type Change = fn(&mut Value);
    let cases: [(Change, u16, &str); 6] = [
        (|claims| claims["iss"] = json!("undelegated@project.example"), 401, "unauthorized_client"),
        (|claims| claims["sub"] = json!(""), 401, "unauthorized_client"),
        (|claims| claims["scope"] = json!("openid"), 400, "invalid_scope"),
        (|claims| claims["exp"] = json!(1_716_281_641 + 3601), 400, "invalid_grant"),
        (|claims| claims["iat"] = json!(1_716_281_641 + 301), 400, "invalid_grant"),
        (|claims| claims["aud"] = json!("https://example.org/"), 400, "invalid_grant"),
    ];
    for (change, status, error) in cases {
        let form = assertion(change);
        let (found, answer) = token(&sandbox, &form).await;
        assert_eq!((found, &answer["error"]), (status, &json!(error)), "{form}");
    }
    sandbox.answer_next_token_request(TokenAnswer::UnauthorizedClient);
    assert_eq!(token(&sandbox, &assertion(|_| ())).await.1["error"], "unauthorized_client");
}

/// A code for another device, and the form that asks whether it was entered.
async fn device_code(sandbox: &Sandbox) -> (Value, String) {
    let scope = "https%3A%2F%2Foutlook.office.com%2FSMTP.Send+offline_access";
    let form = format!("client_id={PUBLIC_CLIENT_ID}&scope={scope}");
    let (status, _, body) = post(sandbox, "/devicecode", &form).await.unwrap();
    assert_eq!(status, 200, "{body}");
    let given: Value = serde_json::from_str(&body).unwrap();
    let code = given["device_code"].as_str().unwrap();
    let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
    let poll = format!("grant_type={grant}&client_id={PUBLIC_CLIENT_ID}&device_code={code}");
    (given, poll)
}

async fn enter(sandbox: &Sandbox, given: &Value, what: &str) -> u16 {
    let code = given["user_code"].as_str().unwrap();
    get(sandbox, &format!("/device?user_code={code}&{what}")).await.0
}

#[tokio::test]
async fn a_code_for_another_device_is_exchanged_once_after_it_was_entered() {
    let (sandbox, clock) = start_with(|_| {}).await;
    let (given, poll) = device_code(&sandbox).await;
    assert_eq!((&given["interval"], &given["expires_in"]), (&json!(5), &json!(900)));
    assert_eq!(token(&sandbox, &poll).await.1["error"], "authorization_pending");
    assert_eq!(token(&sandbox, &poll).await.1["error"], "slow_down");
    clock.advance(Duration::from_secs(9));
    assert_eq!(token(&sandbox, &poll).await.1["error"], "slow_down", "ten seconds are wanted now");
    assert_eq!(enter(&sandbox, &given, "username=me@outlook.com").await, 200);
    clock.advance(Duration::from_secs(15));
    let (status, granted) = token(&sandbox, &poll).await;
    assert_eq!(status, 200, "{granted}");
    assert_eq!(granted["scope"], "https://outlook.office.com/SMTP.Send");
    assert_eq!(token(&sandbox, &poll).await.1["error"], "bad_verification_code");
    let mut client = Client::greeted(&sandbox).await;
    let access = granted["access_token"].as_str().unwrap();
    client.talk(&format!("C: {}\nS: 235", xoauth2("me@outlook.com", access))).await;
    // Each refresh brings a new refresh token.
    let old = granted["refresh_token"].as_str().unwrap();
    let form = format!("grant_type=refresh_token&client_id={PUBLIC_CLIENT_ID}&refresh_token={old}");
    let (status, renewed) = token(&sandbox, &form).await;
    assert!(status == 200 && renewed["refresh_token"] != old, "{renewed}");
    let (status, refused) = token(&sandbox, &format!("{form}&client_secret=x")).await;
    assert!(status == 401 && refused.to_string().contains("AADSTS700025"), "{refused}");
}

#[tokio::test]
async fn a_code_for_another_device_that_is_refused_or_ends_brings_no_token() {
    let (sandbox, clock) = start_with(|_| {}).await;
    let (given, poll) = device_code(&sandbox).await;
    assert_eq!(enter(&sandbox, &given, "deny=1").await, 200);
    assert_eq!(token(&sandbox, &poll).await.1["error"], "authorization_declined");
    let (given, poll) = device_code(&sandbox).await;
    clock.advance(Duration::from_secs(900));
    assert_eq!(enter(&sandbox, &given, "username=me@outlook.com").await, 400);
    assert_eq!(token(&sandbox, &poll).await.1["error"], "expired_token");
}
