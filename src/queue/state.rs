//! The states of a recipient and of the upstream account, as they are stored.
//!
//! Rule: a state says everything an administrator must be told about it: since when, why, until when.
//! Must not know how states are stored or what Gmail's replies mean.

use serde::{Deserialize, Serialize};

use super::{
    allowance::EarlyDays,
    pause::{PAUSE_MAX, Pause},
};
use crate::{budget::WINDOW, clock::Timestamp, smtp::address::Address};

/// Octets of an upstream reply that are kept with a recipient.
pub(crate) const REPLY_LENGTH_MAX: usize = 400;

/// Why a recipient is dead that a person has given up.
pub(super) const DELETED: &str = "deleted by a person";

/// At most [`REPLY_LENGTH_MAX`] octets of a text.
pub(super) fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(REPLY_LENGTH_MAX)].to_owned()
}

/// One recipient of a queued message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The address of RCPT TO, as the client gave it.
    pub address: Address,
    /// What will happen to it next.
    pub state: RecipientState,
    /// Attempts that ended in a refusal of this recipient or message; account refusals do not count.
    pub attempts: u32,
    /// The upstream's last reply about it, cut to [`REPLY_LENGTH_MAX`].
    pub last_reply: Option<String>,
}

impl Recipient {
    /// Whether the relay itself holds it: no answer came to its final dot, and it may not be sent once more. What a
    /// person, an import or the file of a newer program holds has a reason of its own, which is not the last reply.
    #[must_use]
    pub(crate) fn is_held_without_answer(&self) -> bool {
        matches!(&self.state, RecipientState::Held { reason, .. } if self.last_reply.as_ref() == Some(reason))
    }

    /// Whether its attempts are over: it is relayed, dead, or held because no answer came.
    #[must_use]
    pub(crate) fn is_ended(&self) -> bool {
        self.state.is_final() || self.is_held_without_answer()
    }
}

/// Where a recipient stands. ARCHITECTURE.md holds what is on disk in each state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecipientState {
    /// Waits until `due`.
    Queued {
        /// Earliest time of the next attempt.
        due: Timestamp,
        /// Whether an earlier attempt ended without an answer to its final dot.
        resend: bool,
    },
    /// Claimed by a worker; one unit of the ledger event `reservation` is its own.
    Reserved {
        /// Sequence number of the ledger event.
        reservation: u64,
        /// When it was claimed.
        since: Timestamp,
        /// As in `Queued`.
        resend: bool,
    },
    /// Accepted by the upstream.
    Relayed {
        /// When the final reply came.
        at: Timestamp,
    },
    /// Waits for a person.
    Held {
        /// Since when.
        since: Timestamp,
        /// Why, in words for the administrator.
        reason: String,
    },
    /// Refused for good, or its lifetime is over. The message stays for the administrator.
    Dead {
        /// Since when.
        since: Timestamp,
        /// Why, in words for the administrator.
        reason: String,
    },
}

impl RecipientState {
    /// Whether nothing will ever happen to this recipient again without a person, and none needs to act.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        matches!(self, Self::Relayed { .. })
    }

    /// Whether nothing will happen to this recipient again without a person.
    #[must_use]
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Relayed { .. } | Self::Dead { .. })
    }

    /// Whether a person has given this recipient up: it is no dead letter, nobody is told, and no retry means it.
    #[must_use]
    pub(crate) fn is_deleted(&self) -> bool {
        matches!(self, Self::Dead { reason, .. } if reason == DELETED)
    }

    /// Whether nothing is to be done about this recipient any more.
    #[must_use]
    pub(super) fn is_settled(&self) -> bool {
        self.is_relayed() || self.is_deleted()
    }

    /// The state's name, as in logs and on screens.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queued { resend: false, .. } => "queued",
            Self::Queued { resend: true, .. } => "uncertain",
            Self::Reserved { .. } => "reserved",
            Self::Relayed { .. } => "relayed",
            Self::Held { .. } => "held",
            Self::Dead { .. } => "dead",
        }
    }
}

