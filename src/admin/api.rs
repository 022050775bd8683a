//! The words of the admin API, version 1: what goes over the socket as JSON.
//!
//! Rule: these types are independent of what is stored; a field is added, never renamed or removed,
//! within a version. Times are milliseconds since 1970-01-01T00:00:00Z. Must not know HTTP.

use serde::{Deserialize, Serialize};

pub use crate::{
    delivery::{InFlight, LastError},
    queue::waiting::{Because, Departure, Refusing},
};

pub use super::{
    budget::Budget,
    clients::{Client, Clients},
    dead::Redirected,
    origin::{Notice, Origin},
};
use crate::{
    clock::Timestamp,
    listener::dropped::DropState,
    message::envelope::Lane,
    queue::{
        id::QueueId,
        state::{AccountState, Recipient as StoredRecipient, RecipientState},
        store::QueuedMessage,
        waiting::Situation,
    },
};

/// Messages on one page at most, whatever was asked for; the store's own limit.
pub const PAGE_MAX: usize = 1_000;
/// Messages on one page when the client does not say.
pub const PAGE_DEFAULT: usize = 100;

/// `GET /v1/status`: one screen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The time of this answer.
    pub now: Timestamp,
    /// Seconds since the daemon started.
    pub uptime_seconds: u64,
    /// Addresses on which mail is taken.
    pub listening: Vec<String>,
    /// What lies in the drop directory; `None` without one.
    pub dropped: Option<DropState>,
    /// Host and port that mail goes to.
    pub upstream: String,
    /// The upstream account.
    pub account: Account,
    /// The 24 h budget.
    pub budget: Budget,
    /// Totals of the queue.
    pub queue: Queue,
    /// When mail leaves next, and why not before.
    pub departure: Departure,
    /// Why new mail, or large mail, is refused just now.
    #[serde(default)]
    pub refusing: Option<Refusing>,
    /// Messages that a worker has just now.
    pub in_flight: Vec<InFlight>,
    /// The newest queued messages with a refusal, newest first.
    pub refused: Vec<RefusedRecipient>,
    /// What went wrong with the upstream since the start, newest first.
    pub errors: Vec<LastError>,
    /// Refusals since the start that the table of known replies does not have; each is in the log in full.
    #[serde(default)]
    pub unknown_replies: u64,
}

/// The upstream account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The user name; `None` when no login is configured.
    pub username: Option<String>,
    /// `open`, `backing-off`, or `paused-login`, `-quota`, `-credentials`, `-configuration`.
    pub condition: String,
    /// Since when.
    pub since: Timestamp,
    /// When the relay tries again by itself.
    pub until: Option<Timestamp>,
    /// What happened.
    pub reason: String,
    /// What to do; empty when nothing.
    pub remedy: String,
}

impl Account {
    /// The stored state as the API shows it.
    #[must_use]
    pub fn new(username: Option<String>, state: AccountState) -> Self {
        Self {
            username,
            condition: state.condition.name().to_owned(),
            since: state.since,
            until: state.until,
            reason: state.reason,
            remedy: state.remedy,
        }
    }

    /// Whether mail may flow as far as the account goes.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.condition == "open"
    }
}

/// Totals of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Messages, dead and held ones included.
    pub messages: u64,
    /// Octets of their files.
    pub bytes: u64,
    /// Damaged files that were set aside.
    pub set_aside: u64,
    /// The directory in which they are.
    #[serde(default)]
    pub set_aside_in: String,
    /// Recipients by state.
    pub recipients: RecipientTotals,
    /// The message that was accepted first of those that wait or are being sent.
    pub oldest: Option<Oldest>,
    /// Whether the queue was too long to be counted to its end: the totals by state are then a part.
    pub partial: bool,
}

/// Recipients of queued messages by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientTotals {
    /// Waiting.
    pub queued: u64,
    /// Waiting to be sent once more because no answer to the final dot came.
    pub uncertain: u64,
    /// With a worker.
    pub reserved: u64,
    /// Relayed, while others of the same message are not.
    pub relayed: u64,
    /// Waiting for a person.
    pub held: u64,
    /// Refused for good.
    pub dead: u64,
}

/// The oldest message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oldest {
    /// Its id.
    pub id: QueueId,
    /// When it was accepted.
    pub accepted_at: Timestamp,
}

/// The first recipient of a queued message that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRecipient {
    /// The message.
    pub id: QueueId,
    /// The recipient.
    pub recipient: String,
    /// Its state.
    pub state: String,
    /// The upstream's reply or our own reason.
    pub reply: String,
}

/// `GET /v1/queue`: messages in the order of acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePage {
    /// The messages.
    pub messages: Vec<Message>,
    /// What to give as `after` for the next page; `None` on the last one.
    pub next: Option<QueueId>,
    /// What to give as `until` with it: the newest message when the first page was asked for.
    pub until: Option<QueueId>,
}

/// `GET /v1/queue/{id}`: one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: QueueId,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// MAIL FROM; `None` is the null reverse path.
    pub from: Option<String>,
    /// Octets of the original message.
    pub size_bytes: u64,
    /// `urgent`, `normal` or `bulk`, or `notice` for our own.
    #[serde(default = "normal")]
    pub lane: String,
    /// Whether BODY=8BITMIME was declared.
    pub eight_bit: bool,
    /// Whether SMTPUTF8 was asked for.
    pub internationalized: bool,
    /// Who handed it over; only where one message is shown, and its file is still there.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// The last notices about it.
    #[serde(default)]
    pub notices: Vec<Notice>,
    /// When the next recipient of it really leaves, and what decides that; `None` when none of them will.
    #[serde(default)]
    pub departure: Option<Departure>,
    /// The recipients in the order of RCPT.
    pub recipients: Vec<Recipient>,
}

