//! The short-term brakes: recipients a minute, and logins in any hour.
//!
//! Rule: these only smooth; the daily budget is the ledger's, which
//! governor cannot be: it forgets with the process and knows no refunds.
//! Must not know what is sent or who waits.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock as GovernorClock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};

use crate::{
    clock::{BootClock, Clock, Timestamp},
    sync,
};

/// The window of the login cap.
const LOGIN_WINDOW: Duration = Duration::from_secs(3_600);

/// Smooths recipients over a minute. A burst of one minute's worth goes at once.
#[derive(Debug)]
pub(super) struct Pacer {
    clock: BootClock,
    limiter: RwLock<Option<Limiter>>,
    /// Recipients already on their way that the limiter has not been charged for yet.
    debt: Mutex<u32>,
}

type State = RateLimiter<NotKeyed, InMemoryState, BootClock, NoOpMiddleware<Duration>>;

#[derive(Debug)]
struct Limiter {
    state: State,
    burst: NonZeroU32,
    clock: BootClock,
}

impl Limiter {
    fn new(per_minute: u32, clock: &BootClock) -> Option<Self> {
        NonZeroU32::new(per_minute).map(|burst| {
            let state = RateLimiter::direct_with_clock(Quota::per_minute(burst), clock.clone());
            Self { state, burst, clock: clock.clone() }
        })
    }
}

impl Pacer {
    /// At most `per_minute` recipients a minute on average; 0 does not pace.
    pub(super) fn new(per_minute: u32, clock: Arc<dyn Clock>) -> Self {
        let clock = BootClock::new(clock);
        let limiter = RwLock::new(Limiter::new(per_minute, &clock));
        Self { clock, limiter, debt: Mutex::new(0) }
    }

    /// From now on at most `per_minute`, of which a minute's worth may go at once.
    pub(super) fn set(&self, per_minute: u32) {
        let mut limiter = sync::write(&self.limiter);
        if limiter.as_ref().map_or(0, |limiter| limiter.burst.get()) != per_minute {
            *limiter = Limiter::new(per_minute, &self.clock);
        }
    }

    /// Charges for recipients whose transaction begins. They may exceed a minute's worth: the next
    /// transaction then waits the longer.
    pub(super) fn spend(&self, recipients: u32) {
        if sync::read(&self.limiter).is_some() {
            let mut debt = sync::lock(&self.debt);
            *debt = debt.saturating_add(recipients);
        }
    }

    /// How long until the next transaction may begin; zero when it may now.
    pub(super) fn wait(&self) -> Duration {
        let limiter = sync::read(&self.limiter);
        let Some(limiter) = limiter.as_ref() else { return Duration::ZERO };
        let mut debt = sync::lock(&self.debt);
        while let Some(owed) = NonZeroU32::new(*debt) {
            let share = owed.min(limiter.burst);
            match limiter.state.check_n(share) {
                Ok(Ok(())) => *debt -= share.get(),
                Ok(Err(not_until)) => return not_until.wait_time_from(limiter.clock.now()),
                // A share never exceeds the burst, so this does not happen; forgiving it is harmless.
                Err(_) => *debt = 0,
            }
        }
        Duration::ZERO
    }
}

/// 0 counts as 1: nothing could ever be sent otherwise.
fn logins(per_hour: u32) -> usize {
    usize::try_from(per_hour.max(1)).unwrap_or(usize::MAX)
}

/// Caps logins in any hour: Gmail answers many of them with `454 4.7.0` (docs/gmail.md section 2).
#[derive(Debug)]
pub(super) struct Logins {
    per_hour: AtomicUsize,
    clock: Arc<dyn Clock>,
    /// When each of the last ones began, in milliseconds since boot: before it, when negative.
    taken: Mutex<VecDeque<i64>>,
    /// When those began that were spared although they were scarce.
    spared: Mutex<VecDeque<i64>>,
}

impl Logins {
    /// At most `per_hour` logins in any hour.
    pub(super) fn new(per_hour: u32, clock: Arc<dyn Clock>) -> Self {
        let per_hour = AtomicUsize::new(logins(per_hour));
        Self { per_hour, clock, taken: Mutex::default(), spared: Mutex::default() }
    }

    /// From now on at most `per_hour`; those of the last hour count.
    pub(super) fn set(&self, per_hour: u32) {
        self.per_hour.store(logins(per_hour), Ordering::Relaxed);
    }

    fn per_hour(&self) -> usize {
        self.per_hour.load(Ordering::Relaxed)
    }

    /// How long until a login may happen; zero when it may now.
    pub(super) fn wait(&self) -> Duration {
        let now = self.now();
        let taken = self.live(now);
        match taken.front() {
            Some(first) if taken.len() >= self.per_hour() => {
                LOGIN_WINDOW.saturating_sub(age(*first, now))
            }
            _ => Duration::ZERO,
        }
    }

    /// Whether more than half of the hour's logins are left: only these are spent on second tries, and on messages
    /// that have cost connections before.
    pub(super) fn is_plentiful(&self) -> bool {
        2 * self.live(self.now()).len() < self.per_hour()
    }

    /// Whether a message that has waited for long may cost a login although they are scarce: a quarter of the hour's
    /// are for such, so that neither they nor the others wait for ever.
    pub(super) fn spare_one(&self) -> bool {
        let now = self.now();
        let mut spared = sync::lock(&self.spared);
        spared.retain(|at| age(*at, now) < LOGIN_WINDOW);
        let may = spared.len() < (self.per_hour() / 4).max(1);
        if may {
            spared.push_back(now);
        }
        may
    }

