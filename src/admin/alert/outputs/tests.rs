//! The webhook against small servers of our own, plain and with TLS, and commands of the shell.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use crate::{
    admin::alert::{
        outbox::{Outbox, WAITING_MAX},
        outputs::*,
        watch::{Kind, State},
    },
    clock::Timestamp,
    telemetry::tests::Captured,
};

const MINUTE: Duration = Duration::from_secs(60);

/// A server that gives one status to every request, and what it was told.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    status: Arc<Mutex<&'static str>>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, status) =
            (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new("204 No Content")));
        let mut tasks = JoinSet::new();
        let (log, answer) = (Arc::clone(&requests), Arc::clone(&status));
        tasks.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let status = *answer.lock().unwrap();
                let request = match &tls {
                    None => serve(stream, status).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => serve(stream, status).await,
                        // A client that does not trust us goes away.
                        Err(_) => continue,
                    },
                };
                log.lock().unwrap().push(request);
            }
        });
        Self { port, requests, status, _tasks: tasks }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// One request as it came.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, status: &str) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        assert!(stream.read_buf(&mut request).await.unwrap() > 0, "the request ends with its JSON");
    }
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.ok();
    String::from_utf8(request).unwrap()
}

fn alert(subject: &str) -> Alert {
    Alert {
        kind: Kind::Account,
        state: State::Begins,
        host: "web01".into(),
        at: Timestamp(7),
        subject: subject.into(),
        remedy: "wait".into(),
    }
}

/// A target with what waits for it.
#[derive(Debug)]
struct Stage {
    courier: Courier,
    outbox: Outbox,
}

impl Stage {
    fn new(address: Address, format: Format, ca_file: Option<PathBuf>) -> Self {
        Self::of(Way::Webhook { address, format }, ca_file)
    }

    fn of(way: Way, ca_file: Option<PathBuf>) -> Self {
        let target = Target { name: "phone".into(), way, only: Vec::new() };
        Self { courier: Courier::new(target, ca_file), outbox: Outbox::default() }
    }

    fn push(&mut self, alert: Alert) {
        self.outbox.push(alert);
    }

    /// Hands over what waits, as long as nothing fails.
    async fn send(&mut self, up: Timestamp) {
        while let Some(alert) = self.outbox.next(up, up) {
            let Target { name, way, .. } = &self.courier.target;
            match self.courier.hand_over(&alert).await {
                Ok(_) => self.outbox.sent(&alert, name, up),
                Err(error) => self.outbox.failed(error, (name, &way.shown()), up, up),
            }
        }
    }

    fn trouble(&self) -> &str {
        self.outbox.failure.as_ref().map_or("", |failure| &failure.what)
    }
}

fn written(url: &str) -> Address {
    Address::Written(Endpoint::new(url).unwrap())
}

#[tokio::test]
async fn each_receiver_gets_its_own_form_and_nothing_that_others_wrote_is_a_link_or_a_mention() {
    let hostile = "web01: 550 <!channel> & @everyone **x** [y](https://evil.example)";
    let json = serde_json::json!({
        "kind": "account", "state": "begins", "host": "web01", "at": 7, "subject": hostile, "remedy": "wait"
    });
    for (format, path, expected_path, expected) in [
        (Format::Json, "/hook?key=k", "/hook?key=k", json),
        (
            Format::Ntfy,
            "/base/my-topic?auth=t",
            "/base/?auth=t",
            serde_json::json!({
                "topic": "my-topic", "title": hostile, "message": "wait", "priority": 4, "tags": ["warning"]
            }),
        ),
        (
            Format::Gotify,
            "/message?token=t",
            "/message?token=t",
            serde_json::json!({ "title": hostile, "message": "wait", "priority": 8 }),
        ),
        (
            Format::Slack,
            "/services/a/b",
            "/services/a/b",
            serde_json::json!({
                "text": "web01: 550 &lt;!channel&gt; &amp; @everyone **x** [y](https://evil.example)\nwait"
            }),
        ),
        (
            Format::Discord,
            "/api/webhooks/1/t",
            "/api/webhooks/1/t",
            serde_json::json!({
                "content": "web01: 550 \\<!channel\\> & @everyone \\*\\*x\\*\\* \\[y\\](https://evil.example)\nwait",
                "allowed_mentions": { "parse": [] }
            }),
        ),
    ] {
        let server = Server::start(None).await;
        let url = format!("http://127.0.0.1:{}{path}", server.port);
        let stage = Stage::new(written(&url), format, None);
        stage.courier.hand_over(&alert(hostile)).await.unwrap();
        let request = server.requests().remove(0);
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("POST {expected_path} HTTP/1.1\r\n")), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body, expected, "{format:?}");
    }
}

