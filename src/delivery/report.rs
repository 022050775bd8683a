//! Log lines and counts about the outcome of an attempt.
//!
//! Rule: one line for each recipient, with the words that logs, commands and documents share.
//! Must not know how an outcome came about.

use tracing::{info, warn};

use super::shared::Shared;
use crate::queue::store::{ClaimedMessage, Outcome};

/// One line for each recipient.
pub(super) fn report(
    shared: &Shared,
    claim: &ClaimedMessage,
    outcomes: &[(usize, Outcome)],
    complaint: Option<String>,
    took_ms: u64,
) {
    for (recipient, (_, outcome)) in claim.recipients.iter().zip(outcomes) {
        let (id, to, attempt) = (claim.id, &recipient.address, recipient.attempts + 1);
        match outcome {
            Outcome::Relayed { reply } => {
                shared.count(|counters| counters.relayed += 1);
                info!(%id, %to, reply, attempt, took_ms, "relayed");
                if recipient.resend {
                    warn!(%id, %to, "possible duplicate: the answer to an earlier attempt was lost");
                }
            }
            Outcome::Deferred { until, reply } => {
                shared.count(|counters| counters.deferred += 1);
                warn!(%id, %to, reply, attempt, %until, "deferred");
            }
            Outcome::Dead { reply } => {
                shared.count(|counters| counters.dead += 1);
                warn!(%id, %to, reply, attempt, "dead");
            }
            Outcome::Uncertain { resend_at: Some(until), reason } => {
                shared.count(|counters| counters.uncertain += 1);
                warn!(%id, %to, reason, attempt, %until, "uncertain");
            }
            Outcome::Uncertain { resend_at: None, reason } => {
                shared.count(|counters| counters.uncertain += 1);
                warn!(%id, %to, reason, attempt, "held");
            }
            Outcome::SetBack { until, reply } => {
                info!(%id, %to, reply, %until, "queued");
            }
            Outcome::NotTried { .. } => {
                let reason = complaint.as_deref().unwrap_or_default();
                info!(%id, %to, reason, "queued");
            }
        }
    }
    if let Some(complaint) = complaint {
        shared.note_error(claim.id, complaint);
    }
}
