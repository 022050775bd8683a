//! The order in which mail leaves: for each account lane after lane, and within a lane fair between origins, by recipients.
//!
//! Rule: pure. An account's lane goes round by round, and an origin has one turn in a round: its first message. Who
//! sends to more than one recipient has spent as many rounds, and sits them out. So an origin waits for at most one
//! turn of each other, however much mail those have (surplus round robin; docs/internals/lanes-and-notices.md has why).
//! It is in memory only, made anew from the records at a start. Must not know budgets, nor what is stored.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    id::QueueId,
    origin::OriginKey,
    ready::{Ready, Spot},
    record::MessageRecord,
    schedule::Due,
    transition::{DUE_AHEAD_MAX, is_due},
    way::{RouteKey, Way},
};
use crate::{budget::AccountKey, clock::Timestamp, message::envelope::Lane};

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
    pub(crate) way: Way,
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
        Place { lane: self.lane, origin: self.origin, way: self.way, id: self.id, at: self.place }
    }

    /// The turn that a message waits for; `None` while a worker has it or when nothing of it waits.
    pub(super) fn of(id: QueueId, record: &MessageRecord) -> Option<Self> {
        if record.is_reserved() {
            return None;
        }
        let mut recipients = 0;
        let dues = record.recipients.iter().filter_map(|one| record.due(&one.state));
        let due = dues.inspect(|_| recipients += 1).min()?;
        let place = if record.keeps_place { id.time() } else { due.at };
        let (lane, origin, way) = (record.lane, OriginKey::of(record), Way::of(record));
        Some(Self { lane, origin, way, id, due, place, recipients })
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
    way: Way,
    pub(crate) id: QueueId,
    at: Timestamp,
}

impl Place {
    fn who(&self) -> Who {
        Who { origin: self.origin, way: self.way }
    }
}

/// The order of everything that waits. `T` is what its user keeps with a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order<T> {
    lanes: [LaneOrder<T>; Lane::ALL.len()],
    /// What bulk mail of each account has saved up of its share, in hundredths of a recipient.
    credit: BTreeMap<AccountKey, u64>,
    served_by: ServedBy,
}

/// Which account has which mail now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServedBy {
    /// That of a route; of any other it is the main account's.
    pub(super) routes: BTreeMap<RouteKey, AccountKey>,
    /// Those there are besides the main account, which has what another has begun that is gone.
    pub(super) accounts: BTreeSet<AccountKey>,
}

impl ServedBy {
    /// The account that has the mail of this way.
    pub(crate) fn account_of(&self, way: Way) -> AccountKey {
        match way {
            Way::Route(route) => self.routes.get(&route).copied().unwrap_or_default(),
            Way::Account(account) if self.accounts.contains(&account) => account,
            Way::Account(_) => AccountKey::MAIN,
        }
    }
}

/// Who takes turns: an origin, by each of the ways that its mail takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Who {
    origin: OriginKey,
    way: Way,
}

/// One lane.
#[derive(Clone, Debug)]
struct LaneOrder<T> {
    /// The rounds of each account.
    rounds: BTreeMap<AccountKey, Rounds>,
    /// The origins in them and others that are known, with what of their mail is due.
    origins: HashMap<Who, Known<T>>,
    /// Origins that wait for their limit, by when it has room again.
    blocked: BTreeSet<(Timestamp, Who)>,
    /// What is due later: of attempts, and by a person's word.
    planned: BTreeMap<(Timestamp, QueueId), Later<T>>,
    named: BTreeMap<(Timestamp, QueueId), Later<T>>,
}

/// The rounds of one account in a lane.
#[derive(Clone, Debug, Default)]
struct Rounds {
    /// Origins with something that is due and nothing against them: round, place in it, origin.
    turns: BTreeSet<(u64, u64, Who)>,
    /// The round of the last turn.
    round: u64,
    /// Counts who comes into a round.
    arrivals: u64,
}

