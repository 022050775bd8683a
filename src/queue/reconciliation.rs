//! Brings index and spool together when a queue is opened.
//!
//! Rule: the spool is the truth about what was accepted, the index about what became of it; whatever they
//! disagree on is decided so that nothing is lost, and said aloud. One bad file never stops the others.
//! Must not know clients or Gmail.

use std::collections::HashSet;

use tracing::{error, info, warn};

use super::{
    batch::{Batch, Fate, Unusable},
    engine::Engine,
    id::QueueId,
    index::{DeadKey, DueKey, Index, IndexError},
    reader::{Described, ReadError},
    record::MessageRecord,
    side_files::{FoundDot, FoundDots},
    spool::Spool,
    times::arriving,
};
use crate::clock::Moment;

/// Messages changed in one write while reconciling.
const CHUNK: usize = 1_000;

/// How often a file is read whose disk says that it cannot now.
const READ_TRIES: u32 = 5;

/// What is known when index and spool have been brought together.
#[derive(Debug)]
pub(super) struct Reconciled {
    pub(super) engine: Engine,
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// What the queue holds.
#[derive(Debug, Default)]
struct Found {
    messages: u64,
    bytes: u64,
    /// Messages that a worker had when it died with its process.
    recovered: u32,
}

/// A reconciliation of an open index with the spool.
#[derive(Debug)]
pub(super) struct Reconciliation<'a> {
    pub(super) index: &'a dyn Index,
    pub(super) spool: &'a Spool,
    pub(super) dots: &'a FoundDots,
    pub(super) hold_uncertain: bool,
    pub(super) now: Moment,
}

impl Reconciliation<'_> {
    /// Compares every record with the spool and writes what follows from it.
    pub(super) fn run(self, mut engine: Engine) -> Result<Reconciled, IndexError> {
        let listing = self.spool.list().map_err(|error| IndexError::Failed(error.to_string()))?;
        let mut unclaimed: HashSet<QueueId> = listing.messages.into_iter().collect();
        let mut found = Found::default();
        let mut batch = Batch::new(&mut engine, self.index, self.now);
        for entry in self.index.messages(None) {
            match entry {
                Ok((id, record)) => {
                    let present = unclaimed.remove(&id);
                    self.record(&mut found, &mut batch, id, &record, present)?;
                }
                Err(IndexError::Damaged { id, reason }) => {
                    warn!(%id, error = reason, "a record is damaged; it is rebuilt from the message's file");
                    batch.changes.messages.insert(id, None);
                }
                Err(failed) => return Err(failed),
            }
            self.write(&mut batch, CHUNK)?;
        }
        self.write(&mut batch, 0)?;
        for id in unclaimed {
            self.file(&mut found, &mut batch, id)?;
            self.write(&mut batch, CHUNK)?;
        }
        self.write(&mut batch, 0)?;
        let Found { messages, bytes, .. } = found;
        Ok(Reconciled { engine, messages, bytes })
    }

    /// A record: its file must be there, its claim's worker may be dead, its due key must exist.
    fn record(
        &self,
        found: &mut Found,
        batch: &mut Batch<'_>,
        id: QueueId,
        record: &MessageRecord,
        present: bool,
    ) -> Result<(), IndexError> {
        found.messages += 1;
        found.bytes += record.size_bytes;
        let lost =
            !present && record.recipients.iter().any(|recipient| !recipient.state.is_final());
        if lost {
            let reason = "its file is missing from the spool";
            error!(%id, reason, "a queued message is lost; its record is kept as dead");
            let dead = batch.set_aside(id, Unusable::Damaged, reason);
            return dead.map_err(|error| IndexError::Failed(error.to_string()));
        }
        if record.is_reserved() && !batch.engine.claimed.contains(id) {
            let fate = match self.dots.of(id) {
                FoundDot::NotSent => Fate::NotSent,
                FoundDot::MaybeSent => {
                    Fate::MaybeSent { resend_at: (!self.hold_uncertain).then_some(self.now.wall) }
                }
                FoundDot::Answered(settlement) => {
                    Fate::Answered(settlement.not_after(self.now.wall))
                }
            };
            let known = fate.name();
            warn!(%id, known, "an attempt was under way when the relay stopped");
            batch.recover(id, record, &fate, found.recovered);
            found.recovered += 1;
            return Ok(());
        }
        if let Some(key) = DueKey::of(id, record)
            && !self.index.has_due(&key)?
        {
            batch.changes.due.insert(key, true);
        }
        if let Some(key) = DeadKey::of(id, record)
            && !self.index.has_dead(&key)?
        {
            batch.changes.dead.insert(key, true);
        }
        Ok(())
    }

    /// A file without a readable record: relayed or deleted already, or to be queued (again). Trouble with
    /// one file never keeps the others waiting.
    fn file(
        &self,
        found: &mut Found,
        batch: &mut Batch<'_>,
        id: QueueId,
    ) -> Result<(), IndexError> {
        if matches!(self.index.finished(id), Ok(Some(_))) {
            if let Err(error) = self.spool.remove(id) {
                error!(%id, error = %error, "the file of a finished message cannot be removed");
            }
            return Ok(());
        }
        match self.describe(id) {
            Ok(described) => {
                let record = arriving(described.record(), self.now.wall);
                info!(%id, "a message without a record is queued from its file");
                found.messages += 1;
                found.bytes += record.size_bytes;
                batch.changes.put(id, None, Some(record));
            }
            Err(problem) if problem.is_newer() => {
                return Err(IndexError::Newer(format!("the file of message {id}: {problem}")));
            }
            // A disk that cannot read now has damaged nothing.
            Err(error) if error.of_the_disk().is_some() => {
                error!(%id, error = %error, "a message file cannot be read now; it stays where it is and is queued when the queue is opened next");
            }
            Err(problem) => match self.spool.set_aside(id) {
                Ok(aside) => {
                    error!(%id, error = %problem, moved_to = %aside.display(), "a message file is damaged and was set aside");
                }
                Err(error) => {
                    error!(%id, error = %problem, and = %error, "a message file can neither be read nor set aside; it is looked at again at the next start");
                }
            },
        }
        Ok(())
    }

    fn describe(&self, id: QueueId) -> Result<Described, ReadError> {
        let mut tries = 1;
        loop {
            let described = self.spool.describe(id);
            if tries == READ_TRIES
                || !described.as_ref().is_err_and(|error| error.of_the_disk().is_some())
            {
                return described;
            }
            tries += 1;
        }
    }

    fn write(&self, batch: &mut Batch<'_>, more_than: usize) -> Result<(), IndexError> {
        let changes = &mut batch.changes;
        if changes.is_empty() || changes.messages.len() + changes.due.len() < more_than {
            return Ok(());
        }
        let whole = std::mem::take(changes);
        self.index.apply(&whole)?;
        for (id, _) in whole.removed {
            if let Err(error) = self.spool.remove(id) {
                error!(%id, error = %error, "the file of a finished message cannot be removed");
            }
        }
        Ok(())
    }
}
