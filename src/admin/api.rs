//! The words of the admin API, version 1: what goes over the socket as JSON.
//!
//! Rule: these types are independent of what is stored; a field is added, never renamed or removed,
//! within a version. Times are milliseconds since 1970-01-01T00:00:00Z. Must not know HTTP.

use serde::{Deserialize, Serialize};

use super::early::{Early, Proposed};
pub(crate) use crate::{
    admin::alert::answers::TargetState,
    delivery::{InFlight, LastError},
    listener::client_stats::ClientStats as Client,
    queue::listing::LimitedOrigin,
    queue::waiting::{Because, Departure, Refusing},
};

use crate::{
    budget::{Limit, MAIN},
    clock::Timestamp,
    findings::{Finding, Report, Verdict},
    listener::drop_directory::DropState,
    message::envelope::{Envelope, Lane},
    queue::{
        QueuedMessage,
        attempts::with_accounts,
        ending::{self, Ending},
        id::QueueId,
        pause::Pause,
        record::{MessageRecord, NoticeSent},
        situations::Situations,
        state::{AccountState, Recipient as StoredRecipient, RecipientState},
    },
};

/// Messages on one page at most, whatever was asked for; the store's own limit.
pub(crate) const PAGE_MAX: usize = 1_000;
/// Octets of a message that are given out: more than the listener takes of any.
pub(crate) const MESSAGE_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Messages on one page when the client does not say.
pub(crate) const PAGE_DEFAULT: usize = 100;

/// `GET /v1/status`: one screen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The program's version.
    pub(crate) version: String,
    /// The time of this answer.
    pub(crate) now: Timestamp,
    /// Seconds since the daemon started.
    pub(crate) uptime_seconds: u64,
    /// Addresses on which mail is taken.
    pub(crate) listening: Vec<String>,
    /// What lies in the drop directory; `None` without one.
    pub(crate) dropped: Option<DropState>,
    /// Host and port that mail goes to.
    pub(crate) upstream: String,
    /// The upstream account.
    pub(crate) account: Account,
    /// The 24 h budget.
    pub(crate) budget: Budget,
    /// Totals of the queue.
    pub(crate) queue: Queue,
    /// When mail leaves next, and why not before.
    pub(crate) departure: Departure,
    /// Why new mail, or large mail, is refused just now.
    #[serde(default)]
    pub(crate) refusing: Option<Refusing>,
    /// Messages that a worker has just now.
    pub(crate) in_flight: Vec<InFlight>,
    /// The newest queued messages with a refusal, newest first.
    pub(crate) refused: Vec<RefusedRecipient>,
    /// What went wrong with the upstream since the start, newest first.
    pub(crate) errors: Vec<LastError>,
    /// Refusals since the start that the table of known replies does not have; each is in the log in full.
    #[serde(default)]
    pub(crate) unknown_replies: u64,
    /// The accounts besides the main one, which `upstream`, `account` and `budget` are about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) others: Vec<OtherAccount>,
    /// The last diagnosis of itself.
    #[serde(default)]
    pub(crate) checkup: Option<Checkup>,
    /// Targets of alerts that cannot be reached just now.
    #[serde(default)]
    pub(crate) unreached: Vec<TargetState>,
}

/// An account besides the main one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OtherAccount {
    /// Its name in relay.toml.
    pub(crate) name: String,
    /// Host and port that its mail goes to.
    pub(crate) upstream: String,
    /// How it is.
    pub(crate) account: Account,
    /// Its 24 h budget.
    pub(crate) budget: Budget,
    /// When its mail leaves next, and why not before.
    pub(crate) departure: Departure,
    /// What went wrong with its upstream since the start, newest first.
    pub(crate) errors: Vec<LastError>,
    /// Refusals since the start that its table of known replies does not have.
    pub(crate) unknown_replies: u64,
}

/// A diagnosis of itself in short; `pillarbox doctor` makes a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkup {
    /// When.
    pub(crate) at: Timestamp,
    /// Checks that passed.
    pub(crate) passed: u64,
    /// Checks that warned, or failed.
    pub(crate) troubles: Vec<Finding>,
}

impl From<&Report> for Checkup {
    fn from(report: &Report) -> Self {
        let troubles = report.findings.iter().filter(|finding| finding.outcome.is_trouble());
        Self {
            at: report.at,
            passed: report.count(Verdict::Pass) as u64,
            troubles: troubles.cloned().collect(),
        }
    }
}

