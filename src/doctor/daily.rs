//! The diagnosis that the daemon makes of itself once a day.
//!
//! Rule: at a time of the day that depends on the host's name, so that many relays do not ask at once; later when the relay
//! was down then, and never right after a start, when a network may not be there yet. Its login counts like all others.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::task::spawn_blocking;

use super::{Daemon, Machine, NAMES, Patient, examine};
use crate::{
    admin::{context::Sources, outlook::Age, status},
    clock::{Moment, Timestamp},
    findings::{Report, Verdict},
    live::Live,
    settings::Settings,
};

const DAY_MS: i64 = 86_400_000;
/// When the hour begins in which it happens, from midnight UTC: most relays are quiet, and the day's budget is not new.
const HOUR_BEGINS_MS: i64 = 4 * 3_600_000;
const HOUR_MS: u64 = 3_600_000;
/// How long after a start it happens at the soonest.
const AFTER_START: Duration = Duration::from_secs(10 * 60);
/// Between two looks at the clock, which may be set.
const LOOK: Duration = Duration::from_secs(3_600);

/// Diagnoses and keeps what was found, when the configuration has it so, until it is dropped.
pub(crate) async fn run(settings: Live<Settings>, sources: Sources) {
    let spread = spread(&sources.facts().hostname);
    loop {
        let settings = settings.get();
        if !settings.doctor {
            sources.clock.sleep(LOOK).await;
            continue;
        }
        let now = sources.clock.now();
        let last = sources.checkups.last().map(|report| report.at);
        let wait = due_in(last, now, sources.facts().started, spread);
        if !wait.is_zero() {
            sources.clock.sleep(wait.min(LOOK)).await;
            continue;
        }
        match diagnose(&settings, &sources).await {
            Some(report) => {
                tell(&report);
                let checkups = Arc::clone(&sources.checkups);
                // Whether it could be kept is told there.
                drop(spawn_blocking(move || checkups.keep(report)).await);
            }
            None => sources.clock.sleep(LOOK).await,
        }
    }
}

/// `None` while the queue does not answer, which others tell.
async fn diagnose(settings: &Arc<Settings>, sources: &Sources) -> Option<Report> {
    let status = status::told(sources, Age::New).await.ok()?;
    let patient = Patient {
        settings: Ok(Arc::clone(settings)),
        daemon: Daemon::Asks(Box::new(status), Arc::clone(&sources.upstream)),
        machine: Arc::new(Machine::below(Path::new("/"))),
        clock: Arc::clone(&sources.clock),
    };
    Some(examine(patient, &NAMES).await)
}

fn tell(report: &Report) {
    let number = |verdict| report.count(verdict);
    tracing::info!(
        passed = number(Verdict::Pass),
        warned = number(Verdict::Warn),
        failed = number(Verdict::Fail),
        skipped = number(Verdict::Skipped),
        "checked itself"
    );
    for finding in report.failed() {
        let outcome = &finding.outcome;
        tracing::warn!(
            check = finding.name,
            reason = outcome.seen,
            remedy = outcome.remedy,
            "a check fails"
        );
    }
}

/// Milliseconds after the hour's beginning.
fn spread(hostname: &str) -> i64 {
    let mut hasher = DefaultHasher::new();
    hostname.hash(&mut hasher);
    i64::try_from(hasher.finish() % HOUR_MS).unwrap_or(0)
}

/// How long until the next one.
fn due_in(last: Option<Timestamp>, now: Moment, started: Moment, spread: i64) -> Duration {
    let after_start =
        Duration::from_millis(now.since_boot_ms.saturating_sub(started.since_boot_ms));
    let at_the_soonest = AFTER_START.saturating_sub(after_start);
    let begins = HOUR_BEGINS_MS + spread;
    let today = (now.wall.0 - begins).div_euclid(DAY_MS) * DAY_MS + begins;
    // One of the future is of a clock that was wrong.
    let has_been = last.is_some_and(|last| last.0 >= today && last <= now.wall);
    let next = if has_been { Timestamp(today + DAY_MS) } else { now.wall };
    next.since(now.wall).max(at_the_soonest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock};

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn it_comes_once_a_day_in_its_minute_and_a_missed_one_is_made_up_for() {
        // 2027-01-15T08:00:00Z.
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let started = clock.now();
        let due = |last, now| due_in(last, now, started, 0);
        assert_eq!(due(None, clock.now()), AFTER_START, "never right after a start");
        clock.advance(HOUR);
        assert_eq!(due(None, clock.now()), Duration::ZERO);
        let last = Some(clock.now().wall);
        assert_eq!(due(last, clock.now()), 19 * HOUR, "until 04:00");
        clock.advance(18 * HOUR);
        assert_eq!(due(last, clock.now()), HOUR);
        clock.advance(HOUR);
        assert_eq!(due(last, clock.now()), Duration::ZERO);
        let last = Some(clock.now().wall);
        assert_eq!(due(last, clock.now()), 24 * HOUR);
        // The relay was down for days.
        clock.advance(70 * HOUR);
        assert_eq!(due(last, clock.now()), Duration::ZERO);
        assert_eq!(due(Some(clock.now().wall.after(HOUR)), clock.now()), Duration::ZERO);
    }

    #[test]
    fn the_names_of_hosts_spread_it_over_the_hour() {
        let spreads: Vec<i64> = (0..100).map(|number| spread(&format!("web{number:02}"))).collect();
        assert!(spreads.iter().all(|spread| (0..3_600_000).contains(spread)));
        let late = spreads.iter().filter(|spread| **spread >= 1_800_000).count();
        assert!((20..=80).contains(&late), "{late} of 100 are in the second half");
    }
}
