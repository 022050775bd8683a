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

/// Adds an attempt of this account that ended at `at`, with what was said of the recipients at these places, in their order.
/// `by` has the accounts of the last ones that are known.
pub(super) fn note(
    (known, by): (&mut Vec<Attempt>, &mut Vec<Option<String>>),
    account: Option<&str>,
    at: Timestamp,
    said: &[(usize, String)],
) {
    let before = known.len();
    for (place, reply) in said {
        let reply = cut(reply);
        let of_this = known[before..].iter_mut().rev().take(ATTEMPTS_MAX);
        match of_this.into_iter().find(|attempt| attempt.reply == reply) {
            Some(attempt) => attempt.add(*place),
            None => known.push(Attempt { at, runs: vec![(*place, 1)], reply }),
        }
    }
    by.extend((before..known.len()).map(|_| account.map(str::to_owned)));
    known.drain(..known.len().saturating_sub(ATTEMPTS_MAX));
    by.drain(..by.len().saturating_sub(known.len()));
}

/// Each attempt with the account that has made it, where that is known; `None` of one is the main account.
pub(crate) fn with_accounts<'a>(
    known: &'a [Attempt],
    by: &'a [Option<String>],
) -> impl Iterator<Item = (&'a Attempt, Option<Option<&'a str>>)> {
    let older = known.len().saturating_sub(by.len());
    let by = by.iter().map(|one| Some(one.as_deref()));
    known.iter().zip(std::iter::repeat_n(None, older).chain(by))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_that_heard_the_same_are_one_entry_and_the_last_entries_stay() {
        let (mut known, mut by) = (Vec::new(), Vec::new());
        let said = [(0, "450 a"), (1, "450 a"), (2, "451 b"), (4, "450 a")];
        let said = said.map(|(place, reply)| (place, reply.to_owned()));
        note((&mut known, &mut by), None, Timestamp(1), &said);
        assert_eq!((known.len(), by.len()), (2, 2));
        assert_eq!(known[0].places().collect::<Vec<_>>(), [0, 1, 4]);
        for at in 2..40 {
            let said = [(0, format!("450 number {at}"))];
            note((&mut known, &mut by), None, Timestamp(at), &said);
        }
        assert_eq!((known.len(), by.len()), (ATTEMPTS_MAX, ATTEMPTS_MAX));
        assert_eq!(known.last().map(|attempt| attempt.at), Some(Timestamp(39)));
    }

    #[test]
    fn each_attempt_has_its_account_but_those_of_before_accounts_were_noted() {
        let attempt = |at| Attempt { at: Timestamp(at), runs: vec![(0, 1)], reply: "450 a".into() };
        let (mut known, mut by) = (vec![attempt(1), attempt(2)], Vec::new());
        for (at, account) in [(3, None), (4, Some("second"))] {
            note((&mut known, &mut by), account, Timestamp(at), &[(0, "450 b".into())]);
        }
        let found: Vec<_> =
            with_accounts(&known, &by).map(|(one, account)| (one.at.0, account)).collect();
        let expected = [(1, None), (2, None), (3, Some(None)), (4, Some(Some("second")))];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_thousand_different_replies_keep_the_record_small() {
        let said: Vec<_> =
            (0..1_000).map(|at| (at, format!("450 {at} {}", "x".repeat(900)))).collect();
        let mut known = Vec::new();
        note((&mut known, &mut Vec::new()), None, Timestamp(1), &said);
        let octets: usize = known.iter().map(|attempt| attempt.reply.len()).sum();
        assert!(known.len() == ATTEMPTS_MAX && octets < 8_000, "{octets}");
    }
}
