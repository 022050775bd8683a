//! The queue as screens and programs see it, a page at a time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{id::QueueId, origin::OriginKey, record::MessageRecord, state::Recipient};
use crate::{budget::Limit, clock::Timestamp};

/// Entries in one answer of `list` and `history`.
pub const LIST_LENGTH_MAX: usize = 1_000;
/// Recipients after which such an answer ends, though it is shorter: a message may have a thousand, and a page of a
/// thousand such messages would be a million.
pub(crate) const LIST_RECIPIENTS_MAX: usize = 5_000;

/// The beginning of `messages`: at most `limit` of them, and not many more recipients than
/// [`LIST_RECIPIENTS_MAX`].
pub(super) fn page<E>(
    messages: impl Iterator<Item = Result<QueuedMessage, E>>,
    limit: usize,
) -> Result<Vec<QueuedMessage>, E> {
    let (mut page, mut recipients) = (Vec::new(), 0_usize);
    for message in messages.take(limit.min(LIST_LENGTH_MAX)) {
        let message = message?;
        recipients += message.recipients().len();
        page.push(message);
        if recipients >= LIST_RECIPIENTS_MAX {
            break;
        }
    }
    Ok(page)
}

/// A message as screens and programs see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QueuedMessage {
    /// Its id.
    pub id: QueueId,
    /// The rest.
    #[serde(flatten)]
    pub record: MessageRecord,
}

impl QueuedMessage {
    /// Its recipients.
    #[must_use]
    pub fn recipients(&self) -> &[Recipient] {
        &self.record.recipients
    }
}

/// What the ledger says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerView {
    /// Recipients spent in the last 24 hours.
    pub spent: u32,
    /// Recipients that may still be spent now.
    pub room: u32,
    /// When at least one more may be spent; the time asked about when that is now.
    pub frees_at: Option<Timestamp>,
}

/// Origins that wait for their limit.
pub(crate) type Limited = BTreeMap<OriginKey, LimitedOrigin>;

/// An origin that waits because its limit of a day is used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LimitedOrigin {
    /// Which one, for people.
    pub(crate) words: String,
    /// Recipients that it may have in any 24 hours.
    pub(crate) limit: Limit,
    /// When at least one more may be written to.
    pub(crate) until: Timestamp,
}

/// Totals of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Messages in the queue, dead and held ones included.
    pub messages: u64,
    /// Octets of their spool files.
    pub(crate) bytes: u64,
    /// Messages that came in since the queue was opened.
    pub(crate) accepted: u64,
    /// Spool files and records set aside because they are damaged.
    pub set_aside: u64,
}
