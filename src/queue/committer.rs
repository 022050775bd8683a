//! The only writer of the index: one thread that gathers what waits, writes it in one transaction, syncs once,
//! and answers all; and what it shares with the queue and its readers: the open index, totals, and health.
//!
//! Rule: no answer before the sync. A record of a message that was just accepted is waited for by nobody (its
//! spool file is what the 250 stands on), so it may linger for company; everything else is written at
//! once. When the index fails, everything is refused until it has been opened anew and brought together with the spool.
//! Must not know what the verbs mean.

use std::{
    io, iter,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tracing::{error, info};

use super::{
    batch::Batch,
    closing,
    digest::Digests,
    engine::{Claims, Engine},
    error::QueueError,
    folding::Folding,
    id::QueueId,
    index::{Changes, Index, IndexError, IndexSource, readable},
    options::{Fairness, Options, Room},
    recovery::{self, Opened, Opening, QueueOpenError},
    routes::Accounts,
    side_files::{FoundDots, LedgerCopy, UnconfirmedSends},
    spool::{Retirement, Spool, refused},
};
use crate::{
    budget::ledgers::Ledgers,
    clock::{Clock, Stopwatch},
    live::Live,
    sync,
};

/// Verbs in one write.
const BATCH_MAX: usize = 256;
/// How often an idle queue looks whether the clock was set.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How soon it reads on what is not known of a long queue, or not any more.
const READ_ON_AFTER: Duration = Duration::from_millis(5);
/// Records that are then read at once, which takes a millisecond.
pub(super) const READ_AT_ONCE: usize = 256;
/// How often it is written, with something else, how far stored time has come.
const SEEN_EVERY_MS: u64 = 60_000;
/// How long a new message's record waits for company.
const LINGER: Duration = Duration::from_millis(10);
/// Waits between attempts to open a failed index again; when they are used up the process must end.
const REOPEN_AFTER: [u64; 8] = [1, 2, 4, 8, 15, 30, 30, 30];
/// The wait behind them for an index that no new process would open sooner.
const REOPEN_LATER: u64 = 15;

/// One verb on its way to the committer.
pub(super) struct Job {
    /// Runs the verb; what it returns is called with the result of the write.
    pub(super) run: Verb,
    pub(super) urgency: Urgency,
    /// Keeps the number of waiting verbs bounded.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// A verb: it reads, decides and collects changes.
type Verb = Box<dyn FnOnce(&mut Batch<'_>) -> Answer + Send>;

/// Answers the one who waits.
pub(super) type Answer = Box<dyn FnOnce(Result<(), QueueError>) + Send>;

/// Whether somebody waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Yes.
    Now,
    /// No.
    Linger,
    /// It is the last one: the thread ends after it.
    Last,
}

/// Makes a job of a verb, and the receiver of its answer.
pub(super) fn job<T: Send + 'static>(
    urgency: Urgency,
    permit: Option<OwnedSemaphorePermit>,
    verb: impl FnOnce(&mut Batch<'_>) -> Result<T, QueueError> + Send + 'static,
) -> (Job, oneshot::Receiver<Result<T, QueueError>>) {
    let (answer, receiver) = oneshot::channel();
    let run = move |batch: &mut Batch<'_>| -> Answer {
        // A claim for somebody who has given up would belong to nobody; whoever gave up asks again.
        if urgency == Urgency::Now && answer.is_closed() {
            return Box::new(|_| ());
        }
        let outcome = verb(batch);
        // The one who asked may have gone away; the change holds all the same.
        Box::new(move |written| drop(answer.send(written.and(outcome))))
    };
    (Job { run: Box::new(run), urgency, permit }, receiver)
}

/// The state of the thread.
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) index: Option<Arc<dyn Index>>,
    pub(super) engine: Engine,
    pub(super) copy: LedgerCopy,
    /// When, by the boot clock, it was last written how far stored time has come.
    pub(super) seen_ms: u64,
    /// Spool files whose messages have left the queue.
    pub(super) removals: Sender<(QueueId, Retirement)>,
}

impl Committer {
    /// Serves until the last verb or until nobody can send one any more.
    pub(super) fn serve(mut self, jobs: &Receiver<Job>) {
        while let Some(batch) = gather(jobs, self.patience()) {
            let last = batch.iter().any(|job| job.urgency == Urgency::Last);
            let outcome = self.commit(batch);
            if last {
                return;
            }
            let Err(error) = outcome else { continue };
            if let IndexError::Lost(reason) = error {
                self.shared.fail_for_good(reason);
                return;
            }
            match self.reopen(jobs, &error) {
                Reopened::Open => {}
                Reopened::Closed => return,
                Reopened::Not => {
                    self.shared.fail_for_good(error.to_string());
                    return;
                }
            }
        }
    }

