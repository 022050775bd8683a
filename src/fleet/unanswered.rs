//! The messages that are being written to the database, and those of which nobody has heard whether they were.
//!
//! Rule: none of them is mail of the queue. Whoever brings one hears in the end whether it was taken; what was not is removed,
//! several times, because a server may still be at the commit whose answer was lost. Must not know how.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Mutex,
};

use super::{books::Trouble, row_statements::Id};
use crate::sync;

/// How often a message is removed of which nobody knows whether it was written.
const REMOVED_TIMES: u32 = 12;
/// Messages of both kinds; more are refused. A host has far fewer clients at a time.
const MESSAGES_MAX: usize = 4_096;

/// Those of one start.
#[derive(Debug, Default)]
pub(super) struct Unanswered(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    under_way: HashSet<Id>,
    /// Their clients were told that they were not taken; with how often they were removed.
    undone: BTreeMap<Id, u32>,
}

impl Unanswered {
    /// A message begins to be written.
    pub(super) fn begin(&self, id: Id) -> Result<(), Trouble> {
        let mut known = sync::lock(&self.0);
        if known.undone.contains_key(&id) {
            let words =
                "a message of this id is being taken back; hand it over again in a few minutes";
            return Err(Trouble(words.into()));
        }
        if known.under_way.len() + known.undone.len() >= MESSAGES_MAX {
            let words = format!(
                "the database owes the answers for {MESSAGES_MAX} messages; hand it over again later"
            );
            return Err(Trouble(words));
        }
        known.under_way.insert(id);
        Ok(())
    }

    /// It is known whether it was written.
    pub(super) fn answered(&self, id: &Id) {
        sync::lock(&self.0).under_way.remove(id);
    }

    /// Nobody knows, and its client hears that it was not taken.
    pub(super) fn lost(&self, id: Id) {
        let mut known = sync::lock(&self.0);
        known.under_way.remove(&id);
        known.undone.insert(id, 0);
    }

    /// Whether it is one of these, whatever the database shows of it.
    pub(super) fn contains(&self, id: &Id) -> bool {
        let known = sync::lock(&self.0);
        known.under_way.contains(id) || known.undone.contains_key(id)
    }

    /// What is to be removed.
    pub(super) fn undone(&self) -> Vec<Id> {
        sync::lock(&self.0).undone.keys().copied().collect()
    }

    /// These were removed once more.
    pub(super) fn removed(&self, ids: &[Id]) {
        let mut known = sync::lock(&self.0);
        for id in ids {
            if let Some(times) = known.undone.get_mut(id) {
                *times += 1;
            }
        }
        known.undone.retain(|_, times| *times < REMOVED_TIMES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_and_what_was_taken_back_is_no_mail_until_that_is_certain() {
        let (unanswered, id) = (Unanswered::default(), [7; 16]);
        unanswered.begin(id).unwrap();
        assert!(unanswered.contains(&id) && unanswered.undone().is_empty());
        unanswered.answered(&id);
        assert!(!unanswered.contains(&id), "it is taken");
        unanswered.begin(id).unwrap();
        unanswered.lost(id);
        for _ in 0..REMOVED_TIMES {
            assert!(unanswered.contains(&id));
            assert!(unanswered.begin(id).unwrap_err().to_string().contains("taken back"));
            unanswered.removed(&unanswered.undone());
        }
        assert!(!unanswered.contains(&id), "no server is at it any more");
        unanswered.begin(id).unwrap();
    }

    #[test]
    fn a_database_that_answers_nobody_is_given_a_bounded_number_of_messages() {
        let unanswered = Unanswered::default();
        let id = |number: usize| (number as u128).to_be_bytes();
        for number in 0..MESSAGES_MAX {
            unanswered.begin(id(number)).unwrap();
        }
        let refused = unanswered.begin(id(MESSAGES_MAX)).unwrap_err().to_string();
        assert!(refused.contains("owes the answers"), "{refused}");
        unanswered.answered(&id(0));
        unanswered.begin(id(MESSAGES_MAX)).unwrap();
    }
}
