//! The proposed ids whose messages are on their way in.
//!
//! Rule: an id is taken before anybody looks whether it is known, and given back when the draft has become a
//! record or nothing; so two clients with one id cannot both be told that it is new.
//! Must not know what is on disk.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{error::QueueError, id::QueueId};
use crate::sync;

/// All of them: as many as there are messages in transfer.
#[derive(Debug, Default)]
pub(super) struct ReservedIds {
    ids: Mutex<HashSet<QueueId>>,
}

/// One of them, taken. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct ReservedId {
    taken: Arc<ReservedIds>,
    id: QueueId,
}

impl ReservedIds {
    /// Takes an id that no other draft has.
    pub(super) fn take(self: &Arc<Self>, id: QueueId) -> Result<ReservedId, QueueError> {
        if self.lock().insert(id) {
            Ok(ReservedId { taken: Arc::clone(self), id })
        } else {
            Err(QueueError::Conflict(id))
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<QueueId>> {
        sync::lock(&self.ids)
    }
}

impl Drop for ReservedId {
    fn drop(&mut self) {
        self.taken.lock().remove(&self.id);
    }
}
