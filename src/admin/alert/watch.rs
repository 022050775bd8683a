//! The decision what is an alert, and whether it is told now.
//!
//! Rule: pure; facts and time in, alerts out. A condition that comes and goes makes no storm: it counts as
//! over only after `CALM`, and all alerts together are capped for each hour. Must not know who is told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    addressed::{MAIN, addressed},
    budget::Limit,
    clock::Timestamp,
    fleet::{Away, REMEDY},
    tasks::Mishap,
};

/// How long a condition must be gone before it counts as over.
const CALM: Duration = Duration::from_secs(10 * 60);
/// How long the upstream may be out of reach before that is an alert; shorter troubles mend themselves.
const BACKING_OFF_MAX: Duration = Duration::from_secs(30 * 60);
/// How long the fleet's database may be out of reach before that is an alert.
const AWAY_MAX: Duration = Duration::from_secs(2 * 60);
/// How long files of the drop directory may wait before that is an alert.
pub(crate) const STUCK: Duration = Duration::from_secs(30 * 60);
/// How long an origin must stay below its limit before it is told of anew.
const ORIGIN_CALM: Duration = Duration::from_secs(24 * 3600);
/// Origins that are remembered as told of.
const LIMITED_MAX: usize = 1_000;
/// Alerts in any hour.
pub(crate) const ALERTS_PER_HOUR_MAX: usize = 20;
/// Hundredths of the budget at which its state is told.
const BUDGET_LOW: u64 = 80;
const BUDGET_NEARLY_SPENT: u64 = 95;

/// The kinds of alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The account is paused, or the upstream has been out of reach for long.
    Account,
    /// A message has been waiting for long.
    OldestMessage,
    /// 80 % of the budget are spent.
    BudgetLow,
    /// 95 % of the budget are spent.
    BudgetNearlySpent,
    /// The queue has failed, or damaged files were set aside.
    Store,
    /// An origin has used up its limit of a day.
    OriginLimit,
    /// The upstream gave replies that nobody knows.
    UnknownReplies,
    /// Recipients are held until a person decides.
    Held,
    /// Files of the drop directory were set aside, or are not taken.
    Dropped,
    /// A task of the relay has failed and was started again.
    Task,
    /// The database that several hosts share cannot be asked.
    Fleet,
    /// A check of `pillarbox doctor`, which the relay runs once a day, fails.
    Check,
    /// Nothing: somebody wants to see whether alerts arrive.
    Test,
}

impl Kind {
    /// What is looked for each time, in the order in which it is told, the gravest first: there may be no room for all in
    /// one hour.
    const ALL: [Self; 11] = [
        Self::Store,
        Self::Account,
        Self::Fleet,
        Self::Task,
        Self::OldestMessage,
        Self::Held,
        Self::Dropped,
        Self::BudgetNearlySpent,
        Self::BudgetLow,
        Self::OriginLimit,
        Self::UnknownReplies,
    ];

    /// Those that somebody may want to hear of, as the configuration and JSON write them.
    pub(crate) const WORDS: &[(&str, Self)] = &[
        ("account", Self::Account),
        ("oldest-message", Self::OldestMessage),
        ("budget-low", Self::BudgetLow),
        ("budget-nearly-spent", Self::BudgetNearlySpent),
        ("origin-limit", Self::OriginLimit),
        ("store", Self::Store),
        ("unknown-replies", Self::UnknownReplies),
        ("held", Self::Held),
        ("dropped", Self::Dropped),
        ("task", Self::Task),
        ("fleet", Self::Fleet),
        ("check", Self::Check),
    ];

    /// See [`Self::WORDS`].
    pub(crate) fn name(self) -> &'static str {
        Self::WORDS.iter().find(|(_, kind)| *kind == self).map_or("test", |(name, _)| name)
    }
}

