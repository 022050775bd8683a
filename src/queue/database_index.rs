//! The index of a queue in the fleet's database: written there first, and then in the mirror in memory from which is read.
//!
//! Rule: nobody who reads what waits is ever kept by the network; only the history, which is that of all hosts, is asked for
//! there. Times are wall times: another host has to understand them. Must not know how rows are stored.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    iter,
    sync::{Arc, Mutex},
};

use super::{
    id::QueueId,
    index::{Changes, DeadKey, EndKey, Entries, FoundEvents, Index, IndexError, News},
    memory_index::MemoryIndex,
    record::{self, MessageRecord, RecordError, Stored},
    state::{AccountState, RecipientState},
};
use crate::{
    budget::AccountKey,
    clock::{Timeline, Timestamp},
    fleet::{Id, Refusal, Row, Rows, Write, Written},
    sync,
};

/// Bits of a claim's number that count within one start; the others are those of the start, so that a claim of another host,
/// whose message comes here, is none of ours.
const CLAIM_BITS: u32 = 40;
/// Finished messages that are read at a time.
const HISTORY_PAGE: i64 = 200;

/// The index of one start.
#[derive(Debug)]
pub(super) struct DatabaseIndex {
    rows: Arc<Rows>,
    mirror: MemoryIndex,
    /// Which start it is.
    number: i64,
    /// Messages whose final dot was noted before they came here, until that is written with what follows from it.
    dots: Mutex<HashSet<QueueId>>,
}

impl DatabaseIndex {
    /// Takes over what dead hosts have left, and reads everything that waits.
    pub(super) fn open(rows: &Arc<Rows>, mirror: &MemoryIndex) -> Result<Self, IndexError> {
        let number = rows.begin().map_err(refused)?;
        while rows.take_over_now().map_err(refused)? {}
        let (rows, mirror) = (Arc::clone(rows), mirror.clone());
        let index = Self { rows, mirror, number, dots: Mutex::default() };
        index.mirror.empty(index.standings()?);
        let mut after = None;
        loop {
            let page = index.rows.messages(after).map_err(refused)?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for row in page {
                if !index.rows.is_unanswered(&row.id) {
                    index.fill(row)?;
                }
            }
        }
        Ok(index)
    }

    fn standings(&self) -> Result<BTreeMap<AccountKey, AccountState>, IndexError> {
        let mut states = BTreeMap::new();
        for (account, state) in self.rows.standings().map_err(refused)? {
            let Ok(account) = account.try_into().map(AccountKey::from_bytes) else { continue };
            match record::decode(&state) {
                Ok(state) => drop(states.insert(account, state)),
                Err(RecordError::Version(version)) => {
                    let what = format!("an account's state is of version {version}");
                    return Err(IndexError::Newer(what));
                }
                // An unreadable one counts as none.
                Err(_) => {}
            }
        }
        Ok(states)
    }

    /// Takes up a message; its record, where that can be read.
    fn fill(&self, row: Row) -> Result<Option<(QueueId, MessageRecord)>, IndexError> {
        let id = QueueId::from_bytes(row.id);
        let read = read(id, &row.record);
        let found = match read {
            Err(IndexError::Damaged { reason, .. }) => Err(reason),
            read => Ok(read?),
        };
        if row.dot && found.is_ok() {
            sync::lock(&self.dots).insert(id);
        }
        self.mirror.fill(id, found.clone());
        Ok(found.ok().map(|record| (id, record)))
    }

    fn write_of(changes: &Changes) -> Result<Write, IndexError> {
        let mut write = Write::default();
        for (id, record) in &changes.messages {
            match record {
                Some(record) => write.put.push((*id.as_bytes(), written(record)?)),
                None => write.removed.push(*id.as_bytes()),
            }
        }
        let added = changes.ended.iter().filter(|(_, added)| **added);
        let mut ends: BTreeMap<QueueId, Timestamp> =
            added.map(|(key, _)| (key.id, key.at)).collect();
        for (id, record) in &changes.history {
            let end = ends.remove(id);
            let Some(record) = record else {
                write.forgotten.push(*id.as_bytes());
                continue;
            };
            let end =
                end.or_else(|| record.end.as_ref().map(|end| end.at)).unwrap_or(record.accepted_at);
            write.ended.push((*id.as_bytes(), end.0, encoded(record)?));
        }
        write.moved = ends.into_iter().map(|(id, at)| (*id.as_bytes(), at.0)).collect();
        for (account, state) in &changes.accounts {
            write.standings.push((account.to_bytes().to_vec(), encoded(state)?));
        }
        Ok(write)
    }

    fn ends_of(&self, time: (i64, bool), limit: usize) -> Result<Vec<EndKey>, IndexError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(keys(self.rows.ends(time, limit).map_err(refused)?))
    }
}

fn keys(ends: Vec<(i64, Id)>) -> Vec<EndKey> {
    let key = |(at, id)| EndKey { at: Timestamp(at), id: QueueId::from_bytes(id) };
    ends.into_iter().map(key).collect()
}

/// As it is written: with the number of its claim.
pub(super) fn written(record: &MessageRecord) -> Result<Written, IndexError> {
    let claim = record.recipients.iter().find_map(|recipient| match recipient.state {
        RecipientState::Reserved { reservation, .. } => Some(reservation.cast_signed()),
        _ => None,
    });
    Ok((encoded(record)?, claim))
}

fn encoded<T: Stored>(record: &T) -> Result<Vec<u8>, IndexError> {
    record::encode(record).map_err(|error| IndexError::Failed(error.to_string()))
}

