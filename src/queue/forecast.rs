//! The time at which each message of the queue leaves, as things stand: the day that is to come, played through.
//!
//! Rule: pure. It goes by the rules of the claim: the first lane that has something due, by due time and order of
//! acceptance, as many recipients as the rolling day, the lane's reserve and one transaction have room for, at the pace.
//! What nobody can know is left out: new mail, refusals, and how long a transaction takes. Must not know who asks.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    time::Duration,
};

use super::{claim::ClaimLimits, id::QueueId, record::MessageRecord};
use crate::{
    budget::{Limit, WINDOW},
    clock::Timestamp,
    message::envelope::Lane,
};

const MINUTE_MS: u64 = 60_000;
/// Departures up to then are kept, for the hours of a day and as long as a forecast serves.
const HORIZON: Duration = Duration::from_secs(26 * 3_600);

/// A message that waits: recipients by the time at which they are due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    id: QueueId,
    lane: Lane,
    due: Timestamp,
    recipients: u32,
    /// Those that are due later; most messages have none.
    later: BTreeMap<Timestamp, u32>,
}

impl Waiting {
    /// What of a message waits; `None` when nothing does.
    pub(crate) fn of(id: QueueId, record: &MessageRecord) -> Option<Self> {
        let mut later = BTreeMap::new();
        for due in record.recipients.iter().filter_map(|one| record.due(&one.state)) {
            *later.entry(due.at).or_insert(0) += 1;
        }
        let (due, recipients) = later.pop_first()?;
        Some(Self { id, lane: record.lane, due, recipients, later })
    }

    fn all_recipients(&self) -> u64 {
        u64::from(self.recipients) + self.later.values().map(|more| u64::from(*more)).sum::<u64>()
    }

    /// Whoever of it is due by `at` goes along with the first ones.
    fn gather(&mut self, at: Timestamp) {
        while let Some(more) = self.later.first_entry().filter(|more| *more.key() <= at) {
            self.recipients += more.remove();
        }
    }

    /// Goes on to those that are due next, once the first ones have left; false when nobody is left.
    fn go_on(&mut self) -> bool {
        if self.recipients == 0
            && let Some((due, recipients)) = self.later.pop_first()
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
    /// What is spent of the day, by when it comes back.
    pub(crate) spent: Vec<(Timestamp, u32)>,
    /// What may be spent.
    pub(crate) limits: ClaimLimits,
    /// Recipients a minute; 0 does not pace.
    pub(crate) pace_per_minute: u32,
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

/// One hour of the forecast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hour {
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
        let mut spent = terms.spent.clone();
        spent.sort_unstable();
        let forecast = Self {
            waiting: waiting.iter().flatten().map(Waiting::all_recipients).sum(),
            spent: spent.clone(),
            ..Self::default()
        };
        let mut play = Play::new(waiting, terms, spent, forecast);
        while play.step() {}
        let Play { messages, expected, mut forecast, .. } = play;
        let pages = messages.into_iter().zip(expected).map(|(messages, expected)| {
            let ids = messages.into_iter().map(|message| message.id);
            let mut page: Vec<_> =
                ids.zip(expected).filter_map(|(id, expected)| Some((id, expected?))).collect();
            page.sort_unstable_by_key(|(id, _)| *id);
            page
        });
        forecast.expected = pages.filter(|page| !page.is_empty()).collect();
        forecast
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
            hours.push(Hour { leaving, freed, spent, waiting });
            begins = ends;
        }
        hours
    }
}

/// Where a message is: its page, and its place there.
type Place = (u32, u32);

/// The state while it is played.
struct Play {
    terms: Terms,
    at: Timestamp,
    /// What is spent, by when it comes back, the first first.
    spent: VecDeque<(Timestamp, u32)>,
    total: u64,
    /// The pages, each in the order of departure.
    messages: Vec<Vec<Waiting>>,
    expected: Vec<Vec<Option<Expected>>>,
    /// By lane the first message of each page that has not begun, and those that have begun and are not over: due time,
    /// id, place.
    queues: [BinaryHeap<Reverse<(Timestamp, QueueId, Place)>>; 4],
    /// When the pace is used up, in milliseconds: GCRA's theoretical arrival time.
    pace_until_ms: u64,
    started: u32,
    forecast: Forecast,
}

