//! The time at which each message of the queue leaves, as things stand: the day that is to come, played through.
//!
//! Rule: pure. It goes by the rules of the claim: the order of `order.rs`, as many recipients as the rolling day, the lane's
//! reserve, the origin's limit and one transaction have room for, at the pace.
//! What nobody can know is left out: new mail, refusals, and how long a transaction takes. Must not know who asks.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    claim::ClaimLimits,
    digest::Digest,
    id::QueueId,
    options::Fairness,
    order::{Next, Order, Place, Standings, Turn},
    origin::OriginKey,
    schedule::Due,
    way::Way,
};
use crate::{
    budget::{Limit, WINDOW},
    clock::Timestamp,
    message::envelope::Lane,
};

const MINUTE_MS: u64 = 60_000;
/// Departures that are noted together.
const NOTED: usize = 1_024;
/// Departures up to then are kept, for the hours of a day and as long as a forecast serves.
const HORIZON: Duration = Duration::from_secs(26 * 3_600);

/// A message that waits: recipients by the time at which they are due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    id: QueueId,
    origin: OriginKey,
    lane: Lane,
    is_scheduled: bool,
    /// Its place is that of its due time, and not that of its acceptance.
    by_due: bool,
    due: Timestamp,
    /// Recipients in any 24 hours of its origin.
    limit: Limit,
    recipients: u32,
    /// What most messages have none of.
    rare: Option<Box<Rare>>,
}

/// What few messages have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rare {
    /// Recipients that are due later.
    later: BTreeMap<Timestamp, u32>,
    /// A way that is not the one of mail without a route.
    way: Way,
}

impl Waiting {
    /// What of a message waits; `None` when nothing does.
    pub(crate) fn of(digest: &Digest, fairness: &Fairness) -> Option<Self> {
        let mut dues = digest.dues();
        let (due, recipients) = dues.next()?;
        let later = dues.map(|(due, recipients)| (due.at, recipients)).collect();
        let rare = Rare { later, way: digest.rare().way };
        Some(Self {
            id: digest.id,
            origin: digest.origin,
            lane: digest.lane,
            is_scheduled: due.is_scheduled,
            by_due: !digest.keeps_place,
            due: due.at,
            limit: fairness.limit_of(digest.rare().rule.as_deref()),
            recipients,
            rare: (rare != Rare::default()).then(|| Box::new(rare)),
        })
    }

    fn turn(&self) -> Turn {
        let Self { id, origin, lane, is_scheduled, by_due, due, .. } = *self;
        let place = if by_due { due } else { id.time() };
        let recipients = u32::try_from(self.all_recipients()).unwrap_or(u32::MAX);
        Turn {
            lane,
            origin,
            way: self.way(),
            id,
            due: Due { at: due, is_scheduled },
            place,
            recipients,
        }
    }

    /// Where it is, and what of it decides.
    fn seat(&self, position: Position) -> Seat {
        let is_plain = self.rare.is_none() && self.limit == Limit::NONE;
        Seat { position, plain: if is_plain { self.recipients } else { 0 } }
    }

    /// By which way it leaves.
    fn way(&self) -> Way {
        self.rare.as_ref().map(|rare| rare.way).unwrap_or_default()
    }

    fn all_recipients(&self) -> u64 {
        let later = self.rare.iter().flat_map(|rare| rare.later.values());
        u64::from(self.recipients) + later.map(|more| u64::from(*more)).sum::<u64>()
    }

    /// Whoever of it is due by `at` goes along with the first ones.
    fn gather(&mut self, at: Timestamp) {
        let Some(rare) = &mut self.rare else { return };
        while let Some(more) = rare.later.first_entry().filter(|more| *more.key() <= at) {
            self.recipients += more.remove();
        }
    }

    /// Goes on to those that are due next, once the first ones have left; false when nobody is left.
    fn go_on(&mut self) -> bool {
        if self.recipients == 0
            && let Some((due, recipients)) =
                self.rare.as_mut().and_then(|rare| rare.later.pop_first())
        {
            (self.due, self.recipients) = (due, recipients);
        }
        self.recipients > 0
    }
}

