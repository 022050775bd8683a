//! Days that the upstream called full before our own count did, as the API tells of them and as they are said.
//!
//! Rule: pure. The words are here because every place that shows them says the same.

use serde::{Deserialize, Serialize};

use crate::{
    budget::Limit,
    clock::Timestamp,
    quantities::{count, when},
    queue::allowance::{EarlyDay, ProposedLimit},
};

/// The last such day, while less is sent because of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Early {
    /// When the upstream said so first.
    since: Timestamp,
    /// The recipients that it had accepted of us in the 24 hours before.
    counted: u32,
    /// What is spent at most in any 24 hours for now: the same, or more once more was accepted; nothing special while
    /// it may be one message's own affair.
    allowed: Option<u32>,
    /// Until when.
    until: Timestamp,
}

/// A limit that would have kept to what the upstream allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposed {
    /// On how many of the last days it called the day full too early.
    days: usize,
    /// The least that it had accepted of us on one of them.
    counted: u32,
    /// For `budget.recipients_per_day`.
    recipients_per_day: u32,
}

impl Early {
    /// What is told of a day, beside our own limit.
    pub(super) fn of(day: &EarlyDay, limit: Limit) -> Self {
        let EarlyDay { since, counted, .. } = *day;
        Self { since, counted, allowed: day.allowed(limit), until: day.until() }
    }

    /// What it allowed, and what is sent until when; `limit` is what the relay would have sent.
    pub(crate) fn words(&self, limit: Limit, now: Timestamp) -> String {
        let (since, until) = (when(self.since, now), when(self.until, now));
        let counted = count(u64::from(self.counted), "recipient");
        let of = limit.recipients().map_or_else(String::new, |limit| format!(" of {limit}"));
        let held = self.allowed.map_or_else(String::new, |allowed| {
            format!("; until {until} at most {allowed} are sent in any 24 hours")
        });
        format!("the upstream called the day full at {since}, after {counted}{of}{held}")
    }
}

impl Proposed {
    /// The limit as it would be written: with what is left to the owner.
    pub(super) fn of(limit: ProposedLimit, owner_reserve: u32) -> Self {
        let ProposedLimit { days, counted, recipients } = limit;
        Self { days, counted, recipients_per_day: recipients.saturating_add(owner_reserve) }
    }

    /// What was seen.
    pub(crate) fn seen(&self) -> String {
        let (days, counted) = (self.days, count(u64::from(self.counted), "recipient"));
        format!(
            "on {days} of the last 30 days the upstream called the day full before this relay did, once after {counted}"
        )
    }

    /// What to do about it.
    pub(crate) fn remedy(&self, owner_reserve: u32) -> String {
        let limit = self.recipients_per_day;
        let kept = match owner_reserve {
            0 => String::new(),
            reserve => format!(" ({reserve} of them are left for you)"),
        };
        format!(
            "Set recipients_per_day = {limit} in [budget]{kept}, or find out what else uses the account"
        )
    }
}
