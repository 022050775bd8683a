//! Gmail's view of an account: its daily limit, its logins, its open connections.
//!
//! Rule: the limit is counted in recipients over a rolling 24 hours, by a counter of its own: it and the relay's
//! ledger must agree without sharing anything. Time comes in as an argument. Must not know connections.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use super::script::Stage;
use crate::clock::Moment;

/// All accounts that were seen.
#[derive(Debug)]
pub(super) struct Accounts {
    accounts: Mutex<HashMap<String, Account>>,
    recipients_per_day: AtomicU32,
    logins_per_minute: u32,
}

#[derive(Debug, Default)]
struct Account {
    spending: Spending,
    limited: Option<Limited>,
    logins: VecDeque<Moment>,
    connections: u32,
    drop_next_mail: bool,
}

/// A lock-out that a trigger began.
#[derive(Clone, Copy, Debug)]
struct Limited {
    stage: Stage,
    since: Moment,
}

impl Accounts {
    /// None seen yet.
    pub(super) fn new(recipients_per_day: u32, logins_per_minute: u32) -> Self {
        let recipients_per_day = recipients_per_day.into();
        Self { accounts: Mutex::default(), recipients_per_day, logins_per_minute }
    }

    /// Notes a login attempt; `false` when there were too many in the last minute.
    pub(super) fn may_log_in(&self, name: &str, now: Moment) -> bool {
        self.with(name, |account| {
            account.logins.retain(|at| now.since(*at) < MINUTE);
            if account.logins.len() >= usize::try_from(self.logins_per_minute).unwrap_or(usize::MAX)
            {
                return false;
            }
            account.logins.push_back(now);
            true
        })
    }

    /// An authenticated connection begins.
    pub(super) fn connected(&self, name: &str) {
        self.with(name, |account| account.connections += 1);
    }

    /// An authenticated connection ends.
    pub(super) fn disconnected(&self, name: &str) {
        self.with(name, |account| account.connections = account.connections.saturating_sub(1));
    }

    /// Authenticated connections that are open.
    pub(super) fn connections(&self, name: &str) -> u32 {
        self.with(name, |account| account.connections)
    }

    /// Begins a lock-out at `stage`, for 24 hours.
    pub(super) fn limit(&self, name: &str, stage: Stage, now: Moment) {
        self.with(name, |account| account.limited = Some(Limited { stage, since: now }));
    }

    /// Whether a lock-out strikes at `stage`.
    pub(super) fn limited_at(&self, name: &str, stage: Stage, now: Moment) -> bool {
        self.with(name, |account| {
            account.limited = account.limited.filter(|limited| now.since(limited.since) < WINDOW);
            account.limited.is_some_and(|limited| limited.stage == stage)
        })
    }

    /// Whether the window has room for so many recipients.
    pub(super) fn has_room(&self, name: &str, recipients: u32, now: Moment) -> bool {
        let limit = self.recipients_per_day.load(Ordering::Relaxed);
        self.with(name, |account| account.spending.total(now).saturating_add(recipients) <= limit)
    }

    /// Spends, when there is room; the check and the spending are one step.
    pub(super) fn spend(&self, name: &str, recipients: u32, now: Moment) -> bool {
        let limit = self.recipients_per_day.load(Ordering::Relaxed);
        self.with(name, |account| {
            let fits = account.spending.total(now).saturating_add(recipients) <= limit;
            if fits {
                account.spending.add(recipients, now);
            }
            fits
        })
    }

    /// Recipients in the window.
    pub(super) fn spent(&self, name: &str, now: Moment) -> u32 {
        self.with(name, |account| account.spending.total(now))
    }

    /// Makes the account's next MAIL lose its connection.
    pub(super) fn drop_next_mail(&self, name: &str) {
        self.with(name, |account| account.drop_next_mail = true);
    }

    /// Whether this MAIL is to lose its connection; asked once.
    pub(super) fn drops_this_mail(&self, name: &str) -> bool {
        self.with(name, |account| std::mem::take(&mut account.drop_next_mail))
    }

