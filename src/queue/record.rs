//! The stored record of a queued message, with its version.
//!
//! Rule: every record starts with a version byte and ends with a checksum; one that cannot be read is
//! reported, never guessed at. Must not know which store holds it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::{
    id::QueueId,
    state::{Recipient, RecipientState},
};
use crate::{
    budget::ledger::Event,
    clock::Timestamp,
    message::envelope::{BodyKind, Envelope, Lane},
    smtp::{address::Address, dsn::Notify},
};

/// What the queue knows about a message besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// MAIL FROM; `None` is the null reverse path.
    pub reverse_path: Option<Address>,
    /// What BODY= declared.
    pub body: BodyKind,
    /// Whether SMTPUTF8 was asked for.
    pub internationalized: bool,
    /// Octets of the original message.
    pub size_bytes: u64,
    /// How urgent it is.
    pub lane: Lane,
    /// From when its lifetime counts: acceptance, or the last time a person retried it.
    pub lifetime_from: Timestamp,
    /// The places of dead and relayed recipients of whom somebody was told, in order.
    pub told: Vec<usize>,
    /// Whether somebody was told that it waits.
    pub delay_told: bool,
    /// NOTIFY (RFC 3461 section 4.1) of the recipients that have one, by place; only where there is somebody to tell.
    pub notify: BTreeMap<usize, Notify>,
    /// The last notices about it, at most [`NOTICES_MAX`].
    pub notices: Vec<NoticeSent>,
    /// The recipients in the order of RCPT.
    pub recipients: Vec<Recipient>,
}

/// Notices that are remembered with a message: a person resends it again and again.
pub const NOTICES_MAX: usize = 8;

/// A notice that went out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeSent {
    /// When.
    pub at: Timestamp,
    /// What it says.
    pub kind: NoticeKind,
    /// To whom.
    pub to: Address,
    /// Its own id in the queue.
    pub id: QueueId,
}

/// What a notice says (the actions of RFC 3464 section 2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// It will not be tried again.
    Failed,
    /// It is still tried.
    Delayed,
    /// The upstream has it, which gives no reports.
    Relayed,
}

impl NoticeKind {
    /// The name, as in reports and on screens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Relayed => "relayed",
        }
    }
}

impl MessageRecord {
    /// The record of a message that has just been accepted: every recipient waits, due at once.
    #[must_use]
    pub fn new(envelope: &Envelope, size_bytes: u64) -> Self {
        let due = envelope.accepted_at;
        let recipients = envelope.forward_paths.iter().map(|address| Recipient {
            address: address.clone(),
            state: RecipientState::Queued { due, resend: false },
            attempts: 0,
            last_reply: None,
        });
        let notify = envelope
            .dsn
            .recipients
            .iter()
            .filter_map(|(place, asked)| Some((*place, asked.notify?)));
        let notify = notify.filter(|_| envelope.reverse_path.is_some());
        Self {
            accepted_at: envelope.accepted_at,
            reverse_path: envelope.reverse_path.clone(),
            body: envelope.body,
            internationalized: envelope.internationalized,
            size_bytes,
            lane: envelope.lane,
            lifetime_from: envelope.accepted_at,
            told: Vec::new(),
            delay_told: false,
            notify: notify.collect(),
            notices: Vec::new(),
            recipients: recipients.collect(),
        }
    }

    /// The places of its dead recipients of whom nobody was told.
    pub fn untold(&self) -> impl Iterator<Item = usize> {
        self.dead().filter(|place| !self.told.contains(place))
    }

    /// The places of its relayed recipients of whom the client wants to hear, and nobody was told.
    pub fn untold_success(&self) -> impl Iterator<Item = usize> {
        let asked =
            self.notify.iter().filter(|(_, notify)| notify.success).map(|(place, _)| *place);
        asked.filter(|place| {
            !self.told.contains(place)
                && self.recipients.get(*place).is_some_and(|one| one.state.is_relayed())
        })
    }

    /// The places of its recipients to which nothing happens without a person.
    pub fn ended(&self) -> impl Iterator<Item = usize> {
        let places = self.recipients.iter().enumerate();
        places.filter(|(_, recipient)| recipient.state.is_final()).map(|(place, _)| place)
    }

    /// The places of its dead recipients.
    pub fn dead(&self) -> impl Iterator<Item = usize> {
        let places = self.recipients.iter().enumerate();
        places.filter_map(|(place, recipient)| {
            matches!(recipient.state, RecipientState::Dead { .. }).then_some(place)
        })
    }

