//! The readers of stored bytes and of searches, opened for the fuzz targets in tests/fuzz_corpus.
//!
//! Rule: nothing of the product uses it, and it does no more than what a start does with a disk that may be
//! damaged. Must not know what the targets expect.

use super::{
    record::{self, MessageRecord},
    search::Search,
    spool_file::{self, MessageReader},
};
use crate::message::envelope::Envelope;

/// Reads a message's record, and gives it as it would be stored again.
#[must_use]
pub fn record(bytes: &[u8]) -> Option<(MessageRecord, Vec<u8>)> {
    let record = record::decode::<MessageRecord>(bytes).ok()?;
    let again = record::encode(&record).ok()?;
    Some((record, again))
}

/// Reads a spool file: its envelope, the length it announces, and the bytes that would be relayed.
#[must_use]
pub fn spool_file(bytes: &[u8]) -> Option<(Envelope, u64, Vec<u8>)> {
    let envelope = spool_file::describe_bytes(bytes).ok()?.envelope;
    let mut reader = MessageReader::of_bytes(bytes.to_vec()).ok()?;
    let (announced, mut message) = (reader.size_bytes(), Vec::new());
    while let Some(block) = reader.next_block().ok()? {
        message.extend(block);
    }
    Some((envelope, announced, message))
}

/// Reads a search: the form in which it is written, or what is said of its mistake.
///
/// # Errors
/// When it cannot be understood.
pub fn search(text: &str) -> Result<String, String> {
    text.parse().map(|search: Search| search.to_string()).map_err(|error| error.to_string())
}
