//! A value whose times are of the wall clock and move with it: whoever takes hold of it has looked at the clock before.
//!
//! Rule: each value notices a step by itself, under its own lock, so that nobody who asks for the time can wait for
//! somebody. The moment that comes with the hold is the one to which its times refer. Must not know what the times mean.

use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard},
};

use crate::{
    clock::{Clock, Moment, Steps},
    sync,
};

/// What has times of the wall clock.
pub(super) trait HasWallTimes {
    /// The wall clock was set forward (back, when negative): what ends in an hour stays so.
    fn clock_was_set(&mut self, step_ms: i64);
}

/// A value that many use, with times that move with the clock.
#[derive(Debug)]
pub(super) struct InStep<T>(Mutex<Held<T>>);

/// The value while somebody has hold of it.
#[derive(Debug)]
pub(super) struct Held<T> {
    value: T,
    steps: Steps,
    now: Moment,
}

impl<T: HasWallTimes> InStep<T> {
    /// The times of `value` are those of the clock at `now`.
    pub(super) fn new(value: T, now: Moment) -> Self {
        Self(Mutex::new(Held { value, steps: Steps::since(now), now }))
    }

    /// Takes hold of the value, for a moment and never while waiting.
    pub(super) fn lock(&self, clock: &dyn Clock) -> MutexGuard<'_, Held<T>> {
        let mut held = sync::lock(&self.0);
        // Read under the lock: a moment from before a step would be taken for a step back.
        let now = clock.now();
        if let Some(step_ms) = held.steps.look(now) {
            held.value.clock_was_set(step_ms);
        }
        held.now = now;
        held
    }
}

impl<T> Held<T> {
    /// The moment at which the hold was taken.
    pub(super) fn now(&self) -> Moment {
        self.now
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Held<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    const HOUR: Duration = Duration::from_secs(3_600);

    #[derive(Debug)]
    struct Until(Timestamp);

    impl HasWallTimes for Until {
        fn clock_was_set(&mut self, step_ms: i64) {
            self.0 = self.0.moved(step_ms);
        }
    }

    #[test]
    fn what_ends_in_an_hour_stays_so_whoever_sets_the_clock_before_whichever_look() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let pause = InStep::new(Until(clock.wall().after(HOUR)), clock.now());
        for wall in [clock.wall().after(100 * HOUR), clock.wall().before(1_000 * HOUR)] {
            clock.set_wall(wall);
            let mut held = pause.lock(&clock);
            assert_eq!(held.0.since(held.now().wall), HOUR);
            // What is written while it is held refers to the same moment.
            let later = held.now().wall.after(HOUR);
            **held = Until(later);
        }
    }

    #[test]
    fn somebody_who_holds_one_value_may_take_another_while_the_clock_is_set() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let both =
            [1, 2].map(|hours| InStep::new(Until(clock.wall().after(hours * HOUR)), clock.now()));
        let first = both[0].lock(&clock);
        clock.set_wall(clock.wall().after(100 * HOUR));
        assert_eq!(both[1].lock(&clock).0.since(clock.wall()), 2 * HOUR);
        drop(first);
        assert_eq!(both[0].lock(&clock).0.since(clock.wall()), HOUR);
    }
}
