//! The durable queue: the only place where acceptance and delivery meet.
//!
//! A message that was acknowledged is in the queue, or in the history, or was deleted by a person; there is no fourth
//! place. A receipt follows the syncs of file and name alone, other verbs the committer's.

pub(crate) mod about;
pub(crate) mod allowance;
pub(crate) mod attempts;
mod batch;
mod claim;
mod closing;
mod committer;
#[cfg(feature = "fleet")]
mod database;
#[cfg(feature = "fleet")]
mod database_index;
pub(crate) mod digest;
mod directory_sync;
mod door;
mod dots;
mod doubt;
pub mod dropped;
pub(crate) mod ending;
mod engine;
mod error;
mod faults;
#[cfg(test)]
pub(crate) mod fixtures;
pub(crate) mod fold;
mod folded;
pub(crate) mod folding;
pub(crate) mod forecast;
#[doc(hidden)]
pub mod fuzzing;
mod holding;
pub mod id;
pub mod incoming;
mod index;
mod keeping;
pub(crate) mod kept;
pub(crate) mod listing;
mod marks;
mod memory_index;
pub mod offline;
pub mod only;
pub mod options;
pub(crate) mod order;
pub(crate) mod origin;
mod overview;
pub mod pause;
mod ready;
pub(crate) mod receipt;
pub mod record;
pub(crate) mod recovery;
pub(crate) mod remembered;
mod remote;
mod reserved_ids;
pub(crate) mod routes;
pub(crate) mod ruled;
pub(crate) mod schedule;
pub(crate) mod search;
mod sharing;
mod side_files;
pub(crate) mod simulation;
pub(crate) mod situations;
mod sled_index;
mod sled_opening;
mod sled_parts;
mod spool;
pub mod spool_file;
pub mod state;
pub(crate) mod storms;
mod times;
mod transition;
pub(crate) mod waiting;
pub(crate) mod walk;
pub(crate) mod way;

