//! The upstream that every measured server relays to: STARTTLS, AUTH, then mail, thrown away.
//!
//! Rule: it asks what Gmail asks (TLS before AUTH, AUTH before MAIL) and offers what Gmail offers
//! (PIPELINING, SIZE), and a simulated round trip delays each batch of replies once, however many
//! commands the client had pipelined. Must not know who relays.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use serde_json::json;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{
    Failure,
    control::{self, State},
    machine, tls,
};

/// How what AUTH PLAIN carries must end, whoever logs in; the same in the configuration of every server.
const PASSWORD: &[u8] = b"\0abcdefghijklmnop";
const EXTENSIONS: &str = "250-localhost\r\n250-SIZE 35882577\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n\
                          250-PIPELINING\r\n250-SMTPUTF8\r\n";
/// A client that says nothing for this long is gone.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// A longer unfinished command line ends the session.
const LINE_BYTES_MAX: usize = 4096;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Where to write the certificate authority.
    #[arg(long)]
    ca_file: PathBuf,
    /// Where to write the addresses, as JSON, once everything listens.
    #[arg(long)]
    ready_file: PathBuf,
    /// A datagram socket to take system log lines from, as a system logger would.
    #[arg(long)]
    syslog: Option<PathBuf>,
    /// Where those lines go.
    #[arg(long, requires = "syslog")]
    syslog_file: Option<PathBuf>,
}

/// Runs until the standard input ends, which is when the script that started it has ended.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let tls = tls::server(&options.ca_file)?;
    let smtp = TcpListener::bind("127.0.0.1:0")?;
    let control = TcpListener::bind("127.0.0.1:0")?;
    let addresses =
        json!({ "smtp": smtp.local_addr()?.port(), "control": control.local_addr()?.to_string() });
    if let (Some(socket), Some(file)) = (&options.syslog, &options.syslog_file) {
        machine::syslog(socket, file)?;
    }
    let state = Arc::new(State::default());
    let controlled = Arc::clone(&state);
    thread::spawn(move || control::serve(&control, &controlled));
    thread::spawn(move || accept(&smtp, &tls, &state));
    std::fs::write(&options.ready_file, addresses.to_string())?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn accept(listener: &TcpListener, tls: &Arc<ServerConfig>, state: &Arc<State>) {
    for stream in listener.incoming().flatten() {
        let (tls, state) = (Arc::clone(tls), Arc::clone(state));
        thread::spawn(move || {
            state.opened();
            // How a session ends is the client's business; what counts was counted when it arrived.
            drop(session(stream, tls, &state));
            state.closed();
        });
    }
}

fn session(mut stream: TcpStream, tls: Arc<ServerConfig>, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE_MAX))?;
    while state.held.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(5));
    }
    // Over a real line the greeting arrives two round trips after the client began to connect.
    thread::sleep(2 * state.latency());
    stream.write_all(b"220 localhost ESMTP\r\n")?;
    if converse(&mut stream, state, Security::Plain)? == End::StartTls {
        thread::sleep(state.latency());
        let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
        converse(&mut StreamOwned::new(connection, stream), state, Security::Tls)?;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    Plain,
    Tls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    StartTls,
    Quit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Anonymous,
    /// AUTH was asked without the credentials; the next line carries them.
    Challenged,
    Known,
    Data,
}

fn converse(
    stream: &mut (impl Read + Write),
    state: &State,
    security: Security,
) -> io::Result<End> {
    let mut dialogue =
        Dialogue { state, security, phase: Phase::Anonymous, replies: Vec::new(), end: None };
    let mut buffer = vec![0; 64 * 1024];
    let mut received = Vec::new();
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(End::Quit);
        }
        received.extend_from_slice(&buffer[..count]);
        dialogue.take(&mut received);
        if received.len() > LINE_BYTES_MAX && dialogue.phase != Phase::Data {
            return Ok(End::Quit);
        }
        if !dialogue.replies.is_empty() {
            thread::sleep(state.latency());
            stream.write_all(&dialogue.replies)?;
            stream.flush()?;
            dialogue.replies.clear();
        }
        if let Some(end) = dialogue.end {
            return Ok(end);
        }
    }
}

#[derive(Debug)]
struct Dialogue<'a> {
    state: &'a State,
    security: Security,
    phase: Phase,
    replies: Vec<u8>,
    end: Option<End>,
}

impl Dialogue<'_> {
    /// Consumes every complete command and message of `received`.
    fn take(&mut self, received: &mut Vec<u8>) {
        while self.end.is_none() {
            if self.phase == Phase::Data {
                let Some(at) = find(received, b"\r\n.\r\n") else {
                    // Only the last four bytes can belong to an end that is not yet complete.
                    received.drain(..received.len().saturating_sub(4));
                    return;
                };
                received.drain(..at + 5);
                self.phase = Phase::Known;
                self.state.arrived();
                self.reply("250 2.0.0 OK bench");
            } else {
                let Some(at) = find(received, b"\r\n") else { return };
                let line: Vec<u8> = received.drain(..at + 2).collect();
                self.command(String::from_utf8_lossy(&line).trim_end());
            }
        }
    }

    fn command(&mut self, line: &str) {
        if self.phase == Phase::Challenged {
            return self.login(line);
        }
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (verb.to_ascii_uppercase().as_str(), self.phase, self.security) {
            ("EHLO", ..) => {
                self.replies.extend_from_slice(EXTENSIONS.as_bytes());
                let last = if self.security == Security::Tls {
                    "250 AUTH PLAIN LOGIN"
                } else {
                    "250 STARTTLS"
                };
                self.reply(last);
            }
            ("STARTTLS", _, Security::Plain) => {
                self.reply("220 2.0.0 Ready to start TLS");
                self.end = Some(End::StartTls);
            }
            ("AUTH", Phase::Anonymous, Security::Tls) => match rest.split_once(' ') {
                Some((_plain, credentials)) => self.login(credentials),
                None => {
                    self.phase = Phase::Challenged;
                    self.reply("334 ");
                }
            },
            ("MAIL", Phase::Known, _) => self.reply("250 2.1.0 OK"),
            ("RCPT", Phase::Known, _) => self.reply("250 2.1.5 OK"),
            ("DATA", Phase::Known, _) => {
                self.phase = Phase::Data;
                self.reply("354 Go ahead");
            }
            ("RSET" | "NOOP", ..) => self.reply("250 2.0.0 OK"),
            ("QUIT", ..) => {
                self.reply("221 2.0.0 closing connection");
                self.end = Some(End::Quit);
            }
            _ => self.refuse("530 5.7.0 Authentication Required"),
        }
    }

    fn login(&mut self, credentials: &str) {
        let decoded = data_encoding::BASE64.decode(credentials.as_bytes()).unwrap_or_default();
        // The identity to act as, before the first zero, may be empty or the user again.
        if decoded.ends_with(PASSWORD) {
            self.phase = Phase::Known;
            self.state.count(|counts| counts.logins += 1);
            self.reply("235 2.7.0 Accepted");
        } else {
            self.phase = Phase::Anonymous;
            self.refuse("535 5.7.8 Username and Password not accepted");
        }
    }

    fn refuse(&mut self, text: &str) {
        self.state.count(|counts| counts.refused += 1);
        self.reply(text);
    }

    fn reply(&mut self, text: &str) {
        self.replies.extend_from_slice(text.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
