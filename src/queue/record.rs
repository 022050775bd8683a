//! The stored record of a queued message, with its version.
//!
//! Rule: every record starts with a version byte and ends with a checksum; one that cannot be read is
//! reported, never guessed at. Must not know which store holds it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::{
    about::About,
    attempts::Attempt,
    ending::End,
    fold::{FOLDED, Fold},
    id::QueueId,
    schedule::{Due, SCHEDULED, Schedule},
    state::{AccountState, Recipient, RecipientState},
};
use crate::{
    budget::{AccountKey, Event},
    clock::{Timeline, Timestamp},
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
    /// When a person has it leave: nothing of it does before.
    pub(crate) schedule: Option<Schedule>,
    /// The places of ended recipients of whom somebody was told, in order.
    pub(crate) told: Vec<usize>,
    /// Whether somebody was told that it waits.
    pub(crate) delay_told: bool,
    /// NOTIFY (RFC 3461 section 4.1) of the recipients that have one, by place; only where there is somebody to tell.
    pub(crate) notify: BTreeMap<usize, Notify>,
    /// What lists and searches know of it besides.
    pub(crate) about: About,
    /// Its last attempts, the oldest first.
    pub(crate) attempts: Vec<Attempt>,
    /// The last notices about it, at most [`NOTICES_MAX`].
    pub notices: Vec<NoticeSent>,
    /// What its attempts have cost the others.
    pub setbacks: Setbacks,
    /// How it left the queue; `None` while it is there.
    pub(crate) end: Option<End>,
    /// The relayed message that it is once more; a new index does not know it.
    pub(crate) resend_of: Option<QueueId>,
    /// The recipients in the order of RCPT.
    pub recipients: Vec<Recipient>,
    /// The name of the rule that struck when it was accepted.
    pub(crate) rule: Option<String>,
    /// The storm into which it is folded: nothing of it leaves by itself.
    pub(crate) fold: Option<Fold>,
    /// Its last attempt ended in a refusal for now, and cost no one else anything: it keeps its place among those of its
    /// origin. Otherwise it is behind what waited when it became due.
    pub(crate) keeps_place: bool,
    /// The name of the route that was found for it when it was accepted.
    pub(crate) route: Option<String>,
    /// The name of the account that has tried it last, where that is not the main one.
    pub(crate) account: Option<String>,
    /// The same of each of the last attempts, as far as that was noted.
    pub(crate) attempts_by: Vec<Option<String>>,
}

/// Attempts that ended in a refusal of the account or in a lost connection: nothing was charged for them, because
/// the message need not be the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setbacks {
    /// How many, since its acceptance or since a person retried it.
    pub(crate) count: u32,
    /// When the last one was. If others were accepted since, it was the message's own.
    pub(crate) last: Option<Timestamp>,
    /// How often in a row the relay stopped in the middle of one, whose final dot was not out. Whoever makes it stop is
    /// behind the others the next time.
    pub stops: u32,
}

impl Setbacks {
    /// With one more at `at`.
    pub(super) fn one_more(self, at: Timestamp) -> Self {
        Self { count: self.count.saturating_add(1), last: Some(at), ..self }
    }
}

