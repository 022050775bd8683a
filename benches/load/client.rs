//! An ordinary SMTP client: no pipelining, one command, one reply.
//!
//! Rule: a reply other than the expected one is an error that carries the reply. Must not know what is
//! measured.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long one reply may take before the connection counts as failed.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection after EHLO.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// Connects, reads the greeting and says EHLO.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, REPLY_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        let mut client = Self { stream, received: Vec::with_capacity(1024) };
        client.expect(b'2')?;
        client.command("EHLO client.example.com\r\n", b'2')?;
        Ok(client)
    }

    /// One mail transaction; returns after the 250 that follows the final dot.
    pub(crate) fn submit(&mut self, message: &[u8]) -> io::Result<()> {
        self.command("MAIL FROM:<you@gmail.com>\r\n", b'2')?;
        self.command("RCPT TO:<someone@example.com>\r\n", b'2')?;
        self.command("DATA\r\n", b'3')?;
        self.stream.write_all(message)?;
        self.expect(b'2')
    }

    /// Says QUIT and waits for the answer, so that the server sees an orderly end.
    pub(crate) fn quit(mut self) -> io::Result<()> {
        self.command("QUIT\r\n", b'2')
    }

    fn command(&mut self, line: &str, class: u8) -> io::Result<()> {
        self.stream.write_all(line.as_bytes())?;
        self.expect(class)
    }

    fn expect(&mut self, class: u8) -> io::Result<()> {
        self.received.clear();
        while !is_complete(&self.received) {
            let mut buffer = [0; 1024];
            let count = self.stream.read(&mut buffer)?;
            if count == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the server closed the connection",
                ));
            }
            self.received.extend_from_slice(&buffer[..count]);
        }
        if self.received.first() == Some(&class) {
            return Ok(());
        }
        Err(io::Error::other(String::from_utf8_lossy(&self.received).trim_end().to_owned()))
    }
}

/// A reply is complete when its last line has a space (or nothing) after the code.
fn is_complete(received: &[u8]) -> bool {
    let Some(lines) = received.strip_suffix(b"\r\n") else { return false };
    let last = lines.rsplit(|byte| *byte == b'\n').next().unwrap_or(lines);
    last.get(3).is_none_or(|separator| *separator == b' ')
}

/// A message of `size_bytes` with a Message-ID of its own, ready to be written: final dot included.
pub(crate) fn message(size_bytes: usize, id: &str) -> Vec<u8> {
    message_about(&format!("Message {id}"), size_bytes, id)
}

/// The same with a subject.
pub(crate) fn message_about(subject: &str, size_bytes: usize, id: &str) -> Vec<u8> {
    let mut text = format!(
        "From: Bench <you@gmail.com>\r\nTo: Someone <someone@example.com>\r\nSubject: {subject}\r\n\
         Date: Tue, 01 Jul 2025 10:00:00 +0000\r\nMessage-ID: <{id}@bench.example.com>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    )
    .into_bytes();
    let line = b"The quick brown fox jumps over the lazy dog while the postman is on his way.\r\n";
    while text.len() + line.len() <= size_bytes {
        text.extend_from_slice(line);
    }
    if let Some(rest) = size_bytes.checked_sub(text.len() + 2) {
        text.resize(text.len() + rest, b'x');
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b".\r\n");
    text
}
