//! The durable store: spool files with sled as the queue over them.
//!
//! Rule: a receipt follows the syncs of file and name alone, other verbs the committer's. Must not know clients or Gmail.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::Ordering,
        mpsc::{self, Sender},
    },
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tracing::error;

use super::{
    committer::{self, Job, Urgency, job},
    draft::Draft,
    engine::{Claims, Engine, Unusable},
    faults::Faults,
    id::{QueueId, QueueIds},
    in_transfer::InTransfer,
    only::Only,
    opening::{self, StateLock, StoreOpenError},
    options::Options,
    reader::{MessageReader, ReadError},
    receipt::Receipt,
    shared::Shared,
    side_files::FinalDots,
    sled_dead::{page, readable},
    sled_tables::SledTables,
    spool::{Spool, blocking, refused},
    state::AccountState,
    store::{
        Claim, ClaimTerms, LIST_LENGTH_MAX, LedgerView, QueuedMessage, Settlement, Store,
        StoreError, Told, Totals,
    },
    tables::{Changes, TableError, Tables, is_of_the_future},
};
use crate::{
    budget::Limit,
    clock::{Clock, Moment, SETTLED_AFTER, Timeline, Timestamp},
    message::envelope::Envelope,
};

/// Verbs that may wait for the committer; whoever comes then waits before.
const JOBS_MAX: usize = 1_024;
/// History entries removed in one write.
const PRUNE_CHUNK: usize = 1_000;

/// A queue on disk. One process at a time.
#[derive(Debug)]
pub struct SledStore {
    shared: Arc<Shared>,
    ids: QueueIds,
    in_transfer: Arc<InTransfer>,
    hostname: Arc<str>,
    jobs: Sender<Job>,
    permits: Arc<Semaphore>,
    committer: Mutex<Option<JoinHandle<()>>>,
    /// Held for the lock on it.
    _lock: StateLock,
}

impl SledStore {
    /// Opens or creates the queue, and heals what a crash has left.
    ///
    /// # Errors
    /// When another process has it, or when the disk or the permissions stand in the way.
    pub fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Self, StoreOpenError> {
        Self::open_with(options, clock, Faults::default())
    }