/// The lane in an answer of a daemon that knew none.
fn normal() -> String {
    Lane::Normal.name().to_owned()
}

/// One recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The address of RCPT TO.
    pub address: String,
    /// `queued`, `uncertain`, `reserved`, `relayed`, `held` or `dead`.
    pub state: String,
    /// Since when it is in that state, where that is known.
    pub since: Option<Timestamp>,
    /// When it is due; it leaves when nothing else is in its way, see `departure` of the message.
    pub next_attempt: Option<Timestamp>,
    /// Why it is held or dead.
    pub reason: Option<String>,
    /// Attempts that ended in a refusal of this recipient.
    pub attempts: u32,
    /// The upstream's last reply about it.
    pub last_reply: Option<String>,
}

impl Message {
    /// As it is stored, and when it leaves as things stand.
    #[must_use]
    pub fn new(message: QueuedMessage, situation: &Situation) -> Self {
        let record = message.record;
        let states = record.recipients.iter().map(|recipient| &recipient.state);
        let departure = situation.departure_of(record.lane, states);
        Self {
            departure,
            id: message.id,
            accepted_at: record.accepted_at,
            from: record.reverse_path.map(String::from),
            size_bytes: record.size_bytes,
            lane: record.lane.name().to_owned(),
            eight_bit: record.body == crate::message::envelope::BodyKind::EightBitMime,
            internationalized: record.internationalized,
            origin: None,
            notices: record.notices.into_iter().map(Notice::from).collect(),
            recipients: record.recipients.into_iter().map(Recipient::from).collect(),
        }
    }
}

impl From<StoredRecipient> for Recipient {
    fn from(stored: StoredRecipient) -> Self {
        let state = stored.state.name().to_owned();
        let (since, next_attempt, reason) = match stored.state {
            RecipientState::Queued { due, .. } => (None, Some(due), None),
            RecipientState::Reserved { since, .. } => (Some(since), None, None),
            RecipientState::Relayed { at } => (Some(at), None, None),
            RecipientState::Held { since, reason } | RecipientState::Dead { since, reason } => {
                (Some(since), None, Some(reason))
            }
        };
        let (attempts, last_reply) = (stored.attempts, stored.last_reply);
        Self {
            address: stored.address.into(),
            state,
            since,
            next_attempt,
            reason,
            attempts,
            last_reply,
        }
    }
}

/// `POST /v1/queue/{id}/retry`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// The message.
    pub id: QueueId,
    /// Recipients that are due now.
    pub recipients: u32,
    /// When the first of them really leaves, and what decides that.
    #[serde(default)]
    pub departure: Option<Departure>,
}

/// `DELETE /v1/queue/{id}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// The message.
    pub id: QueueId,
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What kind of refusal, for programs.
    pub error: Kind,
    /// What happened and what to do, for people.
    pub message: String,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The request cannot be understood.
    BadRequest,
    /// There is no such message, or no such path.
    NotFound,
    /// The message is with a worker just now.
    Conflict,
    /// The message is not, or no longer, in the state that was asked for.
    OtherState,
    /// The message is damaged and was set aside.
    Corrupt,
    /// The queue cannot answer at present.
    Unavailable,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{message::envelope::BodyKind, queue::record::MessageRecord};

    #[test]
    fn a_message_goes_out_with_flat_states_that_programs_can_filter() {
        let held = RecipientState::Held { since: Timestamp(5), reason: "asked".into() };
        let recipient = |address: &str, state| StoredRecipient {
            address: address.parse().expect("an address"),
            state,
            attempts: 2,
            last_reply: Some("451 4.3.0 later".into()),
        };
        let record = MessageRecord {
            accepted_at: Timestamp(1),
            reverse_path: None,
            body: BodyKind::EightBitMime,
            internationalized: false,
            size_bytes: 10,
            lane: Lane::Bulk,
            lifetime_from: Timestamp(0),
            told: Vec::new(),
            delay_told: false,
            notify: std::collections::BTreeMap::new(),
            notices: Vec::new(),
            setbacks: crate::queue::record::Setbacks::default(),
            recipients: vec![
                recipient(
                    "a@example.org",
                    RecipientState::Queued { due: Timestamp(9), resend: true },
                ),
                recipient("b@example.org", held),
            ],
        };
        let stored = QueuedMessage { id: QueueId::from_bytes([0; 16]), record };
        let message = Message::new(stored, &Situation::clear(Timestamp(4)));
        let json = serde_json::to_value(&message).expect("plain data");
        assert_eq!(json["from"], serde_json::Value::Null);
        assert_eq!(json["lane"], "bulk");
        assert_eq!(json["recipients"][0]["state"], "uncertain");
        assert_eq!(json["recipients"][0]["next_attempt"], 9);
        assert_eq!(json["recipients"][1]["state"], "held");
        assert_eq!(json["recipients"][1]["reason"], "asked");
        assert_eq!(
            (&json["departure"]["because"], &json["departure"]["at"]),
            (&"due".into(), &9.into())
        );
        assert_eq!(serde_json::from_value::<Message>(json).expect("reads back"), message);
    }
}
