//! The storms: which messages are alike, which of them are folded, and when a summary of those is due.
//!
//! Rule: decided from what it has seen and a time, and from nothing else. The first of a kind leave untouched; what
//! follows while they come is folded, and no arrival moves the time of a summary. Whatever it cannot judge leaves. At
//! most [`SHAPES_MAX`] kinds are known: those that were seen least recently go first, one with folded mail that nobody
//! was told of never does. Must not know where a message lies.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use ring::digest::{Context, SHA256};

use super::{id::QueueId, origin::Origin};
use crate::{
    clock::{Moment, Steps, Timestamp},
    message::subject_shape,
    smtp::address::Address,
};

/// Kinds of messages that are known at a time: some megabytes.
pub(crate) const SHAPES_MAX: usize = 10_000;
/// The most that `after` may be; as many times are remembered of each kind.
pub(crate) const AFTER_MAX: u32 = 100;

/// How folding goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Messages that are alike and leave untouched; none is folded without one.
    pub(crate) after: u32,
    /// Within which time they must come; a storm is over when none has come for as long.
    pub(crate) window: Duration,
    /// How long after the first folded message a summary leaves; behind the last one again and again after as long as
    /// lies between the last two.
    pub(crate) summaries: Vec<Duration>,
}

impl Default for Terms {
    fn default() -> Self {
        let minutes = [10, 30, 120, 360].map(|minutes| Duration::from_secs(minutes * 60));
        Self { after: 5, window: Duration::from_secs(600), summaries: minutes.into() }
    }
}

impl Terms {
    /// When a summary of a storm is due of which so many were.
    fn summary_at(&self, since: Timestamp, before: u32) -> Timestamp {
        let last = self.summaries.len().saturating_sub(1);
        let place = before as usize;
        let Some(longest) = self.summaries.last() else { return since.after(self.window) };
        let earlier = last.checked_sub(1).map_or(Duration::ZERO, |place| self.summaries[place]);
        let step = longest.saturating_sub(earlier).max(Duration::from_secs(1));
        let behind = u32::try_from(place.saturating_sub(last)).unwrap_or(u32::MAX);
        since.after(self.summaries[place.min(last)].saturating_add(step.saturating_mul(behind)))
    }
}

/// What is the same in messages that are alike: origin, recipients, From, and the shape of the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind([u8; 16]);

impl Kind {
    /// The kind of a message whose From field says this.
    pub(crate) fn of<'a>(
        origin: &Origin,
        recipients: impl Iterator<Item = &'a Address>,
        from: &str,
        subject: &str,
    ) -> Self {
        let mut recipients: Vec<String> =
            recipients.map(|address| address.as_str().to_ascii_lowercase()).collect();
        recipients.sort_unstable();
        let mut digest = Context::new(&SHA256);
        let (origin, shape) = (origin.to_string(), subject_shape::shape(subject));
        let parts = [origin.as_str(), from, &shape].into_iter();
        for part in parts.chain(recipients.iter().map(String::as_str)) {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        let mut first = [0; 16];
        first.copy_from_slice(&digest.finish().as_ref()[..16]);
        Self(first)
    }
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It leaves as it is.
    Leaves,
    /// The same, because too many kinds are known to know its own.
    LeavesUnknown,
    /// It is folded into the storm whose first folded message this is.
    Folds(QueueId),
}

/// A storm of which something is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DueStorm {
    /// The id of its first folded message.
    pub(crate) id: QueueId,
    /// None has come for so long that it is over.
    pub(crate) is_over: bool,
    /// Messages that were folded by now.
    pub(crate) folded: u64,
}

/// One kind of messages.
#[derive(Debug, Default)]
struct Known {
    /// When those came that left, within the window, the oldest first.
    left: VecDeque<Timestamp>,
    /// When the last one came.
    last: Timestamp,
    /// The storm that lasts.
    storm: Option<QueueId>,
}

