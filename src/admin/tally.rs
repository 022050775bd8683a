//! The last hours and days: how much came in, left and waited in each, and on whom the last day was spent.
//!
//! Rule: it is counted from the queue and the history, which are on disk, so that a restart forgets nothing of it; of what
//! only waits in the queue its digests say enough. One walk serves everybody for so long that walks cost little of the time; a history that is too long is counted in part. Must not
//! know how it is drawn.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{
    context::{Json, Refusal, Sources},
    listing::look_back_at_history,
    outlook::is_younger,
};
use crate::{
    clock::{Moment, Timestamp},
    queue::{
        Queue, QueueError, QueuedMessage, digest::Digest, id::QueueId, record::MessageRecord,
        state::RecipientState,
    },
};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// Hours that are counted, up to now.
pub(crate) const HOURS: usize = 24;
/// Days that are counted, up to now.
pub(crate) const DAYS: usize = 14;
/// What was accepted so long before the first of these days is looked at as well: it may have left later.
const BEFORE: Duration = DAY.saturating_mul(5);
/// Messages of the history that are looked at.
const MESSAGES_MAX: usize = 100_000;
/// How long one walk serves everybody.
const AGE_MAX_MS: u64 = 60_000;
/// A walk that took long serves for so many times as long.
const REST_AFTER_WALK: u64 = 99;
/// Clients that are counted apart.
const CLIENTS_MAX: usize = 1_000;
/// Clients that are named.
const CLIENTS_NAMED: usize = 8;

/// `GET /v1/tally`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// When it was counted.
    pub(crate) now: Timestamp,
    /// The last hours, the oldest first.
    pub(crate) hours: Vec<Span>,
    /// The last days, the oldest first.
    pub(crate) days: Vec<Span>,
    /// Recipients relayed in the last 24 hours by lane, the most first.
    pub(crate) lanes: Vec<Spent>,
    /// The same by who handed their messages over.
    pub(crate) clients: Vec<Spent>,
    /// The same of all other clients.
    pub(crate) other_clients: u64,
    /// Whether queue or history are longer than what was looked at.
    pub(crate) partial: bool,
}

/// Recipients of an hour or a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    /// Its beginning.
    pub(crate) begins: Timestamp,
    /// Those whose messages were accepted in it.
    pub(crate) accepted: u64,
    /// Those that were relayed in it.
    pub(crate) relayed: u64,
    /// Those that were given up in it.
    pub(crate) dead: u64,
    /// Those that waited at its end.
    pub(crate) waiting: u64,
}

/// Recipients that somebody has used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spent {
    /// The lane, or the client.
    pub(crate) by: String,
    /// How many.
    pub(crate) recipients: u64,
}

/// The last answer, and how long it took; who waits for the lock gets what the one before has found.
type Last = Arc<Mutex<Option<(Moment, u64, Tally)>>>;

pub(super) fn router() -> Router<Sources> {
    let last = Last::default();
    let answer = move |State(sources): State<Sources>| answer(sources, Arc::clone(&last));
    Router::new().route("/v1/tally", get(answer))
}

async fn answer(sources: Sources, last: Last) -> Result<Json<Tally>, Refusal> {
    let asked = sources.clock.now();
    let mut last = last.lock().await;
    if let Some((at, took_ms, tally)) = last.as_ref() {
        let serves_ms = AGE_MAX_MS.max(took_ms.saturating_mul(1 + REST_AFTER_WALK));
        if is_younger(*at, asked, serves_ms) {
            return Ok(Json(tally.clone()));
        }
    }
    let at = sources.clock.now();
    let tally = count(&sources.store, at.wall).await?;
    let took_ms = sources.clock.now().since_boot_ms.saturating_sub(at.since_boot_ms);
    *last = Some((at, took_ms, tally.clone()));
    Ok(Json(tally))
}

async fn count(store: &Queue, now: Timestamp) -> Result<Tally, QueueError> {
    let oldest = now.before(DAY * DAYS as u32).before(BEFORE);
    let look =
        |(counter, ended): &mut (Counter, Vec<QueueId>), digest: Digest| match digest.has_ends() {
            true => ended.push(digest.id),
            false => counter.add_waiting(&digest),
        };
    let found = (Counter::new(now), Vec::new());
    let ((mut counter, ended), is_whole) = store.look_through(found, look).await?;
    store.messages(&ended).await?.iter().for_each(|message| counter.add(message));
    let add = |message: &QueuedMessage| counter.add(message);
    let partial = look_back_at_history(store, oldest, MESSAGES_MAX, add).await?;
    Ok(counter.tally(partial || !is_whole))
}

/// What was counted so far.
#[derive(Debug)]
struct Counter {
    now: Timestamp,
    hours: Spans,
    days: Spans,
    lanes: BTreeMap<&'static str, u64>,
    clients: HashMap<String, u64>,
    other_clients: u64,
}

