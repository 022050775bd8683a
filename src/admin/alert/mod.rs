//! Alerts outside the queue: what a person must hear of although no mail can leave.
//!
//! Rule: an alert never depends on the upstream or on the queue, and a queue that does not answer is itself a fact. It goes
//! to a command or a webhook of the administrator, once when it begins, again after a time while it lasts, and once when
//! it is over.

use std::{path::PathBuf, time::Duration};

use self::{
    checks::Checks,
    outputs::Outbox,
    watch::{AccountTrouble, Alert, Dropped, Facts, Kind, State, Watch},
};
use crate::{
    admin::{
        context::Sources,
        status::{self, QueueSummary},
    },
    clock::{Moment, Steps, Timestamp},
    delivery::PoolStatus,
    queue::{
        QueueError,
        state::{AccountCondition, AccountState},
        waiting::Refusing,
    },
};

mod checks;
pub(crate) mod format;
pub(crate) mod outputs;
pub(crate) mod watch;

/// How often it looks.
const CHECK: Duration = Duration::from_secs(60);
/// Messages of the queue that one look walks over: a longer queue has told of itself before.
const MESSAGES_MAX: usize = 10_000;

/// Where alerts go, and when.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// A program and its arguments; it gets the alert as JSON on its standard input. No shell is involved.
    pub(crate) command: Vec<String>,
    /// An address that gets each alert as the body of a POST.
    pub(crate) webhook: Option<outputs::Address>,
    /// In this form.
    pub(crate) format: format::Format,
    /// One more trusted root for it.
    pub ca_file: Option<PathBuf>,
    /// What is an alert.
    pub(crate) watch: watch::Options,
}

/// Works until it is dropped. Also when nobody is to be told it looks, for the log and for probes.
pub(crate) async fn run(options: Options, sources: Sources) {
    let mut outboxes = outboxes(&options);
    let mut checks = Checks::new(options.watch.hostname.clone());
    let (mut watch, mut door) = (Watch::new(options.watch), Door::default());
    let mut steps = Steps::since(sources.clock.now());
    loop {
        let now = sources.clock.now();
        if let Some(step_ms) = steps.look(now) {
            watch.clock_was_set(step_ms);
        }
        let refusing = status::refusing(&sources);
        door.look(refusing.as_ref());
        let facts = facts(&sources, now, refusing).await;
        if !outboxes.is_empty() {
            let report = sources.checkups.last();
            let of_checks = checks.look(now.wall, report.as_deref());
            for alert in watch.look(now.wall, &facts).into_iter().chain(of_checks) {
                tracing::warn!(subject = alert.subject, remedy = alert.remedy, "alert");
                outboxes.iter_mut().for_each(|outbox| outbox.push(alert.clone()));
            }
        }
        for outbox in &mut outboxes {
            // Its waits are of this process: they count in the boot clock.
            let up_ms = i64::try_from(sources.clock.now().since_boot_ms).unwrap_or(i64::MAX);
            outbox.send(Timestamp(up_ms)).await;
        }
        sources.clock.sleep(CHECK).await;
    }
}

fn outboxes(options: &Options) -> Vec<Outbox> {
    let command =
        (!options.command.is_empty()).then(|| Outbox::of_command(options.command.clone()));
    let webhook = options.webhook.clone();
    let webhook =
        webhook.map(|address| Outbox::new(address, options.format, options.ca_file.clone()));
    command.into_iter().chain(webhook).collect()
}

/// Sends one alert by every way, at once and once; returns the number of ways, and which of them failed and why.
pub(crate) async fn try_ways(options: &Options, now: Timestamp) -> (usize, Vec<String>) {
    let (outboxes, host) = (outboxes(options), &options.watch.hostname);
    let alert = Alert {
        kind: Kind::Test,
        state: State::Begins,
        host: host.clone(),
        at: now,
        subject: format!("{host}: a test of the way by which alerts come; nothing is wrong"),
        remedy: String::new(),
    };
    let mut failures = Vec::new();
    for outbox in &outboxes {
        failures.extend(outbox.try_once(&alert).await.err());
    }
    (outboxes.len(), failures)
}

