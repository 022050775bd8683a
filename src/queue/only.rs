//! A condition of a verb on the states of a message's recipients.
//!
//! Rule: it is decided inside the transaction that does the deed. Whoever asks has read the message before, and a
//! worker or a person may have changed it since.

use serde::{Deserialize, Serialize};

use super::{error::QueueError, id::QueueId, record::MessageRecord};

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
}

impl Only {
    /// A message with a recipient in this state.
    #[must_use]
    pub fn with(state: &str) -> Self {
        Self { state: Some(state.to_owned()), without: None }
    }

    /// A message without any recipient in this state.
    #[must_use]
    pub fn without(state: &str) -> Self {
        Self { state: None, without: Some(state.to_owned()) }
    }

    /// [`QueueError::OtherState`] when the message is none of these, or none any more.
    pub(super) fn check(&self, id: QueueId, record: &MessageRecord) -> Result<(), QueueError> {
        let has = |name: &String| record.recipients.iter().any(|one| one.state.name() == name);
        let fits = self.state.as_ref().is_none_or(has) && !self.without.as_ref().is_some_and(has);
        if fits { Ok(()) } else { Err(QueueError::OtherState(id)) }
    }
}
