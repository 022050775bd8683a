//! The tables of a backend, and the changes that are written to them in one atomic step.
//!
//! Rule: the engine reads through [`Tables`] and collects [`Changes`]; nothing is visible to a reader
//! before the backend has applied them whole. Must not know how a backend stores anything.

use std::{collections::BTreeMap, time::Duration};

use thiserror::Error;

use super::{
    id::QueueId,
    record::MessageRecord,
    state::{AccountState, RecipientState},
};
use crate::{
    budget::ledger::Event,
    clock::{Timeline, Timestamp},
    message::envelope::Lane,
};

/// The place of a message in the order of departure: its lane, then due time, then order of acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DueKey {
    pub(super) lane: Lane,
    pub(super) due: Timestamp,
    pub(super) id: QueueId,
}

impl DueKey {
    /// The key under which a message waits; `None` while a worker has it or when nothing waits.
    pub(super) fn of(id: QueueId, record: &MessageRecord) -> Option<Self> {
        let mut due = None;
        for recipient in &record.recipients {
            match recipient.state {
                RecipientState::Reserved { .. } => return None,
                RecipientState::Queued { due: at, .. } => {
                    due = Some(due.map_or(at, |least: Timestamp| least.min(at)))
                }
                RecipientState::Relayed { .. }
                | RecipientState::Held { .. }
                | RecipientState::Dead { .. } => {}
            }
        }
        due.map(|due| Self { lane: record.lane, due, id })
    }
}

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

/// Read access to what is stored. `None` and an empty answer are normal; an error is a failed backend.
pub(super) trait Tables {
    /// The record of a queued message.
    fn message(&self, id: QueueId) -> Result<Option<MessageRecord>, TableError>;

    /// The smallest due key of the lane that `passed_over` does not reject.
    fn first_due(
        &self,
        lane: Lane,
        passed_over: &dyn Fn(&DueKey) -> bool,
    ) -> Result<Option<DueKey>, TableError>;
}

/// Why a backend could not answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum TableError {
    /// One record is damaged; the others are not concerned.
    #[error("the record of message {id} is damaged: {reason}")]
    Damaged { id: QueueId, reason: String },
    /// A newer program wrote something; it is left untouched.
    #[error("a newer version of this program wrote it: {0}")]
    Newer(String),
    /// The backend finds its own files damaged: they must be rebuilt.
    #[error("{0}")]
    Broken(String),
    /// The backend cannot read or write just now.
    #[error("{0}")]
    Failed(String),
}

/// Everything that one atomic write will change.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// New records; `None` removes one.
    pub(super) messages: BTreeMap<QueueId, Option<MessageRecord>>,
    /// Due keys to add (`true`) and to remove (`false`).
    pub(super) due: BTreeMap<DueKey, bool>,
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
    /// The account's new state.
    pub(super) account: Option<AccountState>,
    /// What stored times mean from now on.
    pub(super) timeline: Option<Timeline>,
    /// Messages that leave the queue, with their octets: their files go after the write.
    pub(super) removed: Vec<(QueueId, u64)>,
}

impl Changes {
    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.due.is_empty()
            && self.dead.is_empty()
            && self.ledger.is_empty()
            && self.history.is_empty()
            && self.ended.is_empty()
            && self.account.is_none()
            && self.timeline.is_none()
    }

    /// Whether something becomes claimable by them.
    pub(super) fn adds_work(&self) -> bool {
        self.due.values().any(|added| *added)
    }

    /// Removes a record that cannot be read. Its due key, should it have one, is removed when it is met.
    pub(super) fn forget(&mut self, id: QueueId) {
        self.removed.push((id, 0));
        self.messages.insert(id, None);
    }

    /// Moves a message from the queue to the history.
    pub(super) fn finish(
        &mut self,
        id: QueueId,
        old: &MessageRecord,
        end: MessageRecord,
        at: Timestamp,
    ) {
        self.put(id, Some(old), None);
        self.history.insert(id, Some(end));
        self.ended.insert(EndKey { at, id }, true);
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
        if let Some(key) = old.and_then(|record| DueKey::of(id, record)) {
            self.due.insert(key, false);
        }
        if let Some(key) = new.as_ref().and_then(|record| DueKey::of(id, record)) {
            self.due.insert(key, true);
        }
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
