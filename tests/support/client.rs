//! A bare SMTP client that stops wherever a test wants.
//!
//! Rule: blocking and literal; it checks nothing but what it waits for. Must not know the daemon.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects, reads the greeting, says EHLO.
    pub(crate) fn hello(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the daemon accepts the connection");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("the option is known");
        let mut client = Self { reader: BufReader::new(stream) };
        assert!(client.reply().starts_with("220 "));
        assert!(client.command("EHLO client.example.org").starts_with("250"));
        client
    }

    /// One command, one reply (all its lines).
    pub(crate) fn command(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    /// Raw bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("the daemon reads");
    }

    /// One reply, all its lines; empty when the connection is closed.
    pub(crate) fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            let count = self.reader.read_line(&mut line).unwrap_or(0);
            reply += &line;
            if count == 0 || line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    /// A whole mail transaction up to 354.
    pub(crate) fn begin(&mut self, sender: &str, recipients: &[&str]) {
        assert!(self.command(&format!("MAIL FROM:<{sender}>")).starts_with("250"));
        for recipient in recipients {
            assert!(
                self.command(&format!("RCPT TO:<{recipient}>")).starts_with("250"),
                "{recipient}"
            );
        }
        assert!(self.command("DATA").starts_with("354"));
    }

    /// A whole mail. Returns the reply to the final dot.
    pub(crate) fn mail(&mut self, sender: &str, recipients: &[&str], text: &str) -> String {
        self.begin(sender, recipients);
        self.send(text.replace('\n', "\r\n").as_bytes());
        self.send(b"\r\n.\r\n");
        self.reply()
    }
}