/// The upstream account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// The user name; `None` when no login is configured.
    pub(crate) username: Option<String>,
    /// `open`, `backing-off`, or `paused-login`, `-quota`, `-credentials`, `-configuration`.
    pub(crate) condition: String,
    /// Since when.
    pub(crate) since: Timestamp,
    /// When the relay tries again by itself.
    pub(crate) until: Option<Timestamp>,
    /// What happened.
    pub(crate) reason: String,
    /// What to do; empty when nothing.
    pub(crate) remedy: String,
    /// The pause that the administrator has ordered, whatever the condition is.
    #[serde(default)]
    pub(crate) pause: Option<Pause>,
}

impl Account {
    /// The stored state as the API shows it.
    #[must_use]
    pub(crate) fn new(username: Option<String>, state: AccountState, now: Timestamp) -> Self {
        Self {
            pause: state.pause(now).cloned(),
            username,
            condition: state.condition.name().to_owned(),
            since: state.since,
            until: state.until,
            reason: state.reason,
            remedy: state.remedy,
        }
    }

    /// Whether the upstream has nothing against the account.
    #[must_use]
    pub(crate) fn is_open(&self) -> bool {
        self.condition == "open"
    }
}

/// Totals of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Queue {
    /// Messages, dead and held ones included.
    pub(crate) messages: u64,
    /// Octets of their files.
    pub(crate) bytes: u64,
    /// Damaged files that were set aside.
    pub(crate) set_aside: u64,
    /// The directory in which they are.
    #[serde(default)]
    pub(crate) set_aside_in: String,
    /// Recipients by state.
    pub(crate) recipients: RecipientTotals,
    /// The message that was accepted first of those that wait or are being sent.
    pub(crate) oldest: Option<Oldest>,
    /// Whether the queue was too long to be counted to its end: the totals by state are then a part.
    pub(crate) partial: bool,
    /// When that was: a while before the answer for whoever looks again and again.
    #[serde(default)]
    pub(crate) counted_at: Option<Timestamp>,
}

/// Recipients of queued messages by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecipientTotals {
    /// Waiting.
    pub(crate) queued: u64,
    /// Waiting for the time that a person has set.
    #[serde(default)]
    pub(crate) scheduled: u64,
    /// Folded into storms.
    #[serde(default)]
    pub(crate) folded: u64,
    /// Waiting to be sent once more because no answer to the final dot came.
    pub(crate) uncertain: u64,
    /// With a worker.
    pub(crate) reserved: u64,
    /// Relayed, while others of the same message are not.
    pub(crate) relayed: u64,
    /// Waiting for a person.
    pub(crate) held: u64,
    /// Refused for good.
    pub(crate) dead: u64,
}

/// The oldest message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Oldest {
    /// Its id.
    pub(crate) id: QueueId,
    /// When it was accepted.
    pub(crate) accepted_at: Timestamp,
    /// Since when it may leave: its acceptance, or the time that a person had set.
    #[serde(default)]
    pub(crate) waits_since: Option<Timestamp>,
}

/// The first recipient of a queued message that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefusedRecipient {
    /// The message.
    pub(crate) id: QueueId,
    /// The recipient.
    pub(crate) recipient: String,
    /// Its state.
    pub(crate) state: String,
    /// The upstream's reply or our own reason.
    pub(crate) reply: String,
}

/// `GET /v1/queue`: messages in the order of acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueuePage {
    /// The messages.
    pub(crate) messages: Vec<Message>,
    /// What to give as `after` for the next page; `None` on the last one.
    pub(crate) next: Option<QueueId>,
    /// What to give as `until` with it: the newest message when the first page was asked for.
    pub(crate) until: Option<QueueId>,
}

/// `GET /v1/queue/counts?by=`: how many messages have what in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// The newest message when they were counted.
    pub(crate) until: Option<QueueId>,
    /// Messages that were counted.
    pub(crate) messages: u64,
    /// Their recipients.
    pub(crate) recipients: u64,
    /// The values that most messages have, the most frequent first.
    pub(crate) values: Vec<Share>,
    /// Messages with values that are not listed; one with several such values counts several times.
    pub(crate) other_messages: u64,
    /// Their recipients.
    pub(crate) other_recipients: u64,
}