impl Rounds {
    /// The place of one who comes now, with no round before the next: not this one, because who comes again and again
    /// under new names must not hold it open for ever.
    fn next(&mut self) -> (u64, u64) {
        self.arrivals += 1;
        (self.round + 1, self.arrivals)
    }
}

impl<T> Default for LaneOrder<T> {
    fn default() -> Self {
        Self {
            rounds: BTreeMap::new(),
            origins: HashMap::new(),
            blocked: BTreeSet::new(),
            planned: BTreeMap::new(),
            named: BTreeMap::new(),
        }
    }
}

/// An origin in a lane.
#[derive(Clone, Debug)]
struct Known<T> {
    standing: Standing,
    ready: Ready<T>,
}

/// How an origin stands in its lane.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// Whose rounds it is in.
    account: AccountKey,
    /// The round in which it may go next.
    round: u64,
    arrival: u64,
    blocked_until: Option<Timestamp>,
    /// Its place is kept for what is about to be inserted.
    kept: bool,
}

impl Standing {
    fn turn(&self, who: Who) -> (u64, u64, Who) {
        (self.round, self.arrival, who)
    }
}

/// How everybody stands, without the mail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standings {
    lanes: [LaneStandings; Lane::ALL.len()],
    credit: BTreeMap<AccountKey, u64>,
    served_by: ServedBy,
}

#[derive(Clone, Debug, Default)]
struct LaneStandings {
    origins: HashMap<Who, Standing>,
    /// Nobody has a turn in them yet.
    rounds: BTreeMap<AccountKey, Rounds>,
}

