//! The note that a message is folded: the storm that it belongs to, and whether a summary has told of it.
//!
//! Rule: its recipients wait as those of any other message, and no time makes them due: a person releases it, or it ends
//! when it was told of for long enough. Must not know what makes a storm.

use serde::{Deserialize, Serialize};

use super::id::QueueId;
use crate::clock::Timestamp;

/// The name of the state of what is folded.
pub(crate) const FOLDED: &str = "folded";

/// Into what a message is folded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fold {
    /// The storm, by the id of its first folded message.
    pub(crate) storm: QueueId,
    /// Whom its From field names, for a start that asks which storm it belongs to.
    pub(crate) from: String,
    /// When a summary that tells of it was queued.
    pub(crate) told: Option<Timestamp>,
}
