//! The verbs of the queue: what each means, over the index and the memory beside it, independent of how it is stored.
//!
//! Decisions only. A batch is one transaction of the index: a verb sees what those before it in the same batch have
//! changed, and nobody hears an answer before all of it is durable.

mod operator;

pub(super) use self::operator::{KEPT, is_kept};

use std::time::Duration;

use super::{
    attempts,
    claim::{Claim, ClaimLimits, ClaimedMessage, ClaimedRecipient, Outcome, Settlement},
    ending::Ending,
    engine::Engine,
    error::QueueError,
    id::QueueId,
    index::{Changes, Index},
    order::{Next, Place, Turn},
    origin::OriginKey,
    record::{MessageRecord, Setbacks},
    state::{AccountState, RecipientState, cut},
    times::arriving,
    transition::{apply, is_due},
    way::Way,
};
use crate::{
    budget::AccountKey,
    clock::{Moment, SETTLED_AFTER, Timestamp},
};

/// How long a message waits when the relay stopped in the middle of its attempt and had done so this many times in a row
/// before. The first time it only goes behind those that waited, because most stops are a kill from outside; a message
/// that itself makes the relay stop leaves the others more and more time.
const STOPS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
];

/// How far apart those leave at most that were stopped together.
const STOPS_APART_MAX: Duration = Duration::from_secs(60);

/// Turns that one claim passes over, because nothing stands behind them, before it gives others their time.
const PASSED_OVER_MAX: usize = 64;

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
pub(super) type Answer<T> = Result<T, QueueError>;

/// Verbs that will be written together.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) index: &'a dyn Index,
    pub(super) changes: Changes,
    pub(super) now: Moment,
}

impl<'a> Batch<'a> {
    /// An empty one.
    pub(super) fn new(engine: &'a mut Engine, index: &'a dyn Index, now: Moment) -> Self {
        Self { engine, index, changes: Changes::default(), now }
    }

    /// Adds a record for a message whose file is durable. Does nothing when it is known already. `new_at` is the time,
    /// unless it comes from another queue.
    pub(super) fn enqueue(
        &mut self,
        id: QueueId,
        record: MessageRecord,
        new_at: Option<Timestamp>,
    ) -> Answer<()> {
        if self.get(id)?.is_none() {
            let record = match new_at {
                Some(now) => arriving(record, now),
                None => record,
            };
            self.changes.put(id, None, Some(record));
        }
        Ok(())
    }

    /// See [`super::Queue::claim_due`].
    pub(super) fn claim(&mut self, now: Moment, terms: ClaimLimits) -> Answer<Claim> {
        let (account, fairness) = (terms.account, self.engine.fairness());
        // Whoever has got mail by it is to look.
        self.changes.adds_work |= self.engine.assign_routes(now);
        for _ in 0..PASSED_OVER_MAX {
            self.catch_up();
            let place = match self.engine.next(account, now) {
                Next::Due(place, ()) => place,
                Next::Later(next) => return Ok(Claim::Idle { next }),
            };
            let counted = self.engine.counted(now);
            self.engine.prune(&mut self.changes, counted);
            self.engine.spend_half(&mut self.changes, now, &terms);
            let (limit, ledger) = (terms.limit_of(place.lane), self.engine.ledger.of(account));
            let room = ledger.room(counted, limit);
            if room == 0 {
                return Ok(Claim::Exhausted {
                    frees_in: ledger.frees_in(counted, limit),
                    reserved_room: ledger.room(counted, terms.limit),
                });
            }
            let Some(record) = self.due_record(place, now.wall)? else { continue };
            let own = fairness.limit_of(record.rule.as_deref());
            let ledger = self.engine.ledger.of(account);
            let of_origin = ledger.room_of(place.origin.0, counted, own);
            if of_origin == 0 {
                self.engine.limited((account, place), &record, own, now);
                continue;
            }
            let most = room.min(of_origin).min(terms.recipients_max);
            let claimed = self.reserve((account, place), &record, now, most);
            let recipients = u32::try_from(claimed.recipients.len()).unwrap_or(u32::MAX);
            self.engine.order.served(account, place, recipients, fairness.bulk_share);
            return Ok(Claim::Message(claimed));
        }
        Ok(Claim::Idle { next: Some(now.wall) })
    }

