//! The step of one recipient from a claim's outcome to its next state.
//!
//! Rule: pure; this is the table "leaves by" of ARCHITECTURE.md for reserved recipients. Must not know
//! budgets, messages or tables.

use std::time::Duration;

use super::{
    claim::Outcome,
    schedule::Due,
    state::{Recipient, RecipientState, cut},
};
use crate::clock::Timestamp;

/// No attempt is ever put off for longer. A due time further ahead was written while the clock was
/// wrong, and counts as due.
pub(super) const DUE_AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// Moves a reserved recipient on. One that was not tried goes back to its place in the order of acceptance.
pub(super) fn apply(
    recipient: &mut Recipient,
    outcome: &Outcome,
    at: Timestamp,
    accepted_at: Timestamp,
) {
    let RecipientState::Reserved { resend, .. } = recipient.state else { return };
    let place = if recipient.attempts == 0 { accepted_at } else { at };
    recipient.state = match outcome {
        Outcome::Relayed { .. } => RecipientState::Relayed { at },
        Outcome::Deferred { until, .. } | Outcome::SetBack { until, .. } => {
            RecipientState::Queued { due: *until, resend }
        }
        Outcome::NotTried { until } => {
            RecipientState::Queued { due: until.unwrap_or(place), resend }
        }
        // One re-send only: a second uncertain end is for a person to judge.
        Outcome::Uncertain { resend_at: Some(due), .. } if !resend => {
            RecipientState::Queued { due: *due, resend: true }
        }
        Outcome::Uncertain { reason, .. } => {
            RecipientState::Held { since: at, reason: cut(reason) }
        }
        Outcome::Dead { reply } => RecipientState::Dead { since: at, reason: cut(reply) },
    };
    match outcome {
        Outcome::Relayed { reply } => recipient.last_reply = Some(cut(reply)),
        Outcome::Deferred { reply, .. }
        | Outcome::Dead { reply }
        | Outcome::Uncertain { reason: reply, .. } => {
            recipient.attempts += 1;
            recipient.last_reply = Some(cut(reply));
        }
        Outcome::SetBack { reply, .. } => recipient.last_reply = Some(cut(reply)),
        Outcome::NotTried { .. } => {}
    }
}

/// Whether a due time has come, or was written by a clock that was wrong; a person may mean a time far ahead.
pub(super) fn is_due(due: Due, now: Timestamp) -> bool {
    due.at <= now || (!due.is_scheduled && due.at > now.after(DUE_AHEAD_MAX))
}
