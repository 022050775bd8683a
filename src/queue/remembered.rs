//! The forgetting of finished messages: those that ended before a time, and the oldest of too many.
//!
//! Rule: what ended first goes first, some at a time, so that no other verb waits for it. Must not know for how long the
//! history is to be kept.

use super::{
    Queue,
    error::QueueError,
    index::{Index, is_of_the_future},
};
use crate::clock::Timestamp;

/// Messages in the history, which is that of all hosts where the queue is in the fleet's database: 33,000 a day for the 30 days that it
/// has unless somebody sets another time. About 0.5 GiB.
pub(crate) const HISTORY_MAX: usize = 1_000_000;
/// Entries that are removed in one transaction.
const CHUNK: usize = 1_000;

impl Queue {
    /// Removes the history of messages that left the queue before `keep_after`. Returns how many entries went.
    pub async fn prune_history(&self, keep_after: Timestamp) -> Result<u32, QueueError> {
        let now = self.shared.clock.wall();
        let latest = move |index: &dyn Index| {
            index.ended_after(now, CHUNK).map(|mut ends| {
                ends.retain(|end| is_of_the_future(end.at, now));
                ends
            })
        };
        let (mut pruned, keep_after) = (0, keep_after.before(self.doubt()));
        let keep_after = self.read(move |index| index.forget_days(keep_after)).await?;
        loop {
            let future = self.read(latest).await?;
            let old = self.read(move |index| index.ended_before(keep_after, CHUNK)).await?;
            let more = old.len().max(future.len()) == CHUNK;
            pruned += u32::try_from(old.len()).unwrap_or(u32::MAX);
            self.commit(move |batch| {
                future.into_iter().for_each(|end| batch.changes.move_end(end, now));
                old.into_iter().for_each(|end| batch.changes.forget_end(end));
                Ok(())
            })
            .await?;
            if !more {
                return Ok(pruned);
            }
        }
    }

    /// Forgets what ended first, so that the history has so many messages at most. Returns how many entries went. Where it is that of
    /// several hosts, any of them may do this at the same time.
    pub(crate) async fn cap_history(&self, most: usize) -> Result<usize, QueueError> {
        let mut forgotten = 0;
        loop {
            let beyond = self.read(move |index| index.ends_beyond(most, CHUNK)).await?;
            if beyond.is_empty() {
                return Ok(forgotten);
            }
            let is_last = beyond.len() < CHUNK;
            forgotten += beyond.len();
            self.commit(move |batch| {
                beyond.into_iter().for_each(|end| batch.changes.forget_end(end));
                Ok(())
            })
            .await?;
            if is_last {
                return Ok(forgotten);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        clock::{Clock as _, ManualClock},
        queue::{
            fixtures::{Scene, accept},
            id::QueueId,
        },
    };

    /// What is in the history, the newest first.
    async fn known(queue: &Queue) -> Vec<QueueId> {
        let history = queue.history(None, 100).await.unwrap();
        history.into_iter().map(|message| message.id).collect()
    }

    /// Five messages, the last of which ended first.
    async fn five_ends(queue: &Queue, clock: &ManualClock) -> Vec<QueueId> {
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(accept(queue, clock.wall()).await);
            clock.advance(Duration::from_secs(1));
        }
        for id in ids.iter().rev() {
            queue.delete(*id).await.unwrap();
            clock.advance(Duration::from_secs(1));
        }
        ids
    }

    async fn what_ended_first_goes_first(queue: &Queue, clock: &ManualClock) {
        let ids = five_ends(queue, clock).await;
        assert_eq!(queue.cap_history(5).await, Ok(0));
        assert_eq!(known(queue).await.len(), 5);
        assert_eq!(queue.cap_history(2).await, Ok(3));
        assert_eq!(known(queue).await, [ids[1], ids[0]]);
        assert_eq!(queue.cap_history(2).await, Ok(0));
        let waiting = accept(queue, clock.wall()).await;
        assert_eq!(queue.cap_history(0).await, Ok(2));
        assert_eq!(queue.newest().await, Ok(Some(waiting)), "what waits is none of it");
    }

    #[tokio::test]
    async fn the_history_has_so_many_messages_at_most_and_what_ended_first_goes_first() {
        let mut scene = Scene::new();
        what_ended_first_goes_first(scene.queue(), &scene.clock).await;
        scene.restart(|_| ()).await;
        assert_eq!(known(scene.queue()).await, [], "after a restart as well");
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let queue = Queue::in_memory(Arc::new(clock.clone()), 1 << 20);
        what_ended_first_goes_first(&queue, &clock).await;
    }

    #[tokio::test]
    async fn more_than_a_transaction_takes_go_one_after_the_other() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let queue = Queue::in_memory(Arc::new(clock.clone()), 1 << 24);
        for _ in 0..=CHUNK {
            let id = accept(&queue, clock.wall()).await;
            queue.delete(id).await.unwrap();
        }
        assert_eq!(queue.cap_history(0).await, Ok(CHUNK + 1));
    }
}