    /// Whether nothing will happen to it any more, and has not since before `time`.
    #[must_use]
    pub fn is_dead_since_before(&self, time: Timestamp) -> bool {
        let is_old = |recipient: &Recipient| match recipient.state {
            RecipientState::Relayed { at } => at < time,
            RecipientState::Dead { since, .. } => since < time,
            _ => false,
        };
        self.dead().next().is_some() && self.recipients.iter().all(is_old)
    }

    /// Whether a worker has it, or had it when its process died.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.recipients
            .iter()
            .any(|recipient| matches!(recipient.state, RecipientState::Reserved { .. }))
    }
}

/// Why stored bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The checksum does not fit: the bytes were damaged.
    #[error("the checksum does not match")]
    Checksum,
    /// A version that this program does not know.
    #[error("written by a newer version (record version {0})")]
    Version(u8),
    /// The checksum fits but the content does not.
    #[error("the content cannot be read: {0}")]
    Content(String),
}

/// Octets of the version byte and the checksum around the content.
const OVERHEAD: usize = 5;

/// Something that is stored under a version of its own, so that one kind of record can change without the
/// others.
pub(super) trait Stored: Serialize + DeserializeOwned {
    /// The version that this program writes.
    const VERSION: u8 = 1;

    /// Reads the content of another version.
    fn of_version(version: u8, _content: &[u8]) -> Result<Self, RecordError> {
        Err(RecordError::Version(version))
    }
}

impl Stored for Envelope {}
impl Stored for Event {}

/// Version 2 has the lane, the start of the lifetime and who was told; version 3 NOTIFY and the notices.
impl Stored for MessageRecord {
    const VERSION: u8 = 3;

    fn of_version(version: u8, content: &[u8]) -> Result<Self, RecordError> {
        match version {
            1 => read::<MessageRecordOfVersion1>(content).map(Self::from),
            2 => read::<MessageRecordOfVersion2>(content).map(Self::from),
            _ => Err(RecordError::Version(version)),
        }
    }
}

/// The record as version 1 wrote it; the order of the fields is the format.
#[derive(Serialize, Deserialize)]
struct MessageRecordOfVersion1 {
    accepted_at: Timestamp,
    reverse_path: Option<Address>,
    body: BodyKind,
    internationalized: bool,
    size_bytes: u64,
    recipients: Vec<Recipient>,
}

impl From<MessageRecordOfVersion1> for MessageRecord {
    fn from(old: MessageRecordOfVersion1) -> Self {
        Self {
            accepted_at: old.accepted_at,
            reverse_path: old.reverse_path,
            body: old.body,
            internationalized: old.internationalized,
            size_bytes: old.size_bytes,
            lane: Lane::Normal,
            lifetime_from: old.accepted_at,
            told: Vec::new(),
            // What its client wants to hear of, this record does not say.
            delay_told: true,
            notify: BTreeMap::new(),
            notices: Vec::new(),
            recipients: old.recipients,
        }
    }
}

/// The record as version 2 wrote it. Of its NOTIFY only the envelope knows, so nobody hears of its success or delay.
#[derive(Serialize, Deserialize)]
struct MessageRecordOfVersion2 {
    accepted_at: Timestamp,
    reverse_path: Option<Address>,
    body: BodyKind,
    internationalized: bool,
    size_bytes: u64,
    lane: Lane,
    lifetime_from: Timestamp,
    told: Vec<usize>,
    recipients: Vec<Recipient>,
}

impl From<MessageRecordOfVersion2> for MessageRecord {
    fn from(old: MessageRecordOfVersion2) -> Self {
        let before = MessageRecordOfVersion1 {
            accepted_at: old.accepted_at,
            reverse_path: old.reverse_path,
            body: old.body,
            internationalized: old.internationalized,
            size_bytes: old.size_bytes,
            recipients: old.recipients,
        };
        Self { lane: old.lane, lifetime_from: old.lifetime_from, told: old.told, ..before.into() }
    }
}

/// The stored form of any record: version, content, CRC-32 of both.
pub(super) fn encode<T: Stored>(content: &T) -> Result<Vec<u8>, RecordError> {
    let bytes = postcard::to_extend(content, vec![T::VERSION])
        .map_err(|error| RecordError::Content(error.to_string()))?;
    Ok(seal(bytes))
}