/// Notices that are remembered with a message: a person resends it again and again.
pub(crate) const NOTICES_MAX: usize = 8;

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
    pub(crate) fn new(envelope: &Envelope, size_bytes: u64, subject: &str) -> Self {
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
            schedule: None,
            told: Vec::new(),
            delay_told: false,
            notify: notify.collect(),
            about: About::new(envelope, subject),
            attempts: Vec::new(),
            notices: Vec::new(),
            setbacks: Setbacks::default(),
            end: None,
            resend_of: None,
            recipients: recipients.collect(),
            rule: None,
            fold: None,
            keeps_place: false,
            route: None,
            account: None,
            attempts_by: Vec::new(),
        }
    }

    /// The account that has it in hand, or had it last.
    pub(super) fn tried_by(&self) -> AccountKey {
        self.account.as_deref().map_or(AccountKey::MAIN, AccountKey::of)
    }

    /// When a recipient in this state is due; `None` when it does not wait.
    pub(crate) fn due(&self, state: &RecipientState) -> Option<Due> {
        let RecipientState::Queued { due, .. } = *state else { return None };
        if self.fold.is_some() {
            return None;
        }
        Some(match self.schedule {
            Some(Schedule { at, has_come: false }) => Due { at, is_scheduled: true },
            _ => due.into(),
        })
    }

    /// When a person has it leave, while that is still to come.
    pub(crate) fn scheduled_for(&self, now: Timestamp) -> Option<Timestamp> {
        let schedule = self.schedule.filter(|schedule| !schedule.has_come && schedule.at > now);
        schedule.map(|schedule| schedule.at)
    }

    /// Since when it may leave, or from when its lifetime counts: no time before the one that a person has set.
    pub(crate) fn not_before_schedule(&self, since: Timestamp) -> Timestamp {
        self.schedule.map_or(since, |schedule| since.max(schedule.at))
    }

    /// Whether it waits in a storm, for no time.
    pub(crate) fn is_folded(&self) -> bool {
        let waits = |one: &Recipient| matches!(one.state, RecipientState::Queued { .. });
        self.fold.is_some() && self.recipients.iter().any(waits)
    }

    /// The name of a recipient's state, as screens call it: also `scheduled`, for what waits for that time, and `folded`.
    pub(crate) fn state_name(&self, state: &RecipientState, now: Timestamp) -> &'static str {
        let waits = matches!(state, RecipientState::Queued { .. });
        match state {
            _ if waits && self.fold.is_some() => FOLDED,
            _ if waits && self.scheduled_for(now).is_some() => SCHEDULED,
            state => state.name(),
        }
    }

    /// Whether a recipient is in the state of this name.
    pub(crate) fn has_state(&self, name: &str, now: Timestamp) -> bool {
        self.recipients.iter().any(|one| self.state_name(&one.state, now) == name)
    }

    /// The first of its recipients that was refused for now or for good, and in which words.
    pub(crate) fn first_refusal(&self) -> Option<(&Recipient, &str)> {
        self.recipients.iter().find_map(|recipient| match &recipient.state {
            state if state.is_settled() => None,
            RecipientState::Held { reason, .. } | RecipientState::Dead { reason, .. } => {
                Some((recipient, reason.as_str()))
            }
            _ => recipient.last_reply.as_deref().map(|reply| (recipient, reply)),
        })
    }

    /// The places of its recipients of whom nobody was told that they are dead, or held because no answer came.
    pub fn untold(&self) -> impl Iterator<Item = usize> {
        self.given_up().filter(|place| !self.told.contains(place))
    }

    /// The places of its relayed recipients of whom the client wants to hear, and nobody was told.
    pub(crate) fn untold_success(&self) -> impl Iterator<Item = usize> {
        let asked =
            self.notify.iter().filter(|(_, notify)| notify.success).map(|(place, _)| *place);
        asked.filter(|place| {
            !self.told.contains(place)
                && self.recipients.get(*place).is_some_and(|one| one.state.is_relayed())
        })
    }

    /// The places of its recipients whose attempts are over.
    pub(crate) fn ended(&self) -> impl Iterator<Item = usize> {
        let places = self.recipients.iter().enumerate();
        places.filter(|(_, recipient)| recipient.is_ended()).map(|(place, _)| place)
    }

    /// The places of its recipients that are dead, or held because no answer came.
    pub(crate) fn given_up(&self) -> impl Iterator<Item = usize> {
        self.ended().filter(|place| !self.recipients[*place].state.is_settled())
    }

    /// The places of its dead recipients.
    pub fn dead(&self) -> impl Iterator<Item = usize> {
        let places = self.recipients.iter().enumerate();
        places.filter_map(|(place, recipient)| {
            let is_dead = matches!(recipient.state, RecipientState::Dead { .. });
            (is_dead && !recipient.state.is_deleted()).then_some(place)
        })
    }

    /// Whether nothing will happen to it any more, and has not since before `time`.
    #[must_use]
    pub fn is_dead_since_before(&self, time: Timestamp) -> bool {
        let is_old = |recipient: &Recipient| match recipient.state {
            RecipientState::Relayed { at } => at < time,
            RecipientState::Dead { since, .. } => since < time,
            RecipientState::Held { since, .. } => {
                recipient.is_held_without_answer() && since < time
            }
            RecipientState::Queued { .. } | RecipientState::Reserved { .. } => false,
        };
        self.given_up().next().is_some() && self.recipients.iter().all(is_old)
    }

    /// Whether a worker has it, or had it when its process died.
    #[must_use]
    pub(crate) fn is_reserved(&self) -> bool {
        self.recipients
            .iter()
            .any(|recipient| matches!(recipient.state, RecipientState::Reserved { .. }))
    }
}

