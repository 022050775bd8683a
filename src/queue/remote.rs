//! The place elsewhere at which a queue is durable whose directory is no more than a cache.
//!
//! Rule: each call may wait for a network, so it is for threads that may. Where there is none of this, the disk is the truth
//! and its syncs count. Must not know where it is.

use std::{fmt, fs, io, path::Path};

use super::{error::QueueError, id::QueueId, record::MessageRecord};

/// The durable place of a queue's messages.
pub(super) trait Remote: fmt::Debug + Send + Sync {
    /// Makes a message durable: the record of one that has just come, and its file. Whoever hears an error has not handed it
    /// over.
    fn store(&self, id: QueueId, record: &MessageRecord, file: &Path) -> Result<(), QueueError>;

    /// Writes the file of a message from there; [`io::ErrorKind::NotFound`] where it has none.
    fn fetch(&self, id: QueueId, file: &Path) -> io::Result<()>;

    /// Whether a message of this id waits there, whoever has it.
    fn has(&self, id: QueueId) -> Result<bool, QueueError>;

    /// The messages whose octets are there.
    fn ids(&self) -> io::Result<Vec<QueueId>>;

    /// Notes that the final dot of a message is about to be sent; it must not be without this.
    fn note_dot(&self, id: QueueId) -> Result<(), QueueError>;
}

/// Removes from the directory of a queue that is elsewhere what an earlier process knew: other hosts may have its mail by
/// now.
pub(super) fn empty(state: &Path) -> io::Result<()> {
    for name in ["spool", "final-dots", "ledger.copy"] {
        let path = state.join(name);
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
