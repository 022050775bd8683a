//! The messages whose attempts were interrupted by their own queue, with how often in a row.
//!
//! Rule: pure, and bounded; what is forgotten here has merely all of its chances again. Must not know what was wrong with the queue.

use std::collections::BTreeMap;

use crate::queue::id::QueueId;

/// Attempts in a row after which a message is still as if it had not been begun. A database that goes away and comes back
/// takes one or two; when all are used up, after some 15 s of the waits in `schedule.rs`, the message itself may be what
/// cannot be read, and must not stand before all others.
const CHANCES: u32 = 4;
/// Messages that are remembered. Each leaves with its next attempt that is not interrupted.
const REMEMBERED_MAX: usize = 1_000;

/// The messages, each with its interruptions since an attempt came to an end of its own.
#[derive(Debug, Default)]
pub(super) struct Interrupted(BTreeMap<QueueId, u32>);

impl Interrupted {
    /// An attempt of a message was interrupted. Returns whether that counts as none.
    pub(super) fn once_more(&mut self, id: QueueId) -> bool {
        if self.0.len() >= REMEMBERED_MAX && !self.0.contains_key(&id) {
            // The oldest message has the smallest id.
            self.0.pop_first();
        }
        let times = self.0.entry(id).or_default();
        *times = times.saturating_add(1);
        *times <= CHANCES
    }

    /// An attempt of a message has come to an end of its own.
    pub(super) fn is_over(&mut self, id: QueueId) {
        self.0.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> QueueId {
        QueueId::from_bytes((number as u128).to_be_bytes())
    }

    #[test]
    fn a_message_has_its_chances_in_a_row_and_all_of_them_again_after_an_attempt_of_its_own() {
        let mut interrupted = Interrupted::default();
        for _ in 0..2 {
            for _ in 0..CHANCES {
                assert!(interrupted.once_more(id(1)));
            }
            assert!(!interrupted.once_more(id(1)) && !interrupted.once_more(id(1)));
            assert!(interrupted.once_more(id(2)), "each has its own");
            interrupted.is_over(id(1));
        }
    }

    #[test]
    fn however_many_are_interrupted_a_bounded_number_is_remembered() {
        let mut interrupted = Interrupted::default();
        for number in 0..=2 * REMEMBERED_MAX {
            assert!(interrupted.once_more(id(number)));
        }
        assert_eq!(interrupted.0.len(), REMEMBERED_MAX);
    }
}
