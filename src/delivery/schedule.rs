//! The schedule of the pool: blocks that hold everything, and the next due time.
//!
//! Rule: pure. A block ends by the boot clock, for it is an age; a due time and a pause end by wall time,
//! for they outlive reboots, and move with its steps. Must not know who waits or how.

use std::{collections::BTreeMap, time::Duration};

use super::{
    in_step::HasWallTimes,
    status::{Departure, DepartureReason},
};
use crate::clock::{Moment, Timestamp};

/// The longest wait for a store that has failed; the first is a second. Asking costs little, and mail is to go on soon when
/// a database is back that was away for long.
const STORE_WAIT_MAX: Duration = Duration::from_secs(15);
/// The wait when the budget is zero, which only a new configuration can end.
const NO_BUDGET_WAIT: Duration = Duration::from_secs(24 * 3600);
/// The budget is asked again at least this often, because a refund may free it early.
const BUDGET_WAIT_MAX: Duration = Duration::from_secs(60);

/// The waits of a pool.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// Until when, by milliseconds since boot, each reason holds everything.
    blocks: BTreeMap<u8, (DepartureReason, u64)>,
    due: Option<Timestamp>,
    /// Whether the present spell without budget has been reported.
    parked: bool,
    store_failures: u32,
    /// A block has ended by itself.
    freed: bool,
    /// When the budget frees, as the last claim said; its block is shorter.
    budget_frees: Option<Timestamp>,
}

impl HasWallTimes for Schedule {
    fn clock_was_set(&mut self, step_ms: i64) {
        for at in [&mut self.due, &mut self.budget_frees].into_iter().flatten() {
            *at = at.moved(step_ms);
        }
        // The time that a person has set for a message does not move: it may have come.
        self.freed = true;
    }
}

impl Schedule {
    /// Holds everything for `wait`.
    pub(super) fn block(&mut self, reason: DepartureReason, now: Moment, wait: Duration) {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        self.blocks.insert(reason as u8, (reason, now.since_boot_ms.saturating_add(wait)));
    }

    /// What held everything for this reason is over early.
    pub(super) fn unblock(&mut self, reason: DepartureReason) {
        self.freed |= self.blocks.remove(&(reason as u8)).is_some();
    }

    /// The budget is spent. Returns whether that is news. `but_for_a_reserve`: of a reserve something is
    /// left, so nothing is blocked, and whatever is accepted meanwhile is a reason to look.
    pub(super) fn exhausted(
        &mut self,
        now: Moment,
        frees_in: Option<Duration>,
        but_for_a_reserve: bool,
    ) -> bool {
        let wait = frees_in.unwrap_or(NO_BUDGET_WAIT);
        let asked_again_in = wait.min(BUDGET_WAIT_MAX);
        if but_for_a_reserve {
            self.due(Some(now.wall.after(asked_again_in)));
        } else {
            self.block(DepartureReason::Budget, now, asked_again_in);
        }
        self.budget_frees = Some(now.wall.after(wait));
        self.store_works();
        !std::mem::replace(&mut self.parked, true)
    }

    /// The store refused a claim. Returns whether that is news.
    pub(super) fn store_failed(&mut self, now: Moment) -> bool {
        let wait = Duration::from_secs(1 << self.store_failures.min(4)).min(STORE_WAIT_MAX);
        self.block(DepartureReason::Store, now, wait);
        self.store_failures = self.store_failures.saturating_add(1);
        self.store_failures == 1
    }

    /// Whether the store is given time to recover.
    pub(super) fn waits_for_the_store(&self, now: Moment) -> bool {
        self.waits_for(DepartureReason::Store, now)
    }

    /// Whether this holds everything.
    pub(super) fn waits_for(&self, reason: DepartureReason, now: Moment) -> bool {
        let block = self.blocks.get(&(reason as u8));
        block.is_some_and(|(_, until_ms)| *until_ms > now.since_boot_ms)
    }

    /// The store answers.
    pub(super) fn store_works(&mut self) {
        self.store_failures = 0;
        self.unblock(DepartureReason::Store);
    }