/// A message that is due later.
#[derive(Clone, Copy, Debug)]
struct Later<T> {
    who: Who,
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
            let until = |(who, one): (&Who, &Standing)| Some((one.blocked_until?, *who));
            order.blocked = stood.origins.iter().filter_map(until).collect();
            let known = |standing| Known { standing, ready: Ready::default() };
            let origins = stood.origins.into_iter().map(|(who, standing)| (who, known(standing)));
            (order.origins, order.rounds) = (origins.collect(), stood.rounds);
        }
        let Standings { credit, served_by, .. } = standings;
        Self { lanes, credit, served_by }
    }

    /// How everybody stands.
    pub(crate) fn standings(&self) -> Standings {
        let standings = |order: &LaneOrder<T>| {
            let stands = |(who, one): (&Who, &Known<T>)| {
                (*who, Standing { kept: !one.ready.is_empty(), ..one.standing })
            };
            let origins = order.origins.iter().map(stands).collect();
            let rounds = order.rounds.iter().map(|(account, rounds)| {
                let Rounds { round, arrivals, .. } = *rounds;
                (*account, Rounds { turns: BTreeSet::new(), round, arrivals })
            });
            LaneStandings { origins, rounds: rounds.collect() }
        };
        Standings {
            lanes: self.lanes.each_ref().map(standings),
            credit: self.credit.clone(),
            served_by: self.served_by.clone(),
        }
    }

    /// Whether any mail has a route.
    pub(super) fn is_routed(&self) -> bool {
        self.served_by != ServedBy::default()
    }

    /// The account that has the mail of this way now.
    fn account_of(&self, way: Way) -> AccountKey {
        self.served_by.account_of(way)
    }

    /// From now on these accounts have the mail of these routes. Whoever changes over has a place as one who comes.
    /// Says whether anything has changed.
    pub(crate) fn serve(&mut self, served_by: ServedBy) -> bool {
        if self.served_by == served_by {
            return false;
        }
        self.served_by = served_by;
        for number in 0..self.lanes.len() {
            let stood = self.lanes[number].origins.iter();
            let moved = stood.filter_map(|(who, one)| {
                let account = self.account_of(who.way);
                (account != one.standing.account).then_some((*who, account))
            });
            for (who, account) in moved.collect::<Vec<_>>() {
                self.lanes[number].change_over(who, account);
            }
        }
        true
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
        let account = self.account_of(turn.way);
        let lane = &mut self.lanes[number(turn.lane)];
        let Turn { origin, way, place, recipients, id, due, .. } = turn;
        let who = Who { origin, way };
        if is_due(due, now) {
            return lane.ready(who, (place, id), account, (recipients, what));
        }
        let later = Later { who, place, recipients, what };
        lane.later(due.is_scheduled).insert((due.at, id), later);
    }

    /// A message does not wait any more.
    pub(crate) fn remove(&mut self, turn: &Turn) {
        let lane = &mut self.lanes[number(turn.lane)];
        if lane.later(turn.due.is_scheduled).remove(&(turn.due.at, turn.id)).is_none() {
            lane.leave(turn.stands().who(), (turn.place, turn.id));
        }
    }

    /// The same, of one that was next.
    pub(crate) fn withdraw(&mut self, place: Place) {
        self.lanes[number(place.lane)].leave(place.who(), (place.at, place.id));
    }

    /// What is next for an account. `bulk_share` is how many of a hundred recipients are of bulk mail while normal mail
    /// waits as well.
    pub(crate) fn next(&mut self, account: AccountKey, now: Timestamp, bulk_share: u32) -> Next<T> {
        for number in 0..self.lanes.len() {
            for (id, later) in self.lanes[number].ripe(now) {
                let Later { who, place, recipients, what } = later;
                let account = self.account_of(who.way);
                self.lanes[number].ready(who, (place, id), account, (recipients, what));
            }
            self.lanes[number].free(now);
        }
        let mut firsts = Lane::ALL.into_iter().zip(&self.lanes).filter_map(|(lane, order)| {
            let (Who { origin, way }, ((at, id), recipients, what)) = order.first(account)?;
            Some((Place { lane, origin, way, id, at }, recipients, what))
        });
        let Some((mut place, _, mut what)) = firsts.next() else {
            return Next::Later(self.lanes.iter().filter_map(LaneOrder::earliest).min());
        };
        if place.lane == Lane::Normal
            && bulk_share > 0
            && let Some((bulk, recipients, of_bulk)) = firsts.next()
            && self.credit.get(&account).copied().unwrap_or(0)
                >= price(recipients.min(CREDIT_RECIPIENTS_MAX), bulk_share)
        {
            (place, what) = (bulk, of_bulk);
        }
        Next::Due(place, what)
    }

    /// What is first of the mail of other accounts whose route `is_lent`. It looks at each origin, so it is for rare moments.
    pub(super) fn first_lent(&self, is_lent: impl Fn(RouteKey) -> bool) -> Option<Place> {
        let is_lent = |who: &Who| matches!(who.way, Way::Route(route) if is_lent(route));
        Lane::ALL.into_iter().zip(&self.lanes).find_map(|(lane, order)| {
            let turns = order.rounds.values().flat_map(|rounds| &rounds.turns);
            let (.., who) = turns.filter(|(.., who)| is_lent(who)).min()?;
            let ((at, id), ..) = order.first_of(*who)?;
            Some(Place { lane, origin: who.origin, way: who.way, id, at })
        })
    }

    /// It has had its turn, with so many recipients.
    pub(crate) fn served(
        &mut self,
        account: AccountKey,
        place: Place,
        recipients: u32,
        bulk_share: u32,
    ) {
        let lanes = &self.lanes;
        let waits = |lane: Lane| lanes[number(lane)].has_turns(account);
        let credit = self.credit.entry(account).or_insert(0);
        match place.lane {
            Lane::Normal if waits(Lane::Bulk) => {
                let most = u64::from(CREDIT_RECIPIENTS_MAX) * 100;
                *credit = (*credit + u64::from(recipients) * u64::from(bulk_share)).min(most);
            }
            Lane::Normal => *credit = 0,
            Lane::Bulk if waits(Lane::Normal) => {
                *credit = credit.saturating_sub(price(recipients, bulk_share));
            }
            Lane::Bulk | Lane::Urgent | Lane::Notice => {}
        }
        self.lanes[number(place.lane)].served(place.who(), recipients);
    }

    /// An origin has used up its limit, until then.
    pub(crate) fn block(&mut self, place: Place, until: Timestamp) {
        self.lanes[number(place.lane)].block(place.who(), until);
    }

    /// Origins that wait for their limit, and until when.
    pub(crate) fn blocked(&self) -> impl Iterator<Item = (OriginKey, Timestamp)> {
        self.lanes.iter().flat_map(|lane| &lane.blocked).map(|(until, who)| (who.origin, *until))
    }

    /// The limit of an origin has room again.
    pub(crate) fn unblock(&mut self, origin: OriginKey) {
        for lane in &mut self.lanes {
            let own = lane.blocked.iter().map(|(_, who)| *who).filter(|who| who.origin == origin);
            own.collect::<Vec<_>>().into_iter().for_each(|who| lane.unblock(who));
        }
    }

    /// Limits have changed.
    pub(crate) fn unblock_all(&mut self) {
        for lane in &mut self.lanes {
            while let Some(&(_, who)) = lane.blocked.first() {
                lane.unblock(who);
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
            for (until, who) in blocked {
                let until = until.moved(step_ms);
                lane.blocked.insert((until, who));
                if let Some(known) = lane.origins.get_mut(&who) {
                    known.standing.blocked_until = Some(until);
                }
            }
        }
    }
}

