//! The index of the queue in sled 0.34.7.
//!
//! Rule: only the committer writes; a write returns after sled's flush and our own `sync_data()` on sled's
//! file, because that flush alone is no barrier on Linux (a power cut then loses nearly everything). Records go
//! through `sled_parts.rs`, whatever their tree. Must not know what the records mean.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    thread,
    time::Duration,
};

use sled::{
    Batch, IVec, Transactional, Tree,
    transaction::{ConflictableTransactionError, TransactionError},
};

use super::{
    doubt,
    faults::{Faults, Step},
    id::QueueId,
    index::{
        Changes, DeadKey, EndKey, Entries, Entry, FoundEvents, Index, IndexError, News, OpenError,
    },
    record::{self, MessageRecord, RecordError, Stored},
    sled_parts::{self, failed, is_damage, words_of},
    state::AccountState,
    times::Times,
};
use crate::{
    budget::AccountKey,
    clock::{Kind, Timeline, Timestamp},
    sync,
};

/// sled's page cache; soft, it may take three times as much.
const CACHE_BYTES: u64 = 1024 * 1024;
/// How often, and with which pause, sled's files are tried that seem to be in use.
const OPEN_ATTEMPTS: u32 = 40;
const OPEN_PAUSE: Duration = Duration::from_millis(50);
/// The layout of the trees.
const SCHEMA: u32 = 1;

const SCHEMA_KEY: &[u8] = b"schema";
const ACCOUNT_KEY: &[u8] = b"account";
const TIMELINE_KEY: &[u8] = b"timeline";
/// There while nobody knows what was spent of the budget before this index was made.
const BUDGET_UNKNOWN_KEY: &[u8] = b"budget-unknown";

/// The open trees.
#[derive(Debug)]
pub(super) struct SledIndex {
    database: sled::Db,
    messages: Tree,
    ledger: Tree,
    history: Tree,
    ended: Tree,
    dead: Tree,
    meta: Tree,
    /// Which wall times the stored times have; none in tables that nothing was ever stored in.
    timeline: RwLock<Option<Arc<Timeline>>>,
    /// Where sled's files lie.
    directory: PathBuf,
    /// A handle of sled's data file, for the sync that sled leaves out.
    file: File,
    faults: Faults,
}

