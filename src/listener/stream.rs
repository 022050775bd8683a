//! A client's socket, plain or with TLS over it, or what stands for one: the local socket, or a file's player.
//!
//! Rule: the only file that reads a client socket. Bytes pass through one buffer of the thread, so a
//! client that waits costs none. Must not know what the bytes mean.

use std::{
    cell::RefCell,
    future::poll_fn,
    io, mem,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::net::RecvFlags;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::server::TlsStream;

use crate::{
    clock::Clock,
    smtp::server::{INPUT_BYTES_MAX, Session},
};

/// How long a client may leave a reply unread before the connection is given up. A reply has some KiB at
/// most, so this is a lowest speed of reading as well.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long, and for how many octets, a closed connection is emptied. Closing a socket that holds
/// unread bytes resets it, and the client may lose the last reply, even a 250.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Who ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// The client: it has said QUIT and sends nothing more.
    AfterQuit,
    /// We do. The client may be sending at this moment, and must be heard out, or its system throws our
    /// last reply away when the reset comes.
    OnOurOwn,
}

/// The connection to a client.
#[derive(Debug)]
pub(super) enum Stream {
    /// Without encryption.
    Plain(TcpStream),
    /// With TLS; boxed, so that it costs the plain ones nothing.
    Tls(Box<TlsStream<TcpStream>>),
    /// The local socket.
    Local(UnixStream),
    /// A file of the drop directory, which is played within the process.
    Played(DuplexStream),
    /// A handshake has failed, and the socket with it.
    Gone,
}

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; INPUT_BYTES_MAX].into_boxed_slice());
}

impl Stream {
    /// The plain socket, for the upgrade to TLS.
    pub(super) fn take_plain(&mut self) -> Option<TcpStream> {
        match mem::replace(self, Self::Gone) {
            Self::Plain(socket) => Some(socket),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Feeds what the client has sent to its session; 0 octets are the end.
    pub(super) async fn receive(&mut self, session: &mut Session) -> io::Result<usize> {
        poll_fn(|context| {
            BUFFER.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                ready!(self.poll_read(context, &mut buffer))?;
                session.receive(buffer.filled());
                Ok(buffer.filled().len()).into()
            })
        })
        .await
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Local(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Played(player) => Pin::new(player).poll_read(context, buffer),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }

    /// Feeds what a client has sent before it was greeted. Asked of the kernel, because the runtime has
    /// not heard of the socket yet.
    pub(super) fn receive_early(&self, session: &mut Session) {
        let socket = match self {
            Self::Plain(socket) => socket.as_fd(),
            Self::Local(socket) => socket.as_fd(),
            Self::Tls(_) | Self::Played(_) | Self::Gone => return,
        };
        BUFFER.with_borrow_mut(|buffer| {
            // An end or an error is met again by the first read.
            if let Ok((read, _)) = rustix::net::recv(socket, &mut **buffer, RecvFlags::DONTWAIT)
                && read > 0
            {
                session.receive(&buffer[..read]);
            }
        });
    }

    /// Writes a reply.
    pub(super) async fn send(&mut self, bytes: &[u8], clock: &dyn Clock) -> io::Result<()> {
        // Nearly always the whole reply fits into the socket's buffer, and no timer is needed.
        let tried = match self {
            Self::Plain(socket) => socket.try_write(bytes),
            Self::Local(socket) => socket.try_write(bytes),
            Self::Tls(_) | Self::Played(_) | Self::Gone => Ok(0),
        };
        let written = match tried {
            Ok(written) if written == bytes.len() => return Ok(()),
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        tokio::select! {
            biased;
            outcome = self.write(&bytes[written..]) => outcome,
            () = clock.sleep(WRITE_TIMEOUT) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Self::Local(socket) => socket.write_all(bytes).await,
            Self::Played(player) => player.write_all(bytes).await,
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Closes in good order: close_notify where there is TLS, and whatever the client has sent meanwhile
    /// is taken, so that closing does not reset the connection.
    pub(super) async fn close(&mut self, closing: Closing, clock: &dyn Clock) {
        tokio::select! {
            biased;
            () = self.shut_down(closing) => {}
            () = clock.sleep(LINGER) => {}
        }
    }

    async fn shut_down(&mut self, closing: Closing) {
        // After QUIT nothing, or the end, is the usual answer: then dropping the socket is enough.
        let is_over = |socket: BorrowedFd<'_>| closing == Closing::AfterQuit && !has_unread(socket);
        match self {
            Self::Plain(socket) => {
                if !is_over(socket.as_fd()) && socket.shutdown().await.is_ok() {
                    empty(socket, closing).await;
                }
            }
            Self::Local(socket) => {
                if !is_over(socket.as_fd()) && socket.shutdown().await.is_ok() {
                    empty(socket, closing).await;
                }
            }
            Self::Tls(stream) => {
                if stream.shutdown().await.is_ok() {
                    empty(stream.get_mut().0, closing).await;
                }
            }
            // A player loses no reply by it.
            Self::Played(_) | Self::Gone => {}
        }
    }
}

/// Exactly as many octets as the buffer has room for.
pub(super) async fn read_exact(socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    socket.read_exact(buffer).await.map(drop)
}

fn has_unread(socket: BorrowedFd<'_>) -> bool {
    let peeked = rustix::net::recv(socket, &mut [0; 1], RecvFlags::DONTWAIT | RecvFlags::PEEK);
    peeked.is_ok_and(|(read, _)| read > 0)
}

/// Takes what still comes, up to the end.
async fn empty(socket: &mut (impl AsyncRead + AsFd + Unpin), closing: Closing) {
    if closing == Closing::AfterQuit && !has_unread(socket.as_fd()) {
        return;
    }
    let mut buffer = [0; 4096];
    let mut octets = 0;
    while octets < LINGER_BYTES_MAX {
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => octets += read,
        }
    }
}
