//! The messages that workers have, and what is known about each.
//!
//! Rule: a message is in here from its claim until the queue has taken its settlement, so a worker that
//! dies on the way leaves its entry behind, and the pool can end the claim. Must not know who does that.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    answer::{Stage, StageCell},
    status,
};
use crate::{
    clock::Timestamp,
    queue::{ClaimedMessage, Settlement},
    sync::lock,
};

/// Every message in flight, at most one for each worker.
#[derive(Debug, Default)]
pub(super) struct AllInFlight {
    entries: Mutex<BTreeMap<u64, Entry>>,
    begun: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    claim: Arc<ClaimedMessage>,
    since: Timestamp,
    stage: Arc<StageCell>,
    settlement: Option<Arc<Settlement>>,
    stranded: bool,
    costly: bool,
}

/// What a worker that died has left behind.
#[derive(Debug)]
pub(super) struct Stranded {
    pub(super) claim: Arc<ClaimedMessage>,
    /// How far it had come.
    pub(super) stage: Stage,
    /// What had already been decided.
    pub(super) settlement: Option<Arc<Settlement>>,
}

impl AllInFlight {
    /// For the status screen.
    pub(super) fn list(&self) -> Vec<status::InFlight> {
        let in_flight = |entry: &Entry| status::InFlight {
            id: entry.claim.id,
            since: entry.since,
            recipients: entry.claim.recipients.len(),
            stage: entry.stage.stage(),
        };
        lock(&self.entries).values().map(in_flight).collect()
    }

    /// Recipients of the reservations beside this one, which is settled, of which it is not known, or known to be untrue,
    /// that the upstream has accepted them.
    pub(super) fn unproven_beside(&self, settled: &InFlight) -> u32 {
        let unproven = |entry: &Entry| {
            let spent = entry.settlement.as_ref().map_or(0, |settlement| {
                settlement.outcomes.iter().filter(|(_, one)| one.is_spent()).count()
            });
            entry.claim.recipients.len().saturating_sub(spent)
        };
        let entries = lock(&self.entries);
        let others = entries.iter().filter(|(number, _)| **number != settled.number);
        let all = others.map(|(_, entry)| unproven(entry)).sum::<usize>();
        u32::try_from(all).unwrap_or(u32::MAX)
    }

    /// Whether a message is on its way that has cost the others something before.
    pub(super) fn has_costly(&self) -> bool {
        let undecided = |entry: &Entry| entry.settlement.is_none() && !entry.stranded;
        lock(&self.entries).values().any(|one| undecided(one) && one.costly)
    }

    /// Takes out what dead workers have left behind. It is given out once.
    pub(super) fn take_stranded(&self) -> Vec<Stranded> {
        let stranded = |entry: Entry| Stranded {
            claim: entry.claim,
            stage: entry.stage.stage(),
            settlement: entry.settlement,
        };
        let mut entries = lock(&self.entries);
        entries
            .extract_if(.., |_, entry| entry.stranded)
            .map(|(_, entry)| stranded(entry))
            .collect()
    }
}

/// A worker's hold on its message. One that is dropped without [`InFlight::land`] is stranded.
pub(super) struct InFlight {
    all: Arc<AllInFlight>,
    number: u64,
    landed: bool,
    pub(super) claim: Arc<ClaimedMessage>,
    pub(super) stage: Arc<StageCell>,
    settlement: Option<Arc<Settlement>>,
}

impl InFlight {
    pub(super) fn begin(all: &Arc<AllInFlight>, claim: ClaimedMessage, since: Timestamp) -> Self {
        let number = all.begun.fetch_add(1, Ordering::Relaxed);
        let (claim, stage) = (Arc::new(claim), Arc::new(StageCell::new()));
        let entry = Entry {
            claim: Arc::clone(&claim),
            since,
            stage: Arc::clone(&stage),
            settlement: None,
            stranded: false,
            costly: false,
        };
        lock(&all.entries).insert(number, entry);
        Self { all: Arc::clone(all), number, landed: false, claim, stage, settlement: None }
    }

    /// This message, or its like, has cost the others something before.
    pub(super) fn is_costly(&self) {
        if let Some(entry) = lock(&self.all.entries).get_mut(&self.number) {
            entry.costly = true;
        }
    }

    /// It is decided what becomes of the message, whatever happens to the worker.
    pub(super) fn decide(&mut self, settlement: Arc<Settlement>) {
        if let Some(entry) = lock(&self.all.entries).get_mut(&self.number) {
            entry.settlement = Some(Arc::clone(&settlement));
        }
        self.settlement = Some(settlement);
    }

    /// What was decided.
    pub(super) fn settlement(&self) -> Option<&Arc<Settlement>> {
        self.settlement.as_ref()
    }

    /// The queue has ended the claim.
    pub(super) fn land(mut self) {
        self.landed = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut entries = lock(&self.all.entries);
        if self.landed {
            entries.remove(&self.number);
        } else if let Some(entry) = entries.get_mut(&self.number) {
            entry.stranded = true;
        }
    }
}
