//! The budget: how many recipients the account may still write to, over any rolling 24 hours.
//!
//! Rule: pure; time comes in as a [`Moment`]. An event is aged by the boot clock while the boot that wrote it lasts and by
//! wall time afterwards, and a stamp in the future counts as fresh: stepping the clock neither lets the account overspend
//! nor blocks it. Source of the window: Gmail's sending limits (docs/gmail.md section 2). Must not know how events are
//! stored.

mod account;
pub(crate) mod ledgers;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::{self, Display, Formatter},
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use self::account::AccountKey;
pub(crate) use crate::addressed::MAIN;
use crate::clock::{BootId, Moment, Timestamp};

/// The length of the window in which Gmail counts.
pub(crate) const WINDOW: Duration = Duration::from_secs(24 * 3600);
/// Events that are kept apart. Gmail's largest limit of a day never makes more; an upstream without a limit does.
pub(crate) const EVENTS_MAX: usize = 10_000;
/// Beyond that, what was spent within this time becomes one event: at most one for each slice of the window, 1,441.
const SLICE: Duration = Duration::from_secs(60);

/// One reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    /// When it was made.
    pub(crate) at: Moment,
    /// How many recipients it covers.
    pub(crate) recipients: u32,
    /// Whose mail it was for, as a number that the queue gives; 0 where that is not known.
    pub(crate) origin: u64,
    /// By which account it was spent.
    pub(crate) account: AccountKey,
}

/// The events of one account in the order of their sequence numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    events: BTreeMap<u64, Event>,
    /// Recipients of all `events`, so that a claim does not add them up.
    total: u64,
    /// The same for each origin that is known.
    by_origin: HashMap<u64, u64>,
}

impl Ledger {
    /// Adds an event that was read from disk or just written there.
    pub(crate) fn insert(&mut self, sequence: u64, event: Event) {
        self.count(event.origin, event.recipients);
        if let Some(replaced) = self.events.insert(sequence, event) {
            self.discount(replaced.origin, replaced.recipients);
        }
    }

    fn count(&mut self, origin: u64, recipients: u32) {
        self.total += u64::from(recipients);
        if origin != 0 {
            *self.by_origin.entry(origin).or_insert(0) += u64::from(recipients);
        }
    }

    fn discount(&mut self, origin: u64, recipients: u32) {
        self.total -= u64::from(recipients);
        if let Some(total) = self.by_origin.get_mut(&origin) {
            *total = total.saturating_sub(u64::from(recipients));
            if *total == 0 {
                self.by_origin.remove(&origin);
            }
        }
    }

    /// The sequence number for the next event.
    #[must_use]
    pub(crate) fn next_sequence(&self) -> u64 {
        self.events.last_key_value().map_or(1, |(last, _)| last + 1)
    }

    /// The event of a reservation, while it is in the window.
    #[must_use]
    pub(crate) fn event(&self, sequence: u64) -> Option<Event> {
        self.events.get(&sequence).copied()
    }

    /// Moves an event to `at`. The upstream counts a recipient when it accepts it, which is after the
    /// reservation: from the final reply on the event must stay for the whole window.
    pub(crate) fn restamp(&mut self, sequence: u64, at: Moment) -> Option<Event> {
        let event = self.events.get_mut(&sequence)?;
        event.at = at;
        Some(*event)
    }

    /// Gives every event the wall time that its moment has by what is known of the clocks now.
    pub(crate) fn retime(&mut self, wall_of: impl Fn(Moment) -> Option<Timestamp>) {
        for event in self.events.values_mut() {
            event.at.wall = wall_of(event.at).unwrap_or(event.at.wall);
        }
    }

    /// Takes back `recipients` of a reservation because they were certainly not accepted.
    /// Returns what is left of the event; `None` when nothing is.
    pub(crate) fn refund(&mut self, sequence: u64, recipients: u32) -> Option<Event> {
        let event = self.events.get_mut(&sequence)?;
        let taken = event.recipients.min(recipients);
        event.recipients -= taken;
        let left = *event;
        self.discount(left.origin, taken);
        if left.recipients == 0 {
            self.events.remove(&sequence);
            return None;
        }
        Some(left)
    }

    /// Removes the oldest events while they have left the window, and returns their sequence numbers.
    /// Cheap enough for every claim.
    pub(crate) fn prune(&mut self, now: Moment) -> Vec<u64> {
        let mut expired = Vec::new();
        while let Some(oldest) = self.events.first_entry() {
            if !remaining(oldest.get(), now).is_zero() {
                break;
            }
            let (sequence, event) = oldest.remove_entry();
            self.discount(event.origin, event.recipients);
            expired.push(sequence);
        }
        expired
    }