/// Whether clients were refused at the last look, so that the log has a line when that changes.
#[derive(Debug, Default)]
struct Door {
    refused: Option<bool>,
}

impl Door {
    fn look(&mut self, refusing: Option<&Refusing>) {
        let now = refusing.map(|refusing| refusing.everything);
        match (self.refused, refusing) {
            (Some(_), None) => tracing::info!("there is room again: mail of every size is taken"),
            (before, Some(refusing)) if before != now => {
                tracing::warn!(remedy = refusing.remedy, "{}", refusing.what);
            }
            _ => {}
        }
        self.refused = now;
    }
}

async fn facts(sources: &Sources, now: Moment, refusing: Option<Refusing>) -> Facts {
    let PoolStatus { account, counters, last_unknown_reply, .. } = sources.upstream.status();
    let limit = sources.facts().limit();
    let (summary, walk_failure) = match walk(sources, now).await {
        Ok(summary) => (summary, None),
        Err(error) => (QueueSummary::default(), Some(error.to_string())),
    };
    let (spent, departure, ledger_failure) = match status::stand(sources, summary.due).await {
        Ok(stand) => {
            let departure = stand.situation.first_departure(summary.next_due);
            (stand.budget.spent, Some(departure.sentence(|at| at.to_string())), None)
        }
        Err(error) => (0, None, Some(error.to_string())),
    };
    let dropped = sources.dropped.as_ref().map(|tally| tally.state());
    Facts {
        account: trouble(account),
        oldest_waiting: summary.oldest.map(|oldest| oldest.accepted_at),
        departure,
        spent,
        limit,
        store_failure: ledger_failure.or(walk_failure),
        store_full: refusing.filter(|refusing| !refusing.failed).map(|refusing| refusing.what),
        set_aside: sources.store.totals().set_aside,
        unknown_replies: counters.unknown_replies,
        last_unknown_reply,
        held: summary.recipients.held,
        dropped: dropped.map(|state| Dropped {
            directory: state.directory,
            set_aside: state.set_aside,
            waiting: state.waiting,
        }),
        mishaps: sources.mishaps.so_far(),
    }
}

fn trouble(account: AccountState) -> Option<AccountTrouble> {
    (account.condition != AccountCondition::Open).then(|| AccountTrouble {
        condition: account.condition.name().to_owned(),
        since: account.since,
        reason: account.reason,
        remedy: account.remedy,
    })
}

async fn walk(sources: &Sources, now: Moment) -> Result<QueueSummary, QueueError> {
    let summary = QueueSummary::of(sources.store.as_ref(), now.wall, MESSAGES_MAX).await?;
    sources.outlook.keep(now, summary.due, summary.recipients.held).await;
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{self, Format, tests::Captured};

    #[test]
    fn the_log_says_once_that_mail_is_refused_and_once_that_there_is_room_again() {
        let captured = Captured::default();
        let writer = captured.clone();
        let options = telemetry::Options { format: Format::Text, level: tracing::Level::INFO };
        let subscriber = telemetry::subscriber(options, false, move || writer.clone());
        let _guard = tracing::subscriber::set_default(subscriber);
        let refusing = |everything, what: &str| Refusing {
            everything,
            failed: false,
            what: what.into(),
            remedy: "make room".into(),
        };
        let (large, all) = (refusing(false, "large mail is not taken"), refusing(true, "no mail"));
        let mut door = Door::default();
        for look in [None, Some(&large), Some(&large), Some(&all), Some(&all), None, None] {
            door.look(look);
        }
        let text = captured.text();
        let words = ["large mail is not taken", "no mail", "there is room again"];
        for word in words {
            assert_eq!(text.matches(word).count(), 1, "{word}: {text}");
        }
    }
}
