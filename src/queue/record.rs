//! The stored record of a queued message, with its version.
//!
//! Rule: every record starts with a version byte and ends with a checksum; one that cannot be read is
//! reported, never guessed at. Must not know which store holds it.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::state::{Recipient, RecipientState};
use crate::{
    clock::Timestamp,
    message::envelope::{BodyKind, Envelope},
    smtp::address::Address,
};

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

impl MessageRecord {
    /// The record of a message that has just been accepted: every recipient waits, due at once.
    #[must_use]
    pub fn new(envelope: &Envelope, size_bytes: u64) -> Self {
        let due = envelope.accepted_at;
        let recipients = envelope.forward_paths.iter().map(|address| Recipient {
            address: address.clone(),
            state: RecipientState::Queued { due, resend: false },
            attempts: 0,
            last_reply: None,
        });
        Self {
            accepted_at: envelope.accepted_at,
            reverse_path: envelope.reverse_path.clone(),
            body: envelope.body,
            internationalized: envelope.internationalized,
            size_bytes,
            recipients: recipients.collect(),
        }
    }

    /// Whether a worker has it, or had it when its process died.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.recipients.iter().any(|recipient| matches!(recipient.state, RecipientState::Reserved { .. }))
    }
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

/// The version that this program writes.
const VERSION: u8 = 1;
/// Octets of the version byte and the checksum around the content.
const OVERHEAD: usize = 5;

/// The stored form of any record: version, content, CRC-32 of both.
pub(super) fn encode<T: Serialize>(content: &T) -> Result<Vec<u8>, RecordError> {
    let bytes = postcard::to_extend(content, vec![VERSION])
        .map_err(|error| RecordError::Content(error.to_string()))?;
    Ok(seal(bytes))
}

/// Appends the checksum.
pub(super) fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reads what [`encode`] wrote.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    match unseal(bytes)? {
        (VERSION, content) => read(content),
        (version, _) => Err(RecordError::Version(version)),
    }
}

/// The version and the content of a record whose checksum fits.
pub(super) fn unseal(bytes: &[u8]) -> Result<(u8, &[u8]), RecordError> {
    if bytes.len() < OVERHEAD {
        return Err(RecordError::Checksum);
    }
    let (content, checksum) = bytes.split_at(bytes.len() - 4);
    if crc32fast::hash(content).to_le_bytes() != checksum {
        return Err(RecordError::Checksum);
    }
    Ok((content[0], &content[1..]))
}

/// The content of a record.
pub(super) fn read<T: DeserializeOwned>(content: &[u8]) -> Result<T, RecordError> {
    postcard::from_bytes(content).map_err(|error| RecordError::Content(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_record_is_noticed() {
        let bytes = encode(&("a record".to_owned(), 7u64)).unwrap();
        assert_eq!(decode::<(String, u64)>(&bytes), Ok(("a record".to_owned(), 7)));
        for position in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[position / 8] ^= 1 << (position % 8);
            assert_eq!(decode::<(String, u64)>(&damaged), Err(RecordError::Checksum), "bit {position}");
        }
    }

    #[test]
    fn a_newer_version_is_refused_and_not_guessed_at() {
        assert_eq!(decode::<u64>(&seal(vec![9, 1])), Err(RecordError::Version(9)));
    }
}
