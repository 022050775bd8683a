//! The findings of a diagnosis: what each check saw, its verdict, and what mends it.
//!
//! Rule: pure; whatever a finding says is printable and of bounded length, whoever has said it first. Fields are added,
//! never renamed or removed, because programs read them. Must not know how anything is found out.

use serde::{Deserialize, Serialize};

use crate::{addressed::addressed, clock::Timestamp, text};

/// Octets of what was seen, and of the remedy: a few lines on a screen, with a whole reply of a server in them.
const WORDS_LENGTH_MAX: usize = 1_500;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// It is well.
    Pass,
    /// It was not looked at; what was seen says why.
    Skipped,
    /// A person should look at it.
    Warn,
    /// Mail is in danger, or does not leave.
    Fail,
}

/// How a check ended, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// In a word.
    pub(crate) verdict: Verdict,
    /// What was seen, or why nothing was.
    pub(crate) seen: String,
    /// What mends it; empty when nothing must be done.
    pub(crate) remedy: String,
}

impl Outcome {
    /// Of a kind of which each account has one: where there are others besides the main account each is named, and what is said
    /// of it has its commands and keys.
    pub(crate) fn of_accounts<'a>(
        has_others: bool,
        outcomes: impl IntoIterator<Item = (&'a str, Self)>,
    ) -> Self {
        let addressed = outcomes.into_iter().map(|(name, outcome)| (name, outcome.addressed(name)));
        let mut outcomes: Vec<_> = addressed.collect();
        match (has_others, outcomes.len()) {
            (false, 1) => outcomes.remove(0).1,
            _ => Self::of_several(outcomes),
        }
    }

    /// Of several of a kind, each by its name: the gravest, with what of them is as grave.
    pub(crate) fn of_several(outcomes: Vec<(&str, Self)>) -> Self {
        let gravest = outcomes.iter().map(|(_, outcome)| outcome.verdict).max();
        let gravest = gravest.unwrap_or(Verdict::Skipped);
        let grave = outcomes.iter().filter(|(_, outcome)| outcome.verdict == gravest);
        let seen = grave.clone().map(|(name, outcome)| format!("{name}: {}", outcome.seen));
        let mut remedies: Vec<&str> = Vec::new();
        for (_, outcome) in grave {
            if !remedies.contains(&&*outcome.remedy) {
                remedies.push(&outcome.remedy);
            }
        }
        Self::new(gravest, &seen.collect::<Vec<_>>().join("; "), &remedies.join(". "))
    }

    /// The same where it is about the account with this name and was written as of the main one.
    #[must_use]
    pub(crate) fn addressed(self, account: &str) -> Self {
        let (seen, remedy) = (addressed(&self.seen, account), addressed(&self.remedy, account));
        Self { seen, remedy, ..self }
    }

    fn new(verdict: Verdict, seen: &str, remedy: &str) -> Self {
        let bounded = |words: &str| {
            let one_line = words.split_whitespace().collect::<Vec<_>>().join(" ");
            text::printable_within(&one_line, WORDS_LENGTH_MAX)
        };
        Self { verdict, seen: bounded(seen), remedy: bounded(remedy) }
    }

    /// It is well.
    #[must_use]
    pub(crate) fn pass(seen: impl AsRef<str>) -> Self {
        Self::new(Verdict::Pass, seen.as_ref(), "")
    }

    /// It was not looked at.
    #[must_use]
    pub(crate) fn skipped(why: impl AsRef<str>) -> Self {
        Self::new(Verdict::Skipped, why.as_ref(), "")
    }

    /// A person should look at it.
    #[must_use]
    pub(crate) fn warn(seen: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self::new(Verdict::Warn, seen.as_ref(), remedy.as_ref())
    }

    /// Mail is in danger, or does not leave.
    #[must_use]
    pub(crate) fn fail(seen: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self::new(Verdict::Fail, seen.as_ref(), remedy.as_ref())
    }

