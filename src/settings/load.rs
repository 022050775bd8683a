//! The whole configuration, and its layers: relay.toml, and over it the environment.
//!
//! Rule: each is read once and alone, because only then an error has the line and the caret of a file, or the name of a
//! variable: the file strictly, each variable by the `config` crate. Then the keys of the variables are laid over those of
//! the file. Must not know what the keys mean.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use config::{Config, ConfigError, Environment};
use serde::Deserialize;

use super::{
    accounts::{Account, Accounts},
    admin::Admin,
    alert::{Alert, Target},
    document::{
        ACCOUNT, Document, NETWORK, REPEATED, ROUTE, RULE, SENDER, Section, TARGET, header,
        without, without_number,
    },
    fleet::Fleet,
    identity::{Identity, Sender},
    listener::Listener,
    networks::Network,
    notify::{Doctor, Log, Notices, WeeklyReport},
    problem::{Place, Problem},
    report::{VARIABLE_PREFIX, Variables, variable},
    routes::{Route, Routes},
    rules::{self, Rule, Rules},
    shown,
    storage::{Budget, Queue, Sendmail},
    storm::Storm,
    upstream::Upstream,
    value::{Keys as _, field_names},
};
use crate::text;

/// All sections. A key that is not in one of these structs does not exist, in the file as in the environment.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Sections {
    pub(super) upstream: Upstream,
    pub(super) listener: Listener,
    pub(super) sendmail: Sendmail,
    pub(super) queue: Queue,
    pub(super) budget: Budget,
    pub(super) rule: Rules,
    pub(super) identity: Identity,
    pub(super) account: Accounts,
    pub(super) route: Routes,
    pub(super) fleet: Fleet,
    pub(super) storm: Storm,
    pub(super) notices: Notices,
    pub(super) alert: Alert,
    pub(super) doctor: Doctor,
    pub(super) report: WeeklyReport,
    pub(super) admin: Admin,
    pub(super) log: Log,
}

impl Sections {
    /// The same with what the provider decides where nobody has written anything.
    pub(super) fn provided(mut self) -> Self {
        let profile = self.upstream.provider().profile();
        self.upstream.provide();
        self.account.provide();
        self.listener.provide(profile);
        self.budget.provide(profile);
        self
    }
}

/// Without what was written: what follows from it is shown by the checked configuration.
impl fmt::Debug for Sections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sections").finish_non_exhaustive()
    }
}

/// The same for every section, each of which is named once; one that is left out does not compile.
macro_rules! all_sections {
    ($($section:ident),*) => {
        impl Sections {
            /// The keys whose values are others than in `other`: `section.key`.
            pub(super) fn changed(&self, other: &Self) -> Vec<String> {
                let Self { $($section),* } = self;
                let of = |section: &str, keys: Vec<&str>| -> Vec<String> {
                    keys.into_iter().map(|key| format!("{section}.{key}")).collect()
                };
                [$(of(stringify!($section), $section.changed(&other.$section))),*].concat()
            }

            /// Every section with its keys and their values as they may be shown.
            pub(super) fn shown(&self) -> Vec<(&'static str, shown::Keys)> {
                let Self { $($section),* } = self;
                vec![$((stringify!($section), $section.shown())),*]
            }

            /// Takes the value of a key, `section.key`, from `other`.
            pub(super) fn keep(&mut self, key: &str, other: &Self) {
                match key.split_once('.') {
                    $(Some((stringify!($section), key)) => self.$section.keep(key, &other.$section),)*
                    _ => {}
                }
            }
        }
    };
}
all_sections!(
    upstream, listener, sendmail, queue, budget, rule, identity, account, route, fleet, storm,
    notices, alert, doctor, report, admin, log
);

/// Every section with its keys, in the order of the file, as serde knows them.
pub(super) fn sections() -> [Section; 20] {
    [
        ("upstream", field_names::<Upstream>()),
        ("listener", without_sections(field_names::<Listener>())),
        (NETWORK, field_names::<Network>()),
        ("sendmail", field_names::<Sendmail>()),
        ("queue", field_names::<Queue>()),
        ("budget", field_names::<Budget>()),
        (RULE, field_names::<Rule>()),
        ("identity", without_sections(field_names::<Identity>())),
        (SENDER, field_names::<Sender>()),
        (ACCOUNT, field_names::<Account>()),
        (ROUTE, field_names::<Route>()),
        ("fleet", field_names::<Fleet>()),
        ("storm", field_names::<Storm>()),
        ("notices", field_names::<Notices>()),
        ("alert", without_sections(field_names::<Alert>())),
        (TARGET, field_names::<Target>()),
        ("doctor", field_names::<Doctor>()),
        ("report", field_names::<WeeklyReport>()),
        ("admin", field_names::<Admin>()),
        ("log", field_names::<Log>()),
    ]
}

