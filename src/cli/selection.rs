//! The messages that a command is about: by id, all of them, or by the state of a recipient.
//!
//! Rule: a message is taken as a whole; it is in a state when at least one of its recipients is. Must
//! not know what is done with the messages.

use std::fmt;

use clap::{Args, ValueEnum};

use crate::{
    admin::api::Message,
    queue::{id::QueueId, only::Only},
};

/// Messages asked for at a time; what a command holds in memory, however long the queue is.
pub(super) const PAGE: usize = 250;

/// Which messages.
#[derive(Clone, Debug, Args)]
pub(super) struct Selection {
    /// Ids as `queue list` prints them.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(super) ids: Vec<QueueId>,
    /// Every message in the queue.
    #[arg(long)]
    pub(super) all: bool,
    /// Of all messages, those with at least one recipient in this state.
    #[arg(long, requires = "all", conflicts_with = "ids", value_name = "STATE")]
    pub(super) state: Option<State>,
}

/// What is done to each of several messages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    /// Makes them due now.
    Retry,
    /// Removes them for good.
    Delete,
}

impl Selection {
    /// Whether the message has a recipient in the wanted state, if one is wanted.
    pub(super) fn state_fits(&self, message: &Message) -> bool {
        self.state.is_none_or(|state| state.is_in(message))
    }

    /// What must be so at the moment of the deed, whatever a page has shown before. What was refused for good is not
    /// tried again along with the rest: it needs to be asked for by state or id.
    pub(super) fn only(&self, verb: Verb) -> Only {
        match (self.state, verb) {
            (Some(state), _) => Only::with(state.name()),
            (None, Verb::Retry) if self.all => Only::without(State::Dead.name()),
            (None, _) => Only::default(),
        }
    }
}

/// A recipient's state, in the words of `queue list`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum State {
    /// Waits for its next attempt.
    Queued,
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
    pub(super) fn is_in(self, message: &Message) -> bool {
        message.recipients.iter().any(|recipient| recipient.state == self.name())
    }

    /// The name, as in records.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
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
