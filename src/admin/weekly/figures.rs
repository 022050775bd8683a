//! The figures of a period: what was relayed, what waits, what changed since the period before, what needs a person.
//!
//! Rule: pure but for [`Tally::walk`], which reads page by page; tables are bounded, and what there is no room for is counted
//! together. Must not know how it is worded or when it is sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    admin::{
        checkups,
        counts::alike,
        listing::look_back,
        spending::{self, Counter, Spent},
    },
    clock::Timestamp,
    findings::{Report, Verdict},
    message::envelope::Lane,
    queue::{Queue, QueueError, QueuedMessage, about::Client, state::RecipientState},
    text,
};

/// Messages of the queue, and of the history, that are counted: the newest of the history.
const MESSAGES_MAX: usize = 100_000;
/// Clients and kinds of refusals that are counted apart.
const VALUES_MAX: usize = 1_000;
/// Octets of a refusal.
const REFUSAL_BYTES_MAX: usize = 200;
/// Changes of one kind that are named.
const NAMED_MAX: usize = 20;

/// A period in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// The name of the host.
    pub(crate) host: String,
    /// Where the period begins.
    pub(crate) since: Timestamp,
    /// The time of this answer, where it ends.
    pub(crate) now: Timestamp,
    /// Whether there was more than is counted, or the history has forgotten some of it.
    pub(crate) partial: bool,
    /// Messages taken in the period.
    pub(crate) taken: u64,
    /// Recipients relayed in the period, one each of the budget.
    pub(crate) relayed: u64,
    /// Recipients refused for good in the period.
    pub(crate) died: u64,
    /// Recipients relayed in the period by lane.
    pub(crate) lanes: Vec<Share>,
    /// Recipients that were not spent in the period, because their messages were folded.
    pub(crate) folded: u64,
    /// What origins have spent in the period, and what folding has spared of it, as `budget report` has it.
    pub(crate) origins: Vec<spending::Share>,
    /// Those of all other origins.
    pub(crate) other_origins: Spent,
    /// Recipients that wait now.
    pub(crate) waiting: u64,
    /// Since when the oldest message waits.
    pub(crate) oldest: Option<Timestamp>,
    /// Recipients that are held now.
    pub(crate) held: u64,
    /// Recipients that are dead now.
    pub(crate) dead: u64,
    /// Spent of the budget in the last 24 hours.
    pub(crate) spent: u32,
    /// What may be spent in 24 hours; null without a limit.
    pub(crate) limit: Option<u32>,
    /// The same of the accounts besides the main one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) accounts: Vec<DayOf>,
    /// What changed.
    pub(crate) changes: Changes,
    /// What needs a person, the gravest first.
    pub(crate) needs: Vec<Need>,
}

/// What an account has spent in the last 24 hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DayOf {
    pub(crate) account: String,
    pub(crate) spent: u32,
    pub(crate) limit: Option<u32>,
}

/// A name and its number of recipients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    pub(crate) name: String,
    pub(crate) recipients: u64,
}

/// What is other than in the period before, which was as long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changes {
    /// Whether enough is known of the time before the period, without which nothing can be new.
    pub(crate) comparable: bool,
    /// Who has handed mail over and had not before.
    pub(crate) new_clients: Vec<String>,
    /// Who had handed mail over and has not since.
    pub(crate) silent_clients: Vec<String>,
    /// Refusals of a kind that was not there before.
    pub(crate) new_refusals: Vec<Share>,
    /// Checks of `pillarbox doctor` that fail and did not.
    pub(crate) failing: Vec<String>,
    /// Checks that failed and are well.
    pub(crate) mended: Vec<String>,
}

impl Changes {
    /// Whether nothing changed.
    pub(super) fn is_empty(&self) -> bool {
        let Self { comparable: _, new_clients, silent_clients, new_refusals, failing, mended } =
            self;
        [new_clients, silent_clients, failing, mended].into_iter().all(Vec::is_empty)
            && new_refusals.is_empty()
    }
}

/// Something that needs a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Need {
    /// What is the matter.
    pub(crate) what: String,
    /// What mends it.
    pub(crate) remedy: String,
}

/// What was counted so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Where the period before, and the period itself, begins.
    before: Timestamp,
    since: Timestamp,
    partial: bool,
    /// Whether the history knows less than both of them.
    forgotten: bool,
    taken: u64,
    relayed: u64,
    died: u64,
    lanes: BTreeMap<Lane, u64>,
    spending: Counter,
    /// Whether there was mail before the period.
    had_mail: bool,
    clients: Both,
    refusals: BTreeMap<String, u64>,
    refusals_before: BTreeSet<String>,
}

/// Who was there in the period and in the one before.
#[derive(Debug, Default)]
struct Both {
    now: BTreeSet<String>,
    before: BTreeSet<String>,
}

impl Tally {
    /// For the period since then, with a history that remembers for so long.
    pub(super) fn new(since: Timestamp, now: Timestamp, history_lifetime: Duration) -> Self {
        let (before, remembered) = (since.before(now.since(since)), now.before(history_lifetime));
        let (partial, forgotten) = (remembered > since, remembered > before);
        let spending = Counter::between(since, now);
        Self { before, since, partial, forgotten, spending, ..Self::default() }
    }

    /// Counts what is in the queue and in the history.
    pub(super) async fn walk(mut self, store: &Queue) -> Result<Self, QueueError> {
        let add = |message: &QueuedMessage| self.add(message);
        let partial = look_back(store, Timestamp(i64::MIN), MESSAGES_MAX, add).await?;
        self.partial |= partial;
        Ok(self)
    }