    /// The same, on a disk of a test.
    pub(super) fn open_with(
        options: Options,
        clock: Arc<dyn Clock>,
        faults: Faults,
    ) -> Result<Self, StoreOpenError> {
        let lock = opening::lock(&options.directory)?;
        let unusable = |reason: String| StoreOpenError::Unusable {
            directory: options.directory.clone(),
            reason,
        };
        let spool =
            Spool::open(&options.directory, faults).map_err(|error| unusable(error.to_string()))?;
        let listing = spool.list().map_err(|error| unusable(error.to_string()))?;
        for part in listing.parts {
            std::fs::remove_file(part).map_err(|error| unusable(error.to_string()))?;
        }
        let newest = listing.messages.iter().max().map_or(Timestamp(0), QueueId::time);
        let (jobs, waiting) = mpsc::channel();
        let shared = Arc::new(Shared::new(options.clone(), clock, spool));
        let loaded = shared.load(Claims::default(), None)?;
        let dots = FinalDots::create(&options.directory, shared.clock.now().boot);
        *lock_of(&shared.dots) = Some(dots.map_err(|error| unusable(error.to_string()))?);
        let committer = committer::start(&shared, loaded, waiting)
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            ids: QueueIds::new(newest),
            in_transfer: Arc::default(),
            hostname: options.hostname.as_str().into(),
            jobs,
            permits: Arc::new(Semaphore::new(JOBS_MAX)),
            committer: Mutex::new(Some(committer)),
            shared,
            _lock: lock,
        })
    }

    /// Hands a verb to the committer and waits for its answer.
    async fn change<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&mut Engine, &SledTables, &mut Changes) -> Result<T, StoreError>
        + Send
        + 'static,
    ) -> Result<T, StoreError> {
        if self.shared.is_in_trouble() {
            return Err(self.shared.refusal());
        }
        let patience = self.shared.options.commit_timeout;
        let work = async {
            let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
            let (job, answer) = job(Urgency::Now, permit, verb);
            self.jobs.send(job).map_err(|_| self.shared.refusal())?;
            answer.await.map_err(|_| self.shared.refusal())?
        };
        tokio::time::timeout(patience, work).await.unwrap_or_else(|_| {
            let reason =
                format!("a write of the queue's index took longer than {} s", patience.as_secs());
            Err(self.shared.is_slow(reason))
        })
    }

    /// Reads the tables on a thread that may block, after what was accepted before has been written.
    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&SledTables) -> Result<T, TableError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.change(|_, _, _| Ok(())).await?;
        let tables = self.shared.tables.read().unwrap_or_else(PoisonError::into_inner).clone();
        let tables = tables.ok_or_else(|| self.shared.refusal())?;
        blocking(move || question(&tables)).await?.map_err(|error| match error {
            TableError::Damaged { id, reason } => StoreError::Corrupt { id, reason },
            error => StoreError::Unavailable(error.to_string()),
        })
    }

    /// The claim of `id` has ended. A mention that cannot be taken back errs on the safe side.
    fn forget_dot(&self, id: QueueId) {
        let forgotten = lock_of(&self.shared.dots).as_mut().map(|dots| dots.forget(id));
        if let Some(Err(error)) = forgotten {
            error!(%id, error = %error, "the note about a final dot cannot be taken back");
        }
    }

    /// A claim that met a damaged record: it is out of the way now, and mended from the message's file.
    async fn past_damage(
        &self,
        claim: Result<Claim, StoreError>,
        now: Moment,
    ) -> Result<Claim, StoreError> {
        let Err(StoreError::Corrupt { id, reason }) = claim else { return claim };
        // The record is damaged and the file may be fine: a new record is made from the file.
        let shared = Arc::clone(&self.shared);
        let described = blocking(move || shared.spool.describe(id)).await?;
        match described {
            Ok(described) => {
                error!(%id, error = reason, "a record is damaged; it is rebuilt from the message's file");
                let record = super::record::MessageRecord::new(
                    &described.envelope,
                    described.trailer.body_bytes,
                );
                self.change(move |_, _, changes| {
                    changes.put(id, None, Some(record));
                    Ok(Claim::Idle { next: Some(now.wall) })
                })
                .await
            }
            Err(problem) => match problem.of_the_disk() {
                // Now is no good time; the next claim meets it again.
                Some(error) => Err(refused(error)),
                None => {
                    self.set_aside(id, problem).await.map(|_| Claim::Idle { next: Some(now.wall) })
                }
            },
        }
    }

    /// What follows from the answer to a settlement: its final dot is forgotten once its claim has ended.
    fn settled(&self, id: QueueId, answer: &Result<(), StoreError>) {
        if matches!(answer, Ok(()) | Err(StoreError::NotFound(_))) {
            self.forget_dot(id);
        }
    }

    /// A message whose file cannot be used, by the worker that has it or by nobody: a damaged one goes out of the
    /// way, a newer one stays where it is.
    async fn set_aside(
        &self,
        id: QueueId,
        problem: ReadError,
    ) -> Result<MessageReader, StoreError> {
        let (reason, now) = (problem.to_string(), self.shared.clock.wall());
        let (why, words) = if problem.is_newer() {
            error!(%id, error = reason, "a newer version of this program wrote a message file; it is left as it is, and the message is held");
            (Unusable::Newer, format!("its stored file cannot be read by this version: {reason}"))
        } else {
            let spool = Arc::clone(&self.shared.spool);
            let aside = blocking(move || spool.set_aside(id)).await?;
            let aside = aside.map_err(|error| refused(&error))?;
            error!(%id, error = reason, moved_to = %aside.display(), "a message file is damaged and was set aside");
            self.shared.set_aside.store(self.shared.spool.set_aside_count(), Ordering::Relaxed);
            let aside = aside.display();
            let words =
                format!("its stored file is damaged ({reason}); the remains are in {aside}");
            (Unusable::Damaged, words)
        };
        self.change(move |engine, tables, changes| {
            engine.set_aside(tables, changes, id, now, why, &words)
        })
        .await?;
        self.forget_dot(id);
        Err(StoreError::Corrupt { id, reason })
    }
}

#[async_trait]
impl Store for SledStore {
    fn admission(&self, size_bytes: u64) -> Result<(), StoreError> {
        self.shared.admit(size_bytes)
    }

    fn begin(&self, envelope: Envelope) -> Result<Draft, StoreError> {
        let id = self.ids.next(envelope.accepted_at);
        Draft::new(id, envelope, Arc::clone(&self.hostname), Some(self.shared.spool.part(id)))
    }

    async fn begin_as(&self, id: QueueId, envelope: Envelope) -> Result<Draft, StoreError> {
        let taken = self.in_transfer.take(id)?;
        // The question goes the way of the records, so it comes behind that of a draft that has just ended.
        if self.show(id).await?.is_some() {
            return Err(StoreError::AlreadyKnown(id));
        }
        let draft =
            Draft::new(id, envelope, Arc::clone(&self.hostname), Some(self.shared.spool.part(id)))?;
        Ok(draft.holding(taken))
    }

