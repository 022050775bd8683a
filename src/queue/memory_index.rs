//! An index in memory: that of tests, which survives the queue that has it open, as a disk does, and the mirror of the one
//! in the fleet's database.

use std::{
    collections::BTreeMap,
    env, fs, io, iter,
    ops::Bound,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use super::{
    faults::{Faults, Step},
    id::QueueId,
    index::{
        Changes, DeadKey, EndKey, Entries, FoundEvents, Index, IndexError, IndexSource, News,
        OpenError,
    },
    record::MessageRecord,
    state::AccountState,
    times::{Change, Times as _},
};
use crate::{
    budget::{AccountKey, Event},
    clock::{Kind, Timeline, Timestamp},
    sync,
};

/// What is stored, shared by everybody who opens it.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryIndex {
    stored: Arc<Mutex<Stored>>,
    /// Records of queued messages that were read.
    read: Arc<AtomicU64>,
    faults: Faults,
}

#[derive(Debug, Default)]
struct Stored {
    messages: BTreeMap<QueueId, MessageRecord>,
    ledger: BTreeMap<u64, Event>,
    history: BTreeMap<QueueId, MessageRecord>,
    ended: BTreeMap<EndKey, ()>,
    dead: BTreeMap<DeadKey, ()>,
    accounts: BTreeMap<AccountKey, AccountState>,
    timeline: Option<Arc<Timeline>>,
    budget_unknown: bool,
    begun: bool,
    /// Messages whose record cannot be read, and why.
    damaged: BTreeMap<QueueId, String>,
}

impl Stored {
    /// Stored times are wall times here, so a step of the wall clock moves them.
    fn retime(&mut self, change: Change<'_>) {
        let records = self.messages.values_mut().chain(self.history.values_mut());
        records.for_each(|record| record.each_time(change));
        let ended = std::mem::take(&mut self.ended).into_keys();
        let moved = |end: EndKey| EndKey { at: change(Kind::Past, end.at), ..end };
        self.ended = ended.map(|end| (moved(end), ())).collect();
        self.accounts.values_mut().for_each(|account| account.each_time(change));
    }
}

impl MemoryIndex {
    /// Takes the changes of everything but the history.
    fn take(&self, changes: &Changes) {
        let mut stored = self.lock();
        apply(&mut stored.messages, changes.messages.clone());
        stored.damaged.retain(|id, _| !changes.messages.contains_key(id));
        apply(&mut stored.ledger, changes.ledger.clone());
        apply(&mut stored.dead, set(&changes.dead));
        stored.accounts.extend(changes.accounts.iter().map(|(key, state)| (*key, state.clone())));
        stored.budget_unknown &= !changes.budget_known;
    }

    fn lock(&self) -> MutexGuard<'_, Stored> {
        sync::lock(&self.stored)
    }
}

impl Index for MemoryIndex {
    fn message(&self, id: QueueId) -> Result<Option<MessageRecord>, IndexError> {
        let stored = self.lock();
        if let Some(reason) = stored.damaged.get(&id) {
            return Err(IndexError::Damaged { id, reason: reason.clone() });
        }
        self.read.fetch_add(1, Ordering::Relaxed);
        Ok(stored.messages.get(&id).cloned())
    }