    /// Puts together what was spent at nearly the same time when there are more than [`EVENTS_MAX`] events, and returns
    /// what changed. Each slice becomes the latest event of each origin, so that nothing leaves the window early; where that is
    /// not enough, of all together, whose origin is not known any more. A reservation that `is_open`, whose recipients
    /// are not settled, stays for itself. Rare: thousands of claims lie between two.
    pub(crate) fn compact(
        &mut self,
        now: Moment,
        is_open: impl Fn(u64) -> bool,
    ) -> BTreeMap<u64, Option<Event>> {
        let mut changed = BTreeMap::new();
        for by_origin in [true, false] {
            if self.events.len() > EVENTS_MAX {
                self.put_together(now, &is_open, by_origin, &mut changed);
            }
        }
        changed
    }

    fn put_together(
        &mut self,
        now: Moment,
        is_open: &dyn Fn(u64) -> bool,
        by_origin: bool,
        changed: &mut BTreeMap<u64, Option<Event>>,
    ) {
        let mut latest_first: Vec<(Duration, u64, u64)> = self
            .events()
            .filter(|(sequence, _)| !is_open(*sequence))
            .map(|(sequence, event)| (remaining(&event, now), sequence, event.origin))
            .collect();
        latest_first.sort_unstable_by(|a, b| b.cmp(a));
        let mut kept: HashMap<u64, (Duration, u64)> = HashMap::new();
        for (left, sequence, origin) in latest_first {
            let whose = if by_origin { origin } else { 0 };
            let into = match kept.get(&whose) {
                _ if left.is_zero() => None,
                Some((start, into)) if *start - left < SLICE => Some(*into),
                _ => {
                    kept.insert(whose, (left, sequence));
                    continue;
                }
            };
            let Some(gone) = self.events.remove(&sequence) else { continue };
            changed.insert(sequence, None);
            self.discount(gone.origin, gone.recipients);
            if let Some((into, event)) = into.and_then(|into| Some((into, self.event(into)?))) {
                let recipients = event.recipients.saturating_add(gone.recipients);
                let origin = if event.origin == gone.origin { event.origin } else { 0 };
                let both = Event { recipients, origin, ..event };
                self.insert(into, both);
                changed.insert(into, Some(both));
            }
        }
    }

    /// How many events there are.
    #[must_use]
    pub(crate) fn event_count(&self) -> usize {
        self.events.len()
    }

    /// The events in the order of their sequence numbers.
    pub(crate) fn events(&self) -> impl Iterator<Item = (u64, Event)> + '_ {
        self.events.iter().map(|(sequence, event)| (*sequence, *event))
    }

    /// Recipients spent in the 24 hours before `now`.
    #[must_use]
    pub(crate) fn spent(&self, now: Moment) -> u32 {
        u32::try_from(self.live_total(now)).unwrap_or(u32::MAX)
    }

    /// Recipients that may still be spent of `limit`. Never too many; too few only while an event that
    /// has left the window stands behind one that has not, and then never zero by mistake.
    #[must_use]
    pub(crate) fn room(&self, now: Moment, limit: impl Into<Limit>) -> u32 {
        let limit = limit.into();
        match limit.room_after(self.total) {
            0 => limit.room_after(self.live_total(now)),
            room => room,
        }
    }

    /// The same for one origin.
    #[must_use]
    pub(crate) fn room_of(&self, origin: u64, now: Moment, limit: Limit) -> u32 {
        let total = self.by_origin.get(&origin).copied().unwrap_or(0);
        match limit.room_after(total) {
            0 => limit
                .room_after(self.live_of(origin, now).map(|(_, number)| u64::from(number)).sum()),
            room => room,
        }
    }

    /// The same for one origin.
    #[must_use]
    pub(crate) fn frees_in_of(&self, origin: u64, now: Moment, limit: Limit) -> Option<Duration> {
        frees_in(self.live_of(origin, now).collect(), limit)
    }

    fn live_of(&self, origin: u64, now: Moment) -> impl Iterator<Item = (Duration, u32)> + '_ {
        let own = self.live(now).filter(move |(_, event)| event.origin == origin);
        own.map(|(remaining, event)| (remaining, event.recipients))
    }

    /// How long until at least one recipient may be spent of `limit`; zero when there is room now.
    /// `None` when there never will be, because the limit itself is zero.
    #[must_use]
    pub(crate) fn frees_in(&self, now: Moment, limit: impl Into<Limit>) -> Option<Duration> {
        frees_in(
            self.live(now).map(|(left, event)| (left, event.recipients)).collect(),
            limit.into(),
        )
    }

    fn live_total(&self, now: Moment) -> u64 {
        self.live(now).map(|(_, event)| u64::from(event.recipients)).sum()
    }

    /// The events in the window, and how long each stays there.
    pub(crate) fn live(&self, now: Moment) -> impl Iterator<Item = (Duration, &Event)> + '_ {
        let aged = self.events.values().map(move |event| (remaining(event, now), event));
        aged.filter(|(remaining, _)| !remaining.is_zero())
    }
}

