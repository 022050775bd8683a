//! Where the checks put what they find, and where each key was written.
//!
//! Rule: a check that fails goes on with the default, so that all problems are found in one run.
//! Must not know what the keys mean.

use std::{
    collections::BTreeSet,
    fmt::Display,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    document::{Document, header, without_number},
    layers::{Variables, variable},
    problem::{Place, Problem},
    value::{Parsed, Size, Whole},
};

/// The collected problems.
pub(super) struct Report<'a> {
    document: Option<&'a Document>,
    variables: &'a Variables,
    /// Sections of which something could not be read.
    unread: &'a BTreeSet<String>,
    problems: Vec<Problem>,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        document: Option<&'a Document>,
        variables: &'a Variables,
        unread: &'a BTreeSet<String>,
    ) -> Self {
        Self { document, variables, unread, problems: Vec::new() }
    }

    /// Notes that a key lacks another one of its section; not where that one may be what could not be read.
    pub(super) fn add_lack(
        &mut self,
        section: &str,
        key: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if !self.unread.contains(without_number(section)) {
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
                format!("{} {key}: {}", header(section), what.into())
            }
        };
        self.problems.push(Problem { place, what, remedy: Some(remedy.into()) });
    }

    /// Where the key's value comes from.
    pub(super) fn place(&self, section: &str, key: &str) -> Place {
        if let Some(name) = self.set_by_variable(section, key) {
            return Place::Variable(name);
        }
        // A key that is missing in one of several sections is reported at the section's header.
        let written = self.document.and_then(|document| {
            document.place_of(section, key).or_else(|| document.place_of(section, ""))
        });
        written.unwrap_or_else(|| Place::Unwritten(format!("{} {key} (default)", header(section))))
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
        let name = variable(section, key);
        self.variables.get(&name).is_some_and(|value| !value.is_empty()).then_some(name)
    }

    /// A path as it was meant: relative ones start from the file's directory, or, in a variable, from
    /// the working directory.
    pub(super) fn path(&self, section: &str, key: &str, path: &str) -> PathBuf {
        let base = self.document.and_then(|document| document.path().parent());
        match base {
            Some(base) if self.set_by_variable(section, key).is_none() => base.join(path),
            _ => Path::new(path).to_owned(),
        }
    }

    /// A number in its range.
    pub(super) fn whole(&mut self, key: Key<'_, u32>, value: Option<Whole>) -> u32 {
        let Some(Whole(number)) = value else { return key.default };
        let fits = u32::try_from(number).ok().filter(|number| key.range.contains(number));
        fits.unwrap_or_else(|| self.out_of_range(key, number, |limit| limit.to_string()))
    }

    /// A size in its range.
    pub(super) fn size(&mut self, key: Key<'_, u64>, value: Option<Size>) -> u64 {
        let Some(Size(octets)) = value else { return key.default };
        if key.range.contains(&octets) {
            return octets;
        }
        self.out_of_range(key, octets, |limit| bytesize::ByteSize(limit).to_string())
    }

    /// A duration in its range.
    pub(super) fn duration(
        &mut self,
        key: Key<'_, Duration>,
        value: Option<&Parsed<Duration>>,
    ) -> Duration {
        let Some(Parsed(duration)) = value else { return key.default };
        if key.range.contains(duration) {
            return *duration;
        }
        self.out_of_range(key, in_days(*duration), in_days)
    }

    fn out_of_range<T: Copy>(
        &mut self,
        key: Key<'_, T>,
        shown: impl Display,
        text: impl Fn(T) -> String,
    ) -> T {
        let (least, most) = (text(*key.range.start()), text(*key.range.end()));
        let remedy = format!("Without the line it is {}.", text(key.default));
        self.add(
            key.section,
            key.key,
            format!("{shown} is not between {least} and {most}"),
            remedy,
        );
        key.default
    }

    /// The problems.
    pub(super) fn finish(self) -> Vec<Problem> {
        self.problems
    }
}

/// A key whose value has an order: its default and what it may be.
#[derive(Clone, Debug)]
pub(super) struct Key<'a, T> {
    pub(super) section: &'a str,
    pub(super) key: &'a str,
    pub(super) default: T,
    pub(super) range: RangeInclusive<T>,
}

/// As one would write it: whole days as days, not as months and hours.
fn in_days(duration: Duration) -> String {
    const DAY_SECONDS: u64 = 86_400;
    match duration.as_secs() {
        seconds if seconds >= DAY_SECONDS && seconds % DAY_SECONDS == 0 => {
            format!("{}d", seconds / DAY_SECONDS)
        }
        _ => humantime::format_duration(duration).to_string(),
    }
}

/// A text key that is set: an empty text means "not set".
pub(super) fn set(value: Option<&String>) -> Option<&str> {
    value.map(|text| text.trim()).filter(|text| !text.is_empty())
}
