//! The decision which checks of the last diagnosis are told of, and when.
//!
//! Rule: pure. Each is told once when it begins to fail and once when it is well again; one that could not be run says
//! neither. What has an alert of its own is left to it.

use std::collections::BTreeSet;

use super::watch::{Alert, Kind, State};
use crate::{
    clock::Timestamp,
    findings::{Finding, Report, Verdict},
};

/// Checks of what the daemon watches every minute.
const WATCHED: [&str; 2] = ["account", "daemon"];

/// Remembers what was told.
#[derive(Debug)]
pub(super) struct Checks {
    host: String,
    told: BTreeSet<String>,
}

impl Checks {
    /// Goes on with what an earlier one has told.
    pub(super) fn new(host: String, told: BTreeSet<String>) -> Self {
        Self { host, told }
    }

    /// The checks that were told of and are not well again.
    pub(super) fn told(&self) -> &BTreeSet<String> {
        &self.told
    }

    /// The alerts that are due: one for all that begin to fail, one for all that are well again.
    pub(super) fn look(&mut self, now: Timestamp, report: Option<&Report>) -> Vec<Alert> {
        let Some(report) = report else { return Vec::new() };
        let findings = &report.findings;
        let begun = findings.iter().filter(|finding| {
            finding.outcome.verdict == Verdict::Fail
                && !WATCHED.contains(&finding.name.as_str())
                && !self.told.contains(&finding.name)
        });
        let begun: Vec<&Finding> = begun.collect();
        let over = findings.iter().filter(|finding| {
            let is_well = matches!(finding.outcome.verdict, Verdict::Pass | Verdict::Warn);
            is_well && self.told.contains(&finding.name)
        });
        let over: Vec<&Finding> = over.collect();
        let alerts = [self.begins(now, &begun), self.is_over(now, &over)];
        self.told.extend(begun.iter().map(|finding| finding.name.clone()));
        self.told.retain(|name| !over.iter().any(|finding| finding.name == *name));
        alerts.into_iter().flatten().collect()
    }

    fn begins(&self, now: Timestamp, begun: &[&Finding]) -> Option<Alert> {
        let first = &begun.first()?.outcome;
        let told =
            begun.iter().map(|finding| format!("{} ({})", finding.name, finding.outcome.seen));
        let told = told.collect::<Vec<_>>().join("; ");
        let again: String =
            begun.iter().map(|finding| format!(" --check {}", finding.name)).collect();
        let remedy =
            format!("{}; run: pillarbox doctor{again}", first.remedy.trim_end_matches('.'));
        let verb = if begun.len() == 1 { "a check fails" } else { "checks fail" };
        Some(self.alert(now, State::Begins, &format!("{verb}: {told}"), remedy))
    }

    fn is_over(&self, now: Timestamp, over: &[&Finding]) -> Option<Alert> {
        let names: Vec<&str> = over.iter().map(|finding| finding.name.as_str()).collect();
        let words = format!("well again: {}", names.join(", "));
        (!over.is_empty()).then(|| self.alert(now, State::Over, &words, String::new()))
    }

    fn alert(&self, at: Timestamp, state: State, subject: &str, remedy: String) -> Alert {
        let (kind, host) = (Kind::Check, self.host.clone());
        let subject = format!("{host}: {subject}");
        Alert { kind, state, host, at, subject, remedy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Outcome;

    fn told(checks: &mut Checks, at: i64, outcomes: &[(&str, Outcome)]) -> Vec<String> {
        let findings = outcomes.iter().map(|(name, outcome)| Finding::new(name, outcome.clone()));
        let report = Report { at: Timestamp(at), took_ms: 1, findings: findings.collect() };
        let alerts = checks.look(Timestamp(at), Some(&report));
        assert!(checks.look(Timestamp(at + 1), Some(&report)).is_empty(), "it has been told");
        alerts.into_iter().map(|alert| format!("{} | {}", alert.subject, alert.remedy)).collect()
    }

    #[test]
    fn a_check_is_told_once_when_it_begins_to_fail_and_once_when_it_is_well_again() {
        let mut checks = Checks::new("web01".into(), BTreeSet::new());
        let (well, fails) = (Outcome::pass("ok"), Outcome::fail("535 no", "Make a new one."));
        assert!(told(&mut checks, 1, &[("login", well.clone())]).is_empty());
        assert_eq!(
            told(&mut checks, 2, &[("login", fails.clone()), ("dns", well.clone())]),
            [
                "web01: a check fails: login (535 no) | Make a new one; run: pillarbox doctor --check login"
            ]
        );
        assert!(told(&mut checks, 3, &[("login", fails.clone())]).is_empty());
        // The account is paused meanwhile, so nobody tried.
        assert!(told(&mut checks, 4, &[("login", Outcome::skipped("paused"))]).is_empty());
        assert_eq!(
            told(&mut checks, 5, &[("login", well.clone())]),
            ["web01: well again: login | "]
        );
        assert!(told(&mut checks, 6, &[("login", well)]).is_empty());
        assert_eq!(told(&mut checks, 7, &[("login", fails)]).len(), 1, "it begins anew");
    }

    #[test]
    fn several_come_in_one_alert_and_what_is_watched_all_the_time_in_none() {
        let mut checks = Checks::new("web01".into(), BTreeSet::new());
        let fails = || Outcome::fail("no", "Mend it");
        let all = [("account", fails()), ("dns", fails()), ("unit", fails())];
        assert_eq!(
            told(&mut checks, 1, &all),
            [
                "web01: checks fail: dns (no); unit (no) | Mend it; run: pillarbox doctor --check dns --check unit"
            ]
        );
    }
}
