//! The messages that a verb is meant for: ids, all of them, or those that a search finds.

use clap::Args;

use super::{
    query::{self, Words},
    state::State,
};
use crate::{
    exit::{Exit, Failure},
    queue::{
        id::QueueId,
        only::Only,
        search::{self, Search},
    },
};

/// Which messages.
#[derive(Clone, Debug, Args)]
pub(crate) struct Selection {
    /// Ids as `queue list` prints them, or the words of a search as it takes them, at least one with a key.
    #[arg(value_name = "ID|WORDS", required_unless_present = "all", conflicts_with = "all")]
    #[arg(value_parser = Words, hide_possible_values = true)]
    words: Vec<String>,
    /// Every message in the queue.
    #[arg(long)]
    all: bool,
    /// Of all messages, those with at least one recipient in this state.
    #[arg(long, requires = "all", conflicts_with = "words", value_name = "STATE")]
    state: Option<State>,
    /// Only show which messages are meant.
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// The messages that are meant.
#[derive(Clone, Debug)]
pub(crate) enum Chosen {
    /// These, when they are in this state.
    Ids(Vec<QueueId>, Option<State>),
    /// Those of the queue that are found.
    Found(Search),
}

impl Selection {
    /// The messages that are meant. Words without a key are too easily an id with a mistake in it.
    pub(super) fn chosen(&self) -> Result<Chosen, Failure> {
        if self.all {
            let state = self.state.map(|state| format!("state:{state}"));
            return query::read(state.into_iter(), search::Place::Queue).map(Chosen::Found);
        }
        let ids: Vec<QueueId> = self.words.iter().flat_map(|word| word.parse().ok()).collect();
        if ids.len() == self.words.len() {
            return Ok(Chosen::Ids(ids, None));
        }
        let search = query::read(self.words.iter().cloned(), search::Place::Queue)?;
        if search.has_key() && ids.is_empty() {
            return Ok(Chosen::Found(search));
        }
        let word = self.words.iter().find(|word| word.parse::<QueueId>().is_err());
        let message = format!(
            "{:?} is not a queue id (26 letters and digits, as `pillarbox queue list` prints it), and a search needs a \
             word with a key, such as from:{}",
            word.map_or("", String::as_str),
            if ids.is_empty() { "" } else { "; ids and a search do not go together" }
        );
        Err(Failure::new(Exit::Usage, message))
    }
}

impl Chosen {
    /// What must be so at the moment of the deed, whatever a page has shown before.
    pub(super) fn only(&self, is_retry: bool) -> Only {
        match self {
            Self::Ids(_, None) => Only::default(),
            Self::Ids(_, Some(state)) => Only::with(state.name()),
            Self::Found(search) => Only::found(search, is_retry),
        }
    }
}
