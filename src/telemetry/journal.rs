//! The journal's own socket: each event as one datagram with its fields (systemd.io/JOURNAL_NATIVE_PROTOCOL).
//!
//! Rule: written by the log's thread alone, so that a journal that stands still fills the queue of lines and keeps nobody
//! waiting. A datagram that is not taken goes to standard error as text. Must not know what an event says.

use std::{
    io::{self, Write},
    os::{fd::AsFd, unix::net::UnixDatagram},
    path::{Path, PathBuf},
};

use super::lines::{Sink, Stream};

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// In front of the text of an event.
pub(super) const MESSAGE: &str = "MESSAGE=";
/// In front of its priority.
pub(super) const PRIORITY: &str = "PRIORITY=";
/// Who speaks, as `journalctl -t` knows it.
pub(super) const IDENTIFIER: &str = "SYSLOG_IDENTIFIER=pillarbox\n";
/// The field of a message's id, which other mail programs have as well.
const QUEUE_ID: &str = "QUEUE_ID";
/// In front of all other names, so that none is one of the journal's own.
const PREFIX: &str = "PILLARBOX_";

/// The socket, and the stream that leads to the journal as well.
pub(super) struct Journal<S> {
    path: PathBuf,
    socket: UnixDatagram,
    stream: Stream<S>,
}

impl<S> Journal<S> {
    /// Connects; gives the stream back when nobody listens.
    pub(super) fn connect(path: &Path, stream: S) -> Result<Self, S> {
        match open(path) {
            Ok(socket) => Ok(Self { path: path.to_owned(), socket, stream: Stream(stream) }),
            Err(_) => Err(stream),
        }
    }
}

fn open(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

impl<S: Write + AsFd + Send + 'static> Sink for Journal<S> {
    fn write_lines(&mut self, datagram: &[u8]) -> io::Result<()> {
        if self.socket.send(datagram).is_ok() {
            return Ok(());
        }
        // It was started anew, perhaps, and listens on another socket of this name.
        if let Ok(socket) = open(&self.path) {
            self.socket = socket;
            if self.socket.send(datagram).is_ok() {
                return Ok(());
            }
        }
        self.stream.write_lines(&as_line(datagram))
    }
}

/// The event as the journal reads it from a stream.
fn as_line(datagram: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(datagram);
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let priority = field(PRIORITY).unwrap_or("6");
    format!("<{priority}>{}\n", field(MESSAGE).unwrap_or_default()).into_bytes()
}

/// Adds a field; its value is one line already.
pub(super) fn add(fields: &mut String, name: &str, value: &str) {
    if name == "id" {
        fields.push_str(QUEUE_ID);
    } else {
        fields.push_str(PREFIX);
        let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
        fields.extend(name.chars().map(|letter| plain(letter).to_ascii_uppercase()));
    }
    fields.push('=');
    fields.push_str(value);
    fields.push('\n');
}
