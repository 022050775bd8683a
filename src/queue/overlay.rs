//! The tables as the verbs of one batch have left them, before they are written.
//!
//! Rule: a verb sees what the verbs before it in the same batch have changed. Must not know what a verb means.

use super::{
    engine::{Answer, Claims},
    id::QueueId,
    record::MessageRecord,
    store::StoreError,
    tables::{Changes, DueKey, TableError, Tables},
    transition::is_due,
};
use crate::{clock::Timestamp, message::envelope::Lane};

/// What is next in the order of departure.
pub(super) enum Next {
    /// It is due.
    Due(DueKey),
    /// Nothing is; the earliest time at which something will be.
    Later(Option<Timestamp>),
}

/// The first key that is due: of the first lane that has one. A message that waits for a later time never
/// keeps the lanes behind its own waiting.
pub(super) fn next(
    tables: &dyn Tables,
    changes: &Changes,
    now: Timestamp,
    claimed: &Claims,
) -> Answer<Next> {
    let mut earliest: Option<Timestamp> = None;
    for lane in Lane::ALL {
        let Some(key) = first_due(tables, changes, lane, claimed)? else { continue };
        if is_due(key.due, now) {
            return Ok(Next::Due(key));
        }
        earliest = Some(earliest.map_or(key.due, |earliest| earliest.min(key.due)));
    }
    Ok(Next::Later(earliest))
}

/// The first due key of a lane as this batch has left them. What a worker has is passed over: its key is
/// there only because the index was rebuilt under it.
fn first_due(
    tables: &dyn Tables,
    changes: &Changes,
    lane: Lane,
    claimed: &Claims,
) -> Answer<Option<DueKey>> {
    let passed_over = |key: &DueKey| changes.due.contains_key(key) || claimed.contains(key.id);
    let stored = tables.first_due(lane, &passed_over).map_err(unavailable)?;
    let added = changes.due.iter().filter(|(_, added)| **added).map(|(key, _)| *key);
    let mut added = added.filter(|key| key.lane == lane && !claimed.contains(key.id));
    Ok(stored.into_iter().chain(added.next()).min())
}

/// The record as this batch has left it.
pub(super) fn current(
    tables: &dyn Tables,
    changes: &Changes,
    id: QueueId,
) -> Answer<Option<MessageRecord>> {
    if let Some(changed) = changes.messages.get(&id) {
        return Ok(changed.clone());
    }
    tables.message(id).map_err(|error| match error {
        TableError::Damaged { id, reason } => StoreError::Corrupt { id, reason },
        TableError::Failed(_) | TableError::Broken(_) | TableError::Newer(_) => unavailable(error),
    })
}

/// Writes the new record, or moves it to the history when every recipient is relayed and nobody is to be told: until
/// then a notice wants its file.
pub(super) fn finish(
    changes: &mut Changes,
    id: QueueId,
    old: &MessageRecord,
    new: MessageRecord,
    now: Timestamp,
) {
    let is_relayed = new.recipients.iter().all(|recipient| recipient.state.is_relayed());
    if is_relayed && new.untold_success().next().is_none() {
        changes.finish(id, old, new, now);
    } else {
        changes.put(id, Some(old), Some(new));
    }
}

/// A failed backend, in the words of the store.
fn unavailable(error: TableError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
