//! Sockets and TLS: accepts connections and carries octets to and from a [`Session`].
//!
//! Rule: all input that has arrived is answered in one write, as a pipelining server does, and every
//! wait also ends when the sandbox stops. Must not know what the octets mean.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    accepted::TlsSession,
    session::{Flow, Port, Session},
    shared::Shared,
};
use crate::clock::Moment;

/// What a port needs to serve its connections.
#[derive(Clone)]
pub(super) struct Context {
    pub shared: Arc<Shared>,
    pub acceptor: TlsAcceptor,
    /// Counts the orders to drop every connection.
    pub disconnect: watch::Receiver<u64>,
}

/// Accepts on one port until the sandbox stops; then ends its connections.
pub(super) async fn accept(
    listener: TcpListener,
    port: Port,
    context: Context,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = ordered(&mut stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(serve(stream, peer, port, context.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the sandbox cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

/// Returns once the end is ordered, or nobody is left who could order it.
pub(super) async fn ordered(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|is_ordered| *is_ordered).await);
}

/// One connection; how it ends is the client's business.
async fn serve(stream: TcpStream, peer: SocketAddr, port: Port, mut context: Context) {
    context.disconnect.mark_unchanged();
    let mut disconnect = context.disconnect.clone();
    tokio::select! {
        result = converse(stream, peer, port, &context) => {
            if let Err(error) = result {
                tracing::debug!(%error, "a connection of the sandbox ended early");
            }
        }
        // An error means that the sandbox itself is gone.
        _ = disconnect.changed() => {}
    }
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    port: Port,
    context: &Context,
) -> io::Result<()> {
    // Replies are small and waited for; Nagle's algorithm would hold them back.
    stream.set_nodelay(true)?;
    let shared = &context.shared;
    let mut session = Session::new(Arc::clone(shared), port, peer.ip(), shared.options.clock.now());
    if port == Port::Implicit {
        let mut stream = timeout(HANDSHAKE_MAX, context.acceptor.accept(stream)).await??;
        session.secured(agreed(&stream));
        let greeting = session.greet();
        return Driver::new(shared).run(&mut stream, &mut session, greeting).await.map(drop);
    }
    let mut stream = stream;
    let greeting = session.greet();
    if Driver::new(shared).run(&mut stream, &mut session, greeting).await? == End::StartTls {
        let mut stream = timeout(HANDSHAKE_MAX, context.acceptor.accept(stream)).await??;
        session.secured(agreed(&stream));
        Driver::new(shared).run(&mut stream, &mut session, Flow::Continue).await?;
    }
    Ok(())
}

/// What the handshake agreed on, in Google's spelling.
pub(super) fn agreed(stream: &TlsStream<TcpStream>) -> TlsSession {
    let (_, connection) = stream.get_ref();
    let version = connection.protocol_version().and_then(|version| version.as_str());
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    TlsSession {
        version: version.unwrap_or_default().replace("TLSv", "TLS"),
        cipher_suite: suite.unwrap_or_default().replace("TLS13_", "TLS_"),
        server_name: connection.server_name().map(str::to_owned),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Closed,
    StartTls,
}

/// Input, and the clock that tells how long a client has been silent.
struct Driver<'a> {
    shared: &'a Shared,
    input: Vec<u8>,
    heard: Moment,
}

impl<'a> Driver<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self { shared, input: Vec::new(), heard: shared.options.clock.now() }
    }

    /// Converses over `stream` until one side ends it. `first` is what follows the greeting.
    async fn run<S>(
        &mut self,
        stream: &mut S,
        session: &mut Session,
        first: Flow,
    ) -> io::Result<End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shared = self.shared;
        let clock = &shared.options.clock;
        let mut timer = clock.sleep(shared.options.idle);
        let mut flow = first;
        loop {
            if let Some(end) = self.follow(stream, session, flow).await? {
                return Ok(end);
            }
            flow = Flow::Continue;
            if !self.input.is_empty() {
                let before = session.expiry.is_some();
                let (taken, next) = session.receive(&self.input, self.heard);
                self.input.drain(..taken);
                if session.expiry.is_some() != before {
                    timer = clock.sleep(self.rest(session, clock.now()));
                }
                flow = next;
                if flow != Flow::Continue {
                    continue;
                }
                self.send(stream, session).await?;
            }
            self.input.reserve(READ_LENGTH);
            tokio::select! {
                // What was sent in time counts, even if a test has moved the clock since.
                biased;
                read = stream.read_buf(&mut self.input) => {
                    if read? == 0 {
                        return Ok(End::Closed);
                    }
                    self.heard = clock.now();
                }
                // One timer for the connection's life, set again only when it fires: setting one for
                // each read would cost more than the read.
                () = &mut timer => {
                    let now = clock.now();
                    if session.expiry.is_some_and(|expiry| expiry.remaining(now).is_zero()) {
                        flow = session.token_ended();
                        timer = clock.sleep(shared.options.idle);
                    } else if now.since(self.heard) >= shared.options.idle {
                        flow = session.timed_out();
                    } else {
                        timer = clock.sleep(self.rest(session, now));
                    }
                }
            }
        }
    }

    /// How long it is until the client has been silent for too long, or its token ends.
    fn rest(&self, session: &Session, now: Moment) -> Duration {
        let silence = self.shared.options.idle.saturating_sub(now.since(self.heard));
        session.expiry.map_or(silence, |expiry| silence.min(expiry.remaining(now)))
    }

    /// Does what the session asked for; `Some` when that ends the conversation.
    async fn follow<S>(
        &mut self,
        stream: &mut S,
        session: &mut Session,
        flow: Flow,
    ) -> io::Result<Option<End>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match flow {
            Flow::Continue => {
                self.send(stream, session).await?;
                Ok(None)
            }
            Flow::Pause(duration) => {
                self.shared.options.clock.sleep(duration).await;
                self.send(stream, session).await?;
                Ok(None)
            }
            Flow::StartTls => {
                self.send(stream, session).await?;
                Ok(Some(End::StartTls))
            }
            Flow::Close => {
                self.send(stream, session).await?;
                stream.shutdown().await?;
                // Closing with unread input would reset the connection and destroy the last reply.
                drop(timeout(LINGER, discard(stream)).await);
                Ok(Some(End::Closed))
            }
            Flow::Drop => {
                self.send(stream, session).await?;
                Ok(Some(End::Closed))
            }
            Flow::Hang => {
                self.send(stream, session).await?;
                discard(stream).await?;
                Ok(Some(End::Closed))
            }
        }
    }

    /// Sends the waiting replies in one write, a round trip later.
    async fn send<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        session: &mut Session,
    ) -> io::Result<()> {
        if session.output.is_empty() {
            return Ok(());
        }
        if !self.shared.options.latency.is_zero() {
            tokio::time::sleep(self.shared.options.latency).await;
        }
        stream.write_all(&session.output).await?;
        stream.flush().await?;
        session.output.clear();
        Ok(())
    }
}

async fn discard<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Octets read at once; four TLS records.
const READ_LENGTH: usize = 64 * 1024;
/// Patience with a TLS handshake.
pub(super) const HANDSHAKE_MAX: Duration = Duration::from_secs(30);
/// Patience with a client that goes on sending after we have closed.
const LINGER: Duration = Duration::from_secs(2);
/// Pause after a failed accept, such as when no file descriptor is left.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