/// Why stored bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum RecordError {
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
/// others. Whoever raises it migrates what is stored (CONTRIBUTING.md).
pub(super) trait Stored: Serialize + DeserializeOwned {
    /// What stands for the fields that each version since the second has got at its end, as if an older one had written
    /// them with nothing in them.
    const ADDED: &'static [&'static [u8]] = &[];

    /// The version that this program writes.
    const VERSION: u8 = 1 + Self::ADDED.len() as u8;
}

impl Stored for Envelope {}
impl Stored for Event {
    // An origin that is not known; the account that was the only one.
    const ADDED: &'static [&'static [u8]] = &[&[0], &[0]];
}
impl Stored for MessageRecord {
    // Neither rule nor storm, and no place to keep; neither route nor another account; nothing of who made which attempt.
    const ADDED: &'static [&'static [u8]] = &[&[0, 0, 0], &[0, 0], &[0]];
}
impl Stored for AccountState {
    // No day that was full early.
    const ADDED: &'static [&'static [u8]] = &[&[0]];
}
impl Stored for Timeline {}

/// What a stored form has room for at first: most records are shorter.
const ENCODED_BYTES_START: usize = 256;

/// The stored form of any record: version, content, CRC-32 of both.
pub(super) fn encode<T: Stored>(content: &T) -> Result<Vec<u8>, RecordError> {
    let mut bytes = Vec::with_capacity(ENCODED_BYTES_START);
    bytes.push(T::VERSION);
    let bytes = postcard::to_extend(content, bytes)
        .map_err(|error| RecordError::Content(error.to_string()))?;
    Ok(seal(bytes))
}

