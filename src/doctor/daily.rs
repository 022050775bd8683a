//! The diagnosis that the daemon makes of itself once a day.
//!
//! Rule: at a time of the day that depends on the host's name, so that many relays do not ask at once; later when the relay
//! was down then, and never right after a start, when a network may not be there yet. Its login counts like all others. What has
//! failed is looked at again until it is well.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::task::spawn_blocking;

use super::{Daemon, Machine, NAMES, Patient, again, examine};
use crate::{
    admin::{context::Sources, outlook::Age, status, weekly::schedule::spread_over_an_hour},
    clock::{Moment, Timestamp},
    findings::{Finding, Report, Verdict},
    live::Live,
    settings::Settings,
};

const DAY_MS: i64 = 86_400_000;
/// When the hour begins in which it happens, from midnight UTC: most relays are quiet, and the day's budget is not new.
const HOUR_BEGINS_MS: i64 = 4 * 3_600_000;
/// How long after a start it happens at the soonest.
const AFTER_START: Duration = Duration::from_secs(10 * 60);
/// Between two looks at the clock, which may be set.
const LOOK: Duration = Duration::from_secs(3_600);

/// Diagnoses and keeps what was found, when the configuration has it so, until it is dropped.
pub(crate) async fn run(settings: Live<Settings>, sources: Sources) {
    let spread = spread_over_an_hour(&sources.facts().hostname);
    loop {
        let settings = settings.get();
        if !settings.doctor {
            sources.checkups.forget();
            sources.clock.sleep(LOOK).await;
            continue;
        }
        let (last, started) = (sources.checkups.last(), sources.facts().started);
        let (wait, look) = next(last.as_deref(), sources.clock.now(), started, spread);
        if !wait.is_zero() {
            sources.clock.sleep(wait.min(LOOK)).await;
            continue;
        }
        let wanted = match &look {
            Look::AtAll => &NAMES[..],
            Look::Again(wanted) => wanted,
        };
        let Some(found) = diagnose(&settings, &sources, wanted).await else {
            sources.clock.sleep(again::PAUSE).await;
            continue;
        };
        let checkups = Arc::clone(&sources.checkups);
        // Whether it could be kept is told there.
        match last.filter(|_| look != Look::AtAll) {
            None => {
                tell(&found);
                drop(spawn_blocking(move || checkups.keep(found)).await);
            }
            Some(last) => {
                tell_changes(&last, &found);
                let report = Report::clone(&last).with(found);
                drop(spawn_blocking(move || checkups.amend(report)).await);
            }
        }
    }
}

/// What is looked at next.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    AtAll,
    /// At these, because something fails.
    Again(Vec<&'static str>),
}

/// What is looked at next, and how long until then.
fn next(last: Option<&Report>, now: Moment, started: Moment, spread: i64) -> (Duration, Look) {
    let up = Duration::from_millis(now.since_boot_ms.saturating_sub(started.since_boot_ms));
    let at_the_soonest = AFTER_START.saturating_sub(up);
    let login = last.map_or(Duration::ZERO, |report| again::login_rests(report, now.wall));
    let daily = daily_in(last.map(|report| report.at), now.wall, spread).max(login);
    let again = last.and_then(|report| again::due(report, now.wall));
    let (wait, look) = match again {
        Some((wait, wanted)) if wait < daily => (wait, Look::Again(wanted)),
        _ => (daily, Look::AtAll),
    };
    (wait.max(at_the_soonest), look)
}

/// `None` while the queue does not answer, which others tell.
async fn diagnose(
    settings: &Arc<Settings>,
    sources: &Sources,
    wanted: &[&'static str],
) -> Option<Report> {
    let status = status::told(sources, Age::New).await.ok()?;
    let patient = Patient {
        settings: Ok(Arc::clone(settings)),
        daemon: Daemon::Asks(Box::new(status), sources.upstreams.clone()),
        machine: Arc::new(Machine::below(Path::new("/"))),
        clock: Arc::clone(&sources.clock),
    };
    Some(examine(patient, wanted).await)
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
    report.failed().for_each(tell_failure);
}

fn tell_failure(Finding { name, outcome, .. }: &Finding) {
    tracing::warn!(check = name, reason = outcome.seen, remedy = outcome.remedy, "a check fails");
}

/// What a look at some of it has changed; what fails as before has been told.
fn tell_changes(last: &Report, found: &Report) {
    let has_failed = |name: &str| last.failed().any(|finding| finding.name == name);
    found.failed().filter(|finding| !has_failed(&finding.name)).for_each(tell_failure);
    for Finding { name, outcome, .. } in &found.findings {
        if has_failed(name) && matches!(outcome.verdict, Verdict::Pass | Verdict::Warn) {
            tracing::info!(check = name, "a check is well again");
        }
    }
}

/// How long until the next one of the day.
fn daily_in(last: Option<Timestamp>, now: Timestamp, spread: i64) -> Duration {
    let begins = HOUR_BEGINS_MS + spread;
    let today = (now.0 - begins).div_euclid(DAY_MS) * DAY_MS + begins;
    // One of the future is of a clock that was wrong.
    let has_been = last.is_some_and(|last| last.0 >= today && last <= now);
    if has_been { Timestamp(today + DAY_MS).since(now) } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Clock as _, ManualClock},
        findings::Outcome,
    };

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn it_comes_once_a_day_in_its_minute_and_a_missed_one_is_made_up_for() {
        // 2027-01-15T08:00:00Z.
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let started = clock.now();
        let due = |last: Option<Timestamp>, now| {
            let report = last.map(|at| Report { at, took_ms: 1, findings: Vec::new() });
            let (wait, look) = next(report.as_ref(), now, started, 0);
            assert_eq!(look, Look::AtAll);
            wait
        };
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
    fn what_has_failed_is_looked_at_before_the_day_is_over_and_never_right_after_a_start() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let started = clock.now();
        let findings = vec![Finding::new("unit", Outcome::fail("no", "mend it"))];
        let report = Report { at: started.wall, took_ms: 1, findings };
        let again = Look::Again(vec!["unit"]);
        assert_eq!(next(Some(&report), clock.now(), started, 0), (again::PAUSE, again));
        let again = Look::Again(vec!["unit"]);
        clock.advance(HOUR);
        let now = clock.now();
        assert_eq!(next(Some(&report), now, started, 0), (Duration::ZERO, again));
        let again = Look::Again(vec!["unit"]);
        assert_eq!(next(Some(&report), now, now, 0), (AFTER_START, again));
        clock.advance(19 * HOUR);
        let (wait, look) = next(Some(&report), clock.now(), started, 0);
        assert_eq!((wait, look), (Duration::ZERO, Look::AtAll), "the whole look comes first");
    }

    #[test]
    fn the_whole_look_waits_for_a_login_that_has_just_failed() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let started = clock.now();
        clock.advance(20 * HOUR - 2 * again::PAUSE);
        let failed = Finding::new("login", Outcome::fail("535", "a new password"));
        let failed = Finding { again_at: Some(clock.now().wall), ..failed };
        let report = Report { at: started.wall, took_ms: 1, findings: vec![failed] };
        clock.advance(3 * again::PAUSE);
        let (wait, look) = next(Some(&report), clock.now(), started, 0);
        assert_eq!((wait, look), (again::PAUSE, Look::AtAll));
    }
}
