//! Alerts outside the queue: what a person must hear of although no mail can leave.
//!
//! Rule: an alert never depends on the upstream or on the queue, and a queue that does not answer is itself a fact. It goes
//! to commands and webhooks of the administrator, once when it begins, again after a time while it lasts, and once when
//! it is over, whatever is restarted meanwhile.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use self::{
    checks::Checks,
    outputs::{Courier, Options},
    post::{Post, Told},
    watch::{AccountTrouble, Day, Dropped, Facts, Watch},
};
use crate::{
    admin::{
        context::Sources,
        outlook::{Age, QueueSummary},
        stand::{self, Stand},
    },
    clock::{Clock, Steps},
    delivery::PoolStatus,
    queue::{
        QueueError,
        state::{AccountCondition, AccountState},
        waiting::Refusing,
    },
};

pub(crate) mod answers;
mod checks;
pub(crate) mod format;
pub(crate) mod outbox;
pub(crate) mod outputs;
pub(crate) mod post;
pub(crate) mod trial;
pub(crate) mod watch;

/// How often it looks.
const CHECK: Duration = Duration::from_secs(60);

/// Works until it is dropped. Also when nobody is to be told it looks, for the log and for probes.
pub(crate) async fn run(options: Options, sources: Sources) {
    sources.post.serve(&options.targets);
    // One for each target: one that is slow or gone keeps no other waiting.
    let mut senders = JoinSet::new();
    for target in &options.targets {
        let courier = Courier::new(target.clone(), options.ca_file.clone());
        senders.spawn(send(courier, Arc::clone(&sources.post), Arc::clone(&sources.clock)));
    }
    tokio::select! {
        () = look(options, sources) => {}
        // They never end by themselves; whoever tends this task is told of a panic.
        Some(Err(error)) = senders.join_next() => resume_unwind(error.into_panic()),
    }
}

/// Hands over what waits for one target, in order.
async fn send(courier: Courier, post: Arc<Post>, clock: Arc<dyn Clock>) {
    let mut pushed = post.listen();
    loop {
        while let Some(alert) = post.next(&courier.target, clock.now()) {
            match courier.hand_over(&alert).await {
                Ok(_) => post.sent(&courier.target, &alert, clock.wall()).await,
                Err(error) => post.failed(&courier.target, error, clock.now()),
            }
        }
        tokio::select! {
            // An error would mean that the post is gone, which it is not while this holds it.
            _ = pushed.changed() => {}
            () = clock.sleep(CHECK) => {}
        }
    }
}

async fn look(Options { targets, watch, .. }: Options, sources: Sources) {
    let told = sources.post.told();
    let mut checks = Checks::new(watch.hostname.clone(), told.checks);
    let mut watch = Watch::new(watch, told.conditions, sources.clock.wall());
    let (mut door, mut steps) = (Door::default(), Steps::since(sources.clock.now()));
    loop {
        let now = sources.clock.now();
        if let Some(step_ms) = steps.look(now) {
            watch.clock_was_set(step_ms);
        }
        // That a person has this host drained is no trouble, and the log has it already.
        let refusing = stand::refusing(&sources);
        let refusing = refusing.filter(|_| sources.store.drained().get().is_none());
        door.look(refusing.as_ref());
        let facts = facts(&sources, refusing).await;
        if !targets.is_empty() {
            let report = sources.checkups.last();
            let mut alerts = watch.look(now.wall, &facts);
            alerts.extend(checks.look(now.wall, report.as_deref()));
            for alert in &alerts {
                tracing::warn!(subject = alert.subject, remedy = alert.remedy, "alert");
            }
            let told = Told { conditions: watch.memory().clone(), checks: checks.told().clone() };
            sources.post.add(&alerts, told, &targets).await;
        }
        sources.clock.sleep(CHECK).await;
    }
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

async fn facts(sources: &Sources, refusing: Option<Refusing>) -> Facts {
    let known = sources.facts();
    let (mut accounts, mut unknown_replies, mut last_unknown_reply) = (Vec::new(), 0, None);
    for (account, upstream) in sources.upstreams.all() {
        let status: PoolStatus = upstream.status();
        // Of several hosts that share an account, the one that has found its trouble tells of it.
        if !status.fleet.as_ref().is_some_and(|fleet| fleet.told_elsewhere) {
            accounts.extend(trouble(known.name(account), status.account));
        }
        unknown_replies += status.counters.unknown_replies;
        last_unknown_reply = status.last_unknown_reply.or(last_unknown_reply);
    }
    let (summary, walk_failure) = match sources.counted(Age::Cheap).await {
        Ok((_, summary)) => (summary, None),
        Err(error) => (Arc::default(), Some(error.to_string())),
    };
    let (judged, ledger_failure) = match judged(sources, &summary).await {
        Ok(judged) => (judged, None),
        Err(error) => (Judged::default(), Some(error.to_string())),
    };
    let dropped = sources.dropped.as_ref().map(|tally| tally.state());
    Facts {
        accounts,
        oldest_waiting: summary.oldest.and_then(|oldest| oldest.waits_since),
        departure: judged.departure,
        days: judged.days,
        limited: judged.limited,
        store_failure: ledger_failure.or(walk_failure),
        store_full: refusing.filter(|refusing| !refusing.failed).map(|refusing| refusing.what),
        set_aside: sources.store.totals().set_aside,
        unknown_replies,
        last_unknown_reply,
        held: summary.recipients.held,
        dropped: dropped.map(|state| Dropped {
            directory: state.directory,
            set_aside: state.set_aside,
            waiting: state.waiting,
        }),
        away: stand::away(sources),
        mishaps: sources.mishaps.so_far(),
    }
}

/// What the ledgers and the pools say together.
#[derive(Default)]
struct Judged {
    days: Vec<Day>,
    limited: Vec<String>,
    departure: Option<String>,
}

async fn judged(sources: &Sources, summary: &QueueSummary) -> Result<Judged, QueueError> {
    let (known, mut judged, mut situations) = (sources.facts(), Judged::default(), Vec::new());
    for Stand { facts, situation, budget, .. } in stand::stands(sources, Some(summary)).await? {
        let (account, limit) = (known.name(facts.key()), facts.limit());
        judged.days.push(Day { account, spent: budget.spent, limit });
        judged.limited = budget.limited.into_iter().map(|origin| origin.words).collect();
        situations.push((facts.key(), situation));
    }
    let departure = stand::together(sources, situations).await?.first_departure(&summary.next_due);
    judged.departure = Some(departure.sentence(|at| at.to_string()));
    Ok(judged)
}

fn trouble(name: Option<Arc<str>>, account: AccountState) -> Option<AccountTrouble> {
    (account.condition != AccountCondition::Open).then(|| AccountTrouble {
        account: name,
        condition: account.condition.name().to_owned(),
        since: account.since,
        reason: account.reason,
        remedy: account.remedy,
    })
}

#[cfg(test)]
mod tests;
