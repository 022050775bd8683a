//! The meaning of every verb of the queue, independent of how it is stored.
//!
//! Rule: decisions only. The engine reads through [`Tables`], holds the ledger, and writes into
//! [`Changes`]; the backend makes them durable before anybody hears the answer, so a verb may build on
//! another one of the same batch. Must not know disks, threads or sockets.

use std::{collections::HashMap, time::Duration};

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
    times::arriving,
    transition::{apply, cut, is_due},
};
use crate::{
    budget::{
        Limit,
        ledger::{Event, Ledger},
    },
    clock::{Found, Moment, SETTLED_AFTER, Timeline, Timestamp},
};

/// Damaged or stale due keys that one claim removes before it gives the others a turn.
const STALE_KEYS_MAX: usize = 64;

/// How long after a boot the wall clock is asked how much of the budget came back while the machine was off. Whoever
/// sets it right at the start does so within minutes.
const BUDGET_BELIEVES_AFTER: Duration = Duration::from_secs(600);

/// Messages that a worker of this process has, each with its reservation.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    alive: HashMap<QueueId, u64>,
    /// Above every reservation of this process, also when the ledger has forgotten it or was lost.
    next: u64,
}

impl Claims {
    pub(super) fn contains(&self, id: QueueId) -> bool {
        self.alive.contains_key(&id)
    }

    fn insert(&mut self, id: QueueId, reservation: u64) {
        self.alive.insert(id, reservation);
        self.next = self.next.max(reservation + 1);
    }

    /// Ends the claim of this reservation, and says whether it was alive.
    fn remove(&mut self, id: QueueId, reservation: u64) -> bool {
        let alive = self.alive.get(&id) == Some(&reservation);
        if alive {
            self.alive.remove(&id);
        }
        alive
    }
}

/// The memory of the queue beside its tables.
#[derive(Debug, Default)]
pub(super) struct Engine {
    ledger: Ledger,
    /// Which wall times the stored times have; none before the first look at the clocks.
    timeline: Option<Timeline>,
    claimed: Claims,
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

/// Why a message's file is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It is damaged or gone: its recipients are dead.
    Damaged,
    /// A newer program wrote it: its recipients are held until that program is back.
    Newer,
}

/// What a verb may answer with.
pub(super) type Answer<T> = Result<T, StoreError>;

impl Engine {
    /// An engine that starts with what is stored, and with the claims of a store that failed under it.
    pub(super) fn new(mut ledger: Ledger, claimed: Claims, timeline: Option<Timeline>) -> Self {
        if let Some(timeline) = &timeline {
            ledger.retime(|moment| timeline.wall_of(moment));
        }
        Self { ledger, timeline, claimed, assume_half_spent: false }
    }

    /// Looks at the clocks before anything is decided by them. Returns what stored times mean from now on, when that
    /// has changed.
    pub(super) fn look(&mut self, now: Moment) -> Option<(Found, &Timeline)> {
        let found = match &mut self.timeline {
            Some(timeline) => timeline.look(now),
            None => Found::Boot,
        };
        let timeline = self.timeline.get_or_insert_with(|| Timeline::new(now));
        if found == Found::Nothing {
            return None;
        }
        self.ledger.retime(|moment| timeline.wall_of(moment));
        Some((found, timeline))
    }

    /// What stored times mean.
    pub(super) fn timeline(&self) -> Option<&Timeline> {
        self.timeline.as_ref()
    }

    /// How much of an age, up to now, rests on a wall clock that may be wrong yet.
    pub(super) fn doubt(&self, now: Moment, believed_after: Duration) -> Duration {
        self.timeline.as_ref().map_or(Duration::ZERO, |known| known.doubt(now, believed_after))
    }

    /// The moment by which the budget counts.
    fn counted(&self, now: Moment) -> Moment {
        Moment { wall: now.wall.before(self.doubt(now, BUDGET_BELIEVES_AFTER)), ..now }
    }

    /// Says that nobody knows what was spent before.
    pub(super) fn assume_half_spent(&mut self) {
        self.assume_half_spent = true;
    }

    /// The claims: for the engine that follows this one when a store is reopened, and to go back to when
    /// a batch could not be written.
    pub(super) fn claimed(&self) -> &Claims {
        &self.claimed
    }

    /// Goes back to the claims before a batch that could not be written: a settlement that did not
    /// become durable leaves its claim alive, and a claim that did not become durable never was one.
    pub(super) fn restore_claimed(&mut self, claimed: Claims) {
        self.claimed = claimed;
    }

    /// Whether half of the limit still has to be counted as spent.
    pub(super) fn must_assume_half_spent(&self) -> bool {
        self.assume_half_spent
    }

    /// Whether a worker of this process has the message.
    pub(super) fn has_claimed(&self, id: QueueId) -> bool {
        self.claimed.contains(id)
    }