/// Without the key of a list of sections: it is the last field, because those stand below the section's own
/// keys.
fn without_sections(keys: &'static [&'static str]) -> &'static [&'static str] {
    keys.split_last().map_or(keys, |(_, keys)| keys)
}

/// The variable that names the file.
pub(super) const FILE_VARIABLE: &str = "PILLARBOX_CONFIG";

/// What people, and the programs that they write with, put around a value.
const QUOTES: [char; 13] = [
    '"', '\'', '`', '\u{ab}', '\u{bb}', '\u{2018}', '\u{2019}', '\u{201a}', '\u{201c}', '\u{201d}',
    '\u{201e}', '\u{2039}', '\u{203a}',
];

/// Problems of one file that are looked for; a text that is not a configuration at all would have thousands.
const PROBLEMS_MAX: usize = 20;

/// Both layers as far as they can be read, and everything that is wrong with what cannot.
pub(super) struct Layers {
    /// `None` when too little can be read for a judgement of the rest.
    pub(super) sections: Option<Sections>,
    /// Sections of which something could not be read.
    pub(super) unread: BTreeSet<String>,
    pub(super) problems: Vec<Problem>,
}

/// Reads both layers.
pub(super) fn read(document: Option<&Document>, variables: &Variables) -> Layers {
    let mut layers = Layers { sections: None, unread: BTreeSet::new(), problems: Vec::new() };
    let mut sections = match document {
        Some(document) => layers.file(document),
        None => Some(Sections::default()),
    };
    for (name, value) in variables {
        match of_variable(name, value) {
            Ok(None) => {}
            Ok(Some((key, alone))) => {
                if let Some(sections) = &mut sections {
                    sections.keep(&key, &alone);
                }
            }
            Err(problem) => {
                layers.problems.push(problem);
                let section =
                    name.strip_prefix(VARIABLE_PREFIX).and_then(|path| path.split("__").next());
                layers.unread.extend(section.map(str::to_lowercase));
            }
        }
    }
    Layers { sections, ..layers }
}

impl Layers {
    /// Notes everything that is wrong with the file, and returns what it says without that. The parser stops at the
    /// first mistake, so each one that is found is blanked out, and what is left is read again.
    fn file(&mut self, document: &Document) -> Option<Sections> {
        let syntax = document.syntax_errors();
        if !syntax.is_empty() {
            let problems = syntax.iter().take(PROBLEMS_MAX);
            self.problems.extend(problems.map(|error| file_problem(document, error)));
            return None;
        }
        let mut text = document.text().to_owned();
        while self.problems.len() < PROBLEMS_MAX {
            let error = match toml::from_str(&text) {
                Ok(sections) => return Some(sections),
                Err(error) => error,
            };
            self.problems.push(file_problem(document, &error));
            let position = error.span()?.start;
            let section = document.section_at(position).map(without_number);
            self.unread.extend(section.map(str::to_owned));
            text = without(&text, position)?;
        }
        None
    }
}

fn file_problem(document: &Document, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let place = document.place(span.clone());
    let message = error.message();
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    let Some(name) = unknown else {
        return Problem { what: without_quotation(message, &place), place, remedy: None };
    };
    let is_at = |section: &str, key: &str| document.place_of(section, key) == Some(place.clone());
    let section = document.section_at(span.start);
    let (what, remedy) = match section {
        Some(section) if is_at(section, name) => unknown_key(section, name),
        Some(section) if is_at(section, &format!("match.{name}")) => {
            unknown_condition(section, name)
        }
        _ => unknown_section(name),
    };
    Problem { place: document.place_of_unknown(span), what, remedy: Some(remedy) }
}

