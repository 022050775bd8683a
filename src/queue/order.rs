//! The order in which mail leaves: lane after lane, and within a lane fair between origins, by recipients.
//!
//! Rule: pure. Each lane goes round by round, and an origin has one turn in a round: its first message. Who
//! sends to more than one recipient has spent as many rounds, and sits them out. So an origin waits for at most one
//! turn of each other, however much mail those have (surplus round robin; docs/internals/lanes-and-notices.md has why).
//! It is in memory only, made anew from the records at a start. Must not know budgets, nor what is stored.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    id::QueueId,
    origin::OriginKey,
    record::MessageRecord,
    schedule::Due,
    transition::{DUE_AHEAD_MAX, is_due},
};
use crate::{clock::Timestamp, message::envelope::Lane};

/// Origins without waiting mail whose spent rounds are remembered. They are those that sent to many at once, and only
/// while others of their lane wait.
const DEBTS_MAX: usize = 10_000;

/// Recipients of bulk mail whose share can be saved up: the largest transaction that Gmail takes.
const CREDIT_RECIPIENTS_MAX: u32 = 500;

/// One message that waits to be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) lane: Lane,
    pub(crate) origin: OriginKey,
    pub(crate) id: QueueId,
    pub(crate) due: Due,
    /// Its place among those of its origin: when it became due, or when it was accepted.
    pub(crate) place: Timestamp,
    /// Recipients that wait.
    pub(crate) recipients: u32,
}

impl Turn {
    /// Where it stands once it is due.
    pub(super) fn stands(&self) -> Place {
        Place { lane: self.lane, origin: self.origin, id: self.id, at: self.place }
    }

    /// The turn that a message waits for; `None` while a worker has it or when nothing of it waits.
    pub(super) fn of(id: QueueId, record: &MessageRecord) -> Option<Self> {
        if record.is_reserved() { None } else { Self::of_waiting(id, record) }
    }

    /// The turn of what waits of it, also while a worker has the rest.
    pub(super) fn of_waiting(id: QueueId, record: &MessageRecord) -> Option<Self> {
        let mut recipients = 0;
        let dues = record.recipients.iter().filter_map(|one| record.due(&one.state));
        let due = dues.inspect(|_| recipients += 1).min()?;
        let place = if record.keeps_place { id.time() } else { due.at };
        let (lane, origin) = (record.lane, OriginKey::of(record));
        Some(Self { lane, origin, id, due, place, recipients })
    }
}

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next<T> {
    /// It is due.
    Due(Place, T),
    /// Nothing is; the earliest time at which something will be.
    Later(Option<Timestamp>),
}

/// Where a message that is due stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) lane: Lane,
    pub(crate) origin: OriginKey,
    pub(crate) id: QueueId,
    at: Timestamp,
}

/// The order of everything that waits. `T` is what its user keeps with a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order<T> {
    lanes: [LaneOrder<T>; Lane::ALL.len()],
    /// What bulk mail has saved up of its share, in hundredths of a recipient.
    credit: u64,
}

/// Of what is due: origin, place among those of the origin, message.
type Key = (OriginKey, Timestamp, QueueId);

/// One lane.
#[derive(Clone, Debug)]
struct LaneOrder<T> {
    /// What is due, with its recipients.
    ready: BTreeMap<Key, (u32, T)>,
    /// Origins with something that is due and nothing against them: round, place in it, origin.
    turns: BTreeSet<(u64, u64, OriginKey)>,
    /// What is known of these and of others.
    origins: HashMap<OriginKey, Standing>,
    /// Origins that wait for their limit, by when it has room again.
    blocked: BTreeSet<(Timestamp, OriginKey)>,
    /// What is due later: of attempts, and by a person's word.
    planned: BTreeMap<(Timestamp, QueueId), Later<T>>,
    named: BTreeMap<(Timestamp, QueueId), Later<T>>,
    /// The round of the last turn.
    round: u64,
    /// Counts who comes into a round.
    arrivals: u64,
}

impl<T> Default for LaneOrder<T> {
    fn default() -> Self {
        Self {
            ready: BTreeMap::new(),
            turns: BTreeSet::new(),
            origins: HashMap::new(),
            blocked: BTreeSet::new(),
            planned: BTreeMap::new(),
            named: BTreeMap::new(),
            round: 0,
            arrivals: 0,
        }
    }
}

