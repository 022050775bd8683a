//! A raw SMTP client that plays dialogues, and the texts that several dialogues share.

use std::{sync::Arc, time::Duration};

use pillarbox_sandbox::{ManualClock, Options, Sandbox, Timestamp};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// How long a reply may take before the test fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// What opens a transaction with an ordinary recipient.
pub(super) const OPEN: &str = "C: MAIL FROM:<me@gmail.com>\nS: 250 2.1.0 OK ";

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) struct Client {
    pub(super) stream: Box<dyn Stream>,
    pending: Vec<u8>,
}

impl Client {
    pub(super) fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), pending: Vec::new() }
    }

    pub(super) async fn plain(sandbox: &Sandbox) -> Self {
        Self::new(TcpStream::connect(sandbox.plain_address()).await.unwrap())
    }

    pub(super) async fn starttls(sandbox: &Sandbox) -> Self {
        Self::new(TcpStream::connect(sandbox.starttls_address()).await.unwrap())
    }

    pub(super) async fn implicit(sandbox: &Sandbox) -> Self {
        let stream = TcpStream::connect(sandbox.implicit_address()).await.unwrap();
        Self::new(Self::new(stream).secure(sandbox, "smtp.gmail.com").await.unwrap())
    }

    /// Greeted on the implicit port.
    pub(super) async fn greeted(sandbox: &Sandbox) -> Self {
        let mut client = Self::implicit(sandbox).await;
        client.talk(&format!("S: 220 \nC: EHLO relay.example.org\n{EHLO_REST}")).await;
        client
    }

    /// Logged in on the implicit port.
    pub(super) async fn ready(sandbox: &Sandbox) -> Self {
        let mut client = Self::greeted(sandbox).await;
        client
            .talk(&format!(
                "C: {}\nS: 235 2.7.0 Accepted",
                plain("me@gmail.com", "abcdefghijklmnop")
            ))
            .await;
        client
    }

    pub(super) async fn secure(
        self,
        sandbox: &Sandbox,
        name: &'static str,
    ) -> std::io::Result<impl Stream + use<>> {
        let mut roots = RootCertStore::empty();
        let pem = sandbox.certificate_authority_pem();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(name).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, self.stream).await
    }

    /// Plays a dialogue.
    pub(super) async fn talk(&mut self, dialogue: &str) {
        let mut outgoing = Vec::new();
        for line in dialogue.lines() {
            if let Some(command) = line.strip_prefix("C: ") {
                outgoing.extend_from_slice(command.as_bytes());
                outgoing.extend_from_slice(b"\r\n");
                continue;
            }
            self.send(&std::mem::take(&mut outgoing)).await;
            match line.strip_prefix("S: ") {
                Some(expected) => {
                    let reply = self
                        .line()
                        .await
                        .unwrap_or_else(|| panic!("closed instead of {expected:?}"));
                    assert!(
                        reply.starts_with(expected),
                        "expected {expected:?}, got {reply:?}\n{dialogue}"
                    );
                }
                None => {
                    assert_eq!(line, "close", "a dialogue line of no kind");
                    assert_eq!(self.line().await, None, "still open\n{dialogue}");
                }
            }
        }
        self.send(&outgoing).await;
    }

    pub(super) async fn send(&mut self, octets: &[u8]) {
        if !octets.is_empty() {
            self.stream.write_all(octets).await.unwrap();
            self.stream.flush().await.unwrap();
        }
    }

    /// The next reply line; `None` when the server has closed.
    pub(super) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.pending.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let read = self.stream.read_buf(&mut self.pending);
            match tokio::time::timeout(PATIENCE, read).await.expect("no reply") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Sends one message to `recipient`; `rest` is the dialogue from RCPT's reply on.
    pub(super) async fn message(&mut self, recipient: &str, rest: &str) {
        self.talk(&format!("{OPEN}\nC: RCPT TO:<{recipient}@example.net>\n{rest}")).await;
    }
}

/// The lines after an EHLO on a TLS connection.
pub(super) const EHLO_REST: &str = "S: 250-smtp.gmail.com at your service, [127.0.0.1]
S: 250-SIZE 35882577
S: 250-8BITMIME
S: 250-AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH
S: 250-ENHANCEDSTATUSCODES
S: 250-PIPELINING
S: 250-CHUNKING
S: 250 SMTPUTF8";

pub(super) const ACCEPTED: &str =
    "S: 250 2.1.5 OK \nC: DATA\nS: 354  Go ahead \nC: Message-ID: <1@x>\nC: \nC: hello\nC: .
S: 250 2.0.0 OK  ";

/// A message whose final dot meets what follows.
pub(super) fn at_dot(reply: &str) -> String {
    ACCEPTED.replace("S: 250 2.0.0 OK  ", reply)
}

/// A message whose DATA meets what follows.
pub(super) fn at_data(reply: &str) -> String {
    format!("S: 250 2.1.5 OK \nC: DATA\n{reply}")
}

pub(super) fn plain(username: &str, password: &str) -> String {
    let text = format!("\0{username}\0{password}");
    format!("AUTH PLAIN {}", data_encoding::BASE64.encode(text.as_bytes()))
}

pub(super) const LIMIT: &str =
    "S: 550-5.4.5 Daily user sending limit exceeded. For more information on Gmail
S: 550-5.4.5 sending limits go to
S: 550 5.4.5  https://support.google.com/a/answer/166852 ";

pub(super) async fn start(options: Options) -> Sandbox {
    Sandbox::start(options).await.unwrap()
}

/// A sandbox on a clock that the test moves.
pub(super) async fn start_with_clock() -> (Sandbox, ManualClock) {
    start_with(|_| ()).await
}

/// On a clock that the test moves, and otherwise as `edit` says.
pub(super) async fn start_with(edit: impl FnOnce(&mut Options)) -> (Sandbox, ManualClock) {
    let clock = ManualClock::new(Timestamp(1_716_281_641_000));
    let mut options = Options { clock: Arc::new(clock.clone()), ..Options::default() };
    edit(&mut options);
    (start(options).await, clock)
}
