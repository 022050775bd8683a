//! The verbs of a person who holds messages and lets them go, with the marks that outlive the index.
//!
//! Rule: one at a time, because a mark and a record are changed together and in no one write. The power may fail between
//! the two: before a hold is answered either is right, and a start brings them together.

use super::{
    Queue,
    error::QueueError,
    held_marks::held_reason,
    id::QueueId,
    only::Only,
    spool::{blocking, refused},
};
use crate::{clock::Timestamp, queue::batch::KEPT};

impl Queue {
    /// Holds every waiting recipient of a message that is one of these until [`Queue::release`]; the number of them.
    pub(crate) async fn keep(&self, id: QueueId, only: &Only) -> Result<u32, QueueError> {
        let _one_at_a_time = self.holds.lock().await;
        let spool = self.shared.spool.clone();
        // A mark that is there has its reason, and a crash must not find it half renewed.
        let mark = move || if spool.is_marked(id) { Ok(()) } else { spool.mark_held(id, KEPT) };
        blocking(mark).await?.map_err(|error| refused(&error))?;
        let only = only.clone();
        let kept = self.commit(move |batch| batch.keep(id, &only)).await;
        if !matches!(kept, Ok(1..) | Err(QueueError::Unavailable(_))) {
            self.bring_mark_in_line(id).await?;
        }
        kept
    }

    /// Makes the recipients due that [`Queue::keep`] has held.
    pub(crate) async fn release(&self, id: QueueId, only: &Only) -> Result<u32, QueueError> {
        let verb_only = only.clone();
        self.let_go(
            id,
            only,
            |reason| reason.starts_with(KEPT),
            move |batch| batch.release(id, &verb_only),
        )
        .await
    }

    /// Makes every held, dead or waiting recipient due at once, with a new lifetime. Returns how many
    /// there were.
    pub async fn retry(&self, id: QueueId, now: Timestamp) -> Result<u32, QueueError> {
        self.retry_only(id, now, &Only::default()).await
    }

    /// The same, when the message is one of these at that moment; else [`QueueError::OtherState`].
    pub async fn retry_only(
        &self,
        id: QueueId,
        now: Timestamp,
        only: &Only,
    ) -> Result<u32, QueueError> {
        let verb_only = only.clone();
        self.let_go(id, only, |_| true, move |batch| batch.retry(id, now, &verb_only)).await
    }

    /// Does what frees a message that is held for such a reason: its mark goes first.
    async fn let_go(
        &self,
        id: QueueId,
        only: &Only,
        frees: impl Fn(&str) -> bool,
        verb: impl FnOnce(&mut super::batch::Batch<'_>) -> Result<u32, QueueError> + Send + 'static,
    ) -> Result<u32, QueueError> {
        let _one_at_a_time = self.holds.lock().await;
        let spool = self.shared.spool.clone();
        if !blocking(move || spool.is_marked(id)).await? {
            return self.commit(verb).await;
        }
        let now = self.shared.clock.wall();
        let found = self.read(move |index| index.message(id)).await?;
        let is_meant = found.is_some_and(|record| {
            only.check(id, &record, now).is_ok() && held_reason(&record).is_some_and(frees)
        });
        if is_meant {
            let spool = self.shared.spool.clone();
            blocking(move || spool.unmark_held(id)).await?.map_err(|error| refused(&error))?;
        }
        let freed = self.commit(verb).await;
        if !matches!(freed, Err(QueueError::Unavailable(_))) {
            self.bring_mark_in_line(id).await?;
        }
        freed
    }

    /// Marks a message that is held for another reason still, and no other one.
    async fn bring_mark_in_line(&self, id: QueueId) -> Result<(), QueueError> {
        let found = self.read(move |index| index.message(id)).await?;
        let reason = found.as_ref().and_then(held_reason).map(str::to_owned);
        let spool = self.shared.spool.clone();
        let in_line = blocking(move || match (reason, spool.is_marked(id)) {
            (Some(reason), false) => spool.mark_held(id, &reason),
            (None, true) => spool.unmark_held(id),
            (Some(_), true) | (None, false) => Ok(()),
        });
        in_line.await?.map_err(|error| refused(&error))
    }
}

#[cfg(test)]
mod tests;