/// Syntax errors quote what they stumbled over, which may be a piece of a password; the excerpt shows it
/// where that is safe. Serde's errors about a value of another type repeat it: that is safe where the line is.
fn without_quotation(message: &str, place: &Place) -> String {
    let of_type = message.strip_prefix("invalid type: ");
    if let (Some(found), true) = (of_type, place.is_hidden()) {
        let (found, expected) = found.split_once(", expected").unwrap_or((found, " another one"));
        let kind = found.split(['`', '"']).next().unwrap_or("").trim_end();
        return format!("invalid type: {kind}, expected{expected}");
    }
    if of_type.is_some() || !message.starts_with("invalid ") {
        return message.to_owned();
    }
    message.split(['`', '"', ',']).next().unwrap_or("").trim_end().to_owned()
}

fn unknown_section(name: &str) -> (String, String) {
    let sections = sections();
    if let Some((section, _)) = sections.iter().find(|(_, keys)| keys.contains(&name)) {
        let what = format!("the key `{name}` stands outside of its section");
        return (what, format!("Write it under {}.", header(section)));
    }
    let names: Vec<&str> = sections.iter().map(|(section, _)| *section).collect();
    // `[[network]]` is the part of a name that people remember.
    let part = names.iter().copied().find(|section| section.rsplit('.').next() == Some(name));
    let remedy = part.or_else(|| text::nearest(name, names.iter().copied())).map_or_else(
        || format!("The sections are {}.", names.join(", ")),
        |near| format!("Did you mean {}?", header(near)),
    );
    (format!("there is no section [{name}]"), remedy)
}

fn unknown_key(section: &str, name: &str) -> (String, String) {
    let sections = sections();
    let section = without_number(section);
    let keys =
        sections.iter().find(|(known, _)| *known == section).map_or(&[][..], |(_, keys)| *keys);
    let elsewhere = sections.iter().find(|(_, keys)| keys.contains(&name));
    let remedy = match (elsewhere, text::nearest(name, keys.iter().copied())) {
        (Some((other, _)), _) => format!("`{name}` belongs under {}.", header(other)),
        (None, Some(near)) => format!("Did you mean `{near}`?"),
        (None, None) => format!("The keys of {} are {}.", header(section), keys.join(", ")),
    };
    (format!("there is no key `{name}` in {}", header(section)), remedy)
}

fn unknown_condition(section: &str, name: &str) -> (String, String) {
    let known = rules::conditions();
    let remedy = match text::nearest(name, known.iter().copied()) {
        Some(near) => format!("Did you mean `{near}`?"),
        None => format!("It can ask for {}.", known.join(", ")),
    };
    (format!("a match of {} cannot ask for `{name}`", header(section)), remedy)
}

/// The key that a variable sets, `section.key`, and sections in which it has the variable's value and every other one its
/// default; `None` of a variable that is empty or not ours.
fn of_variable(name: &str, value: &str) -> Result<Option<(String, Sections)>, Problem> {
    let problem = |what: String, remedy: Option<String>| Problem {
        place: Place::Variable(name.to_owned()),
        what,
        remedy,
    };
    let Some(path) = name.strip_prefix(VARIABLE_PREFIX) else {
        let Some(meant) = with_two_underscores(name) else { return Ok(None) };
        let what =
            "a variable that sets a key has two underscores before the section and before the key";
        return Err(problem(what.into(), Some(format!("Write {meant}."))));
    };
    if name.chars().any(char::is_lowercase) {
        let remedy = format!("Write {}.", name.to_uppercase());
        return Err(problem("the names of variables are in capitals".into(), Some(remedy)));
    }
    let path = path.to_lowercase();
    let Some((section, key)) = path.split_once("__") else {
        let remedy = "Write PILLARBOX__SECTION__KEY.".into();
        return Err(problem("it names no key".into(), Some(remedy)));
    };
    if let Some(tables) = tables_of_variable(section, key) {
        let what = format!("{} sections cannot be set by a variable", header(tables));
        return Err(problem(what, Some("Write them in the file.".into())));
    }
    let sections = sections();
    let unknown = match sections.iter().find(|(known, _)| *known == section) {
        None => Some(unknown_section(section)),
        Some((_, keys)) if !keys.contains(&key) => Some(unknown_key(section, key)),
        Some(_) => None,
    };
    if let Some((what, remedy)) = unknown.or_else(|| quoted(key, value)) {
        return Err(problem(what, Some(remedy)));
    }
    if value.is_empty() {
        return Ok(None);
    }
    let alone = alone(name, value).map_err(|error| problem(words(error), None))?;
    Ok(Some((format!("{section}.{key}"), alone)))
}

