//! `pillarbox auth microsoft`: a code that is entered elsewhere, what comes of it, and how the relay lives with the token.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    process::{Child, ChildStdout, Stdio},
    time::Duration,
};

use pillarbox::{
    delivery::{
        Provider,
        oauth::{ClientSource, Issuer},
    },
    queue::state::AccountCondition,
    sandbox::{
        Failure, OAUTH_CLIENT_ID, Options, PUBLIC_CLIENT_ID, REFRESH_TOKEN, Stage, TokenAnswer,
    },
};

use super::{
    commands::Desk,
    scene::{HOUR, PATIENCE, Scene, stored},
};
use crate::support::{browser::browse, client::Client, daemon::within};

const SECOND: Duration = Duration::from_secs(1);

/// An account of Outlook.com without a token yet.
fn desk(client: &str, edit: impl FnOnce(&mut Options)) -> Desk {
    let mut options = Options { device_interval: SECOND, ..Options::default() };
    edit(&mut options);
    let desk = Desk::with(options);
    configure(&desk, "outlook", client);
    desk
}

fn configure(desk: &Desk, provider: &str, client: &str) {
    let url = desk.sandbox.oauth_url();
    desk.write(&format!(
        "provider = \"{provider}\"\nusername = \"me@outlook.com\"\nauth = \"oauth\"\noauth_client_id = \"{client}\"\n\
         oauth_authorization_endpoint = \"{url}/devicecode\"\noauth_token_endpoint = \"{url}/token\"\n"
    ));
}

/// The command while it waits for the code to be entered.
struct Waiting {
    child: Child,
    out: BufReader<ChildStdout>,
    /// What it has said.
    text: String,
    address: String,
    code: String,
}

impl Waiting {
    fn start(desk: &Desk) -> Self {
        let mut command = desk.home.command(["auth", "microsoft"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.contains("Waiting") {
            assert_ne!(out.read_line(&mut text).unwrap(), 0, "it ended: {text}");
        }
        let shown: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        let (address, code) = (shown[0].to_owned(), shown[1].to_owned());
        Self { child, out, text, address, code }
    }

    /// What a person does with the code, as the look-alike's page wants it.
    fn enter(&self, what: &str) {
        let (header, page) = browse(&format!("{}?user_code={}&{what}", self.address, self.code));
        assert!(header.starts_with("HTTP/1.1 200"), "{header}\n{page}");
    }

    fn end(mut self) -> (Option<i32>, String) {
        self.out.read_to_string(&mut self.text).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut self.text).unwrap();
        (self.child.wait().unwrap().code(), self.text)
    }
}

fn consented(desk: &Desk) -> String {
    let waiting = Waiting::start(desk);
    waiting.enter("username=me@outlook.com");
    let (code, text) = waiting.end();
    assert_eq!(code, Some(0), "{text}");
    text
}

fn token_file(desk: &Desk) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(desk.token_file()).unwrap()).unwrap()
}

/// As if the access token had ended: the next login needs the refresh token.
fn forget_access(desk: &Desk) {
    let mut stored = token_file(desk);
    stored["access"] = serde_json::Value::Null;
    fs::write(desk.token_file(), stored.to_string()).unwrap();
}

#[test]
fn a_code_entered_on_another_device_leads_to_mail_without_any_password() {
    let desk = desk(PUBLIC_CLIENT_ID, |_| {});
    let (code, text) = desk.output(&["check"]);
    assert!(code != Some(0) && text.contains("pillarbox auth microsoft"), "{text}");
    assert!(!text.contains("auth google"), "{text}");

    let text = consented(&desk);
    for words in ["log in as me@outlook.com", "good for 15 min", "The token works", "90 days"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("Testing") && !text.contains("google"), "{text}");
    let mode = fs::metadata(desk.token_file()).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o600);
    assert_eq!(desk.output(&["check"]).0, Some(0));
    let (code, status) = desk.output(&["auth", "status"]);
    assert!(code == Some(0) && status.contains("SMTP.Send"), "{status}");

    let stored = token_file(&desk);
    let daemon = desk.home.start();
    let reply =
        Client::hello(daemon.smtp).mail("cron@host", &["ok@example.net"], "Subject: x\n\nx");
    assert!(reply.starts_with("250"), "{reply}");
    assert!(within(PATIENCE, || desk.sandbox.mailbox().count() == 1), "{}", desk.home.log());
    let accepted = desk.sandbox.mailbox().accepted();
    assert_eq!(accepted[0].username.as_deref(), Some("me@outlook.com"));
    daemon.terminate(PATIENCE);
    for secret in [&stored["refresh_token"], &stored["access"]["token"]] {
        let secret = secret.as_str().unwrap();
        assert!(!desk.home.log().contains(secret), "a token is in the log");
        assert!(!text.contains(secret), "a token was printed");
    }
}

#[test]
fn each_refresh_token_that_microsoft_replaces_is_on_the_disk_when_the_relay_is_killed() {
    let desk = desk(PUBLIC_CLIENT_ID, |_| {});
    consented(&desk);
    for count in 1..=2 {
        forget_access(&desk);
        let before = token_file(&desk);
        let daemon = desk.home.start();
        let reply =
            Client::hello(daemon.smtp).mail("cron@host", &["ok@example.net"], "Subject: x\n\nx");
        assert!(reply.starts_with("250"), "{reply}");
        assert!(
            within(PATIENCE, || desk.sandbox.mailbox().count() == count),
            "{}",
            desk.home.log()
        );
        // The login came after the token was stored, so no more than the login is waited for.
        drop(daemon);
        let after = token_file(&desk);
        assert_ne!(after["refresh_token"], before["refresh_token"]);
        assert!(!desk.home.log().contains(after["refresh_token"].as_str().unwrap()));
    }
}

