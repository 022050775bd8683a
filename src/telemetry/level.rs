//! The level of the log: as configured, or for a while as a person has asked.
//!
//! Rule: what was asked for ends by itself, so that nobody's disk fills with what one night has needed. Clones are the same
//! level. Must not know how lines are printed.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::layer::{Context, Filter};

use crate::{
    clock::{Clock, Moment, Timestamp},
    sync::lock,
};

/// The levels by name, from the fewest lines to the most.
pub(crate) const LEVELS: &[(&str, Level)] = &[
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];
/// The longest time that a level can be asked for.
pub(crate) const ASKED_MAX: Duration = Duration::from_secs(24 * 3600);

/// The level of this process's log.
static OF_THIS_PROCESS: OnceLock<LogLevel> = OnceLock::new();

/// Which of our own events are printed.
#[derive(Clone, Debug)]
pub(crate) struct LogLevel(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The place in [`LEVELS`]; every event looks at it.
    present: AtomicU8,
    wish: Mutex<Wish>,
    changed: Notify,
}

#[derive(Debug)]
struct Wish {
    configured: Level,
    asked: Option<Asked>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    level: Level,
    /// Its end, in milliseconds since the boot: however the clock is set meanwhile.
    until_ms: u64,
}

impl Asked {
    fn left(&self, now: Moment) -> Duration {
        Duration::from_millis(self.until_ms.saturating_sub(now.since_boot_ms))
    }
}

/// The level at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stand {
    /// What is printed now.
    pub(crate) level: Level,
    /// What the configuration says.
    pub(crate) configured: Level,
    /// When it is that again.
    pub(crate) until: Option<Timestamp>,
}

impl Wish {
    fn level(&self) -> Level {
        self.asked.map_or(self.configured, |asked| asked.level)
    }
}

impl LogLevel {
    pub(super) fn new(configured: Level) -> Self {
        let present = AtomicU8::new(place(configured));
        let wish = Mutex::new(Wish { configured, asked: None });
        Self(Arc::new(Shared { present, wish, changed: Notify::new() }))
    }

    /// That of the log of this process, which is at `configured` when this is the first to ask.
    pub(crate) fn of_this_process(configured: Level) -> Self {
        OF_THIS_PROCESS.get_or_init(|| Self::new(configured)).clone()
    }

    /// How it stands.
    pub(crate) fn stand(&self, now: Moment) -> Stand {
        let wish = lock(&self.0.wish);
        Stand {
            level: wish.level(),
            configured: wish.configured,
            until: wish.asked.map(|asked| now.wall.after(asked.left(now))),
        }
    }

    /// Prints at this level for so long, at most [`ASKED_MAX`]. Asking for the configured level ends what was asked.
    pub(crate) fn ask(&self, level: Level, time: Duration, now: Moment) {
        let mut wish = lock(&self.0.wish);
        let time = u64::try_from(time.min(ASKED_MAX).as_millis()).unwrap_or(u64::MAX);
        let until_ms = now.since_boot_ms.saturating_add(time);
        wish.asked = (level != wish.configured).then_some(Asked { level, until_ms });
        self.apply(&wish);
    }

    /// Takes what a changed configuration says; what was asked for goes on.
    pub(crate) fn configure(&self, level: Level) {
        let mut wish = lock(&self.0.wish);
        wish.configured = level;
        wish.asked = wish.asked.filter(|asked| asked.level != level);
        self.apply(&wish);
    }

    /// Ends what was asked for when its time is over. Never returns.
    pub(crate) async fn keep(&self, clock: Arc<dyn Clock>) {
        loop {
            let left = lock(&self.0.wish).asked.map(|asked| asked.left(clock.now()));
            match left {
                None => self.0.changed.notified().await,
                Some(Duration::ZERO) => self.end(clock.now()),
                Some(left) => tokio::select! {
                    () = clock.sleep(left) => {}
                    () = self.0.changed.notified() => {}
                },
            }
        }
    }