impl<T: Copy> LaneOrder<T> {
    fn later(&mut self, is_scheduled: bool) -> &mut BTreeMap<(Timestamp, QueueId), Later<T>> {
        if is_scheduled { &mut self.named } else { &mut self.planned }
    }

    /// What has become due by now.
    fn ripe(&mut self, now: Timestamp) -> Vec<(QueueId, Later<T>)> {
        let mut ripe = Vec::new();
        while let Some(entry) = self.planned.first_entry().filter(|one| one.key().0 <= now) {
            ripe.push(entry.remove_entry());
        }
        // Written by a clock that was wrong.
        let latest = now.after(DUE_AHEAD_MAX);
        while let Some(entry) = self.planned.last_entry().filter(|one| one.key().0 > latest) {
            ripe.push(entry.remove_entry());
        }
        while let Some(entry) = self.named.first_entry().filter(|one| one.key().0 <= now) {
            ripe.push(entry.remove_entry());
        }
        ripe.into_iter().map(|((_, id), later)| (id, later)).collect()
    }

    /// Whoever has waited for its limit long enough waits no more.
    fn free(&mut self, now: Timestamp) {
        while let Some(&(until, who)) = self.blocked.first()
            && until <= now
        {
            self.unblock(who);
        }
    }

    fn ready(&mut self, who: Who, spot: Spot, account: AccountKey, (recipients, what): (u32, T)) {
        let fresh = Standing { account, round: 0, arrival: 0, blocked_until: None, kept: false };
        let known = self.origins.entry(who);
        let Known { standing, ready } =
            known.or_insert_with(|| Known { standing: fresh, ready: Ready::default() });
        let is_new = ready.is_empty();
        ready.insert(spot, recipients, what);
        if !is_new {
            return;
        }
        let rounds = self.rounds.entry(account).or_default();
        let (next, arrival) = rounds.next();
        if !std::mem::take(&mut standing.kept) {
            standing.round = standing.round.max(next);
            standing.arrival = arrival;
        }
        if standing.blocked_until.is_none() {
            rounds.turns.insert(standing.turn(who));
        }
    }

