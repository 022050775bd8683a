//! The one supervisor of tasks that never end: one that panics is logged, counted and started again.
//!
//! Rule: a task that is gone is never missed in silence. Must not know what the tasks do.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::task::JoinSet;

use crate::{clock::Clock, sync};

/// The first wait before a task is started again; it doubles.
const WAIT: Duration = Duration::from_secs(1);
/// The longest wait: what the task does for the relay is late by that much.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What has failed since the start of the process. Clones count together.
#[derive(Clone, Default)]
pub struct Mishaps(Arc<Mutex<Mishap>>);

/// How often something failed, and what was the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mishap {
    /// How often.
    pub(crate) number: u64,
    /// The name of the last task.
    pub(crate) last: &'static str,
}

impl fmt::Debug for Mishaps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.so_far(), formatter)
    }
}

impl Mishaps {
    /// What has failed so far.
    #[must_use]
    pub(crate) fn so_far(&self) -> Mishap {
        *self.lock()
    }

    /// Counts and logs one.
    pub(crate) fn note(&self, task: &'static str) {
        let mut mishap = self.lock();
        mishap.number = mishap.number.saturating_add(1);
        mishap.last = task;
        drop(mishap);
        tracing::error!(
            task,
            "a task of the relay has failed by a mistake of the program and is started again; please report this \
             with the log"
        );
    }

    fn lock(&self) -> MutexGuard<'_, Mishap> {
        sync::lock(&self.0)
    }
}

/// Runs what `make` makes until it ends by itself, and makes it anew each time it panics.
pub(crate) async fn tend<F: Future<Output = ()> + Send + 'static>(
    task: &'static str,
    mishaps: Mishaps,
    clock: Arc<dyn Clock>,
    mut make: impl FnMut() -> F,
) {
    let mut wait = WAIT;
    loop {
        // Whoever drops this drops the task as well.
        let mut running = JoinSet::new();
        running.spawn(make());
        match running.join_next().await {
            Some(Err(error)) if error.is_panic() => mishaps.note(task),
            Some(_) | None => return,
        }
        clock.sleep(wait).await;
        wait = (2 * wait).min(WAIT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    #[tokio::test]
    async fn a_task_that_panics_is_counted_and_started_again_after_a_wait_that_grows() {
        let clock = ManualClock::new(Timestamp(0));
        let (mishaps, runs) = (Mishaps::default(), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&runs);
        let mut tended = JoinSet::new();
        tended.spawn(tend("expiry", mishaps.clone(), Arc::new(clock.clone()), move || {
            let runs = Arc::clone(&counted);
            async move {
                let run = runs.fetch_add(1, Ordering::Relaxed);
                assert!(run >= 3, "a mistake of the program");
            }
        }));
        for run in 1..=3 {
            while mishaps.so_far().number < run {
                tokio::task::yield_now().await;
                clock.advance(Duration::from_millis(100));
            }
            assert_eq!(mishaps.so_far(), Mishap { number: run, last: "expiry" });
        }
        while runs.load(Ordering::Relaxed) < 4 {
            tokio::task::yield_now().await;
            clock.advance(Duration::from_millis(100));
        }
        assert!(tended.join_next().await.is_some_and(|ended| ended.is_ok()), "it ended by itself");
        assert_eq!((runs.load(Ordering::Relaxed), mishaps.so_far().number), (4, 3));
    }
}
