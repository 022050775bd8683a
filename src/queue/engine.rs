//! What every verb of the queue means, independent of how it is stored.
//!
//! Rule: decisions only. The engine reads through [`Tables`], holds the ledger, and writes into
//! [`Changes`]; the backend makes them durable before anybody hears the answer, so a verb may build on
//! another one of the same batch. Must not know disks, threads or sockets.

use std::collections::HashSet;

use super::{
    id::QueueId,
    overlay::{Next, current, finish, next},
    record::MessageRecord,
    state::RecipientState,
    store::{
        Claim, ClaimTerms, ClaimedMessage, ClaimedRecipient, LedgerView, Outcome, Settlement,
        StoreError,
    },
    tables::{Changes, DueKey, Tables},
    transition::{apply, cut, is_due},
};
use crate::{
    budget::ledger::{Event, Ledger},
    clock::{Moment, Timestamp},
};

/// Damaged or stale due keys that one claim removes before it gives the others a turn.
const STALE_KEYS_MAX: usize = 64;

/// The memory of the queue beside its tables.
#[derive(Debug, Default)]
pub(super) struct Engine {
    ledger: Ledger,
    /// Messages that a worker of this process has.
    claimed: HashSet<QueueId>,
    /// The ledger of the last run is lost: half of the limit counts as spent from the first claim on.
    assume_half_spent: bool,
}

/// How far a claim had come when its worker died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its final dot was certainly not sent: nothing was accepted.
    NotSent,
    /// It may have been. `None` holds the recipients for a person.
    MaybeSent { resend_at: Option<Timestamp> },
    /// The upstream had answered, and the worker died before the queue knew it.
    Answered(Settlement),
}

impl Fate {
    /// In words, for the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::NotSent => "its final dot was not sent",
            Self::MaybeSent { .. } => "its final dot may have been sent",
            Self::Answered(_) => "its final dot was answered",
        }
    }
}

/// What a verb may answer with.
pub(super) type Answer<T> = Result<T, StoreError>;

impl Engine {
    /// An engine that starts with what is stored, and with the claims of a store that failed under it.
    pub(super) fn new(ledger: Ledger, claimed: HashSet<QueueId>) -> Self {
        Self { ledger, claimed, assume_half_spent: false }
    }

    /// Says that nobody knows what was spent before.
    pub(super) fn assume_half_spent(&mut self) {
        self.assume_half_spent = true;
    }

    /// The claims: for the engine that follows this one when a store is reopened, and to go back to when
    /// a batch could not be written.
    pub(super) fn claimed(&self) -> &HashSet<QueueId> {
        &self.claimed
    }

    /// Goes back to the claims before a batch that could not be written: a settlement that did not
    /// become durable leaves its claim alive, and a claim that did not become durable never was one.
    pub(super) fn restore_claimed(&mut self, claimed: HashSet<QueueId>) {
        self.claimed = claimed;
    }

    /// Whether half of the limit still has to be counted as spent.
    pub(super) fn must_assume_half_spent(&self) -> bool {
        self.assume_half_spent
    }

    /// Whether a worker of this process has the message.
    pub(super) fn has_claimed(&self, id: QueueId) -> bool {
        self.claimed.contains(&id)
    }

    /// Live events, for the copy of the ledger outside the tables.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Adds a record for a message whose file is durable. Does nothing when it is known already.
    pub(super) fn enqueue(
        tables: &dyn Tables,
        changes: &mut Changes,
        id: QueueId,
        record: MessageRecord,
    ) -> Answer<()> {
        if current(tables, changes, id)?.is_none() {
            changes.put(id, None, Some(record));
        }
        Ok(())
    }

    /// See [`super::store::Store::claim_due`].
    pub(super) fn claim(
        &mut self,
        tables: &dyn Tables,
        changes: &mut Changes,
        now: Moment,
        terms: ClaimTerms,
    ) -> Answer<Claim> {
        for _ in 0..STALE_KEYS_MAX {
            let key = match next(tables, changes, now.wall)? {
                Next::Due(key) => key,
                Next::Later(next) => return Ok(Claim::Idle { next }),
            };
            self.prune(changes, now);
            if std::mem::take(&mut self.assume_half_spent) {
                self.spend(changes, now, terms.limit.div_ceil(2));
            }
            let limit = terms.limit_of(key.lane);
            let room = self.ledger.room(now, limit);
            if room == 0 {
                return Ok(Claim::Exhausted {
                    frees_in: self.ledger.frees_in(now, limit),
                    reserved_room: self.ledger.room(now, terms.limit),
                });
            }
            let record = match current(tables, changes, key.id) {
                Err(error @ StoreError::Corrupt { .. }) => {
                    // Out of the way of the others; a record that is rebuilt brings its own key.
                    changes.due.insert(key, false);
                    return Err(error);
                }
                answer => answer?,
            };
            if let Some(record) = record
                && DueKey::of(key.id, &record) == Some(key)
            {
                let most = room.min(terms.recipients_max);
                return Ok(Claim::Message(self.reserve(changes, key.id, &record, now, most)));
            }
            // A key that no record stands behind, left by a damaged one.
            changes.due.insert(key, false);
        }
        Ok(Claim::Idle { next: Some(now.wall) })
    }

