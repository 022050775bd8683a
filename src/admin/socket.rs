//! The two ways to the API: the Unix socket with its file and mode, and the TCP port of `[admin] http`, which only reads.
//!
//! Rule: a named number talks at a time, none for longer than its deadline, and nobody keeps a probe out. Must not know
//! what is shown.

use std::{
    fmt, io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{extract::connect_info::Connected, serve::IncomingStream};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

use super::audience::{Audience, Limits, Party, Place};
use crate::{
    clock::Clock,
    unix_socket::{SocketError, UnixSocket},
};

/// Owner and group may use the API; the group is how an administrator lets others in.
const SOCKET_MODE: u32 = 0o660;
/// The group must be able to pass through a directory that we make.
const DIRECTORY_MODE: u32 = 0o750;
/// Conversations at a time over the socket; whoever asks for nothing makes room.
const SOCKET_LIMITS: Limits = Limits { all: 64, of_one: 48, kept: 16 };
/// Everybody may ask for his own mail; who it is, the kernel tells.
const OWN_MAIL_MODE: u32 = 0o666;
/// Everybody must be able to pass through a directory that we make.
const OWN_MAIL_DIRECTORY_MODE: u32 = 0o755;
/// Conversations of users about their own mail. One at a time is answered, the others wait.
const OWN_MAIL_LIMITS: Limits = Limits { all: 32, of_one: 2, kept: 0 };
/// The same over the port. A monitor and a supervisor need two; whoever asks for nothing makes room for them.
const PORT_LIMITS: Limits = Limits { all: 32, of_one: 8, kept: 8 };
/// The same for browsers: each opens up to six, and behind a proxy all of them come from one address.
const PAGE_LIMITS: Limits = Limits { all: 64, of_one: 48, kept: 16 };
/// Pause after an accept failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why nobody can listen there.
#[derive(Debug, Error)]
#[error(
    "cannot listen on {address} for {what}: {error}; choose another address for [admin] {key}, or \"off\"",
    what = .purpose.what,
    key = .purpose.key
)]
pub struct PortError {
    address: SocketAddr,
    error: io::Error,
    purpose: &'static Purpose,
}

/// What a port is for.
#[derive(Debug)]
pub(crate) struct Purpose {
    /// In words.
    what: &'static str,
    /// Its key in `[admin]`.
    key: &'static str,
    limits: Limits,
}

/// Numbers for monitors, which may look but not act.
pub(crate) const MONITORING: Purpose =
    Purpose { what: "metrics and probes", key: "http", limits: PORT_LIMITS };
/// Browsers, each of which holds some connections open.
pub(crate) const PAGE: Purpose = Purpose { what: "the page", key: "page", limits: PAGE_LIMITS };

/// The listening Unix socket. Dropping it removes its file.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    _file: UnixSocket,
    audience: Arc<Audience>,
    clock: Arc<dyn Clock>,
}

impl Socket {
    /// Listens on `path`, after making its directory and removing a socket that nobody answers on.
    pub(crate) fn bind(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, SocketError> {
        let elsewhere = "set another admin.socket (and queue.directory) in relay.toml";
        let file = UnixSocket::bind(path, SOCKET_MODE, DIRECTORY_MODE, elsewhere)?;
        let listener = file.listener().map_err(|error| SocketError::new(path, error, elsewhere))?;
        Ok(Self { listener, _file: file, audience: Audience::new(SOCKET_LIMITS), clock })
    }

    /// Listens on `path` for users of this host.
    pub(super) fn for_users(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, SocketError> {
        let elsewhere = "set another socket under [sendmail]";
        let file = UnixSocket::bind(path, OWN_MAIL_MODE, OWN_MAIL_DIRECTORY_MODE, elsewhere)?;
        let listener = file.listener().map_err(|error| SocketError::new(path, error, elsewhere))?;
        Ok(Self { listener, _file: file, audience: Audience::new(OWN_MAIL_LIMITS), clock })
    }
}

/// Who asks over the socket, by the kernel's word.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The number of the user.
    pub(crate) uid: u32,
    /// For whom the daemon itself asks: a visitor of its page.
    pub(crate) visitor: Option<Arc<str>>,
}

impl Peer {
    fn of(uid: u32) -> Self {
        Self { uid, visitor: None }
    }