fn alone(name: &str, value: &str) -> Result<Sections, ConfigError> {
    let environment = Environment::with_prefix("PILLARBOX")
        .prefix_separator("__")
        .separator("__")
        .source(Some(HashMap::from([(name.to_owned(), value.to_owned())])));
    Config::builder().add_source(environment).build()?.try_deserialize()
}

/// What is wrong with the variable that names the file.
pub(super) fn check_file_variable(variables: &Variables) -> Result<(), Problem> {
    let value = variables.get(FILE_VARIABLE).map_or("", String::as_str);
    quoted("", value).map_or(Ok(()), |(what, remedy)| {
        let place = Place::Variable(FILE_VARIABLE.to_owned());
        Err(Problem { place, what, remedy: Some(remedy) })
    })
}

/// A value with the quotes that somebody wrote around it: Compose's list form, `docker --env-file` and Kubernetes hand
/// them on as a part of it, and no value of ours has any.
fn quoted(key: &str, value: &str) -> Option<(String, String)> {
    let is_quote = |character: &char| QUOTES.contains(character);
    let value = value.trim();
    let (first, last) = (value.chars().next()?, value.chars().next_back()?);
    let around = is_quote(&first) && is_quote(&last);
    let is_secret = ["password", "oauth_client_secret", "webhook"].contains(&key);
    if around || (!is_secret && (is_quote(&first) || is_quote(&last))) {
        let what = "the value begins or ends with a quote, which would be a part of it";
        let remedy = "Write it without quotes; in a Compose file: NAME: value, or - NAME=value.";
        return Some((what.to_owned(), remedy.to_owned()));
    }
    if key.ends_with("command") && value.contains(['"', '\'']) {
        let what =
            "a command in a variable is split at its blanks, and quotes have no meaning in it";
        return Some((what.to_owned(), "Write it as a list in the file.".to_owned()));
    }
    None
}

/// The section that may be there several times, when a variable means one.
fn tables_of_variable(section: &str, key: &str) -> Option<&'static str> {
    let means = |name: &&&str| match name.split_once('.') {
        Some((outer, inner)) => {
            section == outer
                && (key == inner
                    || key.strip_prefix(inner).is_some_and(|rest| rest.starts_with("__")))
        }
        None => section == **name,
    };
    REPEATED.iter().find(means).copied()
}

/// The right spelling of `PILLARBOX_UPSTREAM_PORT`. Other variables that start with `PILLARBOX_` are not
/// ours: Kubernetes sets such for a service of that name.
fn with_two_underscores(name: &str) -> Option<String> {
    let flat = |text: &str| text.replace("__", "_");
    sections()
        .iter()
        .flat_map(|(section, keys)| keys.iter().map(move |key| variable(section, key)))
        .find(|right| flat(right) == flat(name))
}

/// The config crate's error without its own notion of where.
fn words(error: ConfigError) -> String {
    match error {
        ConfigError::At { error, .. } => words(*error),
        ConfigError::Type { unexpected, expected, .. } => {
            format!("invalid type: {unexpected}, expected {expected}")
        }
        ConfigError::Message(message) => message,
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_sections_is_the_list_of_the_file() {
        let names: Vec<&str> = sections().iter().map(|(section, _)| *section).collect();
        let outer: Vec<&str> = names.iter().copied().filter(|name| !name.contains('.')).collect();
        assert_eq!(outer, field_names::<Sections>());
        assert!(REPEATED.iter().all(|name| names.contains(name)));
        let inner: Vec<&str> =
            REPEATED.iter().filter_map(|name| Some(name.split_once('.')?.1)).collect();
        let has_inner = |keys: &[&str]| keys.iter().any(|key| inner.contains(key));
        assert!(sections().iter().all(|(_, keys)| !keys.is_empty() && !has_inner(keys)));
        assert_eq!(field_names::<Listener>().last(), Some(&inner[0]));
        assert_eq!(field_names::<Identity>().last(), Some(&inner[1]));
        assert_eq!(field_names::<Alert>().last(), Some(&inner[2]));
    }
}
