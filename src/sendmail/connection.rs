//! A connection to a relay: the daemon's Unix socket, or TCP to a relay elsewhere.
//!
//! Rule: every wait has a limit, and blocking calls of the standard library do all the work: a call that needs a
//! runtime would be too slow. Must not know what is said.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};

use crate::{
    clock::Stopwatch,
    smtp::client::reply::{Reply, ReplyBuffer},
};

/// How long the daemon's socket may take to let us in, and to greet; then the mail is left in a file.
pub const LOCAL_CONNECT: Duration = Duration::from_secs(2);
/// How long one address of a relay elsewhere may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Addresses of a relay that are tried.
const ADDRESSES_MAX: usize = 8;
/// How long one write may take.
const WRITE: Duration = Duration::from_secs(60);
/// How long a connection may be used in all.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    buffer: ReplyBuffer,
    age: Stopwatch,
}

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Connection {
    /// To a Unix socket.
    pub fn local(path: &Path) -> io::Result<Self> {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // A full backlog makes connect wait: for as long as a write may take.
        set_socket_timeout(&socket, Timeout::Send, Some(LOCAL_CONNECT))?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        let stream = UnixStream::from(socket);
        stream.set_write_timeout(Some(WRITE))?;
        Ok(Self::new(Stream::Unix(stream)))
    }

    /// To `HOST:PORT`. Names are resolved by the system.
    pub fn remote(host_and_port: &str) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in host_and_port.to_socket_addrs()?.take(ADDRESSES_MAX) {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_write_timeout(Some(WRITE))?;
                    return Ok(Self::new(Stream::Tcp(stream)));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn new(stream: Stream) -> Self {
        Self { stream, buffer: ReplyBuffer::default(), age: Stopwatch::start() }
    }

    /// Writes all of it.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.age.elapsed() > LIFETIME {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match &mut self.stream {
            Stream::Unix(stream) => stream.write_all(bytes),
            Stream::Tcp(stream) => stream.write_all(bytes),
        }
    }

    /// Reads a reply; `limit` is for all of its lines.
    pub fn answer(&mut self, limit: Duration) -> io::Result<Reply> {
        let watch = Stopwatch::start();
        loop {
            match self.buffer.reply() {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => {}
                Err(error) => {
                    return Err(io::Error::other(format!("it does not speak SMTP: {error}")));
                }
            }
            let rest = limit.saturating_sub(watch.elapsed());
            if rest.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
            }
            self.receive(rest)?;
        }
    }

    fn receive(&mut self, limit: Duration) -> io::Result<()> {
        let block = self.buffer.space();
        let read = match &mut self.stream {
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(limit)).and_then(|()| stream.read(block))
            }
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(limit)).and_then(|()| stream.read(block))
            }
        };
        match read {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")),
            Ok(count) => {
                self.buffer.received(count);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))
            }
            Err(error) => Err(error),
        }
    }
}