/// How an origin stands in its lane.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// The round in which it may go next.
    round: u64,
    arrival: u64,
    blocked_until: Option<Timestamp>,
    /// Its place is kept for what is about to be inserted.
    kept: bool,
}

/// How everybody stands, without the mail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standings {
    lanes: [LaneStandings; Lane::ALL.len()],
    credit: u64,
}

#[derive(Clone, Debug, Default)]
struct LaneStandings {
    origins: HashMap<OriginKey, Standing>,
    round: u64,
    arrivals: u64,
}

/// A message that is due later.
#[derive(Clone, Copy, Debug)]
struct Later<T> {
    origin: OriginKey,
    place: Timestamp,
    recipients: u32,
    what: T,
}

impl<T: Copy> Order<T> {
    /// An order without mail in which everybody stands like this.
    pub(crate) fn standing_as(standings: Standings) -> Self {
        let mut lanes: [LaneOrder<T>; Lane::ALL.len()] =
            std::array::from_fn(|_| LaneOrder::default());
        for (order, stood) in lanes.iter_mut().zip(standings.lanes) {
            let until =
                |(origin, one): (&OriginKey, &Standing)| Some((one.blocked_until?, *origin));
            order.blocked = stood.origins.iter().filter_map(until).collect();
            (order.origins, order.round, order.arrivals) =
                (stood.origins, stood.round, stood.arrivals);
        }
        Self { lanes, credit: standings.credit }
    }

    /// How everybody stands.
    pub(crate) fn standings(&self) -> Standings {
        let standings = |order: &LaneOrder<T>| {
            let stands = |(origin, one): (&OriginKey, &Standing)| {
                (*origin, Standing { kept: order.first_of(*origin).is_some(), ..*one })
            };
            let origins = order.origins.iter().map(stands).collect();
            LaneStandings { origins, round: order.round, arrivals: order.arrivals }
        };
        Standings { lanes: self.lanes.each_ref().map(standings), credit: self.credit }
    }

    /// All that waits at a start, as if it had come in the order of its places.
    pub(crate) fn begin(&mut self, mut turns: Vec<Turn>, what: T, now: Timestamp) {
        turns.sort_unstable_by_key(|turn| (turn.place, turn.id));
        turns.into_iter().for_each(|turn| self.insert(turn, what, now));
    }

    /// Nothing of this lane, nor of those behind it, waits any more.
    pub(crate) fn clear_from(&mut self, lane: Lane) {
        self.lanes[number(lane)..].iter_mut().for_each(|order| *order = LaneOrder::default());
    }

    /// When something is due in a lane before this one.
    pub(crate) fn earliest_before(&self, lane: Lane) -> Option<Timestamp> {
        self.lanes[..number(lane)].iter().filter_map(LaneOrder::earliest).min()
    }

    /// A message waits.
    pub(crate) fn insert(&mut self, turn: Turn, what: T, now: Timestamp) {
        let lane = &mut self.lanes[number(turn.lane)];
        let Turn { origin, place, recipients, id, due, .. } = turn;
        if is_due(due, now) {
            return lane.ready((origin, place, id), (recipients, what));
        }
        let later = Later { origin, place, recipients, what };
        lane.later(due.is_scheduled).insert((due.at, id), later);
    }

    /// A message does not wait any more.
    pub(crate) fn remove(&mut self, turn: &Turn) {
        let lane = &mut self.lanes[number(turn.lane)];
        if lane.later(turn.due.is_scheduled).remove(&(turn.due.at, turn.id)).is_none() {
            lane.leave((turn.origin, turn.place, turn.id));
        }
    }

    /// The same, of one that was next.
    pub(crate) fn withdraw(&mut self, place: Place) {
        self.lanes[number(place.lane)].leave((place.origin, place.at, place.id));
    }

    /// What is next. `bulk_share` is how many of a hundred recipients are of bulk mail while normal mail waits as well.
    pub(crate) fn next(&mut self, now: Timestamp, bulk_share: u32) -> Next<T> {
        self.lanes.iter_mut().for_each(|lane| lane.ripen(now));
        let mut firsts = Lane::ALL.into_iter().zip(&self.lanes).filter_map(|(lane, order)| {
            let ((origin, at, id), (recipients, what)) = order.first()?;
            Some((Place { lane, origin, id, at }, recipients, what))
        });
        let Some((mut place, _, mut what)) = firsts.next() else {
            return Next::Later(self.lanes.iter().filter_map(LaneOrder::earliest).min());
        };
        if place.lane == Lane::Normal
            && let Some((bulk, recipients, of_bulk)) = firsts.next()
            && bulk_share > 0
            && self.credit >= price(recipients.min(CREDIT_RECIPIENTS_MAX), bulk_share)
        {
            (place, what) = (bulk, of_bulk);
        }
        Next::Due(place, what)
    }

