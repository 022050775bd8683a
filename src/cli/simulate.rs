//! `pillarbox budget simulate`: the history, and what is queued, once more under other settings.
//!
//! Rule: the daemon only lists what it has; the settings are read here as the daemon reads them, and its engines decide. Nothing
//! is sent and nothing changes. Must not know how a decision is made.

pub(super) mod asked;
mod figures;
mod past;
mod words;

use std::{path::Path, time::Duration};

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
        client::{Client, ClientError},
        listing::Of,
    },
    budget::AccountKey,
    clock::Timestamp,
    exit::Failure,
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
    let (settings, changes) = arguments.settings(config)?;
    let since = now.before(arguments.last);
    let mut compared = None;
    remote::with_client(config, remote, |client| {
        let gathered = Runtime::of_a_question()?.block_on(gather(&client, since))?;
        compared = Some(compare(gathered, &settings, (since, now)));
        Ok(())
    })?;
    let Some(mut compared) = compared else { return Ok(()) };
    let changed = changes.into_iter();
    compared.changes =
        changed.map(|(section, key, value)| format!("[{section}] {key} = {value}")).collect();
    compared.configuration = settings.source.to_string();
    if settings.history_lifetime < arguments.last {
        compared.history_kept_ms = u64::try_from(settings.history_lifetime.as_millis()).ok();
    }
    match remote.json {
        true => screen::json(out, &compared)?,
        false => words::print(out, &compared)?,
    }
    Ok(())
}

/// What the daemon has.
#[derive(Debug)]
struct Gathered {
    /// In the order of acceptance.
    past: Vec<Past>,
    /// By what the daemon goes now.
    limits: ClaimLimits,
    partial: bool,
}

async fn gather(client: &Client, since: Timestamp) -> Result<Gathered, ClientError> {
    let budget = client.budget(None).await?;
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
    let limits = ClaimLimits {
        account: AccountKey::MAIN,
        limit: budget.limit,
        notice_reserve: budget.notice_reserve,
        urgent_reserve: budget.urgent_reserve,
        recipients_max: u32::MAX,
    };
    Ok(Gathered { past, limits, partial })
}

/// What decides by these settings.
fn terms(settings: &Settings) -> Terms {
    let delivery = &settings.delivery;
    Terms {
        limits: delivery.claim_limits(),
        pace_per_minute: delivery.pace_per_minute,
        fairness: settings.queue.fairness.clone(),
        storms: settings.queue.storms.clone(),
    }
}

/// Plays what was gathered through, and counts both.
fn compare(
    gathered: Gathered,
    settings: &Settings,
    (since, now): (Timestamp, Timestamp),
) -> Compared {
    let Gathered { past, limits: was, partial } = gathered;
    let terms = terms(settings);
    let frame = Frame { since, until: now, was, would: terms.limits };
    let mut counter = Counter::new(frame, terms.storms.terms.after > 0);
    let mut judge = Judge::new(&settings.listener);
    let mut simulation = Simulation::new(terms);
    let mut spent = Vec::new();
    for one in &past {
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