impl Play {
    fn new(
        mut messages: Vec<Vec<Waiting>>,
        terms: Terms,
        spent: Vec<(Timestamp, u32)>,
        forecast: Forecast,
    ) -> Self {
        for page in &mut messages {
            page.sort_unstable_by_key(|one| (lane_number(one.lane), one.due, one.id));
        }
        let at = terms.starts.max(terms.now);
        let total = spent.iter().map(|(_, number)| u64::from(*number)).sum();
        let mut play = Self {
            at,
            total,
            pace_until_ms: millis(at) + if terms.paced { MINUTE_MS } else { 0 },
            expected: messages.iter().map(|page| vec![None; page.len()]).collect(),
            spent: spent.into(),
            terms,
            messages,
            queues: Default::default(),
            started: 0,
            forecast,
        };
        for (number, page) in (0..).zip(&play.messages) {
            let mut lane = None;
            for (place, message) in (0..).zip(page) {
                if lane.replace(message.lane) != Some(message.lane) {
                    let first = Reverse((message.due, message.id, (number, place)));
                    play.queues[lane_number(message.lane)].push(first);
                }
            }
        }
        play
    }

    /// One claim, or one wait; false at the end.
    fn step(&mut self) -> bool {
        let lane = self
            .queues
            .iter()
            .position(|queue| queue.peek().is_some_and(|Reverse(first)| first.0 <= self.at));
        let Some(lane) = lane else {
            let next = self
                .queues
                .iter()
                .filter_map(|queue| queue.peek())
                .map(|Reverse(first)| first.0)
                .min();
            self.at = next.map_or(self.at, |next| next.max(self.at));
            return next.is_some();
        };
        let limit = self.terms.limits.limit_of(Lane::ALL[lane]);
        let room = self.room(limit);
        if room == 0 {
            let Some(frees) = self.frees(limit) else {
                // Nothing of this lane, nor of those behind it, ever leaves.
                self.queues[lane..].iter_mut().for_each(BinaryHeap::clear);
                return true;
            };
            // What becomes due in a lane before it may find room of a reserve.
            let earlier = self.queues[..lane]
                .iter()
                .filter_map(|queue| queue.peek())
                .map(|Reverse(first)| first.0);
            self.at = earlier.chain([frees]).min().unwrap_or(frees).max(self.at);
            return true;
        }
        self.claim(lane, room);
        true
    }

    fn claim(&mut self, lane: usize, room: u32) {
        let Some(Reverse((_, id, place))) = self.queues[lane].pop() else { return };
        let (page, number) = (&mut self.messages[place.0 as usize], place.1 as usize);
        let expected = &mut self.expected[place.0 as usize][number];
        let at = self.at;
        if expected.is_none() {
            *expected = Some(Expected { first: at, last: at, before: self.started });
            self.started += 1;
            if let Some(behind) = page.get(number + 1).filter(|one| one.lane == page[number].lane) {
                self.queues[lane].push(Reverse((behind.due, behind.id, (place.0, place.1 + 1))));
            }
        }
        expected.iter_mut().for_each(|expected| expected.last = at);
        let message = &mut page[number];
        message.gather(at);
        let leaving = message.recipients.min(room).min(self.terms.limits.recipients_max.max(1));
        message.recipients -= leaving;
        if message.go_on() {
            self.queues[lane].push(Reverse((message.due, id, place)));
        }
        self.depart(leaving);
    }

    fn depart(&mut self, number: u32) {
        let back = self.at.after(WINDOW);
        self.forecast.empty_at = Some(self.at);
        if self.at < self.terms.now.after(HORIZON) {
            match self.forecast.departures.last_mut().filter(|last| last.0 == self.at) {
                Some(last) => last.1 = last.1.saturating_add(number),
                None => self.forecast.departures.push((self.at, number)),
            }
        }
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

    /// When there is room again.
    fn frees(&self, limit: Limit) -> Option<Timestamp> {
        let mut total = self.total;
        for (back, number) in &self.spent {
            total -= u64::from(*number);
            if limit.room_after(total) > 0 {
                return Some(*back);
            }
        }
        None
    }
}

fn lane_number(lane: Lane) -> usize {
    Lane::ALL.iter().position(|known| *known == lane).unwrap_or(Lane::ALL.len() - 1)
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.0).unwrap_or(0)
}

#[cfg(test)]
mod tests;
