//! Opening the queue: the lock, the index, what was spent of the budget, and index and spool brought together.
//!
//! Rule: a damaged index is moved away and rebuilt, never fatal, never removed; a disk that does not work is an error and
//! no reason to rebuild. The spool is the truth about what was accepted, the index about what became of it; whatever they
//! disagree on is decided so that nothing is lost, and said aloud. One bad file never stops the others. Must not know
//! clients or Gmail.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use thiserror::Error;
use tracing::{error, info, warn};

use super::{
    batch::{Batch, Fate, Unusable},
    digest::Digests,
    engine::{Claims, Engine},
    folding,
    id::QueueId,
    index::{Changes, DeadKey, FoundEvents, Index, IndexError, IndexSource, OpenError},
    marks,
    order::Turn,
    record::MessageRecord,
    side_files::{FoundDot, FoundDots, LedgerCopy},
    spool::{Retirement, Spool},
    spool_file::{Described, ReadError},
    storms::FoundFolded,
    times::arriving,
};
use crate::{
    budget::ledgers::Ledgers,
    careful_file::{self, Links},
    clock::{Found, Moment},
};

/// Octets of the lock file that are read for the message about its owner.
const LOCK_LENGTH_MAX: u64 = 32;

/// Mode of a directory in which anybody may put files and links.
const OPEN_TO_OTHERS: u32 = 0o002;

/// Why a store cannot be opened.
#[derive(Debug, Error)]
pub enum QueueOpenError {
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
    /// Root would make files in the queue of another user.
    #[error(
        "the queue in {directory} belongs to user {user}, and root would leave files there that its daemon cannot read; \
         start that daemon (systemctl start pillarbox), or run this command as that user: \
         setpriv --reuid={user} --regid={group} --clear-groups pillarbox ..."
    )]
    NotOurs {
        /// The state directory.
        directory: PathBuf,
        /// Its owner.
        user: u32,
        /// Its group.
        group: u32,
    },
    /// Root would make files where anybody can put links.
    #[error(
        "anybody may put files into the queue's directory {directory}; run: chmod 700 {directory}"
    )]
    OpenToOthers {
        /// The state directory.
        directory: PathBuf,
    },
    /// It is in the fleet's database, which cannot be used.
    #[error(
        "the queue in the fleet's database cannot be opened: {0}; look at the database and at the way to it"
    )]
    Away(String),
    /// Mail lies in the directory that another kind of queue has accepted.
    #[error(
        "mail that was accepted with [queue] backend = \"sled\" waits in {directory} (messages: {messages}), and would not leave \
         with \"postgres\": set backend = \"sled\" again until they have left, or take them along as docs/fleet.md says"
    )]
    LeftBehind {
        /// The state directory.
        directory: PathBuf,
        /// How many.
        messages: usize,
    },
    /// A newer program wrote it; it is left untouched.
    #[error(
        "the queue in {directory} was left untouched: {reason}; install that newer version again"
    )]
    Newer {
        /// The state directory.
        directory: PathBuf,
        /// Which version.
        reason: String,
    },
}

/// The lock of the state directory, until it is dropped.
#[derive(Debug)]
pub(super) struct StateLock(File);

impl Drop for StateLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is being started at this moment (a password
        // command) still has a copy of it until it runs its own program.
        let _unlocked = rustix::fs::flock(&self.0, rustix::fs::FlockOperation::Unlock);
    }
}

/// Makes the state directory and takes its lock.
pub(super) fn lock(directory: &Path) -> Result<StateLock, QueueOpenError> {
    let unusable = |error: io::Error| QueueOpenError::Unusable {
        directory: directory.into(),
        reason: error.to_string(),
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unusable)?;
    expect_own(directory)?;
    let path = directory.join("lock");
    let mut file = careful_file::open_or_create(&path)
        .map_err(|error| unusable(io::Error::other(format!("{}: {error}", path.display()))))?;
    take(&file, directory)?;
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(unusable)?;
    Ok(StateLock(file))
}

/// Root must not make files where somebody else can put links, and what it made there its owner's daemon could not
/// read.
fn expect_own(directory: &Path) -> Result<(), QueueOpenError> {
    let found = fs::metadata(directory).map_err(|error| QueueOpenError::Unusable {
        directory: directory.into(),
        reason: error.to_string(),
    })?;
    let (directory, user, group) = (directory.to_owned(), found.uid(), found.gid());
    if careful_file::is_root() && user != 0 {
        return Err(QueueOpenError::NotOurs { directory, user, group });
    }
    if careful_file::is_root() && found.mode() & OPEN_TO_OTHERS != 0 {
        return Err(QueueOpenError::OpenToOthers { directory });
    }
    Ok(())
}

