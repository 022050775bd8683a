//! What the listener tells the log about a message.
//!
//! Rule: one "accepted" and one "queued" for each message, after it is on disk; addresses and sizes,
//! never a line of the message. Must not know how the log is printed.

use std::{fmt, net::IpAddr};

use tracing::Level;

use super::handshake::Failure;
use crate::{
    queue::id::QueueId,
    smtp::{
        address::Address,
        quirk::Quirk,
        session::{Client, Transaction},
    },
};

/// Recipients that are named; of the others the number is enough.
const RECIPIENTS_SHOWN_MAX: usize = 3;

/// Who writes to whom, kept until the message is accepted.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    reverse_path: Option<Address>,
    first_forward_paths: Vec<Address>,
    recipients: usize,
}

impl Offer {
    /// What the log will want to know; `None` when it wants to know nothing.
    pub(super) fn of(transaction: &Transaction) -> Option<Self> {
        tracing::enabled!(Level::INFO).then(|| Self {
            reverse_path: transaction.reverse_path.clone(),
            first_forward_paths: transaction
                .forward_paths
                .iter()
                .take(RECIPIENTS_SHOWN_MAX)
                .cloned()
                .collect(),
            recipients: transaction.forward_paths.len(),
        })
    }
}

/// A message is on disk.
pub(super) fn accepted(id: QueueId, client: Client, offer: Option<&Offer>, size_bytes: u64) {
    let Some(offer) = offer else { return };
    tracing::info!(
        %id,
        client = %client.address,
        from = %Sender(offer),
        to = %Recipients(offer),
        recipients = offer.recipients,
        size = size_bytes,
        "accepted"
    );
    tracing::info!(%id, "queued");
}

/// Replies on their way to a client: what an administrator should know of them. Refusals by the store
/// have been told with their reason; syntax errors are the client's own noise. Returns how many refuse
/// a mail transaction, a message or a login.
pub(super) fn replies(client: Client, bytes: &[u8]) -> u64 {
    let mut refusals = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        if !matches!(line, [b'4' | b'5', _, _, b' ', ..]) {
            continue;
        }
        refusals += u64::from([b"45", b"53", b"55"].iter().any(|class| line.starts_with(*class)));
        let reply = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        if line.starts_with(b"55") {
            tracing::info!(client = %client.address, %reply, "refused");
        } else {
            tracing::debug!(client = %client.address, %reply, "replied");
        }
    }
    refusals
}

/// Something odd about the client's way of speaking, which was put right.
pub(super) fn quirk(client: Client, quirk: Quirk, is_news: bool) {
    if is_news {
        tracing::info!(client = %client.address, quirk = quirk.name(), "client is odd");
    } else {
        tracing::debug!(client = %client.address, quirk = quirk.name(), "client is odd");
    }
}

/// A TLS handshake came to nothing.
pub(super) fn handshake_failed(client: IpAddr, failure: &Failure, is_news: bool) {
    let Failure { reason, remedy } = failure;
    if is_news {
        tracing::info!(%client, reason, remedy, "TLS handshake failed");
    } else {
        tracing::debug!(%client, reason, remedy, "TLS handshake failed");
    }
}

struct Sender<'a>(&'a Offer);

impl fmt::Display for Sender<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.reverse_path {
            Some(address) => address.fmt(formatter),
            None => formatter.write_str("<>"),
        }
    }
}

struct Recipients<'a>(&'a Offer);

impl fmt::Display for Recipients<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.0.first_forward_paths.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(formatter, "{separator}{address}")?;
        }
        match self.0.recipients - self.0.first_forward_paths.len() {
            0 => Ok(()),
            more => write!(formatter, ",+{more}"),
        }
    }
}