impl Counter {
    fn new(now: Timestamp) -> Self {
        Self {
            now,
            hours: Spans::new(now, HOUR, HOURS),
            days: Spans::new(now, DAY, DAYS),
            lanes: BTreeMap::new(),
            clients: HashMap::new(),
            other_clients: 0,
        }
    }

    /// A message of which every recipient waits.
    fn add_waiting(&mut self, digest: &Digest) {
        let recipients = u64::from(digest.queued()) + u64::from(digest.reserved);
        for spans in [&mut self.hours, &mut self.days] {
            spans.add_waiting(digest.accepted_at, recipients);
        }
    }

    fn add(&mut self, message: &QueuedMessage) {
        let record = &message.record;
        let mut relayed = 0;
        for recipient in &record.recipients {
            let end = End::of(&recipient.state, record);
            for spans in [&mut self.hours, &mut self.days] {
                spans.add(record.accepted_at, end);
            }
            if let Some(End { at, how: How::Relayed }) = end
                && self.now.since(at) < DAY
            {
                relayed += 1;
            }
        }
        if relayed > 0 {
            *self.lanes.entry(record.lane.name()).or_default() += relayed;
            let client = record.about.client.to_string();
            let has_room = self.clients.len() < CLIENTS_MAX || self.clients.contains_key(&client);
            match has_room {
                true => *self.clients.entry(client).or_default() += relayed,
                false => self.other_clients += relayed,
            }
        }
    }

    fn tally(self, partial: bool) -> Tally {
        let sorted = |all: Vec<(String, u64)>| {
            let mut all: Vec<Spent> =
                all.into_iter().map(|(by, recipients)| Spent { by, recipients }).collect();
            all.sort_unstable_by(|one, other| {
                other.recipients.cmp(&one.recipients).then_with(|| one.by.cmp(&other.by))
            });
            all
        };
        let lanes = self.lanes.into_iter().map(|(lane, number)| (lane.to_owned(), number));
        let mut clients = sorted(self.clients.into_iter().collect());
        let rest = clients.drain(CLIENTS_NAMED.min(clients.len())..);
        let other_clients = self.other_clients + rest.map(|spent| spent.recipients).sum::<u64>();
        Tally {
            now: self.now,
            hours: self.hours.finished(),
            days: self.days.finished(),
            lanes: sorted(lanes.collect()),
            clients,
            other_clients,
            partial,
        }
    }
}

/// How a recipient has stopped to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Relayed,
    Dead,
    /// Held for a person, or deleted by one.
    Otherwise,
}

/// When and how a recipient has stopped to wait.
#[derive(Clone, Copy, Debug)]
struct End {
    at: Timestamp,
    how: How,
}

impl End {
    fn of(state: &RecipientState, record: &MessageRecord) -> Option<Self> {
        match state {
            RecipientState::Relayed { at } => Some(Self { at: *at, how: How::Relayed }),
            RecipientState::Dead { since, .. } => Some(Self { at: *since, how: How::Dead }),
            RecipientState::Held { since, .. } => Some(Self { at: *since, how: How::Otherwise }),
            RecipientState::Queued { .. } | RecipientState::Reserved { .. } => {
                record.end.as_ref().map(|end| Self { at: end.at, how: How::Otherwise })
            }
        }
    }
}

/// Equal spans of time up to now.
#[derive(Debug)]
struct Spans {
    begins: Timestamp,
    length_ms: i64,
    spans: Vec<Span>,
    /// By how many more wait at the end of each span than at the end of the one before.
    waiting: Vec<i64>,
}

impl Spans {
    fn new(now: Timestamp, length: Duration, number: usize) -> Self {
        let begins = now.before(length * u32::try_from(number).unwrap_or(0));
        let length_ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        let at = |place: usize| Timestamp(begins.0 + length_ms * i64::try_from(place).unwrap_or(0));
        let spans = (0..number).map(|place| Span { begins: at(place), ..Span::default() });
        Self { begins, length_ms, spans: spans.collect(), waiting: vec![0; number + 1] }
    }

    /// The span of a time, from 0; what was before has the place before.
    fn place(&self, at: Timestamp) -> i64 {
        (at.0 - self.begins.0).div_euclid(self.length_ms).max(-1)
    }

    fn span(&mut self, at: Timestamp) -> Option<&mut Span> {
        let place = usize::try_from(self.place(at)).ok()?;
        // Now is the end of the last one; a clock that was set back has some of the future.
        let place = place.min(self.spans.len().checked_sub(1)?);
        self.spans.get_mut(place)
    }

    /// Recipients that wait.
    fn add_waiting(&mut self, accepted_at: Timestamp, recipients: u64) {
        if let Some(span) = self.span(accepted_at) {
            span.accepted += recipients;
        }
        let last = self.spans.len();
        let from = usize::try_from(self.place(accepted_at)).unwrap_or(0);
        let from = from.min(last.saturating_sub(1));
        let recipients = i64::try_from(recipients).unwrap_or(i64::MAX);
        self.waiting[from] += recipients;
        self.waiting[last] -= recipients;
    }

