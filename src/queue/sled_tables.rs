//! The tables of the queue in sled 0.34.7.
//!
//! Rule: only the committer writes; a write returns after sled's flush and our own `sync_data()` on sled's
//! file, because that flush alone is no barrier on Linux (a power cut then loses nearly everything). No value
//! is larger than [`PART_BYTES`]. Must not know what the records mean.

use std::{fs::File, ops::Bound, path::Path, thread, time::Duration};

use sled::{Batch, IVec, Transactional, Tree};

use super::{
    id::QueueId,
    record::{self, MessageRecord, RecordError, Stored},
    sled_dead::dead_bytes,
    state::AccountState,
    tables::{Changes, DueKey, TableError, Tables},
};
use crate::{budget::ledger::Event, clock::Timestamp, message::envelope::Lane};

/// Octets of a record in one value; longer ones are split (sled never syncs values it deems large).
const PART_BYTES: usize = 8 * 1024;
/// sled's page cache; soft, it may take three times as much.
const CACHE_BYTES: u64 = 1024 * 1024;
/// How often sled's own thread flushes and cleans segments.
const FLUSH_EVERY_MS: u64 = 500;
/// How often, and with which pause, sled's files are tried that seem to be in use.
const OPEN_ATTEMPTS: u32 = 40;
const OPEN_PAUSE: Duration = Duration::from_millis(50);
/// The layout of the trees.
const SCHEMA: u32 = 1;

const SCHEMA_KEY: &[u8] = b"schema";
const ACCOUNT_KEY: &[u8] = b"account";

/// The open trees.
#[derive(Debug)]
pub(super) struct SledTables {
    database: sled::Db,
    messages: Tree,
    due: Tree,
    ledger: Tree,
    history: Tree,
    pub(super) dead: Tree,
    meta: Tree,
    /// A handle of sled's data file, for the sync that sled leaves out.
    file: File,
}

/// Why the trees could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// sled finds its files damaged.
    #[error("{0}")]
    Damaged(String),
    /// The disk or the permissions stand in the way; the files may be fine.
    #[error("{0}")]
    Unavailable(String),
    /// A newer program wrote it; what it is of.
    #[error("the queue was written by a newer version of this program ({0})")]
    Newer(String),
}