    fn leave(&mut self, who: Who, spot: Spot) {
        let Some(Known { standing, ready }) = self.origins.get_mut(&who) else { return };
        if !ready.remove(spot) || !ready.is_empty() {
            return;
        }
        let rounds = self.rounds.entry(standing.account).or_default();
        rounds.turns.remove(&standing.turn(who));
        // Whoever is blocked stays known: what comes next of it waits as well.
        if standing.blocked_until.is_none() && standing.round <= rounds.round + 1 {
            self.origins.remove(&who);
        }
        self.forget_debts();
    }

    /// Another account has the mail of an origin from now on; its limit there is judged anew.
    fn change_over(&mut self, who: Who, account: AccountKey) {
        self.unblock(who);
        let Some(Known { standing, ready }) = self.origins.get_mut(&who) else { return };
        self.rounds.entry(standing.account).or_default().turns.remove(&standing.turn(who));
        if ready.is_empty() {
            self.origins.remove(&who);
            return;
        }
        let rounds = self.rounds.entry(account).or_default();
        (standing.round, standing.arrival) = rounds.next();
        standing.account = account;
        rounds.turns.insert(standing.turn(who));
    }

    /// Nobody waits whom a debt could delay, or there are more of them than are kept.
    fn forget_debts(&mut self) {
        let turns: usize = self.rounds.values().map(|rounds| rounds.turns.len()).sum();
        let idle = self.origins.len().saturating_sub(turns + self.blocked.len());
        let nobody_waits = turns == 0 && self.blocked.is_empty();
        if idle > DEBTS_MAX || (idle > 0 && nobody_waits) {
            let rounds = &self.rounds;
            self.origins.retain(|who, Known { standing, .. }| {
                let has_turn = |rounds: &Rounds| rounds.turns.contains(&standing.turn(*who));
                standing.blocked_until.is_some()
                    || rounds.get(&standing.account).is_some_and(has_turn)
            });
        }
    }

    fn served(&mut self, who: Who, recipients: u32) {
        let Some(Known { standing, .. }) = self.origins.get_mut(&who) else { return };
        let rounds = self.rounds.entry(standing.account).or_default();
        let had_a_turn = rounds.turns.remove(&standing.turn(who));
        rounds.round = rounds.round.max(standing.round);
        rounds.arrivals += 1;
        standing.round = rounds.round + u64::from(recipients.max(1));
        standing.arrival = rounds.arrivals;
        if had_a_turn {
            rounds.turns.insert(standing.turn(who));
        }
    }

    fn block(&mut self, who: Who, until: Timestamp) {
        let Some(Known { standing, .. }) = self.origins.get_mut(&who) else { return };
        self.rounds.entry(standing.account).or_default().turns.remove(&standing.turn(who));
        if let Some(before) = standing.blocked_until.replace(until) {
            self.blocked.remove(&(before, who));
        }
        self.blocked.insert((until, who));
    }

    fn unblock(&mut self, who: Who) {
        let Some(Known { standing, ready }) = self.origins.get_mut(&who) else { return };
        let Some(until) = standing.blocked_until.take() else { return };
        self.blocked.remove(&(until, who));
        if ready.is_empty() {
            self.origins.remove(&who);
            return;
        }
        let rounds = self.rounds.entry(standing.account).or_default();
        let (next, arrival) = rounds.next();
        (standing.round, standing.arrival) = (standing.round.max(next), arrival);
        rounds.turns.insert(standing.turn(who));
    }

    /// Whether mail of an account is due, and nothing is against all of it.
    fn has_turns(&self, account: AccountKey) -> bool {
        self.rounds.get(&account).is_some_and(|rounds| !rounds.turns.is_empty())
    }

    fn first(&self, account: AccountKey) -> Option<(Who, (Spot, u32, T))> {
        let (.., who) = self.rounds.get(&account)?.turns.first()?;
        Some((*who, self.first_of(*who)?))
    }

    fn first_of(&self, who: Who) -> Option<(Spot, u32, T)> {
        self.origins.get(&who)?.ready.first().copied()
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