    /// A message was claimed: there is budget.
    pub(super) fn departed(&mut self) {
        self.parked = false;
        self.blocks.remove(&(DepartureReason::Budget as u8));
    }

    /// Something is due at `next`; the earliest time known counts.
    pub(super) fn due(&mut self, next: Option<Timestamp>) {
        self.due = match (self.due, next) {
            (Some(known), Some(next)) => Some(known.min(next)),
            (known, next) => known.or(next),
        };
    }

    /// Forgets every block: a person says that all is well.
    pub(super) fn clear(&mut self) {
        self.blocks.retain(|_, (reason, _)| *reason == DepartureReason::Budget);
    }

    /// The limits are others: the brakes that they set are asked anew.
    pub(super) fn reconsider(&mut self) {
        let braked = [
            DepartureReason::Budget,
            DepartureReason::Pace,
            DepartureReason::Logins,
            DepartureReason::Connections,
        ];
        self.blocks.retain(|_, (reason, _)| !braked.contains(reason));
        (self.parked, self.budget_frees, self.freed) = (false, None, true);
    }

    /// Whether the due time has come; it is then forgotten, for the next claim tells a new one.
    pub(super) fn take_due(&mut self, now: Moment) -> bool {
        let come = self.due.is_some_and(|due| due <= now.wall);
        if come {
            self.due = None;
        }
        come
    }

    /// How long nothing may leave, and why; `None` when something may leave now. `pause` is the end of
    /// the account's pause.
    pub(super) fn blocked(
        &mut self,
        now: Moment,
        pause: Option<Timestamp>,
    ) -> Option<(Duration, DepartureReason)> {
        let before = self.blocks.len();
        self.blocks.retain(|_, (_, until_ms)| *until_ms > now.since_boot_ms);
        self.freed |= self.blocks.len() < before;
        self.longest(now, pause)
    }

    /// Whether a block has ended since the last call, which is a reason to look for work: it may have ended
    /// before anybody saw it.
    pub(super) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// How long until the next due time.
    pub(super) fn due_in(&self, now: Moment) -> Option<Duration> {
        self.due.map(|due| due.since(now.wall))
    }

    /// When something can leave, for the status screen.
    pub(super) fn departure(&self, now: Moment, pause: Option<Timestamp>) -> Option<Departure> {
        if let Some((wait, why)) = self.longest(now, pause) {
            let known = self.budget_frees.filter(|_| why == DepartureReason::Budget);
            return Some(Departure { at: known.unwrap_or_else(|| now.wall.after(wait)), why });
        }
        if let Some(at) = self.budget_frees.filter(|_| self.parked) {
            return Some(Departure { at, why: DepartureReason::Budget });
        }
        self.due.map(|due| Departure { at: due.max(now.wall), why: DepartureReason::Due })
    }

