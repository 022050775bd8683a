//! The order to stop, as a value that every task can watch.
//!
//! Rule: it only ever moves forward: running, draining (finish what is in flight), immediate
//! (drop everything; what was acknowledged is on disk). Must not know who stops or what a signal is.

use tokio::sync::watch;

/// How far the order to stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Normal work.
    Running,
    /// Take nothing new; finish messages in transfer and attempts in flight.
    Draining,
    /// Stop at once.
    Immediate,
}

/// The side that orders the stop.
#[derive(Clone, Debug)]
pub struct Shutdown {
    phase: watch::Sender<Phase>,
}

impl Shutdown {
    /// A new order, not yet given.
    #[must_use]
    pub fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Running) }
    }

    /// Moves to `phase`; never backwards.
    pub fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|present| {
            let moves = phase > *present;
            if moves {
                *present = phase;
            }
            moves
        });
    }

    /// A watcher for one task.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch { phase: self.phase.subscribe() }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// The side that obeys.
#[derive(Clone, Debug)]
pub struct Watch {
    phase: watch::Receiver<Phase>,
}

impl Watch {
    /// The present phase.
    #[must_use]
    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Returns once the phase is `phase` or later; also when the ordering side is gone.
    pub(crate) async fn reached(&mut self, phase: Phase) {
        // An error means that nobody can order anything any more, which is the end as well.
        drop(self.phase.wait_for(|present| *present >= phase).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_phase_never_goes_back() {
        let shutdown = Shutdown::new();
        let mut watch = shutdown.watch();
        shutdown.advance(Phase::Immediate);
        shutdown.advance(Phase::Draining);
        watch.reached(Phase::Draining).await;
        assert_eq!(watch.phase(), Phase::Immediate);
    }
}