pub(super) fn read(id: QueueId, bytes: &[u8]) -> Result<MessageRecord, IndexError> {
    record::decode(bytes).map_err(|error| match error {
        RecordError::Version(version) => {
            IndexError::Newer(format!("the record of message {id} is of version {version}"))
        }
        error => IndexError::Damaged { id, reason: error.to_string() },
    })
}

/// In the words of the queue.
pub(super) fn refused(refusal: Refusal) -> IndexError {
    let words = format!("the queue in the fleet's database cannot be used: {refusal}");
    match refusal {
        Refusal::Lost => IndexError::Lost(refusal.to_string()),
        Refusal::Trouble(_) => IndexError::Failed(words),
    }
}

impl Index for DatabaseIndex {
    fn message(&self, id: QueueId) -> Result<Option<MessageRecord>, IndexError> {
        self.mirror.message(id)
    }

    fn messages(&self, after: Option<QueueId>) -> Entries<'_> {
        self.mirror.messages(after)
    }

    fn newest(&self) -> Result<Option<QueueId>, IndexError> {
        self.mirror.newest()
    }

    fn has_dead(&self, key: &DeadKey) -> Result<bool, IndexError> {
        self.mirror.has_dead(key)
    }

    fn dead_ids(
        &self,
        news: News,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueueId>, IndexError> {
        self.mirror.dead_ids(news, after, limit)
    }

    fn finished(&self, id: QueueId) -> Result<Option<MessageRecord>, IndexError> {
        let found = self.rows.finished(*id.as_bytes()).map_err(refused)?;
        found.map(|bytes| read(id, &bytes)).transpose()
    }

    fn oldest_finished(&self) -> Result<Option<QueueId>, IndexError> {
        Ok(self.rows.oldest_finished().map_err(refused)?.map(QueueId::from_bytes))
    }

    fn history(&self, before: Option<QueueId>) -> Entries<'_> {
        let mut before: Option<Id> = before.map(|id| *id.as_bytes());
        let (mut page, mut is_over) = (VecDeque::new(), false);
        Box::new(iter::from_fn(move || {
            if page.is_empty() && !is_over {
                match self.rows.history(before, HISTORY_PAGE) {
                    Ok(next) => page.extend(next),
                    Err(refusal) => {
                        is_over = true;
                        return Some(Err(refused(refusal)));
                    }
                }
            }
            let (id, bytes) = page.pop_front()?;
            before = Some(id);
            let id = QueueId::from_bytes(id);
            Some(read(id, &bytes).map(|record| (id, record)))
        }))
    }

    fn ended_before(&self, keep_after: Timestamp, limit: usize) -> Result<Vec<EndKey>, IndexError> {
        self.ends_of((keep_after.0, true), limit)
    }

    fn ended_after(&self, time: Timestamp, limit: usize) -> Result<Vec<EndKey>, IndexError> {
        self.ends_of((time.0, false), limit)
    }

    fn ends_beyond(&self, most: usize, limit: usize) -> Result<Vec<EndKey>, IndexError> {
        let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
        let ends = self.rows.ends_beyond(number(most), number(limit)).map_err(refused)?;
        Ok(keys(ends))
    }

    fn ledger(&self) -> Result<FoundEvents, IndexError> {
        self.mirror.ledger()
    }

    fn accounts(&self) -> Result<BTreeMap<AccountKey, AccountState>, IndexError> {
        self.mirror.accounts()
    }

    fn timeline(&self) -> Option<Arc<Timeline>> {
        self.mirror.timeline()
    }

    fn set_timeline(&self, timeline: Timeline) {
        self.mirror.set_timeline(timeline);
    }

    fn is_new(&self) -> Result<bool, IndexError> {
        self.mirror.is_new()
    }

    fn begin(&self, budget_unknown: bool, damaged: &[Vec<u8>]) -> Result<(), IndexError> {
        self.mirror.begin(budget_unknown, damaged)
    }

    fn is_budget_unknown(&self) -> Result<bool, IndexError> {
        self.mirror.is_budget_unknown()
    }

    fn apply(&self, changes: &Changes) -> Result<(), IndexError> {
        let failed = |error| IndexError::Failed(format!("a write has failed: {error}"));
        self.mirror.fails().map_err(failed)?;
        let write = Self::write_of(changes)?;
        if !write.is_empty() {
            self.rows.write(write).map_err(refused)?;
        }
        self.mirror.follow(changes);
        sync::lock(&self.dots).retain(|id| !changes.messages.contains_key(id));
        Ok(())
    }

    fn forget_days(&self, before: Timestamp) -> Result<Timestamp, IndexError> {
        self.rows.drop_days(before.0).map_err(refused)?;
        // The rest of a day goes with it.
        Ok(Timestamp(i64::MIN))
    }

    fn claims_from(&self) -> u64 {
        self.number.cast_unsigned() << CLAIM_BITS
    }

    fn may_be_sent(&self, id: QueueId) -> Option<bool> {
        Some(sync::lock(&self.dots).contains(&id))
    }

    fn receive(&self) -> Result<Vec<(QueueId, MessageRecord)>, IndexError> {
        let fresh = self.rows.fresh().map_err(refused)?;
        let is_known = |row: &Row| self.mirror.knows(QueueId::from_bytes(row.id));
        let (known, new): (Vec<_>, Vec<_>) = fresh.into_iter().partition(is_known);
        if !known.is_empty() {
            let known = known.into_iter().map(|row| row.id).collect();
            self.rows.known(known).map_err(refused)?;
        }
        let arrived = new.into_iter().map(|row| self.fill(row));
        arrived.filter_map(Result::transpose).collect()
    }
}