#[test]
fn a_consent_that_is_refused_or_does_not_come_says_what_to_do() {
    let desk = desk(PUBLIC_CLIENT_ID, |options| options.device_lifetime = 2 * SECOND);
    let waiting = Waiting::start(&desk);
    waiting.enter("deny=1");
    let (code, text) = waiting.end();
    assert!(code == Some(77) && text.contains("refused in the browser"), "{text}");
    let (code, text) = Waiting::start(&desk).end();
    // The end is told by whichever of the two clocks comes first.
    let words = "run `pillarbox auth microsoft` again; it gives a new code";
    assert!(code == Some(78) && text.to_lowercase().contains(words), "{text}");
    assert!(!desk.token_file().exists());
}

#[test]
fn a_registration_that_does_not_fit_is_named_by_what_is_to_be_changed_there() {
    // The only client with a secret is one that may not do without it.
    let desk = desk(OAUTH_CLIENT_ID, |_| {});
    let (code, text) = Waiting::start(&desk).end();
    assert!(code == Some(77) && text.contains("Allow public client flows"), "{text}");
    configure(&desk, "microsoft365", "another");
    let (code, text) = desk.output(&["auth", "microsoft"]);
    assert!(code == Some(77) && text.contains("upstream.oauth_client_id"), "{text}");
}

#[test]
fn each_provider_has_its_own_command_and_the_other_one_names_it() {
    let microsoft = desk(PUBLIC_CLIENT_ID, |_| {});
    let (code, text) = microsoft.output(&["auth", "google"]);
    assert!(code == Some(78) && text.contains("Run: pillarbox auth microsoft"), "{text}");
    let google = Desk::new();
    let (code, text) = google.output(&["auth", "microsoft"]);
    assert!(code == Some(78) && text.contains("Run: pillarbox auth google"), "{text}");
    google.write("provider = \"microsoft365\"\nusername = \"me@example.com\"\npassword = \"x\"\n");
    let (code, text) = google.output(&["auth", "microsoft"]);
    assert!(code == Some(78) && text.contains("oauth_client_id"), "{text}");
    assert!(!text.contains("gmail"), "{text}");
}

#[test]
fn a_token_that_nobody_takes_back_is_removed_and_the_page_for_it_named() {
    let desk = desk(PUBLIC_CLIENT_ID, |_| {});
    consented(&desk);
    let (code, text) = desk.output(&["auth", "revoke"]);
    assert!(code == Some(0) && text.contains("https://account.live.com/consent/Manage"), "{text}");
    assert!(!desk.token_file().exists());
}

/// A pool whose account at Microsoft has a token.
async fn scene() -> Scene {
    let mut scene = Scene::new().await;
    scene.options.provider = Provider::Microsoft365;
    scene.tokens.issuer = Issuer::Microsoft;
    let client = ClientSource::Named { id: PUBLIC_CLIENT_ID.into(), secret: None };
    if let pillarbox::delivery::oauth::Grant::Refresh { client: present, .. } =
        &mut scene.tokens.grant
    {
        *present = client;
    }
    let mut token = stored(REFRESH_TOKEN, pillarbox::clock::Clock::wall(&scene.clock));
    token.client_id = PUBLIC_CLIENT_ID.into();
    scene.file().replace(&token).unwrap();
    scene
}

#[tokio::test]
async fn each_number_of_microsoft_pauses_the_account_with_its_own_remedy_and_charges_no_message() {
    for (error, words, condition, remedy) in [
        (
            "invalid_grant",
            "AADSTS50173: x\r\nTrace ID: 21a7",
            AccountCondition::PausedCredentials,
            "password",
        ),
        ("invalid_grant", "AADSTS700082: x", AccountCondition::PausedCredentials, "unused"),
        ("invalid_grant", "AADSTS65001: x", AccountCondition::PausedCredentials, "consent"),
        ("invalid_client", "AADSTS7000218: x", AccountCondition::PausedConfiguration, "public"),
    ] {
        let mut scene = scene().await;
        scene.sandbox.answer_next_token_request(TokenAnswer::Refused(error, words));
        scene.start();
        let message = scene.submit().await;
        let state = scene.until_account(condition).await;
        let said = words.lines().next().unwrap();
        assert!(state.reason.ends_with(said), "what names one request is no part of it: {state:?}");
        assert!(state.remedy.contains(remedy), "{state:?}");
        assert!(state.remedy.contains("`pillarbox auth microsoft`"), "{state:?}");
        scene.expect_uncharged(message).await;
    }
}

#[tokio::test]
async fn the_token_that_was_given_last_is_the_one_that_is_exchanged_next() {
    let mut scene = scene().await;
    scene.start();
    for count in 1..=3 {
        let before = scene.file().read().unwrap().refresh_token;
        scene.submit().await;
        scene.until_received(count).await;
        assert_ne!(scene.file().read().unwrap().refresh_token, before);
        scene.clock.advance(2 * HOUR);
    }
    assert_eq!(scene.token_requests(), 3);
}

#[tokio::test]
async fn a_token_of_another_mailbox_is_told_from_one_that_has_ended() {
    let mut scene = scene().await;
    let words = "535 5.7.3 Authentication unsuccessful";
    for _ in 0..2 {
        scene.sandbox.fail_next(Stage::Auth, Failure::Reply(words.into()));
    }
    scene.start();
    let message = scene.submit().await;
    let state = scene.until_account(AccountCondition::PausedCredentials).await;
    assert!(
        state.remedy.contains("`pillarbox auth microsoft` and log in as me@gmail.com"),
        "{state:?}"
    );
    scene.expect_uncharged(message).await;
}
