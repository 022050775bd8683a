//! The reasons for which the queue refuses.

use thiserror::Error;

use super::id::QueueId;
use crate::clock::Timestamp;

/// Why the queue refuses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QueueError {
    /// The quota, or the free space of the disk, is used up. Clients hear 452 4.3.1.
    #[error("{0}")]
    Full(String),
    /// A person has this host take no new mail. Clients hear 421 4.3.2.
    #[error("this host is drained since {0}: it takes no new mail, and relays what it has")]
    Drained(Timestamp),
    /// The index has failed and is being reopened, or is closed. Clients hear 451 4.3.0.
    #[error("{0}")]
    Unavailable(String),
    /// This message's record or file is damaged; it was set aside.
    #[error("message {id} is damaged and was set aside: {reason}")]
    Corrupt {
        /// Which message.
        id: QueueId,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such message.
    #[error("there is no message {0} in the queue")]
    NotFound(QueueId),
    /// The message is in transfer just now.
    #[error("message {0} is being transferred just now; try again when the attempt has ended")]
    Conflict(QueueId),
    /// The message is not, or no longer, in the state that was asked for.
    #[error("message {0} is in another state by now; it was left as it is")]
    OtherState(QueueId),
    /// A verb for one recipient of a message has met none, or cannot be done to one alone.
    #[error("message {id} was left as it is: {why}; see pillarbox queue show {id}")]
    NotAlone {
        /// Which message.
        id: QueueId,
        /// What is in the way.
        why: &'static str,
    },
    /// This message is here already, or was.
    #[error("message {0} was handed over before")]
    AlreadyKnown(QueueId),
}