impl SledIndex {
    /// Opens or creates the trees. May panic inside sled when its files are damaged.
    pub(super) fn open(directory: &Path, faults: Faults) -> Result<Self, OpenError> {
        expect_no_blob(directory)?;
        let configuration = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE_BYTES)
            // Every write is flushed and synced here. sled's own thread would sync twice a second for ever, and clean
            // segments, which each page that is written anew does, too.
            .flush_every_ms(None)
            .use_compression(false);
        let database =
            open_unlocked(&configuration, || thread::sleep(OPEN_PAUSE)).map_err(open_error)?;
        let tree = |name: &str| database.open_tree(name).map_err(open_error);
        // The order of departure is in memory; earlier versions had it here.
        if database.tree_names().iter().any(|name| name.as_ref() == b"due") {
            database.drop_tree("due").map_err(open_error)?;
        }
        let tables = Self {
            messages: tree("msg")?,
            ledger: tree("ledger")?,
            history: tree("history")?,
            ended: tree("ended")?,
            dead: tree("dead")?,
            meta: tree("meta")?,
            timeline: RwLock::default(),
            directory: directory.to_owned(),
            file: File::open(directory.join("db"))
                .map_err(|error| OpenError::Unavailable(error.to_string()))?,
            database,
            faults,
        };
        tables.check_schema()?;
        let stored = tables.meta.get(TIMELINE_KEY).map_err(open_error)?;
        match stored.map(|value| record::decode(&value)) {
            Some(Ok(timeline)) => tables.set_timeline(timeline),
            Some(Err(RecordError::Version(version))) => {
                return Err(OpenError::Newer(format!("its timeline is of version {version}")));
            }
            // An unreadable one counts as none: then stored times are taken for wall times.
            Some(Err(_)) | None => {}
        }
        Ok(tables)
    }

    fn check_schema(&self) -> Result<(), OpenError> {
        let Some(stored) = self.meta.get(SCHEMA_KEY).map_err(open_error)? else { return Ok(()) };
        match <[u8; 4]>::try_from(stored.as_ref()).map(u32::from_be_bytes) {
            Ok(SCHEMA) => Ok(()),
            Ok(newer) if newer > SCHEMA => {
                Err(OpenError::Newer(format!("layout {newer}, this one knows {SCHEMA}")))
            }
            _ => Err(OpenError::Damaged("the version of its layout cannot be read".into())),
        }
    }

    /// With stored times instead of wall times.
    fn stored<T: Times>(&self, shown: T) -> T {
        match self.timeline() {
            Some(timeline) => shown.with_times(&|kind, at| timeline.stored(kind, at)),
            None => shown,
        }
    }

    /// With wall times instead of stored times.
    fn shown<T: Times>(&self, stored: T) -> T {
        match self.timeline() {
            Some(timeline) => stored.with_times(&|kind, at| timeline.wall(kind, at)),
            None => stored,
        }
    }

    /// The stored time of a wall time of the past.
    fn stored_past(&self, at: Timestamp) -> Timestamp {
        self.timeline().map_or(at, |timeline| timeline.stored(Kind::Past, at))
    }

    /// After a failure nobody knows which pages have reached the disk.
    fn sync(&self) -> Result<(), IndexError> {
        self.synced().inspect_err(|_| doubt::mark(&self.directory))
    }

    fn synced(&self) -> Result<(), IndexError> {
        let flushed = self.faults.at(Step::IndexFlush).map_err(sled::Error::Io);
        flushed.and_then(|()| self.database.flush()).map_err(failed)?;
        self.faults.at(Step::IndexSync).and_then(|()| self.file.sync_data()).map_err(|error| {
            IndexError::Failed(format!("the queue's index cannot be synced: {error}"))
        })
    }

    /// The record whose first part this is. One of several parts is read anew: they must be of the same moment.
    fn entry(&self, tree: &Tree, part: sled::Result<(IVec, IVec)>) -> Option<Entry> {
        let (key, part) = match part {
            Ok(part) => part,
            Err(error) => return Some(Err(failed(error))),
        };
        let id = QueueId::from_bytes(sled_parts::first_of(&key)?.try_into().ok()?);
        let record = match sled_parts::only_part(&part) {
            Some(bytes) => self.record(id, bytes),
            None => self.record_of(tree, id).transpose()?,
        };
        Some(record.map(|record| (id, record)))
    }

    fn record_of(&self, tree: &Tree, id: QueueId) -> Result<Option<MessageRecord>, IndexError> {
        let stored = sled_parts::get(tree, id.as_bytes())?;
        stored.map(|bytes| self.record(id, &bytes)).transpose()
    }

    fn record(&self, id: QueueId, bytes: &[u8]) -> Result<MessageRecord, IndexError> {
        read(id, bytes).map(|record| self.shown(record))
    }

    fn ends(
        &self,
        keys: impl Iterator<Item = sled::Result<IVec>>,
    ) -> Result<Vec<EndKey>, IndexError> {
        let ends =
            keys.map(|key| key.map(|key| end_key(&key).map(|key| self.shown(key))).map_err(failed));
        ends.filter_map(Result::transpose).collect()
    }
}

impl Index for SledIndex {
    fn message(&self, id: QueueId) -> Result<Option<MessageRecord>, IndexError> {
        self.record_of(&self.messages, id)
    }

    fn is_new(&self) -> Result<bool, IndexError> {
        Ok(!self.meta.contains_key(SCHEMA_KEY).map_err(failed)?)
    }

    fn begin(&self, budget_unknown: bool, damaged: &[Vec<u8>]) -> Result<(), IndexError> {
        let mut meta = Batch::default();
        let mut ledger = Batch::default();
        damaged.iter().for_each(|key| ledger.remove(key.as_slice()));
        meta.insert(SCHEMA_KEY, &SCHEMA.to_be_bytes());
        if budget_unknown {
            meta.insert(BUDGET_UNKNOWN_KEY, &[]);
        }
        let written = (&self.meta, &self.ledger).transaction(|(in_meta, in_ledger)| {
            in_meta.apply_batch(&meta)?;
            in_ledger.apply_batch(&ledger)?;
            Ok::<_, ConflictableTransactionError<()>>(())
        });
        written.map_err(given_up)?;
        self.sync()
    }

    fn is_budget_unknown(&self) -> Result<bool, IndexError> {
        self.meta.contains_key(BUDGET_UNKNOWN_KEY).map_err(failed)
    }

    fn timeline(&self) -> Option<Arc<Timeline>> {
        sync::read(&self.timeline).clone()
    }

    fn set_timeline(&self, timeline: Timeline) {
        *sync::write(&self.timeline) = Some(Arc::new(timeline));
    }