/// What is known at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The accounts that are not open.
    pub(crate) accounts: Vec<AccountTrouble>,
    /// When the oldest message that still waits was accepted; dead and held ones do not count.
    pub(crate) oldest_waiting: Option<Timestamp>,
    /// When mail leaves next and what decides that, in one sentence.
    pub(crate) departure: Option<String>,
    /// What each account has spent.
    pub(crate) days: Vec<Day>,
    /// Origins that have used up their limit, in words.
    pub(crate) limited: Vec<String>,
    /// Why the queue does not answer.
    pub(crate) store_failure: Option<String>,
    /// Why the queue takes no mail, or no large mail: its quota or the disk.
    pub(crate) store_full: Option<String>,
    /// Damaged files that were set aside.
    pub(crate) set_aside: u64,
    /// Replies that nobody knows, since the start, and the last of them.
    pub(crate) unknown_replies: u64,
    /// See `unknown_replies`.
    pub(crate) last_unknown_reply: Option<String>,
    /// Recipients that are held.
    pub(crate) held: u64,
    /// What lies in the drop directory.
    pub(crate) dropped: Option<Dropped>,
    /// Why the fleet's database cannot be asked, and since when.
    pub(crate) away: Option<Away>,
    /// Tasks of the relay that have failed since the start.
    pub(crate) mishaps: Mishap,
}

/// What lies in the drop directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Where it is.
    pub(crate) directory: String,
    /// Files that were set aside.
    pub(crate) set_aside: u64,
    /// Files that are still to be taken, when nothing was taken for [`STUCK`].
    pub(crate) waiting: u64,
}

/// What an account has spent of its day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Day {
    /// Its name, where there are several.
    pub(crate) account: Option<Arc<str>>,
    /// Recipients in 24 hours.
    pub(crate) spent: u32,
    /// Recipients that may be.
    pub(crate) limit: Limit,
}

/// An account that is not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountTrouble {
    /// Its name, where there are several.
    pub(crate) account: Option<Arc<str>>,
    /// Such as `paused-quota`.
    pub(crate) condition: String,
    /// Since when.
    pub(crate) since: Timestamp,
    /// What happened.
    pub(crate) reason: String,
    /// What to do.
    pub(crate) remedy: String,
}

/// What is an alert, and how it is told.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How long the oldest waiting message may wait before that is an alert.
    pub(crate) oldest_message: Duration,
    /// When an alert that lasts is told again.
    pub(crate) repeat: Duration,
    /// The name of this host, for the texts.
    pub(crate) hostname: String,
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alert {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Whether it begins, lasts or is over.
    pub(crate) state: State,
    /// The host it comes from.
    pub(crate) host: String,
    /// When, in milliseconds since 1970.
    pub(crate) at: Timestamp,
    /// One line.
    pub(crate) subject: String,
    /// What to do; empty when nothing.
    pub(crate) remedy: String,
}

/// Whether a condition begins, lasts or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It was not there before, or has become another one.
    Begins,
    /// It was told before and is still there.
    Lasts,
    /// It is gone.
    Over,
}

/// Judges what is told, with what was told before.
#[derive(Debug)]
pub(crate) struct Watch {
    options: Options,
    memory: Memory,
    /// How many of them were told of: what happens within a day of that is told with the next one, not left out.
    unknown_replies: u64,
    /// The same.
    mishaps: u64,
    /// Since when files of the drop directory wait, and how many there were.
    waiting_dropped: Option<(Timestamp, u64)>,
    /// Alerts of this hour for which there was no room, as the log has been told.
    left_out: bool,
}

/// What was told, which outlives the process: a restart is no reason to tell it anew, nor to forget its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    told: BTreeMap<Kind, Told>,
    /// When alerts went out in the last hour.
    recent: VecDeque<Timestamp>,
    /// How many damaged files were told of: see [`Watch::unknown_replies`].
    set_aside: u64,
    /// The same of the drop directory.
    set_aside_dropped: u64,
    /// Origins at their limit of which was told, and when each was seen there last.
    #[serde(default)]
    limited: BTreeMap<String, Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    at: Timestamp,
    /// What makes it another condition of the same kind.
    what: String,
    gone_since: Option<Timestamp>,
}

