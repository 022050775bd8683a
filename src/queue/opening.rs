//! Opening the store: the lock, sled under guard, and the reconciliation of sled with the spool.
//!
//! Rule: the spool is the truth about what was accepted, sled about what became of it; whatever they
//! disagree on is decided so that nothing is lost, and said aloud. Must not know clients or Gmail.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use thiserror::Error;
use tracing::{error, info, warn};

use super::{
    engine::{Engine, Fate},
    id::QueueId,
    reader::ReadError,
    record::MessageRecord,
    side_files::{FoundDots, LedgerCopy},
    sled_tables::{OpenError, SledTables},
    spool::Spool,
    tables::{Changes, DueKey, TableError},
};
use crate::{budget::ledger::Ledger, clock::Moment};

/// How long sled may take to open; a damaged store can hang.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
/// Messages changed in one write while reconciling.
const CHUNK: usize = 1_000;
/// Octets of the lock file that are read for the message about its owner.
const LOCK_LENGTH_MAX: u64 = 32;

/// Why a store cannot be opened.
#[derive(Debug, Error)]
pub enum StoreOpenError {
    /// Another process has it.
    #[error(
        "the queue in {directory} is in use by another pillarbox{owner}; stop that one first (systemctl stop pillarbox), or choose another [queue] directory"
    )]
    Locked {
        /// The state directory.
        directory: PathBuf,
        /// " (process N)" when that is known.
        owner: String,
    },
    /// The disk or the permissions stand in the way.
    #[error(
        "the queue in {directory} cannot be opened: {reason}; check that the directory belongs to the user that runs pillarbox and that its disk works and is not full"
    )]
    Unusable {
        /// The state directory.
        directory: PathBuf,
        /// What failed.
        reason: String,
    },
    /// A newer program wrote it; it is left untouched.
    #[error("the queue in {directory} was left untouched: {reason}; install that newer version again")]
    Newer {
        /// The state directory.
        directory: PathBuf,
        /// Which version.
        reason: String,
    },
}

/// Makes the state directory and takes its lock, which is held as long as the file lives.
pub(super) fn lock(directory: &Path) -> Result<File, StoreOpenError> {
    let unusable = |error: io::Error| StoreOpenError::Unusable {
        directory: directory.into(),
        reason: error.to_string(),
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unusable)?;
    let path = directory.join("lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(unusable)?;
    if let Err(error) = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(unusable(error.into()));
        }
        let mut owner = String::new();
        drop((&mut file).take(LOCK_LENGTH_MAX).read_to_string(&mut owner));
        let owner =
            owner.trim().parse::<u32>().map_or(String::new(), |number| format!(" (process {number})"));
        return Err(StoreOpenError::Locked { directory: directory.into(), owner });
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(unusable)?;
    Ok(file)
}

/// Opens sled; when its files are damaged, moves them away and starts with empty ones.
/// Returns whether that happened.
pub(super) fn open_tables(state: &Path, now: Moment) -> Result<(SledTables, bool), StoreOpenError> {
    let path = state.join("queue.sled");
    let reason = match open_guarded(&path) {
        Ok(tables) => return Ok((tables, false)),
        Err(OpenError::Damaged(reason)) => reason,
        Err(error) => return Err(refused(state, &error)),
    };
    let bad = state.join(format!("queue.sled.bad-{}", now.wall.0));
    error!(error = reason, moved_to = %bad.display(), "the queue's index is damaged; it is moved away and rebuilt from the spool: no message is lost, some may be sent twice");
    fs::rename(&path, &bad).map_err(|error| refused(state, &OpenError::Unavailable(error.to_string())))?;
    open_guarded(&path).map(|tables| (tables, true)).map_err(|error| refused(state, &error))
}

/// Opens sled in a thread of its own: it may panic or hang on damaged files.
fn open_guarded(path: &Path) -> Result<SledTables, OpenError> {
    let (answer, result) = mpsc::channel();
    let path = path.to_owned();
    let opening = thread::Builder::new().name("queue-open".into()).spawn(move || {
        let opened = panic::catch_unwind(AssertUnwindSafe(|| SledTables::open(&path)));
        // The receiver is gone after the time-out; then nobody wants the tables.
        drop(answer.send(opened));
    });
    opening.map_err(|error| OpenError::Unavailable(error.to_string()))?;
    match result.recv_timeout(OPEN_TIMEOUT) {
        Ok(Ok(opened)) => opened,
        Ok(Err(_)) => Err(OpenError::Damaged("sled panicked while opening".into())),
        Err(_) => Err(OpenError::Damaged(format!("sled did not open within {} s", OPEN_TIMEOUT.as_secs()))),
    }
}

