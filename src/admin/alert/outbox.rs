//! The queue of one target, and when it is tried again.
//!
//! Rule: pure; bounded in number, octets and age. What fails is tried again with growing pauses and logged when that
//! changes, not each time. Must not know how an alert is sent.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::watch::Alert;
use crate::{clock::Timestamp, text};

/// Alerts that wait for a target which fails; the oldest make room.
pub(super) const WAITING_MAX: usize = 20;
/// Octets of a subject and of a remedy that wait: a receiver shows no more.
const TEXT_BYTES_MAX: usize = 2_000;
/// How long an alert may wait: what was a week ago is in the log.
const AGE_MAX: Duration = Duration::from_secs(7 * 86_400);
/// The first pause after a failure, doubled up to the longest.
const PAUSE: Duration = Duration::from_secs(60);
/// See [`PAUSE`].
const PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// What waits for one target, and how it went.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    pub(super) waiting: VecDeque<Alert>,
    /// Failures in a row.
    failures: u32,
    /// In time since boot: a pause is of this process.
    pub(super) not_before: Timestamp,
    pub(super) failure: Option<Failure>,
    /// When the last one was handed over.
    pub(super) last_sent: Option<Timestamp>,
}

/// Why a target is not reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Since when.
    pub(crate) since: Timestamp,
    /// The last attempt.
    pub(crate) at: Timestamp,
    /// What it ended with.
    pub(crate) what: String,
}

impl Outbox {
    /// What an earlier process has left.
    pub(super) fn with(waiting: impl IntoIterator<Item = Alert>) -> Self {
        let mut outbox = Self::default();
        waiting.into_iter().for_each(|alert| outbox.push(alert));
        outbox
    }

    pub(super) fn push(&mut self, mut alert: Alert) {
        for words in [&mut alert.host, &mut alert.subject, &mut alert.remedy] {
            *words = text::printable_within(words, TEXT_BYTES_MAX);
        }
        if self.waiting.len() == WAITING_MAX
            && let Some(dropped) = self.waiting.pop_front()
        {
            tracing::error!(
                subject = dropped.subject,
                "an alert is dropped: it could not be sent for a long time"
            );
        }
        self.waiting.push_back(alert);
    }

    /// The one that is to be sent, unless the last failure was a moment ago.
    pub(super) fn next(&mut self, up: Timestamp, now: Timestamp) -> Option<Alert> {
        let too_old = now.before(AGE_MAX);
        while self.waiting.front().is_some_and(|alert| alert.at < too_old)
            && let Some(old) = self.waiting.pop_front()
        {
            tracing::error!(subject = old.subject, "an alert is dropped: it is a week old");
        }
        self.waiting.front().filter(|_| up >= self.not_before).cloned()
    }

    /// It was handed over.
    pub(super) fn sent(&mut self, alert: &Alert, target: &str, now: Timestamp) {
        // Meanwhile it may have made room for newer ones.
        if self.waiting.front() == Some(alert) {
            self.waiting.pop_front();
        }
        self.failures = 0;
        self.last_sent = Some(now);
        if self.failure.take().is_some() {
            tracing::info!(receiver = target, "alerts are sent again");
        }
    }

    pub(super) fn failed(
        &mut self,
        what: String,
        shown: (&str, &str),
        up: Timestamp,
        now: Timestamp,
    ) {
        let pause = PAUSE.saturating_mul(1 << self.failures.min(6)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.not_before = up.after(pause);
        let ((name, way), waiting) = (shown, self.waiting.len());
        if self.failure.as_ref().is_none_or(|failure| failure.what != what) {
            tracing::error!(
                receiver = name,
                way,
                error = what,
                waiting,
                "an alert could not be sent; it will be tried again"
            );
        }
        let since = self.failure.as_ref().map_or(now, |failure| failure.since);
        self.failure = Some(Failure { since, at: now, what });
    }
}
