//! The memory of the queue beside its index: the ledger, the claims of living workers, and what stored times mean.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tracing::warn;

use super::{
    claim::{ClaimLimits, Outcome},
    forecast::Footing,
    id::QueueId,
    index::Changes,
    listing::{LedgerView, Limited, LimitedOrigin},
    options::Fairness,
    order::{Next, Order, Place, ServedBy},
    origin::{Origin, OriginKey},
    record::MessageRecord,
    routes::{Accounts, Standing},
};
use crate::{
    budget::{AccountKey, Event, Limit, WINDOW, ledgers::Ledgers},
    clock::{Found, Moment, Timeline, Timestamp},
};

/// How long after a boot the wall clock is asked how much of the budget came back while the machine was off. Whoever
/// sets it right at the start does so within minutes.
const BUDGET_BELIEVES_AFTER: Duration = Duration::from_secs(600);

/// Origins at their limit that are remembered.
const LIMITED_MAX: usize = 1_000;

/// An origin that has come to its limit: who comes there again and again within a day is told of once.
#[derive(Clone, Debug)]
struct KnownLimit {
    words: String,
    limit: Limit,
    /// Until when it waited the last time.
    waited_until: Timestamp,
}

/// Messages that a worker of this process has, each with its reservation.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    alive: HashMap<QueueId, u64>,
    /// Above every reservation of this process, also when the ledger has forgotten it or was lost.
    next: u64,
}

impl Claims {
    /// Whether a worker of this process has the message.
    pub(super) fn contains(&self, id: QueueId) -> bool {
        self.alive.contains_key(&id)
    }

    pub(super) fn insert(&mut self, id: QueueId, reservation: u64) {
        self.alive.insert(id, reservation);
        self.next = self.next.max(reservation + 1);
    }

    /// New claims have numbers above this one.
    pub(super) fn number_from(&mut self, least: u64) {
        self.next = self.next.max(least);
    }

    /// Ends the claim of this reservation, and says whether it was alive.
    pub(super) fn remove(&mut self, id: QueueId, reservation: u64) -> bool {
        let alive = self.alive.get(&id) == Some(&reservation);
        if alive {
            self.alive.remove(&id);
        }
        alive
    }

    /// Ends the claim of a message, whatever its reservation.
    pub(super) fn end(&mut self, id: QueueId) {
        self.alive.remove(&id);
    }
}

/// The memory of the queue beside its tables.
#[derive(Debug, Default)]
pub(super) struct Engine {
    pub(super) ledger: Ledgers,
    /// Which wall times the stored times have; none before the first look at the clocks.
    timeline: Option<Timeline>,
    /// Goes back to what it was before a batch that could not be written: a settlement that did not become durable
    /// leaves its claim alive, and a claim that did not become durable never was one.
    pub(super) claimed: Claims,
    /// What waits, in the order in which it leaves.
    pub(super) order: Order<()>,
    /// What is fair, when it was asked last.
    fairness: Arc<Fairness>,
    /// The accounts, when they were asked last, and how they stand.
    accounts: Arc<Accounts>,
    pub(super) standing: Standing,
    /// Origins that have come to their limit of late.
    limited: HashMap<OriginKey, KnownLimit>,
    /// The ledger of the last run is lost: half of the limit counts as spent from the first claim on.
    pub(super) assume_half_spent: bool,
}

impl Engine {
    /// An engine that starts with what is stored, and with the claims of a store that failed under it.
    pub(super) fn new(mut ledger: Ledgers, claimed: Claims, timeline: Option<Timeline>) -> Self {
        if let Some(timeline) = &timeline {
            ledger.retime(|moment| timeline.wall_of(moment));
        }
        Self { ledger, timeline, claimed, ..Self::default() }
    }

    /// What is fair from now on. Whoever waited for its limit is judged anew.
    pub(super) fn set_fairness(&mut self, fairness: Arc<Fairness>) {
        if !Arc::ptr_eq(&self.fairness, &fairness) {
            self.fairness = fairness;
            self.order.unblock_all();
            self.limited.clear();
        }
    }

    /// These are the accounts from now on.
    pub(super) fn set_accounts(&mut self, accounts: Arc<Accounts>) {
        self.accounts = accounts;
    }

