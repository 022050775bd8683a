//! The stream under lettre's connection: deadlines, one line per read before TLS, and the step to TLS.
//!
//! Rule: no read and no write waits longer than the limit of the present phase; while the connection is
//! plain text a read never returns more than one line, so that what an attacker appends to the reply to
//! STARTTLS stays here, where it is noticed, instead of being taken for a reply from inside TLS
//! (crates.md part 2). Deadlines count the runtime's time, for they are about the network.
//! Must not know SMTP beyond QUIT, and the final dot as lettre writes it.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};

/// Octets that are gathered before they are written. Commands, and the end of a short message with its
/// final dot, leave in one TLS record and one packet.
const GATHERED_MAX: usize = 16 * 1024;
/// Octets read at a time while the connection is plain text.
const PLAIN_READ_MAX: usize = 4 * 1024;
/// The final dot as lettre writes it: in a write of its own, and never inside a body, where the dot
/// would be doubled.
const FINAL_DOT: &[u8] = b"\r\n.\r\n";

/// The stream that lettre owns.
pub(super) struct Guard {
    shared: Arc<Mutex<Shared>>,
    peer: SocketAddr,
}

/// Our hold on it.
#[derive(Clone)]
pub(super) struct Handle {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    transport: Transport,
    limit: Duration,
    quit_limit: Duration,
    /// Runs from the first wait after a write; reading slowly does not prolong it.
    timer: Option<Pin<Box<Sleep>>>,
    /// Read in plain text but not yet handed out.
    pending: Vec<u8>,
    /// To be written before the next read.
    gathered: Vec<u8>,
    written: usize,
    unflushed: bool,
    wrote_anything: bool,
    /// What came first, in plain text and before anything was written, was a TLS record.
    met_tls: bool,
    final_dot: bool,
    poisoned: bool,
}

enum Transport {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
    Gone,
}

/// Guards a connection in plain text.
pub(super) fn plain(
    stream: TcpStream,
    peer: SocketAddr,
    limit: Duration,
    quit: Duration,
) -> (Guard, Handle) {
    guard(Transport::Plain(stream), peer, limit, quit)
}

/// Guards a connection that is already encrypted.
pub(super) fn encrypted(
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    limit: Duration,
    quit: Duration,
) -> (Guard, Handle) {
    guard(Transport::Encrypted(Box::new(stream)), peer, limit, quit)
}

fn guard(
    transport: Transport,
    peer: SocketAddr,
    limit: Duration,
    quit_limit: Duration,
) -> (Guard, Handle) {
    let shared = Arc::new(Mutex::new(Shared {
        transport,
        limit,
        quit_limit,
        timer: None,
        pending: Vec::new(),
        gathered: Vec::new(),
        written: 0,
        unflushed: false,
        wrote_anything: false,
        met_tls: false,
        final_dot: false,
        poisoned: false,
    }));
    (Guard { shared: Arc::clone(&shared), peer }, Handle { shared })
}

/// Why the step to TLS failed.
#[derive(Debug)]
pub(super) enum StartTlsError {
    /// Plain text followed the reply to STARTTLS.
    Injected,
    /// The handshake failed.
    Handshake(io::Error),
}

impl Handle {
    /// The longest wait from now on.
    pub(super) fn set_limit(&self, limit: Duration) {
        let mut shared = lock(&self.shared);
        shared.limit = limit;
        shared.timer = None;
    }

    /// From now on every read and write fails, and nothing that was gathered leaves.
    pub(super) fn poison(&self) {
        lock(&self.shared).poisoned = true;
    }

    /// Whether a command was sent: tells a refused greeting from a refused EHLO.
    pub(super) fn wrote_anything(&self) -> bool {
        lock(&self.shared).wrote_anything
    }

    /// Whether the server spoke TLS where a greeting in plain text was expected.
    pub(super) fn met_tls(&self) -> bool {
        lock(&self.shared).met_tls
    }

    /// A new mail transaction begins.
    pub(super) fn begin_transaction(&self) {
        lock(&self.shared).final_dot = false;
    }

    /// Whether the final dot of this transaction may have left this machine.
    pub(super) fn may_have_sent_final_dot(&self) -> bool {
        let shared = lock(&self.shared);
        shared.final_dot && shared.gathered.is_empty()
    }

