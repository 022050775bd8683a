//! The port of the account service: so many connections at a time, and none for long.
//!
//! Rule: who asks for nothing keeps nobody out for longer than a named time. Must not know HTTP.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};

/// Connections at a time; a relay needs one, a browser six.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// How long a connection may last; the slowest ordered answer comes sooner.
pub(super) const AGE_MAX: Duration = Duration::from_secs(60);
/// Pause after an accept failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A listening port with places.
#[derive(Debug)]
pub(super) struct Port {
    listener: TcpListener,
    places: Arc<Semaphore>,
    age_max: Duration,
}

impl Port {
    pub(super) fn new(listener: TcpListener, age_max: Duration) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), age_max }
    }
}

impl axum::serve::Listener for Port {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // Those beyond the limit wait in the kernel. The places are never closed.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    let deadline = Box::pin(tokio::time::sleep(self.age_max));
                    return (Connection { stream, deadline, _place: place }, address);
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that ends at its deadline, whatever it sends or does not read.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::serve::Listener as _;
    use tokio::{io::AsyncReadExt as _, time::timeout};

    use super::*;

    /// What comes sooner than this has not waited.
    const INSTANT: Duration = Duration::from_millis(100);

    async fn port(age_max: Duration) -> (Port, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Port::new(listener, age_max), address)
    }

    #[tokio::test]
    async fn no_more_than_its_number_of_connections_are_held_and_one_that_ends_makes_room() {
        let (mut port, address) = port(AGE_MAX).await;
        let mut clients = Vec::new();
        for _ in 0..=CONNECTIONS_MAX {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            held.push(port.accept().await.0);
        }
        assert!(timeout(INSTANT, port.accept()).await.is_err(), "the next one waits");
        held.pop();
        port.accept().await;
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_ends_at_its_deadline() {
        let (mut port, address) = port(INSTANT).await;
        let _silent = TcpStream::connect(address).await.unwrap();
        let (mut connection, _) = port.accept().await;
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