    /// Notes that one begins.
    pub(super) fn take(&self) {
        let now = self.now();
        let mut taken = self.live(now);
        taken.push_back(now);
        while taken.len() > self.per_hour() {
            taken.pop_front();
        }
    }

    /// The last one did not come to it after all.
    pub(super) fn untake(&self) {
        self.lock().pop_back();
    }

    /// Those of the last hour, to be stored: a restart must not forget them.
    pub(super) fn stamps(&self) -> Vec<Timestamp> {
        let (now, wall) = (self.now(), self.clock.wall());
        self.live(now).iter().map(|at| wall.before(age(*at, now))).collect()
    }

    /// Continues with what was stored. Their ages are taken from wall time once, and one from the future is of now.
    pub(super) fn restore(&self, stamps: &[Timestamp]) {
        let (now, wall) = (self.now(), self.clock.wall());
        let newest = stamps.iter().rev().take(self.per_hour()).rev();
        let began = |stamp: &Timestamp| {
            let age = wall.since(*stamp).min(LOGIN_WINDOW);
            now.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
        };
        *self.lock() = newest.map(began).collect();
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock.now().since_boot_ms).unwrap_or(i64::MAX)
    }

    /// Without those that are over an hour old.
    fn live(&self, now: i64) -> MutexGuard<'_, VecDeque<i64>> {
        let mut taken = self.lock();
        while taken.front().is_some_and(|first| age(*first, now) >= LOGIN_WINDOW) {
            taken.pop_front();
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<i64>> {
        sync::lock(&self.taken)
    }
}

/// By the boot clock, which never jumps.
fn age(began: i64, now: i64) -> Duration {
    Duration::from_millis(u64::try_from(now.saturating_sub(began)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn manual() -> (ManualClock, Arc<dyn Clock>) {
        let clock = ManualClock::new(Timestamp(0));
        (clock.clone(), Arc::new(clock))
    }

    #[test]
    fn a_minutes_worth_goes_at_once_and_the_rest_evenly() {
        let (manual, clock) = manual();
        let pacer = Pacer::new(20, clock);
        for _ in 0..20 {
            assert_eq!(pacer.wait(), Duration::ZERO);
            pacer.spend(1);
        }
        assert_eq!(pacer.wait(), Duration::ZERO, "the twentieth is paid from the burst");
        pacer.spend(1);
        assert_eq!(pacer.wait(), Duration::from_secs(3));
        manual.advance(Duration::from_secs(3));
        assert_eq!(pacer.wait(), Duration::ZERO);
    }

    #[test]
    fn a_large_transaction_is_paid_for_afterwards() {
        let (manual, clock) = manual();
        let pacer = Pacer::new(20, clock);
        pacer.spend(100);
        let mut waited = Duration::ZERO;
        while !pacer.wait().is_zero() {
            let wait = pacer.wait();
            manual.advance(wait);
            waited += wait;
        }
        assert_eq!(
            waited,
            Duration::from_secs(240),
            "100 recipients less the burst of 20, at 3 s each"
        );
    }

    #[test]
    fn without_a_pace_nothing_waits() {
        let pacer = Pacer::new(0, manual().1);
        pacer.spend(10_000);
        assert_eq!(pacer.wait(), Duration::ZERO);
    }

    #[test]
    fn the_cap_on_logins_rolls_over_an_hour() {
        let (manual, clock) = manual();
        let logins = Logins::new(2, clock);
        logins.take();
        manual.advance(Duration::from_secs(600));
        logins.take();
        assert_eq!(logins.wait(), Duration::from_secs(3_000));
        manual.advance(Duration::from_secs(3_000));
        assert_eq!(logins.wait(), Duration::ZERO);
        logins.take();
        assert_eq!(logins.wait(), Duration::from_secs(600));
    }

    #[test]
    fn a_restart_and_a_reboot_remember_the_logins_of_the_last_hour() {
        let (manual, clock) = manual();
        let logins = Logins::new(2, Arc::clone(&clock));
        logins.take();
        manual.advance(Duration::from_secs(600));
        logins.take();
        let stamps = logins.stamps();
        manual.reboot();
        manual.advance(Duration::from_secs(60));
        let restarted = Logins::new(2, Arc::clone(&clock));
        restarted.restore(&stamps);
        assert_eq!(restarted.wait(), Duration::from_secs(2_940));
        assert_eq!(restarted.stamps(), stamps);
        let fewer = Logins::new(1, Arc::clone(&clock));
        fewer.restore(&stamps);
        assert_eq!(
            fewer.wait(),
            Duration::from_secs(3_540),
            "the newest counts under a smaller cap"
        );
    }

    #[test]
    fn a_login_that_was_stored_by_a_clock_that_was_ahead_counts_for_an_hour_and_no_longer() {
        let (manual, clock) = manual();
        manual.set_wall(Timestamp(1_000_000_000_000).after(Duration::from_secs(24 * 3_600)));
        let logins = Logins::new(1, Arc::clone(&clock));
        logins.take();
        let stamps = logins.stamps();
        manual.set_wall(Timestamp(1_000_000_000_000));
        assert_eq!(logins.wait(), LOGIN_WINDOW, "a step changes nothing");
        let restarted = Logins::new(20, Arc::clone(&clock));
        restarted.restore(&stamps);
        // Ten logins an hour from now on: half of what is allowed.
        for number in 0..100 {
            manual.advance(Duration::from_secs(360));
            assert_eq!(restarted.wait(), Duration::ZERO, "login {number}");
            restarted.take();
        }
        assert_eq!(logins.wait(), Duration::ZERO);
    }
}