/// What decides when mail leaves, at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The moment.
    pub(crate) now: Timestamp,
    /// Nothing leaves before it: the end of a pause, or of another wait that holds everything.
    pub(crate) starts: Timestamp,
    /// Whether that is a wait for the pace, which is spent then.
    pub(crate) paced: bool,
    /// What the queue knows of it.
    pub(crate) footing: Footing,
    /// What may be spent.
    pub(crate) limits: ClaimLimits,
    /// Recipients a minute; 0 does not pace.
    pub(crate) pace_per_minute: u32,
}

/// How the queue stands, besides what waits in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Footing {
    /// What is spent of the day and for whom, by when it comes back.
    pub(super) spent: Vec<(Timestamp, u32, OriginKey)>,
    /// How origins stand in the order of departure.
    pub(super) standings: Standings,
    /// Of a hundred recipients those of bulk mail, while normal mail waits as well.
    pub(super) bulk_share: u32,
}

/// When one message leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Its first recipients.
    pub(crate) first: Timestamp,
    /// Its last ones.
    pub(crate) last: Timestamp,
    /// Messages that leave before its first recipients do.
    pub(crate) before: u32,
}

/// One hour of the forecast. Its fields are those of the admin API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hour {
    /// Its beginning.
    pub(crate) begins: Timestamp,
    /// Recipients that leave in it.
    pub(crate) leaving: u32,
    /// Recipients of which the day forgets in it that they were spent.
    pub(crate) freed: u32,
    /// Recipients that are spent at its end.
    pub(crate) spent: u32,
    /// Recipients that still wait at its end.
    pub(crate) waiting: u64,
}

/// The expected departures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forecast {
    /// By id, page by page.
    expected: Vec<Vec<(QueueId, Expected)>>,
    /// When how many recipients leave, up to the horizon.
    departures: Vec<(Timestamp, u32)>,
    /// When the last one leaves.
    empty_at: Option<Timestamp>,
    /// Recipients that wait now.
    waiting: u64,
    /// What was spent at the beginning, by when it comes back.
    spent: Vec<(Timestamp, u32)>,
}

impl Forecast {
    /// Plays it through for these messages: pages in the order of their ids, none of them large, so that a long queue
    /// takes no block of memory that its allocator would keep.
    #[must_use]
    pub(crate) fn new(waiting: Vec<Vec<Waiting>>, terms: Terms) -> Self {
        let mut spent: Vec<_> =
            terms.footing.spent.iter().map(|(back, number, _)| (*back, *number)).collect();
        spent.sort_unstable();
        let mut forecast = Self {
            waiting: waiting.iter().flatten().map(Waiting::all_recipients).sum(),
            spent,
            ..Self::default()
        };
        let (horizon, mut started) = (terms.now.after(HORIZON), 0);
        let mut expected: Vec<Vec<Option<Expected>>> =
            waiting.iter().map(|page| vec![None; page.len()]).collect();
        let mut play = Play::new(waiting, terms);
        let mut left = Vec::with_capacity(NOTED);
        let mut is_over = false;
        while !is_over {
            match play.step() {
                Step::Left(one) => {
                    forecast.depart(one.at, one.recipients, horizon);
                    left.push((one.position, one.at));
                }
                Step::Waited => {}
                Step::Over => is_over = true,
            }
            if !is_over && left.len() < NOTED {
                continue;
            }
            // Many at a time: each is somewhere else in memory, and a processor fetches several of them at once.
            for ((page, number), at) in left.drain(..) {
                let expected = &mut expected[page as usize][number as usize];
                match expected {
                    Some(known) => known.last = at,
                    None => {
                        *expected = Some(Expected { first: at, last: at, before: started });
                        started += 1;
                    }
                }
            }
        }
        let pages = play.messages.into_iter().zip(expected).map(|(messages, expected)| {
            let ids = messages.into_iter().map(|message| message.id);
            ids.zip(expected).filter_map(|(id, expected)| Some((id, expected?))).collect::<Vec<_>>()
        });
        forecast.expected = pages.filter(|page| !page.is_empty()).collect();
        forecast
    }