/// Takes the lock of a state directory without writing anything; `None` when nobody ever has.
pub(super) fn lock_to_look(directory: &Path) -> Result<Option<StateLock>, QueueOpenError> {
    let file = match careful_file::open(&directory.join("lock"), Links::Refused) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let reason = format!("{}: {error}", directory.join("lock").display());
            return Err(QueueOpenError::Unusable { directory: directory.into(), reason });
        }
    };
    take(&file, directory)?;
    Ok(Some(StateLock(file)))
}

fn take(mut file: &File, directory: &Path) -> Result<(), QueueOpenError> {
    let directory = directory.to_owned();
    match rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut owner = String::new();
            drop((&mut file).take(LOCK_LENGTH_MAX).read_to_string(&mut owner));
            let owner = owner.trim().parse::<u32>();
            let owner = owner.map_or(String::new(), |number| format!(" (process {number})"));
            Err(QueueOpenError::Locked { directory, owner })
        }
        Err(error) => Err(QueueOpenError::Unusable { directory, reason: error.to_string() }),
    }
}

/// Everything that opening needs to know.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    pub(super) state: &'a Path,
    pub(super) spool: &'a Spool,
    pub(super) source: &'a dyn IndexSource,
    pub(super) dots: &'a FoundDots,
    /// Claims of workers that are still alive (only when a store is reopened within a process).
    pub(super) alive: Claims,
    pub(super) hold_uncertain: bool,
    /// Whether the bodies of relayed messages are kept.
    pub(super) keeps_relayed: bool,
    /// A write of the index has failed in this process.
    pub(super) in_doubt: bool,
    pub(super) now: Moment,
}

/// An index that has been opened and brought together with the spool.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) index: Arc<dyn Index>,
    pub(super) reconciled: Reconciled,
}

impl Opening<'_> {
    /// Opens the index and reconciles it with the spool. A damaged one (`damage` says what was found of it
    /// already) is moved away and rebuilt.
    pub(super) fn run(&self, damage: Option<String>) -> Result<Opened, QueueOpenError> {
        let reason = match damage {
            Some(reason) => reason,
            None => match self.attempt(Origin::Found) {
                Ok(opened) => return Ok(opened),
                Err(OpenError::Damaged(reason)) => reason,
                Err(error) => return Err(refused(self.state, &error)),
            },
        };
        let bad = self
            .source
            .set_aside(self.state, self.now.wall)
            .map_err(|error| refused(self.state, &OpenError::Unavailable(error.to_string())))?;
        error!(error = reason, moved_to = %bad.display(), "the queue's index is damaged; it was moved away and is rebuilt from the spool: no message is lost, some may be sent twice");
        self.attempt(Origin::Rebuilt).map_err(|error| refused(self.state, &error))
    }

    fn attempt(&self, origin: Origin) -> Result<Opened, OpenError> {
        let index = self.source.open(self.state, self.in_doubt, &self.spool.faults)?;
        // sled reads a page when it is needed, so damage may show only now: as an error, or as a panic.
        let reconciled = panic::catch_unwind(AssertUnwindSafe(|| self.reconcile(&*index, origin)));
        let error = match reconciled {
            Ok(Ok(reconciled)) => return Ok(Opened { index, reconciled }),
            Ok(Err(IndexError::Failed(reason))) => match self.spool.remote {
                Some(_) => OpenError::Away(reason),
                None => OpenError::Unavailable(reason),
            },
            Ok(Err(IndexError::Lost(reason))) => OpenError::Away(reason),
            Ok(Err(IndexError::Newer(what))) => OpenError::Newer(what),
            Ok(Err(error @ (IndexError::Broken(_) | IndexError::Damaged { .. }))) => {
                OpenError::Damaged(error.to_string())
            }
            Err(_) => OpenError::Damaged("the index panicked while it was read".into()),
        };
        discard(index);
        Err(error)
    }

    fn reconcile(&self, index: &dyn Index, origin: Origin) -> Result<Reconciled, IndexError> {
        // Whoever asks for it later may find it damaged, but not newer.
        let accounts = index.accounts()?;
        let (ledger, loss) = self.ledger(index, origin)?;
        let timeline = index.timeline().map(|timeline| timeline.as_ref().clone());
        let mut alive = self.alive.clone();
        alive.number_from(index.claims_from());
        let mut engine = Engine::new(ledger, alive, timeline);
        for (account, state) in &accounts {
            engine.standing.note(*account, state);
        }
        if let Some((found, timeline)) = engine.look(self.now) {
            tell(found);
            index.set_timeline(timeline.clone());
            let timeline = Some(timeline.clone());
            index.apply(&Changes { timeline, ..Changes::default() })?;
        }
        let reconciliation = Reconciliation {
            index,
            spool: self.spool,
            dots: self.dots,
            hold_uncertain: self.hold_uncertain,
            keeps_relayed: self.keeps_relayed,
            is_reopened: self.in_doubt,
            now: self.now,
        };
        let mut reconciled = reconciliation.run(engine)?;
        if loss == LedgerLoss::Unknown {
            error!(
                "what was spent of the budget in the last 24 hours is not known; half of it counts as spent"
            );
            reconciled.engine.assume_half_spent = true;
        }
        Ok(reconciled)
    }
}

