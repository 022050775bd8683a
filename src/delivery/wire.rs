//! The stream to the upstream: what is written is gathered, what comes is a reply or a fault.
//!
//! Rule: a reply is bounded by the parser before anything is kept, and each wait has a limit for the whole of what is
//! waited for, so that neither silence nor a trickle nor a flood lasts. Nothing that came in plain text is
//! ever taken for a reply from inside TLS. Limits count the runtime's time, for they are about the network.
//! Must not know what is said.

use std::{fmt, io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};

use super::{answer::Fault, tls};
use crate::{
    budget::AccountKey,
    smtp::client::reply::{Reply, ReplyBuffer},
    telemetry::dialogue::{Peer, Speaker},
};

/// Octets that are gathered before they are written. Commands, and the end of a short message with its
/// final dot, leave in one TLS record and one packet.
pub(super) const GATHERED_MAX: usize = 16 * 1024;

/// A stream with its buffers.
pub(super) struct Wire {
    transport: Transport,
    buffer: ReplyBuffer,
    /// To be written; the first `written` octets are.
    gathered: Vec<u8>,
    written: usize,
    said_anything: bool,
    speaker: Speaker,
}

enum Transport {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
    /// The handshake is under way, or has failed.
    Gone,
}

impl Wire {
    /// A connection in plain text.
    pub(super) fn plain(stream: TcpStream, account: AccountKey) -> Self {
        Self::new(Transport::Plain(stream), account)
    }

    /// A connection that is already encrypted.
    pub(super) fn encrypted(stream: TlsStream<TcpStream>, account: AccountKey) -> Self {
        Self::new(Transport::Encrypted(Box::new(stream)), account)
    }

    fn new(transport: Transport, account: AccountKey) -> Self {
        Self {
            transport,
            buffer: ReplyBuffer::default(),
            gathered: Vec::new(),
            written: 0,
            said_anything: false,
            speaker: Speaker::new(Peer::Upstream(account.number())),
        }
    }

    /// The server's own certificate (DER) and the version of TLS, once there is TLS.
    pub(super) fn protection(&self) -> Option<(Vec<u8>, &'static str)> {
        let Transport::Encrypted(stream) = &self.transport else { return None };
        tls::protection(stream)
    }

    /// What is written next, to be added to.
    pub(super) fn gathered(&mut self) -> &mut Vec<u8> {
        &mut self.gathered
    }

    /// Gathers a line.
    pub(super) fn say(&mut self, line: &str) {
        self.speaker.says(line);
        self.gathered.extend_from_slice(line.as_bytes());
    }

    /// Gathers a line of a login, of which nobody sees more than the mechanism.
    pub(super) fn say_secret(&mut self, line: &str) {
        let mechanism = line.strip_prefix("AUTH ").and_then(|rest| rest.split_whitespace().next());
        let seen = mechanism.map_or_else(|| "***".to_owned(), |name| format!("AUTH {name} ***"));
        self.speaker.says(&seen);
        self.gathered.extend_from_slice(line.as_bytes());
    }

    /// Tells whoever watches what else goes over the wire.
    pub(super) fn note(&self, text: &str) {
        self.speaker.says(text);
    }

    /// Writes what was gathered, when that is much.
    pub(super) async fn relieve(&mut self, limit: Duration) -> Result<(), Fault> {
        if self.gathered.len() < GATHERED_MAX {
            return Ok(());
        }
        self.flush(limit).await
    }

    /// Whether the last octet that was gathered may have left this machine.
    pub(super) fn has_let_go(&self) -> bool {
        self.written == self.gathered.len()
    }

    /// Writes what was gathered, within `limit`.
    pub(super) async fn flush(&mut self, limit: Duration) -> Result<(), Fault> {
        self.said_anything |= !self.gathered.is_empty();
        match timeout(limit, self.write()).await {
            Ok(Ok(())) => {
                self.gathered.clear();
                self.written = 0;
                Ok(())
            }
            Ok(Err(error)) => Err(lost(&error)),
            Err(_) => Err(no_progress(limit)),
        }
    }

