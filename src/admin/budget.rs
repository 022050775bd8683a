//! The budget as the API shows it.
//!
//! Rule: what urgent mail may spend is told apart from what all other mail may. Must not know how the ledger
//! counts.

use serde::{Deserialize, Serialize};

use crate::{budget::Limit, clock::Timestamp, queue::waiting::Departure};

/// `GET /v1/budget`: recipients in any 24 hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// The time of this answer.
    pub now: Timestamp,
    /// What the account may send, as configured; null without a limit.
    pub recipients_per_day: Limit,
    /// What is left for the owner's own mail.
    pub owner_reserve: u32,
    /// What the relay may spend: the difference; null without a limit.
    pub limit: Limit,
    /// What of the limit only our own notices may spend.
    #[serde(default)]
    pub notice_reserve: u32,
    /// What of the rest only urgent mail may spend.
    #[serde(default)]
    pub urgent_reserve: u32,
    /// Spent in the last 24 hours.
    pub spent: u32,
    /// May still be spent now on mail that is not urgent; null is any number.
    pub room: Option<u32>,
    /// May still be spent now on urgent mail.
    #[serde(default)]
    pub urgent_room: Option<u32>,
    /// May still be spent now on our own notices.
    #[serde(default)]
    pub notice_room: Option<u32>,
    /// When at least one more may be spent on mail that is not urgent; `None` when the limit is zero.
    pub frees_at: Option<Timestamp>,
    /// Since when the upstream says that the account's day is full, whatever is counted here: then there is
    /// no room, and one recipient is tried when the pause ends.
    #[serde(default)]
    pub full_since: Option<Timestamp>,
    /// When mail that is due now really leaves, and what decides that: a budget with room is not all it takes.
    pub departure: Departure,
}