impl SledTables {
    /// Opens or creates the trees. May panic inside sled when its files are damaged.
    pub(super) fn open(directory: &Path) -> Result<Self, OpenError> {
        let configuration = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(FLUSH_EVERY_MS))
            .use_compression(false);
        let database = open_unlocked(&configuration).map_err(open_error)?;
        let tree = |name: &str| database.open_tree(name).map_err(open_error);
        let tables = Self {
            messages: tree("msg")?,
            due: tree("due")?,
            ledger: tree("ledger")?,
            history: tree("history")?,
            dead: tree("dead")?,
            meta: tree("meta")?,
            file: File::open(directory.join("db"))
                .map_err(|error| OpenError::Unavailable(error.to_string()))?,
            database,
        };
        tables.check_schema()?;
        Ok(tables)
    }

    fn check_schema(&self) -> Result<(), OpenError> {
        if let Some(stored) = self.meta.get(SCHEMA_KEY).map_err(open_error)? {
            return match <[u8; 4]>::try_from(stored.as_ref()).map(u32::from_be_bytes) {
                Ok(SCHEMA) => Ok(()),
                Ok(newer) if newer > SCHEMA => {
                    Err(OpenError::Newer(format!("layout {newer}, this one knows {SCHEMA}")))
                }
                _ => Err(OpenError::Damaged("the version of its layout cannot be read".into())),
            };
        }
        self.meta.insert(SCHEMA_KEY, &SCHEMA.to_be_bytes()).map_err(open_error)?;
        self.sync().map_err(|error| OpenError::Unavailable(error.to_string()))
    }

    /// Writes everything in one transaction and makes it durable.
    pub(super) fn apply(&self, changes: &Changes) -> Result<(), TableError> {
        let messages = self.message_batch(changes)?;
        let (mut due, mut ledger, mut history, mut meta) =
            (Batch::default(), Batch::default(), Batch::default(), Batch::default());
        for (key, added) in &changes.due {
            if *added {
                due.insert(&due_bytes(key), &[]);
            } else {
                due.remove(&due_bytes(key));
            }
        }
        let mut dead = Batch::default();
        for (key, added) in &changes.dead {
            if *added {
                dead.insert(&dead_bytes(key), &[]);
            } else {
                dead.remove(&dead_bytes(key));
            }
        }
        for (sequence, event) in &changes.ledger {
            put(&mut ledger, &sequence.to_be_bytes(), event.as_ref())?;
        }
        for (id, record) in &changes.history {
            put(&mut history, id.as_bytes(), record.as_ref())?;
        }
        if let Some(account) = &changes.account {
            let record = record::encode(account);
            meta.insert(
                ACCOUNT_KEY,
                record.map_err(|error| TableError::Failed(error.to_string()))?,
            );
        }
        (&self.messages, &self.due, &self.dead, &self.ledger, &self.history, &self.meta)
            .transaction(|(in_messages, in_due, in_dead, in_ledger, in_history, in_meta)| {
                in_messages.apply_batch(&messages)?;
                in_due.apply_batch(&due)?;
                in_dead.apply_batch(&dead)?;
                in_ledger.apply_batch(&ledger)?;
                in_history.apply_batch(&history)?;
                in_meta.apply_batch(&meta)?;
                Ok::<_, sled::transaction::ConflictableTransactionError<()>>(())
            })
            .map_err(|error| {
                TableError::Failed(format!("the queue's index cannot be written: {error:?}"))
            })?;
        self.sync()
    }

    fn sync(&self) -> Result<(), TableError> {
        self.database.flush().map_err(failed)?;
        self.file.sync_data().map_err(|error| {
            TableError::Failed(format!("the queue's index cannot be synced: {error}"))
        })
    }

    fn message_batch(&self, changes: &Changes) -> Result<Batch, TableError> {
        let mut batch = Batch::default();
        for (id, record) in &changes.messages {
            let old_parts = self.messages.get(part_key(*id, 0)).map_err(failed)?;
            let old_parts = old_parts.and_then(|part| part.first().copied()).unwrap_or(0);
            let bytes = match record {
                Some(record) => {
                    record::encode(record).map_err(|error| TableError::Failed(error.to_string()))?
                }
                None => Vec::new(),
            };
            let parts = u8::try_from(bytes.chunks(PART_BYTES).count()).map_err(|_| {
                TableError::Failed(format!("the record of message {id} is too long"))
            })?;
            for (number, chunk) in (0..).zip(bytes.chunks(PART_BYTES)) {
                let mut value = Vec::with_capacity(chunk.len() + 1);
                value.push(parts);
                value.extend_from_slice(chunk);
                batch.insert(&part_key(*id, number), value);
            }
            for number in parts..old_parts {
                batch.remove(&part_key(*id, number));
            }
        }
        Ok(batch)
    }

    /// Queued messages after `after`, with the damaged ones as errors.
    pub(super) fn messages(
        &self,
        after: Option<QueueId>,
    ) -> impl Iterator<Item = Result<(QueueId, MessageRecord), TableError>> + '_ {
        let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(part_key(id, u8::MAX)));
        self.messages.range((from, Bound::<[u8; 17]>::Unbounded)).keys().filter_map(|key| match key
        {
            Ok(key) => {
                let id = QueueId::from_bytes(key.get(..16)?.try_into().ok()?);
                // Each message once: by its first part, or by whatever part it has left.
                if key.last() != Some(&0)
                    && self.messages.contains_key(part_key(id, 0)).unwrap_or(true)
                {
                    return None;
                }
                match self.message(id) {
                    Ok(record) => record.map(|record| Ok((id, record))),
                    Err(error) => Some(Err(error)),
                }
            }
            Err(error) => Some(Err(failed(error))),
        })
    }

    /// Whether the due tree has this key.
    pub(super) fn has_due(&self, key: &DueKey) -> Result<bool, TableError> {
        self.due.contains_key(due_bytes(key)).map_err(failed)
    }

    /// All readable ledger events, and how many are damaged.
    pub(super) fn ledger(&self) -> Result<(Vec<(u64, Event)>, usize), TableError> {
        let (mut events, mut damaged) = (Vec::new(), 0);
        for entry in self.ledger.iter() {
            let (key, value) = entry.map_err(failed)?;
            match (<[u8; 8]>::try_from(key.as_ref()), record::decode(&value)) {
                (Ok(sequence), Ok(event)) => events.push((u64::from_be_bytes(sequence), event)),
                (_, Err(RecordError::Version(version))) => {
                    return Err(TableError::Newer(format!("an event of version {version}")));
                }
                _ => damaged += 1,
            }
        }
        Ok((events, damaged))
    }

    /// A finished message.
    pub(super) fn finished(&self, id: QueueId) -> Result<Option<MessageRecord>, TableError> {
        self.history.get(id.as_bytes()).map_err(failed)?.map(|value| read(id, &value)).transpose()
    }

    /// Finished messages before `before`, newest first; unreadable entries are left out.
    pub(super) fn history(
        &self,
        before: Option<QueueId>,
    ) -> impl Iterator<Item = Result<(QueueId, MessageRecord), TableError>> + '_ {
        let to = before.map_or(Bound::Unbounded, |id| Bound::Excluded(*id.as_bytes()));
        let entries = self.history.range((Bound::<[u8; 16]>::Unbounded, to)).rev();
        entries.filter_map(|entry| match entry {
            Ok((key, value)) => {
                let id = QueueId::from_bytes(key.as_ref().try_into().ok()?);
                read(id, &value).ok().map(|record| Ok((id, record)))
            }
            Err(error) => Some(Err(failed(error))),
        })
    }

    /// Every finished message in the order of acceptance, with the damaged entries as errors.
    pub(super) fn history_entries(
        &self,
    ) -> impl Iterator<Item = Result<(QueueId, MessageRecord), TableError>> + '_ {
        self.history.iter().filter_map(|entry| match entry {
            Ok((key, value)) => {
                let id = QueueId::from_bytes(key.as_ref().try_into().ok()?);
                Some(read(id, &value).map(|record| (id, record)))
            }
            Err(error) => Some(Err(failed(error))),
        })
    }

    /// Ids in the history that are older than `keep_after`, at most `limit`.
    pub(super) fn history_before(
        &self,
        keep_after: Timestamp,
        limit: usize,
    ) -> Result<Vec<QueueId>, TableError> {
        let mut old = Vec::new();
        for key in self.history.iter().keys().take(limit) {
            let Ok(bytes) = key.map_err(failed)?.as_ref().try_into() else { continue };
            let id = QueueId::from_bytes(bytes);
            if id.time() >= keep_after {
                break;
            }
            old.push(id);
        }
        Ok(old)
    }

    /// The account's stored state; an unreadable one counts as none.
    pub(super) fn account(&self) -> Result<Option<AccountState>, TableError> {
        let stored = self.meta.get(ACCOUNT_KEY).map_err(failed)?;
        match stored.map(|value| record::decode(&value)) {
            Some(Err(RecordError::Version(version))) => {
                Err(TableError::Newer(format!("the account's state is of version {version}")))
            }
            stored => Ok(stored.and_then(Result::ok)),
        }
    }
}

