//! The index of the queue: what is stored of each message, and the changes that are written to it in one atomic step.
//!
//! Nothing of [`Changes`] is visible to a reader before the index has applied them whole. `sled_index.rs` is the one on
//! disk, `database_index.rs` the one in the fleet's database, `memory_index.rs` the one of tests.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;

use super::{
    ending::End,
    error::QueueError,
    faults::Faults,
    id::QueueId,
    listing::{self, QueuedMessage},
    order::Turn,
    record::MessageRecord,
    state::AccountState,
};
use crate::{
    budget::{AccountKey, Event},
    clock::{Timeline, Timestamp},
};

/// The place of a message with recipients that are dead or held because no answer came, or with relayed ones of
/// whom somebody is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DeadKey {
    pub(super) news: News,
    pub(super) id: QueueId,
}

/// What there is to be told of a message; the number is the first octet of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum News {
    /// It has dead recipients, and nobody was told of some end.
    Untold = 0,
    /// It has dead recipients; everything is told.
    Told = 1,
    /// It has no dead recipient, and nobody was told of another end.
    Other = 2,
    /// It has no dead recipient, but one that is held because no answer came; everything is told.
    Held = 3,
}

impl News {
    /// Everything; first what is told first.
    pub(super) const ALL: [Self; 4] = [Self::Untold, Self::Other, Self::Told, Self::Held];

    /// Whether the message has dead recipients.
    pub(super) fn is_dead(self) -> bool {
        matches!(self, Self::Untold | Self::Told)
    }

    /// Whether somebody is to be told.
    pub(super) fn is_untold(self) -> bool {
        matches!(self, Self::Untold | Self::Other)
    }
}

impl DeadKey {
    /// The key of a message; `None` when no recipient is dead or held without an answer, and there is nothing to tell.
    pub(super) fn of(id: QueueId, record: &MessageRecord) -> Option<Self> {
        let is_news = record.untold().next().is_some() || record.untold_success().next().is_some();
        let news = match (record.dead().next(), is_news) {
            (Some(_), true) => News::Untold,
            (Some(_), false) => News::Told,
            (None, true) => News::Other,
            (None, false) if record.given_up().next().is_some() => News::Held,
            (None, false) => return None,
        };
        Some(Self { news, id })
    }
}

/// The place of a finished message in the order of forgetting: when it left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EndKey {
    pub(super) at: Timestamp,
    pub(super) id: QueueId,
}

/// How far an end may be ahead of the clock: a correction of it, and no more.
const END_AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// Whether an end was written by a clock that was wrong.
pub(super) fn is_of_the_future(end: Timestamp, now: Timestamp) -> bool {
    end > now.after(END_AHEAD_MAX)
}

/// The stored half of the queue: records by id, and the orders in which they are looked for. `None` and an empty answer
/// are normal; an error is a failed index.
pub(super) trait Index: Send + Sync + fmt::Debug {
    /// The record of a queued message.
    fn message(&self, id: QueueId) -> Result<Option<MessageRecord>, IndexError>;

    /// Queued messages after `after`, with the damaged ones as errors.
    fn messages(&self, after: Option<QueueId>) -> Entries<'_>;

    /// The id of the last queued message.
    fn newest(&self) -> Result<Option<QueueId>, IndexError>;

    /// Whether it has this key of a dead letter.
    fn has_dead(&self, key: &DeadKey) -> Result<bool, IndexError>;