/// The messages with one value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// The value; in subjects and reasons every number is `#`.
    pub(crate) value: String,
    /// How many messages have it.
    pub(crate) messages: u64,
    /// How many of their recipients.
    pub(crate) recipients: u64,
    /// When the first of them was accepted.
    pub(crate) oldest: Option<Timestamp>,
}

/// `GET /v1/queue/{id}`: one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Its id.
    pub(crate) id: QueueId,
    /// When it was accepted.
    pub(crate) accepted_at: Timestamp,
    /// MAIL FROM; `None` is the null reverse path.
    pub(crate) from: Option<String>,
    /// Octets of the original message.
    pub(crate) size_bytes: u64,
    /// `urgent`, `normal` or `bulk`, or `notice` for our own.
    #[serde(default = "normal")]
    pub(crate) lane: String,
    /// Whether BODY=8BITMIME was declared.
    pub(crate) eight_bit: bool,
    /// Whether SMTPUTF8 was asked for.
    pub(crate) internationalized: bool,
    /// The beginning of its subject, decoded and printable; empty without one.
    #[serde(default)]
    pub(crate) subject: String,
    /// Who handed it over: an address, `local` (a program of this host) or `relay` (a notice of this relay).
    #[serde(default)]
    pub(crate) client: Option<String>,
    /// Who had logged in, or whose program of this host it was.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// The number of the user of this host who handed it over, where the kernel has vouched for it.
    #[serde(default)]
    pub(crate) owner: Option<u32>,
    /// Who handed it over; only where one message is shown, and its file is still there.
    #[serde(default)]
    pub(crate) origin: Option<Origin>,
    /// The header section, as much of it as is shown; only where one message is shown, and its file is still there.
    #[serde(default)]
    pub(crate) header: Option<String>,
    /// The last attempts, the oldest first; only where one message is shown.
    #[serde(default)]
    pub(crate) attempts: Vec<Attempt>,
    /// The last notices about it.
    #[serde(default)]
    pub(crate) notices: Vec<Notice>,
    /// When the next recipient of it really leaves, and what decides that; `None` when none of them will.
    #[serde(default)]
    pub(crate) departure: Option<Departure>,
    /// When a person has it leave: nothing of it does before. `None` without such a time, or when it has come.
    #[serde(default)]
    pub(crate) scheduled_for: Option<Timestamp>,
    /// The time that a person had set last, also when it has come.
    #[serde(default)]
    pub(crate) scheduled_at: Option<Timestamp>,
    /// How it left the queue; `None` while it is there.
    #[serde(default)]
    pub(crate) end: Option<End>,
    /// The relayed message that it is once more.
    #[serde(default)]
    pub(crate) resend_of: Option<QueueId>,
    /// The name of the rule that struck when it was accepted.
    #[serde(default)]
    pub(crate) rule: Option<String>,
    /// The account that has it, or has tried it last; only where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    /// The recipients in the order of RCPT.
    pub(crate) recipients: Vec<Recipient>,
}

/// How a message left the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// When.
    pub(crate) at: Timestamp,
    /// `relayed`, `deleted`, `expired`, `redirected` or `folded`.
    pub(crate) how: String,
    /// The person who ended it, where it was one and is known.
    #[serde(default)]
    pub(crate) by: Option<String>,
    /// The message that went in its place.
    #[serde(default)]
    pub(crate) new: Option<QueueId>,
}

impl From<ending::End> for End {
    fn from(end: ending::End) -> Self {
        let new = match end.how {
            Ending::Redirected(new) => Some(new),
            Ending::Relayed | Ending::Deleted | Ending::Expired | Ending::Folded => None,
        };
        Self { at: end.at, how: end.how.name().to_owned(), by: end.by, new }
    }
}

/// The lane in an answer of a daemon that knew none.
fn normal() -> String {
    Lane::Normal.name().to_owned()
}

/// One recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recipient {
    /// The address of RCPT TO.
    pub address: String,
    /// `queued`, `scheduled`, `folded`, `uncertain`, `reserved`, `relayed`, `held` or `dead`.
    pub state: String,
    /// Since when it is in that state, where that is known.
    pub(crate) since: Option<Timestamp>,
    /// When it is due; it leaves when nothing else is in its way, see `departure` of the message.
    pub(crate) next_attempt: Option<Timestamp>,
    /// Why it is held or dead.
    pub(crate) reason: Option<String>,
    /// Attempts that ended in a refusal of this recipient.
    pub attempts: u32,
    /// The upstream's last reply about it.
    pub last_reply: Option<String>,
}

