//! The figures of a past as it was, and of the same past as it would have been.
//!
//! Rule: both are counted by the same code, from when recipients left. Whoever left within a minute has not waited. Must not
//! know how they are shown.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    time::Duration,
};

use serde::Serialize;

use super::past::{Fate, Open, Past};
use crate::{
    admin::spending::OTHERS,
    budget::{Limit, WINDOW},
    clock::Timestamp,
    message::envelope::Lane,
    queue::{
        ClaimLimits,
        simulation::{Becomes, Departure, Played, Whose},
    },
};

const DAY: Duration = Duration::from_secs(86_400);
/// A transaction takes its time; more than this is a wait.
const WAITS_FROM: Duration = Duration::from_secs(60);
/// Within that the budget was at its limit all the time: what comes back is spent at once.
const TOGETHER: Duration = Duration::from_secs(300);
/// Messages that are played through, of the queue and of the history each.
pub(super) const MESSAGES_MAX: usize = 200_000;
/// Their recipients; only an upstream without a limit has as many in a month.
pub(super) const RECIPIENTS_MAX: usize = 1_000_000;
/// Origins that are counted apart, and those that are named.
const ORIGINS_MAX: usize = 10_000;
const ORIGINS_NAMED: usize = 20;
/// Spans of a day at the limit that are told.
const SPANS_MAX: usize = 24;

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Compared {
    /// Whose mail it is, where an account is named or there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) account: Option<String>,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    /// The file, or that there is none.
    pub(super) configuration: String,
    /// What was laid over it.
    pub(super) changes: Vec<String>,
    /// Recipients in 24 hours as the daemon has it, and as they would be.
    pub(super) limit_was: Limit,
    pub(super) limit_would: Limit,
    /// Recipients that had come before, and left in this time or not yet.
    pub(super) before: u64,
    /// Recipients that are left out: refused for good, held, or deleted.
    pub(super) left_out: u64,
    /// All of it.
    pub(super) all: Stretch,
    /// By day, each up to this time of the day, the oldest first.
    pub(super) days: Vec<Stretch>,
    /// Whose mail waited, the longest list first of what would have.
    pub(super) origins: Vec<Waiter>,
    /// The same by lane.
    pub(super) lanes: Vec<Waiter>,
    /// Rules that ask for what was not kept.
    pub(super) open: Vec<Open>,
    /// Whether something would be folded at all.
    pub(super) folds: bool,
    /// Whether queue or history are longer than what was played through.
    pub(super) partial: bool,
    /// How long the history is kept, where that is shorter than what was asked for.
    pub(super) history_kept_ms: Option<u64>,
}

/// A stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Stretch {
    pub(super) begins: Timestamp,
    /// Messages that came, and their recipients without those that are left out.
    pub(super) messages: u64,
    pub(super) recipients: u64,
    pub(super) was: Course,
    pub(super) would: Course,
}

/// What became of it. Everything but `relayed` is of what came in the stretch; numbers are recipients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Course {
    /// Relayed in it, whenever they came.
    pub(super) relayed: u64,
    /// Of these, those of summaries of folded mail.
    pub(super) summaries: u64,
    pub(super) folded: u64,
    /// Refused by a rule.
    pub(super) refused: u64,
    /// Held by a rule.
    pub(super) held: u64,
    /// Those that waited for longer than a minute, and how long half of them did at most.
    pub(super) waited: u64,
    pub(super) median_ms: u64,
    pub(super) longest_ms: u64,
    /// Those that still wait.
    pub(super) waiting: u64,
    /// How long the limit was used up in it, and when.
    pub(super) at_limit_ms: u64,
    pub(super) at_limit: Vec<Span>,
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Span {
    pub(super) begins: Timestamp,
    pub(super) ends: Timestamp,
}

/// Whose mail waited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Waiter {
    pub(super) by: String,
    pub(super) was: Waits,
    pub(super) would: Waits,
}

/// Recipients that waited, and the longest time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Waits {
    pub(super) recipients: u64,
    pub(super) longest_ms: u64,
}

/// From when to when, and by what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    pub(super) was: ClaimLimits,
    pub(super) would: ClaimLimits,
}

/// What is to be known of a message when its recipients leave.
#[derive(Clone, Copy, Debug)]
struct Meta {
    day: usize,
    ready: Timestamp,
    origin: usize,
    lane: Lane,
}

/// One of the two.
#[derive(Debug, Default)]
struct Side {
    days: Vec<Course>,
    waits: Vec<Vec<Duration>>,
    left: Vec<(Timestamp, u32)>,
    origins: HashMap<usize, Waits>,
    lanes: HashMap<Lane, Waits>,
}

