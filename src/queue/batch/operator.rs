//! An administrator's verbs on a message, and what is noted about it: retry, hold, release, schedule, delete, notified.
//!
//! None of these verbs touches a message that a worker has.

use super::{Answer, Batch};
use crate::{
    clock::Timestamp,
    queue::{
        claim::Notified,
        ending::{End, Ending},
        error::QueueError,
        id::QueueId,
        only::Only,
        record::{MessageRecord, NOTICES_MAX, Setbacks},
        ruled::is_by_rule,
        schedule::Schedule,
        state::{DELETED, RecipientState, cut},
    },
};

/// Why a recipient is held that a person wants to keep.
pub(in crate::queue) const KEPT: &str = "held by a person";

/// What is in the way of a verb for one recipient alone.
const NOBODY: &str = "it has no such recipient that still waits, is held or is dead";
const FOLDED: &str = "it is folded in a storm, so it is held or deleted with all its recipients";

/// The same of one to whom no answer had come: it is sent once more at most.
const KEPT_UNANSWERED: &str = "held by a person; no answer had come to an earlier attempt";

/// Whether that is why somebody is held whom a person, or his rule, wants to keep.
pub(in crate::queue) fn is_kept(reason: &str) -> bool {
    [KEPT, KEPT_UNANSWERED].contains(&reason) || is_by_rule(reason)
}

/// Why a message that was held for long enough is in the history.
const UNDECIDED: &str = "it was held until its time was over";