    fn add(&mut self, accepted_at: Timestamp, end: Option<End>) {
        if let Some(span) = self.span(accepted_at) {
            span.accepted += 1;
        }
        if let Some(span) = end.and_then(|end| self.span(end.at)) {
            match end.map(|end| end.how) {
                Some(How::Relayed) => span.relayed += 1,
                Some(How::Dead) => span.dead += 1,
                _ => {}
            }
        }
        let last = self.spans.len();
        let within = |place: i64| usize::try_from(place).unwrap_or(0).min(last.saturating_sub(1));
        let from = within(self.place(accepted_at));
        let to = end.map_or(last, |end| within(self.place(end.at)));
        if from < to && end.is_none_or(|end| end.at >= self.begins) {
            self.waiting[from] += 1;
            self.waiting[to] -= 1;
        }
    }

    fn finished(mut self) -> Vec<Span> {
        let mut waiting = 0;
        for (span, more) in self.spans.iter_mut().zip(&self.waiting) {
            waiting += more;
            span.waiting = u64::try_from(waiting).unwrap_or(0);
        }
        self.spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Clock as _, ManualClock},
        queue::fixtures::accept,
    };

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn hours(recipients: &[(u64, Option<(u64, How)>)]) -> Vec<Span> {
        let ago = |minutes: u64| NOW.before(Duration::from_secs(60 * minutes));
        let mut spans = Spans::new(NOW, HOUR, 3);
        for (accepted, end) in recipients {
            spans.add(ago(*accepted), end.map(|(minutes, how)| End { at: ago(minutes), how }));
        }
        spans.finished()
    }

    #[tokio::test]
    async fn of_what_only_waits_no_record_is_read_and_the_tally_is_that_of_the_records() {
        let clock = ManualClock::new(NOW);
        let store = Queue::in_memory(Arc::new(clock.clone()), 1 << 30);
        for number in 0..200 {
            let id = accept(&store, clock.wall()).await;
            clock.advance(Duration::from_secs(5));
            if number % 50 == 0 {
                store.hold(id, clock.wall(), "look at it".into()).await.expect("it waits");
            }
        }
        let mut counter = Counter::new(clock.wall());
        let all = store.list(None, 1_000).await.expect("a queue");
        all.iter().for_each(|message| counter.add(message));
        let before = store.records_read();
        let tally = count(&store, clock.wall()).await.expect("a queue");
        assert_eq!(store.records_read() - before, 4, "those with an end");
        assert_eq!(tally, counter.tally(false));
        assert_eq!(tally.days.last().map(|day| day.waiting), Some(196));
    }

    #[test]
    fn a_recipient_is_counted_in_the_hours_of_its_acceptance_and_its_end_and_waits_between_them() {
        let found = hours(&[
            (170, Some((10, How::Relayed))),
            (100, Some((90, How::Dead))),
            (50, None),
            (1_000, Some((100, How::Otherwise))),
            (1_000, Some((900, How::Relayed))),
            (1_000, None),
            (0, None),
        ]);
        let numbers = |of: fn(&Span) -> u64| found.iter().map(of).collect::<Vec<_>>();
        assert_eq!(numbers(|span| span.accepted), [1, 1, 2]);
        assert_eq!(numbers(|span| span.relayed), [0, 0, 1]);
        assert_eq!(numbers(|span| span.dead), [0, 1, 0]);
        assert_eq!(numbers(|span| span.waiting), [3, 2, 3]);
        assert_eq!(found[0].begins, NOW.before(3 * HOUR));
    }

    #[test]
    fn what_waits_at_the_end_is_what_waits_now_whatever_came_and_went_before() {
        let mut random = 12_345_u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        let all: Vec<_> = (0..2_000)
            .map(|_| {
                let accepted = next(400);
                let how = [How::Relayed, How::Dead, How::Otherwise][next(3) as usize];
                (accepted, (next(3) > 0).then(|| (next(accepted + 1), how)))
            })
            .collect();
        let found = hours(&all);
        let waits = all.iter().filter(|(_, end)| end.is_none()).count() as u64;
        assert_eq!(found.last().map(|span| span.waiting), Some(waits));
        for (place, span) in found.iter().enumerate() {
            let end_minutes = 60 * (2 - place as u64);
            let waited = all.iter().filter(|(accepted, end)| {
                *accepted > end_minutes && end.is_none_or(|(at, _)| at <= end_minutes)
            });
            let edge = all.iter().filter(|(accepted, end)| {
                [Some(*accepted), end.map(|(at, _)| at)].contains(&Some(end_minutes))
            });
            assert!(waited.count().abs_diff(span.waiting as usize) <= edge.count(), "{place}");
        }
    }
}