    /// How long it waits for something to do.
    fn patience(&self) -> Duration {
        let is_missing = sync::lock(&self.shared.digests).room() > 0;
        if is_missing { READ_ON_AFTER } else { LOOK_EVERY }
    }

    /// Runs a batch; an error means that the index is of no use any more.
    fn commit(&mut self, jobs: Vec<Job>) -> Result<(), IndexError> {
        let closed = || IndexError::Failed("the queue's index is closed".into());
        let index = self.index.clone().ok_or_else(closed)?;
        let claimed = self.engine.claimed.clone();
        let half_unknown = self.engine.assume_half_spent;
        let mut answers = Vec::with_capacity(jobs.len());
        let mut permits = Vec::with_capacity(jobs.len());
        let seen_ms = &mut self.seen_ms;
        let now = self.shared.clock.now();
        self.engine.set_fairness(self.shared.fairness.get());
        self.engine.set_accounts(self.shared.accounts.get());
        let mut batch = Batch::new(&mut self.engine, &*index, now);
        // sled panics when it finds its files damaged.
        let written = panic::catch_unwind(AssertUnwindSafe(|| {
            looked(&mut batch, &self.shared.digests);
            if jobs.is_empty() {
                self.shared.read_on(&*index)?;
            }
            for job in jobs {
                permits.push(job.permit);
                answers.push((job.run)(&mut batch));
            }
            batch.catch_up();
            if batch.changes.is_empty() {
                return Ok(());
            }
            if now.since_boot_ms.abs_diff(*seen_ms) >= SEEN_EVERY_MS {
                *seen_ms = now.since_boot_ms;
                batch.changes.timeline = batch.engine.timeline().cloned();
            }
            index.apply(&batch.changes)
        }));
        let changes = batch.changes;
        let written =
            written.unwrap_or_else(|_| Err(IndexError::Broken("the index panicked".into())));
        match written {
            Ok(()) => {
                self.after(changes);
                if half_unknown && !self.engine.assume_half_spent {
                    self.copied(|copy, ledger, half_unknown| copy.rewrite(ledger, half_unknown));
                }
                answers.into_iter().for_each(|answer| answer(Ok(())));
                Ok(())
            }
            Err(error) => {
                self.engine.claimed = claimed;
                self.shared.fail(&error.to_string());
                answers
                    .into_iter()
                    .for_each(|answer| answer(Err(QueueError::Unavailable(error.to_string()))));
                Err(error)
            }
        }
    }

    /// What follows from a write: totals, files to remove, workers to wake.
    fn after(&mut self, changes: Changes) {
        if !changes.messages.is_empty() {
            let mut digests = sync::lock(&self.shared.digests);
            let changed = changes.messages.iter();
            changed.for_each(|(id, record)| digests.note(*id, record.as_ref()));
        }
        // After a step of the clock other things are due.
        let work = changes.adds_work || changes.timeline.is_some();
        self.copied(|copy, ledger, half_unknown| {
            copy.append(&changes.ledger, ledger, half_unknown)
        });
        let are_kept = self.shared.room.get().keep_relayed.is_some();
        for (id, record) in &changes.history {
            record.iter().for_each(|record| closing::line(*id, record));
        }
        for (id, bytes) in changes.removed {
            self.shared.leaves(bytes);
            let end = changes.history.get(&id).and_then(Option::as_ref);
            if self.removals.send((id, Retirement::of(end, are_kept))).is_err() {
                error!(%id, "the thread that removes files has ended; the file is removed at the next start");
            }
        }
        if work {
            self.shared.changed.send_replace(());
        }
    }

    fn copied(&mut self, write: impl FnOnce(&mut LedgerCopy, &Ledgers, bool) -> io::Result<()>) {
        let half_unknown = self.engine.assume_half_spent;
        if let Err(error) = write(&mut self.copy, &self.engine.ledger, half_unknown) {
            error!(error = %error, "the copy of the budget ledger cannot be written; it is used only if the queue's index is lost");
        }
    }

