//! The recipients' states of a message that comes from another queue.
//!
//! Rule: nobody who was written to is written to again, and nothing that a person should look at leaves by
//! itself. Must not know how the message came here.

use crate::{
    clock::Timestamp,
    queue::{
        incoming::Restored,
        state::{Recipient, RecipientState, cut},
    },
    smtp::address::Address,
};

/// What becomes of recipients that were held or dead, and of mail that was in no queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// They are held, until a person retries or deletes the message.
    Held,
    /// They are due at once.
    Due,
}

/// What becomes of recipients whose final dot may have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InFlight {
    /// They are sent once more.
    ResentOnce,
    /// A person decides.
    Held,
}

impl Restored {
    /// The states after an import at `now`.
    #[must_use]
    pub(crate) fn from_export(
        recipients: &[Recipient],
        not_before: Option<Timestamp>,
        stopped: Stopped,
        in_flight: InFlight,
        now: Timestamp,
    ) -> Self {
        let restored = recipients.iter().map(|recipient| {
            let stop = |words: &str| match stopped {
                Stopped::Due => RecipientState::Queued { due: now, resend: false },
                Stopped::Held => RecipientState::Held { since: now, reason: cut(words) },
            };
            let state = match &recipient.state {
                RecipientState::Reserved { .. } => match in_flight {
                    InFlight::ResentOnce => RecipientState::Queued { due: now, resend: true },
                    InFlight::Held => RecipientState::Held {
                        since: now,
                        reason: "it was being sent when it was exported, and may have arrived"
                            .into(),
                    },
                },
                RecipientState::Held { reason, .. } => stop(&before("held", reason)),
                RecipientState::Dead { reason, .. } => stop(&before("dead", reason)),
                RecipientState::Queued { .. } | RecipientState::Relayed { .. } => {
                    recipient.state.clone()
                }
            };
            Recipient { state, ..recipient.clone() }
        });
        Self { recipients: restored.collect(), lifetime_from: now, not_before, account: None }
    }

    /// The same, which this account has tried last.
    #[must_use]
    pub(crate) fn tried_by(self, account: Option<String>) -> Self {
        Self { account, ..self }
    }

    /// The states of a message that was in no queue of ours.
    #[must_use]
    pub(crate) fn from_a_mailbox(addresses: &[Address], stopped: Stopped, now: Timestamp) -> Self {
        let state = match stopped {
            Stopped::Due => RecipientState::Queued { due: now, resend: false },
            Stopped::Held => RecipientState::Held {
                since: now,
                reason: "imported from a mailbox, to be looked at".into(),
            },
        };
        let recipient = |address: &Address| Recipient {
            address: address.clone(),
            state: state.clone(),
            attempts: 0,
            last_reply: None,
        };
        let recipients = addresses.iter().map(recipient).collect();
        Self { recipients, lifetime_from: now, not_before: None, account: None }
    }
}

/// The reason with the state before the import, which is told once however often a message is moved.
fn before(state: &str, reason: &str) -> String {
    const MARK: &str = " before the import: ";
    if reason.contains(MARK) { reason.to_owned() } else { format!("{state}{MARK}{reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(9);

    fn recipient(state: RecipientState) -> Recipient {
        Recipient {
            address: "a@b.example".parse().unwrap(),
            state,
            attempts: 3,
            last_reply: Some("450".into()),
        }
    }

    fn state_of(state: &RecipientState, stopped: Stopped, in_flight: InFlight) -> RecipientState {
        let restored =
            Restored::from_export(&[recipient(state.clone())], None, stopped, in_flight, NOW);
        assert_eq!((restored.recipients[0].attempts, restored.lifetime_from), (3, NOW));
        restored.recipients[0].state.clone()
    }

    #[test]
    fn what_a_person_should_look_at_is_held_unless_it_shall_leave() {
        let since = Timestamp(1);
        let dead = RecipientState::Dead { since, reason: "550 no".into() };
        let held = state_of(&dead, Stopped::Held, InFlight::ResentOnce);
        assert_eq!(
            held,
            RecipientState::Held { since: NOW, reason: "dead before the import: 550 no".into() }
        );
        assert_eq!(state_of(&held, Stopped::Held, InFlight::Held), held, "moved twice, told once");
        let due = RecipientState::Queued { due: NOW, resend: false };
        assert_eq!(state_of(&dead, Stopped::Due, InFlight::ResentOnce), due);
        assert_eq!(state_of(&held, Stopped::Due, InFlight::ResentOnce), due);
    }

    #[test]
    fn what_waits_or_was_relayed_stays_so_and_what_was_in_flight_may_have_arrived() {
        let waits = RecipientState::Queued { due: Timestamp(7), resend: true };
        let relayed = RecipientState::Relayed { at: Timestamp(3) };
        for state in [&waits, &relayed] {
            assert_eq!(state_of(state, Stopped::Due, InFlight::Held), *state);
        }
        let flying =
            RecipientState::Reserved { reservation: 4, since: Timestamp(2), resend: false };
        let resent = RecipientState::Queued { due: NOW, resend: true };
        assert_eq!(state_of(&flying, Stopped::Held, InFlight::ResentOnce), resent);
        assert_eq!(state_of(&flying, Stopped::Due, InFlight::Held).name(), "held");
    }
}
