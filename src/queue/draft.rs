//! A message on its way in, and a stored message on its way out.
//!
//! Rule: memory stays flat: at most [`BUFFER_BYTES`] of a message at a time, however long it is.
//! Must not know SMTP.

use super::{id::QueueId, store::StoreError};

/// Octets of a message held in memory while it is written or read.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// A message in transfer from a client. Dropping it discards the message.
#[derive(Debug)]
pub struct Draft {
    id: QueueId,
}

impl Draft {
    /// The id the message will have.
    #[must_use]
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Adds decoded message bytes (CRLF line ends, dots unstuffed).
    pub async fn write(&mut self, _bytes: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::Unavailable("not yet".into()))
    }
}

/// The bytes to relay: the fields added at acceptance, then the original, in blocks.
#[derive(Debug)]
pub struct MessageReader {
    /// Octets that `next_block` will return in all.
    pub size_bytes: u64,
}

impl MessageReader {
    /// The next block, at most [`BUFFER_BYTES`]; `None` at the end. Reads the disk: blocks shortly.
    pub fn next_block(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
}