impl Batch<'_> {
    /// Makes every recipient that waits, is held or is dead due at once.
    pub(in crate::queue) fn retry(
        &mut self,
        id: QueueId,
        now: Timestamp,
        only: &Only,
    ) -> Answer<u32> {
        let retried = |record: &mut MessageRecord| {
            record.lifetime_from = now;
            record.schedule = None;
            record.fold = None;
            record.delay_told = false;
            record.setbacks = Setbacks::default();
        };
        if !only.means_folded() && self.get(id)?.is_some_and(|record| record.is_folded()) {
            return Err(QueueError::OtherState(id));
        }
        self.edit(id, only, retried, |state| match state {
            RecipientState::Queued { resend, .. } => {
                Some(RecipientState::Queued { due: now, resend: *resend })
            }
            state if state.is_deleted() => None,
            RecipientState::Held { .. } | RecipientState::Dead { .. } => {
                Some(RecipientState::Queued { due: now, resend: false })
            }
            RecipientState::Reserved { .. } | RecipientState::Relayed { .. } => None,
        })
    }

    /// Holds every recipient that waits.
    pub(in crate::queue) fn hold(
        &mut self,
        id: QueueId,
        now: Timestamp,
        reason: &str,
    ) -> Answer<u32> {
        let held = |state: &RecipientState| match state {
            RecipientState::Queued { .. } => {
                Some(RecipientState::Held { since: now, reason: cut(reason) })
            }
            _ => None,
        };
        self.edit(id, &Only::default(), |record| record.fold = None, held)
    }

    /// Holds every recipient that waits, until a person releases it.
    pub(in crate::queue) fn keep(&mut self, id: QueueId, only: &Only) -> Answer<u32> {
        let now = self.now.wall;
        self.edit(
            id,
            only,
            |record| record.fold = None,
            |state| match state {
                RecipientState::Queued { resend, .. } => {
                    let reason = if *resend { KEPT_UNANSWERED } else { KEPT };
                    Some(RecipientState::Held { since: now, reason: reason.to_owned() })
                }
                _ => None,
            },
        )
    }

    /// Makes every recipient due that a person has held, or that is folded, with a new lifetime; nobody else's.
    pub(in crate::queue) fn release(&mut self, id: QueueId, only: &Only) -> Answer<u32> {
        let now = self.now.wall;
        let released = |record: &mut MessageRecord| {
            record.lifetime_from = now;
            record.fold = None;
            record.delay_told = false;
        };
        let is_folded = self.get(id)?.is_some_and(|record| record.fold.is_some());
        self.edit(id, only, released, |state| match state {
            RecipientState::Queued { resend, .. } if is_folded => {
                Some(RecipientState::Queued { due: now, resend: *resend })
            }
            RecipientState::Held { reason, .. } if is_kept(reason) => {
                Some(RecipientState::Queued { due: now, resend: reason == KEPT_UNANSWERED })
            }
            _ => None,
        })
    }

    /// Has every recipient that waits, and every one that a person has held once it is released, leave at this time and not
    /// before, with a lifetime from then on. A time that has passed is now.
    pub(in crate::queue) fn schedule(
        &mut self,
        id: QueueId,
        at: Timestamp,
        only: &Only,
    ) -> Answer<u32> {
        let now = self.now.wall;
        let scheduled = |record: &mut MessageRecord| {
            record.schedule = (at > now).then(|| Schedule::new(at));
            record.fold = None;
            record.lifetime_from = now;
            record.delay_told = false;
        };
        self.edit(id, only, scheduled, |state| match state {
            RecipientState::Queued { due, resend } => {
                Some(RecipientState::Queued { due: (*due).min(at.max(now)), resend: *resend })
            }
            RecipientState::Held { reason, .. } if is_kept(reason) => Some(state.clone()),
            _ => None,
        })
    }

    /// Notes of what somebody was told. A message that waited only for that goes to the history.
    pub(in crate::queue) fn mark_notified(
        &mut self,
        id: QueueId,
        notified: Notified,
    ) -> Answer<()> {
        let Some(old) = self.get(id)? else { return Ok(()) };
        let mut new = old.clone();
        let now_told = |place: &usize| old.told.contains(place) || notified.places.contains(place);
        new.told = old.ended().filter(now_told).collect();
        new.delay_told |= notified.delayed;
        new.notices.extend(notified.notices);
        let surplus = new.notices.len().saturating_sub(NOTICES_MAX);
        new.notices.drain(..surplus);
        self.finish(id, &old, new);
        Ok(())
    }

    /// Notes that a summary tells of a folded message; nothing where it is none any more.
    pub(in crate::queue) fn mark_told(&mut self, id: QueueId, at: Timestamp) -> Answer<()> {
        let old = match self.get(id) {
            // It is reported where it is met.
            Err(QueueError::Corrupt { .. }) => return Ok(()),
            answer => answer?,
        };
        let Some(old) = old.filter(MessageRecord::is_folded) else { return Ok(()) };
        let mut new = old.clone();
        new.fold.iter_mut().for_each(|fold| fold.told = Some(at));
        self.changes.put(id, Some(&old), Some(new));
        Ok(())
    }

    /// Removes a folded message that was told of before `keep_after`.
    pub(in crate::queue) fn end_folded(
        &mut self,
        id: QueueId,
        keep_after: Timestamp,
    ) -> Answer<()> {
        let old = self.get(id)?.ok_or(QueueError::NotFound(id))?;
        let told = old.fold.as_ref().filter(|_| old.is_folded()).and_then(|fold| fold.told);
        if told.is_none_or(|told| told >= keep_after) {
            return Err(QueueError::Conflict(id));
        }
        self.changes.finish(id, &old, old.clone(), Ending::Folded.at(self.now.wall));
        Ok(())
    }

    /// Removes a message whose recipients are all relayed, dead or held because no answer came, since before
    /// `keep_after`; `how` says why.
    pub(in crate::queue) fn expire(
        &mut self,
        id: QueueId,
        keep_after: Timestamp,
        how: Ending,
        by: Option<&str>,
    ) -> Answer<()> {
        // Whoever asks has read the record before; a person may have resent it since.
        let record = self.get(id)?.ok_or(QueueError::NotFound(id))?;
        if !record.is_dead_since_before(keep_after) {
            return Err(QueueError::Conflict(id));
        }
        self.delete(id, None, how.by(by, self.now.wall))
    }

    /// Removes a message that no worker has; `reason` says why, or leaves the reasons of its dead and held
    /// recipients; nobody has decided about these, so they are dead now. It stays in the history, so that its file, should it outlive
    /// a crash, is not taken for a message that was lost.
    pub(in crate::queue) fn delete(
        &mut self,
        id: QueueId,
        reason: Option<&str>,
        end: End,
    ) -> Answer<()> {
        let now = self.now.wall;
        if self.engine.claimed.contains(id) {
            return Err(QueueError::Conflict(id));
        }
        let old = match self.get(id) {
            Err(QueueError::Corrupt { .. }) => {
                self.changes.forget(id);
                return Ok(());
            }
            answer => answer?.ok_or(QueueError::NotFound(id))?,
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
        self.changes.finish(id, &old, deleted, end);
        Ok(())
    }

    /// Removes a message that a person gives up, when it is one of these.
    pub(in crate::queue) fn delete_only(
        &mut self,
        id: QueueId,
        only: &Only,
        by: Option<&str>,
    ) -> Answer<()> {
        // What cannot be read is removed whatever it was, but not along with those of a kind.
        if *only != Only::default() {
            only.check(id, &self.get(id)?.ok_or(QueueError::NotFound(id))?, self.now.wall)?;
        }
        self.delete(id, Some(DELETED), Ending::Deleted.by(by, self.now.wall))
    }

    /// Gives up the recipient that is meant, wherever a message that no worker has names it, and sends nothing to it. With
    /// the last one that is not relayed the message goes as [`Batch::delete_only`] has it; how many there were.
    pub(in crate::queue) fn give_up(
        &mut self,
        id: QueueId,
        only: &Only,
        by: Option<&str>,
    ) -> Answer<u32> {
        let now = self.now.wall;
        let given_up = |state: &RecipientState| match state {
            state if state.is_settled() => None,
            RecipientState::Reserved { .. } => None,
            _ => Some(RecipientState::Dead { since: now, reason: DELETED.to_owned() }),
        };
        let (old, new, changed) = self.edited(id, only, |_| (), given_up)?;
        if new.recipients.iter().all(|one| one.state.is_settled()) {
            self.changes.finish(id, &old, new, Ending::Deleted.by(by, now));
        } else {
            self.changes.put(id, Some(&old), Some(new));
        }
        Ok(changed)
    }

    fn edit(
        &mut self,
        id: QueueId,
        only: &Only,
        once: impl FnOnce(&mut MessageRecord),
        change: impl Fn(&RecipientState) -> Option<RecipientState>,
    ) -> Answer<u32> {
        let (old, new, changed) = self.edited(id, only, once, change)?;
        self.changes.put(id, Some(&old), Some(new));
        Ok(changed)
    }

    /// The record as it is and as it would be, and how many recipients differ.
    fn edited(
        &self,
        id: QueueId,
        only: &Only,
        once: impl FnOnce(&mut MessageRecord),
        change: impl Fn(&RecipientState) -> Option<RecipientState>,
    ) -> Answer<(MessageRecord, MessageRecord, u32)> {
        if self.engine.claimed.contains(id) {
            return Err(QueueError::Conflict(id));
        }
        let old = self.get(id)?.ok_or(QueueError::NotFound(id))?;
        only.check(id, &old, self.now.wall)?;
        let mut new = old.clone();
        let mut changed = 0;
        for recipient in new.recipients.iter_mut().filter(|one| only.means(&one.address)) {
            if let Some(state) = change(&recipient.state) {
                recipient.state = state;
                changed += 1;
            }
        }
        if only.recipient.is_some() {
            // The others of a folded message would leave as soon as it is none any more.
            let problem = [(changed == 0, NOBODY), (new.is_folded(), FOLDED)];
            if let Some((_, why)) = problem.into_iter().find(|(is_so, _)| *is_so) {
                return Err(QueueError::NotAlone { id, why });
            }
        }
        if changed > 0 {
            once(&mut new);
            let ended: Vec<usize> = new.ended().collect();
            new.told.retain(|place| ended.contains(place));
        }
        Ok((old, new, changed))
    }
}