    async fn enqueue(&self, draft: Draft) -> Result<Receipt, StoreError> {
        self.shared.admit(draft.size_bytes())?;
        let finished = draft.finish()?;
        let _taken_until_the_record_is_on_its_way = finished.taken_id.clone();
        let (id, record, is_new) = (finished.id, finished.record.clone(), finished.is_new);
        let (part, rest) = finished.into_part()?;
        self.shared.spool.store(id, part, rest).await?;
        // The message cannot be lost from here on: whatever happens to the record, the file is found.
        self.shared.messages.fetch_add(1, Ordering::Relaxed);
        self.shared.bytes.fetch_add(record.size_bytes, Ordering::Relaxed);
        let patience = self.shared.options.commit_timeout;
        let permit = loop {
            let permit = Arc::clone(&self.permits).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(patience, permit).await {
                break permit;
            }
            // Without a record its file would be found only by the next start.
            self.shared.is_slow("the committer of the queue's index does not move".into());
            if self.shared.has_failed_for_good() {
                return Ok(Receipt::new(id));
            }
        };
        let clock = Arc::clone(&self.shared.clock);
        let (job, _) = job(Urgency::Linger, permit.ok(), move |_, tables, changes| {
            Engine::enqueue(tables, changes, id, record, is_new.then(|| clock.wall()))
        });
        // A committer that has ended leaves the file to the next start.
        drop(self.jobs.send(job));
        Ok(Receipt::new(id))
    }

    async fn claim_due(&self, now: Moment, terms: ClaimTerms) -> Result<Claim, StoreError> {
        let claim = self
            .change(move |engine, tables, changes| engine.claim(tables, changes, now, terms))
            .await;
        self.past_damage(claim, now).await
    }

    fn final_dot(&self, id: QueueId) -> Result<(), StoreError> {
        match lock_of(&self.shared.dots).as_mut() {
            Some(dots) => dots.note(id).map_err(|error| refused(&error)),
            None => Err(self.shared.refusal()),
        }
    }

    fn answered(&self, id: QueueId, settlement: &Settlement) -> Result<(), StoreError> {
        match lock_of(&self.shared.dots).as_mut() {
            Some(dots) => dots.answered(id, settlement).map_err(|error| refused(&error)),
            None => Err(self.shared.refusal()),
        }
    }

    async fn settle(&self, id: QueueId, settlement: Settlement) -> Result<(), StoreError> {
        let now = self.shared.clock.now();
        let verb = move |engine: &mut Engine, tables: &SledTables, changes: &mut Changes| {
            engine.settle(tables, changes, id, &settlement, now)
        };
        let settled = self.change(verb).await;
        self.settled(id, &settled);
        settled
    }

    async fn settle_and_claim(
        &self,
        id: QueueId,
        settlement: Settlement,
        now: Moment,
        terms: ClaimTerms,
    ) -> (Result<(), StoreError>, Result<Claim, StoreError>) {
        let settled_at = self.shared.clock.now();
        let both = self.change(move |engine, tables, changes| {
            let settled = engine.settle(tables, changes, id, &settlement, settled_at);
            Ok((settled, engine.claim(tables, changes, now, terms)))
        });
        match both.await {
            Ok((settled, claim)) => {
                self.settled(id, &settled);
                (settled, self.past_damage(claim, now).await)
            }
            Err(error) => (Err(error.clone()), Err(error)),
        }
    }

    async fn open_message(&self, id: QueueId) -> Result<MessageReader, StoreError> {
        let spool = Arc::clone(&self.shared.spool);
        match blocking(move || spool.read(id)).await? {
            Ok(reader) => Ok(reader),
            Err(problem) => match problem.of_the_disk() {
                Some(error) => Err(refused(error)),
                None => self.set_aside(id, problem).await,
            },
        }
    }

