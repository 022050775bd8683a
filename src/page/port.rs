//! The port of the page: browsers, over TLS of its own or without.
//!
//! Rule: a handshake is part of its connection and runs within its time, so that none keeps another from being taken.
//! Must not know what is asked.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::{
    admin::socket::{LimitedConnection, Port},
    clock::Clock,
    listener::tls::Tls,
};

/// Browsers, one after another.
#[derive(Debug)]
pub(super) struct PagePort {
    pub(super) port: Port,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) clock: Arc<dyn Clock>,
}

/// From where a browser, or a proxy before it, comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

impl Connected<IncomingStream<'_, PagePort>> for Peer {
    fn connect_info(stream: IncomingStream<'_, PagePort>) -> Self {
        Self(stream.remote_addr().ip())
    }
}

impl Listener for PagePort {
    type Io = LimitedConnection<Stream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (connection, address) = self.port.accept().await;
        let begin = |socket| match &self.tls {
            Some(tls) => {
                Stream::Greeting(greeted(Arc::clone(tls), socket, Arc::clone(&self.clock)))
            }
            None => Stream::Clear(socket),
        };
        (connection.through(begin), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.port.local_addr()
    }
}

/// A handshake that is under way.
type Greeting = Pin<Box<dyn Future<Output = io::Result<Box<TlsStream<TcpStream>>>> + Send>>;

fn greeted(tls: Arc<Tls>, socket: TcpStream, clock: Arc<dyn Clock>) -> Greeting {
    Box::pin(async move {
        tls.accept(socket, &*clock).await.map_err(|failure| {
            let (reason, remedy) = (&failure.reason, failure.remedy);
            tracing::debug!(%reason, remedy, "a browser has not begun TLS");
            io::ErrorKind::ConnectionAborted.into()
        })
    })
}

/// What a browser says and hears.
pub(super) enum Stream {
    Clear(TcpStream),
    /// Nothing can be said before its end.
    Greeting(Greeting),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Clear(_) => "Clear",
            Self::Greeting(_) => "Greeting",
            Self::Encrypted(_) => "Encrypted",
        })
    }
}

/// A stream of either kind, once there is one.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

impl Stream {
    /// The stream after its handshake; whoever polls it drives that.
    fn begun(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut dyn Duplex>>> {
        if let Self::Greeting(greeting) = self {
            *self = Self::Encrypted(ready!(greeting.as_mut().poll(context))?);
        }
        Poll::Ready(Ok(match self {
            Self::Clear(stream) => Pin::new(stream),
            Self::Encrypted(stream) => Pin::new(&mut **stream),
            Self::Greeting(_) => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.begun(context))?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.begun(context))?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Before its handshake there is nothing to flush.
        match &mut *self {
            Self::Greeting(_) => Poll::Ready(Ok(())),
            stream => ready!(stream.begun(context))?.poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Greeting(_) => Poll::Ready(Ok(())),
            stream => ready!(stream.begun(context))?.poll_shutdown(context),
        }
    }
}