    /// `written` is right at each await, so this may be dropped.
    async fn write(&mut self) -> io::Result<()> {
        while self.written < self.gathered.len() {
            let rest = &self.gathered[self.written..];
            let count = match &mut self.transport {
                Transport::Plain(stream) => stream.write(rest).await?,
                Transport::Encrypted(stream) => stream.write(rest).await?,
                Transport::Gone => return Err(io::ErrorKind::NotConnected.into()),
            };
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += count;
        }
        match &mut self.transport {
            Transport::Plain(_) | Transport::Gone => Ok(()),
            Transport::Encrypted(stream) => stream.flush().await,
        }
    }

    /// Writes what was gathered and reads one reply, whole within `limit` from its first wait on.
    pub(super) async fn reply(&mut self, limit: Duration) -> Result<Reply, Fault> {
        self.flush(limit).await?;
        match timeout(limit, self.read_reply()).await {
            Ok(reply) => reply,
            Err(_) if !self.buffer.is_within_a_reply() => Err(no_progress(limit)),
            Err(_) => Err(Fault::Lost(format!("no whole reply within {} s", limit.as_secs_f32()))),
        }
    }

    async fn read_reply(&mut self) -> Result<Reply, Fault> {
        loop {
            match self.buffer.reply() {
                Ok(Some(reply)) => {
                    if self.speaker.is_watched() {
                        let last = reply.lines.len().saturating_sub(1);
                        for (number, line) in reply.lines.iter().enumerate() {
                            let mark = if number < last { '-' } else { ' ' };
                            self.speaker.hears(&format!("{}{mark}{line}", reply.code));
                        }
                    }
                    return Ok(reply);
                }
                Ok(None) => self.receive().await?,
                Err(error) => return Err(Fault::Garbled(error.to_string())),
            }
        }
    }

    /// All that was received has been used.
    async fn receive(&mut self) -> Result<(), Fault> {
        let buffer = self.buffer.space();
        let count = match &mut self.transport {
            Transport::Plain(stream) => stream.read(buffer).await,
            Transport::Encrypted(stream) => stream.read(buffer).await,
            Transport::Gone => Err(io::ErrorKind::NotConnected.into()),
        };
        let count = count.map_err(|error| lost(&error))?;
        if count == 0 {
            return Err(closed());
        }
        self.buffer.received(count);
        let is_first = !self.said_anything && !self.buffer.is_within_a_reply();
        let is_plain = matches!(self.transport, Transport::Plain(_));
        if is_first && is_plain && is_tls_record(self.buffer.unused()) {
            return Err(Fault::TlsFirst);
        }
        Ok(())
    }

    /// Takes the stream through the TLS handshake. Nothing may have come behind the reply to STARTTLS.
    pub(super) async fn start_tls(
        &mut self,
        connector: &TlsConnector,
        name: ServerName<'static>,
        limit: Duration,
        fault: impl FnOnce(&io::Error) -> Fault,
    ) -> Result<(), Fault> {
        if !self.buffer.is_empty() {
            return Err(Fault::Injected);
        }
        let Transport::Plain(stream) = std::mem::replace(&mut self.transport, Transport::Gone)
        else {
            return Err(Fault::Lost("the connection was already encrypted".into()));
        };
        match timeout(limit, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => {
                self.transport = Transport::Encrypted(Box::new(stream));
                Ok(())
            }
            // Injected text that comes a moment later meets the handshake, which it breaks.
            Ok(Err(error)) => Err(fault(&error)),
            Err(_) => Err(Fault::Lost("the TLS handshake took too long".into())),
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Wire")
    }
}

/// Whether octets begin as a TLS alert or handshake record does (RFC 8446 section 5.1).
fn is_tls_record(octets: &[u8]) -> bool {
    matches!(octets, [0x15 | 0x16, 0x03, ..])
}

fn no_progress(limit: Duration) -> Fault {
    Fault::Lost(format!("no progress for {} s", limit.as_secs_f32()))
}

fn closed() -> Fault {
    Fault::Lost("the server closed the connection".into())
}

fn lost(error: &io::Error) -> Fault {
    // TLS without a word of farewell.
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return closed();
    }
    Fault::Lost(format!("the connection was lost: {error}"))
}