    /// Messages of which there is this to be told, after `after`, at most `limit`.
    fn dead_ids(
        &self,
        news: News,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueueId>, IndexError>;

    /// A finished message.
    fn finished(&self, id: QueueId) -> Result<Option<MessageRecord>, IndexError>;

    /// The id of the first finished message.
    fn oldest_finished(&self) -> Result<Option<QueueId>, IndexError>;

    /// Finished messages before `before`, newest first, with the damaged ones as errors.
    fn history(&self, before: Option<QueueId>) -> Entries<'_>;

    /// The ends of finished messages before `keep_after`, the oldest first, at most `limit`.
    fn ended_before(&self, keep_after: Timestamp, limit: usize) -> Result<Vec<EndKey>, IndexError>;

    /// The ends of finished messages after `time`, the latest first, at most `limit`.
    fn ended_after(&self, time: Timestamp, limit: usize) -> Result<Vec<EndKey>, IndexError>;

    /// The ends of finished messages beyond the `most` that ended last, the oldest first, at most `limit`; all are looked through for
    /// it. Of one moment: where several hosts forget what is beyond at once, each names the same.
    fn ends_beyond(&self, most: usize, limit: usize) -> Result<Vec<EndKey>, IndexError>;

    /// All events of the ledger.
    fn ledger(&self) -> Result<FoundEvents, IndexError>;

    /// The stored states of accounts; an unreadable one counts as none.
    fn accounts(&self) -> Result<BTreeMap<AccountKey, AccountState>, IndexError>;

    /// What the stored times mean; nothing when nothing was ever stored.
    fn timeline(&self) -> Option<Arc<Timeline>>;

    /// From now on they mean this. Nothing that is stored changes by it.
    fn set_timeline(&self, timeline: Timeline);

    /// Whether nothing was ever written to it.
    fn is_new(&self) -> Result<bool, IndexError>;

    /// Ends the time in which it is new, removes damaged ledger events, and keeps with that whether the budget spent
    /// before is unknown: a crash from here on forgets none of it.
    fn begin(&self, budget_unknown: bool, damaged: &[Vec<u8>]) -> Result<(), IndexError>;

    /// Whether half of the budget must count as spent, and has not yet.
    fn is_budget_unknown(&self) -> Result<bool, IndexError>;

    /// Writes everything in one transaction and makes it durable.
    fn apply(&self, changes: &Changes) -> Result<(), IndexError>;

    /// Forgets whole days of the history that ended before a time, where that costs less than one by one; returns before
    /// which time the rest is to be forgotten one by one.
    fn forget_days(&self, before: Timestamp) -> Result<Timestamp, IndexError> {
        Ok(before)
    }

    /// Above which numbers the claims of this process have theirs.
    fn claims_from(&self) -> u64 {
        0
    }

    /// Whether the final dot of a message may have been sent by the process that had it; `None` where the index is not told.
    fn may_be_sent(&self, _: QueueId) -> Option<bool> {
        None
    }

    /// Takes up messages that have come from the queue of another host, a page of them.
    #[cfg(feature = "fleet")]
    fn receive(&self) -> Result<Vec<(QueueId, MessageRecord)>, IndexError> {
        Ok(Vec::new())
    }
}

/// A message and its record, or why it cannot be read.
pub(super) type Entry = Result<(QueueId, MessageRecord), IndexError>;

/// Messages, one after the other.
pub(super) type Entries<'a> = Box<dyn Iterator<Item = Entry> + 'a>;

/// The events of the ledger.
#[derive(Debug, Default)]
pub(super) struct FoundEvents {
    pub(super) events: Vec<(u64, Event)>,
    /// The keys of those that cannot be read.
    pub(super) damaged: Vec<Vec<u8>>,
}

impl dyn Index + '_ {
    /// Messages after `after` with news that `is_wanted`, in the order of acceptance.
    pub(super) fn with_news(
        &self,
        is_wanted: fn(News) -> bool,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<impl Iterator<Item = Entry>, IndexError> {
        let mut ids = Vec::new();
        for news in News::ALL.into_iter().filter(|news| is_wanted(*news)) {
            ids.extend(self.dead_ids(news, after, limit)?);
        }
        ids.sort_unstable();
        ids.truncate(limit);
        Ok(self.entries(ids))
    }

    /// Messages with recipients of whose end nobody was told, in the order in which that is told.
    pub(super) fn unnotified(
        &self,
        limit: usize,
    ) -> Result<impl Iterator<Item = Entry>, IndexError> {
        let mut ids = Vec::new();
        for news in News::ALL.into_iter().filter(|news| news.is_untold()) {
            ids.extend(self.dead_ids(news, None, limit - ids.len())?);
        }
        Ok(self.entries(ids))
    }

    /// The records of these messages, read one by one; a key that outlived its record is passed over.
    pub(super) fn entries(&self, ids: Vec<QueueId>) -> impl Iterator<Item = Entry> {
        ids.into_iter().filter_map(|id| {
            self.message(id).map(|record| record.map(|record| (id, record))).transpose()
        })
    }
}

/// One page of messages to be looked at; damaged records are left out, they are reported when they are met.
pub(super) fn page(
    entries: impl Iterator<Item = Entry>,
    limit: usize,
) -> Result<Vec<QueuedMessage>, IndexError> {
    listing::page(readable(entries), limit)
}

/// Messages without the damaged records.
pub(super) fn readable(
    entries: impl Iterator<Item = Entry>,
) -> impl Iterator<Item = Result<QueuedMessage, IndexError>> {
    let readable = entries.filter(|entry| !matches!(entry, Err(IndexError::Damaged { .. })));
    readable.map(|entry| entry.map(|(id, record)| QueuedMessage { id, record }))
}

/// Where an index comes from.
pub(super) trait IndexSource: Send + Sync + fmt::Debug {
    /// Opens the index in the state directory, or makes it. `in_doubt` says that a write of it has failed in this
    /// process.
    fn open(
        &self,
        state: &Path,
        in_doubt: bool,
        faults: &Faults,
    ) -> Result<Arc<dyn Index>, OpenError>;

    /// Moves a damaged index out of the way, and says where to.
    fn set_aside(&self, state: &Path, now: Timestamp) -> io::Result<PathBuf>;

    /// Whether it is tried for as long as it takes, because no new process would do better.
    fn is_waited_for(&self) -> bool {
        false
    }

