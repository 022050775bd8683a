//! A queue in the fleet's database: opened, kept as this host's, and joined by the mail of hosts that are gone.
//!
//! Rule: the lease is renewed long before it ends, and whoever finds that it was lost ends this process. What another host has
//! left comes in as what a dead process has left does, by the committer and no other thread. Must not know statements.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Weak, atomic::Ordering, mpsc::Sender},
    time::Duration,
};

use tracing::{debug, error, info};

use super::{
    Queue,
    batch::Batch,
    committer::{Job, Shared, Urgency, job},
    database_index::{DatabaseIndex, refused, written},
    error::QueueError,
    faults::{Faults, Step},
    id::QueueId,
    index::{Index, IndexError, IndexSource, OpenError},
    memory_index::MemoryIndex,
    options::Options,
    record::MessageRecord,
    recovery::{Contents, QueueOpenError, Reconciliation},
    remote::Remote,
    side_files::FoundDots,
    spool,
    spool_file::PART_SUFFIX,
};
use crate::{
    clock::{Clock, Timestamp},
    fleet::{self, Refusal, Rows},
    live::Live,
    sync,
};

/// The folder of what is known of the queue, below its directory.
pub(super) const FOLDER: &str = "database";
/// How often the lease is renewed, and dead hosts are looked for: several times within a lease.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The last part of it is left to chance, so that the hosts do not come together.
const JITTER_MS: u64 = 2_000;
/// Looks between two at the days of the history: a quarter of an hour or so.
const LOOKS_BETWEEN_DAYS: u32 = 200;

/// Where the queue is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    rows: Arc<Rows>,
    mirror: MemoryIndex,
    faults: Faults,
}

impl Place {
    pub(super) fn new(
        options: &fleet::Options,
        clock: Arc<dyn Clock>,
        faults: Faults,
    ) -> io::Result<Self> {
        let rows = Arc::new(Rows::new(options, clock)?);
        Ok(Self { rows, mirror: MemoryIndex::mirror(faults.clone()), faults })
    }
}

impl IndexSource for Place {
    fn open(&self, _: &Path, _: bool, _: &Faults) -> Result<Arc<dyn Index>, OpenError> {
        match DatabaseIndex::open(&self.rows, &self.mirror) {
            Ok(index) => Ok(Arc::new(index)),
            Err(IndexError::Newer(what)) => Err(OpenError::Newer(what)),
            Err(error) => Err(OpenError::Away(error.to_string())),
        }
    }

    fn set_aside(&self, _: &Path, _: Timestamp) -> io::Result<PathBuf> {
        Err(io::Error::other("tables of the fleet's database are never moved away"))
    }

    fn is_waited_for(&self) -> bool {
        true
    }

    fn release(&self) {
        if let Err(refusal) = self.rows.release() {
            info!(error = %refusal, "other hosts take this one's mail over when its lease is over");
        }
    }
}

impl Remote for Place {
    fn store(&self, id: QueueId, record: &MessageRecord, file: &Path) -> Result<(), QueueError> {
        self.faults.at(Step::Sync).map_err(|error| spool::refused(&error))?;
        let written = written(record)?;
        Ok(self.rows.keep(*id.as_bytes(), written, file).map_err(refused)?)
    }

    fn fetch(&self, id: QueueId, file: &Path) -> io::Result<()> {
        let mut part = file.as_os_str().to_owned();
        part.push(format!("{}-{:08x}", PART_SUFFIX, fastrand::u32(..)));
        let part = PathBuf::from(part);
        let fetched = File::options()
            .write(true)
            .create_new(true)
            .open(&part)
            .and_then(|into| self.rows.fetch(*id.as_bytes(), into).map_err(unreachable));
        match fetched {
            Ok(true) => fs::rename(part, file),
            other => {
                drop(fs::remove_file(part));
                Err(other.err().unwrap_or_else(|| io::ErrorKind::NotFound.into()))
            }
        }
    }

    fn has(&self, id: QueueId) -> Result<bool, QueueError> {
        Ok(self.rows.has(*id.as_bytes()).map_err(refused)?)
    }

    fn ids(&self) -> io::Result<Vec<QueueId>> {
        let ids = self.rows.ids().map_err(unreachable)?;
        Ok(ids.into_iter().map(QueueId::from_bytes).collect())
    }

    fn note_dot(&self, id: QueueId) -> Result<(), QueueError> {
        Ok(self.rows.note_dot(*id.as_bytes()).map_err(refused)?)
    }
}

fn unreachable(refusal: Refusal) -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, refused(refusal).to_string())
}