    /// The record of the message whose turn it is; `None` when the turn is not one, which is put right.
    fn due_record(&mut self, place: Place, now: Timestamp) -> Answer<Option<MessageRecord>> {
        let record = match self.get(place.id) {
            Err(error @ QueueError::Corrupt { .. }) => {
                // Out of the way of the others; a record that is rebuilt brings its own turn.
                self.engine.order.withdraw(place);
                return Err(error);
            }
            answer => answer?,
        };
        // What a worker has is here only because the index was rebuilt under it.
        let waits = record.as_ref().filter(|_| !self.engine.claimed.contains(place.id));
        let turn = waits.and_then(|record| Turn::of(place.id, record));
        if turn.is_some_and(|turn| turn.stands() == place && is_due(turn.due, now)) {
            return Ok(record);
        }
        // The clock was set back before a time that had come, or it has another place by now.
        self.engine.order.withdraw(place);
        if let Some(turn) = turn {
            self.engine.order.insert(turn, (), now);
        }
        Ok(None)
    }

    /// Brings the order to what the batch has changed so far.
    pub(super) fn catch_up(&mut self) {
        for (turn, begins) in std::mem::take(&mut self.changes.turns) {
            if begins {
                self.engine.order.insert(turn, (), self.now.wall);
            } else {
                self.engine.order.remove(&turn);
            }
        }
    }