#[test]
fn a_long_alert_stays_within_what_each_receiver_takes() {
    let mut long = alert(&"*".repeat(5_000));
    long.remedy = "_".repeat(5_000);
    let endpoint = || Endpoint::new("https://hooks.example/topic").unwrap();
    for (format, key, limit) in [
        (Format::Ntfy, "message", 4_096),
        (Format::Gotify, "message", 4_096),
        (Format::Slack, "text", 4_000),
        (Format::Discord, "content", 2_000),
    ] {
        let (_, body) = format.request(endpoint(), &long).unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let length = body[key].as_str().unwrap().chars().count();
        assert!(length > 500 && length <= limit, "{format:?}: {length}");
    }
}

#[test]
fn an_address_without_a_topic_is_none_of_ntfy() {
    for (address, fits) in [
        ("https://ntfy.example/alerts", true),
        ("https://ntfy.example/below/alerts", true),
        ("https://ntfy.example/", false),
        ("https://ntfy.example/alerts/", false),
    ] {
        let endpoint = Endpoint::new(address).unwrap();
        assert_eq!(Format::Ntfy.fits(&endpoint).is_ok(), fits, "{address}");
        assert!(Format::Slack.fits(&endpoint).is_ok());
    }
}

#[tokio::test]
async fn the_webhook_gets_the_same_json_as_a_command() {
    let server = Server::start(None).await;
    let url = format!("http://127.0.0.1:{}/hook?key=s3cret", server.port);
    let mut stage = Stage::new(written(&url), Format::Json, None);
    stage.push(alert("one"));
    stage.push(alert("two"));
    stage.send(Timestamp(0)).await;
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hook?key=s3cret HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "kind": "account", "state": "begins", "host": "web01", "at": 7, "subject": "one", "remedy": "wait"
        })
    );
    assert!(!format!("{stage:?}").contains("s3cret"), "{stage:?}");
}

#[tokio::test]
async fn a_webhook_that_fails_is_tried_again_with_growing_pauses_and_logged_once() {
    let (captured, _guard) = Captured::listening();

    let server = Server::start(None).await;
    *server.status.lock().unwrap() = "503 Service Unavailable";
    let mut stage = Stage::new(
        written(&format!("http://localhost:{}/s3cret", server.port)),
        Format::Json,
        None,
    );
    stage.push(alert("one"));
    let mut tried_at = Vec::new();
    for minute in 0..20_u32 {
        let before = server.requests().len();
        stage.send(Timestamp(0).after(MINUTE * minute)).await;
        if server.requests().len() > before {
            tried_at.push(minute);
        }
    }
    assert_eq!(tried_at, [0, 1, 3, 7, 15]);
    *server.status.lock().unwrap() = "200 OK";
    stage.send(Timestamp(0).after(MINUTE * 200)).await;
    assert!(stage.outbox.waiting.is_empty());
    let log = captured.text();
    assert_eq!(log.matches("an alert could not be sent").count(), 1, "{log}");
    assert!(log.contains("the webhook at localhost") && log.contains("HTTP status 503"), "{log}");
    assert_eq!(log.matches("alerts are sent again").count(), 1, "{log}");
    assert!(!log.contains("s3cret"), "{log}");
}

#[tokio::test]
async fn only_the_newest_alerts_wait_for_a_webhook_that_never_answers() {
    let mut stage = Stage::new(written("https://hooks.example/"), Format::Json, None);
    for number in 0..WAITING_MAX + 5 {
        stage.push(alert(&number.to_string()));
    }
    assert_eq!(stage.outbox.waiting.len(), WAITING_MAX);
    assert_eq!(stage.outbox.waiting[0].subject, "5");
}

