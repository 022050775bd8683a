//! Brings sled and the spool together when a store is opened.
//!
//! Rule: the spool is the truth about what was accepted, sled about what became of it; whatever they
//! disagree on is decided so that nothing is lost, and said aloud. One bad file never stops the others.
//! Must not know clients or Gmail.

use std::collections::HashSet;

use tracing::{error, info, warn};

use super::{
    engine::{Engine, Fate, Unusable},
    id::QueueId,
    opening::Opening,
    reader::{Described, ReadError},
    record::MessageRecord,
    side_files::FoundDot,
    sled_tables::SledTables,
    tables::{Changes, DeadKey, DueKey, TableError},
    times::arriving,
};

/// Messages changed in one write while reconciling.
const CHUNK: usize = 1_000;

/// How often a file is read whose disk says that it cannot now.
const READ_TRIES: u32 = 5;

/// What is known when sled and spool have been brought together.
#[derive(Debug)]
pub(super) struct Reconciled {
    pub(super) engine: Engine,
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// A reconciliation of open tables with the spool.
#[derive(Debug)]
pub(super) struct Reconciliation<'a> {
    pub(super) opening: &'a Opening<'a>,
    pub(super) tables: &'a SledTables,
}

impl Reconciliation<'_> {
    /// Compares every record with the spool and writes what follows from it.
    pub(super) fn run(self, engine: Engine) -> Result<Reconciled, TableError> {
        let listing =
            self.opening.spool.list().map_err(|error| TableError::Failed(error.to_string()))?;
        let mut unclaimed: HashSet<QueueId> = listing.messages.into_iter().collect();
        let mut result = Reconciled { engine, messages: 0, bytes: 0 };
        let mut changes = Changes::default();
        for entry in self.tables.messages(None) {
            match entry {
                Ok((id, record)) => {
                    let present = unclaimed.remove(&id);
                    self.record(&mut result, &mut changes, id, &record, present)?;
                }
                Err(TableError::Damaged { id, reason }) => {
                    warn!(%id, error = reason, "a record is damaged; it is rebuilt from the message's file");
                    changes.messages.insert(id, None);
                }
                Err(failed) => return Err(failed),
            }
            self.write(&mut changes, CHUNK)?;
        }
        self.write(&mut changes, 0)?;
        for id in unclaimed {
            self.file(&mut result, &mut changes, id)?;
            self.write(&mut changes, CHUNK)?;
        }
        self.write(&mut changes, 0)?;
        Ok(result)
    }

    /// A record: its file must be there, its claim's worker may be dead, its due key must exist.
    fn record(
        &self,
        result: &mut Reconciled,
        changes: &mut Changes,
        id: QueueId,
        record: &MessageRecord,
        present: bool,
    ) -> Result<(), TableError> {
        result.messages += 1;
        result.bytes += record.size_bytes;
        let lost =
            !present && record.recipients.iter().any(|recipient| !recipient.state.is_final());
        if lost {
            let reason = "its file is missing from the spool";
            error!(%id, reason, "a queued message is lost; its record is kept as dead");
            let dead = result.engine.set_aside(
                self.tables,
                changes,
                id,
                self.opening.now.wall,
                Unusable::Damaged,
                reason,
            );
            return dead.map_err(|error| TableError::Failed(error.to_string()));
        }
        if record.is_reserved() && !result.engine.has_claimed(id) {
            let fate = match self.opening.dots.of(id) {
                FoundDot::NotSent => Fate::NotSent,
                FoundDot::MaybeSent => Fate::MaybeSent {
                    resend_at: (!self.opening.hold_uncertain).then_some(self.opening.now.wall),
                },
                FoundDot::Answered(settlement) => {
                    Fate::Answered(settlement.not_after(self.opening.now.wall))
                }
            };
            let known = fate.name();
            warn!(%id, known, "an attempt was under way when the relay stopped");
            result.engine.recover(changes, id, record, &fate, self.opening.now);
            return Ok(());
        }
        if let Some(key) = DueKey::of(id, record)
            && !self.tables.has_due(&key)?
        {
            changes.due.insert(key, true);
        }
        if let Some(key) = DeadKey::of(id, record)
            && !self.tables.has_dead(&key)?
        {
            changes.dead.insert(key, true);
        }
        Ok(())
    }

    /// A file without a readable record: relayed or deleted already, or to be queued (again). Trouble with
    /// one file never keeps the others waiting.
    fn file(
        &self,
        result: &mut Reconciled,
        changes: &mut Changes,
        id: QueueId,
    ) -> Result<(), TableError> {
        if matches!(self.tables.finished(id), Ok(Some(_))) {
            if let Err(error) = self.opening.spool.remove(id) {
                error!(%id, error = %error, "the file of a finished message cannot be removed");
            }
            return Ok(());
        }
        match self.describe(id) {
            Ok(described) => {
                let record = MessageRecord::new(&described.envelope, described.trailer.body_bytes);
                let record = arriving(record, self.opening.now.wall);
                info!(%id, "a message without a record is queued from its file");
                result.messages += 1;
                result.bytes += record.size_bytes;
                changes.put(id, None, Some(record));
            }
            Err(problem) if problem.is_newer() => {
                return Err(TableError::Newer(format!("the file of message {id}: {problem}")));
            }
            // A disk that cannot read now has damaged nothing.
            Err(error) if error.of_the_disk().is_some() => {
                error!(%id, error = %error, "a message file cannot be read now; it stays where it is and is queued when the queue is opened next");
            }
            Err(problem) => match self.opening.spool.set_aside(id) {
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
            let described = self.opening.spool.describe(id);
            if tries == READ_TRIES
                || !described.as_ref().is_err_and(|error| error.of_the_disk().is_some())
            {
                return described;
            }
            tries += 1;
        }
    }

    fn write(&self, changes: &mut Changes, more_than: usize) -> Result<(), TableError> {
        if changes.is_empty() || changes.messages.len() + changes.due.len() < more_than {
            return Ok(());
        }
        let whole = std::mem::take(changes);
        self.tables.apply(&whole)?;
        for (id, _) in whole.removed {
            if let Err(error) = self.opening.spool.remove(id) {
                error!(%id, error = %error, "the file of a finished message cannot be removed");
            }
        }
        Ok(())
    }
}