    /// The same, asking for this visitor, which only the daemon itself may say.
    pub(super) fn asking_for(self, visitor: &str) -> Self {
        let is_us = self.uid == rustix::process::geteuid().as_raw();
        Self { visitor: is_us.then(|| visitor.into()), ..self }
    }
}

impl Connected<IncomingStream<'_, Socket>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Socket>) -> Self {
        stream.remote_addr().clone()
    }
}

impl axum::serve::Listener for Socket {
    type Io = LimitedConnection<UnixStream>;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                self.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // A client that is gone already has no user, and no answer is owed to it.
            if let Ok(uid) = stream.peer_cred().map(|credentials| credentials.uid())
                && let Some(place) = self.audience.enter(Party::User(uid))
            {
                return (LimitedConnection::new(stream, place, &self.clock), Peer::of(uid));
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(Peer::of(rustix::process::geteuid().as_raw()))
    }
}

/// The listening TCP port.
#[derive(Debug)]
pub(crate) struct Port {
    listener: TcpListener,
    audience: Arc<Audience>,
    clock: Arc<dyn Clock>,
}

impl Port {
    /// Listens on `address`; within a runtime.
    pub(crate) fn bind(
        address: SocketAddr,
        purpose: &'static Purpose,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PortError> {
        let bind = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let listener = bind().map_err(|error| PortError { address, error, purpose })?;
        Ok(Self { listener, audience: Audience::new(purpose.limits), clock })
    }
}

impl Port {
    /// Where it listens, with the real number where 0 was asked for.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }
}

