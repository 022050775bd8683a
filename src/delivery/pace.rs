//! The short-term brakes: recipients a minute, and logins in any hour.
//!
//! Rule: these only smooth; the daily budget is the ledger's (governor cannot hold it, crates.md part 3).
//! Must not know what is sent or who waits.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as GovernorClock, Reference},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};

use crate::clock::{BootClock, Clock};

/// The window of the login cap.
const LOGIN_WINDOW: Duration = Duration::from_secs(3_600);

/// Smooths recipients over a minute. A burst of one minute's worth goes at once.
#[derive(Debug)]
pub(super) struct Pacer {
    limiter: Option<Limiter>,
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

impl Pacer {
    /// At most `per_minute` recipients a minute on average; 0 does not pace.
    pub(super) fn new(per_minute: u32, clock: Arc<dyn Clock>) -> Self {
        let clock = BootClock::new(clock);
        let limiter = NonZeroU32::new(per_minute).map(|burst| {
            let state = RateLimiter::direct_with_clock(Quota::per_minute(burst), clock.clone());
            Limiter { state, burst, clock }
        });
        Self { limiter, debt: Mutex::new(0) }
    }

    /// Charges for recipients whose transaction begins. They may exceed a minute's worth: the next
    /// transaction then waits the longer.
    pub(super) fn spend(&self, recipients: u32) {
        if self.limiter.is_some() {
            let mut debt = self.debt.lock().unwrap_or_else(PoisonError::into_inner);
            *debt = debt.saturating_add(recipients);
        }
    }

    /// How long until the next transaction may begin; zero when it may now.
    pub(super) fn wait(&self) -> Duration {
        let Some(limiter) = &self.limiter else { return Duration::ZERO };
        let mut debt = self.debt.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Caps logins in any hour: Gmail answers many of them with `454 4.7.0` (gmail.md section 2).
#[derive(Debug)]
pub(super) struct Logins {
    per_hour: usize,
    clock: BootClock,
    taken: Mutex<VecDeque<Duration>>,
}

impl Logins {
    /// At most `per_hour` logins in any hour; 0 counts as 1, since nothing could ever be sent otherwise.
    pub(super) fn new(per_hour: u32, clock: Arc<dyn Clock>) -> Self {
        let per_hour = usize::try_from(per_hour.max(1)).unwrap_or(usize::MAX);
        Self { per_hour, clock: BootClock::new(clock), taken: Mutex::new(VecDeque::new()) }
    }

    /// How long until a login may happen; zero when it may now.
    pub(super) fn wait(&self) -> Duration {
        let now = self.clock.now();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.front().is_some_and(|first| Duration::from(now.duration_since(*first)) >= LOGIN_WINDOW) {
            taken.pop_front();
        }
        match taken.front() {
            Some(first) if taken.len() >= self.per_hour => {
                LOGIN_WINDOW.saturating_sub(now.duration_since(*first).into())
            }
            _ => Duration::ZERO,
        }
    }

    /// Notes that one begins.
    pub(super) fn take(&self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.push_back(self.clock.now());
        if taken.len() > self.per_hour {
            taken.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};

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
        assert_eq!(waited, Duration::from_secs(240), "100 recipients less the burst of 20, at 3 s each");
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
}
