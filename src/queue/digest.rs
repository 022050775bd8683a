//! Digests: the few octets in memory of each queued message, enough for counts and forecasts without reading a record.
//!
//! Rule: pure, and known from the records alone: made anew at a start, and kept by each write from then on. Of a queue that is
//! too long the beginning is known. Must not know who asks.

use std::collections::{BTreeMap, VecDeque};

use super::{
    id::QueueId,
    origin::OriginKey,
    record::MessageRecord,
    schedule::{Due, Schedule},
    state::RecipientState,
    way::Way,
};
use crate::{clock::Timestamp, message::envelope::Lane};

/// Messages that are known: some six megabytes of memory.
pub(crate) const DIGESTS_MAX: usize = 100_000;
/// Messages of one page; two neighbours that have no more together become one.
const PAGE: usize = 256;

/// What is known of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) id: QueueId,
    pub(crate) accepted_at: Timestamp,
    pub(crate) origin: OriginKey,
    pub(crate) lane: Lane,
    /// See [`MessageRecord::keeps_place`].
    pub(crate) keeps_place: bool,
    /// Whether the upstream, or the relay itself, has refused one of its recipients for now or for good.
    pub(crate) is_refused: bool,
    /// When the first of its queued recipients are due, whatever else they wait for, and how many they are.
    due: Timestamp,
    recipients: u32,
    /// Recipients that a worker has.
    pub(crate) reserved: u32,
    /// What most messages have none of.
    rare: Option<Box<Rare>>,
}

/// What few messages have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rare {
    /// A way that is not the one of mail without a route.
    pub(crate) way: Way,
    /// The rule that has struck it.
    pub(crate) rule: Option<Box<str>>,
    /// The time that a person has set.
    schedule: Option<Schedule>,
    pub(crate) is_folded: bool,
    /// Queued recipients that are due later than the first.
    later: BTreeMap<Timestamp, u32>,
    /// Those of the queued ones whose last attempt ended without an answer.
    pub(crate) uncertain: u32,
    pub(crate) relayed: u32,
    pub(crate) held: u32,
    pub(crate) dead: u32,
    /// Those that a person has given up.
    pub(crate) deleted: u32,
}

/// What a message without anything rare has.
static NOTHING_RARE: Rare = Rare {
    way: Way::UNROUTED,
    rule: None,
    schedule: None,
    is_folded: false,
    later: BTreeMap::new(),
    uncertain: 0,
    relayed: 0,
    held: 0,
    dead: 0,
    deleted: 0,
};

impl Digest {
    /// That of a message.
    pub(crate) fn of(id: QueueId, record: &MessageRecord) -> Self {
        let mut rare = Rare {
            way: Way::of(record),
            rule: record.rule.as_deref().map(Into::into),
            schedule: record.schedule,
            is_folded: record.fold.is_some(),
            ..Rare::default()
        };
        let (mut first, mut reserved) = (None::<(Timestamp, u32)>, 0);
        for recipient in &record.recipients {
            match &recipient.state {
                RecipientState::Queued { due, resend } => {
                    rare.uncertain += u32::from(*resend);
                    match &mut first {
                        Some((at, number)) if at == due => *number += 1,
                        Some(_) => *rare.later.entry(*due).or_insert(0) += 1,
                        None => first = Some((*due, 1)),
                    }
                }
                RecipientState::Reserved { .. } => reserved += 1,
                RecipientState::Relayed { .. } => rare.relayed += 1,
                RecipientState::Held { .. } => rare.held += 1,
                state if state.is_deleted() => rare.deleted += 1,
                RecipientState::Dead { .. } => rare.dead += 1,
            }
        }
        if let Some((at, number)) = first
            && rare.later.first_key_value().is_some_and(|(earlier, _)| *earlier < at)
        {
            rare.later.insert(at, number);
            first = rare.later.pop_first();
        }
        let (due, recipients) = first.unwrap_or((record.accepted_at, 0));
        Self {
            id,
            accepted_at: record.accepted_at,
            origin: OriginKey::of(record),
            lane: record.lane,
            keeps_place: record.keeps_place,
            is_refused: record.first_refusal().is_some(),
            due,
            recipients,
            reserved,
            rare: (rare != NOTHING_RARE).then(|| Box::new(rare)),
        }
    }

    /// What few messages have.
    pub(crate) fn rare(&self) -> &Rare {
        self.rare.as_deref().unwrap_or(&NOTHING_RARE)
    }

    /// Its queued recipients.
    pub(crate) fn queued(&self) -> u32 {
        let later = self.rare().later.values();
        later.fold(self.recipients, |sum, more| sum.saturating_add(*more))
    }

    /// Whether a recipient of it has stopped to wait.
    pub(crate) fn has_ends(&self) -> bool {
        let Rare { relayed, held, dead, deleted, .. } = *self.rare();
        relayed + held + dead + deleted > 0
    }

    /// Whether it waits for the time that a person has set.
    pub(crate) fn is_scheduled(&self, now: Timestamp) -> bool {
        self.rare().schedule.is_some_and(|schedule| !schedule.has_come && schedule.at > now)
    }

    /// See [`MessageRecord::not_before_schedule`].
    pub(crate) fn waits_since(&self) -> Timestamp {
        let schedule = self.rare().schedule;
        schedule.map_or(self.accepted_at, |schedule| schedule.at.max(self.accepted_at))
    }