use std::{
    sync::{
        Arc, Mutex,
        atomic::Ordering,
        mpsc::{self, Sender},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::{Semaphore, watch};
use tracing::error;

pub(crate) use self::listing::LIST_RECIPIENTS_MAX;
use self::{
    batch::{Batch, Unusable},
    committer::{Job, Shared, Urgency, job},
    ending::Ending,
    engine::Claims,
    id::{QueueId, QueueIds},
    incoming::IncomingMessage,
    index::{Index, IndexError, IndexSource, News, page},
    memory_index::Memory,
    only::Only,
    options::{Options, Room},
    receipt::Receipt,
    recovery::{QueueOpenError, StateLock},
    remote::Remote,
    reserved_ids::ReservedIds,
    side_files::UnconfirmedSends,
    sled_opening::SledFiles,
    spool::{Spool, blocking, refused},
    spool_file::{MessageReader, ReadError},
    times::arriving,
    walk::Walk,
};
pub use self::{
    claim::{Claim, ClaimLimits, ClaimedMessage, ClaimedRecipient, Notified, Outcome, Settlement},
    error::QueueError,
    faults::{Faults, Step},
    listing::{LIST_LENGTH_MAX, LedgerView, QueuedMessage, Totals},
};
use crate::{
    clock::{Clock, Moment, SETTLED_AFTER, Timeline, Timestamp},
    live::Live,
    message::envelope::Envelope,
    sync,
};

/// Verbs that may wait for the committer; whoever comes then waits before.
const JOBS_MAX: usize = 1_024;

/// A queue on disk with its budget ledger and the state of the account. One process at a time.
///
/// Every verb that changes something returns only after the change would survive a power cut.
#[derive(Debug)]
pub struct Queue {
    shared: Arc<Shared>,
    ids: QueueIds,
    reserved: Arc<ReservedIds>,
    hostname: Arc<str>,
    jobs: Sender<Job>,
    permits: Arc<Semaphore>,
    committer: Mutex<Option<JoinHandle<()>>>,
    /// Of a queue in memory.
    memory: Option<Memory>,
    /// Held for the lock on it, until the queue is closed.
    lock: Mutex<Option<StateLock>>,
    /// One verb at a time that changes marks.
    marks: tokio::sync::Mutex<()>,
    /// Since when no new mail is taken.
    drained: Live<Option<Timestamp>>,
    /// By which mail of dead hosts comes in, for as long as there is somebody to take it.
    #[cfg(feature = "fleet")]
    arrivals: Arc<Sender<Job>>,
}

impl Queue {
    /// Opens or creates the queue, and heals what a crash has left.
    ///
    /// # Errors
    /// When another process has it, or when the disk or the permissions stand in the way.
    pub fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Self, QueueOpenError> {
        #[cfg(feature = "fleet")]
        if let Some(database) = options.database.clone() {
            return Self::open_in_database(options, &database, clock, Faults::default());
        }
        Self::open_with(options, clock, (Box::new(SledFiles), None), Faults::default())
    }

    /// The same, on a disk of a test.
    #[cfg(test)]
    fn open_on(
        options: Options,
        clock: Arc<dyn Clock>,
        faults: Faults,
    ) -> Result<Self, QueueOpenError> {
        Self::open_with(options, clock, (Box::new(SledFiles), None), faults)
    }

    /// A queue with an index in memory, for tests; it takes messages of at most `max_bytes` in all.
    ///
    /// # Panics
    /// When there is no room for temporary files.
    #[doc(hidden)]
    #[must_use]
    pub fn in_memory(clock: Arc<dyn Clock>, max_bytes: u64) -> Self {
        let faults = Faults::random(0, 0);
        let memory = Memory::new(faults.clone()).expect("a directory for temporary files");
        let mut options = Options::new(memory.directory().into());
        (options.max_bytes, options.min_free_bytes) = (max_bytes, 0);
        options.hostname = "memory.test".into();
        let mut queue = Self::open_with(options, clock, (Box::new(memory.clone()), None), faults)
            .expect("a queue in a new directory");
        queue.memory = Some(memory);
        queue
    }

    /// What a kill and a new start make of a queue in memory.
    #[doc(hidden)]
    #[must_use]
    pub async fn killed(&self) -> Self {
        self.close().await;
        let (options, clock) = (self.shared.options.clone(), Arc::clone(&self.shared.clock));
        let memory = self.memory.clone().expect("a queue in memory");
        let faults = self.shared.spool.faults.clone();
        let mut queue = Self::open_with(options, clock, (Box::new(memory.clone()), None), faults)
            .expect("the same directory");
        queue.memory = Some(memory);
        queue
    }

    /// What goes wrong with its steps; nothing, when it is not in memory.
    #[doc(hidden)]
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.spool.faults
    }

    fn open_with(
        options: Options,
        clock: Arc<dyn Clock>,
        (source, remote): (Box<dyn IndexSource>, Option<Arc<dyn Remote>>),
        faults: Faults,
    ) -> Result<Self, QueueOpenError> {
        let lock = recovery::lock(&options.directory)?;
        if remote.is_some() {
            remote::empty(&options.directory).map_err(|error| QueueOpenError::Unusable {
                directory: options.directory.clone(),
                reason: error.to_string(),
            })?;
        }
        let unusable = |reason: String| QueueOpenError::Unusable {
            directory: options.directory.clone(),
            reason,
        };
        let spool = Spool::open(&options.directory, remote, faults)
            .map_err(|error| unusable(error.to_string()))?;
        let listing = spool.list().map_err(|error| unusable(error.to_string()))?;
        for part in listing.parts {
            std::fs::remove_file(part).map_err(|error| unusable(error.to_string()))?;
        }
        let newest = listing.messages.iter().max().map_or(Timestamp(0), QueueId::time);
        let (jobs, waiting) = mpsc::channel();
        let shared = Arc::new(Shared::new(options.clone(), clock, spool, source));
        let loaded = shared.load(Claims::default(), None)?;
        let sends = UnconfirmedSends::create(&options.directory, shared.clock.now().boot);
        *sync::lock(&shared.unconfirmed) =
            Some(sends.map_err(|error| unusable(error.to_string()))?);
        let committer = committer::start(&shared, loaded, waiting)
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            ids: QueueIds::new(newest),
            reserved: Arc::default(),
            hostname: options.hostname.as_str().into(),
            #[cfg(feature = "fleet")]
            arrivals: Arc::new(jobs.clone()),
            jobs,
            permits: Arc::new(Semaphore::new(JOBS_MAX)),
            committer: Mutex::new(Some(committer)),
            shared,
            memory: None,
            lock: Mutex::new(Some(lock)),
            marks: tokio::sync::Mutex::default(),
            drained: Live::new(None),
        })
    }

    /// Keeps as much as these options say from now on, and folds what they say; nothing that is kept is dropped for it.
    pub(crate) fn set_room(&self, options: &Options) {
        self.shared.room.set(Room::of(options));
        self.shared.folding.set(options.storms.clone());
    }

    /// Hands a verb to the committer and waits for its answer.
    async fn commit<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&mut Batch<'_>) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
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

    /// Reads the index on a thread that may block, after what was accepted before has been written.
    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Index) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, QueueError> {
        self.commit(|_| Ok(())).await?;
        let index = sync::read(&self.shared.index).clone();
        let index = index.ok_or_else(|| self.shared.refusal())?;
        Ok(blocking(move || question(&*index)).await??)
    }

    /// A claim that met a damaged record: it is out of the way now, and mended from the message's file.
    async fn past_damage(
        &self,
        claim: Result<Claim, QueueError>,
        now: Moment,
    ) -> Result<Claim, QueueError> {
        let Err(QueueError::Corrupt { id, reason }) = claim else { return claim };
        // The record is damaged and the file may be fine: a new record is made from the file.
        let shared = Arc::clone(&self.shared);
        let rebuilt = blocking(move || {
            // The clock may have been wrong when its file was written.
            let record = arriving(shared.spool.describe(id)?.record(), now.wall);
            Ok::<_, ReadError>(shared.spool.as_marked(id, record, now.wall))
        });
        match rebuilt.await? {
            Ok(record) => {
                error!(%id, error = reason, "a record is damaged; it is rebuilt from the message's file");
                self.commit(move |batch| {
                    batch.changes.put(id, None, Some(record));
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
    fn settled(&self, id: QueueId, answer: &Result<(), QueueError>) {
        if matches!(answer, Ok(()) | Err(QueueError::NotFound(_))) {
            self.forget_send(id);
        }
    }

    /// A message whose file cannot be used, by the worker that has it or by nobody: a damaged one goes out of the
    /// way, a newer one stays where it is.
    async fn set_aside(
        &self,
        id: QueueId,
        problem: ReadError,
    ) -> Result<MessageReader, QueueError> {
        let reason = problem.to_string();
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
        self.commit(move |batch| batch.set_aside(id, why, &words)).await?;
        self.forget_send(id);
        Err(QueueError::Corrupt { id, reason })
    }

    /// Whether its directory is no more than a cache.
    pub(crate) fn is_in_a_database(&self) -> bool {
        self.shared.spool.remote.is_some()
    }

    /// Whether it is in a database that is away, and open again when that is back.
    pub(crate) fn waits_for_its_database(&self) -> bool {
        let shared = &self.shared;
        self.is_in_a_database() && shared.is_in_trouble() && !shared.has_failed_for_good()
    }

    /// Starts a message: assigns its id and takes the body through [`IncomingMessage::write`]. A draft that is
    /// dropped leaves nothing behind.
    pub fn begin(&self, envelope: Envelope) -> Result<IncomingMessage, QueueError> {
        let id = self.ids.next(envelope.accepted_at);
        IncomingMessage::new(id, envelope, Arc::clone(&self.hostname), self.shared.spool.part(id))
    }

    /// Starts a message under the id that its client has given it: at most one message ever has it.
    /// [`QueueError::AlreadyKnown`] when the queue or its history has a message with this id;
    /// [`QueueError::Conflict`] while another draft has it.
    pub async fn begin_as(
        &self,
        id: QueueId,
        envelope: Envelope,
    ) -> Result<IncomingMessage, QueueError> {
        let reserved = self.reserved.take(id)?;
        // The question goes the way of the records, so it comes behind that of a draft that has just ended.
        if self.show(id).await?.is_some() || self.is_elsewhere(id).await? {
            return Err(QueueError::AlreadyKnown(id));
        }
        let draft = IncomingMessage::new(
            id,
            envelope,
            Arc::clone(&self.hostname),
            self.shared.spool.part(id),
        )?;
        Ok(draft.holding(reserved))
    }

    /// Whether another host has taken it over, or has accepted it.
    async fn is_elsewhere(&self, id: QueueId) -> Result<bool, QueueError> {
        match self.shared.spool.remote.clone() {
            Some(remote) => blocking(move || remote.has(id)).await?,
            None => Ok(false),
        }
    }

    /// Makes the draft durable. The only source of a [`Receipt`], and so of a 250 after DATA.
    pub async fn enqueue(&self, draft: IncomingMessage) -> Result<Receipt, QueueError> {
        self.shared.admit(draft.size_bytes())?;
        let (folding, now) = (&self.shared.folding, self.shared.clock.now());
        let fold = |id, record: &_, from: &_, asked| folding.fold(id, record, (from, asked), now);
        let finished = draft.finish(fold)?;
        let _taken_until_the_record_is_on_its_way = finished.reserved_id.clone();
        let (id, record, is_new) = (finished.id, finished.record.clone(), finished.is_new);
        let (part, rest) = finished.into_part()?;
        if marks::are_due(&record) {
            let (spool, record) = (Arc::clone(&self.shared.spool), record.clone());
            let marked = blocking(move || spool.mark_as(id, &record)).await?;
            marked.map_err(|error| refused(&error))?;
        }
        match self.shared.spool.remote.clone() {
            Some(remote) => {
                let record =
                    if is_new { arriving(record.clone(), now.wall) } else { record.clone() };
                self.shared.spool.store_at(remote, (id, record), part, rest).await?;
            }
            None => self.shared.spool.store(id, part, rest).await?,
        }
        // The message cannot be lost from here on: whatever happens to the record, the file is found.
        self.shared.messages.fetch_add(1, Ordering::Relaxed);
        self.shared.accepted.fetch_add(1, Ordering::Relaxed);
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
        let (job, _) = job(Urgency::Linger, permit.ok(), move |batch| {
            batch.enqueue(id, record, is_new.then(|| clock.wall()))
        });
        // A committer that has ended leaves the file to the next start.
        drop(self.jobs.send(job));
        Ok(Receipt::new(id))
    }

    /// Claims the next message that is due and reserves budget for its recipients, in one atomic write:
    /// urgent mail before normal, normal before bulk, within a lane by due time and order of acceptance.
    pub async fn claim_due(&self, now: Moment, limits: ClaimLimits) -> Result<Claim, QueueError> {
        let claim = self.commit(move |batch| batch.claim(now, limits)).await;
        self.past_damage(claim, now).await
    }

    /// Ends a claim: writes every recipient's outcome and gives back the budget of those that were
    /// certainly not accepted, in one atomic write. A message whose recipients are all relayed
    /// leaves the queue for the history.
    pub async fn settle(
        &self,
        id: QueueId,
        settlement: impl Into<Arc<Settlement>> + Send,
    ) -> Result<(), QueueError> {
        let settlement = settlement.into();
        let settled = self.commit(move |batch| batch.settle(id, &settlement)).await;
        self.settled(id, &settled);
        settled
    }

    /// [`Queue::settle`] and [`Queue::claim_due`] in one atomic write: the claim sees what the settlement has put
    /// back. Each has its own answer, and a claim that comes to nothing changes nothing about the settlement.
    pub async fn settle_and_claim(
        &self,
        id: QueueId,
        settlement: impl Into<Arc<Settlement>> + Send,
        now: Moment,
        limits: ClaimLimits,
    ) -> (Result<(), QueueError>, Result<Claim, QueueError>) {
        let settlement = settlement.into();
        let both = self.commit(move |batch| {
            let settled = batch.settle(id, &settlement);
            Ok((settled, batch.claim(now, limits)))
        });
        match both.await {
            Ok((settled, claim)) => {
                self.settled(id, &settled);
                (settled, self.past_damage(claim, now).await)
            }
            Err(error) => (Err(error.clone()), Err(error)),
        }
    }

    /// Opens the stored bytes of a message that the caller has claimed, after checking them against their
    /// checksum. A message that is damaged or gone is set aside and reported as [`QueueError::Corrupt`].
    pub async fn open_message(&self, id: QueueId) -> Result<MessageReader, QueueError> {
        let spool = Arc::clone(&self.shared.spool);
        match blocking(move || spool.read(id)).await? {
            Ok(reader) => Ok(reader),
            Err(problem) => match problem.of_the_disk() {
                Some(error) => Err(refused(error)),
                None => self.set_aside(id, problem).await,
            },
        }
    }

    /// Holds every waiting recipient until a person retries or deletes the message.
    pub async fn hold(
        &self,
        id: QueueId,
        now: Timestamp,
        reason: String,
    ) -> Result<u32, QueueError> {
        self.commit(move |batch| batch.hold(id, now, &reason)).await
    }

    /// Removes a message for good. [`QueueError::Conflict`] while a worker has it.
    pub async fn delete(&self, id: QueueId) -> Result<(), QueueError> {
        self.delete_only(id, &Only::default()).await
    }

    /// The same, when the message is one of these at that moment; else [`QueueError::OtherState`].
    pub async fn delete_only(&self, id: QueueId, only: &Only) -> Result<(), QueueError> {
        self.delete_by(id, only, None).await
    }

    /// The same by this person.
    pub(crate) async fn delete_by(
        &self,
        id: QueueId,
        only: &Only,
        person: Option<String>,
    ) -> Result<(), QueueError> {
        let only = only.clone();
        self.commit(move |batch| batch.delete_only(id, &only, person.as_deref())).await
    }

    /// The id of the queued message that sorts last: where a walk that begins now ends.
    pub async fn newest(&self) -> Result<Option<QueueId>, QueueError> {
        self.read(|index| index.newest()).await
    }

    /// A walk over the messages that it has now.
    pub(crate) async fn walk(&self) -> Result<Walk, QueueError> {
        Ok(Walk::between(None, self.newest().await?))
    }

    /// Removes a message whose recipients are all relayed, dead or held because no answer came, the last of them since
    /// before `keep_after`; they keep their reasons in the history. [`QueueError::Conflict`] when that is not, or no longer, so: a
    /// person may have taken it up again.
    pub async fn expire(&self, id: QueueId, keep_after: Timestamp) -> Result<(), QueueError> {
        self.commit(move |batch| batch.expire(id, keep_after, Ending::Expired, None)).await
    }

    /// Removes a message that this person has sent to another address as `new`, on the same terms.
    pub(crate) async fn redirected(
        &self,
        id: QueueId,
        new: QueueId,
        person: Option<String>,
    ) -> Result<(), QueueError> {
        let (ever, how) = (Timestamp(i64::MAX), Ending::Redirected(new));
        self.commit(move |batch| batch.expire(id, ever, how, person.as_deref())).await
    }

    /// Removes dead letters: messages whose recipients are all relayed, dead or held because no answer came, the last
    /// of them since before `keep_after`. Returns how many went.
    pub async fn expire_dead(&self, keep_after: Timestamp) -> Result<u32, QueueError> {
        let keep_after = keep_after.before(self.doubt());
        let (mut walk, mut expired) = (self.walk().await?, 0);
        while !walk.is_over() {
            let page = walk.take(self.given_up(walk.after(), LIST_LENGTH_MAX).await?);
            for message in
                page.iter().filter(|message| message.record.is_dead_since_before(keep_after))
            {
                match self.expire(message.id, keep_after).await {
                    Ok(()) => expired += 1,
                    // Somebody was faster, or has taken it up again.
                    Err(QueueError::NotFound(_) | QueueError::Conflict(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(expired)
    }

    /// How much of an age rests on a wall clock that may be wrong yet: nothing is removed for an age that needs it.
    pub(crate) fn doubt(&self) -> Duration {
        let index = sync::read(&self.shared.index).clone();
        let timeline = index.and_then(|index| index.timeline());
        let doubt = |known: Arc<Timeline>| known.doubt(self.shared.clock.now(), SETTLED_AFTER);
        timeline.map_or(Duration::ZERO, doubt)
    }

    /// Queued messages after `after` in the order of acceptance, at most `limit` (and at most 1,000).
    pub async fn list(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, QueueError> {
        self.read(move |index| page(index.messages(after), limit)).await
    }

    /// Messages with dead recipients after `after` in the order of acceptance, at most `limit` (and at
    /// most 1,000).
    pub async fn dead(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, QueueError> {
        self.read(move |index| page(index.with_news(News::is_dead, after, limit)?, limit)).await
    }

    /// Messages after `after` with recipients that are dead or held because no answer came, in the order of
    /// acceptance, at most `limit` (and at most 1,000); others of whose end somebody is to be told may be among them.
    pub(crate) async fn given_up(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, QueueError> {
        self.read(move |index| page(index.with_news(|_| true, after, limit)?, limit)).await
    }

    /// Messages with recipients of whose end nobody was told, at most `limit` (and at most 1,000): first those with
    /// dead ones, oldest first, then those with some that are held because no answer came, or relayed and whose client
    /// asked to be told (NOTIFY=SUCCESS).
    pub async fn unnotified(&self, limit: usize) -> Result<Vec<QueuedMessage>, QueueError> {
        self.read(move |index| page(index.unnotified(limit)?, limit)).await
    }

    /// Notes that somebody was told, or that nobody is to be.
    pub async fn mark_notified(&self, id: QueueId, notified: Notified) -> Result<(), QueueError> {
        self.commit(move |batch| batch.mark_notified(id, notified)).await
    }

    /// One message, queued or from the history; `None` when neither knows it.
    pub async fn show(&self, id: QueueId) -> Result<Option<QueuedMessage>, QueueError> {
        let found = move |index: &dyn Index| match index.message(id)? {
            Some(record) => Ok(Some(record)),
            None => index.finished(id),
        };
        Ok(self.read(found).await?.map(|record| QueuedMessage { id, record }))
    }

    /// Finished messages before `before`, newest first, at most `limit` (and at most 1,000).
    pub async fn history(
        &self,
        before: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, QueueError> {
        self.read(move |index| page(index.history(before), limit)).await
    }

    /// A finished message; `None` when it is not known, or in the queue.
    pub(crate) async fn finished(&self, id: QueueId) -> Result<Option<QueuedMessage>, QueueError> {
        let found = self.read(move |index| index.finished(id)).await?;
        Ok(found.map(|record| QueuedMessage { id, record }))
    }

    /// The id of the finished message that sorts first: where a walk through the history ends.
    pub(crate) async fn oldest_finished(&self) -> Result<Option<QueueId>, QueueError> {
        self.read(|index| index.oldest_finished()).await
    }

    /// Totals for the status screen.
    pub fn totals(&self) -> Totals {
        Totals {
            messages: self.shared.messages.load(Ordering::Relaxed),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
            accepted: self.shared.accepted.load(Ordering::Relaxed),
            set_aside: self.shared.set_aside.load(Ordering::Relaxed),
        }
    }

    /// Tells its holder each time when something may have become claimable.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    /// Returns, with the reason, when the store can no longer be repaired within this process, which must
    /// then end so that its supervisor starts it anew. Nothing acknowledged is lost by that.
    pub(crate) async fn failed(&self) -> String {
        let mut trouble = self.shared.trouble.subscribe();
        let found = trouble.wait_for(|seen| seen.as_ref().is_some_and(|seen| seen.for_good)).await;
        found
            .ok()
            .and_then(|trouble| trouble.clone())
            .map_or_else(String::new, |trouble| trouble.reason)
    }

    /// Finishes what was handed over, syncs and closes. Later calls fail with `Unavailable`.
    pub async fn close(&self) {
        let (job, answer) = job(Urgency::Last, None, |batch| {
            // How far stored time has come, from which the next boot goes on.
            batch.changes.timeline = batch.engine.timeline().cloned();
            Ok(())
        });
        if self.jobs.send(job).is_ok() {
            // An answer that never comes means that the committer has ended already.
            drop(tokio::time::timeout(self.shared.options.commit_timeout, answer).await);
        }
        let committer = sync::lock(&self.committer).take();
        let shared = Arc::clone(&self.shared);
        let closing = blocking(move || {
            if let Some(committer) = committer {
                drop(committer.join());
            }
            shared.fail(committer::CLOSED);
            shared.close_index();
            shared.source.release();
        });
        drop(tokio::time::timeout(self.shared.options.commit_timeout, closing).await);
        drop(sync::lock(&self.lock).take());
    }
}

#[cfg(test)]
mod tests;