    /// Has every account another limit from now on.
    pub(super) fn set_day(&self, recipients: u32) {
        self.recipients_per_day.store(recipients, Ordering::Relaxed);
    }

    /// Ends every lock-out and empties every window.
    pub(super) fn clear_quota(&self) {
        for account in self.lock().values_mut() {
            account.limited = None;
            account.spending = Spending::default();
        }
    }

    fn with<R>(&self, name: &str, act: impl FnOnce(&mut Account) -> R) -> R {
        let mut accounts = self.lock();
        if let Some(account) = accounts.get_mut(name) {
            return act(account);
        }
        if accounts.len() >= ACCOUNTS_MAX {
            // Only somebody who invents user names gets here; nothing of theirs is worth keeping.
            accounts.retain(|_, account| account.connections > 0);
        }
        act(accounts.entry(name.to_owned()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an account has written to in the window, with its sum, because adding up a day of a benchmark for each message
/// would take longer than the message. Oldest first, so only the front can have left the window.
#[derive(Debug, Default)]
struct Spending {
    events: VecDeque<(Moment, u32)>,
    sum: u32,
}

impl Spending {
    fn total(&mut self, now: Moment) -> u32 {
        while let Some((at, recipients)) = self.events.front().copied() {
            if now.since(at) < WINDOW {
                break;
            }
            self.events.pop_front();
            self.sum -= recipients;
        }
        self.sum
    }

    fn add(&mut self, recipients: u32, now: Moment) {
        // A sum that does not fit is beyond every limit; what is counted stays what is kept.
        let counted = recipients.min(u32::MAX - self.sum);
        self.events.push_back((now, counted));
        self.sum += counted;
    }
}

/// The length of the window in which Gmail counts.
const WINDOW: Duration = Duration::from_secs(24 * 3600);
/// Accounts remembered at once.
const ACCOUNTS_MAX: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock, Timestamp};

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn the_window_rolls_and_its_kept_sum_is_that_of_the_last_24_hours() {
        let clock = ManualClock::new(Timestamp(1_700_000_000_000));
        let mut spending = Spending::default();
        let mut spent = Vec::new();
        for hour in 0..80_u32 {
            let last_day = |spent: &[u32]| spent.iter().rev().take(24).sum::<u32>();
            assert_eq!(spending.total(clock.now()) + hour % 7, {
                spent.push(hour % 7);
                last_day(&spent)
            });
            spending.add(hour % 7, clock.now());
            assert_eq!(spending.total(clock.now()), last_day(&spent), "hour {hour}");
            clock.advance(HOUR);
        }
    }

    #[test]
    fn the_last_recipient_fits_and_one_more_does_not_until_a_day_has_passed() {
        let clock = ManualClock::new(Timestamp(0));
        let accounts = Accounts::new(500, 75);
        assert!(accounts.spend("a", 499, clock.now()));
        assert!(!accounts.spend("a", 2, clock.now()));
        assert!(accounts.spend("a", 1, clock.now()));
        assert!(!accounts.has_room("a", 1, clock.now()));
        assert!(accounts.has_room("b", 500, clock.now()));
        clock.advance(24 * HOUR);
        assert!(accounts.has_room("a", 500, clock.now()));
    }

    #[test]
    fn a_lock_out_lasts_a_day_and_strikes_at_its_own_stage() {
        let clock = ManualClock::new(Timestamp(0));
        let accounts = Accounts::new(500, 75);
        accounts.limit("a", Stage::Dot, clock.now());
        assert!(!accounts.limited_at("a", Stage::Data, clock.now()));
        clock.advance(24 * HOUR - Duration::from_millis(1));
        assert!(accounts.limited_at("a", Stage::Dot, clock.now()));
        clock.advance(Duration::from_millis(1));
        assert!(!accounts.limited_at("a", Stage::Dot, clock.now()));
    }
}
