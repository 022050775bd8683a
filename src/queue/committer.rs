//! The only writer of the index: one thread that gathers what waits, writes it in one transaction, syncs once,
//! and answers all.
//!
//! Rule: no answer before the sync. A record of a message that was just accepted is waited for by nobody (its
//! spool file is what the 250 stands on), so it may linger for company; everything else is written at
//! once. When the index fails, everything is refused until it has been opened anew.
//! Must not know what the verbs mean.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::{error, info};

use super::{
    batch::Batch,
    engine::Engine,
    error::QueueError,
    index::{Changes, Index, IndexError},
    opening,
    shared::{Loaded, Shared},
    side_files::LedgerCopy,
};
use crate::{budget::Ledger, clock::Stopwatch};

/// Verbs in one write.
const BATCH_MAX: usize = 256;
/// How often an idle queue looks whether the clock was set.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often it is written, with something else, how far stored time has come.
const SEEN_EVERY_MS: u64 = 60_000;
/// How long a new message's record waits for company.
const LINGER: Duration = Duration::from_millis(10);
/// Waits between attempts to open a failed index again; when they are used up the process must end.
const REOPEN_AFTER: [u64; 8] = [1, 2, 4, 8, 15, 30, 30, 30];

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
    pub(super) removals: Sender<super::id::QueueId>,
}

impl Committer {
    /// Serves until the last verb or until nobody can send one any more.
    pub(super) fn serve(mut self, jobs: &Receiver<Job>) {
        while let Some(batch) = gather(jobs) {
            let last = batch.iter().any(|job| job.urgency == Urgency::Last);
            let outcome = self.commit(batch);
            if last {
                return;
            }
            let Err(error) = outcome else { continue };
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
        let mut batch = Batch::new(&mut self.engine, &*index, now);
        // sled panics when it finds its files damaged.
        let written = panic::catch_unwind(AssertUnwindSafe(|| {
            looked(&mut batch);
            for job in jobs {
                permits.push(job.permit);
                answers.push((job.run)(&mut batch));
            }
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
        // After a step of the clock other things are due.
        let work = changes.adds_work() || changes.timeline.is_some();
        self.copied(|copy, ledger, half_unknown| {
            copy.append(&changes.ledger, ledger, half_unknown)
        });
        for (id, bytes) in changes.removed {
            self.shared.leaves(bytes);
            if self.removals.send(id).is_err() {
                error!(%id, "the thread that removes files has ended; the file is removed at the next start");
            }
        }
        if work {
            self.shared.changed.notify_one();
        }
    }

    fn copied(&mut self, write: impl FnOnce(&mut LedgerCopy, &Ledger, bool) -> io::Result<()>) {
        let half_unknown = self.engine.assume_half_spent;
        if let Err(error) = write(&mut self.copy, &self.engine.ledger, half_unknown) {
            error!(error = %error, "the copy of the budget ledger cannot be written; it is used only if the queue's index is lost");
        }
    }

    /// Opens the index anew, refusing everything meanwhile.
    fn reopen(&mut self, jobs: &Receiver<Job>, reason: &IndexError) -> Reopened {
        error!(error = %reason, "the queue's index has failed; clients hear 451 until it is open again");
        let mut damage = matches!(reason, IndexError::Broken(_)).then(|| reason.to_string());
        for seconds in REOPEN_AFTER {
            self.discard();
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
                    self.shared.changed.notify_one();
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
            opening::discard(index);
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
        for id in to_remove {
            // A mistake of the program with one file must not keep all others.
            let removed = panic::catch_unwind(AssertUnwindSafe(|| spool.remove(id)));
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
fn looked(batch: &mut Batch<'_>) {
    if let Some((found, timeline)) = batch.engine.look(batch.now) {
        opening::tell(found);
        batch.index.set_timeline(timeline.clone());
        batch.changes.timeline = Some(timeline.clone());
    }
}

/// Waits for work and takes what is there: nothing, when it is time to look at the clocks. `None` when nobody can send
/// any more.
fn gather(jobs: &Receiver<Job>) -> Option<Vec<Job>> {
    let first = match jobs.recv_timeout(LOOK_EVERY) {
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