    async fn read_message(&self, id: QueueId) -> Result<MessageReader, StoreError> {
        let spool = Arc::clone(&self.shared.spool);
        blocking(move || spool.read(id)).await?.map_err(|problem| match problem {
            ReadError::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                StoreError::NotFound(id)
            }
            ReadError::Io(error) => refused(&error),
            ReadError::Frame(_) => StoreError::Corrupt { id, reason: problem.to_string() },
        })
    }

    async fn retry_only(
        &self,
        id: QueueId,
        now: Timestamp,
        only: &Only,
    ) -> Result<u32, StoreError> {
        let only = only.clone();
        self.change(move |engine, tables, changes| engine.retry(tables, changes, id, now, &only))
            .await
    }

    async fn hold(&self, id: QueueId, now: Timestamp, reason: String) -> Result<u32, StoreError> {
        self.change(move |engine, tables, changes| engine.hold(tables, changes, id, now, &reason))
            .await
    }

    async fn delete_only(&self, id: QueueId, only: &Only) -> Result<(), StoreError> {
        let (now, only) = (self.shared.clock.wall(), only.clone());
        self.change(move |engine, tables, changes| {
            engine.delete_only(tables, changes, id, now, &only)
        })
        .await
    }

    async fn newest(&self) -> Result<Option<QueueId>, StoreError> {
        self.read(SledTables::newest).await
    }

    async fn expire(&self, id: QueueId, keep_after: Timestamp) -> Result<(), StoreError> {
        let now = self.shared.clock.wall();
        self.change(move |engine, tables, changes| {
            engine.expire(tables, changes, id, keep_after, now)
        })
        .await
    }

    fn doubt(&self) -> Duration {
        let tables = self.shared.tables.read().unwrap_or_else(PoisonError::into_inner).clone();
        let timeline = tables.and_then(|tables| tables.timeline());
        let doubt = |known: Arc<Timeline>| known.doubt(self.shared.clock.now(), SETTLED_AFTER);
        timeline.map_or(Duration::ZERO, doubt)
    }

    async fn list(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        self.read(move |tables| page(tables.messages(after), limit)).await
    }

    async fn dead(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        self.read(move |tables| page(tables.dead(after, limit)?, limit)).await
    }

    async fn given_up(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        self.read(move |tables| page(tables.given_up(after, limit)?, limit)).await
    }

    async fn untold(&self, limit: usize) -> Result<Vec<QueuedMessage>, StoreError> {
        self.read(move |tables| page(tables.untold(limit)?, limit)).await
    }

    async fn told(&self, id: QueueId, told: Told) -> Result<(), StoreError> {
        let now = self.shared.clock.wall();
        self.change(move |_, tables, changes| Engine::told(tables, changes, id, told, now)).await
    }

    async fn show(&self, id: QueueId) -> Result<Option<QueuedMessage>, StoreError> {
        let found = move |tables: &SledTables| match tables.message(id)? {
            Some(record) => Ok(Some(record)),
            None => tables.finished(id),
        };
        Ok(self.read(found).await?.map(|record| QueuedMessage { id, record }))
    }

    async fn history(
        &self,
        before: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        let limit = limit.min(LIST_LENGTH_MAX);
        self.read(move |tables| readable(tables.history(before)).take(limit).collect()).await
    }

    async fn prune_history(&self, keep_after: Timestamp) -> Result<u32, StoreError> {
        let now = self.shared.clock.wall();
        let latest = move |tables: &SledTables| {
            tables.ended_after(now, PRUNE_CHUNK).map(|mut ends| {
                ends.retain(|end| is_of_the_future(end.at, now));
                ends
            })
        };
        let (mut pruned, keep_after) = (0, keep_after.before(self.doubt()));
        loop {
            let future = self.read(latest).await?;
            let old = self.read(move |tables| tables.ended_before(keep_after, PRUNE_CHUNK)).await?;
            let more = old.len().max(future.len()) == PRUNE_CHUNK;
            pruned += u32::try_from(old.len()).unwrap_or(u32::MAX);
            self.change(move |_, _, changes| {
                future.into_iter().for_each(|end| changes.move_end(end, now));
                old.into_iter().for_each(|end| changes.forget_end(end));
                Ok(())
            })
            .await?;
            if !more {
                return Ok(pruned);
            }
        }
    }

    async fn ledger(&self, now: Moment, limit: Limit) -> Result<LedgerView, StoreError> {
        self.change(move |engine, _, _| Ok(engine.view(now, limit))).await
    }

    async fn account_state(&self) -> Result<Option<AccountState>, StoreError> {
        self.read(SledTables::account).await
    }

    async fn set_account_state(&self, state: AccountState) -> Result<(), StoreError> {
        self.change(move |_, _, changes| {
            changes.account = Some(state);
            Ok(())
        })
        .await
    }

    fn totals(&self) -> Totals {
        Totals {
            messages: self.shared.messages.load(Ordering::Relaxed),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
            set_aside: self.shared.set_aside.load(Ordering::Relaxed),
        }
    }

    async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    async fn failed(&self) -> String {
        let mut trouble = self.shared.trouble.subscribe();
        let found = trouble.wait_for(|seen| seen.as_ref().is_some_and(|seen| seen.for_good)).await;
        found
            .ok()
            .and_then(|trouble| trouble.clone())
            .map_or_else(String::new, |trouble| trouble.reason)
    }

    async fn close(&self) {
        let (job, answer) = job(Urgency::Last, None, |engine, _, changes| {
            // How far stored time has come, from which the next boot goes on.
            changes.timeline = engine.timeline().cloned();
            Ok(())
        });
        if self.jobs.send(job).is_ok() {
            // An answer that never comes means that the committer has ended already.
            drop(tokio::time::timeout(self.shared.options.commit_timeout, answer).await);
        }
        let committer = lock_of(&self.committer).take();
        let shared = Arc::clone(&self.shared);
        let closing = blocking(move || {
            if let Some(committer) = committer {
                drop(committer.join());
            }
            shared.fail("the queue is closed");
            shared.close_tables();
        });
        drop(tokio::time::timeout(self.shared.options.commit_timeout, closing).await);
    }
}

fn lock_of<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
