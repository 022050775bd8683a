//! The attempts that are kept with a message: when, for whom, and what was said, word for word.
//!
//! Rule: the last ones, in bounded number; what decides about a recipient is its state, never this. Must not know what a
//! reply means.

use serde::{Deserialize, Serialize};

use super::state::cut;
use crate::clock::Timestamp;

/// Attempts that are kept with a message. One in which recipients hear different replies counts once for each.
pub(crate) const ATTEMPTS_MAX: usize = 16;

/// One attempt, or the part of it in which the same was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// When it ended.
    pub(crate) at: Timestamp,
    /// The recipients that it was said of: the place of the first, and how many follow each other.
    pub(crate) runs: Vec<(usize, usize)>,
    /// What was said, as much of it as is kept of any reply.
    pub(crate) reply: String,
}

impl Attempt {
    /// The places of its recipients.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        self.runs.iter().flat_map(|(first, number)| *first..first.saturating_add(*number))
    }

    fn add(&mut self, place: usize) {
        match self.runs.last_mut() {
            Some((first, number)) if *first + *number == place => *number += 1,
            _ => self.runs.push((place, 1)),
        }
    }
}

/// Adds an attempt that ended at `at`, with what was said of the recipients at these places, in their order.
pub(super) fn note(known: &mut Vec<Attempt>, at: Timestamp, said: &[(usize, String)]) {
    let before = known.len();
    for (place, reply) in said {
        let reply = cut(reply);
        let of_this = known[before..].iter_mut().rev().take(ATTEMPTS_MAX);
        match of_this.into_iter().find(|attempt| attempt.reply == reply) {
            Some(attempt) => attempt.add(*place),
            None => known.push(Attempt { at, runs: vec![(*place, 1)], reply }),
        }
    }
    known.drain(..known.len().saturating_sub(ATTEMPTS_MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_that_heard_the_same_are_one_entry_and_the_last_entries_stay() {
        let mut known = Vec::new();
        let said = [(0, "450 a"), (1, "450 a"), (2, "451 b"), (4, "450 a")];
        let said = said.map(|(place, reply)| (place, reply.to_owned()));
        note(&mut known, Timestamp(1), &said);
        assert_eq!(known.len(), 2);
        assert_eq!(known[0].places().collect::<Vec<_>>(), [0, 1, 4]);
        for at in 2..40 {
            note(&mut known, Timestamp(at), &[(0, format!("450 number {at}"))]);
        }
        assert_eq!(known.len(), ATTEMPTS_MAX);
        assert_eq!(known.last().map(|attempt| attempt.at), Some(Timestamp(39)));
    }

    #[test]
    fn a_thousand_different_replies_keep_the_record_small() {
        let said: Vec<_> =
            (0..1_000).map(|at| (at, format!("450 {at} {}", "x".repeat(900)))).collect();
        let mut known = Vec::new();
        note(&mut known, Timestamp(1), &said);
        let octets: usize = known.iter().map(|attempt| attempt.reply.len()).sum();
        assert!(known.len() == ATTEMPTS_MAX && octets < 8_000, "{octets}");
    }
}