impl axum::serve::Listener for Port {
    type Io = LimitedConnection<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else {
                self.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // Nobody waits here: who has no place is closed, so that the next one is seen.
            if let Some(place) = self.audience.enter(Party::of_address(address.ip())) {
                return (LimitedConnection::new(stream, place, &self.clock), address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// How long one conversation may last, so that a forgotten client cannot keep its place.
const AGE_MAX: Duration = Duration::from_secs(60);
/// How long the head of the first request may take; a probe sends it at once.
const HEAD_MAX: Duration = Duration::from_secs(5);

/// A stream with a deadline and a place.
#[derive(Debug)]
pub(crate) struct LimitedConnection<S> {
    stream: S,
    deadline: Deadline,
    /// Until the first head has come.
    head_deadline: Option<Deadline>,
    place: Place,
    stage: Stage,
    /// Line feeds at the end of what was read, without a character between them.
    line_feeds: u8,
}

/// A moment on the relay's clock.
struct Deadline(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Deadline {
    fn after(duration: Duration, clock: &Arc<dyn Clock>) -> Self {
        let clock = Arc::clone(clock);
        Self(Box::pin(async move { clock.sleep(duration).await }))
    }

    fn has_come(&mut self, context: &mut Context<'_>) -> bool {
        self.0.as_mut().poll(context).is_ready()
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Deadline")
    }
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its head has not come completely.
    Asking,
    /// It has, and nothing is written yet.
    Asked,
    /// The answer is being written.
    Answering,
}

impl<S> LimitedConnection<S> {
    /// Begins now.
    pub(super) fn new(stream: S, place: Place, clock: &Arc<dyn Clock>) -> Self {
        let deadline = Deadline::after(AGE_MAX, clock);
        let head_deadline = Some(Deadline::after(HEAD_MAX, clock));
        Self { stream, deadline, head_deadline, place, stage: Stage::Asking, line_feeds: 0 }
    }

    /// The same conversation by other means, within the same time: in TLS.
    pub(crate) fn through<T>(self, wrap: impl FnOnce(S) -> T) -> LimitedConnection<T> {
        let Self { stream, deadline, head_deadline, place, stage, line_feeds } = self;
        LimitedConnection {
            stream: wrap(stream),
            deadline,
            head_deadline,
            place,
            stage,
            line_feeds,
        }
    }

    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        // The other end of `lost` says nothing: it ends when the place is somebody else's.
        let is_lost = Pin::new(&mut self.place.lost).poll(context).is_ready();
        let head = self.head_deadline.as_mut();
        let is_slow = head.is_some_and(|deadline| deadline.has_come(context));
        if is_lost || is_slow || self.deadline.has_come(context) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    /// Looks for the empty line that ends a head.
    fn heard(&mut self, bytes: &[u8]) {
        for octet in bytes {
            match octet {
                b'\n' => self.line_feeds += 1,
                b'\r' => {}
                _ => self.line_feeds = 0,
            }
            if self.line_feeds == 2 && self.stage == Stage::Asking {
                self.stage = Stage::Asked;
                self.place.answered(true);
                self.head_deadline = None;
            }
            self.line_feeds = self.line_feeds.min(1);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LimitedConnection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.heard(&buffer.filled()[before..]);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LimitedConnection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        if self.stage == Stage::Asked {
            self.stage = Stage::Answering;
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() && self.stage == Stage::Answering {
            self.stage = Stage::Asking;
            self.line_feeds = 0;
            self.place.answered(false);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get, serve::Listener as _};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        task::JoinSet,
        time::timeout,
    };

    use super::*;
    use crate::clock::{ManualClock, SystemClock, Timestamp};

    /// A probe that hears nothing for so long has failed.
    const PATIENCE: Duration = Duration::from_secs(5);

    async fn probe(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    #[tokio::test]
    async fn slow_idle_and_silent_connections_keep_no_probe_out() {
        let clock = Arc::new(SystemClock::new());
        let port = Port::bind("127.0.0.1:0".parse().unwrap(), &MONITORING, clock).unwrap();
        let address = port.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            axum::serve(port, Router::new().route("/", get(async || "alive"))).await
        });
        let mut slow = Vec::new();
        for said in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"].repeat(20) {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            slow.push(stream);
        }
        for _ in 0..5 {
            assert!(probe(address).await.ends_with("alive"));
        }
    }

    fn connection(clock: &ManualClock) -> (DuplexStream, LimitedConnection<DuplexStream>) {
        let audience = Audience::new(Limits { all: 2, of_one: 2, kept: 0 });
        let place = audience.enter(Party::User(1_000)).unwrap();
        let (client, server) = duplex(1024);
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        (client, LimitedConnection::new(server, place, &clock))
    }

    /// What reading ends with at this moment; `None` while it waits.
    async fn ends(connection: &mut LimitedConnection<DuplexStream>) -> Option<io::ErrorKind> {
        let mut octets = [0; 64];
        loop {
            tokio::select! {
                biased;
                read = connection.read(&mut octets) => match read {
                    Ok(0) => return Some(io::ErrorKind::UnexpectedEof),
                    Ok(_) => {}
                    Err(error) => return Some(error.kind()),
                },
                () = std::future::ready(()) => return None,
            }
        }
    }

    #[tokio::test]
    async fn a_head_that_has_not_come_after_five_seconds_ends_the_conversation() {
        for said in ["", "GET /health/live HTTP/1.1\r\nHost: relay\r\n"] {
            let clock = ManualClock::new(Timestamp(1_800_000_000_000));
            let (mut client, mut connection) = connection(&clock);
            client.write_all(said.as_bytes()).await.unwrap();
            assert_eq!(ends(&mut connection).await, None, "{said}");
            // A client that says something each second is as slow as one that says nothing.
            for _ in 0..4 {
                client.write_all(b"A").await.unwrap();
                clock.advance(Duration::from_secs(1));
                assert_eq!(ends(&mut connection).await, None, "{said}");
            }
            clock.advance(Duration::from_secs(1));
            assert_eq!(ends(&mut connection).await, Some(io::ErrorKind::TimedOut), "{said}");
        }
    }

    #[tokio::test]
    async fn who_has_asked_in_time_is_heard_until_the_whole_conversation_is_too_old() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let (mut client, mut connection) = connection(&clock);
        client.write_all(b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n").await.unwrap();
        assert_eq!(ends(&mut connection).await, None);
        clock.advance(AGE_MAX - Duration::from_secs(1));
        assert_eq!(ends(&mut connection).await, None);
        clock.advance(Duration::from_secs(1));
        assert_eq!(ends(&mut connection).await, Some(io::ErrorKind::TimedOut));
    }
}
