//! The making of a weekly report: its figures from all who know them, what needs a person, and its mail.
//!
//! Rule: it is made the same way whether its hour has come or somebody asks. Must not know when that is.

use std::{cmp::Reverse, sync::Arc};

use thiserror::Error;
use tokio::task::spawn_blocking;

use super::{
    figures::{DayOf, Figures, Need, PERIOD_MAX, Tally, WEEK},
    memory::Options,
    words,
};
use crate::{
    admin::{
        alert::trial,
        context::Sources,
        health::Health,
        outlook::Age,
        stand::{self, Stand},
    },
    clock::Timestamp,
    findings::{Finding, Verdict},
    kept_file::KeptFileError,
    message::{
        envelope::Lane,
        notice::{Announcement, NoticeError},
    },
    notices,
    quantities::count,
    queue::{
        QueueError,
        id::{QueueId, RANDOM_LENGTH},
    },
    smtp::address::Address,
};

/// Checks of which the health, or the queue, says how it is now.
const SAID_OTHERWISE: [&str; 5] =
    ["account", "budget", "daemon", "dead-letters", "set-aside-files"];

/// Why no report was queued.
#[derive(Debug, Error)]
pub(super) enum ReportError {
    #[error("{0}")]
    Queue(#[from] QueueError),
    #[error("{0}")]
    Notice(#[from] NoticeError),
    #[error("report.json, the memory of the reports, cannot be read or written: {0}")]
    Kept(#[from] KeptFileError),
    #[error("the kernel gives no random octets: {0}")]
    Random(#[from] std::io::Error),
    #[error("there is nobody to send it to, or to send it as; set report.to and upstream.username")]
    Nobody,
}

/// Where the period begins that a report of now is about: with the last one, not longer than a month ago, or a week ago.
pub(super) fn period(last: Option<Timestamp>, now: Timestamp) -> Timestamp {
    last.filter(|last| *last < now)
        .map_or_else(|| now.before(WEEK), |last| last.max(now.before(PERIOD_MAX)))
}

/// An id that nobody may guess, as of a program of this host.
pub(super) fn new_id(now: Timestamp) -> Result<QueueId, std::io::Error> {
    let mut random = [0; RANDOM_LENGTH];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(QueueId::proposed(now, random))
}

/// Queues one report under this id.
pub(super) async fn queue(
    sources: &Sources,
    options: &Options,
    id: QueueId,
    figures: &Figures,
) -> Result<(), ReportError> {
    let (from, to) = people(options)?;
    let (hostname, at) = (&sources.facts().hostname, figures.now);
    let (subject, text) = (words::subject(figures), words::text(figures).replace('\n', "\r\n"));
    let announcement = Announcement { hostname, from, to, at, subject: &subject, text: &text };
    let bytes = announcement.build()?;
    let envelope = notices::envelope(to.clone(), hostname, at, Lane::Bulk);
    let mut draft = sources.store.begin_as(id, envelope).await?;
    draft.write(&bytes).await?;
    let _promised_to_nobody = sources.store.enqueue(draft).await?;
    tracing::info!(%id, %to, kind = "report", "a report is queued");
    Ok(())
}

/// Whom it is from, and who gets it.
pub(super) fn people(options: &Options) -> Result<(&Address, &Address), ReportError> {
    options.from.as_ref().zip(options.to.as_ref()).ok_or(ReportError::Nobody)
}

/// The report from then until now.
pub(super) async fn figures(sources: &Sources, since: Timestamp) -> Result<Figures, QueueError> {
    let (now, lifetime) = (sources.clock.wall(), sources.reports.options.get().history_lifetime);
    let tally = Tally::new(since, now, lifetime).walk(&sources.store).await?;
    let checkups = Arc::clone(&sources.checkups);
    let checkups = spawn_blocking(move || checkups.all()).await.unwrap_or_default();
    let (_, summary) = sources.counted(Age::Recent).await?;
    let stands = stand::stands(sources, Some(&summary)).await?;
    let mut days = stands.iter().map(|Stand { facts, budget, .. }| DayOf {
        account: facts.name.to_string(),
        spent: budget.spent,
        limit: budget.limit.recipients(),
    });
    let main = days.next();
    let totals = &summary.recipients;
    Ok(Figures {
        host: sources.facts().hostname.clone(),
        waiting: totals.queued + totals.uncertain + totals.reserved,
        oldest: summary.oldest.map(|oldest| oldest.accepted_at),
        held: totals.held,
        dead: totals.dead,
        spent: main.as_ref().map_or(0, |day| day.spent),
        limit: main.and_then(|day| day.limit),
        accounts: days.collect(),
        needs: needs(sources, totals.dead).await,
        ..tally.figures(now, &checkups)
    })
}

/// What needs a person, each with what mends it.
async fn needs(sources: &Sources, dead: u64) -> Vec<Need> {
    let troubles = Health::of(sources).await.troubles.into_iter();
    let mut needs: Vec<Need> =
        troubles.map(|trouble| Need { what: trouble.what, remedy: trouble.remedy }).collect();
    if dead > 0 {
        let verb = if dead == 1 { "was" } else { "were" };
        needs.push(Need {
            what: format!("{} {verb} refused for good", count(dead, "recipient")),
            remedy: "pillarbox dead list, then pillarbox dead resend or delete".to_owned(),
        });
    }
    if let Some(report) = sources.checkups.last() {
        let troubles = report.findings.iter().filter(|finding| {
            finding.outcome.is_trouble() && !SAID_OTHERWISE.contains(&finding.name.as_str())
        });
        let mut troubles: Vec<&Finding> = troubles.collect();
        troubles.sort_by_key(|finding| Reverse(finding.outcome.verdict));
        needs.extend(troubles.into_iter().map(need_of));
    }
    let unreached = trial::states(sources).into_iter();
    needs.extend(unreached.filter(|target| target.failure.is_some()).map(|target| Need {
        what: format!("the target {} of alerts is not reached", target.name),
        remedy: format!("pillarbox alert list, then pillarbox alert test {}", target.name),
    }));
    needs
}

fn need_of(Finding { name, outcome, .. }: &Finding) -> Need {
    let verb = if outcome.verdict == Verdict::Fail { "fails" } else { "warns" };
    let remedy = outcome.remedy.trim_end_matches('.');
    Need {
        what: format!("the check {name} {verb}: {}", outcome.seen),
        remedy: format!("{remedy}; then pillarbox doctor --check {name}"),
    }
}
