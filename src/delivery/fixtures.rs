//! A claimed message, for the tests beside the files that judge one.

use crate::{
    clock::Timestamp,
    message::envelope::Lane,
    queue::{ClaimedMessage, ClaimedRecipient, id::QueueId, record::Setbacks},
};

/// Claimed for the first time; `number` is its id.
pub(super) fn claimed(number: u8, recipients: &[&str]) -> ClaimedMessage {
    let recipient = |(index, address): (usize, &&str)| ClaimedRecipient {
        index,
        address: address.parse().unwrap(),
        attempts: 0,
        resend: false,
    };
    ClaimedMessage {
        reservation: 1,
        id: QueueId::from_bytes([number; 16]),
        reverse_path: None,
        size_bytes: 1,
        accepted_at: Timestamp(0),
        lifetime_from: Timestamp(0),
        lane: Lane::Normal,
        setbacks: Setbacks::default(),
        has_stand_in: false,
        recipients: recipients.iter().enumerate().map(recipient).collect(),
    }
}