/// What the relay may do with an upstream account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountState {
    /// The condition.
    pub condition: AccountCondition,
    /// Since when.
    pub since: Timestamp,
    /// When the relay tries again by itself; `None` when it is open, or waits for a person.
    pub until: Option<Timestamp>,
    /// How many times in a row this condition was found; decides how long the next pause is.
    pub strikes: u32,
    /// What happened: the upstream's reply or our own words.
    pub reason: String,
    /// What the administrator should do; empty when nothing.
    pub remedy: String,
    /// Since when the upstream says that the account's day is full, whatever the ledger says; until it
    /// accepts a message again.
    pub day_full_since: Option<Timestamp>,
    /// Until when there is one connection at a time, because more of them were too much.
    pub alone_until: Option<Timestamp>,
    /// When a message was last accepted. What was refused in the account's name before it, and is refused again
    /// after it, is refused for its own sake.
    pub accepted_at: Option<Timestamp>,
    /// When messages were taken for spam, within the last hour.
    pub spam: Vec<Timestamp>,
    /// When logins began, within the last hour.
    pub logins: Vec<Timestamp>,
    /// Two octets of a digest of the settings and the secret that logins were made with, which say nothing of them but
    /// whether they have changed since; `None` when the secret could not be read.
    pub login_mark: Option<u16>,
    /// What the administrator has ordered, which the condition knows nothing of.
    pub pause: Option<Pause>,
    /// The days that the upstream called full before our own count did.
    pub early: EarlyDays,
}

impl AccountState {
    /// An account without a known trouble.
    #[must_use]
    pub fn open(now: Timestamp) -> Self {
        Self {
            condition: AccountCondition::Open,
            since: now,
            until: None,
            strikes: 0,
            reason: String::new(),
            remedy: String::new(),
            day_full_since: None,
            alone_until: None,
            accepted_at: None,
            spam: Vec::new(),
            logins: Vec::new(),
            login_mark: None,
            pause: None,
            early: EarlyDays::default(),
        }
    }

    /// Whether a pause is about a login, or about settings, that have changed since.
    #[must_use]
    pub(crate) fn is_of_another_login(&self, mark: Option<u16>) -> bool {
        let is_about_it = matches!(
            self.condition,
            AccountCondition::PausedCredentials | AccountCondition::PausedConfiguration
        );
        is_about_it && mark.is_some() && mark != self.login_mark
    }

    /// The administrator's pause, while it lasts.
    #[must_use]
    pub(crate) fn pause(&self, now: Timestamp) -> Option<&Pause> {
        self.pause.as_ref().filter(|pause| pause.holds(now))
    }

    /// Until when no attempt may begin, for whichever reason; it may be over. What only a person ends is over in a year.
    #[must_use]
    pub(crate) fn shut_until(&self, now: Timestamp) -> Option<Timestamp> {
        let ordered =
            self.pause(now).map(|pause| pause.until.unwrap_or_else(|| now.after(PAUSE_MAX)));
        self.until.max(ordered)
    }

    /// Whether the upstream says that the account's day is full, and has accepted nothing since. After a day
    /// every recipient it counted has left its window.
    #[must_use]
    pub fn is_day_full(&self, now: Timestamp) -> bool {
        self.day_full_since.is_some_and(|since| now.since(since) < WINDOW)
    }
}

/// The conditions of an account; the six names are those of logs, commands and documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountCondition {
    /// Mail flows.
    Open,
    /// The upstream cannot be reached or is busy; connection attempts are spaced out.
    BackingOff,
    /// Too many logins.
    PausedLogin,
    /// The upstream says that the day's limit is reached.
    PausedQuota,
    /// The upstream refuses the login.
    PausedCredentials,
    /// The relay or its configuration is wrong.
    PausedConfiguration,
}

impl AccountCondition {
    /// Every condition.
    pub(crate) const ALL: [Self; 6] = [
        Self::Open,
        Self::BackingOff,
        Self::PausedLogin,
        Self::PausedQuota,
        Self::PausedCredentials,
        Self::PausedConfiguration,
    ];

    /// What keeps mail here, for a column.
    #[must_use]
    pub(crate) fn cause(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::BackingOff => "upstream out of reach",
            Self::PausedLogin => "too many logins",
            Self::PausedQuota => "the day is full",
            Self::PausedCredentials => "password refused",
            Self::PausedConfiguration => "configuration refused",
        }
    }

    /// The name, as in logs and on screens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::BackingOff => "backing-off",
            Self::PausedLogin => "paused-login",
            Self::PausedQuota => "paused-quota",
            Self::PausedCredentials => "paused-credentials",
            Self::PausedConfiguration => "paused-configuration",
        }
    }
}