impl Tables for SledTables {
    fn message(&self, id: QueueId) -> Result<Option<MessageRecord>, TableError> {
        let Some(first) = self.messages.get(part_key(id, 0)).map_err(failed)? else {
            return Ok(None);
        };
        let parts = first.first().copied().unwrap_or(0);
        if parts == 1 {
            return read(id, &first[1..]).map(Some);
        }
        let mut bytes = Vec::new();
        for number in 0..parts {
            let part: Option<IVec> = self.messages.get(part_key(id, number)).map_err(failed)?;
            bytes.extend_from_slice(
                part.as_ref().and_then(|part| part.get(1..)).unwrap_or_default(),
            );
        }
        read(id, &bytes).map(Some)
    }

    fn first_due(
        &self,
        lane: Lane,
        passed_over: &dyn Fn(&DueKey) -> bool,
    ) -> Result<Option<DueKey>, TableError> {
        for key in self.due.scan_prefix([lane_byte(lane)]).keys() {
            let key = key.map_err(failed)?;
            if let Some(key) = due_key(&key)
                && !passed_over(&key)
            {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }
}

fn put<T: Stored>(batch: &mut Batch, key: &[u8], value: Option<&T>) -> Result<(), TableError> {
    match value {
        Some(value) => {
            batch.insert(
                key,
                record::encode(value).map_err(|error| TableError::Failed(error.to_string()))?,
            );
        }
        None => batch.remove(key),
    }
    Ok(())
}

fn read<T: Stored>(id: QueueId, value: &[u8]) -> Result<T, TableError> {
    record::decode(value).map_err(|error| match error {
        RecordError::Version(version) => {
            TableError::Newer(format!("the record of message {id} is of version {version}"))
        }
        error => TableError::Damaged { id, reason: error.to_string() },
    })
}

fn part_key(id: QueueId, number: u8) -> [u8; 17] {
    let mut key = [number; 17];
    key[..16].copy_from_slice(id.as_bytes());
    key
}

/// Times before 1970 do not occur in a due key but by a wrong clock; they sort first as well.
fn due_bytes(key: &DueKey) -> [u8; 25] {
    let mut bytes = [lane_byte(key.lane); 25];
    bytes[1..9].copy_from_slice(&u64::try_from(key.due.0).unwrap_or(0).to_be_bytes());
    bytes[9..].copy_from_slice(key.id.as_bytes());
    bytes
}

fn due_key(bytes: &[u8]) -> Option<DueKey> {
    let (lane, bytes) = bytes.split_first()?;
    let lane = Lane::ALL.into_iter().find(|known| lane_byte(*known) == *lane)?;
    let (due, id) = bytes.split_at_checked(8)?;
    let due = i64::try_from(u64::from_be_bytes(due.try_into().ok()?)).ok()?;
    Some(DueKey { lane, due: Timestamp(due), id: QueueId::from_bytes(id.try_into().ok()?) })
}

fn lane_byte(lane: Lane) -> u8 {
    match lane {
        Lane::Urgent => 0,
        Lane::Normal => 1,
        Lane::Bulk => 2,
        // The place in the order of departure is `Lane::ALL`'s, not that of the byte.
        Lane::Notice => 3,
    }
}

pub(super) fn failed(error: sled::Error) -> TableError {
    let words = format!("the queue's index cannot be read or written: {error}");
    if is_damage(&error) { TableError::Broken(words) } else { TableError::Failed(words) }
}

/// Opens sled's files. Nobody else can have them, because we hold the lock of the state directory; but a
/// process that was being started when they were last closed keeps sled's own lock alive for a moment.
fn open_unlocked(configuration: &sled::Config) -> sled::Result<sled::Db> {
    for _ in 1..OPEN_ATTEMPTS {
        match configuration.open() {
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                thread::sleep(OPEN_PAUSE);
            }
            answer => return answer,
        }
    }
    configuration.open()
}

fn open_error(error: sled::Error) -> OpenError {
    let words = error.to_string();
    if is_damage(&error) { OpenError::Damaged(words) } else { OpenError::Unavailable(words) }
}

/// Which errors mean damaged files, and not only that now is a bad time.
fn is_damage(error: &sled::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        sled::Error::Io(cause) => {
            matches!(
                cause.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput
            )
        }
        _ => true,
    }
}
