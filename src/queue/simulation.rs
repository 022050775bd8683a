//! A stretch of the past once more under other terms: what of it leaves when, and what is folded.
//!
//! Rule: pure. The engines of the queue decide: `folding.rs` as a message comes, and order, limits and pace as `forecast.rs` plays
//! them through. Nothing is refused, nothing is paused, and a transaction takes no time. Must not know what really happened.

use std::{collections::BTreeMap, time::Duration};

use super::{
    about::{About, Client},
    claim::ClaimLimits,
    digest::Digest,
    folding::{self, Folding},
    forecast::{self, Footing, Left, Play, Step, Waiting},
    id::QueueId,
    options::Fairness,
    origin::OriginKey,
    record::MessageRecord,
    ruled::Ruled,
    state::RecipientState,
};
use crate::{
    budget::WINDOW,
    clock::{BootId, Moment, Timestamp},
};

/// How often the relay looks whether a summary is due.
const LOOK: Duration = Duration::from_secs(15);

/// What decides.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// What may be spent.
    pub(crate) limits: ClaimLimits,
    /// Recipients a minute; 0 does not pace.
    pub(crate) pace_per_minute: u32,
    /// What an origin, and bulk mail, may take from others.
    pub(crate) fairness: Fairness,
    /// What is folded.
    pub(crate) storms: folding::Options,
}

/// What becomes of a message that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Becomes {
    /// It waits for its turn.
    Waits,
    /// It is folded.
    Folds,
    /// It waits for a person.
    IsHeld,
}

/// What has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The message that came as the one with this number, from 0 on.
    Message(usize),
    /// A summary of what was folded.
    Summary,
}

/// Recipients that leave together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    pub(crate) whose: Whose,
    pub(crate) at: Timestamp,
    pub(crate) recipients: u32,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Played {
    /// In the order of time.
    pub(crate) departures: Vec<Departure>,
    /// The numbers of messages that were folded and were alone when a summary was due: they leave as they are.
    pub(crate) alone: Vec<usize>,
}

/// What of a storm no summary has told of.
#[derive(Debug)]
struct Untold {
    messages: u64,
    first: (usize, QueueId, MessageRecord),
}

/// The past as it is gathered.
#[derive(Debug)]
pub(crate) struct Simulation {
    terms: Terms,
    folding: Folding,
    /// When the relay looks for summaries next.
    look_at: Timestamp,
    /// Storms of which something is still to be told, or that are not over.
    storms: BTreeMap<QueueId, Option<Untold>>,
    came: usize,
    waiting: Vec<Waiting>,
    whose: Vec<Whose>,
    alone: Vec<usize>,
}

impl Simulation {
    /// One in which nothing has come yet.
    #[must_use]
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            folding: Folding::new(terms.storms.clone()),
            terms,
            look_at: Timestamp(i64::MIN),
            storms: BTreeMap::new(),
            came: 0,
            waiting: Vec::new(),
            whose: Vec::new(),
            alone: Vec::new(),
        }
    }

    /// A message comes, at the time of its record and not before the last one.
    pub(crate) fn accept(
        &mut self,
        id: QueueId,
        mut record: MessageRecord,
        ruled: &Ruled,
    ) -> Becomes {
        let at = record.accepted_at;
        self.look_until(at);
        let number = self.came;
        self.came += 1;
        ruled.apply(&mut record);
        if ruled.hold {
            return Becomes::IsHeld;
        }
        // Whom its From field names is not kept.
        let Some(fold) = self.folding.fold(id, &record, ("", ruled.storm), moment(at)) else {
            self.wait(id, &record, Whose::Message(number));
            return Becomes::Waits;
        };
        let untold = self.storms.entry(fold.storm).or_default();
        match untold {
            Some(untold) => untold.messages += 1,
            None => *untold = Some(Untold { messages: 1, first: (number, id, record) }),
        }
        Becomes::Folds
    }

    fn wait(&mut self, id: QueueId, record: &MessageRecord, whose: Whose) {
        if let Some(waiting) = Waiting::of(&Digest::of(id, record), &self.terms.fairness) {
            self.waiting.push(waiting);
            self.whose.push(whose);
        }
    }

    /// The looks for summaries up to then.
    fn look_until(&mut self, at: Timestamp) {
        while !self.storms.is_empty() && self.look_at <= at {
            self.look();
            self.look_at = self.look_at.after(LOOK);
        }
        if self.storms.is_empty() {
            self.look_at = self.look_at.max(at);
        }
    }

    fn look(&mut self) {
        let now = moment(self.look_at);
        for due in self.folding.due(now) {
            let untold = self.storms.get_mut(&due.id).and_then(Option::take);
            self.folding.told(due, untold.is_some(), now);
            match untold {
                Some(untold) => self.tell(untold),
                None => drop(self.storms.remove(&due.id)),
            }
        }
    }

    /// A summary of more than one, and what is alone as it is.
    fn tell(&mut self, Untold { messages, first: (number, id, mut record) }: Untold) {
        let due = self.look_at;
        for recipient in &mut record.recipients {
            recipient.state = RecipientState::Queued { due, resend: false };
        }
        if messages == 1 {
            self.alone.push(number);
            self.wait(id, &record, Whose::Message(number));
            return;
        }
        let about = About { client: Client::Relay, user: None, owner: None, ..record.about };
        let summary = MessageRecord { reverse_path: None, rule: None, about, ..record };
        self.wait(id, &summary, Whose::Summary);
    }

    /// Plays it through from `since` to `until`, with what was spent before by when that was.
    #[must_use]
    pub(crate) fn play(
        mut self,
        since: Timestamp,
        until: Timestamp,
        spent: &[(Timestamp, u32, OriginKey)],
    ) -> Played {
        self.look_until(until);
        let Self { terms, waiting, whose, alone, .. } = self;
        let spent = spent.iter().map(|(at, number, origin)| (at.after(WINDOW), *number, *origin));
        let footing = Footing {
            spent: spent.filter(|(back, ..)| *back > since).collect(),
            bulk_share: terms.fairness.bulk_share,
            ..Footing::default()
        };
        let terms = forecast::Terms {
            now: since,
            starts: since,
            paced: false,
            footing,
            limits: terms.limits,
            pace_per_minute: terms.pace_per_minute,
        };
        let mut play = Play::of_coming(vec![waiting], terms);
        let mut departures = Vec::new();
        loop {
            match play.step() {
                Step::Left(Left { position: (_, number), at, recipients }) if at <= until => {
                    let whose = whose[number as usize];
                    departures.push(Departure { whose, at, recipients });
                }
                Step::Waited if play.at() <= until => {}
                Step::Left(_) | Step::Waited | Step::Over => break,
            }
        }
        Played { departures, alone }
    }
}

/// The moment of a wall clock that nobody sets.
fn moment(at: Timestamp) -> Moment {
    let since_boot_ms = u64::try_from(at.0).unwrap_or(0);
    Moment { wall: at, boot: BootId(1), since_boot_ms }
}

#[cfg(test)]
mod tests;
