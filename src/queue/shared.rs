//! The things that the queue, its committer and its readers share: the open index, totals, and health.
//!
//! Rule: once trouble is noted everything is refused until the index has been opened anew and brought
//! together with the spool. Must not know the verbs.

use std::{
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::{
    engine::{Claims, Engine},
    error::QueueError,
    index::{Index, IndexSource},
    opening::{Opened, Opening, QueueOpenError},
    options::Options,
    side_files::{FoundDots, LedgerCopy, UnconfirmedSends},
    spool::{Spool, refused},
};
use crate::{
    clock::{Clock, Stopwatch},
    sync,
};

/// How long a repair may take: a spool of some gigabytes is read from a slow disk meanwhile.
const REPAIR_MAX: Duration = Duration::from_secs(15 * 60);

/// What the committer and the readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) spool: Arc<Spool>,
    /// For reading; `None` while it is closed.
    pub(super) index: RwLock<Option<Arc<dyn Index>>>,
    source: Box<dyn IndexSource>,
    pub(super) unconfirmed: Mutex<Option<UnconfirmedSends>>,
    pub(super) messages: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) set_aside: AtomicU64,
    pub(super) changed: Notify,
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
            options,
            clock,
            spool: Arc::new(spool),
            index: RwLock::default(),
            source,
            unconfirmed: Mutex::default(),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            set_aside: AtomicU64::new(0),
            changed: Notify::new(),
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
            in_doubt: self.is_in_trouble(),
            now,
        };
        let Opened { index, reconciled } = opening.run(damage)?;
        let engine = reconciled.engine;
        let copy = LedgerCopy::create(state, now.boot, &engine.ledger, engine.assume_half_spent);
        let copy = copy.map_err(|error| QueueOpenError::Unusable {
            directory: state.clone(),
            reason: error.to_string(),
        })?;
        self.messages.store(reconciled.messages, Ordering::Relaxed);
        self.bytes.store(reconciled.bytes, Ordering::Relaxed);
        self.set_aside.store(self.spool.set_aside_count(), Ordering::Relaxed);
        *sync::write(&self.index) = Some(Arc::clone(&index));
        self.trouble
            .send_if_modified(|trouble| trouble.take_if(|trouble| !trouble.for_good).is_some());
        Ok(Loaded { index, engine, copy })
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
        if used.saturating_add(size_bytes) > self.options.max_bytes {
            let limit = self.options.max_bytes;
            return Err(QueueError::Full(format!(
                "the queue holds {} of at most {} ([queue] max_bytes)",
                iec(used),
                iec(limit)
            )));
        }
        let free = self.spool.free_bytes().map_err(|error| refused(&error))?;
        if free < self.options.min_free_bytes.saturating_add(size_bytes) {
            let least = self.options.min_free_bytes;
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