    fn messages(&self, after: Option<QueueId>) -> Entries<'_> {
        let mut after = after.map_or(Bound::Unbounded, Bound::Excluded);
        Box::new(iter::from_fn(move || {
            let stored = self.lock();
            let behind = (after, Bound::Unbounded);
            let whole = stored.messages.range(behind).next().map(|(id, _)| *id);
            let damaged = stored.damaged.range(behind).next().map(|(id, _)| *id);
            let id = whole.into_iter().chain(damaged).min()?;
            after = Bound::Excluded(id);
            if let Some(reason) = stored.damaged.get(&id) {
                return Some(Err(IndexError::Damaged { id, reason: reason.clone() }));
            }
            self.read.fetch_add(1, Ordering::Relaxed);
            stored.messages.get(&id).map(|record| Ok((id, record.clone())))
        }))
    }

    fn newest(&self) -> Result<Option<QueueId>, IndexError> {
        Ok(self.lock().messages.keys().next_back().copied())
    }

    fn has_dead(&self, key: &DeadKey) -> Result<bool, IndexError> {
        Ok(self.lock().dead.contains_key(key))
    }

    fn dead_ids(
        &self,
        news: News,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueueId>, IndexError> {
        let stored = self.lock();
        let first = DeadKey { news, id: after.unwrap_or_else(|| QueueId::from_bytes([0; 16])) };
        let keys = stored.dead.range(first..).map(|(key, ())| key);
        let keys = keys.take_while(|key| key.news == news).filter(|key| Some(key.id) > after);
        Ok(keys.map(|key| key.id).take(limit).collect())
    }

    fn finished(&self, id: QueueId) -> Result<Option<MessageRecord>, IndexError> {
        Ok(self.lock().history.get(&id).cloned())
    }

    fn oldest_finished(&self) -> Result<Option<QueueId>, IndexError> {
        Ok(self.lock().history.keys().next().copied())
    }

    fn history(&self, before: Option<QueueId>) -> Entries<'_> {
        let to = before.map_or(Bound::Unbounded, Bound::Excluded);
        let stored = self.lock();
        let messages = stored.history.range((Bound::Unbounded, to)).rev();
        let messages: Vec<_> = messages.map(|(id, record)| Ok((*id, record.clone()))).collect();
        Box::new(messages.into_iter())
    }

    fn ended_before(&self, keep_after: Timestamp, limit: usize) -> Result<Vec<EndKey>, IndexError> {
        let stored = self.lock();
        Ok(stored.ended.keys().filter(|end| end.at < keep_after).take(limit).copied().collect())
    }

    fn ended_after(&self, time: Timestamp, limit: usize) -> Result<Vec<EndKey>, IndexError> {
        let stored = self.lock();
        Ok(stored.ended.keys().rev().filter(|end| end.at > time).take(limit).copied().collect())
    }

    fn ends_beyond(&self, most: usize, limit: usize) -> Result<Vec<EndKey>, IndexError> {
        let stored = self.lock();
        let beyond = stored.ended.len().saturating_sub(most).min(limit);
        Ok(stored.ended.keys().take(beyond).copied().collect())
    }

    fn ledger(&self) -> Result<FoundEvents, IndexError> {
        let stored = self.lock();
        let events = stored.ledger.iter().map(|(sequence, event)| (*sequence, *event));
        Ok(FoundEvents { events: events.collect(), damaged: Vec::new() })
    }

    fn accounts(&self) -> Result<BTreeMap<AccountKey, AccountState>, IndexError> {
        Ok(self.lock().accounts.clone())
    }

    fn timeline(&self) -> Option<Arc<Timeline>> {
        self.lock().timeline.clone()
    }

    fn set_timeline(&self, timeline: Timeline) {
        let mut stored = self.lock();
        if let Some(before) = stored.timeline.take() {
            stored.retime(&|kind, at| timeline.wall(kind, before.stored(kind, at)));
        }
        stored.timeline = Some(Arc::new(timeline));
    }

    fn is_new(&self) -> Result<bool, IndexError> {
        Ok(!self.lock().begun)
    }

    fn begin(&self, budget_unknown: bool, _damaged: &[Vec<u8>]) -> Result<(), IndexError> {
        let mut stored = self.lock();
        stored.begun = true;
        stored.budget_unknown |= budget_unknown;
        Ok(())
    }

    fn is_budget_unknown(&self) -> Result<bool, IndexError> {
        Ok(self.lock().budget_unknown)
    }

    fn apply(&self, changes: &Changes) -> Result<(), IndexError> {
        let written = self.faults.at(Step::IndexWrite);
        written.map_err(|error| IndexError::Failed(format!("a write has failed: {error}")))?;
        self.take(changes);
        let mut stored = self.lock();
        apply(&mut stored.history, changes.history.clone());
        apply(&mut stored.ended, set(&changes.ended));
        Ok(())
    }
}

