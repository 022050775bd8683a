//! Logging in, and guessing.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use data_encoding::BASE64;
use pillarbox::{
    listener::{Options, users},
    secret::Secret,
    smtp::server::Authentication,
};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::{client::TlsStream, rustls::pki_types::CertificateDer};

use super::stage::{
    Certificate, Client, Door, Log, let_others_work, options, patiently, with_logins,
};

/// Logs in at the same time with as many connections, and returns the codes of the replies.
async fn at_once(stage: &Stage, connections: usize, password: &str) -> Vec<String> {
    let mut attempts = JoinSet::new();
    for _ in 0..connections {
        let mut client = stage.client().await;
        let command = plain("printer", password);
        attempts.spawn(async move { client.say(&command, "").await[..3].to_owned() });
    }
    let known = async {
        while password == WRONG && stage.door.summary().failed_logins < connections as u64 {
            let_others_work().await;
        }
    };
    patiently(known).await;
    stage.door.clock.advance(Duration::from_secs(8));
    let mut codes = patiently(attempts.join_all()).await;
    codes.sort();
    codes
}

const WRONG: &str = "wrong";

#[tokio::test]
async fn many_right_logins_at_once_all_come_in() {
    assert_eq!(at_once(&Stage::new(), 40, "correct horse").await, vec!["235"; 40]);
}

#[tokio::test]
async fn many_guesses_at_once_are_no_more_than_one_by_one() {
    let codes = at_once(&Stage::new(), 40, WRONG).await;
    assert_eq!(codes, [vec!["454"; 20], vec!["535"; 20]].concat());
}

struct Stage {
    door: Door,
    issuer: CertificateDer<'static>,
    _certificate: Certificate,
}

impl Stage {
    /// A door that knows one user, printer with the password "correct horse".
    fn new() -> Self {
        let (certificate, issuer) = Certificate::new();
        let file = certificate.path("users");
        let hash = users::hash(&Secret::new("correct horse".into())).unwrap();
        std::fs::write(&file, format!("printer:{hash}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let door = Door::open(Options {
            max_connections: 100,
            max_connections_per_client: 100,
            ..with_logins(&certificate, file)
        });
        Self { door, issuer, _certificate: certificate }
    }

    async fn client(&self) -> Client<TlsStream<TcpStream>> {
        let mut client = self.door.secured(&self.issuer).await;
        client.say("EHLO client.test", "250").await;
        client
    }
}

fn plain(login: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", BASE64.encode(format!("\0{login}\0{password}").as_bytes()))
}

#[tokio::test]
async fn a_user_from_anywhere_may_relay_once_logged_in_over_tls_and_the_log_says_who_it_was() {
    let (log, _guard) = Log::capture();
    let stage = Stage::new();
    let mut client = stage.client().await;
    client.say("MAIL FROM:<a@client.test>", "5").await;
    client.say(&plain("printer", "correct horse"), "235 2.7.0").await;
    client.mail().await;
    let message = stage.door.messages().await.remove(0);
    assert!(message.contains("with ESMTPSA"), "{message}");
    let text = log.text();
    let accepted = text.lines().find(|line| line.contains("\"accepted\"")).unwrap();
    assert!(
        accepted.contains(r#""login":"printer""#) && accepted.contains(r#""protocol":"ESMTPSA""#),
        "{accepted}"
    );
}

#[tokio::test]
async fn auth_login_speaks_the_prompts_that_devices_wait_for() {
    let stage = Stage::new();
    let mut client = stage.client().await;
    client.say("AUTH LOGIN", "334 VXNlcm5hbWU6\r\n").await;
    client.say(&BASE64.encode(b"printer"), "334 UGFzc3dvcmQ6\r\n").await;
    client.say(&BASE64.encode(b"correct horse"), "235").await;
}

#[tokio::test]
async fn a_refusal_takes_its_time_and_is_logged_without_the_password() {
    let (log, _guard) = Log::capture();
    let stage = Stage::new();
    let mut client = stage.client().await;
    client.send(plain("printer", "incorrect horse") + "\r\n").await;
    let began = stage.door.now_ms();
    stage.door.time_passes(client.expect("535 5.7.8")).await;
    assert!(stage.door.now_ms() - began >= 1_000);
    let text = log.text();
    assert!(text.contains("login refused") && text.contains("printer"), "{text}");
    assert!(!text.contains("horse"), "{text}");
    assert_eq!(stage.door.summary().failed_logins, 1);
}

#[tokio::test]
async fn after_too_many_failures_an_address_is_not_even_asked_until_they_are_old() {
    let (log, _guard) = Log::capture();
    let stage = Stage::new();
    let door = &stage.door;
    for failures in 0..20 {
        let mut client = stage.client().await;
        client.send(plain("printer", "wrong") + "\r\n").await;
        // The clock stands still until the password was looked at, and moves on for the delay alone.
        let known = async {
            while door.clients().first().is_none_or(|client| client.failed_logins == failures) {
                let_others_work().await;
            }
        };
        patiently(known).await;
        door.clock.advance(Duration::from_secs(8));
        client.expect("535").await;
        client.say("QUIT", "221").await;
    }
    let mut client = stage.client().await;
    client.say(&plain("printer", "correct horse"), "454 4.7.0").await;
    let text = log.text();
    let cut_off: Vec<_> =
        text.lines().filter(|line| line.contains("too many failed logins")).collect();
    assert!(
        matches!(cut_off[..], [line] if line.contains("WARN") && line.contains("until")),
        "{text}"
    );
    let refused = text.lines().filter(|line| line.contains("login refused"));
    assert!(refused.skip(1).all(|line| line.contains(r#""count":"#)), "{text}");
    stage.door.clock.advance(Duration::from_secs(600));
    let mut client = stage.client().await;
    client.say(&plain("printer", "correct horse"), "235").await;
}

#[tokio::test]
async fn where_any_login_will_do_no_users_are_needed() {
    let mut options = options();
    options.networks[0].policy.authentication = Authentication::AcceptAny;
    let door = Door::open(options);
    let mut client = door.greeted().await;
    client.say("EHLO camera", "250").await;
    client.say(&plain("admin", "12345"), "235").await;
    client.mail().await;
    let_others_work().await;
    assert_eq!(door.summary().failed_logins, 0);
}
