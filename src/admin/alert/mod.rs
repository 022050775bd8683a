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
    watch::{AccountTrouble, Dropped, Facts, Watch},
};
use crate::{
    admin::{context::Sources, outlook::Age, status},
    clock::{Clock, Steps},
    delivery::PoolStatus,
    queue::{
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
        let refusing = status::refusing(&sources);
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
    let PoolStatus { account, counters, last_unknown_reply, .. } = sources.upstream.status();
    let limit = sources.facts().limit();
    let (summary, walk_failure) = match sources.counted(Age::Cheap).await {
        Ok((_, summary)) => (summary, None),
        Err(error) => (Arc::default(), Some(error.to_string())),
    };
    let stand = status::stand(sources, summary.due).await;
    let (spent, limited, departure, ledger_failure) = match stand {
        Ok(stand) => {
            let departure = stand.situation.first_departure(summary.next_due.clone());
            let limited = stand.budget.limited.into_iter().map(|origin| origin.words).collect();
            (stand.budget.spent, limited, Some(departure.sentence(|at| at.to_string())), None)
        }
        Err(error) => (0, Vec::new(), None, Some(error.to_string())),
    };
    let dropped = sources.dropped.as_ref().map(|tally| tally.state());
    Facts {
        account: trouble(account),
        oldest_waiting: summary.oldest.and_then(|oldest| oldest.waits_since),
        departure,
        spent,
        limit,
        limited,
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

#[cfg(test)]
mod tests;