    /// Takes the stream through the TLS handshake.
    pub(super) async fn start_tls(
        &self,
        connector: &TlsConnector,
        name: ServerName<'static>,
    ) -> Result<(), StartTlsError> {
        let stream = {
            let mut shared = lock(&self.shared);
            if !shared.pending.is_empty() {
                return Err(StartTlsError::Injected);
            }
            match std::mem::replace(&mut shared.transport, Transport::Gone) {
                Transport::Plain(stream) => stream,
                other => {
                    shared.transport = other;
                    return Err(StartTlsError::Handshake(io::Error::other("already encrypted")));
                }
            }
        };
        let stream = connector.connect(name, stream).await.map_err(StartTlsError::Handshake)?;
        lock(&self.shared).transport = Transport::Encrypted(Box::new(stream));
        Ok(())
    }
}

impl Shared {
    /// The error when the present wait has lasted too long.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(timer.as_mut().poll(context));
        self.timer = None;
        let words = format!("no progress for {} s", limit.as_secs_f32());
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, words))
    }

    /// Writes what was gathered.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.gathered.len() {
            let outcome = self.transport.poll_write(context, &self.gathered[self.written..]);
            match outcome {
                Poll::Pending => return self.poll_late(context).map(Err),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.written += count;
                    self.timer = None;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        if self.written > 0 {
            self.gathered.clear();
            self.written = 0;
            self.unflushed = true;
        }
        if !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        match self.transport.poll_flush(context) {
            Poll::Pending => self.poll_late(context).map(Err),
            Poll::Ready(outcome) => {
                self.unflushed = false;
                self.timer = None;
                Poll::Ready(outcome)
            }
        }
    }

    fn poll_read_line(
        &mut self,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pending.is_empty() {
            let mut block = [0; PLAIN_READ_MAX];
            let mut buffer = ReadBuf::new(&mut block);
            match self.transport.poll_read(context, &mut buffer) {
                Poll::Pending => return self.poll_late(context).map(Err),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {
                    self.met_tls |= !self.wrote_anything && is_tls_record(buffer.filled());
                    self.pending.extend_from_slice(buffer.filled());
                }
            }
        }
        let line_end =
            self.pending.iter().position(|byte| *byte == b'\n').map(|position| position + 1);
        let count = line_end.unwrap_or(self.pending.len()).min(out.remaining());
        out.put_slice(&self.pending[..count]);
        self.pending.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Guard {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.shared);
        if shared.poisoned {
            return Poll::Ready(Err(abandoned()));
        }
        ready!(shared.poll_drain(context))?;
        if matches!(shared.transport, Transport::Plain(_)) {
            return shared.poll_read_line(context, out);
        }
        match shared.transport.poll_read(context, out) {
            Poll::Pending => shared.poll_late(context).map(Err),
            Poll::Ready(outcome) => Poll::Ready(outcome),
        }
    }
}

impl AsyncWrite for Guard {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut shared = lock(&self.shared);
        if shared.poisoned {
            return Poll::Ready(Err(abandoned()));
        }
        if !shared.gathered.is_empty() && shared.gathered.len() + bytes.len() > GATHERED_MAX {
            ready!(shared.poll_drain(context))?;
        }
        shared.wrote_anything = true;
        shared.timer = None;
        if bytes == b"QUIT\r\n" {
            shared.limit = shared.quit_limit;
        }
        shared.final_dot |= bytes == FINAL_DOT;
        // What is larger than the limit is taken in pieces.
        let count = bytes.len().min(GATHERED_MAX);
        shared.gathered.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    /// Does nothing: what was gathered is written before the next read, with what follows it.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.shared).transport.poll_shutdown(context)
    }
}

impl AsyncTokioStream for Guard {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl Transport {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, out),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(context, out),
            Self::Gone => Poll::Ready(Err(abandoned())),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Gone => Poll::Ready(Err(abandoned())),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(context),
            Self::Gone => Poll::Ready(Err(abandoned())),
        }
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Guard").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Handle")
    }
}

/// Whether octets begin as a TLS alert or handshake record does (RFC 8446 section 5.1).
fn is_tls_record(octets: &[u8]) -> bool {
    matches!(octets, [0x15 | 0x16, 0x03, ..])
}

fn abandoned() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was abandoned")
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
