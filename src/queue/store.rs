//! The seam between acceptance and delivery: what a queue can do, in the words of the domain.
//!
//! Rule: every verb that changes something returns only after the change would survive a power cut.
//! Backends: `memory_store.rs` (the twin, for tests) and `sled_store.rs`; one contract suite
//! (tests/store_contract.rs) runs against both. Must not know any backend.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    draft::Draft,
    id::QueueId,
    only::Only,
    reader::MessageReader,
    receipt::Receipt,
    record::{MessageRecord, NoticeSent, Setbacks},
    state::{AccountState, Recipient},
    walk::Walk,
};
use crate::{
    budget::Limit,
    clock::{Moment, Timestamp},
    message::envelope::{Envelope, Lane},
};

/// Entries in one answer of `list` and `history`.
pub const LIST_LENGTH_MAX: usize = 1_000;
/// Recipients after which such an answer ends, though it is shorter: a message may have a thousand, and a page of a
/// thousand such messages would be a million.
pub const LIST_RECIPIENTS_MAX: usize = 5_000;

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

/// A durable queue with its budget ledger and the state of the account.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Whether a message of `size_bytes` may come in: quota, free space, health. Cheap; asks no disk.
    fn admission(&self, size_bytes: u64) -> Result<(), StoreError>;

    /// Starts a message: assigns its id and takes the body through [`Draft::write`]. A draft that is
    /// dropped leaves nothing behind.
    fn begin(&self, envelope: Envelope) -> Result<Draft, StoreError>;

    /// Starts a message under the id that its client has given it: at most one message ever has it.
    /// [`StoreError::AlreadyKnown`] when the queue or its history has a message with this id;
    /// [`StoreError::Conflict`] while another draft has it.
    async fn begin_as(&self, id: QueueId, envelope: Envelope) -> Result<Draft, StoreError>;

    /// Makes the draft durable. The only source of a [`Receipt`], and so of a 250 after DATA.
    async fn enqueue(&self, draft: Draft) -> Result<Receipt, StoreError>;

    /// Claims the next message that is due and reserves budget for its recipients, in one atomic write:
    /// urgent mail before normal, normal before bulk, within a lane by due time and order of acceptance.
    async fn claim_due(&self, now: Moment, terms: ClaimTerms) -> Result<Claim, StoreError>;

    /// Notes that the final dot of a claimed message is about to be sent. Cheap; survives the death
    /// of the process, not of the machine (after a reboot every reservation counts as sent).
    fn final_dot(&self, id: QueueId) -> Result<(), StoreError>;

    /// Notes what follows from the answer to a final dot, before [`Store::settle`] makes it durable. As
    /// cheap as [`Store::final_dot`], and survives as much: a process that is killed now settles with it at
    /// its next start instead of sending the message again.
    fn answered(&self, id: QueueId, settlement: &Settlement) -> Result<(), StoreError>;

    /// Ends a claim: writes every recipient's outcome and gives back the budget of those that were
    /// certainly not accepted, in one atomic write. A message whose recipients are all relayed
    /// leaves the queue for the history.
    async fn settle(&self, id: QueueId, settlement: Settlement) -> Result<(), StoreError>;

    /// [`Store::settle`] and [`Store::claim_due`] in one atomic write: the claim sees what the settlement has put
    /// back. Each has its own answer, and a claim that comes to nothing changes nothing about the settlement.
    async fn settle_and_claim(
        &self,
        id: QueueId,
        settlement: Settlement,
        now: Moment,
        terms: ClaimTerms,
    ) -> (Result<(), StoreError>, Result<Claim, StoreError>) {
        (self.settle(id, settlement).await, self.claim_due(now, terms).await)
    }

    /// Opens the stored bytes of a message that the caller has claimed, after checking them against their
    /// checksum. A message that is damaged or gone is set aside and reported as [`StoreError::Corrupt`].
    async fn open_message(&self, id: QueueId) -> Result<MessageReader, StoreError>;

    /// The same for everybody else, without any consequence. [`StoreError::NotFound`] when there are no bytes,
    /// as of a finished message.
    async fn read_message(&self, id: QueueId) -> Result<MessageReader, StoreError>;

    /// Makes every held, dead or waiting recipient due at once, with a new lifetime. Returns how many
    /// there were.
    async fn retry(&self, id: QueueId, now: Timestamp) -> Result<u32, StoreError> {
        self.retry_only(id, now, &Only::default()).await
    }

    /// The same, when the message is one of these at that moment; else [`StoreError::OtherState`].
    async fn retry_only(&self, id: QueueId, now: Timestamp, only: &Only)
    -> Result<u32, StoreError>;

    /// Holds every waiting recipient until a person retries or deletes the message.
    async fn hold(&self, id: QueueId, now: Timestamp, reason: String) -> Result<u32, StoreError>;

    /// Removes a message for good. [`StoreError::Conflict`] while a worker has it.
    async fn delete(&self, id: QueueId) -> Result<(), StoreError> {
        self.delete_only(id, &Only::default()).await
    }

    /// The same, when the message is one of these at that moment; else [`StoreError::OtherState`].
    async fn delete_only(&self, id: QueueId, only: &Only) -> Result<(), StoreError>;

    /// The id of the queued message that sorts last: where a walk that begins now ends.
    async fn newest(&self) -> Result<Option<QueueId>, StoreError>;

    /// Queued messages after `after` in the order of acceptance, at most `limit` (and at most 1,000).
    async fn list(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError>;

    /// Messages with dead recipients after `after` in the order of acceptance, at most `limit` (and at
    /// most 1,000).
    async fn dead(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError>;

    /// Messages after `after` with recipients that are dead or held because no answer came, in the order of
    /// acceptance, at most `limit` (and at most 1,000); others of whose end somebody is to be told may be among them.
    async fn given_up(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError>;

    /// Messages with recipients of whose end nobody was told, at most `limit` (and at most 1,000): first those with
    /// dead ones, oldest first, then those with some that are held because no answer came, or relayed and whose client
    /// asked to be told (NOTIFY=SUCCESS).
    async fn untold(&self, limit: usize) -> Result<Vec<QueuedMessage>, StoreError>;

    /// Notes that somebody was told, or that nobody is to be.
    async fn told(&self, id: QueueId, told: Told) -> Result<(), StoreError>;

    /// Removes a message whose recipients are all relayed, dead or held because no answer came, the last of them since
    /// before `keep_after`; they keep their reasons in the history. [`StoreError::Conflict`] when that is not, or no longer, so: a
    /// person may have taken it up again.
    async fn expire(&self, id: QueueId, keep_after: Timestamp) -> Result<(), StoreError>;

    /// Removes dead letters: messages whose recipients are all relayed, dead or held because no answer came, the last
    /// of them since before `keep_after`. Returns how many went.
    async fn expire_dead(&self, keep_after: Timestamp) -> Result<u32, StoreError> {
        let keep_after = keep_after.before(self.doubt());
        let until = self.newest().await?;
        let (mut walk, mut expired) = (Walk::between(None, until), 0);
        while !walk.is_over() {
            let page = walk.take(self.given_up(walk.after(), LIST_LENGTH_MAX).await?);
            for message in
                page.iter().filter(|message| message.record.is_dead_since_before(keep_after))
            {
                match self.expire(message.id, keep_after).await {
                    Ok(()) => expired += 1,
                    // Somebody was faster, or has taken it up again.
                    Err(StoreError::NotFound(_) | StoreError::Conflict(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(expired)
    }

    /// How much of an age rests on a wall clock that may be wrong yet: nothing is removed for an age that needs it.
    fn doubt(&self) -> Duration {
        Duration::ZERO
    }

    /// One message, queued or from the history; `None` when neither knows it.
    async fn show(&self, id: QueueId) -> Result<Option<QueuedMessage>, StoreError>;

    /// Finished messages before `before`, newest first, at most `limit` (and at most 1,000).
    async fn history(
        &self,
        before: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError>;

    /// Removes the history of messages that left the queue before `keep_after`. Returns how many entries went.
    async fn prune_history(&self, keep_after: Timestamp) -> Result<u32, StoreError>;

    /// What the ledger says at `now` about `limit`.
    async fn ledger(&self, now: Moment, limit: Limit) -> Result<LedgerView, StoreError>;

    /// The stored state of the account; `None` before the first [`Store::set_account_state`].
    async fn account_state(&self) -> Result<Option<AccountState>, StoreError>;

    /// Stores it.
    async fn set_account_state(&self, state: AccountState) -> Result<(), StoreError>;

    /// Totals for the status screen.
    fn totals(&self) -> Totals;

    /// Returns when something may have become claimable since the last call by any waiter.
    async fn changed(&self);

    /// Returns, with the reason, when the store can no longer be repaired within this process, which must
    /// then end so that its supervisor starts it anew. Nothing acknowledged is lost by that.
    async fn failed(&self) -> String {
        std::future::pending().await
    }

    /// Finishes what was handed over, syncs and closes. Later calls fail with `Unavailable`.
    async fn close(&self);
}

/// Of what somebody was told, and by which notices.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Of the end of the recipients at these places of the record.
    pub places: Vec<usize>,
    /// That the message has been waiting for long.
    pub delayed: bool,
    /// The notices; none when nobody is to be told.
    pub notices: Vec<NoticeSent>,
}

/// Of the end of these recipients, without a notice.
impl From<Vec<usize>> for Told {
    fn from(places: Vec<usize>) -> Self {
        Self { places, ..Self::default() }
    }
}

/// On what terms a worker claims.
#[derive(Clone, Copy, Debug)]
pub struct ClaimTerms {
    /// Recipients in any 24 hours (already less the owner's reserve).
    pub limit: Limit,
    /// How many of these only our own notices may spend.
    pub notice_reserve: u32,
    /// How many of the rest only urgent mail may spend.
    pub urgent_reserve: u32,
    /// Recipients in one transaction.
    pub recipients_max: u32,
}

impl ClaimTerms {
    /// Recipients in any 24 hours before which mail of this lane may still leave.
    #[must_use]
    pub fn limit_of(&self, lane: Lane) -> Limit {
        match lane {
            Lane::Notice => self.limit,
            Lane::Urgent => self.limit.less(self.notice_reserve),
            Lane::Normal | Lane::Bulk => {
                self.limit.less(self.notice_reserve).less(self.urgent_reserve)
            }
        }
    }
}

/// The answer to a claim.
#[derive(Debug)]
pub enum Claim {
    /// A message and a reservation for `recipients`.
    Message(ClaimedMessage),
    /// Nothing is due. `next` is when something will be, by wall time.
    Idle {
        /// The earliest due time in the queue.
        next: Option<Timestamp>,
    },
    /// Something is due, but the budget is spent.
    Exhausted {
        /// How long until at least one recipient may be spent on what is due; `None` when the limit is zero.
        frees_in: Option<Duration>,
        /// What mail of the lanes before it, of which nothing is due just now, could still spend.
        reserved_room: u32,
    },
}

/// A message in the hands of a worker. It must be settled.
#[derive(Clone, Debug)]
pub struct ClaimedMessage {
    /// Its id.
    pub id: QueueId,
    /// The reservation, which its settlement must name.
    pub reservation: u64,
    /// MAIL FROM of the client; `None` is the null reverse path.
    pub reverse_path: Option<crate::smtp::address::Address>,
    /// Body kind and SMTPUTF8 as the client declared them.
    pub body: crate::message::envelope::BodyKind,
    /// Whether SMTPUTF8 was asked for.
    pub internationalized: bool,
    /// Octets of the original message.
    pub size_bytes: u64,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// From when its lifetime counts.
    pub lifetime_from: Timestamp,
    /// How urgent it is.
    pub lane: Lane,
    /// What its attempts have cost the others so far.
    pub setbacks: Setbacks,
    /// The recipients to try, with their place in the record.
    pub recipients: Vec<ClaimedRecipient>,
}

/// One recipient of a claim.
#[derive(Clone, Debug)]
pub struct ClaimedRecipient {
    /// Its place among the message's recipients.
    pub index: usize,
    /// Its address.
    pub address: crate::smtp::address::Address,
    /// Attempts charged so far.
    pub attempts: u32,
    /// Whether an earlier attempt ended without an answer to its final dot.
    pub resend: bool,
}

/// What became of the recipients of a claim. A recipient without an outcome counts as
/// [`Outcome::NotTried`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Of which claim: [`ClaimedMessage::reservation`].
    pub reservation: u64,
    /// The time of the last reply.
    pub at: Timestamp,
    /// Outcome by place in the record.
    pub outcomes: Vec<(usize, Outcome)>,
}

impl Settlement {
    /// Whether it tells what became of the recipient at a place in the record.
    pub(super) fn tells_of(&self, index: usize) -> bool {
        self.outcomes.iter().any(|(place, _)| *place == index)
    }

    /// What became of the recipient at a place in the record.
    pub(super) fn of(&self, index: usize) -> Outcome {
        let own = self.outcomes.iter().find(|(place, _)| *place == index);
        own.map_or(Outcome::NotTried { until: None }, |(_, outcome)| outcome.clone())
    }

    /// The same when it was decided before the clock was set back to `now`: its waits are as long as they were meant.
    pub(super) fn not_after(&self, now: Timestamp) -> Self {
        let (ahead, mut moved) = (self.at.since(now), self.clone());
        moved.at = self.at.before(ahead);
        for (_, outcome) in &mut moved.outcomes {
            match outcome {
                Outcome::Deferred { until, .. } | Outcome::SetBack { until, .. } => {
                    *until = until.before(ahead);
                }
                Outcome::NotTried { until } | Outcome::Uncertain { resend_at: until, .. } => {
                    *until = until.map(|until| until.before(ahead));
                }
                Outcome::Relayed { .. } | Outcome::Dead { .. } => {}
            }
        }
        moved
    }
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Accepted; the budget unit is spent.
    Relayed {
        /// The upstream's reply.
        reply: String,
    },
    /// Certainly not accepted; the unit comes back and the attempt counts.
    Deferred {
        /// Earliest time of the next attempt.
        until: Timestamp,
        /// The reply or our own reason.
        reply: String,
    },
    /// Certainly not accepted, and not its own fault; the unit comes back, nothing is charged.
    NotTried {
        /// Earliest time of the next attempt; `None` means at once.
        until: Option<Timestamp>,
    },
    /// Certainly not accepted, and perhaps its own fault: the account was refused or the connection lost. The unit
    /// comes back, nothing is charged, and the message remembers it.
    SetBack {
        /// Earliest time of the next attempt.
        until: Timestamp,
        /// The reply or our own reason.
        reply: String,
    },
    /// The final dot was sent and no answer came; the unit stays spent.
    Uncertain {
        /// When to send it once more; `None` holds it for a person.
        resend_at: Option<Timestamp>,
        /// What happened to the connection.
        reason: String,
    },
    /// Refused for good; the unit comes back.
    Dead {
        /// The reply or our own reason.
        reply: String,
    },
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

/// Totals of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Messages in the queue, dead and held ones included.
    pub messages: u64,
    /// Octets of their spool files.
    pub bytes: u64,
    /// Spool files and records set aside because they are damaged.
    pub set_aside: u64,
}

/// Why a store refuses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The quota, or the free space of the disk, is used up. Clients hear 452 4.3.1.
    #[error("{0}")]
    Full(String),
    /// The store has failed and is being reopened, or is closed. Clients hear 451 4.3.0.
    #[error("{0}")]
    Unavailable(String),
    /// This message's record or file is damaged; it was set aside.
    #[error("message {id} is damaged and was set aside: {reason}")]
    Corrupt {
        /// Which message.
        id: QueueId,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such message.
    #[error("there is no message {0} in the queue")]
    NotFound(QueueId),
    /// The message is in transfer just now.
    #[error("message {0} is being transferred just now; try again when the attempt has ended")]
    Conflict(QueueId),
    /// The message is not, or no longer, in the state that was asked for.
    #[error("message {0} is in another state by now; it was left as it is")]
    OtherState(QueueId),
    /// This message is here already, or was.
    #[error("message {0} was handed over before")]
    AlreadyKnown(QueueId),
}