    fn add(&mut self, message: &QueuedMessage) {
        let (record, origin) = (&message.record, handed_over_by(message));
        self.spending.add(message);
        self.had_mail |= record.accepted_at < self.since;
        if record.about.client != Client::Relay {
            let at = record.accepted_at;
            self.taken += u64::from(at >= self.since);
            let them = match at {
                at if at >= self.since => Some(&mut self.clients.now),
                at if at >= self.before => Some(&mut self.clients.before),
                _ => None,
            };
            if let Some(them) = them.filter(|them| them.len() < VALUES_MAX) {
                them.insert(origin);
            }
        }
        let mut relayed = 0;
        for recipient in message.recipients() {
            match &recipient.state {
                RecipientState::Relayed { at } if *at >= self.since => relayed += 1,
                RecipientState::Dead { since, .. } if *since >= self.since => self.died += 1,
                _ => {}
            }
        }
        if relayed > 0 {
            self.relayed += relayed;
            *self.lanes.entry(record.lane).or_default() += relayed;
        }
        self.add_refusals(message);
    }

    fn add_refusals(&mut self, message: &QueuedMessage) {
        let refusals =
            message.record.attempts.iter().filter(|attempt| {
                attempt.at >= self.before && attempt.reply.starts_with(['4', '5'])
            });
        for attempt in refusals {
            let kind = text::printable_within(&alike(&attempt.reply), REFUSAL_BYTES_MAX);
            if attempt.at < self.since {
                if self.refusals_before.len() < VALUES_MAX {
                    self.refusals_before.insert(kind);
                }
            } else if self.refusals.len() < VALUES_MAX || self.refusals.contains_key(&kind) {
                *self.refusals.entry(kind).or_default() += attempt.places().count() as u64;
            }
        }
    }

    /// The figures as far as mail goes; `reports` are diagnoses, the oldest first.
    pub(super) fn figures(self, now: Timestamp, checkups: &checkups::Kept) -> Figures {
        let (failing, mended) = checks(checkups, self.since);
        // What was not counted, or is forgotten, may have been there.
        let comparable = self.had_mail && !self.partial && !self.forgotten;
        let is_whole = |set: &BTreeSet<String>| set.len() < VALUES_MAX;
        // A table that was too small cannot say who was not there.
        let knows_clients =
            comparable && is_whole(&self.clients.now) && is_whole(&self.clients.before);
        let only = |these: &BTreeSet<String>, those: &BTreeSet<String>| -> Vec<String> {
            let only = these.difference(those).filter(|_| knows_clients);
            only.take(NAMED_MAX).cloned().collect()
        };
        let knows_refusals = comparable && is_whole(&self.refusals_before);
        let new_refusals = self
            .refusals
            .iter()
            .filter(|(kind, _)| knows_refusals && !self.refusals_before.contains(*kind));
        let changes = Changes {
            comparable,
            new_clients: only(&self.clients.now, &self.clients.before),
            silent_clients: only(&self.clients.before, &self.clients.now),
            new_refusals: most(new_refusals.map(|(kind, number)| (kind.clone(), *number))),
            failing,
            mended,
        };
        let lanes = self.lanes.iter().map(|(lane, number)| (lane.name().to_owned(), *number));
        let spending = self.spending.report(self.partial);
        Figures {
            since: self.since,
            now,
            partial: self.partial,
            taken: self.taken,
            relayed: self.relayed,
            died: self.died,
            lanes: lanes.map(|(name, recipients)| Share { name, recipients }).collect(),
            folded: spending.all.folded,
            origins: spending.origins,
            other_origins: spending.others,
            changes,
            ..Figures::default()
        }
    }
}

/// Who handed it over: a client of the network, with its login where it has one, a user of this host, or the relay itself.
fn handed_over_by(message: &QueuedMessage) -> String {
    let about = &message.record.about;
    match &about.user {
        Some(user) => format!("{} ({user})", about.client),
        None => about.client.to_string(),
    }
}

/// The largest.
fn most(all: impl Iterator<Item = (String, u64)>) -> Vec<Share> {
    let mut all: Vec<Share> = all.map(|(name, recipients)| Share { name, recipients }).collect();
    all.sort_by(|a, b| b.recipients.cmp(&a.recipients).then_with(|| a.name.cmp(&b.name)));
    all.truncate(NAMED_MAX);
    all
}

/// Checks that began to fail since then and still do, and those that failed at or after that time and are well.
fn checks(kept: &checkups::Kept, since: Timestamp) -> (Vec<String>, Vec<String>) {
    let reports = &kept.reports;
    let (before, within) = reports.split_at(reports.partition_point(|report| report.at < since));
    let Some(last) = within.last() else { return (Vec::new(), Vec::new()) };
    let of = |report: &Report, verdicts: &[Verdict]| -> BTreeSet<String> {
        let found = report.findings.iter();
        let found = found.filter(|finding| verdicts.contains(&finding.outcome.verdict));
        found.map(|finding| finding.name.clone()).collect()
    };
    let fails = |report: &Report| of(report, &[Verdict::Fail]);
    let failed_before = before.last().map(fails).unwrap_or_default();
    let failing = fails(last).difference(&failed_before).cloned().collect();
    let between = kept.mended.iter().filter(|mended| mended.at >= since);
    let between = between.map(|mended| mended.name.clone());
    let failed: BTreeSet<String> =
        within.iter().flat_map(fails).chain(failed_before.iter().cloned()).chain(between).collect();
    let well = of(last, &[Verdict::Pass, Verdict::Warn]);
    (failing, failed.intersection(&well).cloned().collect())
}

/// How long a period is that nothing else says.
pub(super) const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// How long a period may be: after a longer time without a report the rest is left out.
pub(super) const PERIOD_MAX: Duration = Duration::from_secs(31 * 86_400);

#[cfg(test)]
mod tests;
