//! The search language of commands and API: which of the queued messages are meant.
//!
//! Rule: every word of a search must hold; a word that cannot be understood is an error that shows its place, never a
//! word that is passed over, for messages are deleted by searches. Must not know who asks.

mod reading;
mod term;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use self::term::{Term, Test};
pub(crate) use self::{reading::SearchError, term::Place};
use super::{id::QueueId, record::MessageRecord};
use crate::clock::Timestamp;

/// A search that was understood. The default is one without words: every message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Search(Vec<Term>);

/// What a word may begin with, or be where there is a choice: for the completion of shells. Nothing that they would take
/// for a file.
pub(crate) const BEGINNINGS: [&str; 32] = [
    "from:",
    "to:",
    "subject:",
    "id:",
    "client:",
    "user:",
    "storm:",
    "reply:",
    "older:",
    "newer:",
    "larger:",
    "smaller:",
    "client:local",
    "client:relay",
    "lane:urgent",
    "lane:normal",
    "lane:bulk",
    "lane:notice",
    "rule:",
    "state:queued",
    "state:uncertain",
    "state:reserved",
    "state:scheduled",
    "state:folded",
    "state:relayed",
    "state:held",
    "state:dead",
    "ended:relayed",
    "ended:deleted",
    "ended:expired",
    "ended:redirected",
    "ended:folded",
];

impl Search {
    /// Every message with a recipient in the state of this name.
    #[must_use]
    pub(crate) fn of_state(name: &'static str) -> Self {
        Self(vec![Term { is_not: false, test: Test::State(name) }])
    }

    /// Whether it is meant for every message.
    #[must_use]
    pub(crate) fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some word of it says where to look.
    #[must_use]
    pub(crate) fn has_key(&self) -> bool {
        self.0.iter().any(Term::has_key)
    }

    /// Whether some word of it is about states.
    #[must_use]
    pub(crate) fn names_a_state(&self) -> bool {
        self.0.iter().any(Term::is_about_states)
    }

    /// The words of one that is for messages of this place.
    pub(crate) fn read(words: &str, place: Place) -> Result<Self, SearchError> {
        let search: Self = words.parse()?;
        search.expect_fit(place)?;
        Ok(search)
    }

    /// An error that shows the first word of it that no message of this place can be found by, or that leaves none of them
    /// out.
    pub(crate) fn expect_fit(&self, place: Place) -> Result<(), SearchError> {
        let mut start = 0;
        for term in &self.0 {
            let end = start + term.to_string().len();
            if let Some(what) = term.misfit(place) {
                return Err(SearchError::at(what, self.to_string(), start..end));
            }
            start = end + 1;
        }
        Ok(())
    }

    /// Whether the message is one of those that are meant.
    #[must_use]
    pub(crate) fn matches(&self, id: QueueId, record: &MessageRecord, now: Timestamp) -> bool {
        self.0.iter().all(|term| term.holds_of(id, record, now))
    }
}

impl TryFrom<String> for Search {
    type Error = SearchError;

    fn try_from(text: String) -> Result<Self, SearchError> {
        text.parse()
    }
}

impl From<Search> for String {
    fn from(search: Search) -> Self {
        search.to_string()
    }
}

impl FromStr for Search {
    type Err = SearchError;

    fn from_str(text: &str) -> Result<Self, SearchError> {
        reading::terms(text).map(Self)
    }
}

/// In the form that is read back as the same search.
impl fmt::Display for Search {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, term) in self.0.iter().enumerate() {
            let blank = if place == 0 { "" } else { " " };
            write!(formatter, "{blank}{term}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