/// How long until at least one more than these may be spent of `limit`.
fn frees_in(mut live: Vec<(Duration, u32)>, limit: Limit) -> Option<Duration> {
    let spent = live.iter().map(|(_, recipients)| u64::from(*recipients)).sum();
    live.sort_unstable();
    if limit.room_after(spent) > 0 { Some(Duration::ZERO) } else { limit.frees(spent, live) }
}

/// How long the event stays in the window.
fn remaining(event: &Event, now: Moment) -> Duration {
    let same_boot = event.at.boot == now.boot && event.at.boot != BootId(0);
    let age = if same_boot {
        Duration::from_millis(now.since_boot_ms.saturating_sub(event.at.since_boot_ms))
    } else {
        // A stamp in the future gives an age of zero: fresh.
        now.wall.since(event.at.wall)
    };
    WINDOW.saturating_sub(age)
}

/// How many recipients may be written to in any 24 hours. In JSON a number, or null where there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Limit(Option<u32>);

impl Limit {
    /// There is none; only this type says so, never a number.
    pub const NONE: Self = Self(None);

    /// So many, which may be none at all.
    #[must_use]
    pub const fn of(recipients: u32) -> Self {
        Self(Some(recipients))
    }

    /// How many; `None` where there is no limit.
    #[must_use]
    pub(crate) const fn recipients(self) -> Option<u32> {
        self.0
    }

    /// What is left of it without a reserve.
    #[must_use]
    pub(crate) fn less(self, reserve: u32) -> Self {
        Self(self.0.map(|limit| limit.saturating_sub(reserve)))
    }

    /// The limit of which a reserve was taken.
    #[must_use]
    pub(crate) fn with(self, reserve: u32) -> Self {
        Self(self.0.map(|limit| limit.saturating_add(reserve)))
    }

    /// When there is room again after `spent`, of which these come back, the first first; `None` when there never is.
    pub(crate) fn frees<T>(
        self,
        mut spent: u64,
        returns: impl IntoIterator<Item = (T, u32)>,
    ) -> Option<T> {
        let frees = |(_, recipients): &(T, u32)| {
            spent -= u64::from(*recipients);
            self.room_after(spent) > 0
        };
        returns.into_iter().find(frees).map(|(when, _)| when)
    }

    /// How many more may be written to after `spent`: any number that can be counted where there is no limit.
    #[must_use]
    pub(crate) fn room_after(self, spent: u64) -> u32 {
        let spent = u32::try_from(spent).unwrap_or(u32::MAX);
        self.0.map_or(u32::MAX, |limit| limit.saturating_sub(spent))
    }
}

impl Default for Limit {
    /// Of what nobody has configured nothing is spent.
    fn default() -> Self {
        Self::of(0)
    }
}

impl From<u32> for Limit {
    fn from(recipients: u32) -> Self {
        Self::of(recipients)
    }
}

