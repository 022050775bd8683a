//! The tree of dead letters in sled, and pages of records.
//!
//! Rule: the key alone says whether somebody was told, so that looking for news costs nothing while there
//! is none. Must not know what a dead letter means.

use std::ops::Bound;

use super::{
    id::QueueId,
    record::MessageRecord,
    sled_tables::{SledTables, failed},
    store::{self, QueuedMessage},
    tables::{DeadKey, News, TableError, Tables as _},
};

/// A message and its record, or why it cannot be read.
pub(super) type Entry = Result<(QueueId, MessageRecord), TableError>;

impl SledTables {
    /// Whether the tree of dead letters has this key.
    pub(super) fn has_dead(&self, key: &DeadKey) -> Result<bool, TableError> {
        self.dead.contains_key(dead_bytes(key)).map_err(failed)
    }

    /// Messages with dead recipients after `after` in the order of acceptance.
    pub(super) fn dead(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<impl Iterator<Item = Entry> + '_, TableError> {
        self.with_news(News::is_dead, after, limit)
    }

    /// Messages after `after` that may expire, in the order of acceptance.
    pub(super) fn given_up(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<impl Iterator<Item = Entry> + '_, TableError> {
        self.with_news(|_| true, after, limit)
    }

    fn with_news(
        &self,
        is_wanted: fn(News) -> bool,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<impl Iterator<Item = Entry> + '_, TableError> {
        let mut ids = Vec::new();
        for news in News::ALL.into_iter().filter(|news| is_wanted(*news)) {
            ids.extend(self.dead_ids(news, after, limit)?);
        }
        ids.sort_unstable();
        ids.truncate(limit);
        Ok(self.entries(ids))
    }

    /// Messages with recipients of whose end nobody was told.
    pub(super) fn untold(
        &self,
        limit: usize,
    ) -> Result<impl Iterator<Item = Entry> + '_, TableError> {
        let mut ids = Vec::new();
        for news in News::ALL.into_iter().filter(|news| news.is_untold()) {
            ids.extend(self.dead_ids(news, None, limit - ids.len())?);
        }
        Ok(self.entries(ids))
    }

    fn dead_ids(
        &self,
        news: News,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueueId>, TableError> {
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

    /// The records of these messages, read one by one; a key that outlived its record is passed over.
    fn entries(&self, ids: Vec<QueueId>) -> impl Iterator<Item = Entry> + '_ {
        ids.into_iter().filter_map(|id| {
            self.message(id).map(|record| record.map(|record| (id, record))).transpose()
        })
    }
}

/// The key as it is stored.
pub(super) fn dead_bytes(key: &DeadKey) -> [u8; 17] {
    let mut bytes = [key.news as u8; 17];
    bytes[1..].copy_from_slice(key.id.as_bytes());
    bytes
}

/// One page of messages to be looked at; damaged records are left out, they are reported when they are met.
pub(super) fn page(
    entries: impl Iterator<Item = Result<(QueueId, MessageRecord), TableError>>,
    limit: usize,
) -> Result<Vec<QueuedMessage>, TableError> {
    store::page(readable(entries), limit)
}

/// Messages without the damaged records.
pub(super) fn readable(
    entries: impl Iterator<Item = Result<(QueueId, MessageRecord), TableError>>,
) -> impl Iterator<Item = Result<QueuedMessage, TableError>> {
    let readable = entries.filter(|entry| !matches!(entry, Err(TableError::Damaged { .. })));
    readable.map(|entry| entry.map(|(id, record)| QueuedMessage { id, record }))
}