    /// It has had its turn, with so many recipients.
    pub(crate) fn served(&mut self, place: Place, recipients: u32, bulk_share: u32) {
        let waits = |lane: Lane, lanes: &[LaneOrder<T>]| !lanes[number(lane)].turns.is_empty();
        match place.lane {
            Lane::Normal if waits(Lane::Bulk, &self.lanes) => {
                let most = u64::from(CREDIT_RECIPIENTS_MAX) * 100;
                self.credit =
                    (self.credit + u64::from(recipients) * u64::from(bulk_share)).min(most);
            }
            Lane::Normal => self.credit = 0,
            Lane::Bulk if waits(Lane::Normal, &self.lanes) => {
                self.credit = self.credit.saturating_sub(price(recipients, bulk_share));
            }
            Lane::Bulk | Lane::Urgent | Lane::Notice => {}
        }
        self.lanes[number(place.lane)].served(place.origin, recipients);
    }

    /// An origin has used up its limit, until then.
    pub(crate) fn block(&mut self, place: Place, until: Timestamp) {
        self.lanes[number(place.lane)].block(place.origin, until);
    }

    /// Origins that wait for their limit, and until when.
    pub(crate) fn blocked(&self) -> impl Iterator<Item = (OriginKey, Timestamp)> {
        self.lanes.iter().flat_map(|lane| &lane.blocked).map(|(until, origin)| (*origin, *until))
    }

    /// The limit of an origin has room again.
    pub(crate) fn unblock(&mut self, origin: OriginKey) {
        self.lanes.iter_mut().for_each(|lane| lane.unblock(origin));
    }

    /// Limits have changed.
    pub(crate) fn unblock_all(&mut self) {
        for lane in &mut self.lanes {
            while let Some(&(_, origin)) = lane.blocked.first() {
                lane.unblock(origin);
            }
        }
    }

    /// The wall clock was set forward by `step_ms` (back, when negative): what attempts and limits wait for stays as far ahead.
    pub(crate) fn moved(&mut self, step_ms: i64) {
        for lane in &mut self.lanes {
            let planned = std::mem::take(&mut lane.planned);
            lane.planned = planned
                .into_iter()
                .map(|((at, id), later)| ((at.moved(step_ms), id), later))
                .collect();
            let blocked = std::mem::take(&mut lane.blocked);
            for (until, origin) in blocked {
                let until = until.moved(step_ms);
                lane.blocked.insert((until, origin));
                if let Some(standing) = lane.origins.get_mut(&origin) {
                    standing.blocked_until = Some(until);
                }
            }
        }
    }
}

impl<T: Copy> LaneOrder<T> {
    fn later(&mut self, is_scheduled: bool) -> &mut BTreeMap<(Timestamp, QueueId), Later<T>> {
        if is_scheduled { &mut self.named } else { &mut self.planned }
    }

    /// What has become due by now gets its place.
    fn ripen(&mut self, now: Timestamp) {
        while let Some(entry) = self.planned.first_entry().filter(|one| one.key().0 <= now) {
            let ((_, id), later) = entry.remove_entry();
            self.ripe(id, later);
        }
        // Written by a clock that was wrong.
        let latest = now.after(DUE_AHEAD_MAX);
        while let Some(entry) = self.planned.last_entry().filter(|one| one.key().0 > latest) {
            let ((_, id), later) = entry.remove_entry();
            self.ripe(id, later);
        }
        while let Some(entry) = self.named.first_entry().filter(|one| one.key().0 <= now) {
            let ((_, id), later) = entry.remove_entry();
            self.ripe(id, later);
        }
        while let Some(&(until, origin)) = self.blocked.first()
            && until <= now
        {
            self.unblock(origin);
        }
    }

    fn ripe(&mut self, id: QueueId, later: Later<T>) {
        self.ready((later.origin, later.place, id), (later.recipients, later.what));
    }

