//! The words for which rule struck a message, and why the others did not.
//!
//! Rule: one judgement with the matching itself, so that what is told is what happens. Must not know who reads it.

use super::{
    facts::Facts,
    matching::Matcher,
    ruleset::{Effect, Rule, Rules},
};

/// What became of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Whether it struck.
    pub(crate) outcome: Outcome,
}

/// Whether a rule struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did; this follows.
    Struck(Vec<String>),
    /// It would have, but an earlier one did.
    TooLate,
    /// This did not fit.
    Unfit(Vec<String>),
}

impl Rules {
    /// What became of each rule.
    pub(crate) fn explain(&self, facts: &Facts<'_>) -> Vec<Judgement<'_>> {
        self.explained(&self.rules, facts)
    }

    /// The same of the routes.
    pub(crate) fn explain_routes(&self, facts: &Facts<'_>) -> Vec<Judgement<'_>> {
        self.explained(&self.routes, facts)
    }

    fn explained<'a>(&self, rules: &'a [Rule], facts: &Facts<'_>) -> Vec<Judgement<'a>> {
        let mut struck = false;
        let judged = rules.iter().map(|rule| {
            let unfit = rule.matchers.iter().filter(|one| !one.fits(facts, &self.local_domains));
            let unfit: Vec<String> = unfit.map(|matcher| matcher.misfit(facts)).collect();
            let outcome = match (unfit.is_empty(), struck) {
                (false, _) => Outcome::Unfit(unfit),
                (true, true) => Outcome::TooLate,
                (true, false) => {
                    struck = true;
                    Outcome::Struck(rule.effect.words())
                }
            };
            Judgement { name: &rule.name, outcome }
        });
        judged.collect()
    }

    /// Each rule in a line, for a person.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.rules.iter().map(Rule::line).collect()
    }

    /// Each route in a line, for a person.
    pub(crate) fn route_lines(&self) -> Vec<String> {
        self.routes.iter().map(Rule::line).collect()
    }
}

impl Rule {
    /// `raid: sender = "@nas.example.org", subject = "/failed/": lane urgent`.
    fn line(&self) -> String {
        let matchers: Vec<String> = self.matchers.iter().map(ToString::to_string).collect();
        // Only a route may be for all mail.
        let of = if matchers.is_empty() { "all mail".to_owned() } else { matchers.join(", ") };
        format!("{}: {of}: {}", self.name, self.effect.words().join(", "))
    }
}

impl Effect {
    /// What follows, each in a few words.
    pub(crate) fn words(&self) -> Vec<String> {
        let lane = self.lane.map(|lane| format!("lane {}", lane.name()));
        let limit = self
            .origin_limit
            .map(|limit| format!("at most {limit} recipients a day of one origin"));
        let storm = self.storm.map(|folds| match folds {
            true => "much of the same is folded".to_owned(),
            false => "never folded".to_owned(),
        });
        let hold = self.hold.then(|| "held for a person".to_owned());
        let refuse = self.refuse.as_ref().map(|text| format!("refused with \"{text}\""));
        let accounts =
            (!self.accounts.is_empty()).then(|| format!("by {}", self.accounts.join(", or ")));
        [lane, limit, storm, hold, refuse, accounts].into_iter().flatten().collect()
    }
}

impl Matcher {
    /// What was found in the place of what was wanted.
    fn misfit(&self, facts: &Facts<'_>) -> String {
        let wanted = self.values().join(" or ");
        match self {
            Self::Network(_) => format!("the client is {}, not in {wanted}", facts.client),
            Self::Login(_) => match facts.login {
                Some(login) => format!("{login} had logged in, not {wanted}"),
                None => format!("nobody had logged in, and it is for {wanted}"),
            },
            Self::User(_) => match facts.user {
                Some(user) => format!("it came from the user {}, not {wanted}", user.shown()),
                None => format!("no program of this host handed it over, and it is for {wanted}"),
            },
            Self::Size(_) => format!("it has {} octets, not {wanted}", facts.size_bytes),
            Self::Hour(_) => format!("the hour is {}, not {wanted}", facts.hour),
            Self::Sender(_) => {
                let found = facts.reverse_path.map_or_else(|| "<>".to_owned(), ToString::to_string);
                format!("the sender is {found}, not {wanted}")
            }
            Self::Recipient(_) => match facts.forward_paths {
                [one] => format!("the recipient is {one}, not {wanted}"),
                all => format!("none of {} recipients is {wanted}", all.len()),
            },
            Self::Header(_) => format!("the header has not {wanted}"),
            Self::Subject(_) => match facts.excerpt.values("subject").next() {
                Some(subject) => format!("the subject is \"{subject}\", without {wanted}"),
                None => format!("there is no subject, and it is for {wanted}"),
            },
        }
    }
}
