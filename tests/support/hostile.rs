//! An upstream that talks without end at one stage of the dialogue, and is honest at all others.
//!
//! Rule: a flood lasts until the client goes away. Must not know what a test proves.

use std::{
    collections::HashSet,
    fs, io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use pillarbox::sandbox::Stage;
use tempfile::TempDir;
use tokio::{
    io::{
        AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader,
    },
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::daemon::Upstream;

/// What it says without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    /// A line that never ends.
    Line,
    /// A reply whose lines never end.
    Lines,
    /// What is not a reply, without a line end.
    Noise,
}

/// The upstream. It lives until it is dropped.
pub(crate) struct Hostile {
    address: SocketAddr,
    directory: TempDir,
    shared: Arc<Mutex<Shared>>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Shared {
    flood: Option<(Stage, Flood)>,
    /// Octets of floods that somebody took.
    flooded: u64,
    floods: u32,
    accepted: HashSet<String>,
}

impl Hostile {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a key");
        fs::write(directory.path().join("authority.pem"), made.cert.pem()).expect("a file");
        let certificate = CertificateDer::from(made.cert.der().to_vec());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_no_client_auth().with_single_cert(vec![certificate], key)
            });
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("a configuration")));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Mutex::new(Shared::default()));
        let serving = Arc::clone(&shared);
        runtime.spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&serving));
                // Whatever ends a session is the client's affair.
                sessions.spawn(async move { drop(serve(stream, acceptor, shared).await) });
            }
        });
        Self { address, directory, shared, runtime: Some(runtime) }
    }

    /// What a configuration says about it.
    pub(crate) fn upstream(&self, tls: bool) -> Upstream {
        Upstream {
            host: "localhost".into(),
            port: self.address.port(),
            tls: if tls { "starttls" } else { "off" }.into(),
            ca_file: tls.then(|| self.directory.path().join("authority.pem")),
            login: tls.then(|| ("relay@gmail.com".into(), "abcd efgh ijkl mnop".into())),
        }
    }

    /// Floods at this stage from now on, or nowhere.
    pub(crate) fn flood(&self, flood: Option<(Stage, Flood)>) {
        self.shared.lock().expect("no session panicked").flood = flood;
    }

    /// How many floods there were, and how many of their octets were taken.
    pub(crate) fn floods(&self) -> (u32, u64) {
        let shared = self.shared.lock().expect("no session panicked");
        (shared.floods, shared.flooded)
    }

    /// The Message-IDs that it took.
    pub(crate) fn accepted(&self) -> HashSet<String> {
        self.shared.lock().expect("no session panicked").accepted.clone()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    shared: Arc<Mutex<Shared>>,
) -> io::Result<()> {
    let mut plain = Session { stream: BufReader::new(stream), shared: Arc::clone(&shared) };
    plain.say(Stage::Connect, "220 localhost").await?;
    if plain.talk(false).await? == End::Encrypt {
        let stream = acceptor.accept(plain.stream.into_inner()).await?;
        Session { stream: BufReader::new(stream), shared }.talk(true).await?;
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum End {
    Encrypt,
    Over,
}

struct Session<S> {
    stream: BufReader<S>,
    shared: Arc<Mutex<Shared>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S>
where
    BufReader<S>: AsyncBufRead,
{
    /// The reply at a stage, or the flood.
    async fn say(&mut self, stage: Stage, reply: &str) -> io::Result<()> {
        let flood = self.shared.lock().expect("no session panicked").flood;
        if let Some((_, kind)) = flood.filter(|(at, _)| *at == stage) {
            self.shared.lock().expect("no session panicked").floods += 1;
            let code = &reply[..3];
            let block = match kind {
                Flood::Line => "x".repeat(16 * 1024),
                Flood::Lines => format!("{code}-and another line\r\n").repeat(800),
                Flood::Noise => "\u{1}".repeat(16 * 1024),
            };
            if kind == Flood::Line {
                self.stream.write_all(format!("{code} ").as_bytes()).await?;
            }
            loop {
                self.stream.write_all(block.as_bytes()).await?;
                self.stream.flush().await?;
                let mut shared = self.shared.lock().expect("no session panicked");
                shared.flooded += block.len() as u64;
            }
        }
        self.stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
        self.stream.flush().await
    }

    fn floods_at(&self, stage: Stage) -> bool {
        let flood = self.shared.lock().expect("no session panicked").flood;
        flood.is_some_and(|(at, _)| at == stage)
    }

    async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }

    async fn talk(&mut self, encrypted: bool) -> io::Result<End> {
        loop {
            let line = String::from_utf8_lossy(&self.line().await?).trim_end().to_owned();
            let word = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match word.as_str() {
                "EHLO" if encrypted => {
                    self.say(Stage::Ehlo, "250-localhost\r\n250 AUTH PLAIN").await?;
                }
                "EHLO" => self.say(Stage::Ehlo, "250-localhost\r\n250 STARTTLS").await?,
                "STARTTLS" => {
                    self.say(Stage::StartTls, "220 go").await?;
                    return Ok(End::Encrypt);
                }
                "AUTH" => self.say(Stage::Auth, "235 2.7.0 Accepted").await?,
                "MAIL" => self.say(Stage::Mail, "250 2.1.0 OK").await?,
                "RCPT" if line.contains("nobody") => {
                    self.say(Stage::Rcpt, "550 5.1.1 nobody").await?;
                }
                "RCPT" if line.contains("goodbye") && self.floods_at(Stage::Quit) => {
                    self.say(Stage::Rcpt, "421 4.7.0 Try again later").await?;
                }
                "RCPT" => self.say(Stage::Rcpt, "250 2.1.5 OK").await?,
                "DATA" => self.take().await?,
                "RSET" => self.say(Stage::Rset, "250 2.0.0 OK").await?,
                "QUIT" => {
                    self.say(Stage::Quit, "221 2.0.0 bye").await?;
                    return Ok(End::Over);
                }
                _ => self.say(Stage::Other, "500 5.5.1 what").await?,
            }
        }
    }

    async fn take(&mut self) -> io::Result<()> {
        self.say(Stage::Data, "354 go on").await?;
        let mut message_id = None;
        loop {
            let line = self.line().await?;
            if line == b".\r\n" {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            if let Some(id) = text.strip_prefix("Message-ID: ") {
                message_id.get_or_insert_with(|| id.trim_end().to_owned());
            }
        }
        // The message is taken although the answer may never end.
        self.shared.lock().expect("no session panicked").accepted.extend(message_id);
        self.say(Stage::Dot, "250 2.0.0 OK").await
    }
}