impl Side {
    fn new(days: usize) -> Self {
        Self {
            days: vec![Course::default(); days],
            waits: vec![Vec::new(); days],
            ..Self::default()
        }
    }

    fn left(&mut self, frame: &Frame, meta: &Meta, at: Timestamp, recipients: u32) {
        self.relayed(frame, at, recipients);
        self.waited(meta, at.since(meta.ready), recipients);
    }

    fn relayed(&mut self, frame: &Frame, at: Timestamp, recipients: u32) {
        self.left.push((at, recipients));
        self.days[frame.day(at)].relayed += u64::from(recipients);
    }

    fn waits_yet(&mut self, frame: &Frame, meta: &Meta, recipients: u32) {
        // Until a time that a person has set nothing waits.
        if frame.until >= meta.ready {
            self.days[meta.day].waiting += u64::from(recipients);
            self.waited(meta, frame.until.since(meta.ready), recipients);
        }
    }

    fn waited(&mut self, meta: &Meta, time: Duration, recipients: u32) {
        if time <= WAITS_FROM || recipients == 0 {
            return;
        }
        self.waits[meta.day].extend((0..recipients).map(|_| time));
        let waits = [
            self.origins.entry(meta.origin).or_default(),
            self.lanes.entry(meta.lane).or_default(),
        ];
        for waits in waits {
            waits.recipients += u64::from(recipients);
            waits.longest_ms = waits.longest_ms.max(millis(time));
        }
    }

    /// The days, and all of it.
    fn courses(
        mut self,
        frame: &Frame,
        spent: &[(Timestamp, u32)],
        limit: Limit,
    ) -> (Vec<Course>, Course) {
        let spans = at_limit(spent, self.left, limit, frame.until);
        let mut all = Course::default();
        for ((number, day), waits) in (0..).zip(&mut self.days).zip(&mut self.waits) {
            day.has_waited(waits);
            let begins = frame.since.after(DAY * number);
            let ends = begins.after(DAY).min(frame.until);
            let within = spans
                .iter()
                .map(|span| Span { begins: span.begins.max(begins), ends: span.ends.min(ends) });
            day.was_at_limit(within.filter(|span| span.begins < span.ends));
            all.add(day);
        }
        all.has_waited(&mut self.waits.concat());
        all.was_at_limit(spans.into_iter());
        (self.days, all)
    }
}

impl Course {
    fn add(&mut self, day: &Self) {
        self.relayed += day.relayed;
        self.summaries += day.summaries;
        self.folded += day.folded;
        self.refused += day.refused;
        self.held += day.held;
        self.waiting += day.waiting;
    }

    fn has_waited(&mut self, waits: &mut [Duration]) {
        waits.sort_unstable();
        self.waited = waits.len() as u64;
        self.median_ms = waits.get(waits.len() / 2).copied().map_or(0, millis);
        self.longest_ms = waits.last().copied().map_or(0, millis);
    }

    fn was_at_limit(&mut self, spans: impl Iterator<Item = Span>) {
        for span in spans {
            self.at_limit_ms += millis(span.ends.since(span.begins));
            if self.at_limit.len() < SPANS_MAX {
                self.at_limit.push(span);
            }
        }
    }
}

impl Frame {
    fn days(&self) -> usize {
        let days = self.until.since(self.since).as_millis().div_ceil(DAY.as_millis());
        usize::try_from(days).unwrap_or(1).max(1)
    }

    /// The day of a time; what was before is of the first one.
    fn day(&self, at: Timestamp) -> usize {
        let day = at.since(self.since).as_secs() / DAY.as_secs();
        usize::try_from(day).unwrap_or(usize::MAX).min(self.days() - 1)
    }
}

/// Counts both.
#[derive(Debug)]
pub(super) struct Counter {
    frame: Frame,
    folds: bool,
    days: Vec<Stretch>,
    before: u64,
    left_out: u64,
    names: Vec<String>,
    numbers: HashMap<String, usize>,
    spent: Vec<(Timestamp, u32)>,
    was: Side,
    would: Side,
    /// What came to the simulation: the number that has not left, and whether it is folded.
    came: Vec<(Meta, u32, Becomes)>,
}

impl Counter {
    pub(super) fn new(frame: Frame, folds: bool) -> Self {
        let days = frame.days();
        let stretch =
            |number| Stretch { begins: frame.since.after(DAY * number), ..Stretch::default() };
        Self {
            frame,
            folds,
            days: (0..).take(days).map(stretch).collect(),
            before: 0,
            left_out: 0,
            names: Vec::new(),
            numbers: HashMap::new(),
            spent: Vec::new(),
            was: Side::new(days),
            would: Side::new(days),
            came: Vec::new(),
        }
    }