    /// Marks up to `recipients_max` due recipients as reserved under a new ledger event.
    fn reserve(
        &mut self,
        (account, place): (AccountKey, Place),
        record: &MessageRecord,
        now: Moment,
        recipients_max: u32,
    ) -> ClaimedMessage {
        let id = place.id;
        let reservation = self.engine.next_sequence();
        let mut reserved = record.clone();
        reserved.account = self.engine.accounts().name_of(account);
        reserved.schedule.iter_mut().for_each(|schedule| schedule.has_come = true);
        let mut recipients = Vec::new();
        for (index, recipient) in reserved.recipients.iter_mut().enumerate() {
            let RecipientState::Queued { resend, .. } = recipient.state else { continue };
            let is_due = record.due(&recipient.state).is_some_and(|due| is_due(due, now.wall));
            if recipients.len() == recipients_max as usize || !is_due {
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
        let number = u32::try_from(recipients.len()).unwrap_or(u32::MAX);
        self.engine.spend(&mut self.changes, (account, now), number, OriginKey::of(record));
        let claimed = ClaimedMessage {
            id,
            reservation,
            reverse_path: record.reverse_path.clone(),
            size_bytes: record.size_bytes,
            accepted_at: record.accepted_at,
            lifetime_from: record
                .not_before_schedule(record.lifetime_from)
                .after(self.engine.doubt(now, SETTLED_AFTER)),
            lane: record.lane,
            setbacks: record.setbacks,
            has_stand_in: self.engine.accounts().stand_in_when_spent(Way::of(record)),
            recipients,
        };
        self.changes.put(id, Some(record), Some(reserved));
        self.engine.claimed.insert(id, reservation);
        claimed
    }

    /// See [`super::Queue::settle`].
    pub(super) fn settle(&mut self, id: QueueId, settlement: &Settlement) -> Answer<()> {
        let (now, reservation) = (self.now, settlement.reservation);
        // Of whatever this ends, a later claim is not concerned.
        let alive = self.engine.claimed.remove(id, reservation);
        let old = self.get(id)?.ok_or(QueueError::NotFound(id))?;
        let settlement = settlement.not_after(now.wall);
        let mut new = old.clone();
        // Also of one that the mark has brought back, or its file as folded.
        new.fold = None;
        new.schedule.iter_mut().for_each(|schedule| schedule.has_come = true);
        let mut said = Vec::new();
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
            said.extend(outcome.said().map(|words| (index, words.to_owned())));
            let whose = (old.tried_by(), reservation);
            self.engine.account_for(&mut self.changes, whose, &outcome, now);
            new.keeps_place = outcome.keeps_place().unwrap_or(new.keeps_place);
            if !matches!(outcome, Outcome::NotTried { .. }) {
                new.setbacks.stops = 0;
            }
            // Once for the transaction, however many recipients it had.
            if matches!(outcome, Outcome::SetBack { .. }) {
                new.setbacks = Setbacks { stops: 0, ..old.setbacks.one_more(settlement.at) };
            }
        }
        note_attempt(&mut new, settlement.at, &said);
        self.finish(id, &old, new);
        Ok(())
    }

    /// Ends a claim whose worker died with its process; `before` others have been ended by now.
    pub(super) fn recover(
        &mut self,
        id: QueueId,
        record: &MessageRecord,
        fate: &Fate,
        before: Option<u32>,
    ) {
        let now = self.now;
        let at = match fate {
            Fate::Answered(settlement) => settlement.at,
            Fate::NotSent | Fate::MaybeSent { .. } => now.wall,
        };
        let mut new = record.clone();
        let behind = now.wall.after(behind(record.setbacks.stops, before));
        new.setbacks.stops = 0;
        let mut said = Vec::new();
        for (index, recipient) in new.recipients.iter_mut().enumerate() {
            let RecipientState::Reserved { reservation, .. } = recipient.state else { continue };
            let outcome = match fate {
                Fate::MaybeSent { resend_at } => Outcome::Uncertain {
                    resend_at: *resend_at,
                    reason: "the relay stopped while it waited for the reply to the final dot"
                        .into(),
                },
                Fate::Answered(settlement) if settlement.reservation == reservation => {
                    settlement.of(index)
                }
                // An answer to an earlier claim says the same: the dot of this one would have been noted over it.
                Fate::NotSent | Fate::Answered(_) => {
                    new.setbacks.stops = stops_after(record.setbacks.stops, before);
                    Outcome::NotTried { until: Some(behind) }
                }
            };
            apply(recipient, &outcome, at, record.accepted_at);
            said.extend(outcome.said().map(|words| (index, words.to_owned())));
            let whose = (record.tried_by(), reservation);
            self.engine.account_for(&mut self.changes, whose, &outcome, now);
            new.keeps_place = outcome.keeps_place().unwrap_or(new.keeps_place);
            if matches!(outcome, Outcome::SetBack { .. }) {
                new.setbacks = Setbacks { stops: 0, ..record.setbacks.one_more(at) };
            }
        }
        note_attempt(&mut new, at, &said);
        self.finish(id, record, new);
    }

    /// Every recipient that is not relayed becomes dead or is held, because the message's file is of no use.
    pub(super) fn set_aside(&mut self, id: QueueId, why: Unusable, reason: &str) -> Answer<()> {
        let now = self.now.wall;
        self.engine.claimed.end(id);
        let old = match self.get(id) {
            // Neither record nor file can be read: there is nothing left to show.
            Err(QueueError::Corrupt { .. }) => {
                self.changes.forget(id);
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
                self.engine.refund(&mut self.changes, reservation);
            }
            let reason = cut(reason);
            recipient.state = match why {
                Unusable::Damaged => RecipientState::Dead { since: now, reason },
                Unusable::Newer => RecipientState::Held { since: now, reason },
            };
        }
        self.finish(id, &old, new);
        Ok(())
    }

    /// This is the state of an account from now on.
    pub(super) fn stands(&mut self, account: AccountKey, state: AccountState) {
        // Another may stand in for it, or no longer.
        self.changes.adds_work |= self.engine.standing.note(account, &state);
        self.changes.accounts.insert(account, state);
    }

    /// The record as this batch has left it.
    pub(super) fn get(&self, id: QueueId) -> Answer<Option<MessageRecord>> {
        if let Some(changed) = self.changes.messages.get(&id) {
            return Ok(changed.clone());
        }
        Ok(self.index.message(id)?)
    }

    /// Writes the new record, or moves it to the history when every recipient is relayed or given up by a person and
    /// nobody is to be told: until then a notice wants its file.
    fn finish(&mut self, id: QueueId, old: &MessageRecord, new: MessageRecord) {
        let is_over = new.recipients.iter().all(|recipient| recipient.state.is_settled());
        if is_over && new.untold_success().next().is_none() {
            self.changes.finish(id, old, new, Ending::Relayed.at(self.now.wall));
        } else {
            self.changes.put(id, Some(old), Some(new));
        }
    }
}

/// Keeps what the last attempt was told, with the account that has made it.
fn note_attempt(record: &mut MessageRecord, at: Timestamp, said: &[(usize, String)]) {
    let MessageRecord { attempts, attempts_by, account, .. } = record;
    attempts::note((attempts, attempts_by), account.as_deref(), at, said);
}

/// How many stops count of a message that was in the middle of an attempt. An index that fails again and again stops nothing,
/// and counts for one of them: a kill that comes later is none the message's more for it.
fn stops_after(stops: u32, before: Option<u32>) -> u32 {
    if before.is_some() { stops.saturating_add(1) } else { stops.max(1) }
}

/// How long a message waits that is in the middle of an attempt for the time after `stops` when the relay stops, or
/// its index alone (then so many `before` it are none). Nearly always that is nothing that a message has done, and there may be
/// several failures in a moment: it lets others go first and does not wait for minutes.
fn behind(stops: u32, before: Option<u32>) -> Duration {
    let wait = STOPS[(stops as usize).min(STOPS.len() - 1)];
    let Some(before) = before else { return wait.min(STOPS[1]) };
    // One after the other: those that were stopped along with the one that stops the relay part from it.
    wait + wait.min(STOPS_APART_MAX) * before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        budget::{Limit, ledgers::Ledgers},
        clock::{Clock, ManualClock},
        message::envelope::{BodyKind, Lane},
        queue::{engine::Claims, memory_index::MemoryIndex, state::Recipient},
    };

