//! The proposed ids whose messages are on their way in.
//!
//! Rule: an id is taken before anybody looks whether it is known, and given back when the draft has become a
//! record or nothing; so two clients with one id cannot both be told that it is new.
//! Must not know what is on disk.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{id::QueueId, store::StoreError};

/// All of them: as many as there are messages in transfer.
#[derive(Debug, Default)]
pub(super) struct InTransfer {
    ids: Mutex<HashSet<QueueId>>,
}

/// One of them, taken. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct TakenId {
    taken: Arc<InTransfer>,
    id: QueueId,
}

impl InTransfer {
    /// Takes an id that no other draft has.
    pub(super) fn take(self: &Arc<Self>, id: QueueId) -> Result<TakenId, StoreError> {
        if self.lock().insert(id) {
            Ok(TakenId { taken: Arc::clone(self), id })
        } else {
            Err(StoreError::Conflict(id))
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<QueueId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TakenId {
    fn drop(&mut self) {
        self.taken.lock().remove(&self.id);
    }
}