    /// Opens the index anew, refusing everything meanwhile.
    fn reopen(&mut self, jobs: &Receiver<Job>, reason: &IndexError) -> Reopened {
        error!(error = %reason, "the queue's index has failed; clients hear 451 until it is open again");
        let mut damage = matches!(reason, IndexError::Broken(_)).then(|| reason.to_string());
        let more = if self.shared.source.is_waited_for() { usize::MAX } else { 0 };
        for seconds in REOPEN_AFTER.into_iter().chain(iter::repeat_n(REOPEN_LATER, more)) {
            self.discard();
            if self.shared.has_failed_for_good() {
                return Reopened::Closed;
            }
            let pause = Duration::from_secs(seconds);
            let hurry = self.shared.spool.faults.is_in_a_hurry();
            if refuse(jobs, if hurry { pause / 200 } else { pause }) == Queue::Closed {
                return Reopened::Closed;
            }
            match self.shared.load(self.engine.claimed.clone(), damage.take()) {
                Ok(loaded) => {
                    self.index = Some(loaded.index);
                    self.engine = loaded.engine;
                    self.copy = loaded.copy;
                    info!("the queue's index is open again");
                    self.shared.changed.send_replace(());
                    return Reopened::Open;
                }
                Err(error) => {
                    error!(error = %error, "the queue's index cannot be opened again yet");
                }
            }
        }
        Reopened::Not
    }

    fn discard(&mut self) {
        self.shared.close_index();
        if let Some(index) = self.index.take() {
            recovery::discard(index);
        }
    }
}

/// What became of an index that had failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reopened {
    /// It is open again.
    Open,
    /// It stays closed, because the queue is closed: the next process opens it.
    Closed,
    /// It cannot be opened in this process.
    Not,
}

/// Whether the queue is still wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    Wanted,
    Closed,
}

/// Starts the committer and the thread that removes files for it.
pub(super) fn start(
    shared: &Arc<Shared>,
    loaded: Loaded,
    jobs: Receiver<Job>,
) -> io::Result<JoinHandle<()>> {
    let (removals, to_remove) = mpsc::channel();
    let spool = Arc::clone(&shared.spool);
    let sweeper = thread::Builder::new().name("spool-sweeper".into()).spawn(move || {
        for (id, retirement) in to_remove {
            // A mistake of the program with one file must not keep all others.
            let removed = panic::catch_unwind(AssertUnwindSafe(|| spool.retire(id, retirement)));
            let removed = removed.unwrap_or_else(|_| Err(io::Error::other("the sweeper has panicked")));
            if let Err(error) = removed {
                error!(%id, error = %error, "a relayed message's file cannot be removed; it is removed at the next start");
            }
        }
    })?;
    let Loaded { index, engine, copy } = loaded;
    let committer = Committer {
        shared: Arc::clone(shared),
        index: Some(index),
        engine,
        copy,
        seen_ms: 0,
        removals,
    };
    thread::Builder::new().name("queue-committer".into()).spawn(move || {
        let shared = Arc::clone(&committer.shared);
        if panic::catch_unwind(AssertUnwindSafe(|| committer.serve(&jobs))).is_err() {
            shared.fail_for_good("the queue's committer has panicked".into());
        }
        // The sender of removals is gone now, so the sweeper finishes what it has.
        drop(sweeper.join());
    })
}

/// Looks at the clocks. A step of the wall clock is written with the batch, and told once.
fn looked(batch: &mut Batch<'_>, digests: &Mutex<Digests>) {
    if let Some((found, timeline)) = batch.engine.look(batch.now) {
        recovery::tell(found);
        batch.index.set_timeline(timeline.clone());
        batch.changes.timeline = Some(timeline.clone());
        // Their times are read anew as they are shown from now on.
        *sync::lock(digests) = Digests::default();
    }
}

/// Waits for work and takes what is there: nothing, when it is time to look at the clocks. `None` when nobody can send
/// any more.
fn gather(jobs: &Receiver<Job>, patience: Duration) -> Option<Vec<Job>> {
    let first = match jobs.recv_timeout(patience) {
        Ok(first) => first,
        Err(RecvTimeoutError::Timeout) => return Some(Vec::new()),
        Err(RecvTimeoutError::Disconnected) => return None,
    };
    let lingering = Stopwatch::start();
    let mut alone = first.urgency == Urgency::Linger;
    let mut batch = vec![first];
    while batch.len() < BATCH_MAX {
        let wait = if alone { LINGER.saturating_sub(lingering.elapsed()) } else { Duration::ZERO };
        let next = if wait.is_zero() { jobs.try_recv().ok() } else { jobs.recv_timeout(wait).ok() };
        let Some(job) = next else { break };
        alone &= job.urgency == Urgency::Linger;
        batch.push(job);
    }
    Some(batch)
}

