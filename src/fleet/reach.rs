//! The knowledge whether the books can be asked, of all accounts together: there is one database.
//!
//! Rule: what begins and what ends is said once each in the log. Must not know what was asked.

use std::sync::Mutex;

use tracing::{error, info};

use super::books::Trouble;
use crate::{clock::Timestamp, sync::lock};

/// What to do in general; the words of the trouble say more.
pub(crate) const REMEDY: &str = "Look at the database and at the way to it. Mail waits meanwhile, and leaves by itself once the database answers";

/// Whether the books can be asked.
#[derive(Debug, Default)]
pub(super) struct Reach {
    away: Mutex<Option<Away>>,
}

/// That they cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Away {
    /// Since when.
    pub(crate) since: Timestamp,
    /// Why, in words.
    pub(crate) reason: String,
}

impl Reach {
    pub(super) fn away(&self) -> Option<Away> {
        lock(&self.away).clone()
    }

    /// Notes how something that was asked has ended.
    pub(super) fn note<T>(&self, answer: &Result<T, Trouble>, now: Timestamp) {
        let mut away = lock(&self.away);
        match (answer, away.as_mut()) {
            (Ok(_), None) => {}
            (Ok(_), Some(_)) => {
                *away = None;
                info!("the fleet's database answers again");
            }
            (Err(Trouble(reason)), Some(known)) => known.reason.clone_from(reason),
            (Err(Trouble(reason)), None) => {
                error!(
                    reason,
                    remedy = REMEDY,
                    "the fleet's database cannot be asked; nothing is sent"
                );
                *away = Some(Away { since: now, reason: reason.clone() });
            }
        }
    }
}