impl Queue {
    /// Opens a queue in the fleet's database; its directory becomes a cache.
    pub(super) fn open_in_database(
        mut options: Options,
        database: &fleet::Options,
        clock: Arc<dyn Clock>,
        faults: Faults,
    ) -> Result<Self, QueueOpenError> {
        let unusable = |directory: &Path, error: io::Error| QueueOpenError::Unusable {
            directory: directory.into(),
            reason: error.to_string(),
        };
        let directory = options.directory.clone();
        let left = spool::list_below(&directory.join("spool"));
        let messages = left.map_err(|error| unusable(&directory, error))?.messages.len();
        if messages > 0 {
            return Err(QueueOpenError::LeftBehind { directory, messages });
        }
        options.directory = directory.join(FOLDER);
        let place = Place::new(database, Arc::clone(&clock), faults.clone());
        let place = place.map_err(|error| unusable(&directory, error))?;
        let remote: Arc<dyn Remote> = Arc::new(place.clone());
        let rows = Arc::clone(&place.rows);
        let queue = Self::open_with(options, clock, (Box::new(place), Some(remote)), faults)?;
        let keeper = Keeper {
            rows: Arc::downgrade(&rows),
            shared: Arc::downgrade(&queue.shared),
            arrivals: Arc::downgrade(&queue.arrivals),
            clock: Arc::clone(&queue.shared.clock),
            drained: queue.drained(),
        };
        rows.tend(keeper.clone().keep());
        rows.tend(keeper.take_over());
        Ok(queue)
    }
}

/// Who looks after the lease and after dead hosts, for as long as there is a queue.
#[derive(Clone, Debug)]
struct Keeper {
    rows: Weak<Rows>,
    shared: Weak<Shared>,
    arrivals: Weak<Sender<Job>>,
    clock: Arc<dyn Clock>,
    drained: Live<Option<Timestamp>>,
}

impl Keeper {
    /// Renews the lease.
    async fn keep(self) {
        let mut looks: u32 = 0;
        loop {
            self.pause().await;
            let Some(rows) = self.rows.upgrade() else { return };
            let (renewal, days) = (rows.renew(), rows.make_days());
            drop(rows);
            match renewal.await {
                Ok(()) => {}
                Err(Refusal::Lost) => return self.lost(),
                Err(Refusal::Trouble(trouble)) => debug!(%trouble, "the lease is not renewed"),
            }
            looks += 1;
            if looks.is_multiple_of(LOOKS_BETWEEN_DAYS)
                && let Err(refusal) = days.await
            {
                debug!(%refusal, "the next days of the history are not made");
            }
        }
    }

    /// Takes over what dead hosts have left, and has it come in.
    async fn take_over(self) {
        loop {
            // Whoever is to take no new mail takes none of other hosts either.
            while self.drained.get().is_some() && self.rows.strong_count() > 0 {
                self.pause().await;
            }
            let Some(rows) = self.rows.upgrade() else { return };
            let taking = rows.take_over();
            drop(rows);
            let taken = taking.await;
            match &taken {
                Ok(_) => {}
                Err(Refusal::Lost) => return self.lost(),
                Err(Refusal::Trouble(trouble)) => debug!(%trouble, "nothing is taken over"),
            }
            let Some(came) = self.receive().await else { return };
            if came == 0 && !matches!(taken, Ok(true)) {
                self.pause().await;
            }
        }
    }

    /// Has the committer take up what is new; `None` where there is none any more.
    async fn receive(&self) -> Option<usize> {
        let answer = {
            let (shared, arrivals) = (self.shared.upgrade()?, self.arrivals.upgrade()?);
            let (job, answer) = job(Urgency::Now, None, move |batch| receive(batch, &shared));
            arrivals.send(job).ok()?;
            answer
        };
        // What could not be done now is done with the next look.
        Some(answer.await.ok().and_then(Result::ok).unwrap_or(0))
    }

    async fn pause(&self) {
        let jitter = Duration::from_millis(fastrand::u64(..JITTER_MS));
        self.clock.sleep(LOOK_EVERY.saturating_sub(jitter)).await;
    }

    fn lost(&self) {
        let Some(shared) = self.shared.upgrade() else { return };
        if !shared.is_closed() {
            error!(
                "another host has taken over the mail of this one, which was silent for too long"
            );
            shared.fail_for_good(Refusal::Lost.to_string());
        }
    }
}

/// Takes up messages from the queues of other hosts, as a start does; says how many.
fn receive(batch: &mut Batch<'_>, shared: &Shared) -> Result<usize, QueueError> {
    let arrived = batch.index.receive()?;
    let dots = FoundDots::none();
    let reconciliation = Reconciliation {
        index: batch.index,
        spool: &shared.spool,
        dots: &dots,
        hold_uncertain: shared.options.hold_uncertain,
        keeps_relayed: shared.room.get().keep_relayed.is_some(),
        is_reopened: false,
        now: batch.now,
    };
    let mut found = Contents::of_nothing();
    for (id, record) in &arrived {
        sync::lock(&shared.digests).note(*id, Some(record));
        reconciliation.record(&mut found, batch, *id, record, true)?;
    }
    batch.changes.adds_work |= !arrived.is_empty();
    shared.messages.fetch_add(found.messages, Ordering::Relaxed);
    shared.bytes.fetch_add(found.bytes, Ordering::Relaxed);
    shared.folding.adopt(&found.folded, batch.now);
    Ok(arrived.len())
}

#[cfg(test)]
mod tests;
