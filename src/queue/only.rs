//! A condition of a verb on the states of a message's recipients.
//!
//! Rule: it is decided inside the transaction that does the deed. Whoever asks has read the message before, and a
//! worker or a person may have changed it since.

use serde::{Deserialize, Serialize};

use super::{error::QueueError, id::QueueId, record::MessageRecord, search::Search};
use crate::{clock::Timestamp, smtp::address::Address};

/// Which messages a verb is meant for, as they are at the moment of the deed. The default is any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Only {
    /// One with a recipient in the state of this name, as screens call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,
    /// One without any recipient in the state of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) without: Option<String>,
    /// One that is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) search: Option<Search>,
    /// Of such a message this recipient alone; heard by a hold and by a deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recipient: Option<Address>,
}

impl Only {
    /// A message with a recipient in this state.
    #[must_use]
    pub fn with(state: &str) -> Self {
        Self { state: Some(state.to_owned()), ..Self::default() }
    }

    /// A message without any recipient in this state.
    #[must_use]
    pub fn without(state: &str) -> Self {
        Self { without: Some(state.to_owned()), ..Self::default() }
    }

    /// What a verb asks of each message that a search has found. What was refused for good is not tried again along with the
    /// rest: it needs to be asked for by state or id.
    #[must_use]
    pub(crate) fn found(search: &Search, is_retry: bool) -> Self {
        let spares_the_dead = is_retry && !search.names_a_state();
        let base = if spares_the_dead { Self::without("dead") } else { Self::default() };
        base.found_by(search.clone())
    }

    /// One of these that is also found by the search.
    #[must_use]
    pub(crate) fn found_by(self, search: Search) -> Self {
        Self { search: Some(search).filter(|search| !search.is_everything()), ..self }
    }

    /// Whether it means what is folded as well: one message by its id, or what a state is asked of. Thousands of those
    /// would leave along with the rest.
    pub(super) fn means_folded(&self) -> bool {
        let names_a_state = self.search.as_ref().is_some_and(Search::names_a_state);
        self.state.is_some() || names_a_state || *self == Self::default()
    }

    /// Whether this recipient of such a message is meant.
    pub(super) fn means(&self, address: &Address) -> bool {
        let is = |one: &Address| one.as_str().eq_ignore_ascii_case(address.as_str());
        self.recipient.as_ref().is_none_or(is)
    }

    /// [`QueueError::OtherState`] when the message is none of these, or none any more.
    pub(super) fn check(
        &self,
        id: QueueId,
        record: &MessageRecord,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let has = |name: &String| record.has_state(name, now);
        let is_found = |search: &Search| search.matches(id, record, now);
        let fits = self.state.as_ref().is_none_or(has)
            && !self.without.as_ref().is_some_and(has)
            && self.search.as_ref().is_none_or(is_found);
        if fits { Ok(()) } else { Err(QueueError::OtherState(id)) }
    }
}
