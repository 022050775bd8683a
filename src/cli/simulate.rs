//! `pillarbox budget simulate`: the history, and what is queued, once more under other settings.
//!
//! Rule: the daemon only lists what it has; the settings are read here as the daemon reads them, and its engines decide. Nothing
//! is sent and nothing changes. Must not know how a decision is made.

pub(super) mod asked;
mod figures;
mod past;
mod words;

use std::{path::Path, time::Duration};

use serde_json::json;

use self::{
    asked::Arguments,
    figures::{Compared, Counter, Frame, MESSAGES_MAX, RECIPIENTS_MAX},
    past::{Before, Judge, Past},
};
use super::{
    remote,
    runtime::Runtime,
    screen::{self, Screen},
};
use crate::{
    admin::{
        api::Budget,
        client::{Client, ClientError},
        listing::Of,
    },
    budget::{AccountKey, MAIN},
    clock::Timestamp,
    exit::{Exit, Failure},
    queue::{
        ClaimLimits,
        simulation::{Simulation, Terms},
    },
    settings::Settings,
};

/// Messages asked for at a time.
const PAGE: usize = 1_000;
/// What was accepted so long before is looked at as well: it may have left later.
const BEFORE: Duration = Duration::from_secs(5 * 86_400);

/// Asks the daemon for what it has, plays it through, and prints what differs.
pub(super) fn run(
    out: &mut dyn Screen,
    config: Option<&Path>,
    remote: &remote::Arguments,
    arguments: &Arguments,
    now: Timestamp,
) -> Result<(), Failure> {
    let (mut settings, changes) = arguments.settings(config)?;
    let laid = arguments.lay_over_account(&mut settings)?;
    let since = now.before(arguments.last);
    let named = arguments.of.name();
    let mut all = Vec::new();
    remote::with_client(config, remote, |client| {
        let gathered = gather(&client, since, named.is_some() || !settings.accounts.is_empty());
        let gathered = Runtime::of_a_question()?.block_on(gathered)?;
        all = compare_each(gathered, &settings, named, (since, now));
        Ok(())
    })?;
    if let (Some(name), true) = (named, all.is_empty()) {
        let words =
            format!("the running relay has no account called {name:?}; see pillarbox status");
        return Err(Failure::new(Exit::Data, words));
    }
    let is_of = |name: &Option<String>, key: &str| {
        name.as_deref().is_none_or(|name| name == MAIN) || !asked::OF_ACCOUNT.contains(&key)
    };
    for compared in &mut all {
        let own = changes.iter().filter(|(_, key, _)| is_of(&compared.account, key));
        let own = own.map(|(section, key, value)| format!("[{section}] {key} = {value}"));
        compared.changes = own.chain(laid.iter().cloned()).collect();
        compared.configuration = settings.source.to_string();
        if settings.history_lifetime < arguments.last {
            compared.history_kept_ms = u64::try_from(settings.history_lifetime.as_millis()).ok();
        }
    }
    match (remote.json, all.as_slice()) {
        (true, [only]) => screen::json(out, only)?,
        (true, all) => screen::json(out, &json!({ "accounts": all }))?,
        (false, all) => words::print_all(out, all)?,
    }
    Ok(())
}

/// What the daemon has.
#[derive(Debug)]
struct Gathered {
    /// In the order of acceptance.
    past: Vec<Past>,
    /// By what the daemon goes now: by account, where they are told apart.
    budgets: Vec<(Option<String>, Budget)>,
    partial: bool,
}