/// Appends the checksum.
pub(super) fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reads what [`encode`] wrote, in this version or in an older one.
pub(super) fn decode<T: Stored>(bytes: &[u8]) -> Result<T, RecordError> {
    if bytes.len() < OVERHEAD {
        return Err(RecordError::Checksum);
    }
    let (content, checksum) = bytes.split_at(bytes.len() - 4);
    if crc32fast::hash(content).to_le_bytes() != checksum {
        return Err(RecordError::Checksum);
    }
    match content[0] {
        version if version == T::VERSION => read(&content[1..]),
        version => T::of_version(version, &content[1..]),
    }
}

/// The content of a record.
pub(super) fn read<T: DeserializeOwned>(content: &[u8]) -> Result<T, RecordError> {
    postcard::from_bytes(content).map_err(|error| RecordError::Content(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        budget::ledger::Event,
        clock::{BootId, Moment},
    };

    #[test]
    fn every_flipped_bit_of_a_record_is_noticed() {
        let at = Moment { wall: Timestamp(5), boot: BootId(6), since_boot_ms: 7 };
        let event = Event { at, recipients: 8 };
        let bytes = encode(&event).unwrap();
        assert_eq!(decode::<Event>(&bytes), Ok(event));
        for position in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[position / 8] ^= 1 << (position % 8);
            assert_eq!(decode::<Event>(&damaged), Err(RecordError::Checksum), "bit {position}");
        }
    }

    #[test]
    fn a_newer_version_is_refused_and_not_guessed_at() {
        assert_eq!(decode::<Event>(&seal(vec![9, 1])), Err(RecordError::Version(9)));
        assert_eq!(decode::<MessageRecord>(&seal(vec![4, 1])), Err(RecordError::Version(4)));
        assert_eq!(decode::<MessageRecord>(&seal(vec![0, 1])), Err(RecordError::Version(0)));
    }

    fn old_message() -> MessageRecordOfVersion1 {
        MessageRecordOfVersion1 {
            accepted_at: Timestamp(7),
            reverse_path: "a@b.example".parse().ok(),
            body: BodyKind::EightBitMime,
            internationalized: true,
            size_bytes: 99,
            recipients: vec![Recipient {
                address: "c@d.example".parse().unwrap(),
                state: RecipientState::Queued { due: Timestamp(8), resend: true },
                attempts: 2,
                last_reply: Some("451 4.3.0 later".into()),
            }],
        }
    }

    #[test]
    fn a_message_of_version_1_is_read_as_normal_mail() {
        let old = old_message();
        let bytes = seal(postcard::to_extend(&old, vec![1]).unwrap());
        let new = decode::<MessageRecord>(&bytes).unwrap();
        assert_eq!((new.lane, new.size_bytes, new.recipients.len()), (Lane::Normal, 99, 1));
        assert_eq!(new, old.into());
        let again = encode(&new).unwrap();
        assert_eq!(again[0], 3);
        assert_eq!(decode(&again), Ok(new));
    }

    #[test]
    fn a_message_of_version_2_keeps_its_lane_and_whom_was_told() {
        let old = MessageRecordOfVersion2 {
            accepted_at: Timestamp(7),
            reverse_path: "a@b.example".parse().ok(),
            body: BodyKind::SevenBit,
            internationalized: false,
            size_bytes: 99,
            lane: Lane::Bulk,
            lifetime_from: Timestamp(9),
            told: vec![0],
            recipients: vec![Recipient {
                address: "c@d.example".parse().unwrap(),
                state: RecipientState::Dead { since: Timestamp(8), reason: "550".into() },
                attempts: 1,
                last_reply: None,
            }],
        };
        let bytes = seal(postcard::to_extend(&old, vec![2]).unwrap());
        let new = decode::<MessageRecord>(&bytes).unwrap();
        assert_eq!(
            (new.lane, new.lifetime_from, new.told.as_slice()),
            (Lane::Bulk, Timestamp(9), &[0][..])
        );
        assert!(new.notify.is_empty() && new.notices.is_empty());
        assert_eq!(decode(&encode(&new).unwrap()), Ok(new));
    }

    #[test]
    fn a_message_of_version_3_comes_back_with_what_its_client_asked_and_what_was_told() {
        let bytes = seal(postcard::to_extend(&old_message(), vec![1]).unwrap());
        let mut record = decode::<MessageRecord>(&bytes).unwrap();
        record.notify.insert(0, Notify { success: true, ..Notify::default() });
        record.delay_told = true;
        record.notices.push(NoticeSent {
            at: Timestamp(9),
            kind: NoticeKind::Delayed,
            to: "admin@example.org".parse().unwrap(),
            id: QueueId::from_bytes([7; 16]),
        });
        assert_eq!(decode(&encode(&record).unwrap()), Ok(record));
    }
}
