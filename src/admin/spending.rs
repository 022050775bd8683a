//! The budget of the last days: on whom it was spent, by day, origin, lane, rule and account, and what folding has spared.
//!
//! Rule: it is counted from the queue and the history, which are on disk, so that a restart forgets nothing of it; a history
//! that is too long is counted in part. Must not know how it is shown.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    routing::get,
};
use serde::{Deserialize, Serialize};

use super::{
    api::Kind,
    context::{Json, Refusal, Sources},
    listing::look_back,
};
use crate::{
    budget::{AccountKey, MAIN},
    clock::Timestamp,
    quantities::{count as number_of, local},
    queue::{QueueError, QueuedMessage, origin::Origin, state::RecipientState, way::Way},
};

const DAY: Duration = Duration::from_secs(86_400);
/// Days that can be asked for: as long as a history is kept by default.
pub(crate) const DAYS_MAX: u32 = 31;
/// Days, when nobody says how many.
pub(crate) const DAYS: u32 = 7;
/// What was accepted so long before is looked at as well: it may have left later.
const BEFORE: Duration = DAY.saturating_mul(5);
/// Messages looked at, of the queue and of the history each.
const MESSAGES_MAX: usize = 200_000;
/// Origins that are counted apart, and those that are named.
const ORIGINS_MAX: usize = 10_000;
const ORIGINS_NAMED: usize = 20;

/// `GET /v1/budget/report`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BudgetReport {
    /// The time of this answer.
    pub(crate) now: Timestamp,
    /// From when on it was counted.
    pub(crate) since: Timestamp,
    /// All of it.
    pub(crate) all: Spent,
    /// By day, each up to this time of the day, the oldest first.
    pub(crate) days: Vec<Share>,
    /// By origin, the one that spent most first.
    pub(crate) origins: Vec<Share>,
    /// Of all other origins.
    pub(crate) others: Spent,
    /// By lane, the one that spent most first.
    pub(crate) lanes: Vec<Share>,
    /// By the rule that struck, the one that spent most first.
    pub(crate) rules: Vec<Share>,
    /// Where there are several accounts, by the one that has relayed it, the one that spent most first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) accounts: Vec<Share>,
    /// Whether queue or history are longer than what was looked at.
    pub(crate) partial: bool,
}

/// What is said where not all was counted.
pub(crate) const PARTIAL: &str =
    "Only the newest messages were counted: there are too many for one answer.";

/// The others, as they stand behind those that have a name.
pub(crate) const OTHERS: &str = "(all others)";

/// The named origins, and what all others have spent together.
pub(crate) fn with_others(origins: &[Share], others: Spent) -> Vec<Share> {
    let rest = Some(Share { by: OTHERS.into(), spent: others });
    let rest = rest.filter(|_| others != Spent::default());
    origins.iter().cloned().chain(rest).collect()
}

impl BudgetReport {
    /// The named origins, and what all others have spent together.
    pub(crate) fn all_origins(&self) -> Vec<Share> {
        with_others(&self.origins, self.others)
    }

    /// The days, each by the local time at which it begins.
    pub(crate) fn days_by_name(&self) -> Vec<Share> {
        let begins = |by: &str| by.parse().ok().map(Timestamp);
        let name = |by: &str| begins(by).map_or_else(|| by.to_owned(), |at| local(at, self.now));
        self.days.iter().map(|day| Share { by: name(&day.by), spent: day.spent }).collect()
    }
}

/// Recipients that were spent, and that were not because their messages were folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spent {
    /// Relayed.
    pub(crate) recipients: u64,
    /// Folded.
    pub(crate) folded: u64,
}

/// Those of one day, origin, lane or rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// Which one; of a day the milliseconds since 1970 at which it begins.
    pub(crate) by: String,
    /// How many.
    #[serde(flatten)]
    pub(crate) spent: Spent,
}

#[derive(Debug, Deserialize)]
struct Asked {
    days: Option<u32>,
    account: Option<String>,
}

pub(super) fn router() -> Router<Sources> {
    Router::new().route("/v1/budget/report", get(report))
}

