//! Claims and settlements: what a worker asks for, gets, and brings back.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    allowance::Allowance,
    id::QueueId,
    record::{NoticeSent, Setbacks},
};
use crate::{
    budget::{AccountKey, Limit},
    clock::Timestamp,
    message::envelope::Lane,
    smtp::address::Address,
};

/// On what terms a worker claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimLimits {
    /// Whose claim it is.
    pub account: AccountKey,
    /// Recipients in any 24 hours (already less the owner's reserve).
    pub limit: Limit,
    /// How many of these only our own notices may spend.
    pub notice_reserve: u32,
    /// How many of the rest only urgent mail may spend.
    pub urgent_reserve: u32,
    /// Recipients in one transaction.
    pub recipients_max: u32,
}

impl ClaimLimits {
    /// The same when the upstream has turned out to allow less: each reserve is as much smaller as the limit.
    #[must_use]
    pub(crate) fn within(self, allowance: Option<Allowance>) -> Self {
        let Some(Allowance { recipients, is_tried }) = allowance else { return self };
        let whole = self.limit.recipients().unwrap_or(recipients).max(1);
        let scaled = |reserve: u32| match u64::from(reserve) * u64::from(recipients) {
            _ if is_tried => 0,
            product => u32::try_from(product / u64::from(whole)).unwrap_or(reserve),
        };
        Self {
            limit: Limit::of(recipients.min(whole)),
            notice_reserve: scaled(self.notice_reserve),
            urgent_reserve: scaled(self.urgent_reserve),
            ..self
        }
    }

    /// Recipients in any 24 hours before which mail of this lane may still leave.
    #[must_use]
    pub(crate) fn limit_of(&self, lane: Lane) -> Limit {
        match lane {
            Lane::Notice => self.limit,
            Lane::Urgent => self.limit.less(self.notice_reserve),
            Lane::Normal | Lane::Bulk => {
                self.limit.less(self.notice_reserve).less(self.urgent_reserve)
            }
        }
    }
}

/// The answer to a claim.
#[derive(Debug)]
pub enum Claim {
    /// A message and a reservation for `recipients`.
    Message(ClaimedMessage),
    /// Nothing is due. `next` is when something will be, by wall time.
    Idle {
        /// The earliest due time in the queue.
        next: Option<Timestamp>,
    },
    /// Something is due, but the budget is spent.
    Exhausted {
        /// How long until at least one recipient may be spent on what is due; `None` when the limit is zero.
        frees_in: Option<Duration>,
        /// What mail of the lanes before it, of which nothing is due just now, could still spend.
        reserved_room: u32,
    },
}

/// A message in the hands of a worker. It must be settled.
#[derive(Clone, Debug)]
pub struct ClaimedMessage {
    /// Its id.
    pub id: QueueId,
    /// The reservation, which its settlement must name.
    pub reservation: u64,
    /// MAIL FROM of the client; `None` is the null reverse path.
    pub(crate) reverse_path: Option<Address>,
    /// Octets of the original message.
    pub(crate) size_bytes: u64,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// From when its lifetime counts.
    pub lifetime_from: Timestamp,
    /// How urgent it is.
    pub(crate) lane: Lane,
    /// What its attempts have cost the others so far.
    pub(crate) setbacks: Setbacks,
    /// Whether another account takes it when the day of the one that has it is spent.
    pub(crate) has_stand_in: bool,
    /// The recipients to try, with their place in the record.
    pub recipients: Vec<ClaimedRecipient>,
}

/// One recipient of a claim.
#[derive(Clone, Debug)]
pub struct ClaimedRecipient {
    /// Its place among the message's recipients.
    pub index: usize,
    /// Its address.
    pub address: Address,
    /// Attempts charged so far.
    pub attempts: u32,
    /// Whether an earlier attempt ended without an answer to its final dot.
    pub resend: bool,
}

/// What became of the recipients of a claim. A recipient without an outcome counts as
/// [`Outcome::NotTried`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Of which claim: [`ClaimedMessage::reservation`].
    pub reservation: u64,
    /// The time of the last reply.
    pub at: Timestamp,
    /// Outcome by place in the record.
    pub outcomes: Vec<(usize, Outcome)>,
}

impl Settlement {
    /// Whether it tells what became of the recipient at a place in the record.
    pub(super) fn tells_of(&self, index: usize) -> bool {
        self.outcomes.iter().any(|(place, _)| *place == index)
    }

