//! Finds messages that have been waiting for long.
//!
//! Rule: bounded: every few minutes a stretch of the queue, in the order of acceptance, from where the last walk
//! ended. Must not know who is told.

use std::time::Duration;

use super::collect;
use crate::{
    clock::Timestamp,
    queue::{LIST_LENGTH_MAX, Queue, QueueError, QueuedMessage, id::QueueId},
};

/// How often it walks.
const WALK: Duration = Duration::from_secs(5 * 60);
/// Pages of one walk: ten thousand messages that wait are seen in five minutes, more of them later.
const PAGES_MAX: usize = 10;
/// Messages that one walk finds; the next one finds the others.
const FOUND_MAX: usize = 200;

/// Where the walks are.
#[derive(Debug, Default)]
pub(super) struct Delays {
    next_walk: Timestamp,
    after: Option<QueueId>,
}

impl Delays {
    /// The wall clock was set forward by `step_ms` (back, when negative).
    pub(super) fn clock_was_set(&mut self, step_ms: i64) {
        self.next_walk = self.next_walk.moved(step_ms);
    }

    /// Messages that have waited for `patience` and of which somebody may want to hear; none between two walks.
    pub(super) async fn find(
        &mut self,
        store: &Queue,
        now: Timestamp,
        patience: Duration,
    ) -> Result<Vec<QueuedMessage>, QueueError> {
        // A next walk that is far ahead was planned by a clock that was wrong.
        if now < self.next_walk && self.next_walk <= now.after(WALK) {
            return Ok(Vec::new());
        }
        self.next_walk = now.after(WALK);
        let (latest, mut found) = (now.before(patience), Vec::new());
        for _ in 0..PAGES_MAX {
            let page = store.list(self.after, LIST_LENGTH_MAX).await?;
            for message in &page {
                if message.record.accepted_at > latest {
                    self.after = None;
                    return Ok(found);
                }
                if found.len() == FOUND_MAX {
                    return Ok(found);
                }
                self.after = Some(message.id);
                if message.record.lifetime_from <= latest && !collect::delayed(message).is_empty() {
                    found.push(message.clone());
                }
            }
            if page.is_empty() {
                self.after = None;
                break;
            }
        }
        Ok(found)
    }
}