    /// A message as it was.
    pub(super) fn was(&mut self, past: &Past) {
        let (since, is_before) = (self.frame.since, past.accepted_at < self.frame.since);
        let meta = self.meta(past, past.lane);
        let mut recipients = 0;
        for (_, fate) in &past.recipients {
            match *fate {
                Fate::Relayed(at) if at < since => {
                    self.spent.push((at, 1));
                    continue;
                }
                Fate::Relayed(at) if past.is_summary() => {
                    self.was.relayed(&self.frame, at, 1);
                    self.was.days[self.frame.day(at)].summaries += 1;
                    continue;
                }
                Fate::Relayed(at) => self.was.left(&self.frame, &meta, at, 1),
                Fate::Waits => self.was.waits_yet(&self.frame, &meta, 1),
                Fate::Folded if is_before => continue,
                Fate::Folded => self.was.days[meta.day].folded += 1,
                Fate::Gone => {
                    self.left_out += u64::from(!is_before);
                    continue;
                }
            }
            recipients += 1;
        }
        if is_before || past.is_summary() {
            self.before += if is_before { recipients } else { 0 };
        } else if recipients > 0 {
            self.days[meta.day].messages += 1;
            self.days[meta.day].recipients += recipients;
        }
    }

    /// A message, which a rule refuses.
    pub(super) fn refused(&mut self, past: &Past, recipients: u32) {
        self.would.days[self.frame.day(past.accepted_at)].refused += u64::from(recipients);
    }

    /// A message that comes to the simulation, in the order of its numbers.
    pub(super) fn came(&mut self, past: &Past, lane: Lane, recipients: u32, becomes: Becomes) {
        let meta = self.meta(past, lane);
        if becomes == Becomes::IsHeld {
            self.would.days[meta.day].held += u64::from(recipients);
        }
        self.came.push((meta, recipients, becomes));
    }

    fn meta(&mut self, past: &Past, lane: Lane) -> Meta {
        let words = past.origin();
        let known = self.numbers.get(&words).copied();
        let origin = known.unwrap_or_else(|| {
            if self.names.len() <= ORIGINS_MAX {
                self.names.push(words.clone());
                self.numbers.insert(words, self.names.len() - 1);
            } else if let Some(last) = self.names.last_mut() {
                OTHERS.clone_into(last);
            }
            self.names.len() - 1
        });
        Meta { day: self.frame.day(past.accepted_at), ready: past.ready(), origin, lane }
    }

    /// Both, once it is played.
    pub(super) fn compared(mut self, played: &Played, open: Vec<Open>, partial: bool) -> Compared {
        self.would_be(played);
        let Self { frame, was, would, spent, names, .. } = self;
        let named = names.into_iter().enumerate();
        let origins = waiters(named, &was.origins, &would.origins);
        let lanes = Lane::ALL.into_iter().map(|lane| (lane, lane.name().to_owned()));
        let lanes = waiters(lanes, &was.lanes, &would.lanes);
        let limits = (frame.was.limit_of(Lane::Normal), frame.would.limit_of(Lane::Normal));
        let (days_were, was) = was.courses(&frame, &spent, limits.0);
        let (days_would, would) = would.courses(&frame, &spent, limits.1);
        let mut days = self.days;
        for ((day, was), would) in days.iter_mut().zip(days_were).zip(days_would) {
            (day.was, day.would) = (was, would);
        }
        let all = Stretch {
            begins: frame.since,
            messages: days.iter().map(|day| day.messages).sum(),
            recipients: days.iter().map(|day| day.recipients).sum(),
            was,
            would,
        };
        Compared {
            account: None,
            since: frame.since,
            until: frame.until,
            configuration: String::new(),
            changes: Vec::new(),
            limit_was: frame.was.limit,
            limit_would: frame.would.limit,
            before: self.before,
            left_out: self.left_out,
            all,
            days,
            origins,
            lanes,
            open,
            folds: self.folds,
            partial,
            history_kept_ms: None,
        }
    }

    fn would_be(&mut self, played: &Played) {
        for number in &played.alone {
            self.came[*number].2 = Becomes::Waits;
        }
        for Departure { whose, at, recipients } in &played.departures {
            match *whose {
                Whose::Message(number) => {
                    let (meta, rest, _) = &mut self.came[number];
                    *rest = rest.saturating_sub(*recipients);
                    self.would.left(&self.frame, meta, *at, *recipients);
                }
                Whose::Summary => {
                    self.would.relayed(&self.frame, *at, *recipients);
                    self.would.days[self.frame.day(*at)].summaries += u64::from(*recipients);
                }
            }
        }
        for (meta, rest, becomes) in &self.came {
            match becomes {
                Becomes::Waits => self.would.waits_yet(&self.frame, meta, *rest),
                Becomes::Folds => self.would.days[meta.day].folded += u64::from(*rest),
                Becomes::IsHeld => {}
            }
        }
    }
}

