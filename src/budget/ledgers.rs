//! The ledgers of all accounts under one count of reservations.
//!
//! Rule: pure. What one account spends another never sees; a reservation's number says nothing of its account, so that
//! whoever settles it needs only the number. Must not know which accounts are configured: what was spent of one that is
//! gone still counts when it comes back within the day.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use super::{AccountKey, Event, Ledger};
use crate::clock::{Moment, Timestamp};

/// What every account has spent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledgers {
    by_account: BTreeMap<AccountKey, Ledger>,
}

impl Ledgers {
    /// What one account has spent.
    pub(crate) fn of(&self, account: AccountKey) -> &Ledger {
        static NOTHING: LazyLock<Ledger> = LazyLock::new(Ledger::default);
        self.by_account.get(&account).unwrap_or(&NOTHING)
    }

    /// Adds an event that was read from disk or just written there.
    pub(crate) fn insert(&mut self, sequence: u64, event: Event) {
        let others = self.by_account.iter_mut().filter(|(account, _)| **account != event.account);
        // The copy and the index may tell of the same reservation.
        for (_, ledger) in others {
            if ledger.event(sequence).is_some() {
                ledger.refund(sequence, u32::MAX);
            }
        }
        self.by_account.entry(event.account).or_default().insert(sequence, event);
    }

    /// The number of the next event.
    #[must_use]
    pub(crate) fn next_sequence(&self) -> u64 {
        self.by_account.values().map(Ledger::next_sequence).max().unwrap_or(1)
    }

    /// The event of a reservation, while it is in the window.
    #[must_use]
    pub(crate) fn event(&self, sequence: u64) -> Option<Event> {
        self.by_account.values().find_map(|ledger| ledger.event(sequence))
    }

    /// See [`Ledger::restamp`].
    pub(crate) fn restamp(&mut self, sequence: u64, at: Moment) -> Option<Event> {
        self.by_account.values_mut().find_map(|ledger| ledger.restamp(sequence, at))
    }

    /// See [`Ledger::retime`].
    pub(crate) fn retime(&mut self, wall_of: impl Fn(Moment) -> Option<Timestamp>) {
        self.by_account.values_mut().for_each(|ledger| ledger.retime(&wall_of));
    }

    /// See [`Ledger::refund`].
    pub(crate) fn refund(&mut self, sequence: u64, recipients: u32) -> Option<Event> {
        let mut owners = self.by_account.values_mut();
        let owner = owners.find(|ledger| ledger.event(sequence).is_some())?;
        owner.refund(sequence, recipients)
    }

    /// See [`Ledger::prune`].
    pub(crate) fn prune(&mut self, now: Moment) -> Vec<u64> {
        let expired = self.by_account.values_mut().flat_map(|ledger| ledger.prune(now)).collect();
        self.by_account.retain(|_, ledger| ledger.event_count() > 0);
        expired
    }

    /// See [`Ledger::compact`].
    pub(crate) fn compact(
        &mut self,
        now: Moment,
        is_open: impl Fn(u64) -> bool,
    ) -> BTreeMap<u64, Option<Event>> {
        self.by_account.values_mut().flat_map(|ledger| ledger.compact(now, &is_open)).collect()
    }

    /// How many events there are.
    #[must_use]
    pub(crate) fn event_count(&self) -> usize {
        self.by_account.values().map(Ledger::event_count).sum()
    }

    /// All events.
    pub(crate) fn events(&self) -> impl Iterator<Item = (u64, Event)> + '_ {
        self.by_account.values().flat_map(Ledger::events)
    }

    /// Accounts that have spent something.
    pub(crate) fn accounts(&self) -> BTreeSet<AccountKey> {
        self.by_account.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        budget::MAIN,
        clock::{Clock, ManualClock},
    };

    const SECOND: &str = "second";

    fn event(clock: &ManualClock, account: &str, recipients: u32) -> Event {
        Event { at: clock.now(), recipients, origin: 0, account: AccountKey::of(account) }
    }

    #[test]
    fn what_one_account_spends_another_does_not_see() {
        let clock = ManualClock::new(Timestamp(0));
        let mut ledgers = Ledgers::default();
        for (account, recipients) in [(MAIN, 3), (SECOND, 4), (MAIN, 5)] {
            ledgers.insert(ledgers.next_sequence(), event(&clock, account, recipients));
        }
        let spent = |ledgers: &Ledgers, name| ledgers.of(AccountKey::of(name)).spent(clock.now());
        assert_eq!((spent(&ledgers, MAIN), spent(&ledgers, SECOND)), (8, 4));
        assert_eq!(spent(&ledgers, "third"), 0);
        assert_eq!(ledgers.refund(2, 1).map(|left| left.recipients), Some(3));
        assert_eq!((spent(&ledgers, MAIN), spent(&ledgers, SECOND)), (8, 3));
        clock.advance(crate::budget::WINDOW);
        assert_eq!(ledgers.prune(clock.now()).len(), 3);
        assert_eq!(ledgers.accounts(), BTreeSet::new());
    }

    #[test]
    fn a_reservation_that_is_told_of_twice_counts_once() {
        let clock = ManualClock::new(Timestamp(0));
        let mut ledgers = Ledgers::default();
        ledgers.insert(1, event(&clock, MAIN, 3));
        ledgers.insert(1, event(&clock, SECOND, 3));
        assert_eq!(ledgers.events().collect::<Vec<_>>(), [(1, event(&clock, SECOND, 3))]);
    }
}