fn set<K: Copy>(changes: &BTreeMap<K, bool>) -> impl Iterator<Item = (K, Option<()>)> {
    changes.iter().map(|(key, add)| (*key, add.then_some(())))
}

fn apply<K: Ord, V>(table: &mut BTreeMap<K, V>, changes: impl IntoIterator<Item = (K, Option<V>)>) {
    for (key, value) in changes {
        match value {
            Some(value) => table.insert(key, value),
            None => table.remove(&key),
        };
    }
}

/// As the mirror of an index that is elsewhere.
#[cfg(feature = "fleet")]
impl MemoryIndex {
    /// One that counts as begun: what was spent before is known elsewhere.
    pub(super) fn mirror(faults: Faults) -> Self {
        let index = Self { faults, ..Self::default() };
        index.lock().begun = true;
        index
    }

    /// Forgets the messages, and the states of accounts for these.
    pub(super) fn empty(&self, accounts: BTreeMap<AccountKey, AccountState>) {
        let mut stored = self.lock();
        stored.messages.clear();
        stored.damaged.clear();
        stored.dead.clear();
        stored.accounts = accounts;
    }

    /// Whether it has the message, whole or damaged.
    pub(super) fn knows(&self, id: QueueId) -> bool {
        let stored = self.lock();
        stored.messages.contains_key(&id) || stored.damaged.contains_key(&id)
    }

    /// Takes up what is stored elsewhere of a message.
    pub(super) fn fill(&self, id: QueueId, read: Result<MessageRecord, String>) {
        let mut stored = self.lock();
        match read {
            Ok(record) => {
                stored.dead.extend(DeadKey::of(id, &record).map(|key| (key, ())));
                stored.messages.insert(id, record);
            }
            Err(reason) => drop(stored.damaged.insert(id, reason)),
        }
    }

    /// Takes changes that were written elsewhere.
    pub(super) fn follow(&self, changes: &Changes) {
        self.take(changes);
    }

    /// Whether a write fails, as tests want it.
    pub(super) fn fails(&self) -> io::Result<()> {
        self.faults.at(Step::IndexWrite)
    }
}

/// An index in memory, and the directory of the spool beside it.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    index: MemoryIndex,
    directory: Arc<Scratch>,
}

impl Memory {
    /// An empty one, whose steps fail as `faults` says.
    pub(super) fn new(faults: Faults) -> io::Result<Self> {
        let index = MemoryIndex { stored: Arc::default(), read: Arc::default(), faults };
        Ok(Self { index, directory: Arc::new(Scratch::make()?) })
    }

    /// From now on the record of this message cannot be read.
    #[cfg(test)]
    pub(super) fn damage(&self, id: QueueId) {
        self.index.lock().damaged.insert(id, "it was damaged by a test".into());
    }

    /// Records of queued messages that were read so far.
    #[cfg(test)]
    pub(super) fn records_read(&self) -> u64 {
        self.index.read.load(Ordering::Relaxed)
    }

    /// Where the spool lies.
    pub(super) fn directory(&self) -> &Path {
        &self.directory.0
    }
}

impl IndexSource for Memory {
    fn open(&self, _: &Path, _: bool, _: &Faults) -> Result<Arc<dyn Index>, OpenError> {
        Ok(Arc::new(self.index.clone()))
    }

    fn set_aside(&self, state: &Path, _: Timestamp) -> io::Result<PathBuf> {
        Ok(state.into())
    }
}

/// A directory that goes when it is dropped.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name =
            format!("pillarbox-queue-{}-{number}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nobody can be told; whatever is left is in a directory for temporary files.
        drop(fs::remove_dir_all(&self.0));
    }
}