    fn depart(&mut self, at: Timestamp, number: u32, horizon: Timestamp) {
        self.empty_at = Some(at);
        if at >= horizon {
            return;
        }
        match self.departures.last_mut().filter(|last| last.0 == at) {
            Some(last) => last.1 = last.1.saturating_add(number),
            None => self.departures.push((at, number)),
        }
    }

    /// When a message leaves; `None` when it does not wait, or never will.
    #[must_use]
    pub(crate) fn of(&self, id: QueueId) -> Option<Expected> {
        let behind =
            self.expected.partition_point(|page| page.first().is_some_and(|one| one.0 <= id));
        let page = self.expected.get(behind.checked_sub(1)?)?;
        let place = page.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(page[place].1)
    }

    /// How many messages it expects to leave.
    #[must_use]
    pub(crate) fn messages(&self) -> usize {
        self.expected.iter().map(Vec::len).sum()
    }

    /// Recipients that wait.
    #[must_use]
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// When the last recipient leaves that ever does.
    #[must_use]
    pub(crate) fn empty_at(&self) -> Option<Timestamp> {
        self.empty_at
    }

    /// The hours from `from` on.
    #[must_use]
    pub(crate) fn hours(&self, from: Timestamp, number: usize) -> Vec<Hour> {
        let hour = Duration::from_secs(3_600);
        let returns = self.departures.iter().map(|(at, number)| (at.after(WINDOW), *number));
        let returns: Vec<(Timestamp, u32)> = self.spent.iter().copied().chain(returns).collect();
        let sum = |events: &[(Timestamp, u32)], begins: Timestamp, ends: Timestamp| -> u32 {
            let within = events.iter().filter(|(at, _)| *at >= begins && *at < ends);
            within.fold(0, |sum, (_, number)| sum.saturating_add(*number))
        };
        let (mut begins, mut waiting) = (from, self.waiting);
        let mut spent = self
            .spent
            .iter()
            .filter(|(back, _)| *back > from)
            .fold(0_u32, |sum, (_, number)| sum.saturating_add(*number));
        let mut hours = Vec::with_capacity(number);
        for _ in 0..number {
            let ends = begins.after(hour);
            let (leaving, freed) =
                (sum(&self.departures, begins, ends), sum(&returns, begins, ends));
            spent = spent.saturating_add(leaving).saturating_sub(freed);
            waiting = waiting.saturating_sub(leaving.into());
            hours.push(Hour { begins, leaving, freed, spent, waiting });
            begins = ends;
        }
        hours
    }
}

/// Where a message is: its page, and its place there.
type Position = (u32, u32);

/// What the order keeps with a message.
#[derive(Clone, Copy, Debug)]
struct Seat {
    position: Position,
    /// Its recipients, where nothing else of it counts; else 0, and the message itself is asked.
    plain: u32,
}

/// One step of a play.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Recipients of a message leave.
    Left(Left),
    /// Nothing does; the next step is at another time, or about another origin.
    Waited,
    /// Nothing will any more.
    Over,
}

/// Recipients of one message that leave together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) position: Position,
    pub(super) at: Timestamp,
    pub(super) recipients: u32,
}

/// The state while it is played.
pub(super) struct Play {
    terms: Terms,
    at: Timestamp,
    /// What is spent, by when it comes back, the first first.
    spent: VecDeque<(Timestamp, u32)>,
    total: u64,
    /// The same of origins with a limit.
    by_origin: HashMap<OriginKey, VecDeque<(Timestamp, u32)>>,
    messages: Vec<Vec<Waiting>>,
    /// Those that are still to come, the first first.
    coming: VecDeque<Position>,
    order: Order<Seat>,
    /// When the pace is used up, in milliseconds: GCRA's theoretical arrival time.
    pace_until_ms: u64,
}

