//! The task that looks once a minute and hands alerts over.
//!
//! Rule: facts come from memory and from a short walk at the head of the queue; a queue that does not
//! answer is itself a fact. Must not know what is an alert.

use std::time::Duration;

use super::{
    Options, hook,
    watch::{AccountTrouble, Facts, Watch},
    webhook::Outbox,
};
use crate::{
    admin::server::Sources,
    clock::Timestamp,
    delivery::PoolStatus,
    queue::{
        state::{AccountCondition, RecipientState},
        store::{LIST_LENGTH_MAX, Store, StoreError},
    },
};

/// How often it looks.
const CHECK: Duration = Duration::from_secs(60);
/// Pages of the queue that are walked for the oldest message that still waits; dead letters may stand
/// before it.
const PAGES_MAX: usize = 10;

/// Works until it is dropped; at once idle when nobody is to be told.
pub async fn run(options: Options, sources: Sources) {
    if !options.is_on() {
        return std::future::pending().await;
    }
    let command = options.command.clone();
    let outbox = |address| Outbox::new(address, options.ca_file.clone());
    let mut webhook = options.webhook.clone().map(outbox);
    let mut watch = Watch::new(options);
    loop {
        let facts = facts(&sources).await;
        for alert in watch.look(sources.clock.wall(), &facts) {
            tracing::warn!(subject = alert.subject, remedy = alert.remedy, "alert");
            if let Err(error) = hook::run(&command, &alert).await {
                tracing::error!(%error, "an alert did not get out; see alert.command");
            }
            if let Some(outbox) = &mut webhook {
                outbox.push(alert);
            }
        }
        if let Some(outbox) = &mut webhook {
            outbox.send(sources.clock.wall()).await;
        }
        sources.clock.sleep(CHECK).await;
    }
}

async fn facts(sources: &Sources) -> Facts {
    let PoolStatus { account, counters, last_unknown_reply, .. } = sources.upstream.status();
    let trouble = AccountTrouble {
        condition: account.condition.name().to_owned(),
        since: account.since,
        reason: account.reason,
        remedy: account.remedy,
    };
    let limit = sources.facts.limit();
    let (spent, ledger_failure) = match sources.store.ledger(sources.clock.now(), limit).await {
        Ok(view) => (view.spent, None),
        Err(error) => (0, Some(error.to_string())),
    };
    let (oldest_waiting, walk_failure) = match oldest_waiting(sources.store.as_ref()).await {
        Ok(oldest) => (oldest, None),
        Err(error) => (None, Some(error.to_string())),
    };
    Facts {
        account: (account.condition != AccountCondition::Open).then_some(trouble),
        oldest_waiting,
        spent,
        limit,
        store_failure: ledger_failure.or(walk_failure),
        store_full: match sources.store.admission(0) {
            Err(StoreError::Full(reason)) => Some(reason),
            _ => None,
        },
        set_aside: sources.store.totals().set_aside,
        unknown_replies: counters.unknown_replies,
        last_unknown_reply,
    }
}

/// When the oldest message was accepted that will still be tried.
async fn oldest_waiting(store: &dyn Store) -> Result<Option<Timestamp>, StoreError> {
    let mut after = None;
    for _ in 0..PAGES_MAX {
        let page = store.list(after, LIST_LENGTH_MAX).await?;
        let waits = |state: &RecipientState| {
            matches!(state, RecipientState::Queued { .. } | RecipientState::Reserved { .. })
        };
        let oldest =
            page.iter().find(|message| message.recipients().iter().any(|one| waits(&one.state)));
        if let Some(oldest) = oldest {
            return Ok(Some(oldest.record.accepted_at));
        }
        let Some(last) = page.last() else { break };
        after = Some(last.id);
    }
    Ok(None)
}