/// When the limit was used up: from the departure that did it until something came back, and on as long as that was spent at
/// once.
fn at_limit(
    spent: &[(Timestamp, u32)],
    left: Vec<(Timestamp, u32)>,
    limit: Limit,
    until: Timestamp,
) -> Vec<Span> {
    let mut all = left;
    let before = spent.len();
    all.splice(0..0, spent.iter().copied());
    all[before..].sort_unstable();
    all[..before].sort_unstable();
    let (mut window, mut total) = (VecDeque::<(Timestamp, u32)>::new(), 0_u64);
    let mut spans: Vec<Span> = Vec::new();
    for (number, (at, recipients)) in all.into_iter().enumerate() {
        while let Some((_, gone)) = window.front().filter(|(then, _)| then.after(WINDOW) <= at) {
            total -= u64::from(*gone);
            window.pop_front();
        }
        window.push_back((at, recipients));
        total += u64::from(recipients);
        if number < before || limit.room_after(total) > 0 {
            continue;
        }
        let returns = window.iter().map(|(then, recipients)| (then.after(WINDOW), *recipients));
        let ends = limit.frees(total, returns).unwrap_or(until).min(until);
        match spans.last_mut().filter(|last| last.ends.after(TOGETHER) >= at) {
            Some(last) => last.ends = last.ends.max(ends),
            None => spans.push(Span { begins: at, ends }),
        }
    }
    spans.retain(|span| span.begins < span.ends);
    spans
}

/// Those of whom something waited, the most first of what would have.
fn waiters<K: Copy + Eq + std::hash::Hash>(
    names: impl Iterator<Item = (K, String)>,
    were: &HashMap<K, Waits>,
    would: &HashMap<K, Waits>,
) -> Vec<Waiter> {
    let of = |waits: &HashMap<K, Waits>, key: K| waits.get(&key).copied().unwrap_or_default();
    let all = names.map(|(key, by)| Waiter { by, was: of(were, key), would: of(would, key) });
    let mut all: Vec<Waiter> =
        all.filter(|one| one.was.recipients + one.would.recipients > 0).collect();
    all.sort_by_key(|one| Reverse((one.would, one.was)));
    all.truncate(ORIGINS_NAMED);
    all
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_800_000_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    /// Spans in hours from the start, of so many recipients that left so many hours after it.
    fn spans(
        before: &[(i64, u32)],
        left: &[(u32, u32)],
        limit: impl Into<Limit>,
    ) -> Vec<(u64, u64)> {
        let before: Vec<_> = before
            .iter()
            .map(|(hours, number)| (Timestamp(START.0 + hours * 3_600_000), *number))
            .collect();
        let left = left.iter().map(|(hours, number)| (START.after(HOUR * *hours), *number));
        let found = at_limit(&before, left.collect(), limit.into(), START.after(HOUR * 72));
        let hours = |at: Timestamp| at.since(START).as_secs() / 3_600;
        found.iter().map(|span| (hours(span.begins), hours(span.ends))).collect()
    }

    #[test]
    fn the_limit_is_used_up_from_the_last_departure_until_the_first_one_comes_back() {
        assert_eq!(spans(&[], &[(1, 4), (5, 6)], 10), [(5, 25)]);
        assert_eq!(spans(&[], &[(1, 4), (5, 5)], 10), []);
        assert_eq!(spans(&[(-20, 4)], &[(2, 6)], 10), [(2, 4)], "what was spent before counts");
        assert_eq!(spans(&[(-30, 9)], &[(2, 9)], 10), [], "for 24 hours");
        assert_eq!(spans(&[], &[(1, 10), (60, 10)], 10), [(1, 25), (60, 72)], "up to the end");
        assert_eq!(spans(&[], &[(1, 10)], Limit::NONE), []);
    }

    #[test]
    fn what_comes_back_and_is_spent_at_once_is_one_span() {
        assert_eq!(spans(&[], &[(1, 2), (3, 8), (25, 2), (27, 8)], 10), [(3, 49)]);
        assert_eq!(spans(&[], &[(1, 2), (3, 8), (26, 2)], 10), [(3, 25), (26, 27)]);
    }
}