impl Play {
    /// Of messages that wait all at once.
    fn new(messages: Vec<Vec<Waiting>>, terms: Terms) -> Self {
        let (now, mut play) = (terms.now, Self::without_mail(terms, &messages));
        for (number, page) in (0..).zip(&messages) {
            for (place, message) in (0..).zip(page) {
                play.order.insert(message.turn(), message.seat((number, place)), now);
            }
        }
        Self { messages, ..play }
    }

    /// Of messages that come one after the other, when they are due.
    pub(super) fn of_coming(messages: Vec<Vec<Waiting>>, terms: Terms) -> Self {
        let pages = (0..).zip(&messages);
        let positions = pages.flat_map(|(number, page)| {
            (0..).zip(page).map(move |(place, message)| (message.due, (number, place)))
        });
        let mut coming: Vec<(Timestamp, Position)> = positions.collect();
        coming.sort_by_key(|(due, _)| *due);
        let coming = coming.into_iter().map(|(_, position)| position).collect();
        let play = Self::without_mail(terms, &messages);
        Self { coming, messages, ..play }
    }

    /// An empty one that knows whose limit counts of these messages.
    fn without_mail(mut terms: Terms, messages: &[Vec<Waiting>]) -> Self {
        let at = terms.starts.max(terms.now);
        let order = Order::standing_as(std::mem::take(&mut terms.footing.standings));
        let mut spent = std::mem::take(&mut terms.footing.spent);
        spent.sort_unstable();
        let limited = messages.iter().flatten().filter(|one| one.limit != Limit::NONE);
        let mut by_origin: HashMap<_, VecDeque<_>> =
            limited.map(|one| (one.origin, VecDeque::new())).collect();
        for (back, number, origin) in &spent {
            by_origin.entry(*origin).and_modify(|own| own.push_back((*back, *number)));
        }
        Self {
            at,
            total: spent.iter().map(|(_, number, _)| u64::from(*number)).sum(),
            spent: spent.into_iter().map(|(back, number, _)| (back, number)).collect(),
            by_origin,
            pace_until_ms: millis(at) + if terms.paced { MINUTE_MS } else { 0 },
            terms,
            messages: Vec::new(),
            coming: VecDeque::new(),
            order,
        }
    }

    fn message(&self, (page, number): Position) -> &Waiting {
        &self.messages[page as usize][number as usize]
    }

    /// Who has come by now waits with the others. Returns when the next one comes.
    fn arrive(&mut self) -> Option<Timestamp> {
        while let Some(position) = self.coming.front().copied() {
            let message = self.message(position);
            if message.due > self.at {
                return Some(message.due);
            }
            let (turn, seat) = (message.turn(), message.seat(position));
            self.order.insert(turn, seat, self.at);
            self.coming.pop_front();
        }
        None
    }

    /// The time up to which it has been played.
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    /// One claim, or one wait.
    pub(super) fn step(&mut self) -> Step {
        let comes = self.arrive();
        let (place, seat) = match self.order.next(
            self.terms.limits.account,
            self.at,
            self.terms.footing.bulk_share,
        ) {
            Next::Due(place, seat) => (place, seat),
            Next::Later(next) => {
                let Some(next) = next.into_iter().chain(comes).min() else { return Step::Over };
                self.at = next.max(self.at);
                return Step::Waited;
            }
        };
        let limit = self.terms.limits.limit_of(place.lane);
        let room = self.room(limit);
        if room == 0 {
            let Some(frees) = limit.frees(self.total, self.spent.iter().copied()) else {
                // Nothing of this lane, nor of those behind it, ever leaves.
                self.order.clear_from(place.lane);
                return Step::Waited;
            };
            // What becomes due in a lane before it may find room of a reserve.
            let earlier = self.order.earliest_before(place.lane).into_iter().chain(comes);
            self.at = earlier.fold(frees, Timestamp::min).max(self.at);
            return Step::Waited;
        }
        let most = room.min(self.terms.limits.recipients_max.max(1));
        if (1..=most).contains(&seat.plain) {
            return Step::Left(self.claim_whole(place, seat));
        }
        match self.room_of(seat.position) {
            Ok(own) => Step::Left(self.claim(place, seat.position, most.min(own))),
            Err(until) => {
                self.order.block(place, until);
                Step::Waited
            }
        }
    }