impl Memory {
    fn times(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        let told = self.told.values_mut();
        let told = told.flat_map(|told| [Some(&mut told.at), told.gone_since.as_mut()]).flatten();
        told.chain(&mut self.recent).chain(self.limited.values_mut())
    }
}

/// A condition that holds now.
struct Condition {
    what: String,
    subject: String,
    remedy: String,
}

/// What is to be told; `what` is `None` when it is that a condition is over.
struct News {
    state: State,
    what: Option<String>,
    subject: String,
    remedy: String,
}

impl Watch {
    /// Goes on with what an earlier one remembers.
    #[must_use]
    pub(super) fn new(options: Options, mut memory: Memory, now: Timestamp) -> Self {
        // The clock may have been set back meanwhile: nothing was told in the future.
        memory.times().for_each(|at| *at = (*at).min(now));
        memory.recent.truncate(ALERTS_PER_HOUR_MAX);
        Self {
            options,
            memory,
            unknown_replies: 0,
            mishaps: 0,
            waiting_dropped: None,
            left_out: false,
        }
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The wall clock was set forward by `step_ms` (back, when negative): what is to be told again in an hour stays so.
    pub(crate) fn clock_was_set(&mut self, step_ms: i64) {
        let waiting = self.waiting_dropped.as_mut().map(|(since, _)| since);
        for at in self.memory.times().chain(waiting) {
            *at = at.moved(step_ms);
        }
    }

    /// The alerts that are due.
    pub(crate) fn look(&mut self, now: Timestamp, facts: &Facts) -> Vec<Alert> {
        self.look_at_dropped(now, facts);
        self.look_at_origins(now, facts);
        let mut alerts = Vec::new();
        for kind in Kind::ALL {
            let condition = self.condition(kind, now, facts);
            let Some(news) = self.judge(kind, now, condition) else { continue };
            // What there is no room for is not marked as told, so the next look finds it again.
            if !self.may_speak(now) {
                if !std::mem::replace(&mut self.left_out, true) {
                    tracing::warn!(
                        subject = news.subject,
                        limit = ALERTS_PER_HOUR_MAX,
                        "alerts wait: too many in this hour"
                    );
                }
                continue;
            }
            self.left_out = false;
            self.mark(kind, now, news.what, facts);
            let (host, state) = (self.options.hostname.clone(), news.state);
            let (subject, remedy) = (news.subject, news.remedy);
            alerts.push(Alert { kind, state, host, at: now, subject, remedy });
        }
        alerts
    }

    /// Notes that it was told; `None` when it was told that it is over.
    fn mark(&mut self, kind: Kind, now: Timestamp, what: Option<String>, facts: &Facts) {
        match what {
            Some(what) => self.memory.told.insert(kind, Told { at: now, what, gone_since: None }),
            None => self.memory.told.remove(&kind),
        };
        match kind {
            Kind::UnknownReplies => self.unknown_replies = facts.unknown_replies,
            Kind::Store => self.memory.set_aside = facts.set_aside,
            Kind::Dropped => {
                self.memory.set_aside_dropped =
                    facts.dropped.as_ref().map_or(0, |dropped| dropped.set_aside);
            }
            Kind::Task => self.mishaps = facts.mishaps.number,
            Kind::OriginLimit if self.memory.limited.len() < LIMITED_MAX => {
                let told = self.new_origin(facts).map(|origin| (origin.clone(), now));
                self.memory.limited.extend(told);
            }
            Kind::OriginLimit
            | Kind::Account
            | Kind::OldestMessage
            | Kind::BudgetLow
            | Kind::BudgetNearlySpent
            | Kind::Held
            | Kind::Fleet
            | Kind::Check
            | Kind::Test => {}
        }
    }

    /// Since when the files of the drop directory have not become fewer.
    fn look_at_dropped(&mut self, now: Timestamp, facts: &Facts) {
        let waiting = facts.dropped.as_ref().map_or(0, |dropped| dropped.waiting);
        self.waiting_dropped = match self.waiting_dropped {
            _ if waiting == 0 => None,
            Some((since, before)) if waiting >= before => Some((since, waiting)),
            Some(_) | None => Some((now, waiting)),
        };
        // Files that a person has dealt with make room for the next ones.
        let set_aside = facts.dropped.as_ref().map_or(0, |dropped| dropped.set_aside);
        self.memory.set_aside_dropped = self.memory.set_aside_dropped.min(set_aside);
        self.memory.set_aside = self.memory.set_aside.min(facts.set_aside);
    }

    /// An origin is told of once for as long as it comes to its limit again and again.
    fn look_at_origins(&mut self, now: Timestamp, facts: &Facts) {
        for origin in &facts.limited {
            self.memory.limited.entry(origin.clone()).and_modify(|seen| *seen = now);
        }
        self.memory.limited.retain(|_, seen| *seen > now.before(ORIGIN_CALM));
    }

    /// An origin at its limit of which nobody was told.
    fn new_origin<'a>(&self, facts: &'a Facts) -> Option<&'a String> {
        facts.limited.iter().find(|origin| !self.memory.limited.contains_key(*origin))
    }

    fn store_condition(&self, facts: &Facts) -> Option<Condition> {
        let (what, subject, remedy) = if let Some(reason) = &facts.store_failure {
            let remedy = "Look at the disk and at the log; clients keep their mail meanwhile";
            ("failure", format!("the queue does not answer: {reason}"), remedy)
        } else if let Some(reason) = &facts.store_full {
            let remedy = "Make room, see pillarbox queue list and dead list; clients keep their mail meanwhile";
            ("full", reason.clone(), remedy)
        } else if facts.set_aside > self.memory.set_aside {
            let subject = format!("{} damaged files of the queue were set aside", facts.set_aside);
            let remedy = "Look at them and at the disk; pillarbox status says where they are";
            ("damage", subject, remedy)
        } else {
            return None;
        };
        let subject = format!("{}: {subject}", self.options.hostname);
        Some(Condition { what: what.into(), subject, remedy: remedy.into() })
    }

    fn condition(&self, kind: Kind, now: Timestamp, facts: &Facts) -> Option<Condition> {
        let host = &self.options.hostname;
        let condition = |what: &str, subject: String, remedy: &str| {
            Some(Condition {
                what: what.into(),
                subject: format!("{host}: {subject}"),
                remedy: remedy.into(),
            })
        };
        match kind {
            Kind::Account => self.accounts(now, facts),
            Kind::OldestMessage => {
                let since = facts
                    .oldest_waiting
                    .filter(|since| *since <= now.before(self.options.oldest_message))?;
                let departure = facts.departure.as_deref().unwrap_or_default();
                let remedy = format!("{departure} See also: pillarbox status");
                condition("", format!("mail has been waiting since {since}"), remedy.trim_start())
            }
            Kind::BudgetLow => {
                let low = |day: &Day| spends(day, BUDGET_LOW) && !spends(day, BUDGET_NEARLY_SPENT);
                let (which, subject) = spent(facts, low)?;
                let commands = budget_commands(facts, low);
                condition(&which, subject, &format!("See when room comes back with: {commands}"))
            }
            Kind::BudgetNearlySpent => {
                let is_nearly = |day: &Day| spends(day, BUDGET_NEARLY_SPENT);
                let (which, subject) = spent(facts, is_nearly)?;
                let commands = budget_commands(facts, is_nearly);
                let remedy =
                    format!("Mail beyond that is kept and leaves by itself; see {commands}");
                condition(&which, subject, &remedy)
            }
            Kind::Store => self.store_condition(facts),
            Kind::OriginLimit => {
                let origin = self.new_origin(facts)?;
                let subject = format!("{origin} has used up the limit of an origin for this day");
                let remedy = "Its mail waits, and that of others goes on. Look at it with pillarbox queue list; \
                              raise budget.origin_limit if it is meant to send so much";
                condition(origin, subject, remedy)
            }
            Kind::UnknownReplies => {
                (facts.unknown_replies > self.unknown_replies).then_some(())?;
                let last = facts.last_unknown_reply.as_deref().unwrap_or_default();
                let remedy = "Mail is treated by the default rule; please report the reply";
                condition(
                    "",
                    format!("the upstream gave a reply that is not known: {last}"),
                    remedy,
                )
            }
            Kind::Held => self.held(facts),
            Kind::Dropped => self.dropped(now, facts.dropped.as_ref()?),
            Kind::Task => self.task(facts),
            Kind::Fleet => {
                let Away { since, reason } = facts.away.as_ref()?;
                (*since <= now.before(AWAY_MAX)).then_some(())?;
                let subject =
                    format!("the fleet's database cannot be asked, and nothing is sent: {reason}");
                condition("", subject, REMEDY)
            }
            // Of these others tell.
            Kind::Check | Kind::Test => None,
        }
    }

    /// The accounts that are paused, or have been out of reach for long; another one of them is another condition.
    fn accounts(&self, now: Timestamp, facts: &Facts) -> Option<Condition> {
        let is_worth_it = |account: &&AccountTrouble| {
            let patience = Duration::from_millis(now.0.abs_diff(account.since.0));
            account.condition != "backing-off" || patience >= BACKING_OFF_MAX
        };
        let (mut what, mut subject, mut remedy) = (Vec::new(), Vec::new(), Vec::new());
        for trouble in facts.accounts.iter().filter(is_worth_it) {
            let AccountTrouble { account, condition, reason, .. } = trouble;
            match account {
                Some(name) => {
                    what.push(format!("{name} {condition}"));
                    subject.push(format!("the account {name} is {condition}: {reason}"));
                }
                None => {
                    what.push(condition.clone());
                    subject.push(format!("the account is {condition}: {reason}"));
                }
            }
            if !remedy.contains(&trouble.remedy) {
                remedy.push(trouble.remedy.clone());
            }
        }
        (!what.is_empty()).then(|| Condition {
            what: what.join(", "),
            subject: format!("{}: {}", self.options.hostname, subject.join("; ")),
            remedy: remedy.join(" "),
        })
    }

    fn held(&self, facts: &Facts) -> Option<Condition> {
        (facts.held > 0).then_some(())?;
        let verb = if facts.held == 1 { "recipient is" } else { "recipients are" };
        let (host, number) = (&self.options.hostname, facts.held);
        let remedy = "Look at them with pillarbox queue list --state held, then pillarbox queue retry or delete";
        Some(Condition {
            what: String::new(),
            subject: format!("{host}: {number} {verb} held until a person decides"),
            remedy: remedy.into(),
        })
    }

    fn task(&self, facts: &Facts) -> Option<Condition> {
        (facts.mishaps.number > self.mishaps).then_some(())?;
        let (host, task) = (&self.options.hostname, facts.mishaps.last);
        Some(Condition {
            what: String::new(),
            subject: format!(
                "{host}: a task of the relay ({task}) has failed and was started again"
            ),
            remedy: "Please report it with the log".into(),
        })
    }

    fn dropped(&self, now: Timestamp, dropped: &Dropped) -> Option<Condition> {
        let Dropped { directory, set_aside, waiting } = dropped;
        let host = &self.options.hostname;
        let stuck = self.waiting_dropped.filter(|(since, _)| *since <= now.before(STUCK));
        let (what, subject, remedy) = if *set_aside > self.memory.set_aside_dropped {
            (
                "set-aside",
                format!("{set_aside} files of programs of this host were set aside in {directory}"),
                "The log says why each was; rename bad.* back to new.* to have it tried again, or delete it",
            )
        } else if stuck.is_some() {
            (
                "stuck",
                format!("{waiting} files in {directory} have not been taken for long"),
                "The log says why; see also pillarbox status",
            )
        } else {
            return None;
        };
        let subject = format!("{host}: {subject}");
        Some(Condition { what: what.into(), subject, remedy: remedy.into() })
    }

    /// Whether the condition is told now.
    fn judge(&mut self, kind: Kind, now: Timestamp, condition: Option<Condition>) -> Option<News> {
        let Some(condition) = condition else {
            let told = self.memory.told.get_mut(&kind)?;
            let gone_since = *told.gone_since.get_or_insert(now);
            if gone_since > now.before(CALM) {
                return None;
            }
            let name = match (kind, told.what.as_str()) {
                (Kind::Account, _) => "the account is open again",
                (Kind::OldestMessage, _) => "no mail is waiting for long any more",
                (Kind::Store, "failure") => "the queue answers again",
                (Kind::Store, "full") => "the queue takes mail again",
                (Kind::Fleet, _) => "the fleet's database answers again",
                (Kind::Held, _) => "no mail is held any more",
                (Kind::Dropped, "stuck") => "the files of the drop directory are taken again",
                // What happens at a moment does not last, and so is never over.
                _ => {
                    self.memory.told.remove(&kind);
                    return None;
                }
            };
            let subject = format!("{}: {name}", self.options.hostname);
            return Some(News { state: State::Over, what: None, subject, remedy: String::new() });
        };
        let state = match self.memory.told.get_mut(&kind) {
            Some(told) if told.what == condition.what => {
                told.gone_since = None;
                (told.at <= now.before(self.options.repeat)).then_some(State::Lasts)?
            }
            _ => State::Begins,
        };
        let Condition { what, subject, remedy } = condition;
        Some(News { state, what: Some(what), subject, remedy })
    }

    fn may_speak(&mut self, now: Timestamp) -> bool {
        let hour_ago = now.before(Duration::from_secs(3600));
        while self.memory.recent.front().is_some_and(|at| *at <= hour_ago) {
            self.memory.recent.pop_front();
        }
        let may = self.memory.recent.len() < ALERTS_PER_HOUR_MAX;
        if may {
            self.memory.recent.push_back(now);
        }
        may
    }
}