    /// Whether something is the matter.
    #[must_use]
    pub(crate) fn is_trouble(&self) -> bool {
        self.verdict >= Verdict::Warn
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// The check.
    pub(crate) name: String,
    /// How it ended.
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
    /// When it was looked at again, after the rest of its report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) again_at: Option<Timestamp>,
}

impl Finding {
    /// What a check found in its turn.
    #[must_use]
    pub(crate) fn new(name: &str, outcome: Outcome) -> Self {
        Self { name: name.to_owned(), outcome, again_at: None }
    }
}

/// All that was found at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// When it was begun.
    pub(crate) at: Timestamp,
    /// How long it took, in milliseconds.
    pub(crate) took_ms: u64,
    /// One finding of each check, in their order.
    pub(crate) findings: Vec<Finding>,
}

impl Report {
    /// How many ended so.
    #[must_use]
    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.outcome.verdict == verdict).count()
    }

    /// This one with what a later look at some of its checks found.
    #[must_use]
    pub(crate) fn with(mut self, later: Self) -> Self {
        for found in later.findings {
            if let Some(finding) = self.findings.iter_mut().find(|one| one.name == found.name) {
                *finding = Finding { again_at: Some(later.at), ..found };
            }
        }
        self
    }

    /// When this one, which is in this report, was looked at last.
    #[must_use]
    pub(crate) fn looked_at(&self, finding: &Finding) -> Timestamp {
        finding.again_at.unwrap_or(self.at)
    }

    /// Those that failed.
    pub(crate) fn failed(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.outcome.verdict == Verdict::Fail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_one_printable_line_of_bounded_length() {
        let words = format!("550 \u{1b}[2J no\r\n  more {}", "x".repeat(10_000));
        let Outcome { seen, remedy, .. } = Outcome::fail(&words, &words);
        assert!(seen.starts_with("550 \\u{1b}[2J no more x"), "{seen}");
        assert!(seen.len() <= WORDS_LENGTH_MAX && remedy.len() <= WORDS_LENGTH_MAX);
    }

    #[test]
    fn the_only_account_is_not_named_and_of_several_the_gravest_are() {
        let (well, bad) = (Outcome::pass("ok"), Outcome::warn("no", "Mend [upstream]"));
        assert_eq!(Outcome::of_accounts(false, [("main", bad.clone())]), bad);
        let both = Outcome::of_accounts(true, [("main", well.clone()), ("second", bad.clone())]);
        assert_eq!(both, Outcome::warn("second: no", "Mend the [[account]] second"));
        let grave = Outcome::of_accounts(true, [("main", bad.clone()), ("second", bad)]);
        let remedy = "Mend [upstream]. Mend the [[account]] second";
        assert_eq!(grave, Outcome::warn("main: no; second: no", remedy));
        let alone = Outcome::of_accounts(true, [("main", well)]);
        assert_eq!(alone, Outcome::pass("main: ok"), "another one has nothing of the kind");
    }

    #[test]
    fn a_later_look_takes_the_place_of_its_part_and_says_when_it_was() {
        let report = |at, outcomes: &[(&str, Outcome)]| {
            let all = outcomes.iter().map(|(name, outcome)| Finding::new(name, outcome.clone()));
            Report { at: Timestamp(at), took_ms: at as u64, findings: all.collect() }
        };
        let (well, bad) = (Outcome::pass("ok"), Outcome::fail("no", "mend it"));
        let first = report(1, &[("dns", bad.clone()), ("unit", well.clone()), ("login", bad)]);
        let both = first.with(report(9, &[("dns", well.clone()), ("versions", well.clone())]));
        let names: Vec<_> = both.findings.iter().map(|finding| finding.name.as_str()).collect();
        assert_eq!(names, ["dns", "unit", "login"], "nothing new comes in");
        assert_eq!((both.at, both.took_ms), (Timestamp(1), 1), "it is still the report of then");
        assert_eq!(both.failed().map(|finding| &finding.name).collect::<Vec<_>>(), ["login"]);
        let times: Vec<_> = both.findings.iter().map(|finding| both.looked_at(finding).0).collect();
        assert_eq!(times, [9, 1, 1]);
        let text = serde_json::to_string(&both).unwrap();
        assert_eq!(text.matches("again_at").count(), 1, "{text}");
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), both);
    }
}
