//! The look-alike's own clock, which a test may replace by one that it moves.
//!
//! Rule: no other file reads a clock. Ages count on a clock that never jumps, dates on the calendar's.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// A date: milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// One instant, by the calendar and by a clock that never jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The date; somebody may set it.
    pub wall: Timestamp,
    /// Which run of the machine `running` belongs to. A clock that survives a restart of its machine has another
    /// number afterwards, and ages across it are taken from the dates.
    pub boot: u128,
    /// Time since that run began; never goes back within it.
    pub running: Duration,
}

impl Moment {
    /// How long ago `earlier` was; zero when it lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        if self.boot == earlier.boot {
            return self.running.saturating_sub(earlier.running);
        }
        let passed = self.wall.0.saturating_sub(earlier.wall.0);
        Duration::from_millis(u64::try_from(passed).unwrap_or(0))
    }
}

/// The end of a [`Clock::sleep`].
pub type Sleep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The source of time. `Debug` so that holders can derive it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present instant.
    fn now(&self) -> Moment;

    /// Ends after `duration` has passed on this clock.
    fn sleep(&self, duration: Duration) -> Sleep<'_>;
}

/// The machine's own clocks. Its one run begins when it is made.
#[derive(Debug)]
pub struct SystemClock {
    began: Instant,
}

impl SystemClock {
    /// Begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one file that reads the clock")]
    pub fn new() -> Self {
        Self { began: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one file that reads the clock")]
    fn now(&self) -> Moment {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let wall =
            since_1970.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        Moment { wall: Timestamp(wall), boot: 0, running: self.began.elapsed() }
    }

    fn sleep(&self, duration: Duration) -> Sleep<'_> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that moves only when a test moves it: a day passes in a moment.
#[derive(Clone, Debug)]
pub struct ManualClock {
    moment: Arc<Mutex<Moment>>,
    moved: watch::Sender<()>,
}

impl ManualClock {
    /// Stands at `wall`.
    #[must_use]
    pub fn new(wall: Timestamp) -> Self {
        let moment = Moment { wall, boot: 0, running: Duration::ZERO };
        Self { moment: Arc::new(Mutex::new(moment)), moved: watch::Sender::new(()) }
    }

    /// Moves it forward and wakes every sleeper whose time has come.
    pub fn advance(&self, duration: Duration) {
        {
            let mut moment = self.moment.lock().unwrap_or_else(PoisonError::into_inner);
            let passed = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
            moment.wall = Timestamp(moment.wall.0.saturating_add(passed));
            moment.running = moment.running.saturating_add(duration);
        }
        self.moved.send_replace(());
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        *self.moment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, duration: Duration) -> Sleep<'_> {
        let until = self.now().running.saturating_add(duration);
        let mut moved = self.moved.subscribe();
        Box::pin(async move {
            while self.now().running < until {
                if moved.changed().await.is_err() {
                    return;
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_counts_on_the_clock_that_never_jumps_and_by_date_across_a_restart() {
        let at = |wall, boot, seconds| Moment {
            wall: Timestamp(wall),
            boot,
            running: Duration::from_secs(seconds),
        };
        assert_eq!(at(0, 1, 7).since(at(9_000, 1, 5)), Duration::from_secs(2));
        assert_eq!(at(0, 1, 5).since(at(0, 1, 7)), Duration::ZERO);
        assert_eq!(at(9_000, 2, 0).since(at(1_000, 1, 50)), Duration::from_secs(8));
        assert_eq!(at(1_000, 2, 0).since(at(9_000, 1, 50)), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_was_moved_far_enough() {
        let clock = ManualClock::new(Timestamp(0));
        let sleep = clock.sleep(Duration::from_secs(86_400));
        tokio::pin!(sleep);
        for (seconds, wakes) in [(0, false), (86_399, false), (1, true)] {
            clock.advance(Duration::from_secs(seconds));
            let woken = tokio::select! {
                biased;
                () = &mut sleep => true,
                () = std::future::ready(()) => false,
            };
            assert_eq!(woken, wakes, "{seconds} s");
        }
    }
}