impl Display for Limit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(limit) => limit.fmt(f),
            None => f.write_str("no limit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    const HOUR: Duration = Duration::from_secs(3600);

    fn spend(ledger: &mut Ledger, clock: &ManualClock, recipients: u32) -> u64 {
        let sequence = ledger.next_sequence();
        ledger.insert(
            sequence,
            Event { at: clock.now(), recipients, origin: 0, account: AccountKey::MAIN },
        );
        sequence
    }

    #[test]
    fn what_was_spent_comes_back_exactly_24_hours_later() {
        let clock = ManualClock::new(Timestamp(1_700_000_000_000));
        let mut ledger = Ledger::default();
        spend(&mut ledger, &clock, 300);
        clock.advance(6 * HOUR);
        spend(&mut ledger, &clock, 200);
        assert_eq!(ledger.room(clock.now(), 500), 0);
        assert_eq!(ledger.frees_in(clock.now(), 500), Some(18 * HOUR));
        clock.advance(18 * HOUR - Duration::from_millis(1));
        assert_eq!(ledger.room(clock.now(), 500), 0);
        clock.advance(Duration::from_millis(1));
        assert_eq!(ledger.room(clock.now(), 500), 300);
        assert_eq!(ledger.prune(clock.now()), [1]);
    }

    #[test]
    fn a_refund_gives_room_at_once_and_only_for_what_was_refunded() {
        let clock = ManualClock::new(Timestamp(0));
        let mut ledger = Ledger::default();
        let sequence = spend(&mut ledger, &clock, 100);
        assert_eq!(ledger.refund(sequence, 40).map(|event| event.recipients), Some(60));
        assert_eq!(ledger.spent(clock.now()), 60);
        assert_eq!(ledger.refund(sequence, 60), None);
        assert_eq!(ledger.spent(clock.now()), 0);
    }

    #[test]
    fn an_event_stays_for_the_whole_window_after_its_final_reply() {
        let clock = ManualClock::new(Timestamp(0));
        let mut ledger = Ledger::default();
        let sequence = spend(&mut ledger, &clock, 10);
        clock.advance(Duration::from_secs(600));
        assert!(ledger.restamp(sequence, clock.now()).is_some());
        clock.advance(24 * HOUR - Duration::from_millis(1));
        assert_eq!(ledger.room(clock.now(), 10), 0);
        clock.advance(Duration::from_millis(1));
        assert_eq!(ledger.room(clock.now(), 10), 10);
    }

    #[test]
    fn stepping_wall_time_within_a_boot_neither_frees_nor_blocks() {
        let clock = ManualClock::new(Timestamp(1_700_000_000_000));
        let mut ledger = Ledger::default();
        spend(&mut ledger, &clock, 500);
        clock.set_wall(clock.wall().after(30 * HOUR));
        assert_eq!(ledger.room(clock.now(), 500), 0, "a step forward must not free the budget");
        clock.set_wall(clock.wall().before(60 * HOUR));
        clock.advance(24 * HOUR);
        assert_eq!(ledger.room(clock.now(), 500), 500, "a step back must not block it");
    }

    #[test]
    fn after_a_reboot_with_a_dead_clock_the_budget_counts_as_spent() {
        let clock = ManualClock::new(Timestamp(1_700_000_000_000));
        let mut ledger = Ledger::default();
        spend(&mut ledger, &clock, 500);
        clock.reboot();
        clock.set_wall(Timestamp(0));
        assert_eq!(ledger.room(clock.now(), 500), 0);
        clock.set_wall(Timestamp(1_700_000_000_000).after(24 * HOUR));
        assert_eq!(ledger.room(clock.now(), 500), 500);
    }

    #[test]
    fn without_a_limit_there_is_room_whatever_was_spent_and_a_limit_set_later_knows_the_day() {
        let clock = ManualClock::new(Timestamp(1_700_000_000_000));
        let mut ledger = Ledger::default();
        spend(&mut ledger, &clock, u32::MAX);
        spend(&mut ledger, &clock, 400);
        assert_eq!(ledger.room(clock.now(), Limit::NONE), u32::MAX);
        assert_eq!(ledger.frees_in(clock.now(), Limit::NONE), Some(Duration::ZERO));
        assert_eq!(ledger.spent(clock.now()), u32::MAX, "more than can be told is told as much");
        assert_eq!(ledger.room(clock.now(), 500), 0);
        clock.advance(24 * HOUR);
        assert_eq!(ledger.prune(clock.now()).len(), 2);
        assert_eq!(ledger.room(clock.now(), 500), 500);
    }

    #[test]
    fn a_day_at_any_rate_makes_a_ledger_of_bounded_size_that_forgets_nothing_and_frees_nothing_early()
     {
        let clock = ManualClock::new(Timestamp(1_700_000_000_000));
        let mut ledger = Ledger::default();
        let mut stored = BTreeMap::new();
        let events = 200_000_u32;
        for _ in 0..events {
            clock.advance(24 * HOUR / events / 2);
            let sequence = spend(&mut ledger, &clock, 1);
            stored.insert(sequence, ledger.event(sequence));
            stored.extend(ledger.compact(clock.now(), |open| open == sequence));
            assert!(ledger.event_count() <= EVENTS_MAX);
        }
        assert_eq!(ledger.spent(clock.now()), events);
        stored.retain(|_, event: &mut Option<Event>| event.is_some());
        let kept: BTreeMap<u64, Option<Event>> =
            ledger.events().map(|(sequence, event)| (sequence, Some(event))).collect();
        assert_eq!(stored, kept, "what is stored is what is counted");
        clock.advance(12 * HOUR);
        assert!(ledger.spent(clock.now()) >= events - 1, "nothing is free before its 24 hours");
        clock.advance(6 * HOUR);
        let half = ledger.spent(clock.now());
        assert!((events / 2..events / 2 + 600).contains(&half), "late by a minute at most: {half}");
        clock.advance(6 * HOUR);
        assert_eq!(ledger.spent(clock.now()), 0);
    }

    #[test]
    fn a_limit_of_zero_never_frees() {
        assert_eq!(Ledger::default().frees_in(ManualClock::new(Timestamp(0)).now(), 0), None);
    }
}
