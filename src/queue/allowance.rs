//! The days that the upstream called full before our own count did, and what it turned out to allow of them.
//!
//! Rule: pure. One refusal may be one message's own, so a day is held to when a second one says the same; then what was
//! accepted before is all that may be counted on while the day lasts, and only what is accepted beyond it allows more.
//! Must not know how the ledger counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    budget::{Limit, WINDOW},
    clock::Timestamp,
};

/// How much is tried first beyond what is known to be accepted.
const STEP: u32 = 2;
/// Days that are remembered.
const DAYS_MAX: usize = 7;
/// For how long one says something of the account.
const DAYS_COUNT_FOR: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How many of them are no accident: then a limit is proposed.
const DAYS_FOR_A_LIMIT: usize = 3;
/// Above this, a proposed limit is a number that people would write.
const ROUND_ABOVE: u32 = 100;

/// The last such days, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EarlyDays(pub(super) Vec<EarlyDay>);

/// A day that the upstream called full while our own count had room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EarlyDay {
    /// When it said so first.
    pub(crate) since: Timestamp,
    /// When it said so last.
    pub(crate) told: Timestamp,
    /// The most recipients of ours in the 24 hours before it said so.
    pub(crate) counted: u32,
    /// How many may be spent in any 24 hours until the day is over.
    allowed: u32,
    /// How many recipients beyond what is known to be accepted may be tried: none while the refusal is the last word.
    step: u32,
    /// It was said twice without a message accepted in between, or twice at about the same count.
    confirmed: bool,
    /// And to messages that have nothing in common: it is not the affair of one sender.
    by_several: bool,
    /// A person has said that all is well.
    lifted: bool,
}

/// The upstream's word that the day is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Nothing was accepted since it said so before.
    pub(crate) again: bool,
    /// It said so to the same message, sender or recipient.
    pub(crate) alike: bool,
}

/// What may be spent until the day is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) recipients: u32,
    /// More than what was counted is being tried: nothing is kept for anybody until it is known how much there is.
    pub(crate) is_tried: bool,
}

/// A limit that would have kept to what the upstream allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProposedLimit {
    /// On how many days it said so.
    pub(crate) days: usize,
    /// The least that we had spent then.
    pub(crate) counted: u32,
    /// What we should spend at most; never none.
    pub(crate) recipients: u32,
}

impl EarlyDay {
    /// When it is over, if the upstream does not say so again.
    pub(crate) fn until(&self) -> Timestamp {
        self.told.after(WINDOW)
    }

    fn is_in_force(&self, now: Timestamp) -> bool {
        !self.lifted && now.since(self.told) < WINDOW
    }

    /// Whether it was the day that was full, and not what a message or a sender was told alone: who gets less than half of
    /// our limit that way may be odd himself, and mail of others must not wait for him.
    fn is_held_to(&self, limit: Limit) -> bool {
        match limit.recipients() {
            Some(limit) => self.confirmed && self.counted >= limit / 2,
            None => self.by_several,
        }
    }

    /// Whether it says something of a limit of ours. What was exceeded since was not the end.
    fn says_less_than(&self, limit: Limit) -> bool {
        self.step == 0
            && self.counted > 0
            && limit.room_after(self.counted.into()) > 0
            && (self.is_held_to(limit) || self.by_several)
    }

    /// Whether the same count is meant.
    fn is_at(&self, counted: u32) -> bool {
        self.counted.abs_diff(counted) <= self.counted.max(counted) / 10
    }

    /// What may be spent in any 24 hours while it lasts; `None` where it is not held to.
    pub(crate) fn allowed(&self, limit: Limit) -> Option<u32> {
        self.is_held_to(limit).then_some(self.allowed)
    }
}

impl EarlyDays {
    /// The upstream calls the day full when we have spent `counted` of our `limit`. Returns the day when it is a new one,
    /// and none when our own count says the same.
    pub(crate) fn told(
        &mut self,
        told: Told,
        counted: u32,
        limit: Limit,
        now: Timestamp,
    ) -> Option<EarlyDay> {
        if limit.room_after(counted.into()) == 0 {
            return None;
        }
        let goes_on = |day: &&mut EarlyDay| told.again || now.since(day.since) < WINDOW;
        if let Some(day) = self.0.last_mut().filter(goes_on) {
            let confirmed = day.confirmed || told.again || day.is_at(counted);
            // A day can stay full after our own recipients have left it: what it allowed is the most that it had.
            let counted = counted.max(day.counted);
            let by_several = day.by_several || (told.again && !told.alike);
            let (step, lifted, allowed) = (0, false, counted);
            let told = now;
            *day = EarlyDay { told, counted, allowed, step, confirmed, by_several, lifted, ..*day };
            return None;
        }
        if self.0.len() >= DAYS_MAX {
            self.0.remove(0);
        }
        let day = EarlyDay {
            since: now,
            told: now,
            counted,
            allowed: counted,
            step: 0,
            confirmed: false,
            by_several: false,
            lifted: false,
        };
        self.0.push(day);
        Some(day)
    }

    /// The upstream has accepted a message, and we have spent `counted` with it. What is beyond the allowance raises it:
    /// twice as far each time, so that a refusal which was one message's own soon stops nobody. `is_current`: it
    /// was sent after the refusal. Returns whether that changes something.
    pub(crate) fn accepted(&mut self, counted: u32, is_current: bool, now: Timestamp) -> bool {
        let Some(day) = self.0.last_mut().filter(|day| day.is_in_force(now)) else { return false };
        match day.step {
            0 if counted <= day.allowed => return false,
            0 if !is_current => {
                (day.counted, day.allowed) = (counted, counted);
                return true;
            }
            0 => day.step = STEP,
            _ if counted < day.allowed => return false,
            step => day.step = step.saturating_mul(2),
        }
        day.allowed = counted.saturating_add(day.step);
        true
    }

    /// A person says that all is well.
    pub(crate) fn lift(&mut self) {
        if let Some(day) = self.0.last_mut() {
            day.lifted = true;
        }
    }

    /// The day of which the upstream has allowed less than our `limit`, as far as is known.
    pub(crate) fn in_force(&self, limit: Limit, now: Timestamp) -> Option<&EarlyDay> {
        let is_less = |day: &&EarlyDay| limit.room_after(day.allowed.into()) > 0;
        self.0.last().filter(|day| day.is_in_force(now)).filter(is_less)
    }

    /// What may be spent now, where that is less than our `limit`. Never nothing: whatever leaves then was let through by
    /// a probe.
    pub(crate) fn allowance(&self, limit: Limit, now: Timestamp) -> Option<Allowance> {
        let day = self.in_force(limit, now)?;
        Some(Allowance { recipients: day.allowed(limit)?.max(1), is_tried: day.step > 0 })
    }

    /// The limit that such days speak for, once there are enough of them.
    pub(crate) fn proposed(&self, limit: Limit, now: Timestamp) -> Option<ProposedLimit> {
        let counts =
            |day: &&EarlyDay| now.since(day.since) < DAYS_COUNT_FOR && day.says_less_than(limit);
        let days: Vec<u32> = self.0.iter().filter(counts).map(|day| day.counted).collect();
        let counted = *days.iter().min().filter(|_| days.len() >= DAYS_FOR_A_LIMIT)?;
        let recipients = if counted > ROUND_ABOVE { counted / 10 * 10 } else { counted };
        Some(ProposedLimit { days: days.len(), counted, recipients })
    }
}

#[cfg(test)]
mod tests;
