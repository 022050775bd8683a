//! The weekly report to the administrator: by mail where that is wanted, and for whoever asks.
//!
//! Rule: each report has its queue id on disk before it is queued under it, so that it is queued once whatever is restarted
//! or killed. It leaves in the lane of bulk mail, behind everything, and costs one recipient. Must not know the figures.

mod figures;
mod making;
pub(crate) mod memory;
mod router;
pub(crate) mod schedule;
mod words;

use std::time::Duration;

use self::{
    making::{ReportError, figures, new_id, period, queue},
    memory::{Held, Kept, Options, Pending},
    schedule::{due_in, spread_over_an_hour},
};
use super::context::Sources;
use crate::{
    clock::Timestamp,
    queue::{Queue, QueueError},
};

pub(crate) use self::router::Answer;
pub(in crate::admin) use self::router::router;

/// Between two looks at the clock, which may be set, and at a queue or a disk that did not take a report.
const LOOK: Duration = Duration::from_secs(10 * 60);

/// One turn: finishes what is pending, queues what is due. Returns how long until the next turn.
async fn turn(sources: &Sources) -> Result<Duration, ReportError> {
    let (options, now) = (sources.reports.options.get(), sources.clock.now());
    let mut held = sources.reports.hold().await;
    let kept = held.known().await?.as_of(now.wall, options.enabled);
    let mut kept = without_old(&sources.store, kept, &options, now.wall).await?;
    held.keep(kept).await?;
    let (true, Some(since)) = (options.enabled, kept.counts_since) else { return Ok(LOOK) };
    if kept.pending.is_none() {
        let facts = sources.facts();
        let spread = spread_over_an_hour(&facts.hostname);
        let wait = due_in(options.hour, spread, (since, kept.queued), (facts.started, now));
        if !wait.is_zero() {
            return Ok(wait.min(LOOK));
        }
        kept.pending = Some(Pending { id: new_id(now.wall)?, at: now.wall });
    }
    finish(sources, &options, &mut held, kept).await?;
    Ok(LOOK)
}

/// Without a pending one that nobody waits for any more: reports are off, or its id is of another time. Whether it was queued
/// before that, the queue knows.
async fn without_old(
    store: &Queue,
    kept: Kept,
    options: &Options,
    now: Timestamp,
) -> Result<Kept, QueueError> {
    match kept.pending {
        Some(Pending { id, at }) if !options.enabled || !id.is_acceptable_at(now) => {
            let was_queued = store.show(id).await?.is_some();
            let settled = kept.settled(at).as_of(now, options.enabled);
            Ok(if was_queued { settled } else { Kept { pending: None, ..kept } })
        }
        _ => Ok(kept),
    }
}

/// Queues the pending report, once.
async fn finish(
    sources: &Sources,
    options: &Options,
    held: &mut Held<'_>,
    kept: Kept,
) -> Result<(), ReportError> {
    let Some(Pending { id, at }) = kept.pending else { return Ok(()) };
    // On disk before the queue has it: whoever is killed in between queues it under the same id, once.
    held.keep(kept).await?;
    let figures = figures(sources, period(kept.queued, at)).await?;
    let told_until = match queue(sources, options, id, &figures).await {
        Ok(()) => figures.now,
        Err(ReportError::Queue(QueueError::AlreadyKnown(_))) => at,
        Err(error) => return Err(error),
    };
    Ok(held.keep(kept.settled(told_until)).await?)
}

/// Works until it is dropped.
pub(crate) async fn run(sources: Sources) {
    let options = &sources.reports.options;
    loop {
        let read = options.get();
        let wait = match turn(&sources).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(%error, "the weekly report was not queued; the next look is in ten minutes");
                LOOK
            }
        };
        tokio::select! {
            () = sources.clock.sleep(wait) => {}
            () = options.replaced(&read) => {}
        }
    }
}

#[cfg(test)]
mod tests;