/// Refuses everything for `duration`: dropping a job drops its answer, which the one who waits reads as
/// "unavailable". The record of a new message needs none: its file is found when the index is opened.
fn refuse(jobs: &Receiver<Job>, duration: Duration) -> Queue {
    let waiting = Stopwatch::start();
    loop {
        match jobs.recv_timeout(duration.saturating_sub(waiting.elapsed())) {
            Ok(job) if job.urgency == Urgency::Last => return Queue::Closed,
            Ok(job) => drop(job),
            Err(RecvTimeoutError::Timeout) => return Queue::Wanted,
            Err(RecvTimeoutError::Disconnected) => return Queue::Closed,
        }
    }
}

/// The trouble of a queue that was closed.
pub(super) const CLOSED: &str = "the queue is closed";
/// How long a repair may take: a spool of some gigabytes is read from a slow disk meanwhile.
const REPAIR_MAX: Duration = Duration::from_secs(15 * 60);

/// What the committer and the readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    /// How much may be kept; the options say only how much it was at the start.
    pub(super) room: Live<Room>,
    /// The same of what is fair.
    pub(super) fairness: Live<Fairness>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) spool: Arc<Spool>,
    /// For reading; `None` while it is closed.
    pub(super) index: RwLock<Option<Arc<dyn Index>>>,
    pub(super) source: Box<dyn IndexSource>,
    /// What is known of its messages, as they were written last.
    pub(super) digests: Mutex<Digests>,
    pub(super) unconfirmed: Mutex<Option<UnconfirmedSends>>,
    pub(super) messages: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Messages that came in since the start.
    pub(super) accepted: AtomicU64,
    pub(super) set_aside: AtomicU64,
    /// Tells workers that something may have become claimable.
    pub(super) changed: watch::Sender<()>,
    /// The accounts and the routes to them.
    pub(super) accounts: Live<Accounts>,
    pub(super) folding: Folding,
    /// Why the store refuses everything, and whether that is final.
    pub(super) trouble: watch::Sender<Option<Trouble>>,
}

/// Why the store refuses.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) reason: String,
    /// Only a new process can mend it.
    pub(super) for_good: bool,
    since: Stopwatch,
}

/// An index that has been opened and brought together with the spool.
pub(super) struct Loaded {
    pub(super) index: Arc<dyn Index>,
    pub(super) engine: Engine,
    pub(super) copy: LedgerCopy,
}

impl Shared {
    /// The shared side of a queue whose index is not open yet.
    pub(super) fn new(
        options: Options,
        clock: Arc<dyn Clock>,
        spool: Spool,
        source: Box<dyn IndexSource>,
    ) -> Self {
        Self {
            room: Live::new(Room::of(&options)),
            folding: Folding::new(options.storms.clone()),
            fairness: Live::new(options.fairness.clone()),
            accounts: Live::new(options.accounts.clone()),
            options,
            clock,
            spool: Arc::new(spool),
            index: RwLock::default(),
            source,
            digests: Mutex::default(),
            unconfirmed: Mutex::default(),
            messages: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            set_aside: AtomicU64::new(0),
            changed: watch::Sender::new(()),
            trouble: watch::Sender::new(None),
        }
    }

    /// Opens the index and reconciles it with the spool. `damage` says why it cannot be trusted any more and must
    /// be rebuilt.
    pub(super) fn load(
        &self,
        alive: Claims,
        damage: Option<String>,
    ) -> Result<Loaded, QueueOpenError> {
        let state = &self.options.directory;
        let now = self.clock.now();
        let opening = Opening {
            state,
            spool: &self.spool,
            source: &*self.source,
            dots: &FoundDots::read(state, now.boot),
            alive,
            hold_uncertain: self.options.hold_uncertain,
            keeps_relayed: self.room.get().keep_relayed.is_some(),
            in_doubt: self.is_in_trouble(),
            now,
        };
        let Opened { index, reconciled } = opening.run(damage)?;
        self.folding.adopt(&reconciled.folded, now);
        let engine = reconciled.engine;
        let copy = LedgerCopy::create(state, now.boot, &engine.ledger, engine.assume_half_spent);
        let copy = copy.map_err(|error| QueueOpenError::Unusable {
            directory: state.clone(),
            reason: error.to_string(),
        })?;
        self.messages.store(reconciled.messages, Ordering::Relaxed);
        self.bytes.store(reconciled.bytes, Ordering::Relaxed);
        self.set_aside.store(self.spool.set_aside_count(), Ordering::Relaxed);
        *sync::lock(&self.digests) = reconciled.digests;
        *sync::write(&self.index) = Some(Arc::clone(&index));
        self.trouble
            .send_if_modified(|trouble| trouble.take_if(|trouble| !trouble.for_good).is_some());
        Ok(Loaded { index, engine, copy })
    }

