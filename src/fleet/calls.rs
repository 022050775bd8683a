//! The tally of what a host has asked of the database, and how long the answers took: for monitors.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{clock::Stopwatch, sync::lock};

/// The upper ends of the spans that are told apart, in milliseconds. A database nearby answers in the first two; the last
/// one is the limit of a call, so that what is beyond has failed.
pub(crate) const SPANS_MS: [u64; 7] = [1, 5, 25, 100, 500, 2_500, 10_000];

/// What was asked so far.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    within: [AtomicU64; SPANS_MS.len()],
    answered: AtomicU64,
    failed: AtomicU64,
    took_us: AtomicU64,
    last: Mutex<Option<Stopwatch>>,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallCounts {
    /// Answers that took at most as long as each of [`SPANS_MS`].
    pub(crate) within: [u64; SPANS_MS.len()],
    /// All answers.
    pub(crate) answered: u64,
    /// What was asked and not answered.
    pub(crate) failed: u64,
    /// All answers together, in microseconds.
    pub(crate) took_us: u64,
    /// Since the last answer.
    pub(crate) since_answer: Option<Duration>,
}

/// A call that is under way. Dropped without an answer it has failed.
#[cfg(any(feature = "fleet", test))]
#[derive(Debug)]
pub(super) struct Call<'a> {
    calls: &'a Calls,
    watch: Stopwatch,
    is_answered: bool,
}

impl Calls {
    #[cfg(any(feature = "fleet", test))]
    pub(super) fn begin(&self) -> Call<'_> {
        Call { calls: self, watch: Stopwatch::start(), is_answered: false }
    }

    /// How many there were.
    pub(crate) fn counts(&self) -> CallCounts {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut within = [0; SPANS_MS.len()];
        for (count, counter) in within.iter_mut().zip(&self.within) {
            *count = number(counter);
        }
        CallCounts {
            within,
            answered: number(&self.answered),
            failed: number(&self.failed),
            took_us: number(&self.took_us),
            since_answer: lock(&self.last).as_ref().map(Stopwatch::elapsed),
        }
    }

    #[cfg(any(feature = "fleet", test))]
    fn ended(&self, took: Duration, is_answered: bool) {
        let add = |counter: &AtomicU64, number| counter.fetch_add(number, Ordering::Relaxed);
        if !is_answered {
            add(&self.failed, 1);
            return;
        }
        for (end, counter) in SPANS_MS.iter().zip(&self.within) {
            add(counter, u64::from(took <= Duration::from_millis(*end)));
        }
        add(&self.answered, 1);
        add(&self.took_us, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        *lock(&self.last) = Some(Stopwatch::start());
    }
}

#[cfg(any(feature = "fleet", test))]
impl Call<'_> {
    /// All that was asked is answered.
    pub(super) fn answered(mut self) {
        self.is_answered = true;
    }
}

#[cfg(any(feature = "fleet", test))]
impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.calls.ended(self.watch.elapsed(), self.is_answered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_in_every_span_that_it_fits_and_what_is_dropped_has_failed() {
        let calls = Calls::default();
        calls.ended(Duration::from_millis(20), true);
        calls.ended(Duration::from_millis(700), true);
        calls.ended(Duration::from_millis(1), false);
        drop(calls.begin());
        calls.begin().answered();
        let counts = calls.counts();
        assert_eq!((counts.answered, counts.failed), (3, 2));
        assert_eq!(
            (counts.within[2] - counts.within[1], counts.within[5] - counts.within[4]),
            (1, 1)
        );
        assert!(counts.took_us >= 720_000 && counts.since_answer.is_some(), "{counts:?}");
    }
}
