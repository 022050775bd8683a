//! One clock for the relay and the look-alike of a test: when it moves, both have moved.

use std::{sync::Arc, time::Duration};

use pillarbox::{
    clock::{Clock as _, ManualClock},
    sandbox,
};

#[derive(Debug)]
struct Shared(ManualClock);

impl sandbox::Clock for Shared {
    fn now(&self) -> sandbox::Moment {
        let now = self.0.now();
        sandbox::Moment {
            wall: sandbox::Timestamp(now.wall.0),
            boot: now.boot.0,
            running: Duration::from_millis(now.since_boot_ms),
        }
    }

    fn sleep(&self, duration: Duration) -> sandbox::Sleep<'_> {
        self.0.sleep(duration)
    }
}

/// What the look-alike is given of the test's clock.
pub(crate) fn lookalike_clock(clock: &ManualClock) -> Arc<dyn sandbox::Clock> {
    Arc::new(Shared(clock.clone()))
}