    /// It is used no more by this process.
    fn release(&self) {}
}

/// Why an index cannot be opened.
#[derive(Debug, Error)]
pub(super) enum OpenError {
    /// Its files are damaged.
    #[error("{0}")]
    Damaged(String),
    /// The disk or the permissions stand in the way; the files may be fine.
    #[error("{0}")]
    Unavailable(String),
    /// It is elsewhere, and cannot be reached.
    #[error("{0}")]
    Away(String),
    /// A newer program wrote it; what it is of.
    #[error("the queue was written by a newer version of this program ({0})")]
    Newer(String),
}

/// Why an index could not answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum IndexError {
    /// One record is damaged; the others are not concerned.
    #[error("the record of message {id} is damaged: {reason}")]
    Damaged { id: QueueId, reason: String },
    /// A newer program wrote something; it is left untouched.
    #[error("a newer version of this program wrote it: {0}")]
    Newer(String),
    /// It finds its own files damaged: they must be rebuilt.
    #[error("{0}")]
    Broken(String),
    /// It cannot read or write just now.
    #[error("{0}")]
    Failed(String),
    /// It is another host's by now: this process must end.
    #[cfg_attr(not(feature = "fleet"), allow(dead_code, reason = "it is said of a database alone"))]
    #[error("{0}")]
    Lost(String),
}

/// In the words of the queue.
impl From<IndexError> for QueueError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Damaged { id, reason } => Self::Corrupt { id, reason },
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// Everything that one atomic write will change.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// New records; `None` removes one.
    pub(super) messages: BTreeMap<QueueId, Option<MessageRecord>>,
    /// Turns that begin (`true`) and end (`false`) with them, one after the other, as far as the order in memory does not
    /// know of them yet.
    pub(super) turns: Vec<(Turn, bool)>,
    /// Whether something becomes claimable by them.
    pub(super) adds_work: bool,
    /// Keys of messages with dead recipients, or with something to tell, to add (`true`) and to remove (`false`).
    pub(super) dead: BTreeMap<DeadKey, bool>,
    /// Ledger events; `None` removes one.
    pub(super) ledger: BTreeMap<u64, Option<Event>>,
    /// Finished messages for the history; `None` removes one.
    pub(super) history: BTreeMap<QueueId, Option<MessageRecord>>,
    /// Ends of finished messages to add (`true`) and to remove (`false`).
    pub(super) ended: BTreeMap<EndKey, bool>,
    /// What was spent before is accounted for by now.
    pub(super) budget_known: bool,
    /// New states of accounts.
    pub(super) accounts: BTreeMap<AccountKey, AccountState>,
    /// What stored times mean from now on.
    pub(super) timeline: Option<Timeline>,
    /// Messages that leave the queue, with their octets: their files go after the write.
    pub(super) removed: Vec<(QueueId, u64)>,
}

impl Changes {
    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.dead.is_empty()
            && self.ledger.is_empty()
            && self.history.is_empty()
            && self.ended.is_empty()
            && self.accounts.is_empty()
            && self.timeline.is_none()
    }

    /// Removes a record that cannot be read. Its turn, should it have one, ends when it comes.
    pub(super) fn forget(&mut self, id: QueueId) {
        self.removed.push((id, 0));
        self.messages.insert(id, None);
    }

    /// Moves a message from the queue to the history.
    pub(super) fn finish(
        &mut self,
        id: QueueId,
        old: &MessageRecord,
        new: MessageRecord,
        end: End,
    ) {
        self.put(id, Some(old), None);
        self.ended.insert(EndKey { at: end.at, id }, true);
        self.history.insert(id, Some(MessageRecord { end: Some(end), ..new }));
    }

    /// Forgets a finished message.
    pub(super) fn forget_end(&mut self, key: EndKey) {
        self.history.insert(key.id, None);
        self.ended.insert(key, false);
    }

    /// An end that a wrong clock has put into the future is counted from `now` on.
    pub(super) fn move_end(&mut self, key: EndKey, now: Timestamp) {
        self.ended.insert(key, false);
        self.ended.insert(EndKey { at: now, ..key }, true);
    }

    /// Replaces a record, and its keys with it.
    pub(super) fn put(
        &mut self,
        id: QueueId,
        old: Option<&MessageRecord>,
        new: Option<MessageRecord>,
    ) {
        self.turns.extend(old.and_then(|record| Turn::of(id, record)).map(|turn| (turn, false)));
        let turn = new.as_ref().and_then(|record| Turn::of(id, record));
        self.adds_work |= turn.is_some();
        self.turns.extend(turn.map(|turn| (turn, true)));
        if let Some(key) = old.and_then(|record| DeadKey::of(id, record)) {
            self.dead.insert(key, false);
        }
        if let Some(key) = new.as_ref().and_then(|record| DeadKey::of(id, record)) {
            self.dead.insert(key, true);
        }
        if let (Some(old), None) = (old, &new) {
            self.removed.push((id, old.size_bytes));
        }
        self.messages.insert(id, new);
    }
}

#[cfg(test)]
mod tests;
