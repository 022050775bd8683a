//! `[[route]]`: which mail leaves by which account, and who stands in for it.
//!
//! Rule: a route that names nobody, or an account that there is not, is refused where it stands. Must not know how a message
//! is judged, nor how accounts stand.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Deserializer};

use super::{
    accounts::FurtherAccount,
    document::{ROUTE, numbered},
    report::Report,
    rules::{Match, changed_of, name},
    shown::{self, Shown, Value},
    value::{self, Keys, Text, Words, list, section, tables_up_to, text as word_of, word},
};
use crate::{
    budget::{AccountKey, MAIN},
    queue::{
        routes::{self as ways, FailOver},
        way::RouteKey,
    },
    rules::{self, Effect, Matcher, PATTERNS_MAX, ROUTES_MAX},
    text,
};

/// All sections of this name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Routes(Vec<Route>);

section! {
    /// One of them.
    pub(super) struct Route {
        name: Option<String> = None, "word";
        /// All mail.
        #[serde(rename = "match")]
        conditions: Match = Match::default(), "Match::deserialize";
        accounts: Vec<AccountName> = Vec::new(), "list";
        fail_over: FailOver = FailOver::Never, "word_of";
    }
}

impl Words for FailOver {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("never", Self::Never),
        ("paused", Self::Paused),
        ("spent", Self::Spent),
        ("both", Self::Both),
    ];
}

/// The name of an account, as it is written.
#[derive(Clone, Debug, PartialEq)]
struct AccountName(String);

impl Text for AccountName {
    fn expected() -> String {
        "the name of an account in quotes".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("a name is empty".to_owned()) } else { Ok(Self(text.to_owned())) }
    }
}

impl Value for AccountName {
    fn shown(&self) -> Shown {
        Shown::Text(self.0.clone())
    }
}

impl<'de> Deserialize<'de> for Routes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        tables_up_to(deserializer, ROUTES_MAX).map(Self)
    }
}

/// A list of sections stands in the place of a section of its own. A running daemon takes all of it.
impl Keys for Routes {
    fn changed(&self, other: &Self) -> Vec<&'static str> {
        changed_of(&self.0, &other.0)
    }

    fn keep(&mut self, _: &str, _: &Self) {}

    fn shown(&self) -> shown::Keys {
        vec![("", Shown::Sections(self.0.iter().map(Keys::shown).collect()))]
    }
}

impl Routes {
    /// The routes to the main account and to these others, as mail is judged and as the queue carries them out.
    pub(super) fn check(
        &self,
        accounts: &[FurtherAccount],
        report: &mut Report<'_>,
    ) -> (Vec<rules::Rule>, BTreeMap<RouteKey, ways::Route>) {
        let known: Vec<&str> =
            [MAIN].into_iter().chain(accounts.iter().map(|one| one.name.as_str())).collect();
        let (mut judged, mut carried): (Vec<rules::Rule>, BTreeMap<_, _>) = Default::default();
        let names: Vec<Option<&str>> = self.0.iter().map(|one| one.name.as_deref()).collect();
        let mut patterns = 0;
        for (index, section) in self.0.iter().enumerate() {
            let place = numbered(ROUTE, index);
            let matchers = section.conditions.matchers();
            patterns += matchers.iter().map(Matcher::patterns).sum::<usize>();
            if patterns > PATTERNS_MAX {
                let what = format!("all routes together have more than {PATTERNS_MAX} patterns");
                report.add(&place, "match", what, "Write several words as one: \"/this|that/\".");
                break;
            }
            let accounts = section.accounts(&place, &known, report);
            let name = name(&names, (ROUTE, index), report);
            let name = name.and_then(|name| numbered_alone(name, &place, &judged, report));
            let Some(name) = name else { continue };
            let effect = Effect {
                accounts: accounts.iter().map(|name| Arc::from(*name)).collect(),
                ..Effect::default()
            };
            let accounts = accounts.into_iter().map(AccountKey::of).collect();
            let way = ways::Route { accounts, fail_over: section.fail_over };
            carried.insert(RouteKey::of(&name), way);
            judged.push(rules::Rule { name, matchers, effect });
        }
        (judged, carried)
    }
}

/// The name, unless another route has its number.
fn numbered_alone(
    name: Arc<str>,
    place: &str,
    others: &[rules::Rule],
    report: &mut Report<'_>,
) -> Option<Arc<str>> {
    let number = RouteKey::of(&name);
    let Some(other) = others.iter().find(|other| RouteKey::of(&other.name) == number) else {
        return Some(name);
    };
    let other = &other.name;
    let what =
        format!("{name} has the same number (CRC-32) as the route {other}, and mail is kept by it");
    report.add(place, "name", what, "Choose another name.");
    None
}

impl Route {
    /// The names of its accounts, as far as there are such.
    fn accounts<'a>(
        &self,
        place: &str,
        known: &[&'a str],
        report: &mut Report<'_>,
    ) -> Vec<&'a str> {
        let mut accounts = Vec::new();
        for AccountName(name) in &self.accounts {
            let Some(account) = known.iter().find(|one| *one == name) else {
                let what = format!("there is no account {}", value::shown(name));
                let remedy = match text::nearest(name, known.iter().copied()) {
                    Some(near) => format!("Did you mean \"{near}\"?"),
                    None => format!("The accounts are {}.", known.join(", ")),
                };
                report.add(place, "accounts", what, remedy);
                continue;
            };
            if accounts.contains(account) {
                let what = format!("{account} is named twice");
                report.add(
                    place,
                    "accounts",
                    what,
                    "Name it once: the first is the route's account.",
                );
            } else {
                accounts.push(*account);
            }
        }
        if self.accounts.is_empty() {
            let remedy = "Write accounts = [\"main\"], or the name of an [[account]].";
            report.add_lack(place, "accounts", "the route names no account", remedy);
        } else if self.fail_over != FailOver::Never && self.accounts.len() == 1 {
            let what = "nobody stands in: the route names one account";
            let remedy = "Name another one behind it in accounts, or remove the line.";
            report.add(place, "fail_over", what, remedy);
        }
        accounts
    }
}