/// One storm that lasts, or of which something is still to be told.
#[derive(Clone, Debug)]
struct Storm {
    kind: Kind,
    since: Timestamp,
    last: Timestamp,
    folded: u64,
    /// How many of the folded were there when the last summary was made.
    told: u64,
    /// Summaries whose time has come.
    summaries: u32,
}

impl Storm {
    fn is_over(&self, now: Timestamp, terms: &Terms) -> bool {
        self.last.after(terms.window) <= now
    }
}

/// Everything that is known.
#[derive(Debug)]
pub(crate) struct Storms {
    kinds: HashMap<Kind, Known>,
    storms: BTreeMap<QueueId, Storm>,
    kinds_max: usize,
    /// None before the first look at the clock.
    steps: Option<Steps>,
}

impl Default for Storms {
    fn default() -> Self {
        Self { kinds: HashMap::new(), storms: BTreeMap::new(), kinds_max: SHAPES_MAX, steps: None }
    }
}

impl Storms {
    /// What becomes of a message with this id that has come now.
    pub(crate) fn decide(
        &mut self,
        kind: Kind,
        id: QueueId,
        now: Moment,
        terms: &Terms,
    ) -> Decision {
        let now = self.look(now);
        if terms.after == 0 {
            return Decision::Leaves;
        }
        if !self.kinds.contains_key(&kind) && !self.make_room(now, terms) {
            return Decision::LeavesUnknown;
        }
        let known = self.kinds.entry(kind).or_default();
        known.last = now;
        let lasting = known.storm.and_then(|id| Some((id, self.storms.get_mut(&id)?)));
        if let Some((id, storm)) = lasting.filter(|(_, storm)| !storm.is_over(now, terms)) {
            (storm.last, storm.folded) = (now, storm.folded + 1);
            return Decision::Folds(id);
        }
        known.storm = None;
        while known.left.front().is_some_and(|at| at.after(terms.window) <= now) {
            known.left.pop_front();
        }
        if known.left.len() < terms.after.min(AFTER_MAX) as usize {
            known.left.push_back(now);
            return Decision::Leaves;
        }
        if self.storms.len() >= self.kinds_max {
            return Decision::LeavesUnknown;
        }
        known.left.clear();
        known.storm = Some(id);
        let storm = Storm { kind, since: now, last: now, folded: 1, told: 0, summaries: 0 };
        self.storms.insert(id, storm);
        Decision::Folds(id)
    }

    /// The storms of which a summary is due, or that are over.
    pub(crate) fn due(&mut self, now: Moment, terms: &Terms) -> Vec<DueStorm> {
        let now = self.look(now);
        let due = self.storms.iter().filter_map(|(id, storm)| {
            let is_over = storm.is_over(now, terms);
            let is_time = terms.summary_at(storm.since, storm.summaries) <= now;
            (is_over || (is_time && storm.folded > storm.told)).then_some(DueStorm {
                id: *id,
                is_over,
                folded: storm.folded,
            })
        });
        due.collect()
    }

    /// A summary of what was folded when the storm was found due is on its way.
    pub(crate) fn told(&mut self, due: DueStorm, now: Moment, terms: &Terms) {
        let now = self.look(now);
        let Some(storm) = self.storms.get_mut(&due.id) else { return };
        storm.told = due.folded;
        while terms.summary_at(storm.since, storm.summaries) <= now {
            storm.summaries += 1;
        }
    }

    /// Nothing more is to be told of a storm that is over.
    pub(crate) fn forget(&mut self, id: QueueId) {
        if let Some(storm) = self.storms.remove(&id)
            && let Some(known) = self.kinds.get_mut(&storm.kind)
            && known.storm == Some(id)
        {
            known.storm = None;
        }
    }

