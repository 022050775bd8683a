//! The findings of the checks, and where each key was written.
//!
//! Rule: a check that fails goes on with the default, so that all problems are found in one run.
//! Must not know what the keys mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    document::{ACCOUNT, Document, header, numbered, without_number},
    problem::{Place, Problem},
    shown::in_days,
};
use crate::{addressed::with_account, admin::configured::Origin};

/// What a variable that sets a key starts with.
pub(super) const VARIABLE_PREFIX: &str = "PILLARBOX__";

/// The variables of the process, as far as they may concern us.
pub(super) type Variables = BTreeMap<String, String>;

/// The variable that sets a key.
pub(super) fn variable(section: &str, key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}__{}", section.to_uppercase(), key.to_uppercase())
}

/// The collected problems.
pub(super) struct Report<'a> {
    document: Option<&'a Document>,
    variables: &'a Variables,
    /// Sections of which something could not be read.
    unread: &'a BTreeSet<String>,
    /// The section of the account that is looked at, unless it is the main one.
    account: Option<String>,
    /// Its name, if it has one.
    account_name: Option<String>,
    problems: Vec<Problem>,
}

/// The sections that describe the main account; a further one has their keys in its own.
const OF_THE_MAIN_ACCOUNT: [&str; 3] = ["upstream", "budget", "identity"];

impl<'a> Report<'a> {
    pub(super) fn new(
        document: Option<&'a Document>,
        variables: &'a Variables,
        unread: &'a BTreeSet<String>,
    ) -> Self {
        Self {
            document,
            variables,
            unread,
            account: None,
            account_name: None,
            problems: Vec::new(),
        }
    }

    /// Looks at the further account with this number: what is said of a section of the main one meanwhile is said of its.
    pub(super) fn of_account<T>(
        &mut self,
        index: usize,
        name: Option<&str>,
        look: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.account = Some(numbered(ACCOUNT, index));
        self.account_name = name.map(str::to_owned);
        let seen = look(self);
        (self.account, self.account_name) = (None, None);
        seen
    }

    /// The section that is meant.
    fn meant<'s>(&'s self, section: &'s str) -> &'s str {
        let account = self.account.as_deref().filter(|_| OF_THE_MAIN_ACCOUNT.contains(&section));
        account.unwrap_or(section)
    }

    /// Words for a person, about the section that is meant.
    fn of_meant(&self, words: String) -> String {
        if self.account.is_none() {
            return words;
        }
        let name =
            |words: String, section: &&str| words.replace(&header(section), &header(ACCOUNT));
        let words = OF_THE_MAIN_ACCOUNT.iter().fold(words, name);
        match &self.account_name {
            Some(name) => with_account(&words, name),
            None => words,
        }
    }

    /// Notes that a key lacks another one of its section; not where that one may be what could not be read.
    pub(super) fn add_lack(
        &mut self,
        section: &str,
        key: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if !self.unread.contains(without_number(self.meant(section))) {
            self.add(section, key, what, remedy);
        }
    }

    /// Notes a problem with a key.
    pub(super) fn add(
        &mut self,
        section: &str,
        key: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let place = self.place(section, key);
        let what = match place {
            Place::Unwritten(_) => what.into(),
            Place::File { .. } | Place::Variable(_) => {
                format!("{} {key}: {}", header(self.meant(section)), what.into())
            }
        };
        let (what, remedy) = (self.of_meant(what), self.of_meant(remedy.into()));
        self.problems.push(Problem { place, what, remedy: Some(remedy) });
    }

    /// Where the key's value comes from.
    pub(super) fn place(&self, section: &str, key: &str) -> Place {
        let section = self.meant(section);
        if let Some(name) = self.set_by_variable(section, key) {
            return Place::Variable(name);
        }
        // A key that is missing in one of several sections is reported at the section's header.
        let written = self.document.and_then(|document| {
            document.place_of(section, key).or_else(|| document.place_of(section, ""))
        });
        written.unwrap_or_else(|| Place::Unwritten(format!("{} {key} (default)", header(section))))
    }

    /// The same for a program.
    pub(super) fn origin(&self, section: &str, key: &str) -> Origin {
        if let Some(variable) = self.set_by_variable(section, key) {
            return Origin::Environment { variable };
        }
        match self.document.and_then(|document| document.place_of(section, key)) {
            Some(Place::File { name, line, .. }) => Origin::File { file: name, line },
            _ => Origin::Default,
        }
    }

    /// Where a key stands, in a few words within a sentence.
    pub(super) fn whereabouts(&self, section: &str, key: &str) -> String {
        match self.place(section, key) {
            Place::File { line, .. } => format!("line {line}"),
            Place::Variable(name) => format!("the environment variable {name}"),
            Place::Unwritten(name) => name,
        }
    }

    fn set_by_variable(&self, section: &str, key: &str) -> Option<String> {
        let name = variable(self.meant(section), key);
        self.variables.get(&name).is_some_and(|value| !value.is_empty()).then_some(name)
    }

    /// A path as it was meant: relative ones start from the file's directory, or, in a variable, from
    /// the working directory.
    pub(super) fn path(&self, section: &str, key: &str, path: &Path) -> PathBuf {
        let base = self.document.and_then(|document| document.path().parent());
        match base {
            Some(base) if self.set_by_variable(section, key).is_none() => base.join(path),
            _ => path.to_owned(),
        }
    }

    /// The value of a key whose values have an order; the default when it is out of its range, which is noted.
    pub(super) fn within<T: Ordered>(
        &mut self,
        section: &str,
        key: &str,
        value: T,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        if range.contains(&value) {
            return value;
        }
        let (least, most) = (range.start().as_limit(), range.end().as_limit());
        let what = format!("{} is not between {least} and {most}", value.as_written());
        self.add(section, key, what, format!("Without the line it is {}.", default.as_limit()));
        default
    }

    /// The same for a whole number.
    pub(super) fn whole(
        &mut self,
        section: &str,
        key: &str,
        value: i64,
        default: i64,
        range: RangeInclusive<u32>,
    ) -> u32 {
        let (least, most) = (*range.start(), *range.end());
        let number = self.within(section, key, value, default, least.into()..=most.into());
        u32::try_from(number).unwrap_or(most)
    }

    /// The problems.
    pub(super) fn finish(self) -> Vec<Problem> {
        self.problems
    }
}

/// The value of a field in its range, by [`Report::within`] or [`Report::whole`]: the field's name is the key's.
macro_rules! in_range {
    ($report:ident.$check:ident, $section:expr, $own:ident.$key:ident, $range:expr) => {
        $report.$check($section, stringify!($key), $own.$key, Self::default().$key, $range)
    };
}
pub(super) use in_range;

/// A value that may be too small or too large.
pub(super) trait Ordered: Copy + PartialOrd {
    fn as_written(self) -> String;

    fn as_limit(self) -> String {
        self.as_written()
    }
}

/// A whole number.
impl Ordered for i64 {
    fn as_written(self) -> String {
        self.to_string()
    }
}

/// A number of octets.
impl Ordered for u64 {
    fn as_written(self) -> String {
        self.to_string()
    }

    fn as_limit(self) -> String {
        bytesize::ByteSize(self).to_string()
    }
}

impl Ordered for Duration {
    fn as_written(self) -> String {
        in_days(self)
    }
}