    fn ready(&mut self, key: Key, what: (u32, T)) {
        let origin = key.0;
        let is_new = self.first_of(origin).is_none();
        self.ready.insert(key, what);
        if !is_new {
            return;
        }
        self.arrivals += 1;
        // The next round, not this one: who comes again and again under new names must not hold this one open for ever.
        let next = self.round + 1;
        let fresh =
            Standing { round: next, arrival: self.arrivals, blocked_until: None, kept: false };
        let standing = self.origins.entry(origin).or_insert(fresh);
        if !std::mem::take(&mut standing.kept) {
            standing.round = standing.round.max(next);
            standing.arrival = self.arrivals;
        }
        if standing.blocked_until.is_none() {
            self.turns.insert((standing.round, standing.arrival, origin));
        }
    }

    fn leave(&mut self, key: Key) {
        let origin = key.0;
        if self.ready.remove(&key).is_none() || self.first_of(origin).is_some() {
            return;
        }
        let Some(standing) = self.origins.get(&origin).copied() else { return };
        self.turns.remove(&(standing.round, standing.arrival, origin));
        // Whoever is blocked stays known: what comes next of it waits as well.
        if standing.blocked_until.is_none() && standing.round <= self.round + 1 {
            self.origins.remove(&origin);
        }
        self.forget_debts();
    }

    /// Nobody waits whom a debt could delay, or there are more of them than are kept.
    fn forget_debts(&mut self) {
        let idle = self.origins.len().saturating_sub(self.turns.len() + self.blocked.len());
        let nobody_waits = self.turns.is_empty() && self.blocked.is_empty();
        if idle > DEBTS_MAX || (idle > 0 && nobody_waits) {
            let turns = &self.turns;
            self.origins.retain(|origin, one| {
                one.blocked_until.is_some() || turns.contains(&(one.round, one.arrival, *origin))
            });
        }
    }

    fn served(&mut self, origin: OriginKey, recipients: u32) {
        let Some(standing) = self.origins.get_mut(&origin) else { return };
        let had_a_turn = self.turns.remove(&(standing.round, standing.arrival, origin));
        self.round = self.round.max(standing.round);
        self.arrivals += 1;
        standing.round = self.round + u64::from(recipients.max(1));
        standing.arrival = self.arrivals;
        if had_a_turn {
            self.turns.insert((standing.round, standing.arrival, origin));
        }
    }

    fn block(&mut self, origin: OriginKey, until: Timestamp) {
        let Some(standing) = self.origins.get_mut(&origin) else { return };
        self.turns.remove(&(standing.round, standing.arrival, origin));
        if let Some(before) = standing.blocked_until.replace(until) {
            self.blocked.remove(&(before, origin));
        }
        self.blocked.insert((until, origin));
    }

    fn unblock(&mut self, origin: OriginKey) {
        let Some(standing) = self.origins.get_mut(&origin) else { return };
        let Some(until) = standing.blocked_until.take() else { return };
        self.blocked.remove(&(until, origin));
        if self.first_of(origin).is_none() {
            self.origins.remove(&origin);
            return;
        }
        self.arrivals += 1;
        let (next, arrival) = (self.round + 1, self.arrivals);
        if let Some(standing) = self.origins.get_mut(&origin) {
            (standing.round, standing.arrival) = (standing.round.max(next), arrival);
            self.turns.insert((standing.round, arrival, origin));
        }
    }

    fn first(&self) -> Option<(Key, (u32, T))> {
        let (.., origin) = self.turns.first()?;
        self.first_of(*origin)
    }

    fn first_of(&self, origin: OriginKey) -> Option<(Key, (u32, T))> {
        let least = (origin, Timestamp(i64::MIN), QueueId::from_bytes([0; 16]));
        let first = self.ready.range(least..).next();
        first.filter(|(key, _)| key.0 == origin).map(|(key, what)| (*key, *what))
    }

    fn earliest(&self) -> Option<Timestamp> {
        let first = |later: &BTreeMap<(Timestamp, QueueId), Later<T>>| {
            later.first_key_value().map(|(key, _)| key.0)
        };
        let blocked = self.blocked.first().map(|(until, _)| *until);
        [first(&self.planned), first(&self.named), blocked].into_iter().flatten().min()
    }
}

/// What so many recipients of bulk mail cost of the credit, which grows by the share with each one of normal mail.
fn price(recipients: u32, bulk_share: u32) -> u64 {
    u64::from(recipients) * u64::from(100_u32.saturating_sub(bulk_share))
}

fn number(lane: Lane) -> usize {
    Lane::ALL.iter().position(|known| *known == lane).unwrap_or(Lane::ALL.len() - 1)
}

#[cfg(test)]
mod tests;