    /// What the origin of a message may still spend; or when it may again.
    fn room_of(&mut self, (page, number): Position) -> Result<u32, Timestamp> {
        let Waiting { limit, origin, .. } = self.messages[page as usize][number as usize];
        let Some(own) = self.by_origin.get_mut(&origin).filter(|_| limit != Limit::NONE) else {
            return Ok(u32::MAX);
        };
        while own.front().is_some_and(|(back, _)| *back <= self.at) {
            own.pop_front();
        }
        let total = own.iter().map(|(_, number)| u64::from(*number)).sum();
        match limit.room_after(total) {
            // A limit of zero never frees; the end of the window is beyond what is foretold.
            0 => Err(limit
                .frees(total, own.iter().copied())
                .unwrap_or_else(|| self.at.after(WINDOW))),
            room => Ok(room),
        }
    }

    fn claim(&mut self, place: Place, position: Position, most: u32) -> Left {
        let (page, number) = (position.0 as usize, position.1 as usize);
        let at = self.at;
        let message = &mut self.messages[page][number];
        message.gather(at);
        let leaving = message.recipients.min(most);
        message.recipients -= leaving;
        let more = message.go_on().then(|| (message.turn(), message.seat(position)));
        self.leave(place, leaving);
        if let Some((turn, seat)) = more {
            self.order.insert(turn, seat, at);
        }
        self.depart(leaving);
        Left { position, at, recipients: leaving }
    }

    /// All of a message of which nothing but its recipients counts: it need not be looked at.
    fn claim_whole(&mut self, place: Place, Seat { position, plain }: Seat) -> Left {
        let left = Left { position, at: self.at, recipients: plain };
        self.leave(place, plain);
        self.depart(plain);
        left
    }

    /// So many have left who were first in the order.
    fn leave(&mut self, place: Place, leaving: u32) {
        if let Some(own) = self.by_origin.get_mut(&place.origin) {
            own.push_back((self.at.after(WINDOW), leaving));
        }
        let (account, share) = (self.terms.limits.account, self.terms.footing.bulk_share);
        self.order.served(account, place, leaving, share);
        self.order.withdraw(place);
    }

    fn depart(&mut self, number: u32) {
        let back = self.at.after(WINDOW);
        match self.spent.back_mut().filter(|last| last.0 == back) {
            Some(last) => last.1 = last.1.saturating_add(number),
            None => self.spent.push_back((back, number)),
        }
        self.total += u64::from(number);
        self.pace(number);
    }

    /// Waits until the next transaction may begin.
    fn pace(&mut self, number: u32) {
        let per_minute = u64::from(self.terms.pace_per_minute);
        if per_minute == 0 {
            return;
        }
        let now_ms = millis(self.at);
        self.pace_until_ms =
            self.pace_until_ms.max(now_ms) + u64::from(number) * MINUTE_MS / per_minute;
        // A minute's worth may be ahead.
        let wait_ms = self.pace_until_ms.saturating_sub(MINUTE_MS).saturating_sub(now_ms);
        self.at = self.at.after(Duration::from_millis(wait_ms));
    }

    fn room(&mut self, limit: Limit) -> u32 {
        while let Some((_, number)) = self.spent.front().filter(|(back, _)| *back <= self.at) {
            self.total -= u64::from(*number);
            self.spent.pop_front();
        }
        limit.room_after(self.total)
    }
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.0).unwrap_or(0)
}

#[cfg(test)]
mod tests;