    /// Finds out which account has which mail now, and says whether that has changed.
    pub(super) fn assign_routes(&mut self, now: Moment) -> bool {
        if self.accounts.accounts.is_empty() && !self.order.is_routed() {
            return false;
        }
        self.order.serve(self.served_by(now))
    }

    /// Which account has which mail now.
    pub(super) fn served_by(&self, now: Moment) -> ServedBy {
        let counted = self.counted(now);
        self.standing.served_by(&self.accounts, &self.ledger, counted, now.wall)
    }

    /// What is next for an account. One that may be tried again takes what others have for it meanwhile.
    pub(super) fn next(&mut self, account: AccountKey, now: Moment) -> Next<()> {
        let next = self.order.next(account, now.wall, self.fairness.bulk_share);
        let Next::Later(later) = next else { return next };
        if !self.standing.wants_a_probe(account, now.wall) {
            // When another account will have been paused for so long that this one may stand in for it.
            let fails_over = self.standing.fails_over_at(&self.accounts, now.wall);
            let own = (account, self.ledger.of(account));
            let frees = self.standing.frees_at(&self.accounts, own, self.counted(now), now.wall);
            return Next::Later(later.into_iter().chain(fails_over).chain(frees).min());
        }
        let accounts = &self.accounts;
        let lent = self.order.first_lent(|route| accounts.is_own(account, route));
        lent.map_or(next, |place| Next::Due(place, ()))
    }

    /// The ledger of the last run is lost: half of each account's limit counts as spent.
    pub(super) fn spend_half(&mut self, changes: &mut Changes, now: Moment, terms: &ClaimLimits) {
        // Without a limit there is no half of it; one that is set later has it.
        if terms.limit.recipients().is_none() || !std::mem::take(&mut self.assume_half_spent) {
            return;
        }
        let known =
            self.accounts.accounts.iter().map(|(account, known)| (*account, known.limits.limit));
        let limits = known.chain([(terms.account, terms.limit)]).collect::<BTreeMap<_, _>>();
        for (account, limit) in limits {
            if let Some(limit) = limit.recipients() {
                self.spend(changes, (account, now), limit.div_ceil(2), OriginKey::default());
            }
        }
        changes.budget_known = true;
    }

    pub(super) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    pub(super) fn fairness(&self) -> Arc<Fairness> {
        Arc::clone(&self.fairness)
    }

    /// An origin has used up its limit: its mail in this lane waits until there is room.
    pub(super) fn limited(
        &mut self,
        (account, place): (AccountKey, Place),
        record: &MessageRecord,
        limit: Limit,
        now: Moment,
    ) {
        let ledger = self.ledger.of(account);
        let frees_in = ledger.frees_in_of(place.origin.0, self.counted(now), limit);
        // A limit of zero never frees; it is asked again when limits change.
        let until = now.wall.after(frees_in.unwrap_or(WINDOW));
        self.order.block(place, until);
        self.limited.retain(|_, known| known.waited_until.after(WINDOW) > now.wall);
        if let Some(known) = self.limited.get_mut(&place.origin) {
            (known.limit, known.waited_until) = (limit, until);
        } else if self.limited.len() < LIMITED_MAX {
            let words = Origin::of(record).to_string();
            let number = limit.recipients().unwrap_or(u32::MAX);
            warn!(origin = words, limit = number, until = %until, "an origin has used up its limit of a day; its mail waits, and that of others goes on");
            self.limited.insert(place.origin, KnownLimit { words, limit, waited_until: until });
        }
    }