    fn end(&self, now: Moment) {
        let mut wish = lock(&self.0.wish);
        if !wish.asked.is_some_and(|asked| asked.left(now).is_zero()) {
            return;
        }
        let (level, printed_less) = (name(wish.configured), wish.level() < wish.configured);
        let say = || tracing::warn!(level, "the log goes back to its configured level");
        // While more is printed, so that the end is in the log if its configured level is to have it at all.
        if !printed_less {
            say();
        }
        wish.asked = None;
        self.apply(&wish);
        if printed_less {
            say();
        }
    }

    fn apply(&self, wish: &Wish) {
        self.0.present.store(place(wish.level()), Ordering::Relaxed);
        // Each place in the program remembers whether anybody wants its event.
        tracing::callsite::rebuild_interest_cache();
        self.0.changed.notify_one();
    }

    fn present(&self) -> Level {
        let place = usize::from(self.0.present.load(Ordering::Relaxed));
        LEVELS.get(place).map_or(Level::INFO, |(_, level)| *level)
    }

    fn wants(&self, event: &Metadata<'_>) -> bool {
        event.target().starts_with(env!("CARGO_CRATE_NAME")) && *event.level() <= self.present()
    }
}

impl<S: Subscriber> Filter<S> for LogLevel {
    fn enabled(&self, event: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.wants(event)
    }

    fn callsite_enabled(&self, event: &'static Metadata<'static>) -> Interest {
        if self.wants(event) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::from_level(self.present()))
    }
}

fn place(level: Level) -> u8 {
    let place = LEVELS.iter().position(|(_, known)| *known == level);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or_default()
}

/// The level's name, as in relay.toml.
#[must_use]
pub(crate) fn name(level: Level) -> &'static str {
    LEVELS.iter().find(|(_, known)| *known == level).map_or("", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const HOUR: Duration = Duration::from_secs(3600);

    fn levels(level: &LogLevel, clock: &ManualClock) -> (Level, Option<Duration>) {
        let stand = level.stand(clock.now());
        (stand.level, stand.until.map(|until| until.since(clock.wall())))
    }

    #[tokio::test]
    async fn a_level_that_was_asked_for_ends_by_itself_however_the_clock_is_set() {
        let clock = ManualClock::new(Timestamp(0));
        let level = LogLevel::new(Level::INFO);
        level.ask(Level::DEBUG, HOUR, clock.now());
        assert_eq!(levels(&level, &clock), (Level::DEBUG, Some(HOUR)));
        clock.set_wall(Timestamp(86_400_000 * 365));
        assert_eq!(levels(&level, &clock), (Level::DEBUG, Some(HOUR)));
        let given: Arc<dyn Clock> = Arc::new(clock.clone());
        let keeper = level.keep(given);
        let advance = async {
            clock.advance(HOUR / 2);
            tokio::task::yield_now().await;
            assert_eq!(levels(&level, &clock), (Level::DEBUG, Some(HOUR / 2)));
            clock.advance(HOUR / 2);
            while levels(&level, &clock).0 != Level::INFO {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = keeper => {}
            () = advance => {}
        }
        assert_eq!(levels(&level, &clock), (Level::INFO, None));
    }

    #[test]
    fn asking_for_the_configured_level_ends_what_was_asked_for() {
        let clock = ManualClock::new(Timestamp(0));
        let level = LogLevel::new(Level::INFO);
        level.ask(Level::TRACE, Duration::MAX, clock.now());
        assert_eq!(levels(&level, &clock), (Level::TRACE, Some(ASKED_MAX)));
        level.ask(Level::INFO, HOUR, clock.now());
        assert_eq!(levels(&level, &clock), (Level::INFO, None));
    }

    #[test]
    fn a_changed_configuration_waits_for_the_end_of_what_was_asked_for() {
        let clock = ManualClock::new(Timestamp(0));
        let level = LogLevel::new(Level::INFO);
        level.ask(Level::DEBUG, HOUR, clock.now());
        level.configure(Level::WARN);
        assert_eq!(levels(&level, &clock), (Level::DEBUG, Some(HOUR)));
        level.configure(Level::DEBUG);
        assert_eq!(levels(&level, &clock), (Level::DEBUG, None));
    }
}