    /// What became of the recipient at a place in the record.
    pub(super) fn of(&self, index: usize) -> Outcome {
        let own = self.outcomes.iter().find(|(place, _)| *place == index);
        own.map_or(Outcome::NotTried { until: None }, |(_, outcome)| outcome.clone())
    }

    /// The same when it was decided before the clock was set back to `now`: its waits are as long as they were meant.
    pub(super) fn not_after(&self, now: Timestamp) -> Cow<'_, Self> {
        let ahead = self.at.since(now);
        if ahead.is_zero() {
            return Cow::Borrowed(self);
        }
        let mut moved = self.clone();
        moved.at = self.at.before(ahead);
        for (_, outcome) in &mut moved.outcomes {
            match outcome {
                Outcome::Deferred { until, .. } | Outcome::SetBack { until, .. } => {
                    *until = until.before(ahead);
                }
                Outcome::NotTried { until } | Outcome::Uncertain { resend_at: until, .. } => {
                    *until = until.map(|until| until.before(ahead));
                }
                Outcome::Relayed { .. } | Outcome::Dead { .. } => {}
            }
        }
        Cow::Owned(moved)
    }
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Accepted; the budget unit is spent.
    Relayed {
        /// The upstream's reply.
        reply: String,
    },
    /// Certainly not accepted; the unit comes back and the attempt counts.
    Deferred {
        /// Earliest time of the next attempt.
        until: Timestamp,
        /// The reply or our own reason.
        reply: String,
    },
    /// Certainly not accepted, and not its own fault; the unit comes back, nothing is charged.
    NotTried {
        /// Earliest time of the next attempt; `None` means at once.
        until: Option<Timestamp>,
    },
    /// Certainly not accepted, and perhaps its own fault: the account was refused or the connection lost. The unit
    /// comes back, nothing is charged, and the message remembers it.
    SetBack {
        /// Earliest time of the next attempt.
        until: Timestamp,
        /// The reply or our own reason.
        reply: String,
    },
    /// The final dot was sent and no answer came; the unit stays spent.
    Uncertain {
        /// When to send it once more; `None` holds it for a person.
        resend_at: Option<Timestamp>,
        /// What happened to the connection.
        reason: String,
    },
    /// Refused for good; the unit comes back.
    Dead {
        /// The reply or our own reason.
        reply: String,
    },
}

impl Outcome {
    /// Whether the upstream has counted the recipient against the day, or may have.
    pub(crate) fn is_spent(&self) -> bool {
        match self {
            Self::Relayed { .. } | Self::Uncertain { .. } => true,
            Self::Deferred { .. }
            | Self::NotTried { .. }
            | Self::SetBack { .. }
            | Self::Dead { .. } => false,
        }
    }

    /// Whether a message keeps its place among those of its origin with it; `None` when nothing follows for that. Whoever
    /// was passed over, or has perhaps cost others time, does not.
    pub(super) fn keeps_place(&self) -> Option<bool> {
        match self {
            Self::Deferred { .. } => Some(true),
            Self::NotTried { until: Some(_) } | Self::SetBack { .. } | Self::Uncertain { .. } => {
                Some(false)
            }
            Self::NotTried { until: None } | Self::Relayed { .. } | Self::Dead { .. } => None,
        }
    }

    /// What was said of the recipient; `None` when nothing was tried.
    pub(super) fn said(&self) -> Option<&str> {
        match self {
            Self::Relayed { reply }
            | Self::Deferred { reply, .. }
            | Self::SetBack { reply, .. }
            | Self::Uncertain { reason: reply, .. }
            | Self::Dead { reply } => Some(reply),
            Self::NotTried { .. } => None,
        }
    }
}

/// Of what somebody was told, and by which notices.
#[derive(Clone, Debug, Default)]
pub struct Notified {
    /// Of the end of the recipients at these places of the record.
    pub places: Vec<usize>,
    /// That the message has been waiting for long.
    pub delayed: bool,
    /// The notices; none when nobody is to be told.
    pub notices: Vec<NoticeSent>,
}

/// Of the end of these recipients, without a notice.
impl From<Vec<usize>> for Notified {
    fn from(places: Vec<usize>) -> Self {
        Self { places, ..Self::default() }
    }
}