    /// When how many recipients are due, the first first; see [`MessageRecord::due`].
    pub(crate) fn dues(&self) -> impl Iterator<Item = (Due, u32)> {
        let rare = self.rare();
        let (waits, ordered) = match rare.schedule {
            Some(Schedule { at, has_come: false }) => (false, Some(Due { at, is_scheduled: true })),
            _ => (true, None),
        };
        let ordered = ordered.map(|due| (due, self.queued()));
        let later = rare.later.iter().map(|(at, more)| (*at, *more));
        let each = [(self.due, self.recipients)].into_iter().chain(later).filter(move |_| waits);
        let all = ordered.into_iter().chain(each.map(|(at, number)| (Due::from(at), number)));
        all.filter(|(_, number)| !rare.is_folded && *number > 0)
    }
}

/// The queue in digests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digests {
    /// In the order of the ids, none of them empty.
    pages: VecDeque<Vec<Digest>>,
    length: usize,
    /// Whether nothing is behind the last one.
    is_whole: bool,
}

impl Digests {
    /// Those of an empty queue.
    pub(super) fn of_nothing() -> Self {
        Self { is_whole: true, ..Self::default() }
    }

    /// Whether the queue is known to its end.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// How many more of the messages behind may be added.
    pub(super) fn room(&self) -> usize {
        if self.is_whole { 0 } else { DIGESTS_MAX.saturating_sub(self.length) }
    }

    /// The last message that is known.
    pub(super) fn last(&self) -> Option<QueueId> {
        Some(self.pages.back()?.last()?.id)
    }

    /// The next messages behind one, at most `limit`.
    pub(super) fn after(&self, after: Option<QueueId>, limit: usize) -> Vec<Digest> {
        let (page, place) = match after {
            None => (0, 0),
            Some(after) => {
                let page = self.page_of(after);
                let within = self
                    .pages
                    .get(page)
                    .map_or(0, |page| page.partition_point(|digest| digest.id <= after));
                (page, within)
            }
        };
        let pages = self.pages.iter().skip(page);
        pages.flatten().skip(place).take(limit).cloned().collect()
    }

    /// A message has changed, has come, or (`None`) has gone.
    pub(super) fn note(&mut self, id: QueueId, record: Option<&MessageRecord>) {
        let page = self.page_of(id);
        let place = self.pages.get(page).map(|all| all.binary_search_by_key(&id, |one| one.id));
        match (place, record) {
            (Some(Ok(place)), Some(record)) => self.pages[page][place] = Digest::of(id, record),
            (Some(Ok(place)), None) => self.remove(page, place),
            (_, None) => {}
            (place, Some(record)) => {
                if !self.is_whole && self.last().is_none_or(|last| last < id) {
                    return;
                }
                let place = place.and_then(Result::err).unwrap_or(0);
                self.insert((page, place), Digest::of(id, record));
            }
        }
    }

    /// The messages behind the last one, of which these are the first; `is_whole` when there are no others.
    pub(super) fn append<'a>(
        &mut self,
        messages: impl Iterator<Item = (QueueId, &'a MessageRecord)>,
        is_whole: bool,
    ) {
        for (id, record) in messages {
            let page = self.pages.len().saturating_sub(1);
            let place = self.pages.back().map_or(0, Vec::len);
            self.insert((page, place), Digest::of(id, record));
        }
        self.is_whole = is_whole;
    }

    /// The page in which a message is, or would be.
    fn page_of(&self, id: QueueId) -> usize {
        let begun = self.pages.partition_point(|page| page.first().is_some_and(|one| one.id <= id));
        begun.saturating_sub(1)
    }

    fn insert(&mut self, (page, place): (usize, usize), digest: Digest) {
        if self.pages.is_empty() {
            self.pages.push_back(Vec::new());
        }
        let own = &mut self.pages[page];
        if own.len() < PAGE {
            own.insert(place, digest);
        } else if place == PAGE {
            self.pages.insert(page + 1, vec![digest]);
        } else {
            let mut behind = own.split_off(PAGE / 2);
            match place.checked_sub(PAGE / 2) {
                Some(place) => behind.insert(place, digest),
                None => own.insert(place, digest),
            }
            self.pages.insert(page + 1, behind);
        }
        self.length += 1;
        if self.length > DIGESTS_MAX {
            let last = self.pages.len() - 1;
            self.remove(last, self.pages[last].len() - 1);
            self.is_whole = false;
        }
    }

    fn remove(&mut self, page: usize, place: usize) {
        self.pages[page].remove(place);
        self.length -= 1;
        if self.pages[page].is_empty() {
            self.pages.remove(page);
            return;
        }
        let fits = |one: usize| {
            let both = self.pages.get(one).zip(self.pages.get(one + 1));
            both.is_some_and(|(one, next)| one.len() + next.len() <= PAGE / 2)
        };
        let first = page.saturating_sub(1);
        if let Some(one) = [first, page].into_iter().find(|one| fits(*one))
            && let Some(mut next) = self.pages.remove(one + 1)
        {
            self.pages[one].append(&mut next);
        }
    }
}

#[cfg(test)]
mod tests;