    const LIMITS: ClaimLimits = ClaimLimits {
        account: AccountKey::MAIN,
        limit: Limit::of(10),
        notice_reserve: 0,
        urgent_reserve: 0,
        recipients_max: 100,
    };

    /// An index that was rebuilt from the spool while the process went on: it has this record.
    fn index(engine: &mut Engine, id: QueueId, record: MessageRecord) -> MemoryIndex {
        let (index, mut changes) = (MemoryIndex::default(), Changes::default());
        engine.order.insert(Turn::of(id, &record).unwrap(), (), record.accepted_at);
        changes.put(id, None, Some(record));
        index.apply(&changes).unwrap();
        index
    }

    /// A message to two, which a worker has under reservation 7 when the index is rebuilt.
    fn rebuilt(clock: &ManualClock) -> (Engine, QueueId, MessageRecord) {
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
            schedule: None,
            told: vec![],
            delay_told: false,
            notify: std::collections::BTreeMap::new(),
            about: crate::queue::about::About::unknown(),
            attempts: Vec::new(),
            notices: vec![],
            setbacks: Setbacks::default(),
            end: None,
            resend_of: None,
            rule: None,
            fold: None,
            keeps_place: false,
            route: None,
            account: None,
            attempts_by: Vec::new(),
            recipients: vec![waiting("a@x.org"), waiting("b@x.org")],
        };
        let mut claims = Claims::default();
        claims.insert(id, 7);
        (Engine::new(Ledgers::default(), claims, None), id, record)
    }

    fn clock() -> ManualClock {
        ManualClock::new(Timestamp(1_800_000_000_000))
    }

    #[test]
    fn a_message_that_a_living_worker_has_is_given_to_no_second_one_after_a_rebuild() {
        let clock = clock();
        let (mut engine, id, record) = rebuilt(&clock);
        let index = index(&mut engine, id, record);
        let claim = Batch::new(&mut engine, &index, clock.now()).claim(clock.now(), LIMITS);
        assert!(matches!(claim, Ok(Claim::Idle { next: None })), "{claim:?}");
    }

    #[test]
    fn however_often_the_index_has_failed_that_counts_for_one_stop_of_the_relay() {
        let clock = clock();
        let (mut engine, id, mut record) = rebuilt(&clock);
        let mut waits = Vec::new();
        for before in [None, None, None, Some(0), Some(0)] {
            for recipient in &mut record.recipients {
                let since = clock.wall();
                recipient.state = RecipientState::Reserved { reservation: 7, since, resend: false };
            }
            let (index, mut changes) = (MemoryIndex::default(), Changes::default());
            changes.put(id, None, Some(record.clone()));
            index.apply(&changes).unwrap();
            let mut batch = Batch::new(&mut engine, &index, clock.now());
            batch.recover(id, &record, &Fate::NotSent, before);
            record = batch.get(id).unwrap().unwrap();
            let RecipientState::Queued { due, .. } = record.recipients[0].state else {
                panic!("{record:?}")
            };
            waits.push(due.since(clock.wall()).as_secs());
        }
        assert_eq!(waits, [0, 5, 5, 5, 60]);
    }

    #[test]
    fn what_a_living_worker_reports_after_a_rebuild_counts_and_is_spent() {
        let clock = clock();
        let (mut engine, id, record) = rebuilt(&clock);
        let index = index(&mut engine, id, record);
        let relayed = Outcome::Relayed { reply: "250 OK".into() };
        let at = clock.wall();
        let settlement = Settlement { reservation: 7, at, outcomes: vec![(0, relayed)] };
        let mut batch = Batch::new(&mut engine, &index, clock.now());
        batch.settle(id, &settlement).unwrap();
        let record = batch.get(id).unwrap().unwrap();
        assert!(record.recipients[0].state.is_relayed(), "{record:?}");
        assert_eq!(record.recipients[1].state.name(), "queued");
        assert_eq!(batch.engine.view(AccountKey::MAIN, clock.now(), 10.into()).spent, 1);
        let claim = batch.claim(clock.now(), LIMITS).unwrap();
        let Claim::Message(claimed) = claim else { panic!("{claim:?}") };
        assert_eq!(claimed.recipients[0].index, 1);
    }

    #[test]
    fn a_reservation_that_a_living_worker_has_is_given_to_nobody_else_after_a_rebuild() {
        let clock = clock();
        let (mut engine, _, record) = rebuilt(&clock);
        let index = index(&mut engine, QueueId::from_bytes([2; 16]), record);
        let claim = Batch::new(&mut engine, &index, clock.now()).claim(clock.now(), LIMITS);
        let Ok(Claim::Message(claimed)) = claim else { panic!("{claim:?}") };
        assert!(claimed.reservation > 7, "{claimed:?}");
    }
}
