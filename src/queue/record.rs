//! The stored record of a queued message, with its version.
//!
//! Rule: every record starts with a version byte and ends with a checksum; one that cannot be read is
//! reported, never guessed at. Must not know which store holds it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::state::Recipient;
use crate::{clock::Timestamp, message::envelope::BodyKind, smtp::address::Address};

/// What the queue knows about a message besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// MAIL FROM; `None` is the null reverse path.
    pub reverse_path: Option<Address>,
    /// What BODY= declared.
    pub body: BodyKind,
    /// Whether SMTPUTF8 was asked for.
    pub internationalized: bool,
    /// Octets of the original message.
    pub size_bytes: u64,
    /// The recipients in the order of RCPT.
    pub recipients: Vec<Recipient>,
}

/// Why stored bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The checksum does not fit: the bytes were damaged.
    #[error("the checksum does not match")]
    Checksum,
    /// A version that this program does not know.
    #[error("written by a newer version (record version {0})")]
    Version(u8),
    /// The checksum fits but the content does not.
    #[error("the content cannot be read: {0}")]
    Content(String),
}