impl Message {
    /// As it is stored, and when it leaves as things stand.
    #[must_use]
    pub(crate) fn new(message: QueuedMessage, situations: &Situations) -> Self {
        let record = message.record;
        let situation = situations.of(&record);
        let departure = situation.departure_of_message(message.id, &record);
        let shown = |one: &StoredRecipient| Recipient {
            state: record.state_name(&one.state, situation.now).to_owned(),
            next_attempt: record.due(&one.state).map(|due| due.at),
            ..Recipient::from(one.clone())
        };
        Self {
            recipients: record.recipients.iter().map(shown).collect(),
            scheduled_for: record.scheduled_for(situation.now),
            scheduled_at: record.schedule.map(|schedule| schedule.at),
            owner: record.about.owner,
            departure,
            account: situations.account_of(&record),
            id: message.id,
            accepted_at: record.accepted_at,
            from: record.reverse_path.map(String::from),
            size_bytes: record.size_bytes,
            lane: record.lane.name().to_owned(),
            eight_bit: record.body == crate::message::envelope::BodyKind::EightBitMime,
            internationalized: record.internationalized,
            subject: record.about.subject,
            client: Some(record.about.client.to_string()),
            user: record.about.user,
            origin: None,
            header: None,
            attempts: Vec::new(),
            notices: record.notices.into_iter().map(Notice::from).collect(),
            end: record.end.map(End::from),
            resend_of: record.resend_of,
            rule: record.rule,
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

/// `POST /v1/queue/{id}/retry`, `/hold`, `/release` and `/schedule?at=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retried {
    /// The message.
    pub(crate) id: QueueId,
    /// Recipients that are due now, held, or scheduled.
    pub(crate) recipients: u32,
    /// When the first of them really leaves, and what decides that.
    #[serde(default)]
    pub(crate) departure: Option<Departure>,
}

/// `DELETE /v1/queue/{id}`, of one recipient with `?recipient=ADDRESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deleted {
    /// The message.
    pub(crate) id: QueueId,
    /// How many recipients of it, where it is not all of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recipients: Option<u32>,
}

/// `POST /v1/dead/{id}/redirect?to=ADDRESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Redirected {
    /// The dead letter, which is gone.
    pub(crate) id: QueueId,
    /// The message that went in its place.
    pub(crate) new: QueueId,
}

/// `POST /v1/history/{id}/resend?to=ADDRESS&to=ADDRESS`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resent {
    /// The relayed message.
    pub(crate) id: QueueId,
    /// The message that goes now.
    pub(crate) new: QueueId,
    /// To whom.
    pub(crate) to: Vec<String>,
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    /// What kind of refusal, for programs.
    pub(crate) error: Kind,
    /// What happened and what to do, for people.
    pub(crate) message: String,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
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
    /// The configuration cannot be used.
    Configuration,
    /// Who asks may not know.
    Forbidden,
}

/// `GET /v1/budget`: recipients in any 24 hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Budget {
    /// The time of this answer.
    pub(crate) now: Timestamp,
    /// What the account may send, as configured; null without a limit.
    pub(crate) recipients_per_day: Limit,
    /// What is left for the owner's own mail.
    pub(crate) owner_reserve: u32,
    /// What the relay may spend: the difference; null without a limit.
    pub(crate) limit: Limit,
    /// What of the limit only our own notices may spend.
    #[serde(default)]
    pub(crate) notice_reserve: u32,
    /// What of the rest only urgent mail may spend.
    #[serde(default)]
    pub(crate) urgent_reserve: u32,
    /// Spent in the last 24 hours.
    pub(crate) spent: u32,
    /// What of that other hosts of a fleet have spent, as was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) spent_by_other_hosts: Option<u32>,
    /// May still be spent now on mail that is not urgent; null is any number.
    pub(crate) room: Option<u32>,
    /// May still be spent now on urgent mail.
    #[serde(default)]
    pub(crate) urgent_room: Option<u32>,
    /// May still be spent now on our own notices.
    #[serde(default)]
    pub(crate) notice_room: Option<u32>,
    /// When at least one more may be spent on mail that is not urgent; `None` when the limit is zero.
    pub(crate) frees_at: Option<Timestamp>,
    /// Since when the upstream says that the account's day is full, whatever is counted here: then there is
    /// no room, and one recipient is tried when the pause ends.
    #[serde(default)]
    pub(crate) full_since: Option<Timestamp>,
    /// What the upstream turned out to allow, after it called the day full before our own count did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) early: Option<Early>,
    /// The limit that such days speak for; not before there are three of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proposed: Option<Proposed>,
    /// Origins that have used up their own limit, some of them where they are many; the mail of others goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) limited: Vec<LimitedOrigin>,
    /// When mail that is due now really leaves, and what decides that: a budget with room is not all it takes.
    pub(crate) departure: Departure,
}

