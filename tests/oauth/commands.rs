//! `pillarbox auth` as a person meets it: a browser beside it or far away, an import, the end of a token.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Output, Stdio},
};

use pillarbox::sandbox::{
    OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET, Options, REFRESH_TOKEN, Sandbox, TokenAnswer,
};
use tokio::runtime::Runtime;

use super::scene::PATIENCE;
use crate::support::{
    browser::{browse, consent},
    client::Client,
    daemon::{Home, Upstream, within},
    service_account::write_key,
};

/// A configuration for tokens, with the look-alike behind it.
pub(super) struct Desk {
    pub(super) home: Home,
    pub(super) sandbox: Sandbox,
    runtime: Runtime,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(super) fn with(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let sandbox = runtime.block_on(Sandbox::start(options)).unwrap();
        let home = Home::new(&Upstream::nobody());
        fs::write(home.path("authority.pem"), sandbox.certificate_authority_pem()).unwrap();
        let client = serde_json::json!({
            "installed": { "client_id": OAUTH_CLIENT_ID, "client_secret": OAUTH_CLIENT_SECRET }
        });
        fs::write(home.path("client.json"), client.to_string()).unwrap();
        let desk = Self { home, sandbox, runtime };
        desk.configure("auth = \"oauth\"\noauth_client_file = \"client.json\"\n");
        desk
    }

    fn configure(&self, auth: &str) {
        let url = self.sandbox.oauth_url();
        self.write(&format!(
            "username = \"me@gmail.com\"\n{auth}\
             oauth_authorization_endpoint = \"{url}/authorize\"\noauth_token_endpoint = \"{url}/token\"\n\
             oauth_revocation_endpoint = \"{url}/revoke\"\n"
        ));
    }

    /// With these lines about the account.
    pub(super) fn write(&self, account: &str) {
        let text = format!(
            "[upstream]\nhost = \"localhost\"\nport = {}\nca_file = \"authority.pem\"\n\
             ehlo_name = \"relay.example.org\"\n{account}\n[listener]\naddresses = [\"{}\"]\n\n\
             [queue]\ndirectory = \"state\"\n\n[admin]\nsocket = \"admin.sock\"\n\n\
             [sendmail]\nsocket = \"submit.sock\"\ndrop_directory = \"drop\"\n\n\
             [log]\nformat = \"json\"\nlevel = \"trace\"\n",
            self.sandbox.starttls_address().port(),
            self.home.smtp,
        );
        fs::write(self.home.config(), text).unwrap();
    }

    pub(super) fn token_file(&self) -> PathBuf {
        self.home.state().join("oauth-token.json")
    }

    pub(super) fn output(&self, arguments: &[&str]) -> (Option<i32>, String) {
        said(self.home.output(arguments))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.sandbox.disconnect_all();
        // The sandbox's tasks end with the runtime.
        let _entered = self.runtime.enter();
    }
}