    fn longest(
        &self,
        now: Moment,
        pause: Option<Timestamp>,
    ) -> Option<(Duration, DepartureReason)> {
        let blocks = self.blocks.values().map(|(reason, until_ms)| {
            (Duration::from_millis(until_ms.saturating_sub(now.since_boot_ms)), *reason)
        });
        let pause = pause.map(|until| (until.since(now.wall), DepartureReason::Pause));
        blocks.chain(pause).filter(|(wait, _)| !wait.is_zero()).max_by_key(|(wait, _)| *wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_longest_block_decides_and_ends_by_itself() {
        let clock = ManualClock::new(Timestamp(0));
        let mut schedule = Schedule::default();
        schedule.block(DepartureReason::Pace, clock.now(), SECOND);
        schedule.block(DepartureReason::Logins, clock.now(), 5 * SECOND);
        assert_eq!(
            schedule.blocked(clock.now(), None),
            Some((5 * SECOND, DepartureReason::Logins))
        );
        let pause = Some(clock.wall().after(9 * SECOND));
        assert_eq!(
            schedule.blocked(clock.now(), pause),
            Some((9 * SECOND, DepartureReason::Pause))
        );
        clock.advance(5 * SECOND);
        assert_eq!(schedule.blocked(clock.now(), None), None);
        assert!(schedule.take_freed() && !schedule.take_freed(), "its end is told once");
    }

    #[test]
    fn a_block_that_is_over_early_is_a_reason_to_look() {
        let now = ManualClock::new(Timestamp(0)).now();
        let mut schedule = Schedule::default();
        schedule.block(DepartureReason::Logins, now, 3_600 * SECOND);
        schedule.unblock(DepartureReason::Logins);
        assert_eq!(schedule.blocked(now, None), None);
        assert!(schedule.take_freed());
        schedule.unblock(DepartureReason::Logins);
        assert!(!schedule.take_freed());
    }

    #[test]
    fn a_spent_budget_is_asked_again_within_a_minute_though_it_frees_much_later() {
        let clock = ManualClock::new(Timestamp(0));
        let mut schedule = Schedule::default();
        schedule.exhausted(clock.now(), Some(3_600 * SECOND), false);
        let (wait, why) = schedule.blocked(clock.now(), None).unwrap();
        assert_eq!((wait, why), (BUDGET_WAIT_MAX, DepartureReason::Budget));
        let departure = schedule.departure(clock.now(), None).unwrap();
        assert_eq!(
            departure.at,
            clock.wall().after(3_600 * SECOND),
            "the screen tells the true time"
        );
    }

    #[test]
    fn a_spell_without_budget_is_reported_once() {
        let now = ManualClock::new(Timestamp(0)).now();
        let mut schedule = Schedule::default();
        assert!(schedule.exhausted(now, Some(SECOND), false));
        assert!(!schedule.exhausted(now, Some(SECOND), false));
        assert_eq!(
            schedule.departure(now, None).map(|departure| departure.why),
            Some(DepartureReason::Budget)
        );
        schedule.departed();
        assert!(schedule.exhausted(now, None, false), "a new spell after a departure");
    }

    #[test]
    fn while_urgent_mail_may_still_leave_nothing_is_blocked_but_the_budget_is_named() {
        let clock = ManualClock::new(Timestamp(0));
        let mut schedule = Schedule::default();
        assert!(schedule.exhausted(clock.now(), Some(3_600 * SECOND), true));
        assert_eq!(schedule.blocked(clock.now(), None), None);
        assert_eq!(
            schedule.due_in(clock.now()),
            Some(BUDGET_WAIT_MAX),
            "asked again within a minute"
        );
        let departure = schedule.departure(clock.now(), None).unwrap();
        assert_eq!((departure.why, departure.at.0), (DepartureReason::Budget, 3_600_000));
        schedule.departed();
        assert_eq!(
            schedule.departure(clock.now(), None).map(|next| next.why),
            Some(DepartureReason::Due)
        );
    }

    #[test]
    fn the_earliest_due_time_is_kept_until_it_has_come() {
        let clock = ManualClock::new(Timestamp(0));
        let mut schedule = Schedule::default();
        for next in [Some(Timestamp(5_000)), None, Some(Timestamp(9_000))] {
            schedule.due(next);
        }
        assert_eq!(schedule.due_in(clock.now()), Some(5 * SECOND));
        assert!(!schedule.take_due(clock.now()));
        clock.advance(5 * SECOND);
        assert!(schedule.take_due(clock.now()) && !schedule.take_due(clock.now()));
    }

    #[test]
    fn a_failed_store_is_asked_less_and_less_often() {
        let now = ManualClock::new(Timestamp(0)).now();
        let mut schedule = Schedule::default();
        let mut waits = Vec::new();
        for _ in 0..8 {
            schedule.store_failed(now);
            waits.extend(schedule.blocked(now, None).map(|(wait, _)| wait.as_secs()));
        }
        assert_eq!(waits, [1, 2, 4, 8, 15, 15, 15, 15]);
        schedule.store_works();
        assert_eq!(schedule.blocked(now, None), None);
        assert!(schedule.take_freed(), "mail leaves as soon as it works");
    }
}