fn refused(state: &Path, error: &OpenError) -> StoreOpenError {
    let (directory, reason) = (state.to_owned(), error.to_string());
    match error {
        OpenError::Newer(_) => StoreOpenError::Newer { directory, reason },
        _ => StoreOpenError::Unusable { directory, reason },
    }
}

/// What is known when sled and spool have been brought together.
#[derive(Debug)]
pub(super) struct Reconciled {
    pub(super) engine: Engine,
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// The inputs of a reconciliation.
#[derive(Debug)]
pub(super) struct Reconciliation<'a> {
    pub(super) spool: &'a Spool,
    pub(super) tables: &'a SledTables,
    pub(super) dots: &'a FoundDots,
    /// Claims of workers that are still alive (only when a store is reopened within a process).
    pub(super) alive: HashSet<QueueId>,
    pub(super) hold_uncertain: bool,
    pub(super) now: Moment,
}

impl Reconciliation<'_> {
    /// Compares every record with the spool and writes what follows from it.
    pub(super) fn run(mut self, ledger: Ledger) -> Result<Reconciled, TableError> {
        let listing = self.spool.list().map_err(|error| TableError::Failed(error.to_string()))?;
        let mut unclaimed: HashSet<QueueId> = listing.messages.into_iter().collect();
        let mut result = Reconciled {
            engine: Engine::new(ledger, std::mem::take(&mut self.alive)),
            messages: 0,
            bytes: 0,
        };
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
        let lost = !present && record.recipients.iter().any(|recipient| !recipient.state.is_final());
        if lost {
            let reason = "its file is missing from the spool";
            error!(%id, reason, "a queued message is lost; its record is kept as dead");
            let dead = result.engine.set_aside(self.tables, changes, id, self.now.wall, reason);
            return dead.map_err(|error| TableError::Failed(error.to_string()));
        }
        if record.is_reserved() && !result.engine.has_claimed(id) {
            let fate = if self.dots.may_be_sent(id) {
                Fate::MaybeSent { resend_at: (!self.hold_uncertain).then_some(self.now.wall) }
            } else {
                Fate::NotSent
            };
            warn!(%id, ?fate, "an attempt was under way when the relay stopped");
            result.engine.recover(changes, id, record, fate, self.now);
            return Ok(());
        }
        if let Some(key) = DueKey::of(id, record)
            && !self.tables.has_due(&key)?
        {
            changes.due.insert(key, true);
        }
        Ok(())
    }

    /// A file without a readable record: relayed already, or to be queued (again).
    fn file(&self, result: &mut Reconciled, changes: &mut Changes, id: QueueId) -> Result<(), TableError> {
        let disk = |error: io::Error| TableError::Failed(error.to_string());
        if matches!(self.tables.finished(id), Ok(Some(_))) {
            return self.spool.remove(id).map_err(disk);
        }
        match self.spool.describe(id) {
            Ok(described) => {
                let record = MessageRecord::new(&described.envelope, described.trailer.body_bytes);
                info!(%id, "a message without a record is queued from its file");
                result.messages += 1;
                result.bytes += record.size_bytes;
                changes.put(id, None, Some(record));
            }
            Err(ReadError::Frame(error)) => {
                let aside = self.spool.set_aside(id).map_err(disk)?;
                error!(%id, error = %error, moved_to = %aside.display(), "a message file is damaged and was set aside");
            }
            Err(ReadError::Io(error)) => return Err(disk(error)),
        }
        Ok(())
    }

    fn write(&self, changes: &mut Changes, more_than: usize) -> Result<(), TableError> {
        if changes.is_empty() || changes.messages.len() + changes.due.len() < more_than {
            return Ok(());
        }
        let whole = std::mem::take(changes);
        self.tables.apply(&whole)?;
        for (id, _) in whole.removed {
            self.spool.remove(id).map_err(|error| TableError::Failed(error.to_string()))?;
        }
        Ok(())
    }
}

/// The ledger of the last run: what sled has, and what the copy has beside it.
pub(super) fn ledger(
    state: &Path,
    tables: &SledTables,
    rebuilt: bool,
) -> Result<(Ledger, LedgerLoss), TableError> {
    let (events, damaged) = tables.ledger()?;
    let mut ledger = Ledger::default();
    let copy = LedgerCopy::read(state);
    let loss =
        if copy.is_none() && (rebuilt || damaged > 0) { LedgerLoss::Unknown } else { LedgerLoss::None };
    for (sequence, event) in copy.into_iter().flatten().chain(events) {
        ledger.insert(sequence, event);
    }
    Ok((ledger, loss))
}

/// Whether the budget spent before is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LedgerLoss {
    /// It is.
    None,
    /// It is not: half of the limit must count as spent.
    Unknown,
}