async fn report(
    State(sources): State<Sources>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<BudgetReport>, Refusal> {
    let Query(Asked { days, account }) = asked?;
    let days = days.unwrap_or(DAYS);
    if !(1..=DAYS_MAX).contains(&days) {
        let words = format!("days: {days} is not between 1 and {DAYS_MAX}");
        return Err(Refusal::new(Kind::BadRequest, words));
    }
    let only = account.as_deref().map(|name| sources.facts().named(name)).transpose()?;
    Ok(Json(count(&sources, days, only).await?))
}

/// Of all accounts, or of one.
pub(super) async fn count(
    sources: &Sources,
    days: u32,
    only: Option<AccountKey>,
) -> Result<BudgetReport, QueueError> {
    let (now, facts) = (sources.clock.now(), sources.facts());
    let served_by = sources.store.served_by(now).await?;
    let mut counter = Counter::new(now.wall, days);
    let oldest = counter.since.before(BEFORE);
    let add = |message: &QueuedMessage| {
        let record = &message.record;
        // What is folded was tried by nobody: it is with whoever would have it.
        let name = match record.fold.is_some() {
            true => &*facts.of(served_by.account_of(Way::of(record))).name,
            false => record.account.as_deref().unwrap_or(MAIN),
        };
        if only.is_some_and(|only| only != AccountKey::of(name)) {
            return;
        }
        let spent = counter.add(message);
        if facts.has_several_accounts() {
            counter.add_to(name, spent);
        }
    };
    let partial = look_back(&sources.store, oldest, MESSAGES_MAX, add).await?;
    Ok(counter.report(partial))
}

/// What was counted so far.
#[derive(Debug, Default)]
pub(super) struct Counter {
    now: Timestamp,
    since: Timestamp,
    days: Vec<Spent>,
    origins: HashMap<String, Spent>,
    others: Spent,
    lanes: BTreeMap<String, Spent>,
    rules: BTreeMap<String, Spent>,
    accounts: BTreeMap<String, Spent>,
}

impl Counter {
    fn new(now: Timestamp, days: u32) -> Self {
        Self { now, since: now.before(DAY * days), ..Self::default() }.of_days(days)
    }

    /// For the time from then on, the last day of which may be a part of one.
    pub(super) fn between(since: Timestamp, now: Timestamp) -> Self {
        let days = now.since(since).as_secs().div_ceil(DAY.as_secs()).max(1);
        let days = u32::try_from(days).unwrap_or(DAYS_MAX).min(DAYS_MAX);
        Self { now, since, ..Self::default() }.of_days(days)
    }

    fn of_days(self, days: u32) -> Self {
        Self { days: vec![Spent::default(); days as usize], ..self }
    }

    /// Counts a message, and says what it has spent.
    pub(super) fn add(&mut self, message: &QueuedMessage) -> Spent {
        let record = &message.record;
        let mut all = Spent::default();
        for recipient in &record.recipients {
            let spent = match recipient.state {
                RecipientState::Relayed { at } => (at, Spent { recipients: 1, folded: 0 }),
                RecipientState::Queued { .. } if record.fold.is_some() => {
                    (record.accepted_at, Spent { recipients: 0, folded: 1 })
                }
                _ => continue,
            };
            if let Some(day) = self.day(spent.0) {
                day.add(spent.1);
                all.add(spent.1);
            }
        }
        if all == Spent::default() {
            return all;
        }
        let origin = Origin::of(record).to_string();
        if self.origins.len() < ORIGINS_MAX || self.origins.contains_key(&origin) {
            self.origins.entry(origin).or_default().add(all);
        } else {
            self.others.add(all);
        }
        self.lanes.entry(record.lane.name().to_owned()).or_default().add(all);
        let rules = record.rule.iter();
        rules.for_each(|rule| self.rules.entry(rule.clone()).or_default().add(all));
        all
    }

    /// The account with this name has spent it.
    fn add_to(&mut self, account: &str, spent: Spent) {
        if spent != Spent::default() {
            self.accounts.entry(account.to_owned()).or_default().add(spent);
        }
    }

    /// The day of a time; `None` for what was before the first one.
    fn day(&mut self, at: Timestamp) -> Option<&mut Spent> {
        if at < self.since {
            return None;
        }
        // A clock that was set back has some of the future.
        let place = at.since(self.since).as_secs() / DAY.as_secs();
        let place = usize::try_from(place).ok()?.min(self.days.len().checked_sub(1)?);
        self.days.get_mut(place)
    }

    pub(super) fn report(self, partial: bool) -> BudgetReport {
        let mut all = Spent::default();
        self.days.iter().for_each(|day| all.add(*day));
        let days = (0..)
            .zip(self.days)
            .map(|(place, spent)| Share { by: self.since.after(DAY * place).0.to_string(), spent });
        let (mut origins, mut others) = (sorted(self.origins), self.others);
        for share in origins.drain(ORIGINS_NAMED.min(origins.len())..) {
            others.add(share.spent);
        }
        BudgetReport {
            now: self.now,
            since: self.since,
            all,
            days: days.collect(),
            origins,
            others,
            lanes: sorted(self.lanes),
            rules: sorted(self.rules),
            accounts: sorted(self.accounts),
            partial,
        }
    }
}

impl Spent {
    /// `735 recipients spent since yesterday; 4995 more were not, because their messages were folded.`
    pub(crate) fn sentence(self, since: &str) -> String {
        let spared = self.spared().map_or_else(String::new, |words| format!("; {words}"));
        format!("{} spent since {since}{spared}.", number_of(self.recipients, "recipient"))
    }

    /// `4995 more were not, because their messages were folded`; nothing where none were.
    pub(crate) fn spared(self) -> Option<String> {
        let Self { folded, .. } = self;
        (folded > 0).then(|| format!("{folded} more were not, because their messages were folded"))
    }

    fn add(&mut self, more: Self) {
        self.recipients += more.recipients;
        self.folded += more.folded;
    }
}

/// What spent most comes first.
fn sorted(shares: impl IntoIterator<Item = (String, Spent)>) -> Vec<Share> {
    let mut shares: Vec<Share> =
        shares.into_iter().map(|(by, spent)| Share { by, spent }).collect();
    shares.sort_unstable_by(|one, other| {
        let most = |share: &Share| (share.spent.recipients, share.spent.folded);
        most(other).cmp(&most(one)).then_with(|| one.by.cmp(&other.by))
    });
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        message::envelope::{BodyKind, Envelope, Lane, Origin as Handed},
        queue::{fold::Fold, id::QueueId, record::MessageRecord},
        smtp::dsn::Dsn,
    };

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    /// A message whose recipients were relayed so many hours ago.
    fn message(from: &str, lane: Lane, rule: Option<&str>, relayed: &[u32]) -> QueuedMessage {
        let address = |place| format!("r{place}@example.net").parse().unwrap();
        let envelope = Envelope {
            reverse_path: from.parse().ok(),
            forward_paths: (0..relayed.len().max(1)).map(address).collect(),
            body: BodyKind::SevenBit,
            internationalized: false,
            dsn: Dsn::default(),
            lane,
            origin: Handed {
                address: [10, 0, 0, 7].into(),
                helo: String::new(),
                protocol: "ESMTP".into(),
                login: None,
                local: None,
            },
            accepted_at: NOW.before(DAY),
        };
        let mut record = MessageRecord::new(&envelope, 1, "x");
        record.rule = rule.map(str::to_owned);
        for (recipient, hours) in record.recipients.iter_mut().zip(relayed) {
            let at = NOW.before(Duration::from_secs(3_600) * *hours);
            recipient.state = RecipientState::Relayed { at };
        }
        QueuedMessage { id: QueueId::from_bytes([1; 16]), record }
    }

    fn folded(from: &str) -> QueuedMessage {
        let mut message = message(from, Lane::Normal, None, &[]);
        let storm = QueueId::from_bytes([2; 16]);
        message.record.fold = Some(Fold { storm, from: from.into(), told: None });
        message
    }

    fn shares(shares: &[Share]) -> Vec<(&str, u64, u64)> {
        let numbers = |one: &Share| (one.spent.recipients, one.spent.folded);
        shares.iter().map(|one| (one.by.as_str(), numbers(one).0, numbers(one).1)).collect()
    }

    #[test]
    fn it_says_on_whom_each_day_was_spent_and_what_folding_has_spared() {
        let mut counter = Counter::new(NOW, 2);
        counter.add(&message("job@example.org", Lane::Bulk, Some("reports"), &[1, 30, 60]));
        counter.add(&message("person@example.org", Lane::Normal, None, &[2]));
        for _ in 0..3 {
            counter.add(&folded("ban@example.org"));
        }
        let report = counter.report(false);
        assert_eq!(report.all, Spent { recipients: 3, folded: 3 }, "one was before");
        let days: Vec<_> =
            report.days.iter().map(|day| (day.spent.recipients, day.spent.folded)).collect();
        assert_eq!(days, [(1, 0), (2, 3)]);
        assert_eq!(report.days[1].by, NOW.before(DAY).0.to_string());
        assert_eq!(
            shares(&report.origins),
            [
                ("10.0.0.7, from <job@example.org>", 2, 0),
                ("10.0.0.7, from <person@example.org>", 1, 0),
                ("10.0.0.7, from <ban@example.org>", 0, 3),
            ]
        );
        assert_eq!(shares(&report.lanes), [("bulk", 2, 0), ("normal", 1, 3)]);
        assert_eq!(shares(&report.rules), [("reports", 2, 0)]);
        assert_eq!(report.others, Spent::default());
    }

    #[test]
    fn however_many_origins_there_are_some_are_named_and_the_others_are_one_number() {
        let mut counter = Counter::new(NOW, 1);
        for number in 0..200 {
            let from = format!("job{number}@example.org");
            counter.add(&message(&from, Lane::Normal, None, &[number / 100 + 1, 2]));
        }
        let report = counter.report(false);
        assert_eq!((report.origins.len(), report.all.recipients), (ORIGINS_NAMED, 400));
        assert_eq!(report.others.recipients, 400 - 2 * ORIGINS_NAMED as u64);
    }

    #[test]
    fn origins_without_end_take_no_more_room_than_the_table_has() {
        let mut counter = Counter::new(NOW, 1);
        let mut one = message("job@example.org", Lane::Normal, None, &[1]);
        for number in 0..ORIGINS_MAX + 50 {
            one.record.about.user = Some(format!("user{number}"));
            counter.add(&one);
        }
        assert_eq!((counter.origins.len(), counter.others.recipients), (ORIGINS_MAX, 50));
        assert_eq!(counter.report(false).all.recipients, ORIGINS_MAX as u64 + 50);
    }

    #[test]
    fn a_period_of_some_days_and_a_part_of_one_is_counted_from_its_beginning() {
        let mut counter = Counter::between(NOW.before(Duration::from_secs(30 * 3_600)), NOW);
        counter.add(&message("job@example.org", Lane::Normal, None, &[1, 29, 31]));
        let report = counter.report(false);
        assert_eq!((report.all.recipients, report.days.len()), (2, 2));
    }
}
