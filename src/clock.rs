//! The place where time enters the program.
//!
//! Rule: no other file reads a clock (clippy.toml and tests/tidy.rs enforce it), so that a test can
//! advance days in a moment. Wall time is for dates; ages count in the boot clock, which counts sleep and never
//! jumps, and `timeline.rs` joins the boots. Must not know what time is used for.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::sync;

mod timeline;

pub(crate) use timeline::{Found, Kind, SETTLED_AFTER, Steps, Timeline};

/// The date of this program's source: a clock that says less is obviously wrong. Raised with each release.
pub(crate) const EARLIEST: Timestamp = Timestamp(1_795_737_600_000);

/// Wall time in milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This time plus `duration`, saturating at the end of time.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// This time minus `duration`.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// The same moment after the wall clock was set forward by `step_ms` (back, when negative).
    #[must_use]
    pub(crate) fn moved(self, step_ms: i64) -> Self {
        Self(self.0.saturating_add(step_ms))
    }

    /// How long `self` lies after `earlier`; zero when it does not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// RFC 3339 in UTC, to the second, as in log lines.
impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0.div_euclid(1_000)) {
            Ok(time) => fmt::Display::fmt(&time, formatter),
            Err(_) => write!(formatter, "{} ms", self.0),
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// One instant on both clocks, with the identity of the boot that the second one belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Wall time; may jump when an administrator or NTP sets it.
    pub wall: Timestamp,
    /// Which boot of the machine `since_boot_ms` counts from.
    pub boot: BootId,
    /// Milliseconds since that boot, sleep included (`CLOCK_BOOTTIME`).
    pub since_boot_ms: u64,
}

/// Identity of one boot of the machine (`/proc/sys/kernel/random/boot_id`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BootId(pub u128);

/// The source of time. `Debug` so that holders can derive it.
#[async_trait]
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present instant.
    fn now(&self) -> Moment;

    /// Returns after `duration` has passed on this clock.
    async fn sleep(&self, duration: Duration);

    /// Wall time of the present instant.
    fn wall(&self) -> Timestamp {
        self.now().wall
    }
}

/// The boot clock in the words of governor, for limits on rates.
#[derive(Clone, Debug)]
pub(crate) struct BootClock(Arc<dyn Clock>);

impl BootClock {
    /// The same time as `clock`.
    #[must_use]
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(clock)
    }
}

impl governor::clock::Clock for BootClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.now().since_boot_ms)
    }
}

/// How long, and how often, both clocks are read until they are of one moment.
const READING_MS: u64 = 100;
const READINGS_MAX: u32 = 3;

/// The machine's own clocks.
#[derive(Debug)]
pub struct SystemClock {
    boot: BootId,
    /// The boot clock when a boot without an id was made up, from which it then counts.
    began_ms: u64,
}

impl SystemClock {
    /// Reads the boot id once. A machine without one (no `/proc`) gets a fresh random id, which
    /// makes every restart look like a reboot: ages are then taken from wall time, which is safe.
    #[must_use]
    pub fn new() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .and_then(|text| u128::from_str_radix(&text.trim().replace('-', ""), 16).ok());
        match boot {
            Some(boot) => Self { boot: BootId(boot), began_ms: 0 },
            None => Self { boot: BootId(fastrand::u128(1..)), began_ms: boottime_ms() },
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Moment {
        let boottime = || boottime_ms().saturating_sub(self.began_ms);
        // A pause between the two readings would look like a step of the wall clock.
        for _ in 1..READINGS_MAX {
            let before = boottime();
            let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, millis);
            if boottime().saturating_sub(before) <= READING_MS {
                return Moment { wall: Timestamp(wall), boot: self.boot, since_boot_ms: before };
            }
        }
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, millis);
        Moment { wall: Timestamp(wall), boot: self.boot, since_boot_ms: boottime() }
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Milliseconds since the kernel was started, sleep included.
fn boottime_ms() -> u64 {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(boot.tv_sec).unwrap_or(0) * 1000
        + u64::try_from(boot.tv_nsec).unwrap_or(0) / 1_000_000
}

/// Real time since a start, for threads that wait and for figures; never for decisions about mail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this file is the one place that reads the clock"
    )]
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A clock that moves only when told to: for tests and for the sandbox's scripted days.
#[derive(Clone, Debug)]
pub struct ManualClock {
    shared: Arc<ManualShared>,
}

#[derive(Debug)]
struct ManualShared {
    moment: Mutex<Moment>,
    advanced: watch::Sender<u64>,
}

impl ManualClock {
    /// Starts at `wall`, one hour after a boot with id 1.
    #[must_use]
    pub fn new(wall: Timestamp) -> Self {
        let moment = Moment { wall, boot: BootId(1), since_boot_ms: 3_600_000 };
        let advanced = watch::Sender::new(moment.since_boot_ms);
        Self { shared: Arc::new(ManualShared { moment: Mutex::new(moment), advanced }) }
    }

    /// Moves both clocks forward and wakes every sleeper whose time has come.
    pub fn advance(&self, duration: Duration) {
        self.change(|moment| {
            moment.wall = moment.wall.after(duration);
            moment.since_boot_ms += u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        });
    }

    /// Sets wall time alone, as an administrator or NTP does.
    pub fn set_wall(&self, wall: Timestamp) {
        self.change(|moment| moment.wall = wall);
    }

    /// A new boot: another id, the boot clock starts again at zero.
    pub fn reboot(&self) {
        self.change(|moment| {
            moment.boot = BootId(moment.boot.0 + 1);
            moment.since_boot_ms = 0;
        });
    }

    fn change(&self, edit: impl FnOnce(&mut Moment)) {
        let since_boot_ms = {
            let mut moment = sync::lock(&self.shared.moment);
            edit(&mut moment);
            moment.since_boot_ms
        };
        self.shared.advanced.send_replace(since_boot_ms);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Moment {
        *sync::lock(&self.shared.moment)
    }

    async fn sleep(&self, duration: Duration) {
        let start = self.now();
        let until =
            start.since_boot_ms + u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2);
        let mut advanced = self.shared.advanced.subscribe();
        // A reboot ends every sleep: the sleeper looks at the clock again.
        while self.now().boot == start.boot && self.now().since_boot_ms < until {
            if advanced.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_on_the_manual_clock_wakes_when_the_clock_is_advanced_far_enough() {
        let clock = ManualClock::new(Timestamp(0));
        let sleeper = clock.sleep(Duration::from_secs(86_400));
        tokio::pin!(sleeper);
        // A sleep begins when it is first polled.
        assert!(polled_once(&mut sleeper).await.is_none());
        clock.advance(Duration::from_secs(86_399));
        assert!(polled_once(&mut sleeper).await.is_none());
        clock.advance(Duration::from_secs(1));
        assert!(polled_once(&mut sleeper).await.is_some());
    }

    async fn polled_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }

    #[test]
    fn the_system_clock_agrees_with_itself_about_the_boot() {
        assert_eq!(SystemClock::new().now().boot, SystemClock::new().now().boot);
    }
}