/// Appends the checksum.
pub(super) fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reads what [`encode`] wrote.
pub(super) fn decode<T: Stored>(bytes: &[u8]) -> Result<T, RecordError> {
    if bytes.len() < OVERHEAD {
        return Err(RecordError::Checksum);
    }
    let (content, checksum) = bytes.split_at(bytes.len() - 4);
    if crc32fast::hash(content).to_le_bytes() != checksum {
        return Err(RecordError::Checksum);
    }
    let (version, content) = (content[0], &content[1..]);
    let since = usize::from(version).checked_sub(1).and_then(|older| T::ADDED.get(older..));
    let added = since.ok_or(RecordError::Version(version))?.concat();
    let read = if added.is_empty() {
        postcard::from_bytes(content)
    } else {
        postcard::from_bytes(&[content, &added].concat())
    };
    read.map_err(|error| RecordError::Content(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        budget::{AccountKey, Event},
        clock::{BootId, Moment},
        queue::{
            about::Client,
            allowance::{EarlyDays, Told},
            ending::Ending,
            state::AccountCondition,
        },
    };

    #[test]
    fn every_flipped_bit_of_a_record_is_noticed() {
        let at = Moment { wall: Timestamp(5), boot: BootId(6), since_boot_ms: 7 };
        let event = Event { at, recipients: 8, origin: 9, account: AccountKey::of("second") };
        let bytes = encode(&event).unwrap();
        assert_eq!(decode::<Event>(&bytes), Ok(event));
        for position in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[position / 8] ^= 1 << (position % 8);
            assert_eq!(decode::<Event>(&damaged), Err(RecordError::Checksum), "bit {position}");
        }
    }

    #[test]
    fn a_record_of_a_newer_version_is_refused_and_not_guessed_at() {
        fn refuses_others<T: Stored + std::fmt::Debug>(written: u8) {
            assert_eq!(T::VERSION, written);
            for version in [0, written + 1, written + 7] {
                let error = decode::<T>(&seal(vec![version, 1])).unwrap_err();
                assert_eq!(error, RecordError::Version(version));
            }
        }
        refuses_others::<Envelope>(1);
        refuses_others::<Event>(3);
        refuses_others::<MessageRecord>(4);
        refuses_others::<AccountState>(2);
    }

    #[test]
    fn a_message_comes_back_with_what_its_client_asked_and_what_was_told() {
        let record = MessageRecord {
            accepted_at: Timestamp(7),
            reverse_path: "a@b.example".parse().ok(),
            body: BodyKind::EightBitMime,
            internationalized: true,
            size_bytes: 99,
            lane: Lane::Bulk,
            lifetime_from: Timestamp(8),
            schedule: Some(Schedule::new(Timestamp(10))),
            told: vec![0],
            delay_told: true,
            notify: BTreeMap::from([(0, Notify { success: true, ..Notify::default() })]),
            about: About {
                subject: "toner".into(),
                client: Client::At([192, 0, 2, 7].into()),
                user: Some("printer".into()),
                owner: Some(1_000),
            },
            attempts: vec![Attempt {
                at: Timestamp(6),
                runs: vec![(0, 1)],
                reply: "451 4.3.0 later".into(),
            }],
            notices: vec![NoticeSent {
                at: Timestamp(9),
                kind: NoticeKind::Delayed,
                to: "admin@example.org".parse().unwrap(),
                id: QueueId::from_bytes([7; 16]),
            }],
            setbacks: Setbacks { count: 3, last: Some(Timestamp(6)), stops: 2 },
            end: Some(
                Ending::Redirected(QueueId::from_bytes([8; 16])).by(Some("alice"), Timestamp(9)),
            ),
            resend_of: Some(QueueId::from_bytes([9; 16])),
            rule: Some("raid".into()),
            fold: Some(Fold {
                storm: QueueId::from_bytes([10; 16]),
                from: "root@nas.example".into(),
                told: Some(Timestamp(10)),
            }),
            keeps_place: true,
            route: Some("shop".into()),
            account: Some("second".into()),
            attempts_by: vec![Some("second".into())],
            recipients: vec![Recipient {
                address: "c@d.example".parse().unwrap(),
                state: RecipientState::Queued { due: Timestamp(8), resend: true },
                attempts: 2,
                last_reply: Some("451 4.3.0 later".into()),
            }],
        };
        assert_eq!(decode(&encode(&record).unwrap()), Ok(record));
    }

    fn paused() -> AccountState {
        AccountState {
            condition: AccountCondition::PausedQuota,
            until: Some(Timestamp(5_000)),
            strikes: 2,
            reason: "550 5.4.5".into(),
            remedy: "Nothing.".into(),
            ..AccountState::open(Timestamp(1_000))
        }
    }

    #[test]
    fn the_account_s_state_is_read_as_it_was_written() {
        let stamps = vec![Timestamp(1), Timestamp(2)];
        let state = AccountState {
            day_full_since: Some(Timestamp(7)),
            alone_until: Some(Timestamp(8)),
            spam: stamps.clone(),
            logins: stamps,
            early: full_early(),
            ..paused()
        };
        assert_eq!(decode(&encode(&state).unwrap()), Ok(state));
    }

    fn full_early() -> EarlyDays {
        let mut early = EarlyDays::default();
        let told = Told { again: false, alike: false };
        assert!(early.told(told, 430, 475.into(), Timestamp(9)).is_some());
        early
    }

    #[test]
    fn an_account_of_the_first_version_has_no_day_that_was_full_early() {
        let mut first = postcard::to_allocvec(&paused()).unwrap();
        assert_eq!(first.pop(), Some(0), "what the second version has added");
        first.insert(0, 1);
        assert_eq!(decode(&seal(first)), Ok(paused()));
    }

    #[test]
    fn the_record_of_a_busy_hour_fits_in_a_small_value() {
        let logins = vec![Timestamp(1_800_000_000_000); 1_000];
        assert!(encode(&AccountState { logins, ..paused() }).unwrap().len() < 16 * 1024);
    }
}
