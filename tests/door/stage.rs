//! A listener at work, and a client that speaks line by line.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use pillarbox::{
    clock::{Clock, ManualClock, Timestamp},
    listener::{
        Clients, Listener, Options, bind,
        client_stats::ClientStats,
        options::{Endpoint, Limits, Local, Network, TlsFiles},
    },
    message::envelope::Lane,
    queue::Queue,
    shutdown::Shutdown,
    smtp::server::{self, Authentication, Policy},
    telemetry,
};
use rcgen::CertifiedKey;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
    },
};

const QUEUE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const MESSAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A test that waits longer for a socket has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Loopback is trusted, and nothing else is configured.
pub(super) fn options() -> Options {
    Options {
        addresses: vec![endpoint(false, false)],
        networks: vec![network(&["127.0.0.0/8"])],
        default_policy: Policy::plain(false, MESSAGE_BYTES_MAX),
        tls: None,
        users_file: None,
        max_connections: 50,
        max_connections_per_client: 50,
        local: Local::default(),
        drain: Duration::from_secs(30),
        limits: Limits::default(),
        session: server::Options {
            hostname: "relay.test".into(),
            max_message_bytes: MESSAGE_BYTES_MAX,
            max_recipients: 100,
            local_recipients: false,
        },
        rules: Arc::default(),
        priority_hints: false,
        recipients: Arc::default(),
    }
}

pub(super) fn endpoint(implicit_tls: bool, proxy: bool) -> Endpoint {
    Endpoint { address: SocketAddr::from(([127, 0, 0, 1], 0)), implicit_tls, proxy }
}

/// A trusted network.
pub(super) fn network(networks: &[&str]) -> Network {
    Network {
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        policy: Policy::plain(true, MESSAGE_BYTES_MAX),
        messages_per_minute: None,
        lane: Lane::Normal,
    }
}

/// STARTTLS with this certificate, for everybody.
pub(super) fn with_tls(certificate: &Certificate) -> Options {
    let mut options = options();
    options.networks[0].policy.starttls = true;
    options.default_policy.starttls = true;
    options.tls = Some(certificate.files());
    options
}

/// Nobody is trusted, and everybody may log in.
pub(super) fn with_logins(certificate: &Certificate, users_file: PathBuf) -> Options {
    let mut options = with_tls(certificate);
    options.networks.clear();
    options.default_policy.authentication = Authentication::Optional;
    options.users_file = Some(users_file);
    options
}

/// Certificate and key on disk.
pub(super) struct Certificate {
    pub(super) directory: tempfile::TempDir,
}

impl Certificate {
    pub(super) fn new() -> (Self, CertificateDer<'static>) {
        let certificate = Self { directory: tempfile::tempdir().unwrap() };
        let issued = certificate.renew();
        (certificate, issued)
    }

    pub(super) fn renew(&self) -> CertificateDer<'static> {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["relay.test".to_owned()]).unwrap();
        std::fs::write(self.path("cert.pem"), cert.pem()).unwrap();
        std::fs::write(self.path("key.pem"), signing_key.serialize_pem()).unwrap();
        cert.der().clone()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        Path::new(self.directory.path()).join(name)
    }

    fn files(&self) -> TlsFiles {
        TlsFiles { certificate: self.path("cert.pem"), key: self.path("key.pem") }
    }
}

/// A listener at work.
pub(super) struct Door {
    pub(super) address: SocketAddr,
    pub(super) store: Arc<Queue>,
    pub(super) clock: ManualClock,
    clients: Arc<Clients>,
    _shutdown: Shutdown,
    _running: JoinSet<io::Result<()>>,
}

impl Door {
    pub(super) fn open(options: Options) -> Self {
        let clock = ManualClock::new(Timestamp(1_700_000_000_000));
        let store = Arc::new(Queue::in_memory(Arc::new(clock.clone()), QUEUE_BYTES_MAX));
        let sockets = bind(&options).unwrap();
        let listener = Listener::open(options, sockets).unwrap();
        let (address, clients) = (listener.addresses()[0], listener.clients());
        let shutdown = Shutdown::new();
        let mut running = JoinSet::new();
        let queue = Arc::clone(&store);
        running.spawn(listener.run(queue, Arc::new(clock.clone()), shutdown.watch()));
        Self { address, store, clock, clients, _shutdown: shutdown, _running: running }
    }

