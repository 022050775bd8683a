//! The status of the pool: the account, what is in flight, what leaves next and why not now.
//!
//! Rule: a view; nothing here decides anything. It never shows a body or a secret, and keeps a bounded
//! number of errors. Must not know who looks.

use serde::{Deserialize, Serialize};

use super::answer::Stage;
use crate::{
    clock::Timestamp,
    fleet,
    queue::{id::QueueId, state::AccountState},
};

/// How many of the last errors are kept.
pub(super) const ERRORS_MAX: usize = 10;

/// The pool as a screen shows it.
#[derive(Clone, Debug)]
pub struct PoolStatus {
    /// The upstream account.
    pub account: AccountState,
    /// Whether one message is being tried, for whose result the others wait.
    pub(crate) probing: bool,
    /// Messages on their way just now.
    pub in_flight: Vec<InFlight>,
    /// When the next message can leave; `None` when nothing waits.
    pub next: Option<Departure>,
    /// The last errors, oldest first, at most ten.
    pub errors: Vec<LastError>,
    /// Totals since the start.
    pub counters: Counters,
    /// The last refusal that the table of known replies does not have.
    pub(crate) last_unknown_reply: Option<String>,
    /// How this host stands with the others that share the account's day.
    pub(crate) fleet: Option<fleet::Status>,
}

/// A message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Which.
    pub id: QueueId,
    /// Since when.
    pub(crate) since: Timestamp,
    /// How many recipients.
    pub(crate) recipients: usize,
    /// How far it has come.
    pub stage: Stage,
}

/// When something can leave, and what decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// When, by wall time.
    pub at: Timestamp,
    /// Why not earlier.
    pub why: DepartureReason,
}

/// What the next departure waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DepartureReason {
    /// The next attempt is due then.
    Due,
    /// The daily budget is spent.
    Budget,
    /// The account pauses.
    Pause,
    /// The pace a minute.
    Pace,
    /// The cap on logins an hour.
    Logins,
    /// Other hosts use all connections to the account.
    Connections,
    /// The queue's store has failed and is tried again then.
    Store,
    /// The fleet's database cannot be asked.
    Fleet,
}

/// Something that went wrong with the upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// When.
    pub(crate) at: Timestamp,
    /// With which message.
    pub(crate) id: QueueId,
    /// What was said.
    pub(crate) text: String,
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Recipients accepted by the upstream.
    pub(crate) relayed: u64,
    /// Recipients deferred.
    pub deferred: u64,
    /// Recipients refused for good.
    pub(crate) dead: u64,
    /// Recipients whose final dot got no answer.
    pub uncertain: u64,
    /// Connections opened, or tried.
    pub connections: u64,
    /// Claims.
    pub attempts: u64,
    /// Refusals that the table of known replies does not have.
    pub unknown_replies: u64,
}

impl Counters {
    /// Those of two accounts together.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            relayed: self.relayed + other.relayed,
            deferred: self.deferred + other.deferred,
            dead: self.dead + other.dead,
            uncertain: self.uncertain + other.uncertain,
            connections: self.connections + other.connections,
            attempts: self.attempts + other.attempts,
            unknown_replies: self.unknown_replies + other.unknown_replies,
        }
    }
}