#[tokio::test]
async fn over_tls_the_server_must_prove_its_name() {
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let server = Server::start(Some(TlsAcceptor::from(Arc::new(config)))).await;
    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    fs::write(&ca_file, certificate.pem()).unwrap();
    let url = format!("https://localhost:{}/hook", server.port);

    let mut trusting = Stage::new(written(&url), Format::Json, Some(ca_file));
    trusting.push(alert("one"));
    trusting.send(Timestamp(0)).await;
    assert_eq!(server.requests().len(), 1);

    let mut other = Stage::new(written(&url), Format::Json, None);
    other.push(alert("two"));
    other.send(Timestamp(0)).await;
    assert_eq!(server.requests().len(), 1, "nothing is said to a stranger");
    assert!(other.trouble().contains("certificate"), "{other:?}");
}

#[tokio::test]
async fn an_address_in_a_file_is_read_each_time_and_must_be_private() {
    let server = Server::start(None).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("webhook");
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    let mut stage =
        Stage::new(Address::File { path: path.clone(), mounted: false }, Format::Json, None);
    stage.push(alert("one"));
    stage.send(Timestamp(0)).await;
    assert!(stage.trouble().contains("cannot be read"), "{stage:?}");

    fs::write(&path, format!("http://127.0.0.1:{}/s3cret\nmade for the relay\n", server.port))
        .unwrap();
    mode(0o644);
    stage.send(Timestamp(0).after(MINUTE)).await;
    assert!(stage.trouble().contains("mode 0644"), "{stage:?}");
    mode(0o600);
    stage.send(Timestamp(0).after(MINUTE * 10)).await;
    assert!(server.requests()[0].starts_with("POST /s3cret "));

    fs::write(&path, "http://hooks.example/s3cret\n").unwrap();
    stage.push(alert("two"));
    stage.send(Timestamp(0).after(MINUTE * 20)).await;
    let error = stage.trouble();
    assert!(error.contains("https://") && !error.contains("s3cret"), "{error}");
}

#[tokio::test]
async fn a_command_that_fails_is_tried_again_after_a_pause() {
    let directory = tempfile::tempdir().unwrap();
    let (works, got) = (directory.path().join("works"), directory.path().join("got"));
    let script = format!("test -e {} && cat >> {}", works.display(), got.display());
    let mut stage = Stage::of(Way::Command(shell(&script)), None);
    stage.push(alert("first"));
    stage.send(Timestamp(0)).await;
    fs::write(&works, "").unwrap();
    stage.send(Timestamp(59_999)).await;
    assert!(!got.exists(), "it had a minute");
    stage.send(Timestamp(60_000)).await;
    assert!(fs::read_to_string(&got).unwrap().contains("first"));
}

fn an_alert() -> Alert {
    Alert {
        kind: Kind::Account,
        state: State::Begins,
        host: "web01".into(),
        at: Timestamp(7),
        subject: "web01: the account is paused-quota".into(),
        remedy: "wait".into(),
    }
}

fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(String::from).into()
}

#[tokio::test]
async fn the_command_gets_the_alert_as_json() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("alert.json");
    run_command(&shell(&format!("cat > {}", file.display())), &an_alert()).await.unwrap();
    let written: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(
        written,
        serde_json::json!({
            "kind": "account", "state": "begins", "host": "web01", "at": 7,
            "subject": "web01: the account is paused-quota", "remedy": "wait"
        })
    );
}

#[tokio::test]
async fn a_command_that_fails_is_missing_or_hangs_is_named() {
    let error = run_command(&shell("exit 3"), &an_alert()).await.unwrap_err();
    assert!(error.to_string().contains("sh failed: exit status: 3"), "{error}");
    let error = run_command(&["no-such-program".to_owned()], &an_alert()).await.unwrap_err();
    assert!(error.to_string().contains("no-such-program cannot be started"), "{error}");
    let slow =
        run_command_within(&shell("sleep 600 & wait"), &an_alert(), Duration::from_millis(100))
            .await;
    assert!(matches!(slow, Err(CommandError::TooSlow { .. })), "{slow:?}");
}