    fn apply(&self, changes: &Changes) -> Result<(), IndexError> {
        self.faults.at(Step::IndexWrite).map_err(|error| failed(sled::Error::Io(error)))?;
        let dead = keys(&changes.dead, dead_bytes);
        let ended = keys(&changes.ended, |key| ended_bytes(&self.stored(*key)));
        let [mut messages, mut history, mut ledger, mut meta] = [(); 4].map(|()| Batch::default());
        for (id, record) in &changes.messages {
            let record = record.clone().map(|record| self.stored(record));
            put(&self.messages, &mut messages, id.as_bytes(), record.as_ref())?;
        }
        for (id, record) in &changes.history {
            let record = record.clone().map(|record| self.stored(record));
            put(&self.history, &mut history, id.as_bytes(), record.as_ref())?;
        }
        for (account, state) in &changes.accounts {
            put(
                &self.meta,
                &mut meta,
                &account_bytes(*account),
                Some(&self.stored(state.clone())),
            )?;
        }
        if let Some(timeline) = &changes.timeline {
            // Three hundred octets or two thousand.
            meta.insert(TIMELINE_KEY, encoded(timeline)?);
        }
        for (sequence, event) in &changes.ledger {
            match event {
                // Some sixty octets, see `side_files.rs`.
                Some(event) => ledger.insert(&sequence.to_be_bytes(), encoded(event)?),
                None => ledger.remove(&sequence.to_be_bytes()),
            }
        }
        if changes.budget_known {
            meta.remove(BUDGET_UNKNOWN_KEY);
        }
        let is_meta_same =
            changes.accounts.is_empty() && changes.timeline.is_none() && !changes.budget_known;
        let mut changed = vec![
            (&self.messages, &messages, changes.messages.is_empty()),
            (&self.dead, &dead, changes.dead.is_empty()),
            (&self.ledger, &ledger, changes.ledger.is_empty()),
            (&self.history, &history, changes.history.is_empty()),
            (&self.ended, &ended, changes.ended.is_empty()),
            (&self.meta, &meta, is_meta_same),
        ];
        // A tree in a transaction costs something, also when nothing is written to it.
        changed.retain(|(.., is_same)| !is_same);
        if !changed.is_empty() {
            let trees: Vec<&Tree> = changed.iter().map(|(tree, ..)| *tree).collect();
            let written = trees.as_slice().transaction(|trees| {
                for (tree, (_, batch, _)) in trees.iter().zip(&changed) {
                    tree.apply_batch(batch)?;
                }
                Ok::<_, ConflictableTransactionError<()>>(())
            });
            written.map_err(given_up).inspect_err(|_| doubt::mark(&self.directory))?;
        }
        self.sync()
    }