fn said(output: Output) -> (Option<i32>, String) {
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// `pillarbox auth google` while it waits for the consent.
struct Waiting {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    address: String,
}

impl Waiting {
    fn start(desk: &Desk, arguments: &[&str]) -> Self {
        let mut command = desk.home.command(["auth", "google"].iter().chain(arguments));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut address = String::new();
        while !address.trim().starts_with("http") {
            address.clear();
            assert_ne!(out.read_line(&mut address).unwrap(), 0, "it ended without an address");
        }
        Self { child, out, address: address.trim().to_owned() }
    }

    fn paste(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn end(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        self.out.read_to_string(&mut text).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap().code(), text)
    }
}

#[test]
fn a_consent_in_the_browser_leads_to_mail_without_any_password() {
    let desk = Desk::new();
    let (code, text) = desk.output(&["check"]);
    assert!(code != Some(0) && text.contains("pillarbox auth google"), "{text}");

    let waiting = Waiting::start(&desk, &[]);
    for part in [
        "code_challenge_method=S256",
        "access_type=offline",
        "prompt=consent",
        "login_hint=me%40gmail.com",
        "scope=https%3A%2F%2Fmail.google.com%2F",
    ] {
        assert!(waiting.address.contains(part), "{}", waiting.address);
    }
    let (header, page) = browse(&consent(&waiting.address));
    assert!(
        header.starts_with("HTTP/1.1 200") && page.contains("close this window"),
        "{header}\n{page}"
    );
    let (code, text) = waiting.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("The token works") && text.contains("Testing"), "{text}");
    assert_eq!(desk.sandbox.mailbox().counters().token_requests, 2, "the code, and the proof");
    let mode = fs::metadata(desk.token_file()).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o600);
    assert_eq!(desk.output(&["check"]).0, Some(0));

    let daemon = desk.home.start();
    let reply = Client::hello(daemon.smtp).mail(
        "cron@host.example",
        &["ok@example.net"],
        "Subject: x\n\nhello",
    );
    assert!(reply.starts_with("250"), "{reply}");
    assert!(within(PATIENCE, || desk.sandbox.mailbox().count() == 1), "{}", desk.home.log());
    assert_eq!(desk.sandbox.mailbox().accepted()[0].username.as_deref(), Some("me@gmail.com"));
    daemon.terminate(PATIENCE);
    let stored = fs::read_to_string(desk.token_file()).unwrap();
    let stored: serde_json::Value = serde_json::from_str(&stored).unwrap();
    for secret in [&stored["refresh_token"], &stored["access"]["token"]] {
        let secret = secret.as_str().unwrap();
        assert!(!desk.home.log().contains(secret), "a token is in the log");
        assert!(!text.contains(secret), "a token was printed");
    }
}

#[test]
fn for_the_api_the_consent_asks_to_send_and_nothing_else_and_no_token_is_in_the_log() {
    let desk = Desk::new();
    desk.configure(
        "provider = \"gmail\"\ntransport = \"gmail-api\"\nauth = \"oauth\"\noauth_client_file = \"client.json\"\n",
    );
    let text = fs::read_to_string(desk.home.config()).unwrap();
    let port = |address: std::net::SocketAddr| format!("port = {}\n", address.port());
    let (smtp, api) = (desk.sandbox.starttls_address(), desk.sandbox.api_address());
    fs::write(desk.home.config(), text.replace(&port(smtp), &port(api))).unwrap();
    let waiting = Waiting::start(&desk, &[]);
    let scope = "scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fgmail.send&";
    assert!(waiting.address.contains(scope), "{}", waiting.address);
    browse(&consent(&waiting.address));
    let (code, text) = waiting.end();
    assert_eq!(code, Some(0), "{text}");

    let daemon = desk.home.start();
    let message = "Subject: x\n\nhello";
    let reply = Client::hello(daemon.smtp).mail("me@gmail.com", &["ok@example.net"], message);
    assert!(reply.starts_with("250"), "{reply}");
    assert!(within(PATIENCE, || desk.sandbox.mailbox().count() == 1), "{}", desk.home.log());
    let accepted = desk.sandbox.mailbox().accepted();
    assert_eq!(accepted[0].rcpt_to, ["ok@example.net"]);
    assert_eq!(accepted[0].username.as_deref(), Some("me@gmail.com"));
    daemon.terminate(PATIENCE);
    let stored: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(desk.token_file()).unwrap()).unwrap();
    assert_eq!(stored["scope"], "https://www.googleapis.com/auth/gmail.send");
    let secret = stored["access"]["token"].as_str().unwrap();
    assert!(!desk.home.log().contains(secret), "a token is in the log");
}

