//! The time that a person has set for a message, and what it makes of the times at which its recipients are due.
//!
//! Rule: it is a time of the clock on the wall, which nothing moves, and until it has come nothing else counts; from the
//! first claim behind it attempts decide again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The furthest time: whoever writes a year has mistaken it more often than meant it.
const SCHEDULE_AHEAD_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);

/// That a message cannot wait until then: `more than 366 days ahead`.
pub(crate) fn too_far(at: Timestamp, now: Timestamp) -> Option<String> {
    let days = SCHEDULE_AHEAD_MAX.as_secs() / 86_400;
    (at > now.after(SCHEDULE_AHEAD_MAX)).then(|| format!("more than {days} days ahead"))
}

/// The name of the state of what waits for such a time.
pub(crate) const SCHEDULED: &str = "scheduled";

/// The time that a person has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Schedule {
    pub(crate) at: Timestamp,
    /// A worker has had the message since.
    pub(super) has_come: bool,
}

impl Schedule {
    /// At a time that is still to come.
    pub(crate) fn new(at: Timestamp) -> Self {
        Self { at, has_come: false }
    }
}

/// When something that waits is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    pub(crate) at: Timestamp,
    /// A person has set it, and no attempt.
    pub(crate) is_scheduled: bool,
}

impl From<Timestamp> for Due {
    fn from(at: Timestamp) -> Self {
        Self { at, is_scheduled: false }
    }
}
