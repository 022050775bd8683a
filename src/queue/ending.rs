//! The end of a message: when it left the queue, how, and who ended it.
//!
//! Rule: it lies in the record of the history, which has the recipients with their last replies besides. Must not know who
//! reads it.

use serde::{Deserialize, Serialize};

use super::id::QueueId;
use crate::{clock::Timestamp, text};

/// Octets of a person's name that are kept.
const PERSON_LENGTH_MAX: usize = 120;

/// The end of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// When.
    pub(crate) at: Timestamp,
    /// How.
    pub(crate) how: Ending,
    /// The person who ended it, where it was one and is known.
    pub(crate) by: Option<String>,
}

/// How a message may leave the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// Every recipient was relayed.
    Relayed,
    /// A person has deleted it.
    Deleted,
    /// It could not be relayed, and its time as a dead letter was over.
    Expired,
    /// A person has sent it to another address, as this message.
    Redirected(QueueId),
    /// A summary has told of it, and its time in the queue was over.
    Folded,
}

impl Ending {
    /// Every name.
    pub(crate) const NAMES: [&str; 5] = ["relayed", "deleted", "expired", "redirected", "folded"];

    /// The name, as in answers and on screens.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Relayed => "relayed",
            Self::Deleted => "deleted",
            Self::Expired => "expired",
            Self::Redirected(_) => "redirected",
            Self::Folded => "folded",
        }
    }

    /// By a person at this moment.
    pub(super) fn by(self, person: Option<&str>, at: Timestamp) -> End {
        let by = person.map(|name| text::printable_within(name, PERSON_LENGTH_MAX));
        End { at, how: self, by }
    }

    /// By the relay itself at this moment.
    pub(super) fn at(self, at: Timestamp) -> End {
        End { at, how: self, by: None }
    }
}