    pub(super) async fn client(&self) -> Client<TcpStream> {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    pub(super) async fn greeted(&self) -> Client<TcpStream> {
        let mut client = self.client().await;
        client.expect("220 relay.test").await;
        client
    }

    /// After EHLO, STARTTLS and the handshake.
    pub(super) async fn secured(
        &self,
        issuer: &CertificateDer<'static>,
    ) -> Client<TlsStream<TcpStream>> {
        let mut client = self.greeted().await;
        client.say("EHLO client.test", "250").await;
        client.say("STARTTLS", "220 2.0.0").await;
        client.handshake(issuer).await.unwrap()
    }

    /// The one client that these tests have, as the listener counts it.
    pub(super) fn summary(&self) -> ClientStats {
        let [summary] = self.clients.snapshot().try_into().unwrap();
        summary
    }

    pub(super) fn clients(&self) -> Vec<ClientStats> {
        self.clients.snapshot()
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.clock.now().since_boot_ms
    }

    /// Moves the clock on in steps of a second while `until` is not yet done.
    pub(super) async fn time_passes<T>(&self, until: impl Future<Output = T>) -> T {
        let moving = async {
            loop {
                self.clock.advance(Duration::from_secs(1));
                let_others_work().await;
            }
        };
        tokio::select! {
            biased;
            outcome = patiently(until) => outcome,
            () = moving => unreachable!("it has no end"),
        }
    }

    pub(super) async fn messages(&self) -> Vec<String> {
        let mut messages = Vec::new();
        for message in self.store.list(None, 100).await.unwrap() {
            let mut reader = self.store.open_message(message.id).await.unwrap();
            let mut bytes = Vec::new();
            while let Some(block) = reader.next_block().unwrap() {
                bytes.extend_from_slice(&block);
            }
            messages.push(String::from_utf8(bytes).unwrap());
        }
        messages
    }
}

/// Lets every other task come to its next wait, and the sockets be looked at.
pub(super) async fn let_others_work() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// The client's end of a connection.
pub(super) struct Client<S>(pub(super) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Reads one reply, which must begin as expected, and returns all its lines.
    pub(super) async fn expect(&mut self, beginning: &str) -> String {
        let mut reply = String::new();
        loop {
            let line = patiently(self.line()).await;
            assert!(
                line.starts_with(beginning) || line.as_bytes().get(3) == Some(&b'-'),
                "expected {beginning:?}, got {line:?}"
            );
            reply += &line;
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.0.read_u8().await.unwrap());
        }
        String::from_utf8(line).unwrap()
    }

    pub(super) async fn say(&mut self, command: &str, beginning: &str) -> String {
        self.send(format!("{command}\r\n")).await;
        self.expect(beginning).await
    }

    /// Up to the 354.
    pub(super) async fn start_message(&mut self) {
        self.say("EHLO client.test", "250").await;
        self.say("MAIL FROM:<a@client.test>", "250 2.1.0").await;
        self.say("RCPT TO:<b@example.org>", "250 2.1.5").await;
        self.say("DATA", "354").await;
    }

    pub(super) async fn mail(&mut self) {
        self.start_message().await;
        self.say("Subject: hello\r\n\r\nbody\r\n.", "250 2.0.0").await;
    }

    /// The end in good order: over TLS this needs the close_notify.
    pub(super) async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        patiently(self.0.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

impl Client<TcpStream> {
    /// Speaks TLS from here on.
    pub(super) async fn handshake(
        self,
        issuer: &CertificateDer<'static>,
    ) -> io::Result<Client<TlsStream<TcpStream>>> {
        let mut roots = RootCertStore::empty();
        roots.add(issuer.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("relay.test").unwrap();
        patiently(TlsConnector::from(Arc::new(config)).connect(name, self.0)).await.map(Client)
    }
}

pub(super) async fn patiently<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it must not take so long")
}

/// What this thread logs while it is held.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(super) fn capture() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let options =
            telemetry::Options { format: telemetry::Format::Json, level: tracing::Level::INFO };
        let guard =
            tracing::subscriber::set_default(telemetry::subscriber(options, false, move || {
                writer.clone()
            }));
        (log, guard)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