    /// A folded message that was found at a start, of a storm that this process does not know from before.
    pub(crate) fn found(&mut self, message: &FoundFolded, now: Moment, terms: &Terms) {
        let now = self.look(now);
        let is_old = message.at.after(terms.window) <= now;
        if message.told.is_some() && is_old {
            return;
        }
        let since = message.storm.time().min(message.at);
        let (kind, last) = (message.kind, message.at);
        let new = Storm { kind, since, last, folded: 0, told: 0, summaries: 0 };
        let storm = self.storms.entry(message.storm).or_insert(new);
        storm.folded += 1;
        storm.told += u64::from(message.told.is_some());
        storm.last = storm.last.max(message.at);
        if !is_old && (self.kinds.len() < self.kinds_max || self.kinds.contains_key(&message.kind))
        {
            let known = self.kinds.entry(message.kind).or_default();
            known.last = known.last.max(message.at);
            known.storm = known.storm.max(Some(message.storm));
        }
    }

    /// The last summary of a storm that a start has found was queued then: the next one is due as if nothing had stopped. Those
    /// whose time came while nobody was there are one.
    pub(crate) fn was_told(&mut self, id: QueueId, at: Timestamp, terms: &Terms) {
        let Some(storm) = self.storms.get_mut(&id) else { return };
        while terms.summary_at(storm.since, storm.summaries) <= at {
            storm.summaries += 1;
        }
    }

    /// How many kinds are known.
    pub(crate) fn kinds(&self) -> usize {
        self.kinds.len()
    }

    /// Whether it is known, so that what a start finds of it is nothing new.
    pub(crate) fn knows(&self, storm: QueueId) -> bool {
        self.storms.contains_key(&storm)
    }

    /// Whether a storm lasts.
    pub(crate) fn lasts(&mut self, storm: QueueId, now: Moment, terms: &Terms) -> bool {
        let now = self.look(now);
        self.storms.get(&storm).is_some_and(|storm| !storm.is_over(now, terms))
    }

    /// When the next summary of a storm is due, at the latest; `None` while there is nothing to tell of it.
    pub(crate) fn summary_at(
        &mut self,
        storm: QueueId,
        now: Moment,
        terms: &Terms,
    ) -> Option<Timestamp> {
        self.look(now);
        let storm = self.storms.get(&storm).filter(|storm| storm.folded > storm.told)?;
        let is_over_at = storm.last.after(terms.window);
        Some(terms.summary_at(storm.since, storm.summaries).min(is_over_at))
    }

    /// Room for another kind: those that say nothing any more go, then the one that was seen least recently.
    fn make_room(&mut self, now: Timestamp, terms: &Terms) -> bool {
        if self.kinds.len() < self.kinds_max {
            return true;
        }
        self.kinds.retain(|_, known| known.storm.is_some() || known.last.after(terms.window) > now);
        if self.kinds.len() < self.kinds_max {
            return true;
        }
        let calm = self.kinds.iter().filter(|(_, known)| known.storm.is_none());
        let Some(oldest) = calm.min_by_key(|(_, known)| known.last).map(|(kind, _)| *kind) else {
            return false;
        };
        self.kinds.remove(&oldest).is_some()
    }

    /// Wall time; what is remembered moves with a clock that was set.
    fn look(&mut self, now: Moment) -> Timestamp {
        let steps = self.steps.get_or_insert_with(|| Steps::since(now));
        if let Some(step_ms) = steps.look(now) {
            for known in self.kinds.values_mut() {
                known.left.iter_mut().for_each(|at| *at = at.moved(step_ms));
                known.last = known.last.moved(step_ms);
            }
            for storm in self.storms.values_mut() {
                storm.since = storm.since.moved(step_ms);
                storm.last = storm.last.moved(step_ms);
            }
        }
        now.wall
    }
}

/// A folded message as a start finds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundFolded {
    pub(crate) storm: QueueId,
    pub(crate) kind: Kind,
    /// When it was accepted.
    pub(crate) at: Timestamp,
    /// When a summary that tells of it was queued.
    pub(crate) told: Option<Timestamp>,
}

#[cfg(test)]
mod tests;