    /// The number of the next ledger event.
    fn next_sequence(&self) -> u64 {
        self.ledger.next_sequence().max(self.claimed.next)
    }

    /// Live events, for the copy of the ledger outside the tables.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Adds a record for a message whose file is durable. Does nothing when it is known already. `new_at` is the time,
    /// unless it comes from another queue.
    pub(super) fn enqueue(
        tables: &dyn Tables,
        changes: &mut Changes,
        id: QueueId,
        record: MessageRecord,
        new_at: Option<Timestamp>,
    ) -> Answer<()> {
        if current(tables, changes, id)?.is_none() {
            let record = match new_at {
                Some(now) => arriving(record, now),
                None => record,
            };
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
            let key = match next(tables, changes, now.wall, &self.claimed)? {
                Next::Due(key) => key,
                Next::Later(next) => return Ok(Claim::Idle { next }),
            };
            let counted = self.counted(now);
            self.prune(changes, counted);
            // Without a limit there is no half of it; one that is set later has it.
            if let Some(limit) = terms.limit.recipients()
                && std::mem::take(&mut self.assume_half_spent)
            {
                self.spend(changes, now, limit.div_ceil(2));
                changes.budget_known = true;
            }
            let limit = terms.limit_of(key.lane);
            let room = self.ledger.room(counted, limit);
            if room == 0 {
                return Ok(Claim::Exhausted {
                    frees_in: self.ledger.frees_in(counted, limit),
                    reserved_room: self.ledger.room(counted, terms.limit),
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
        let reservation = self.next_sequence();
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
            reservation,
            reverse_path: record.reverse_path.clone(),
            body: record.body,
            internationalized: record.internationalized,
            size_bytes: record.size_bytes,
            accepted_at: record.accepted_at,
            lifetime_from: record.lifetime_from.after(self.doubt(now, SETTLED_AFTER)),
            lane: record.lane,
            setbacks: record.setbacks,
            recipients,
        };
        changes.put(id, Some(record), Some(reserved));
        self.claimed.insert(id, reservation);
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
        let reservation = settlement.reservation;
        // Of whatever this ends, a later claim is not concerned.
        let alive = self.claimed.remove(id, reservation);
        let old = current(tables, changes, id)?.ok_or(StoreError::NotFound(id))?;
        let settlement = settlement.not_after(now.wall);
        let mut new = old.clone();
        for (index, recipient) in new.recipients.iter_mut().enumerate() {
            match recipient.state {
                RecipientState::Reserved { reservation: own, .. } if own == reservation => {}
                // The index was rebuilt under the worker, and with it the record, as of a message that waits.
                RecipientState::Queued { resend, .. } if alive && settlement.tells_of(index) => {
                    recipient.state =
                        RecipientState::Reserved { reservation, since: now.wall, resend };
                }
                _ => continue,
            }
            let outcome = settlement.of(index);
            apply(recipient, &outcome, settlement.at, old.accepted_at);
            self.account_for(changes, reservation, &outcome, now);
            // Once for the transaction, however many recipients it had.
            if matches!(outcome, Outcome::SetBack { .. }) {
                new.setbacks = old.setbacks.one_more(settlement.at);
            }
        }
        finish(changes, id, &old, new, now.wall);
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
                // An answer to an earlier claim: the dot of this one would have been noted over it.
                Fate::Answered(settlement) if settlement.reservation != reservation => {
                    Outcome::NotTried { until: None }
                }
                Fate::Answered(settlement) => settlement.of(index),
            };
            apply(recipient, &outcome, at, record.accepted_at);
            self.account_for(changes, reservation, &outcome, now);
            if matches!(outcome, Outcome::SetBack { .. }) {
                new.setbacks = record.setbacks.one_more(at);
            }
        }
        finish(changes, id, record, new, now.wall);
    }

    /// Every recipient that is not relayed becomes dead or is held, because the message's file is of no use.
    pub(super) fn set_aside(
        &mut self,
        tables: &dyn Tables,
        changes: &mut Changes,
        id: QueueId,
        now: Timestamp,
        why: Unusable,
        reason: &str,
    ) -> Answer<()> {
        self.claimed.alive.remove(&id);
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
            let reason = cut(reason);
            recipient.state = match why {
                Unusable::Damaged => RecipientState::Dead { since: now, reason },
                Unusable::Newer => RecipientState::Held { since: now, reason },
            };
        }
        finish(changes, id, &old, new, now);
        Ok(())
    }

    /// See [`super::store::Store::ledger`].
    pub(super) fn view(&self, now: Moment, limit: Limit) -> LedgerView {
        let counted = self.counted(now);
        LedgerView {
            spent: self.ledger.spent(counted),
            room: self.ledger.room(counted, limit),
            frees_at: self.ledger.frees_in(counted, limit).map(|wait| now.wall.after(wait)),
        }
    }