async fn gather(
    client: &Client,
    since: Timestamp,
    by_account: bool,
) -> Result<Gathered, ClientError> {
    let budgets = match by_account {
        false => vec![(None, client.budget(None).await?.first)],
        true => {
            let status = client.status().await?;
            let others = status.others.into_iter().map(|one| (Some(one.name), one.budget));
            [(Some(MAIN.to_owned()), status.budget)].into_iter().chain(others).collect()
        }
    };
    let (mut past, mut partial, oldest) = (Vec::new(), false, since.before(BEFORE));
    // What leaves meanwhile is in both, and in the history as it ended.
    for of in [Of::Queue, Of::History] {
        let (mut walk, mut seen, mut recipients) = (client.walk(of, None), 0, 0);
        let mut is_old = false;
        while let Some(page) = walk.page(PAGE).await? {
            seen += page.len();
            recipients += page.iter().map(|one| one.recipients.len()).sum::<usize>();
            past.extend(page.iter().filter_map(Past::read));
            // The newest come first, in the order of their acceptance.
            is_old = matches!(of, Of::History)
                && page.last().is_some_and(|last| last.accepted_at < oldest);
            if is_old || seen >= MESSAGES_MAX || recipients >= RECIPIENTS_MAX {
                break;
            }
        }
        partial |= walk.next().is_some() && !is_old;
    }
    past.reverse();
    past.sort_by_key(|one| (one.accepted_at, one.id));
    past.dedup_by_key(|one| one.id);
    Ok(Gathered { past, budgets, partial })
}

/// By what the daemon goes now.
fn limits(budget: &Budget) -> ClaimLimits {
    ClaimLimits {
        account: AccountKey::MAIN,
        limit: budget.limit,
        notice_reserve: budget.notice_reserve,
        urgent_reserve: budget.urgent_reserve,
        recipients_max: u32::MAX,
    }
}

/// What decides by these settings of an account.
fn terms(settings: &Settings, account: Option<&str>) -> Option<Terms> {
    let name = account.unwrap_or(MAIN);
    let (_, delivery, _) = settings.all_accounts().find(|(own, ..)| *own == name)?;
    Some(Terms {
        limits: ClaimLimits { account: AccountKey::MAIN, ..delivery.claim_limits() },
        pace_per_minute: delivery.pace_per_minute,
        fairness: settings.queue.fairness.clone(),
        storms: settings.queue.storms.clone(),
    })
}

/// Plays the mail of each account through by itself, or of the one that is named; an account that the settings do not have is
/// left out.
fn compare_each(
    gathered: Gathered,
    settings: &Settings,
    named: Option<&str>,
    span: (Timestamp, Timestamp),
) -> Vec<Compared> {
    let Gathered { past, budgets, partial } = gathered;
    let budgets = budgets.iter().filter(|(name, _)| named.is_none() || name.as_deref() == named);
    let compared = budgets.filter_map(|(name, budget)| {
        let name = name.as_deref();
        let is_own =
            |one: &&Past| name.is_none_or(|name| one.account.as_deref().unwrap_or(MAIN) == name);
        let own: Vec<&Past> = past.iter().filter(is_own).collect();
        let compared =
            compare((&own, partial), limits(budget), terms(settings, name)?, settings, span);
        Some(Compared { account: name.map(str::to_owned), ..compared })
    });
    compared.collect()
}

/// Plays what was gathered through, and counts both.
fn compare(
    (past, partial): (&[&Past], bool),
    was: ClaimLimits,
    terms: Terms,
    settings: &Settings,
    (since, now): (Timestamp, Timestamp),
) -> Compared {
    let frame = Frame { since, until: now, was, would: terms.limits };
    let mut counter = Counter::new(frame, terms.storms.terms.after > 0);
    let mut judge = Judge::new(&settings.listener);
    let mut simulation = Simulation::new(terms);
    let mut spent = Vec::new();
    for one in past {
        let Before { spent: before, record } = one.split(since);
        spent.extend(before);
        counter.was(one);
        let Some(mut record) = record else { continue };
        let recipients = u32::try_from(record.recipients.len()).unwrap_or(u32::MAX);
        let Some(ruled) = judge.judge(one, &mut record) else {
            counter.refused(one, recipients);
            continue;
        };
        let lane = ruled.lane.unwrap_or(record.lane);
        let becomes = simulation.accept(one.id, record, &ruled);
        counter.came(one, lane, recipients, becomes);
    }
    let played = simulation.play(since, now, &spent);
    counter.compared(&played, judge.open(), partial)
}

#[cfg(test)]
mod tests;