    fn messages(&self, after: Option<QueueId>) -> Entries<'_> {
        let after = after.map(|id| sled_parts::key(id.as_bytes(), u16::MAX));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let parts = self.messages.range((from, Bound::<IVec>::Unbounded));
        Box::new(parts.filter_map(|part| self.entry(&self.messages, part)))
    }

    fn newest(&self) -> Result<Option<QueueId>, IndexError> {
        Ok(self.messages.last().map_err(failed)?.and_then(|(key, _)| id_of(&key)))
    }

    fn ledger(&self) -> Result<FoundEvents, IndexError> {
        let mut found = FoundEvents::default();
        for entry in self.ledger.iter() {
            let (key, value) = entry.map_err(failed)?;
            match (<[u8; 8]>::try_from(key.as_ref()), record::decode(&value)) {
                (Ok(sequence), Ok(event)) => {
                    found.events.push((u64::from_be_bytes(sequence), event));
                }
                (_, Err(RecordError::Version(version))) => {
                    return Err(IndexError::Newer(format!("an event of version {version}")));
                }
                _ => found.damaged.push(key.to_vec()),
            }
        }
        Ok(found)
    }

    fn finished(&self, id: QueueId) -> Result<Option<MessageRecord>, IndexError> {
        self.record_of(&self.history, id)
    }

    fn oldest_finished(&self) -> Result<Option<QueueId>, IndexError> {
        Ok(self.history.first().map_err(failed)?.and_then(|(key, _)| id_of(&key)))
    }

    fn history(&self, before: Option<QueueId>) -> Entries<'_> {
        let before = before.map(|id| sled_parts::key(id.as_bytes(), 0));
        let to = before.map_or(Bound::Unbounded, Bound::Excluded);
        let parts = self.history.range((Bound::<IVec>::Unbounded, to)).rev();
        Box::new(parts.filter_map(|part| self.entry(&self.history, part)))
    }

    fn ended_before(&self, keep_after: Timestamp, limit: usize) -> Result<Vec<EndKey>, IndexError> {
        let least = EndKey { at: self.stored_past(keep_after), id: QueueId::from_bytes([0; 16]) };
        self.ends(self.ended.range(..ended_bytes(&least)).keys().take(limit))
    }

    fn ended_after(&self, time: Timestamp, limit: usize) -> Result<Vec<EndKey>, IndexError> {
        let most = EndKey { at: self.stored_past(time), id: QueueId::from_bytes([u8::MAX; 16]) };
        self.ends(self.ended.range(ended_bytes(&most)..).keys().rev().take(limit))
    }

    fn ends_beyond(&self, most: usize, limit: usize) -> Result<Vec<EndKey>, IndexError> {
        let mut keys = self.ended.iter().keys();
        let ends = keys.try_fold(0_usize, |ends, key| key.map(|_| ends + 1).map_err(failed))?;
        self.ends(self.ended.iter().keys().take(ends.saturating_sub(most).min(limit)))
    }

    fn accounts(&self) -> Result<BTreeMap<AccountKey, AccountState>, IndexError> {
        let mut states = BTreeMap::new();
        for key in self.meta.scan_prefix(ACCOUNT_KEY).keys() {
            let key = key.map_err(failed)?;
            let Some(account) = sled_parts::first_of(&key).and_then(account_of) else { continue };
            let stored = sled_parts::get(&self.meta, &account_bytes(account))?;
            match stored.map(|value| record::decode(&value)) {
                Some(Err(RecordError::Version(version))) => {
                    let what = format!("an account's state is of version {version}");
                    return Err(IndexError::Newer(what));
                }
                Some(Ok(state)) => drop(states.insert(account, self.shown(state))),
                Some(Err(_)) | None => {}
            }
        }
        Ok(states)
    }

    fn has_dead(&self, key: &DeadKey) -> Result<bool, IndexError> {
        self.dead.contains_key(dead_bytes(key)).map_err(failed)
    }

    fn dead_ids(
        &self,
        news: News,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueueId>, IndexError> {
        let from = match after {
            Some(id) => Bound::Excluded(dead_bytes(&DeadKey { news, id })),
            None => {
                Bound::Included(dead_bytes(&DeadKey { news, id: QueueId::from_bytes([0; 16]) }))
            }
        };
        let to =
            Bound::Included(dead_bytes(&DeadKey { news, id: QueueId::from_bytes([u8::MAX; 16]) }));
        let mut ids = Vec::new();
        for key in self.dead.range((from, to)).keys().take(limit) {
            let key = key.map_err(failed)?;
            if let Some(Ok(id)) = key.get(1..).map(TryInto::try_into) {
                ids.push(QueueId::from_bytes(id));
            }
        }
        Ok(ids)
    }
}

/// The message that a part of a record belongs to.
fn id_of(key: &[u8]) -> Option<QueueId> {
    let id = key.get(..size_of::<QueueId>())?;
    Some(QueueId::from_bytes(id.try_into().ok()?))
}

fn given_up(error: TransactionError<()>) -> IndexError {
    match error {
        TransactionError::Storage(error) => failed(error),
        TransactionError::Abort(()) => IndexError::Failed("a write was given up".into()),
    }
}

fn put<T: Stored>(
    tree: &Tree,
    batch: &mut Batch,
    key: &[u8],
    record: Option<&T>,
) -> Result<(), IndexError> {
    let bytes = record.map(encoded).transpose()?;
    sled_parts::put(tree, batch, key, bytes.as_deref())
}

fn encoded<T: Stored>(record: &T) -> Result<Vec<u8>, IndexError> {
    record::encode(record).map_err(|error| IndexError::Failed(error.to_string()))
}

/// The keys to add (`true`) and to remove of a tree that has no values.
fn keys<K, const N: usize>(changed: &BTreeMap<K, bool>, bytes: impl Fn(&K) -> [u8; N]) -> Batch {
    let mut batch = Batch::default();
    for (key, added) in changed {
        if *added {
            batch.insert(bytes(key).as_slice(), &[]);
        } else {
            batch.remove(bytes(key).as_slice());
        }
    }
    batch
}

fn read<T: Stored>(id: QueueId, value: &[u8]) -> Result<T, IndexError> {
    record::decode(value).map_err(|error| match error {
        RecordError::Version(version) => {
            IndexError::Newer(format!("the record of message {id} is of version {version}"))
        }
        error => IndexError::Damaged { id, reason: error.to_string() },
    })
}

