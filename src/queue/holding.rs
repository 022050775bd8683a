//! The verbs of a person who holds and schedules messages and lets them go, with the marks that outlive the index.
//!
//! Rule: one at a time, because a mark and a record are changed together and in no one write. The power may fail between
//! the two: before the verb is answered either is right, and a start brings them together.

use std::io;

use super::{
    Queue,
    batch::{Batch, KEPT, is_kept},
    error::QueueError,
    id::QueueId,
    marks::{Mark, held_reason},
    only::Only,
    spool::{Spool, blocking, refused},
};
use crate::clock::Timestamp;

impl Queue {
    /// Holds every waiting recipient of a message that is one of these until [`Queue::release`]; the number of them.
    pub(crate) async fn keep(&self, id: QueueId, only: &Only) -> Result<u32, QueueError> {
        // A mark that is there has its reason.
        let mark = move |spool: &Spool| match spool.is_marked(id, Mark::Held) {
            true => Ok(()),
            false => spool.mark(id, Mark::Held, KEPT),
        };
        let only = only.clone();
        self.marking(id, mark, move |batch| batch.keep(id, &only)).await
    }

    /// Gives up a recipient of a message, as this person wants; nothing is sent to it, and with the last one the message
    /// leaves the queue. How many there were.
    pub(crate) async fn give_up(
        &self,
        id: QueueId,
        only: &Only,
        person: Option<String>,
    ) -> Result<u32, QueueError> {
        let _one_at_a_time = self.marks.lock().await;
        let only = only.clone();
        let given_up =
            self.commit(move |batch| batch.give_up(id, &only, person.as_deref())).await?;
        // It may be the one that was held.
        self.bring_marks_in_line(id).await?;
        Ok(given_up)
    }

    /// Makes the recipients due that [`Queue::keep`] has held.
    pub(crate) async fn release(&self, id: QueueId, only: &Only) -> Result<u32, QueueError> {
        let verb_only = only.clone();
        let frees = |mark, reason: &str| mark == Mark::Held && is_kept(reason);
        self.let_go(id, only, frees, move |batch| batch.release(id, &verb_only)).await
    }

    /// Has what waits of a message that is one of these leave at this time and not before; the number of recipients.
    /// A time that has passed is now.
    pub(crate) async fn schedule(
        &self,
        id: QueueId,
        at: Timestamp,
        only: &Only,
    ) -> Result<u32, QueueError> {
        let verb_only = only.clone();
        let verb = move |batch: &mut Batch<'_>| batch.schedule(id, at, &verb_only);
        if at > self.shared.clock.wall() {
            let mark = move |spool: &Spool| spool.mark(id, Mark::Scheduled, &at.0.to_string());
            return self.marking(id, mark, verb).await;
        }
        self.let_go(id, only, |mark, _| mark == Mark::Scheduled, verb).await
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
        self.let_go(id, only, |_, _| true, move |batch| batch.retry(id, now, &verb_only)).await
    }

    /// Does what makes a mark: that goes first.
    async fn marking(
        &self,
        id: QueueId,
        mark: impl FnOnce(&Spool) -> io::Result<()> + Send + 'static,
        verb: impl FnOnce(&mut Batch<'_>) -> Result<u32, QueueError> + Send + 'static,
    ) -> Result<u32, QueueError> {
        let _one_at_a_time = self.marks.lock().await;
        let spool = self.shared.spool.clone();
        blocking(move || mark(&spool)).await?.map_err(|error| refused(&error))?;
        let done = self.commit(verb).await;
        if !matches!(done, Ok(1..) | Err(QueueError::Unavailable(_))) {
            self.bring_marks_in_line(id).await?;
        }
        done
    }

    /// Does what frees a message of such marks: they go first. Of a hold its reason is asked, too.
    async fn let_go(
        &self,
        id: QueueId,
        only: &Only,
        frees: impl Fn(Mark, &str) -> bool,
        verb: impl FnOnce(&mut Batch<'_>) -> Result<u32, QueueError> + Send + 'static,
    ) -> Result<u32, QueueError> {
        let _one_at_a_time = self.marks.lock().await;
        let spool = self.shared.spool.clone();
        if !blocking(move || spool.has_marks(id)).await? {
            return self.commit(verb).await;
        }
        let now = self.shared.clock.wall();
        let found = self.read(move |index| index.message(id)).await?;
        if let Some(record) = found.filter(|record| only.check(id, record, now).is_ok()) {
            let is_let_go = held_reason(&record).is_some_and(|reason| frees(Mark::Held, reason));
            let freed = [(Mark::Held, is_let_go), (Mark::Scheduled, frees(Mark::Scheduled, ""))];
            let spool = self.shared.spool.clone();
            let unmark = move || {
                let mut freed = freed.into_iter().filter(|(_, is_freed)| *is_freed);
                freed.try_for_each(|(mark, _)| spool.unmark(id, mark))
            };
            blocking(unmark).await?.map_err(|error| refused(&error))?;
        }
        let freed = self.commit(verb).await;
        if !matches!(freed, Err(QueueError::Unavailable(_))) {
            self.bring_marks_in_line(id).await?;
        }
        freed
    }

    /// Gives the message the marks of its record: it may be held for another reason still, or not be in the queue.
    async fn bring_marks_in_line(&self, id: QueueId) -> Result<(), QueueError> {
        let found = self.read(move |index| index.message(id)).await?;
        let spool = self.shared.spool.clone();
        let in_line = blocking(move || match found {
            Some(record) => spool.mark_as(id, &record),
            None => Mark::ALL.into_iter().try_for_each(|mark| spool.unmark(id, mark)),
        });
        in_line.await?.map_err(|error| refused(&error))
    }
}

#[cfg(test)]
mod recipients;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;
