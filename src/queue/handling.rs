//! An administrator's verbs on a message, and what is noted about it: retry, hold, delete, told.
//!
//! Rule: verbs of the engine like the others: decisions only, into the changes of the batch; none of them
//! touches a message that a worker has. Must not know who asks.

use super::{
    engine::{Answer, Engine},
    id::QueueId,
    only::Only,
    overlay::{current, finish},
    record::{MessageRecord, NOTICES_MAX, Setbacks},
    state::RecipientState,
    store::{StoreError, Told},
    tables::{Changes, Tables},
    transition::cut,
};
use crate::clock::Timestamp;

/// Why a deleted message is in the history.
pub(super) const DELETED: &str = "deleted by a person";

/// Why a message that was held for long enough is in the history.
const UNDECIDED: &str = "it was held until its time was over";

impl Engine {
    /// Makes every recipient that waits, is held or is dead due at once.
    pub(super) fn retry(
        &self,
        tables: &dyn Tables,
        changes: &mut Changes,
        id: QueueId,
        now: Timestamp,
        only: &Only,
    ) -> Answer<u32> {
        let retried = |record: &mut MessageRecord| {
            record.lifetime_from = now;
            record.delay_told = false;
            record.setbacks = Setbacks::default();
        };
        self.edit(tables, changes, id, only, retried, |state| match state {
            RecipientState::Queued { resend, .. } => {
                Some(RecipientState::Queued { due: now, resend: *resend })
            }
            RecipientState::Held { .. } | RecipientState::Dead { .. } => {
                Some(RecipientState::Queued { due: now, resend: false })
            }
            RecipientState::Reserved { .. } | RecipientState::Relayed { .. } => None,
        })
    }

    /// Holds every recipient that waits.
    pub(super) fn hold(
        &self,
        tables: &dyn Tables,
        changes: &mut Changes,
        id: QueueId,
        now: Timestamp,
        reason: &str,
    ) -> Answer<u32> {
        self.edit(
            tables,
            changes,
            id,
            &Only::default(),
            |_| {},
            |state| match state {
                RecipientState::Queued { .. } => {
                    Some(RecipientState::Held { since: now, reason: cut(reason) })
                }
                _ => None,
            },
        )
    }

    /// Notes of what somebody was told. A message that waited only for that goes to the history.
    pub(super) fn told(
        tables: &dyn Tables,
        changes: &mut Changes,
        id: QueueId,
        told: Told,
        now: Timestamp,
    ) -> Answer<()> {
        let Some(old) = current(tables, changes, id)? else { return Ok(()) };
        let mut new = old.clone();
        let now_told = |place: &usize| old.told.contains(place) || told.places.contains(place);
        new.told = old.ended().filter(now_told).collect();
        new.delay_told |= told.delayed;
        new.notices.extend(told.notices);
        let surplus = new.notices.len().saturating_sub(NOTICES_MAX);
        new.notices.drain(..surplus);
        finish(changes, id, &old, new, now);
        Ok(())
    }

    /// Removes a message whose recipients are all relayed, dead or held because no answer came, since before
    /// `keep_after`.
    pub(super) fn expire(
        &self,
        tables: &dyn Tables,
        changes: &mut Changes,
        id: QueueId,
        keep_after: Timestamp,
        now: Timestamp,
    ) -> Answer<()> {
        // Whoever asks has read the record before; a person may have resent it since.
        let record = current(tables, changes, id)?.ok_or(StoreError::NotFound(id))?;
        if !record.is_dead_since_before(keep_after) {
            return Err(StoreError::Conflict(id));
        }
        self.delete(tables, changes, id, now, None)
    }

    /// Removes a message that no worker has; `reason` says why, or leaves the reasons of its dead and held
    /// recipients; nobody has decided about these, so they are dead now. It stays in the history, so that its file, should it outlive
    /// a crash, is not taken for a message that was lost.
    pub(super) fn delete(
        &self,
        tables: &dyn Tables,
        changes: &mut Changes,
        id: QueueId,
        now: Timestamp,
        reason: Option<&str>,
    ) -> Answer<()> {
        if self.has_claimed(id) {
            return Err(StoreError::Conflict(id));
        }
        let old = match current(tables, changes, id) {
            Err(StoreError::Corrupt { .. }) => {
                changes.forget(id);
                return Ok(());
            }
            answer => answer?.ok_or(StoreError::NotFound(id))?,
        };
        let mut deleted = old.clone();
        if let Some(reason) = reason {
            for recipient in
                deleted.recipients.iter_mut().filter(|recipient| !recipient.state.is_relayed())
            {
                recipient.state = RecipientState::Dead { since: now, reason: cut(reason) };
            }
        }
        for recipient in &mut deleted.recipients {
            if let RecipientState::Held { reason, .. } = &recipient.state {
                let reason = cut(&format!("{UNDECIDED}: {reason}"));
                recipient.state = RecipientState::Dead { since: now, reason };
            }
        }
        changes.finish(id, &old, deleted, now);
        Ok(())
    }

    /// Removes a message that a person gives up, when it is one of these.
    pub(super) fn delete_only(
        &self,
        tables: &dyn Tables,
        changes: &mut Changes,
        id: QueueId,
        now: Timestamp,
        only: &Only,
    ) -> Answer<()> {
        // What cannot be read is removed whatever it was, but not along with those of a kind.
        if *only != Only::default() {
            only.check(id, &current(tables, changes, id)?.ok_or(StoreError::NotFound(id))?)?;
        }
        self.delete(tables, changes, id, now, Some(DELETED))
    }

    fn edit(
        &self,
        tables: &dyn Tables,
        changes: &mut Changes,
        id: QueueId,
        only: &Only,
        once: impl FnOnce(&mut MessageRecord),
        change: impl Fn(&RecipientState) -> Option<RecipientState>,
    ) -> Answer<u32> {
        if self.has_claimed(id) {
            return Err(StoreError::Conflict(id));
        }
        let old = current(tables, changes, id)?.ok_or(StoreError::NotFound(id))?;
        only.check(id, &old)?;
        let mut new = old.clone();
        let mut changed = 0;
        for recipient in &mut new.recipients {
            if let Some(state) = change(&recipient.state) {
                recipient.state = state;
                changed += 1;
            }
        }
        if changed > 0 {
            once(&mut new);
            let ended: Vec<usize> = new.ended().collect();
            new.told.retain(|place| ended.contains(place));
        }
        changes.put(id, Some(&old), Some(new));
        Ok(changed)
    }
}