impl Opening<'_> {
    /// The ledger of the last run: what sled has, and what the copy has beside it.
    fn ledger(
        &self,
        index: &dyn Index,
        origin: Origin,
    ) -> Result<(Ledgers, LedgerLoss), IndexError> {
        let FoundEvents { events, damaged } = index.ledger()?;
        let copy = LedgerCopy::read(self.state);
        let trusted = copy.as_ref().is_some_and(|copy| copy.is_whole && copy.boot == self.now.boot);
        let pending = copy.as_ref().is_some_and(|copy| copy.half_unknown);
        let is_new = index.is_new()?;
        let lost = !damaged.is_empty()
            || is_new && (origin == Origin::Rebuilt || self.was_used_before()?);
        let unknown = pending || lost && !trusted || index.is_budget_unknown()?;
        if is_new || lost {
            // Before anything else is written: a crash while the rest is rebuilt must not make the budget known.
            index.begin(unknown, &damaged)?;
        }
        let mut ledger = Ledgers::default();
        for (sequence, event) in copy.into_iter().flat_map(|copy| copy.events).chain(events) {
            ledger.insert(sequence, event);
        }
        Ok((ledger, if unknown { LedgerLoss::Unknown } else { LedgerLoss::None }))
    }

    /// Whether this directory has had an index that is gone by now.
    fn was_used_before(&self) -> Result<bool, IndexError> {
        let failed = |error: io::Error| IndexError::Failed(error.to_string());
        let mut names = fs::read_dir(self.state).map_err(failed)?.filter_map(Result::ok);
        let moved_away =
            names.any(|entry| entry.file_name().to_string_lossy().starts_with("queue.sled.bad-"));
        let spool = self.spool.list().map_err(failed)?;
        Ok(moved_away || LedgerCopy::exists(self.state) || !spool.messages.is_empty())
    }
}

/// Where the index comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It was there.
    Found,
    /// It is new, because the one that was there is damaged.
    Rebuilt,
}

/// Says that the wall clock was set; it is told nowhere else.
pub(super) fn tell(found: Found) {
    let Found::Step(step_ms) = found else { return };
    let seconds = step_ms.unsigned_abs() / 1_000;
    let direction = if step_ms > 0 { "forward" } else { "back" };
    warn!(
        seconds,
        direction,
        "the clock of this machine was set; everything waits and counts as before, and is shown in the new time"
    );
}

/// Drops an index in a thread of its own, because closing a damaged one can hang or panic.
pub(super) fn discard(index: Arc<dyn Index>) {
    // When no thread can be had they are dropped here and now.
    drop(thread::Builder::new().name("queue-discard".into()).spawn(move || drop(index)));
}

fn refused(state: &Path, error: &OpenError) -> QueueOpenError {
    let (directory, reason) = (state.to_owned(), error.to_string());
    match error {
        OpenError::Newer(_) => QueueOpenError::Newer { directory, reason },
        OpenError::Away(_) => QueueOpenError::Away(reason),
        _ => QueueOpenError::Unusable { directory, reason },
    }
}

/// Whether the budget spent before is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LedgerLoss {
    /// It is.
    None,
    /// It is not: half of the limit must count as spent.
    Unknown,
}

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
    pub(super) digests: Digests,
    /// What is folded.
    pub(super) folded: Vec<FoundFolded>,
}

/// What the queue holds.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// Messages that a worker had when it died with its process.
    recovered: u32,
    pub(super) folded: Vec<FoundFolded>,
    /// What waits to be claimed.
    turns: Vec<Turn>,
    digests: Digests,
}