    /// Reads the next messages behind the digests; true when none of them is missing.
    pub(super) fn read_on(&self, index: &dyn Index) -> Result<bool, IndexError> {
        let mut digests = sync::lock(&self.digests);
        let room = digests.room().min(READ_AT_ONCE);
        if room > 0 {
            let behind = readable(index.messages(digests.last())).take(room);
            let behind = behind.collect::<Result<Vec<_>, _>>()?;
            let messages = behind.iter().map(|message| (message.id, &message.record));
            digests.append(messages, behind.len() < room);
        }
        Ok(digests.room() == 0)
    }

    /// Refuses everything until the index is open again.
    pub(super) fn fail(&self, reason: &str) {
        self.trouble.send_if_modified(|trouble| {
            let first = trouble.is_none();
            trouble.get_or_insert_with(|| Trouble {
                reason: reason.to_owned(),
                for_good: false,
                since: Stopwatch::start(),
            });
            first
        });
    }

    /// Refuses everything for the rest of this process.
    pub(super) fn fail_for_good(&self, reason: String) {
        self.trouble.send_replace(Some(Trouble {
            reason,
            for_good: true,
            since: Stopwatch::start(),
        }));
    }

    /// Whether this process must end.
    pub(super) fn has_failed_for_good(&self) -> bool {
        self.trouble.borrow().as_ref().is_some_and(|trouble| trouble.for_good)
    }

    /// Whether the queue was closed, and is used no more.
    #[cfg(feature = "fleet")]
    pub(super) fn is_closed(&self) -> bool {
        self.trouble.borrow().as_ref().is_some_and(|trouble| trouble.reason == CLOSED)
    }

    /// Whether everything is refused, for now or for good.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.trouble.borrow().is_some()
    }

    /// Nobody has answered within the time for a commit. That is normal while the index is opened anew and
    /// brought together with a long spool; otherwise, and when even that takes too long, the process must end.
    pub(super) fn is_slow(&self, reason: String) -> QueueError {
        let repairing =
            |trouble: &Trouble| trouble.for_good || trouble.since.elapsed() < REPAIR_MAX;
        if !self.trouble.borrow().as_ref().is_some_and(repairing) {
            self.fail_for_good(reason);
        }
        self.refusal()
    }

    /// Takes the index from the readers.
    pub(super) fn close_index(&self) {
        *sync::write(&self.index) = None;
    }

    /// A message has left the queue.
    pub(super) fn leaves(&self, bytes: u64) {
        // Saturating: a message accepted while the index was opened anew may not have been counted.
        for (total, part) in [(&self.messages, 1), (&self.bytes, bytes)] {
            let less = |total: u64| Some(total.saturating_sub(part));
            // It never fails, because `less` always has an answer.
            total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
        }
    }

    /// The words for everybody who asks while the store refuses.
    pub(super) fn refusal(&self) -> QueueError {
        let reason = self.trouble.borrow().as_ref().map(|trouble| trouble.reason.clone());
        QueueError::Unavailable(reason.unwrap_or_else(|| "the queue is closed".into()))
    }

    /// Whether there is room: health, quota, free space.
    pub(super) fn admit(&self, size_bytes: u64) -> Result<(), QueueError> {
        if self.trouble.borrow().is_some() {
            return Err(self.refusal());
        }
        let used = self.bytes.load(Ordering::Relaxed);
        let room = self.room.get();
        if used.saturating_add(size_bytes) > room.max_bytes {
            let limit = room.max_bytes;
            return Err(QueueError::Full(format!(
                "the queue holds {} of at most {} ([queue] max_bytes)",
                iec(used),
                iec(limit)
            )));
        }
        let free = || self.spool.free_bytes();
        let least = room.min_free_bytes.saturating_add(size_bytes);
        if free().map_err(|error| refused(&error))? < least {
            // Kept bodies are the first to go.
            let is_short = || free().is_ok_and(|free| free < least);
            self.spool.kept.make_room(is_short).map_err(|error| refused(&error))?;
        }
        let free = free().map_err(|error| refused(&error))?;
        if free < least {
            let least = room.min_free_bytes;
            return Err(QueueError::Full(format!(
                "the disk of the queue has {} free, and {} must stay free ([queue] min_free_bytes)",
                iec(free),
                iec(least)
            )));
        }
        Ok(())
    }
}

/// `25.0 MiB`.
fn iec(octets: u64) -> impl std::fmt::Display {
    bytesize::ByteSize::b(octets).display().iec()
}
