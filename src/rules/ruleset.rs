//! The rules of a configuration in their order, and the one that strikes.
//!
//! Rule: compiled once, and one look at a message; the first rule of which everything fits counts.

use std::{collections::BTreeMap, sync::Arc};

use super::{facts::Facts, matching::Matcher};
use crate::{
    budget::Limit,
    message::{envelope::Lane, excerpt::Wanted},
};

/// Routes of one configuration: each message is tried against them as well.
pub(crate) const ROUTES_MAX: usize = 64;
/// Octets of a name: it stands in logs and lists, and with each message.
pub(crate) const NAME_LENGTH_MAX: usize = 64;
/// Rules of one configuration: each message is tried against each of them.
pub(crate) const RULES_MAX: usize = 256;
/// Patterns of all rules: with the limit of each, 16 MiB.
pub(crate) const PATTERNS_MAX: usize = 256;
/// Characters of the text of a refusal: a reply line has 512 octets.
pub(crate) const REFUSAL_LENGTH_MAX: usize = 200;

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    /// Its name, unlike all others.
    pub(crate) name: Arc<str>,
    /// What must fit, all of it.
    pub(crate) matchers: Vec<Matcher>,
    /// What follows.
    pub(crate) effect: Effect,
}

/// What follows from a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Its mail is in this lane.
    pub(crate) lane: Option<Lane>,
    /// Recipients a day of one origin.
    pub(crate) origin_limit: Option<u32>,
    /// Whether much of the same is folded.
    pub(crate) storm: Option<bool>,
    /// It waits for a person.
    pub(crate) hold: bool,
    /// It is not taken, and its client hears this.
    pub(crate) refuse: Option<Arc<str>>,
    /// Only of a route: it leaves by the first of these accounts, for which the others stand in.
    pub(crate) accounts: Vec<Arc<str>>,
}

/// All rules of a configuration, in their order, and its routes, which are judged beside them and in the same way.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub(super) rules: Vec<Rule>,
    pub(super) routes: Vec<Rule>,
    /// The names of this host: `root` is `root@` each of them.
    pub(super) local_domains: Vec<String>,
    wanted: Arc<Wanted>,
}

impl Rules {
    /// What one origin may have of any 24 hours of the mail of a rule, where the rule says it.
    pub(crate) fn origin_limits(&self) -> BTreeMap<String, Limit> {
        let limits = self.rules.iter().filter_map(|rule| Some((rule, rule.effect.origin_limit?)));
        limits.map(|(rule, limit)| (rule.name.as_ref().to_owned(), limit.into())).collect()
    }

    /// These rules, on a host with these names.
    pub(crate) fn new(rules: Vec<Rule>, local_domains: &[String]) -> Self {
        let empty = Self { local_domains: local_domains.to_vec(), ..Self::default() };
        empty.with(rules, Vec::new())
    }

    /// The same with these routes.
    pub(crate) fn with_routes(self, routes: Vec<Rule>) -> Self {
        let rules = self.rules.clone();
        self.with(rules, routes)
    }

    fn with(self, rules: Vec<Rule>, routes: Vec<Rule>) -> Self {
        let mut wanted = Wanted::default();
        let matchers = rules.iter().chain(&routes).flat_map(|rule| &rule.matchers);
        matchers.flat_map(Matcher::fields).for_each(|name| wanted.add(name));
        Self { rules, routes, wanted: Arc::new(wanted), ..self }
    }

    /// Whether there is none, and no route, so that nothing is to be looked at.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.routes.is_empty()
    }

    /// The fields that they look at.
    pub(crate) fn wanted(&self) -> &Arc<Wanted> {
        &self.wanted
    }

    /// The rule that strikes.
    pub(crate) fn judge(&self, facts: &Facts<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.fits(facts, &self.local_domains))
    }

    /// The route that it takes; without one it leaves by the main account.
    pub(crate) fn route(&self, facts: &Facts<'_>) -> Option<&Rule> {
        self.routes.iter().find(|route| route.fits(facts, &self.local_domains))
    }

    /// The rule with this name: what it says now of mail that it struck before.
    pub(crate) fn of_name(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| &*rule.name == name)
    }

    /// Rules that never strike, each with the earlier one that takes all of its mail, as far as the same conditions tell.
    pub(crate) fn unreached(&self) -> Vec<(&str, &str)> {
        unreached(&self.rules)
    }

    /// The same of routes.
    pub(crate) fn unreached_routes(&self) -> Vec<(&str, &str)> {
        unreached(&self.routes)
    }
}

fn unreached(rules: &[Rule]) -> Vec<(&str, &str)> {
    let takes_all = |earlier: &Rule, later: &Rule| {
        earlier.matchers.iter().all(|matcher| later.matchers.contains(matcher))
    };
    let mut found = Vec::new();
    for (position, later) in rules.iter().enumerate() {
        let before = &rules[..position];
        if let Some(earlier) = before.iter().find(|earlier| takes_all(earlier, later)) {
            found.push((&*later.name, &*earlier.name));
        }
    }
    found
}

impl Rule {
    fn fits(&self, facts: &Facts<'_>, local_domains: &[String]) -> bool {
        self.matchers.iter().all(|matcher| matcher.fits(facts, local_domains))
    }
}
