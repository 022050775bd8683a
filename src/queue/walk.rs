//! A walk through messages, page by page, which ends at what was there when it began.
//!
//! Rule: a queue that grows faster than it is read keeps no walk going: ids rise with the time of acceptance, so
//! what comes later lies behind the end.

use super::{id::QueueId, listing::QueuedMessage};

/// Where a walk is, and where it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    way: Way,
    after: Option<QueueId>,
    until: Option<QueueId>,
}

/// In which order of the ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The oldest first.
    Forward,
    /// The newest first.
    Backward,
}

impl Walk {
    /// After a message, up to one.
    #[must_use]
    pub(crate) fn between(after: Option<QueueId>, until: Option<QueueId>) -> Self {
        Self { way: Way::Forward, after, until }
    }

    /// Before a message, back to one.
    #[must_use]
    pub(crate) fn back(before: Option<QueueId>, until: Option<QueueId>) -> Self {
        Self { way: Way::Backward, after: before, until }
    }

    /// The last message that was walked over.
    #[must_use]
    pub(crate) fn after(&self) -> Option<QueueId> {
        self.after
    }

    /// The last message that belongs to it; `None` when there was none.
    #[must_use]
    pub(crate) fn until(&self) -> Option<QueueId> {
        self.until
    }

    /// Whether nothing is left of it.
    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        match (self.after, self.until) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(after), Some(until)) => self.is_at_the_end(after, until),
        }
    }

    /// Whether more may follow behind this message.
    #[must_use]
    pub(crate) fn goes_on_behind(&self, id: QueueId) -> bool {
        self.until.is_some_and(|until| !self.is_at_the_end(id, until))
    }

    fn is_at_the_end(&self, id: QueueId, until: QueueId) -> bool {
        match self.way {
            Way::Forward => id >= until,
            Way::Backward => id <= until,
        }
    }

    /// Steps over the page behind [`Self::after`]: what of it belongs to the walk, which is nothing at its end.
    #[must_use]
    pub(crate) fn take(&mut self, mut page: Vec<QueuedMessage>) -> Vec<QueuedMessage> {
        page.retain(|message| {
            self.until
                .is_some_and(|until| message.id == until || !self.is_at_the_end(message.id, until))
        });
        self.after = page.last().map_or(self.until, |last| Some(last.id));
        page
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        clock::{Clock as _, ManualClock, Timestamp},
        queue::{Queue, fixtures::accept},
    };

    #[tokio::test]
    async fn a_walk_ends_at_what_was_there_when_it_began_however_fast_the_queue_grows() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let store = Queue::in_memory(Arc::new(clock.clone()), 1 << 20);
        let mut there = Vec::new();
        for _ in 0..5 {
            there.push(accept(&store, clock.wall()).await);
        }
        // The last one leaves while the walk is under way.
        let mut walk = store.walk().await.unwrap();
        store.delete(there.pop().unwrap()).await.unwrap();
        let mut seen = Vec::new();
        while !walk.is_over() {
            let page = walk.take(store.list(walk.after(), 2).await.unwrap());
            for message in page {
                seen.push(message.id);
                accept(&store, clock.wall()).await;
            }
        }
        assert_eq!(seen, there);
    }

    #[tokio::test]
    async fn a_walk_through_nothing_is_over() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let store = Queue::in_memory(Arc::new(clock.clone()), 1 << 20);
        let walk = store.walk().await.unwrap();
        accept(&store, clock.wall()).await;
        assert!(walk.is_over());
    }
}