    fn spend(&mut self, changes: &mut Changes, now: Moment, recipients: u32) {
        let sequence = self.next_sequence();
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
                match self.ledger.restamp(reservation, now) {
                    Some(event) => drop(changes.ledger.insert(reservation, Some(event))),
                    // It was lost with the index under the worker; the upstream has counted it all the same.
                    None => self.spend(changes, now, 1),
                }
            }
            Outcome::Deferred { .. }
            | Outcome::NotTried { .. }
            | Outcome::SetBack { .. }
            | Outcome::Dead { .. } => {
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
        let open = &self.claimed.alive;
        let is_open = |reservation| open.values().any(|open| *open == reservation);
        changes.ledger.extend(self.ledger.compact(now, is_open));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Clock, ManualClock},
        message::envelope::{BodyKind, Lane},
        queue::{state::Recipient, tables::TableError},
    };

    const TERMS: ClaimTerms = ClaimTerms {
        limit: Limit::of(10),
        notice_reserve: 0,
        urgent_reserve: 0,
        recipients_max: 100,
    };

    /// The tables after an index was rebuilt from the spool while the process went on.
    struct Rebuilt(QueueId, MessageRecord);

    impl Tables for Rebuilt {
        fn message(&self, id: QueueId) -> Result<Option<MessageRecord>, TableError> {
            Ok((id == self.0).then(|| self.1.clone()))
        }

        fn first_due(
            &self,
            lane: Lane,
            passed: &dyn Fn(&DueKey) -> bool,
        ) -> Result<Option<DueKey>, TableError> {
            Ok(DueKey::of(self.0, &self.1).filter(|key| key.lane == lane && !passed(key)))
        }
    }

    /// A message to two, which a worker has under reservation 7 when the index is rebuilt.
    fn rebuilt(clock: &ManualClock) -> (Engine, Rebuilt) {
        let id = QueueId::from_bytes([1; 16]);
        let waiting = |address: &str| Recipient {
            address: address.parse().unwrap(),
            state: RecipientState::Queued { due: clock.wall(), resend: false },
            attempts: 0,
            last_reply: None,
        };
        let record = MessageRecord {
            accepted_at: clock.wall(),
            reverse_path: None,
            body: BodyKind::SevenBit,
            internationalized: false,
            size_bytes: 1,
            lane: Lane::Normal,
            lifetime_from: clock.wall(),
            told: vec![],
            delay_told: false,
            notify: std::collections::BTreeMap::new(),
            notices: vec![],
            setbacks: crate::queue::record::Setbacks::default(),
            recipients: vec![waiting("a@x.org"), waiting("b@x.org")],
        };
        let mut claims = Claims::default();
        claims.insert(id, 7);
        (Engine::new(Ledger::default(), claims, None), Rebuilt(id, record))
    }

    fn clock() -> ManualClock {
        ManualClock::new(Timestamp(1_800_000_000_000))
    }

    #[test]
    fn a_message_that_a_living_worker_has_is_given_to_no_second_one_after_a_rebuild() {
        let clock = clock();
        let (mut engine, tables) = rebuilt(&clock);
        let claim = engine.claim(&tables, &mut Changes::default(), clock.now(), TERMS).unwrap();
        assert!(matches!(claim, Claim::Idle { next: None }), "{claim:?}");
    }

    #[test]
    fn what_a_living_worker_reports_after_a_rebuild_counts_and_is_spent() {
        let clock = clock();
        let (mut engine, tables) = rebuilt(&clock);
        let relayed = Outcome::Relayed { reply: "250 OK".into() };
        let at = clock.wall();
        let settlement = Settlement { reservation: 7, at, outcomes: vec![(0, relayed)] };
        let mut changes = Changes::default();
        engine.settle(&tables, &mut changes, tables.0, &settlement, clock.now()).unwrap();
        let record = changes.messages[&tables.0].clone().unwrap();
        assert!(record.recipients[0].state.is_relayed(), "{record:?}");
        assert_eq!(record.recipients[1].state.name(), "queued");
        assert_eq!(engine.view(clock.now(), 10.into()).spent, 1);
        let claim = engine.claim(&tables, &mut changes, clock.now(), TERMS).unwrap();
        let Claim::Message(claimed) = claim else { panic!("{claim:?}") };
        assert_eq!(claimed.recipients[0].index, 1);
    }

    #[test]
    fn a_reservation_that_a_living_worker_has_is_given_to_nobody_else_after_a_rebuild() {
        let clock = clock();
        let (mut engine, tables) = rebuilt(&clock);
        let other = Rebuilt(QueueId::from_bytes([2; 16]), tables.1);
        let claim = engine.claim(&other, &mut Changes::default(), clock.now(), TERMS).unwrap();
        let Claim::Message(claimed) = claim else { panic!("{claim:?}") };
        assert!(claimed.reservation > 7, "{claimed:?}");
    }
}
