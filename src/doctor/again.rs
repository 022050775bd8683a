//! The decision which checks are looked at again after the daily diagnosis, and when.
//!
//! Rule: pure. What fails is looked at soon, so that its repair is soon known; with it goes what could not be looked at, and
//! the whole way to the upstream, so that no second fault hides behind the first. A login that has failed waits longer,
//! because each failure counts against the account.

use std::time::Duration;

use super::{NAMES, order::WAY};
use crate::{
    clock::Timestamp,
    findings::{Finding, Report, Verdict},
};

/// Between two looks at what fails.
pub(super) const PAUSE: Duration = Duration::from_secs(15 * 60);
/// Between two logins, the first of which has failed: as seldom as the pool itself tries a paused account.
const LOGIN_PAUSE: Duration = Duration::from_secs(3_600);
const LOGIN: &str = "login";

/// How long until the next look, and at what; `None` when nothing fails.
pub(super) fn due(report: &Report, now: Timestamp) -> Option<(Duration, Vec<&'static str>)> {
    // A name that this program does not know is of another version, and waits for the whole look.
    let failed = report.failed().filter(|finding| NAMES.contains(&finding.name.as_str()));
    let wait = failed.map(|finding| rests(report, finding, now)).min()?;
    Some((wait, wanted(report, now.after(wait))))
}

/// How long no login may be tried, after one that has failed.
pub(super) fn login_rests(report: &Report, now: Timestamp) -> Duration {
    let login = report.failed().find(|finding| finding.name == LOGIN);
    login.map_or(Duration::ZERO, |login| rests(report, login, now))
}

fn rests(report: &Report, failed: &Finding, now: Timestamp) -> Duration {
    let pause = if failed.name == LOGIN { LOGIN_PAUSE } else { PAUSE };
    let then = report.looked_at(failed);
    // One of the future is of a clock that was wrong.
    if then > now { Duration::ZERO } else { then.after(pause).since(now) }
}

fn wanted(report: &Report, then: Timestamp) -> Vec<&'static str> {
    let is_open = |name: &str| {
        let is_open = |verdict| matches!(verdict, Verdict::Fail | Verdict::Skipped);
        report
            .findings
            .iter()
            .any(|finding| finding.name == name && is_open(finding.outcome.verdict))
    };
    let is_on_the_way = WAY.into_iter().any(is_open);
    let may_log_in = login_rests(report, then).is_zero();
    let wanted = NAMES.into_iter().filter(|name| match *name {
        LOGIN => is_open(LOGIN) && may_log_in,
        name => is_open(name) || is_on_the_way && WAY.contains(&name),
    });
    wanted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Outcome;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const WAY_BEFORE_LOGIN: [&str; 4] =
        ["dns", "upstream-ports", "upstream-tls", "upstream-greeting"];

    /// A report of this time in which these ended so, and the others of the way to the upstream well.
    fn report(outcomes: &[(&str, Outcome)]) -> Report {
        let well = WAY.into_iter().filter(|name| !outcomes.iter().any(|(other, _)| other == name));
        let well = well.map(|name| Finding::new(name, Outcome::pass("ok")));
        let others = outcomes.iter().map(|(name, outcome)| Finding::new(name, outcome.clone()));
        Report { at: NOW, took_ms: 1, findings: well.chain(others).collect() }
    }

    fn fails() -> Outcome {
        Outcome::fail("no", "mend it")
    }

    #[test]
    fn nothing_is_looked_at_again_while_nothing_fails() {
        let outcomes = [("unit", Outcome::skipped("no unit")), ("dns", Outcome::warn("slow", "-"))];
        assert_eq!(due(&report(&outcomes), NOW), None);
        assert_eq!(due(&report(&[("of-another-version", fails())]), NOW), None);
    }

    #[test]
    fn what_fails_is_looked_at_after_a_quarter_of_an_hour_alone() {
        let report = report(&[("aliases", fails())]);
        assert_eq!(due(&report, NOW), Some((PAUSE, vec!["aliases"])));
        assert_eq!(due(&report, NOW.after(PAUSE / 3)), Some((PAUSE / 3 * 2, vec!["aliases"])));
        let (wait, _) = due(&report, NOW.after(10 * PAUSE)).unwrap();
        assert_eq!(wait, Duration::ZERO);
        let later = Report { at: NOW.after(PAUSE), ..report.clone() };
        assert_eq!(due(&report.with(later), NOW.after(PAUSE)), Some((PAUSE, vec!["aliases"])));
    }

    #[test]
    fn no_second_fault_hides_behind_the_first() {
        let behind = || Outcome::skipped("not reached; see dns");
        let hidden = ["upstream-ports", "upstream-tls", "upstream-greeting", "login"];
        let mut outcomes = vec![("dns", fails())];
        outcomes.extend(hidden.map(|name| (name, behind())));
        assert_eq!(due(&report(&outcomes), NOW), Some((PAUSE, WAY.to_vec())));
        // What was well before the login failed may be what fails by now.
        let (_, wanted) = due(&report(&[("login", fails())]), NOW).unwrap();
        assert_eq!(wanted, WAY);
    }

    #[test]
    fn a_failed_login_is_tried_again_after_an_hour_whatever_else_fails() {
        let alone = report(&[("login", fails())]);
        assert_eq!(due(&alone, NOW).unwrap().0, LOGIN_PAUSE);
        let both = report(&[("login", fails()), ("dns", fails())]);
        assert_eq!(due(&both, NOW), Some((PAUSE, WAY_BEFORE_LOGIN.to_vec())));
        let looked_at_again = |at| {
            let all = report(&[("dns", fails())]).findings.into_iter();
            let findings = all.filter(|finding| finding.name != LOGIN).collect();
            Report { at, took_ms: 1, findings }
        };
        let mut both = both;
        for quarter in 1..4 {
            let then = NOW.after(quarter * PAUSE);
            both = both.with(looked_at_again(then));
            assert_eq!(login_rests(&both, then), LOGIN_PAUSE - quarter * PAUSE);
        }
        let (wait, wanted) = due(&both, NOW.after(3 * PAUSE)).unwrap();
        assert_eq!((wait, wanted), (PAUSE, WAY.to_vec()), "an hour after the last login");
    }

    #[test]
    fn a_clock_that_was_wrong_does_not_put_it_off() {
        let report = report(&[("login", fails()), ("dns", fails())]);
        let before = Timestamp(NOW.0 - 86_400_000);
        assert_eq!(due(&report, before), Some((Duration::ZERO, WAY.to_vec())));
    }
}