#[test]
fn on_a_machine_without_a_browser_the_address_is_pasted() {
    let desk = Desk::new();
    let mut waiting = Waiting::start(&desk, &["--testing"]);
    let location = consent(&waiting.address);
    waiting.paste("what now?");
    let foreign = location.replacen("state=", "state=x", 1);
    waiting.paste(&foreign);
    // Nor does the wrong state work in a browser.
    assert!(browse(&foreign).0.starts_with("HTTP/1.1 400"));
    waiting.paste(&location);
    let (code, text) = waiting.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("neither the browser's address nor a code"), "{text}");
    assert!(text.contains("does not belong to this consent"), "{text}");
    assert!(text.contains("It ends ") && text.contains("In production"), "{text}");
    let (code, text) = desk.output(&["auth", "status"]);
    assert_eq!(code, Some(0), "{text}");
    for words in
        ["me@gmail.com", OAUTH_CLIENT_ID, "https://mail.google.com/", "in 6 d", "oauth-token.json"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn of_lines_that_come_at_once_each_is_read() {
    let desk = Desk::new();
    let mut waiting = Waiting::start(&desk, &[]);
    let location = consent(&waiting.address);
    waiting.paste(&format!("what now?\n\n{location}"));
    let (code, text) = waiting.end();
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_code_alone_may_be_pasted_as_well() {
    let desk = Desk::new();
    let mut waiting = Waiting::start(&desk, &[]);
    let location = consent(&waiting.address);
    let code = location.split("code=").nth(1).unwrap().split('&').next().unwrap();
    waiting.paste(code);
    let (code, text) = waiting.end();
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_consent_that_is_refused_or_does_not_come_says_what_to_do() {
    let desk = Desk::new();
    let waiting = Waiting::start(&desk, &[]);
    let denied = waiting.address.replace("login_hint=me%40", "login_hint=deny%40");
    browse(&consent(&denied));
    let (code, text) = waiting.end();
    assert!(
        code == Some(77) && text.contains("access_denied") && text.contains("test users"),
        "{text}"
    );

    let (code, text) = desk.output(&["auth", "google", "--wait", "100ms"]);
    assert!(
        code == Some(78) && text.contains("no consent came") && text.contains("--wait"),
        "{text}"
    );

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, text) = desk.output(&["auth", "google", "--port", &port]);
    assert!(code == Some(78) && text.contains(&port) && text.contains("--port"), "{text}");
    assert!(!desk.token_file().exists());
}

#[test]
fn an_existing_refresh_token_is_imported_once_it_is_proved() {
    let desk = Desk::new();
    let import = |text: &str| {
        let file = desk.home.path("import");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        desk.output(&["auth", "google", "--import", file.to_str().unwrap()])
    };
    let json = |client: &str, token: &str| {
        serde_json::json!({ "type": "authorized_user", "client_id": client, "refresh_token": token })
            .to_string()
    };
    let (code, text) = import(&json("2.apps", REFRESH_TOKEN));
    assert!(code == Some(65) && text.contains("made for the client 2.apps"), "{text}");
    let (code, text) = import(&json(OAUTH_CLIENT_ID, "revoked"));
    assert!(code == Some(77) && text.contains("Nothing was stored"), "{text}");
    assert!(!desk.token_file().exists());
    let (code, text) = import(&json(OAUTH_CLIENT_ID, REFRESH_TOKEN));
    assert!(code == Some(0) && text.contains("The token works"), "{text}");
    assert!(!text.contains(REFRESH_TOKEN));
    let (code, text) = desk.output(&["auth", "status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &status["username"]), (Some(0), &"me@gmail.com".into()));
    assert!(status["access_token_expires_at"].is_i64() && !text.contains(REFRESH_TOKEN), "{text}");
}

#[test]
fn each_account_has_a_token_of_its_own_and_one_that_there_is_none_of_is_refused() {
    let desk = Desk::new();
    let text = fs::read_to_string(desk.home.config()).unwrap();
    let url = desk.sandbox.oauth_url();
    let second = format!(
        "\n[[account]]\nname = \"second\"\nhost = \"127.0.0.1\"\nport = {}\nca_file = \"authority.pem\"\n\
         username = \"me@gmail.com\"\nauth = \"oauth\"\noauth_client_file = \"client.json\"\n\
         oauth_authorization_endpoint = \"{url}/authorize\"\noauth_token_endpoint = \"{url}/token\"\n\
         oauth_revocation_endpoint = \"{url}/revoke\"\n",
        desk.sandbox.starttls_address().port(),
    );
    fs::write(desk.home.config(), text + &second).unwrap();
    let file = desk.home.path("import");
    fs::write(&file, REFRESH_TOKEN).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let import = ["auth", "google", "--import", file.to_str().unwrap(), "--account", "second"];
    let (code, text) = desk.output(&["auth", "status", "--account", "second"]);
    assert!(
        code == Some(78) && text.contains("Run: pillarbox auth google --account second\n"),
        "{text}"
    );
    let (_, text) = desk.output(&["auth", "microsoft", "--account", "second"]);
    assert!(text.contains("Run: pillarbox auth google --account second"), "{text}");
    let (code, text) = desk.output(&import);
    assert!(code == Some(0) && text.contains("The token works"), "{text}");
    assert!(desk.home.state().join("oauth-token-second.json").exists());
    assert!(!desk.token_file().exists(), "that of the main account");
    assert_eq!(desk.output(&["auth", "status", "--account", "second"]).0, Some(0));
    assert_eq!(desk.output(&["auth", "status"]).0, Some(78), "which has none");
    let (code, text) = desk.output(&["auth", "status", "--account", "third"]);
    assert!(code == Some(65) && text.contains("there is main, second"), "{text}");
    let (code, text) = desk.output(&["auth", "revoke", "--account", "second"]);
    let waits = "then waits for `pillarbox auth google --account second`";
    assert!(code == Some(0) && text.contains(waits), "{text}");
}

#[test]
fn a_consent_whose_proof_fails_for_now_is_kept() {
    let desk = Desk::new();
    let waiting = Waiting::start(&desk, &[]);
    let location = consent(&waiting.address);
    // The code is exchanged, the refresh behind it meets a server in trouble.
    desk.sandbox.answer_next_token_request(TokenAnswer::Rotated);
    desk.sandbox.answer_next_token_request(TokenAnswer::Unavailable);
    browse(&location);
    let (code, text) = waiting.end();
    assert!(code == Some(75) && text.contains("It is stored in"), "{text}");
    assert!(desk.token_file().exists());
}

#[test]
fn a_revoked_token_is_gone_here_and_there() {
    let desk = Desk::new();
    let waiting = Waiting::start(&desk, &[]);
    browse(&consent(&waiting.address));
    assert_eq!(waiting.end().0, Some(0));
    let stored = fs::read_to_string(desk.token_file()).unwrap();
    let (code, text) = desk.output(&["auth", "revoke"]);
    assert!(code == Some(0) && text.contains("taken back"), "{text}");
    assert!(!desk.token_file().exists());
    let (code, text) = desk.output(&["auth", "status"]);
    assert!(code == Some(78) && text.contains("pillarbox auth google"), "{text}");
    // Whoever had a copy of the file has nothing.
    let stored: serde_json::Value = serde_json::from_str(&stored).unwrap();
    let copy = desk.home.path("copy");
    fs::write(&copy, stored["refresh_token"].as_str().unwrap()).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
    let (code, text) = desk.output(&["auth", "google", "--import", copy.to_str().unwrap()]);
    assert!(code == Some(77) && text.contains("Token has been expired or revoked."), "{text}");
}

#[test]
fn a_service_account_is_described_and_needs_no_consent() {
    let desk = Desk::new();
    desk.configure("auth = \"service-account\"\nservice_account_file = \"key.json\"\n");
    let (code, text) = desk.output(&["check"]);
    assert!(code == Some(78) && text.contains("key.json"), "{text}");
    write_key(&desk.home.path("key.json"));
    let (code, text) = desk.output(&["auth", "status"]);
    assert_eq!(code, Some(0), "{text}");
    for words in
        ["relay@project.iam.gserviceaccount.com", "client id 1099", "https://mail.google.com/"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("PRIVATE"));
    let (code, text) = desk.output(&["auth", "google"]);
    assert!(code == Some(78) && text.contains("needs no consent"), "{text}");
}

#[test]
fn an_account_with_a_password_is_told_which_lines_tokens_need() {
    let desk = Desk::new();
    desk.configure("password = \"abcd\"\n");
    let (code, text) = desk.output(&["auth", "google"]);
    assert!(
        code == Some(78) && text.contains("auth = \"oauth\"") && text.contains("oauth_client_file"),
        "{text}"
    );
}