/// `GET /v1/clients`: who has been here since the daemon's start, the last one first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clients {
    /// The time of this answer.
    pub(crate) now: Timestamp,
    /// The clients; those that came long ago are forgotten when there are very many.
    pub(crate) clients: Vec<Client>,
}

/// Who handed a message over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The client's network address; `None` for a notice of our own.
    pub address: Option<String>,
    /// What it called itself; empty when it said nothing.
    pub helo: String,
    /// The `with` word of its Received field, such as `ESMTPSA`.
    pub protocol: String,
    /// Who had logged in.
    pub login: Option<String>,
    /// Whose program of this host it was, such as `1000 (alice)`.
    #[serde(default)]
    pub(crate) user: Option<String>,
}

impl From<&Envelope> for Origin {
    fn from(envelope: &Envelope) -> Self {
        let origin = &envelope.origin;
        let address =
            (!envelope.is_own_notice()).then(|| origin.address.to_canonical().to_string());
        let (helo, protocol, login) =
            (origin.helo.clone(), origin.protocol.clone(), origin.login.clone());
        let user = origin.local.as_ref().map(|user| match &user.name {
            Some(name) => format!("{} ({name})", user.uid),
            None => user.uid.to_string(),
        });
        Self { address, helo, protocol, login, user }
    }
}

/// An attempt to relay a message, or the part of it in which the same was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// When it ended.
    pub(crate) at: Timestamp,
    /// Those it was said of.
    pub(crate) recipients: Vec<String>,
    /// What was said, word for word.
    pub(crate) reply: String,
    /// The account that made it; only where there are several, and where that was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
}

impl Attempt {
    /// The attempts that are kept with a record, each with its account where there are several.
    pub(super) fn all(record: &MessageRecord, has_several: bool) -> Vec<Self> {
        let address =
            |place: usize| record.recipients.get(place).map(|one| one.address.to_string());
        let all = with_accounts(&record.attempts, &record.attempts_by);
        let attempts = all.map(|(attempt, account)| Self {
            account: account.filter(|_| has_several).map(|name| name.unwrap_or(MAIN).to_owned()),
            at: attempt.at,
            recipients: attempt.places().filter_map(address).collect(),
            reply: attempt.reply.clone(),
        });
        attempts.collect()
    }
}

/// A notice about a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notice {
    /// When it was queued.
    pub(crate) at: Timestamp,
    /// `failed`, `delayed` or `relayed`.
    pub(crate) kind: String,
    /// Who gets it.
    pub(crate) to: String,
    /// Its own id.
    pub(crate) id: QueueId,
}

impl From<NoticeSent> for Notice {
    fn from(sent: NoticeSent) -> Self {
        Self { at: sent.at, kind: sent.kind.name().to_owned(), to: sent.to.into(), id: sent.id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::envelope::BodyKind;

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
            schedule: None,
            told: Vec::new(),
            delay_told: false,
            notify: std::collections::BTreeMap::new(),
            about: crate::queue::about::About::unknown(),
            attempts: Vec::new(),
            notices: Vec::new(),
            setbacks: crate::queue::record::Setbacks::default(),
            end: None,
            resend_of: None,
            rule: None,
            fold: None,
            keeps_place: false,
            route: None,
            account: None,
            attempts_by: Vec::new(),
            recipients: vec![
                recipient(
                    "a@example.org",
                    RecipientState::Queued { due: Timestamp(9), resend: true },
                ),
                recipient("b@example.org", held),
            ],
        };
        let stored = QueuedMessage { id: QueueId::from_bytes([0; 16]), record };
        let message = Message::new(stored, &Situations::clear(Timestamp(4)));
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
