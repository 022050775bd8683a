//! The door of the queue: whether a message may come in.

use super::{Queue, QueueError};
use crate::{clock::Timestamp, live::Live};

impl Queue {
    /// Whether a message of `size_bytes` may come in: a person's order, quota, free space, health. Cheap; asks no disk.
    pub fn admission(&self, size_bytes: u64) -> Result<(), QueueError> {
        match *self.drained.get() {
            Some(since) => Err(QueueError::Drained(since)),
            None => self.shared.admit(size_bytes),
        }
    }

    /// Since when no new mail is taken; whoever is told so by a person says it here. What is in transfer is still taken.
    pub(crate) fn drained(&self) -> Live<Option<Timestamp>> {
        self.drained.clone()
    }
}