    /// Which origins wait for their limit.
    pub(super) fn limited_origins(&self, now: Moment) -> Limited {
        let waiting = self.order.blocked().filter(|(_, until)| *until > now.wall);
        let named = waiting.filter_map(|(origin, until)| {
            let KnownLimit { words, limit, .. } = self.limited.get(&origin)?;
            Some((origin, LimitedOrigin { words: words.clone(), limit: *limit, until }))
        });
        named.collect()
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
        if let Found::Step(step_ms) = found {
            self.order.moved(step_ms);
            self.standing.moved(step_ms);
        }
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
    pub(super) fn counted(&self, now: Moment) -> Moment {
        Moment { wall: now.wall.before(self.doubt(now, BUDGET_BELIEVES_AFTER)), ..now }
    }

    /// The number of the next ledger event.
    pub(super) fn next_sequence(&self) -> u64 {
        self.ledger.next_sequence().max(self.claimed.next)
    }

    /// What the ledger of an account says at `now` about `limit`.
    pub(super) fn view(&self, account: AccountKey, now: Moment, limit: Limit) -> LedgerView {
        let (counted, ledger) = (self.counted(now), self.ledger.of(account));
        LedgerView {
            spent: ledger.spent(counted),
            room: ledger.room(counted, limit),
            frees_at: ledger.frees_in(counted, limit).map(|wait| now.wall.after(wait)),
        }
    }

    /// How an account stands at `now`, for a forecast.
    pub(super) fn footing(&self, account: AccountKey, now: Moment) -> Footing {
        let live = self.ledger.of(account).live(self.counted(now));
        Footing {
            spent: live
                .map(|(left, event)| {
                    (now.wall.after(left), event.recipients, OriginKey(event.origin))
                })
                .collect(),
            standings: self.order.standings(),
            bulk_share: self.fairness.bulk_share,
        }
    }

    pub(super) fn spend(
        &mut self,
        changes: &mut Changes,
        (account, now): (AccountKey, Moment),
        recipients: u32,
        origin: OriginKey,
    ) {
        let sequence = self.next_sequence();
        let event = Event { at: now, recipients, origin: origin.0, account };
        self.ledger.insert(sequence, event);
        changes.ledger.insert(sequence, Some(event));
    }

    /// Gives a unit back, or keeps it for the whole window from now on: the upstream has counted it at
    /// some time between the claim and now.
    pub(super) fn account_for(
        &mut self,
        changes: &mut Changes,
        (account, reservation): (AccountKey, u64),
        outcome: &Outcome,
        now: Moment,
    ) {
        if !outcome.is_spent() {
            return self.refund(changes, reservation);
        }
        match self.ledger.restamp(reservation, now) {
            Some(event) => drop(changes.ledger.insert(reservation, Some(event))),
            // It was lost with the index under the worker; the upstream has counted it all the same.
            None => self.spend(changes, (account, now), 1, OriginKey::default()),
        }
    }

    pub(super) fn refund(&mut self, changes: &mut Changes, reservation: u64) {
        if let Some(event) = self.ledger.event(reservation) {
            self.order.unblock(OriginKey(event.origin));
        }
        let left = self.ledger.refund(reservation, 1);
        changes.ledger.insert(reservation, left);
    }

    pub(super) fn prune(&mut self, changes: &mut Changes, now: Moment) {
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
        queue::{fixtures::envelope, order::Turn},
        telemetry::tests::Captured,
    };

    #[test]
    fn an_origin_that_comes_to_its_limit_again_and_again_within_a_day_is_told_of_once() {
        let (captured, _guard) = Captured::listening();
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let (mut engine, id) = (Engine::default(), QueueId::from_bytes([1; 16]));
        let record = MessageRecord::new(&envelope(clock.wall()), 1, "");
        for _ in 0..48 {
            engine.order.insert(Turn::of(id, &record).unwrap(), (), clock.wall());
            let Next::Due(place, ()) = engine.order.next(AccountKey::MAIN, clock.wall(), 0) else {
                panic!("its limit has room")
            };
            engine.ledger.insert(
                engine.next_sequence(),
                Event {
                    at: clock.now(),
                    recipients: 1,
                    origin: place.origin.0,
                    account: AccountKey::MAIN,
                },
            );
            engine.limited((AccountKey::MAIN, place), &record, Limit::of(1), clock.now());
            let limited = engine.limited_origins(clock.now());
            assert_eq!(limited[&place.origin].words, "127.0.0.1, from <>");
            clock.advance(WINDOW / 2);
            engine.order.unblock(place.origin);
            assert!(engine.limited_origins(clock.now()).is_empty());
        }
        let log = captured.text();
        assert_eq!(log.matches("has used up its limit of a day").count(), 1, "{log}");
    }
}
