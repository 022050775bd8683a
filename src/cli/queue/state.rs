//! The states of recipients, as an option of a command.

use std::fmt;

use clap::ValueEnum;

use crate::{
    admin::api::Message,
    queue::{fold::FOLDED, schedule::SCHEDULED},
};

/// A recipient's state, in the words of `queue list`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    /// Waits for its next attempt.
    Queued,
    /// Waits for the time that `queue schedule` has set.
    Scheduled,
    /// Folded into a storm, of which summaries tell.
    Folded,
    /// Waits to be sent once more, because no answer to the final dot came.
    Uncertain,
    /// In flight.
    Reserved,
    /// Waits for a person.
    Held,
    /// Refused for good, or given up.
    Dead,
}

impl State {
    /// Whether a recipient of the message is in this state.
    pub(crate) fn is_in(self, message: &Message) -> bool {
        message.recipients.iter().any(|recipient| recipient.state == self.name())
    }

    /// The name, as in records.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Scheduled => SCHEDULED,
            Self::Folded => FOLDED,
            Self::Uncertain => "uncertain",
            Self::Reserved => "reserved",
            Self::Held => "held",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
