//! The connections by which the octets of messages come and go: several, so that a large message keeps no small one waiting.
//!
//! Rule: a large message waits for its turn, and has a connection for minutes where the way is slow; one connection is never
//! any large one's. Must not know what is asked.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    books::Trouble,
    link::{Held, Link},
    options::Database,
};

/// Connections by which messages come in and are fetched side by side.
const LINKS: usize = 3;
/// Large messages that come in side by side.
const TURNS: usize = 2;

/// The connections; large messages have the first ones.
#[derive(Debug)]
pub(super) struct Bodies {
    links: [Link; LINKS],
    free_turns: Semaphore,
    taken: [AtomicBool; TURNS],
}

/// The turn of a large message, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    which: usize,
    taken: &'a AtomicBool,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Bodies {
    pub(super) fn new(database: &Database) -> Self {
        Self {
            links: [(); LINKS].map(|()| Link::new(database.clone())),
            free_turns: Semaphore::new(TURNS),
            taken: [(); TURNS].map(|()| AtomicBool::new(false)),
        }
    }

    /// A connection for what is answered soon: an idle one, or that which no large message has.
    pub(super) async fn hold(&self) -> Result<Held<'_>, Trouble> {
        for link in &self.links {
            if let Some(held) = link.hold_idle().await {
                return held;
            }
        }
        self.links[LINKS - 1].hold().await
    }

    /// The turn of a large message, once there is one.
    pub(super) async fn turn(&self) -> Turn<'_> {
        // The semaphore is never closed; each permit stands for one that is not taken.
        let permit = self.free_turns.acquire().await.ok();
        let mut turns = self.taken.iter().enumerate();
        let free = turns.find(|(_, taken)| !taken.swap(true, Ordering::AcqRel));
        let (which, taken) = free.unwrap_or((0, &self.taken[0]));
        Turn { which, taken, _permit: permit }
    }

    /// The connection of a turn.
    pub(super) async fn hold_in(&self, turn: &Turn<'_>) -> Result<Held<'_>, Trouble> {
        self.links[turn.which].hold().await
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Before its permit is given back.
        self.taken.store(false, Ordering::Release);
    }
}
