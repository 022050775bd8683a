//! The aliases file in the syntax of sendmail's aliases(5): who is meant by a name without a domain.
//!
//! Rule: pure; any octets are read without panic, a line in error costs only itself, and every loss is
//! named with its line and the way to write it. Programs are never run and files never written: what asks
//! for that is reported and skipped. Must not know where the file is, nor who reads unknown names' mail.

mod loops;
mod reading;
mod routes;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, fmt};

use crate::{smtp::address::Address, text};

pub(crate) use self::routes::ALIASES_DEEP_MAX;
pub use self::routes::{LocalNames, RECIPIENTS_MAX, Route, Routes, Unrouted};
pub(crate) use self::routes::{is_same_mailbox, same_mailbox};

/// Octets of an aliases file: tens of thousands of lines; nothing of a larger one is used.
pub(crate) const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Names in a file: an organisation's worth.
pub(crate) const NAMES_MAX: usize = 10_000;
/// Problems that are kept; of more only the number.
pub(crate) const PROBLEMS_MAX: usize = 200;
/// Characters of a file's own text within a problem.
const SHOWN_MAX: usize = 60;

/// What a file says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aliases {
    /// By name, in lower case and without quotes.
    entries: HashMap<String, Entry>,
    problems: Vec<Problem>,
    problem_count: usize,
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Counted from 1.
    line: usize,
    targets: Vec<Target>,
}

/// One of those behind the colon.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    address: Address,
    /// It was written `\name`: no alias is applied to it.
    is_final: bool,
}

/// Something in the file that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Counted from 1; where the entry begins.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) what: String,
    /// How to write it, or what happens instead.
    pub(crate) remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}; {}", self.line, self.what, self.remedy)
    }
}

impl Aliases {
    /// Reads the octets of a file.
    #[must_use]
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let mut aliases = Self::default();
        if bytes.len() > FILE_BYTES_MAX {
            let what = format!("the file is larger than {FILE_BYTES_MAX} octets");
            aliases.report(1, what, "nothing of it is used; make it smaller");
            return aliases;
        }
        for line in reading::logical_lines(bytes) {
            aliases.add(&line);
        }
        loops::report(&mut aliases);
        aliases
    }

    /// How many names there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What is not used, in the order of the file, at most [`PROBLEMS_MAX`] of [`Self::problem_count`].
    #[must_use]
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many problems there are.
    #[must_use]
    pub(crate) fn problem_count(&self) -> usize {
        self.problem_count
    }

    fn report(&mut self, line: usize, what: impl Into<String>, remedy: impl Into<String>) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { line, what: what.into(), remedy: remedy.into() });
        }
    }

    fn add(&mut self, line: &reading::Line) {
        let (name, rest) = match reading::name_of(&line.text) {
            Ok(parts) => parts,
            Err((what, remedy)) => return self.report(line.number, what, remedy),
        };
        if let Some(earlier) = self.entries.get(&name) {
            let what = format!("{} is there already, in line {}", shown(&name), earlier.line);
            return self.report(line.number, what, "the first one counts; remove one of the two");
        }
        if self.entries.len() == NAMES_MAX {
            let what = format!("there are more than {NAMES_MAX} names");
            return self.report(line.number, what, "this one is not used");
        }
        let elements = match reading::elements(rest) {
            Ok(elements) => elements,
            Err((what, remedy)) => return self.report(line.number, what, remedy),
        };
        let mut targets = Vec::with_capacity(elements.len());
        for element in elements {
            match reading::targets(element) {
                Ok(mut found) => targets.append(&mut found),
                Err((what, remedy)) => self.report(line.number, what, remedy),
            }
        }
        if targets.is_empty() && rest.trim().is_empty() {
            let what = format!("there is no recipient behind {}", shown(&name));
            self.report(line.number, what, "write an address behind the colon");
        }
        if !targets.is_empty() {
            self.entries.insert(name, Entry { line: line.number, targets });
        }
    }
}

/// A text of the file as it is repeated: quoted, printable and short.
fn shown(text: &str) -> String {
    format!("\"{}\"", text::shorten(text, SHOWN_MAX))
}

/// A name as it is looked up: without quotes and escapes, in lower case.
fn normalized(name: &str) -> String {
    let inside = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inside) = inside else { return name.to_lowercase() };
    let mut plain = String::with_capacity(inside.len());
    let mut escaped = false;
    for character in inside.chars() {
        if character == '\\' && !escaped {
            escaped = true;
            continue;
        }
        escaped = false;
        plain.push(character);
    }
    plain.to_lowercase()
}
