//! The proof that a message cannot be lost any more.
//!
//! Rule: only a store makes one, after the message is on disk (invariant 2 in ARCHITECTURE.md); the
//! listener cannot answer 250 after DATA without it. Must not know how the message got there.

use super::id::QueueId;

/// A promise made: this message is durable.
#[derive(Debug)]
#[must_use = "a receipt is the only licence to answer 250"]
pub struct Receipt {
    id: QueueId,
}

impl Receipt {
    /// For stores, after the last sync.
    pub(super) fn new(id: QueueId) -> Self {
        Self { id }
    }

    /// The message's id.
    #[must_use]
    pub fn id(&self) -> QueueId {
        self.id
    }
}