/// A time in octets that sort as it does, also before 1970.
fn time_bytes(at: Timestamp) -> [u8; 8] {
    (at.0 ^ i64::MIN).to_be_bytes()
}

fn time_of(bytes: &[u8]) -> Option<Timestamp> {
    Some(Timestamp(i64::from_be_bytes(bytes.try_into().ok()?) ^ i64::MIN))
}

fn ended_bytes(key: &EndKey) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&time_bytes(key.at));
    bytes[8..].copy_from_slice(key.id.as_bytes());
    bytes
}

fn end_key(bytes: &[u8]) -> Option<EndKey> {
    let (at, id) = bytes.split_at_checked(8)?;
    Some(EndKey { at: time_of(at)?, id: QueueId::from_bytes(id.try_into().ok()?) })
}

/// The key as it is stored.
fn dead_bytes(key: &DeadKey) -> [u8; 17] {
    let mut bytes = [key.news as u8; 17];
    bytes[1..].copy_from_slice(key.id.as_bytes());
    bytes
}

/// The key of an account's state: that of the main account is the one of versions that knew no other.
fn account_bytes(account: AccountKey) -> Vec<u8> {
    let number = account.to_bytes();
    [ACCOUNT_KEY, if account == AccountKey::MAIN { &[] } else { &number }].concat()
}

fn account_of(key: &[u8]) -> Option<AccountKey> {
    let number = key.strip_prefix(ACCOUNT_KEY)?;
    if number.is_empty() {
        return Some(AccountKey::MAIN);
    }
    number.try_into().ok().map(AccountKey::from_bytes)
}

/// Opens sled's files. Nobody else can have them, because we hold the lock of the state directory; but a
/// process that was being started when they were last closed keeps sled's own lock alive for a moment.
fn open_unlocked(configuration: &sled::Config, mut pause: impl FnMut()) -> sled::Result<sled::Db> {
    for _ in 1..OPEN_ATTEMPTS {
        match configuration.open() {
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                pause();
            }
            answer => return answer,
        }
    }
    configuration.open()
}

/// sled keeps a page that it deems large in a file that it never syncs. We never write such a page
/// (`sled_parts.rs`), so what such a file held is not to be trusted, and neither is what came after it.
fn expect_no_blob(directory: &Path) -> Result<(), OpenError> {
    match fs::read_dir(directory.join("blobs")).map(|mut entries| entries.next()) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(OpenError::Damaged("it has pages that were never made durable".into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OpenError::Unavailable(error.to_string())),
    }
}

fn open_error(error: sled::Error) -> OpenError {
    let words = words_of(&error);
    if is_damage(&error) { OpenError::Damaged(words) } else { OpenError::Unavailable(words) }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{FlockOperation, flock};

    use super::*;

    #[test]
    fn files_of_sled_that_are_in_use_for_a_moment_are_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let configuration = sled::Config::new().path(directory.path()).flush_every_ms(None);
        drop(configuration.open().unwrap());
        let copy = File::open(directory.path().join("db")).unwrap();
        // Another test may be starting a process at this moment, which has sled's own lock until it runs its program.
        flock(&copy, FlockOperation::LockExclusive).unwrap();
        let mut pauses = 0;
        let opened = open_unlocked(&configuration, || {
            pauses += 1;
            if pauses == 3 {
                flock(&copy, FlockOperation::Unlock).unwrap();
            }
        });
        assert!(opened.is_ok() && pauses == 3, "{pauses} pauses");
        drop(opened);
        flock(&copy, FlockOperation::LockExclusive).unwrap();
        let mut pauses = 0;
        let refused = open_unlocked(&configuration, || pauses += 1);
        assert!(refused.is_err() && pauses == OPEN_ATTEMPTS - 1, "{pauses} pauses");
    }

    #[test]
    fn an_error_of_the_index_is_told_in_words_with_a_remedy() {
        let disk = io::Error::from(rustix::io::Errno::IO);
        let told = failed(sled::Error::Io(disk)).to_string();
        assert!(told.contains("Input/output error") && told.contains("dmesg"), "{told}");
        let damaged = failed(sled::Error::Corruption { at: None, bt: () }).to_string();
        assert!(damaged.contains("its file is damaged"), "{damaged}");
        for error in [
            sled::Error::CollectionNotFound(IVec::from(&b"msg"[..])),
            sled::Error::Unsupported("a newer format".into()),
            sled::Error::ReportableBug("a page is gone".into()),
        ] {
            let told = open_error(error).to_string();
            assert!(!told.contains(['{', '(', '[']), "{told}");
        }
    }
}
