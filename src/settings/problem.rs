//! A problem with the settings, in words for the person who wrote them.
//!
//! Rule: every problem says where (file and line, or environment variable), what, and what to do; all
//! of them are reported at once; no password is ever repeated. Must not know how problems are found.

use std::{fmt, path::PathBuf};

use thiserror::Error;

/// What stands in the place of a line that is not shown.
pub(super) const HIDDEN: &str = "(not shown: a secret may be in this line)";

/// Why there are no settings to work with.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file that was named, or found, cannot be read.
    #[error("cannot read the configuration {}: {reason}\n  {remedy}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// The file was found, and somebody else may have written it.
    #[error(
        "the configuration {} was found and does not count: {reason}\n  Name it with --config, or see that it and its \
         directory belong to root or to you and that nobody else may write them (chmod go-w).",
        path.display()
    )]
    Untrusted {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file or the environment says something that cannot be.
    #[error("{}", Listed(.0))]
    Invalid(Vec<Problem>),
    /// Nothing is wrong, but `run` has no account to relay through.
    #[error("{0}")]
    NoAccount(String),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is written.
    pub(crate) place: Place,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do, when the first sentence does not say it.
    pub(crate) remedy: Option<String>,
}

/// Where a setting is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the file.
    File {
        /// Its name as the person gave it.
        name: String,
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// The line and a caret, but never a password.
        excerpt: String,
    },
    /// In an environment variable.
    Variable(String),
    /// Nowhere: a default, or a key that is missing.
    Unwritten(String),
}

impl Place {
    /// Whether a secret may stand there, so that its text is not shown.
    pub(super) fn is_hidden(&self) -> bool {
        matches!(self, Self::File { excerpt, .. } if excerpt.ends_with(HIDDEN))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line, column, .. } => write!(formatter, "{name}:{line}:{column}"),
            Self::Variable(name) => write!(formatter, "environment variable {name}"),
            Self::Unwritten(name) => formatter.write_str(name),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.what)?;
        if let Place::File { excerpt, .. } = &self.place {
            write!(formatter, "\n{excerpt}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(formatter, "\n  {remedy}")?;
        }
        Ok(())
    }
}

struct Listed<'a>(&'a [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => formatter.write_str("the configuration has a problem")?,
            count => write!(formatter, "the configuration has {count} problems")?,
        }
        self.0.iter().try_for_each(|problem| write!(formatter, "\n\n{problem}"))
    }
}