fn spends(day: &Day, hundredths: u64) -> bool {
    day.limit.recipients().is_some_and(|limit| {
        limit > 0 && u64::from(day.spent) * 100 >= u64::from(limit) * hundredths
    })
}

/// What shows the days that are such ones.
fn budget_commands(facts: &Facts, is_such: impl Fn(&Day) -> bool) -> String {
    let commands = facts.days.iter().filter(|day| is_such(day)).map(|day| {
        let account = day.account.as_deref().unwrap_or(MAIN);
        addressed("pillarbox budget", account)
    });
    commands.collect::<Vec<_>>().join(" and ")
}

/// The accounts whose day is such a one, and what they have spent in words.
fn spent(facts: &Facts, is_such: impl Fn(&Day) -> bool) -> Option<(String, String)> {
    let (mut names, mut words) = (Vec::new(), Vec::new());
    for Day { account, spent, limit } in facts.days.iter().filter(|day| is_such(day)) {
        match account {
            Some(name) => {
                names.push(name.to_string());
                words.push(format!("{spent} of {limit} recipients of this day of {name}"));
            }
            None => words.push(format!("{spent} of {limit} recipients of this day")),
        }
    }
    let words = format!("{} are spent", words.join(" and "));
    facts.days.iter().any(is_such).then(|| (names.join(", "), words))
}

#[cfg(test)]
mod tests;