    /// Marks up to `recipients_max` due recipients as reserved under a new ledger event.
    fn reserve(
        &mut self,
        changes: &mut Changes,
        id: QueueId,
        record: &MessageRecord,
        now: Moment,
        recipients_max: u32,
    ) -> ClaimedMessage {
        let reservation = self.ledger.next_sequence();
        let mut reserved = record.clone();
        let mut recipients = Vec::new();
        for (index, recipient) in reserved.recipients.iter_mut().enumerate() {
            let RecipientState::Queued { due, resend } = recipient.state else { continue };
            if recipients.len() == recipients_max as usize || !is_due(due, now.wall) {
                continue;
            }
            recipient.state = RecipientState::Reserved { reservation, since: now.wall, resend };
            recipients.push(ClaimedRecipient {
                index,
                address: recipient.address.clone(),
                attempts: recipient.attempts,
                resend,
            });
        }
        self.spend(changes, now, u32::try_from(recipients.len()).unwrap_or(u32::MAX));
        let claimed = ClaimedMessage {
            id,
            reverse_path: record.reverse_path.clone(),
            body: record.body,
            internationalized: record.internationalized,
            size_bytes: record.size_bytes,
            accepted_at: record.accepted_at,
            lifetime_from: record.lifetime_from,
            recipients,
        };
        changes.put(id, Some(record), Some(reserved));
        self.claimed.insert(id);
        claimed
    }

    /// See [`super::store::Store::settle`].
    pub(super) fn settle(
        &mut self,
        tables: &dyn Tables,
        changes: &mut Changes,
        id: QueueId,
        settlement: &Settlement,
        now: Moment,
    ) -> Answer<()> {
        self.claimed.remove(&id);
        let old = current(tables, changes, id)?.ok_or(StoreError::NotFound(id))?;
        let mut new = old.clone();
        for (index, recipient) in new.recipients.iter_mut().enumerate() {
            let RecipientState::Reserved { reservation, .. } = recipient.state else { continue };
            let outcome = settlement.of(index);
            apply(recipient, &outcome, settlement.at, old.accepted_at);
            self.account_for(changes, reservation, &outcome, now);
        }
        finish(changes, id, &old, new);
        Ok(())
    }

    /// Ends a claim whose worker died with its process.
    pub(super) fn recover(
        &mut self,
        changes: &mut Changes,
        id: QueueId,
        record: &MessageRecord,
        fate: &Fate,
        now: Moment,
    ) {
        let at = match fate {
            Fate::Answered(settlement) => settlement.at,
            Fate::NotSent | Fate::MaybeSent { .. } => now.wall,
        };
        let mut new = record.clone();
        for (index, recipient) in new.recipients.iter_mut().enumerate() {
            let RecipientState::Reserved { reservation, .. } = recipient.state else { continue };
            let outcome = match fate {
                Fate::NotSent => Outcome::NotTried { until: None },
                Fate::MaybeSent { resend_at } => Outcome::Uncertain {
                    resend_at: *resend_at,
                    reason: "the relay stopped while it waited for the reply to the final dot"
                        .into(),
                },
                Fate::Answered(settlement) => settlement.of(index),
            };
            apply(recipient, &outcome, at, record.accepted_at);
            self.account_for(changes, reservation, &outcome, now);
        }
        finish(changes, id, record, new);
    }

    /// Every recipient that is not relayed becomes dead, because the message's file is damaged or gone.
    pub(super) fn set_aside(
        &mut self,
        tables: &dyn Tables,
        changes: &mut Changes,
        id: QueueId,
        now: Timestamp,
        reason: &str,
    ) -> Answer<()> {
        self.claimed.remove(&id);
        let old = match current(tables, changes, id) {
            // Neither record nor file can be read: there is nothing left to show.
            Err(StoreError::Corrupt { .. }) => {
                changes.forget(id);
                return Ok(());
            }
            answer => answer?,
        };
        let Some(old) = old else { return Ok(()) };
        let mut new = old.clone();
        for recipient in &mut new.recipients {
            if recipient.state.is_relayed() {
                continue;
            }
            if let RecipientState::Reserved { reservation, .. } = recipient.state {
                self.refund(changes, reservation);
            }
            recipient.state = RecipientState::Dead { since: now, reason: cut(reason) };
        }
        finish(changes, id, &old, new);
        Ok(())
    }

    /// See [`super::store::Store::ledger`].
    pub(super) fn view(&self, now: Moment, limit: u32) -> LedgerView {
        LedgerView {
            spent: self.ledger.spent(now),
            room: self.ledger.room(now, limit),
            frees_at: self.ledger.frees_at(now, limit),
        }
    }

    fn spend(&mut self, changes: &mut Changes, now: Moment, recipients: u32) {
        let sequence = self.ledger.next_sequence();
        let event = Event { at: now, recipients };
        self.ledger.insert(sequence, event);
        changes.ledger.insert(sequence, Some(event));
    }

    /// Gives a unit back, or keeps it for the whole window from now on: the upstream has counted it at
    /// some time between the claim and now.
    fn account_for(
        &mut self,
        changes: &mut Changes,
        reservation: u64,
        outcome: &Outcome,
        now: Moment,
    ) {
        match outcome {
            Outcome::Relayed { .. } | Outcome::Uncertain { .. } => {
                let event = self.ledger.restamp(reservation, now);
                changes.ledger.insert(reservation, event);
            }
            Outcome::Deferred { .. } | Outcome::NotTried { .. } | Outcome::Dead { .. } => {
                self.refund(changes, reservation);
            }
        }
    }

    fn refund(&mut self, changes: &mut Changes, reservation: u64) {
        let left = self.ledger.refund(reservation, 1);
        changes.ledger.insert(reservation, left);
    }

    fn prune(&mut self, changes: &mut Changes, now: Moment) {
        for sequence in self.ledger.prune(now) {
            changes.ledger.insert(sequence, None);
        }
    }
}
