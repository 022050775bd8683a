//! The seat of a client that is served: whether it is idle, and how it is asked to leave for one that waits.
//!
//! Rule: nobody leaves within a message, and nobody who has just spoken. Must not know who waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// How long a client may be silent that has never said anything: a program speaks as soon as it is greeted.
const SILENCE: Duration = Duration::from_secs(2);
/// The same while a crowd waits, which is a flood.
const SILENCE_IN_A_CROWD: Duration = Duration::from_millis(500);
/// So many are a crowd.
const CROWD: usize = 25;
/// How long one may think between two commands while others wait. Programs that keep connections open make a new one.
const IDLENESS: Duration = Duration::from_secs(10);

/// One client's seat. All times are those of the boot clock, in milliseconds.
#[derive(Debug)]
pub(super) struct Seat {
    /// Since when it waits for the client, outside of a message; `NEVER` when it does not.
    idle_from_ms: AtomicU64,
    has_spoken: AtomicBool,
    dismissed: AtomicBool,
    call: Arc<Notify>,
}

const NEVER: u64 = u64::MAX;

impl Default for Seat {
    fn default() -> Self {
        Self {
            idle_from_ms: AtomicU64::new(NEVER),
            has_spoken: AtomicBool::new(false),
            dismissed: AtomicBool::new(false),
            call: Arc::default(),
        }
    }
}

impl Seat {
    /// The session waits for its client, who has or has not spoken before.
    pub(super) fn waits_from(&self, now_ms: u64, has_spoken: bool) {
        self.has_spoken.store(has_spoken, Ordering::Relaxed);
        self.idle_from_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The session has something to do, or is within a message.
    pub(super) fn works(&self) {
        self.idle_from_ms.store(NEVER, Ordering::Relaxed);
    }

    /// For how long it has been idle beyond what is granted; `None` when it is not to be asked to leave.
    pub(super) fn idle_ms(&self, now_ms: u64, waiting: usize) -> Option<u64> {
        let idle_from_ms = self.idle_from_ms.load(Ordering::Relaxed);
        if idle_from_ms == NEVER || self.is_dismissed() {
            return None;
        }
        let granted = match self.has_spoken.load(Ordering::Relaxed) {
            true => IDLENESS,
            false if waiting >= CROWD => SILENCE_IN_A_CROWD,
            false => SILENCE,
        };
        now_ms.saturating_sub(idle_from_ms).checked_sub(granted.as_millis() as u64)
    }

    /// Asks its client to leave.
    pub(super) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Relaxed);
        self.call.notify_one();
    }

    /// Whether its client was asked to leave.
    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissed.load(Ordering::Relaxed)
    }

    /// Returns when its client is asked to leave.
    pub(super) async fn dismissed(&self) {
        self.call.notified().await;
    }
}