impl Contents {
    /// Those of an empty queue.
    pub(super) fn of_nothing() -> Self {
        let (folded, turns, digests) = (Vec::new(), Vec::new(), Digests::of_nothing());
        Self { messages: 0, bytes: 0, recovered: 0, folded, turns, digests }
    }

    /// One more message.
    fn add(&mut self, id: QueueId, record: &MessageRecord) {
        self.digests.note(id, Some(record));
        self.messages += 1;
        self.bytes += record.size_bytes;
        self.folded.extend(folding::found(record));
    }
}

/// A reconciliation of an open index with the spool.
#[derive(Debug)]
pub(super) struct Reconciliation<'a> {
    pub(super) index: &'a dyn Index,
    pub(super) spool: &'a Spool,
    pub(super) dots: &'a FoundDots,
    pub(super) hold_uncertain: bool,
    pub(super) keeps_relayed: bool,
    /// The index alone has failed: nothing has stopped this process.
    pub(super) is_reopened: bool,
    pub(super) now: Moment,
}

impl Reconciliation<'_> {
    /// Compares every record with the spool and writes what follows from it.
    pub(super) fn run(self, mut engine: Engine) -> Result<Reconciled, IndexError> {
        let listing = self.spool.list().map_err(|error| IndexError::Failed(error.to_string()))?;
        let mut unclaimed: HashSet<QueueId> = listing.messages.into_iter().collect();
        let mut marked: HashSet<QueueId> = listing.marked.into_iter().collect();
        let mut found = Contents::of_nothing();
        let mut batch = Batch::new(&mut engine, self.index, self.now);
        for entry in self.index.messages(None) {
            match entry {
                Ok((id, record)) => {
                    let present = unclaimed.remove(&id);
                    self.mark(id, &record, marked.remove(&id));
                    self.record(&mut found, &mut batch, id, &record, present)?;
                }
                Err(IndexError::Damaged { id, reason }) => {
                    warn!(%id, error = reason, "a record is damaged; it is rebuilt from the message's file");
                    batch.changes.messages.insert(id, None);
                }
                Err(failed) => return Err(failed),
            }
            self.write(&mut found, &mut batch, CHUNK)?;
        }
        self.write(&mut found, &mut batch, 0)?;
        // A mark whose message is gone; those of the others are read with their files.
        for id in marked.difference(&unclaimed) {
            marks::forget(&self.spool.path(*id));
        }
        for id in unclaimed {
            self.file(&mut found, &mut batch, id)?;
            self.write(&mut found, &mut batch, CHUNK)?;
        }
        self.write(&mut found, &mut batch, 0)?;
        let Contents { messages, bytes, folded, turns, digests, .. } = found;
        engine.order.begin(turns, (), self.now.wall);
        Ok(Reconciled { engine, messages, bytes, digests, folded })
    }

    /// A record: its file must be there, its claim's worker may be dead.
    pub(super) fn record(
        &self,
        found: &mut Contents,
        batch: &mut Batch<'_>,
        id: QueueId,
        record: &MessageRecord,
        present: bool,
    ) -> Result<(), IndexError> {
        found.add(id, record);
        let lost =
            !present && record.recipients.iter().any(|recipient| !recipient.state.is_final());
        if lost {
            let reason = "its file is missing from the spool";
            error!(%id, reason, "a queued message is lost; its record is kept as dead");
            let dead = batch.set_aside(id, Unusable::Damaged, reason);
            return dead.map_err(|error| IndexError::Failed(error.to_string()));
        }
        if record.is_reserved() && !batch.engine.claimed.contains(id) {
            let fate = self.fate(id);
            let known = fate.name();
            if self.is_reopened {
                warn!(%id, known, "a claim that no worker of this process has was found when the queue's index was opened again");
            } else {
                warn!(%id, known, "an attempt was under way when the relay stopped");
            }
            let before = (!self.is_reopened).then_some(found.recovered);
            batch.recover(id, record, &fate, before);
            found.recovered += 1;
            return Ok(());
        }
        batch.changes.turns.extend(Turn::of(id, record).map(|turn| (turn, true)));
        if let Some(key) = DeadKey::of(id, record)
            && !self.index.has_dead(&key)?
        {
            batch.changes.dead.insert(key, true);
        }
        Ok(())
    }

    /// How far the claim of a dead worker had come.
    fn fate(&self, id: QueueId) -> Fate {
        let found = match (self.index.may_be_sent(id), self.dots.of(id)) {
            (Some(false), _) => FoundDot::NotSent,
            // The file is of this process alone, and knows at most more of what it has sent itself.
            (Some(true), FoundDot::NotSent) => FoundDot::MaybeSent,
            (_, found) => found,
        };
        match found {
            FoundDot::NotSent => Fate::NotSent,
            FoundDot::MaybeSent => {
                Fate::MaybeSent { resend_at: (!self.hold_uncertain).then_some(self.now.wall) }
            }
            FoundDot::Answered(settlement) => {
                Fate::Answered(settlement.not_after(self.now.wall).into_owned())
            }
        }
    }

    /// An order and its mark: a crash may have come between the two, and the record says what was answered.
    fn mark(&self, id: QueueId, record: &MessageRecord, is_marked: bool) {
        if !is_marked && !marks::are_due(record) {
            return;
        }
        if let Err(error) = self.spool.mark_as(id, record) {
            error!(%id, error = %error, "the marks of a held or scheduled message cannot be written; a new index would not know that it waits for a person or a time");
        }
    }

    /// A file without a readable record: relayed or deleted already, or to be queued (again). Trouble with
    /// one file never keeps the others waiting.
    fn file(
        &self,
        found: &mut Contents,
        batch: &mut Batch<'_>,
        id: QueueId,
    ) -> Result<(), IndexError> {
        if let Ok(Some(end)) = self.index.finished(id) {
            let retirement = Retirement::of(Some(&end), self.keeps_relayed);
            if let Err(error) = self.spool.retire(id, retirement) {
                error!(%id, error = %error, "the file of a finished message cannot be removed");
            }
            return Ok(());
        }
        match self.describe(id) {
            Ok(described) => {
                let record = arriving(described.record(), self.now.wall);
                let record = self.spool.as_marked(id, record, self.now.wall);
                info!(%id, "a message without a record is queued from its file");
                found.add(id, &record);
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

    fn write(
        &self,
        found: &mut Contents,
        batch: &mut Batch<'_>,
        more_than: usize,
    ) -> Result<(), IndexError> {
        // What ends had not begun: nothing has been claimable so far.
        let begun = batch.changes.turns.drain(..).filter(|(_, begins)| *begins);
        found.turns.extend(begun.map(|(turn, _)| turn));
        let changes = &batch.changes;
        if changes.is_empty() || changes.messages.len() + changes.dead.len() < more_than {
            return Ok(());
        }
        let whole = std::mem::take(&mut batch.changes);
        self.index.apply(&whole)?;
        let changed = whole.messages.iter();
        changed.for_each(|(id, record)| found.digests.note(*id, record.as_ref()));
        for (id, _) in whole.removed {
            let end = whole.history.get(&id).and_then(Option::as_ref);
            let retirement = Retirement::of(end, self.keeps_relayed);
            if let Err(error) = self.spool.retire(id, retirement) {
                error!(%id, error = %error, "the file of a finished message cannot be removed");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_or_a_pipe_in_the_place_of_the_lock_is_named_and_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let (precious, path) = (directory.path().join("precious"), directory.path().join("lock"));
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, &path).unwrap();
        let refused = |error: QueueOpenError| {
            assert!(error.to_string().contains("lock: it is "), "{error}");
        };
        refused(lock(directory.path()).unwrap_err());
        refused(lock_to_look(directory.path()).unwrap_err());
        assert_eq!(fs::read_to_string(precious).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        let (pipe, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &path, pipe, mode, 0).unwrap();
        refused(lock(directory.path()).unwrap_err());
        refused(lock_to_look(directory.path()).unwrap_err());
    }

    #[test]
    fn root_does_not_take_the_queue_of_another_user_and_hears_how_to_run_as_that_one() {
        if !careful_file::is_root() {
            // Nobody else could leave files there that the owner cannot read.
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(directory.path(), Some(65_534), Some(65_533)).unwrap();
        let words = lock(directory.path()).unwrap_err().to_string();
        assert!(words.contains("setpriv --reuid=65534 --regid=65533"), "{words}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        std::os::unix::fs::chown(directory.path(), Some(0), Some(0)).unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
        fs::set_permissions(directory.path(), open).unwrap();
        let words = lock(directory.path()).unwrap_err().to_string();
        assert!(words.contains("chmod 700"), "{words}");
    }

    #[test]
    fn the_lock_ends_with_its_owner_although_a_process_that_is_being_started_has_a_copy() {
        let directory = tempfile::tempdir().unwrap();
        let first = lock(directory.path()).unwrap();
        let copy = first.0.try_clone().unwrap();
        assert!(matches!(lock(directory.path()), Err(QueueOpenError::Locked { .. })));
        drop(first);
        drop(lock(directory.path()).unwrap());
        drop(copy);
    }
}
