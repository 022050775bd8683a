//! A verdict: whom an answer concerns and what to do about it.
//!
//! Rule: a plain value; scope and action are all that the rest of delivery needs to know about a reply.
//! Must not know replies.

use std::time::Duration;

use crate::queue::state::AccountCondition;

/// The meaning of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whom it concerns.
    pub(super) scope: Scope,
    /// What to do.
    pub(super) action: Action,
    /// What the administrator should do; empty when nothing.
    pub(super) remedy: &'static str,
    /// The least first pause, where the usual one of the condition would be too short.
    pub(super) least: Duration,
    /// It names the account's own day or rate: no message can be meant.
    pub(super) certain: bool,
}

/// Whom an answer concerns. Only the first two may ever cost a message an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// One recipient.
    Recipient,
    /// Every recipient of the transaction.
    Message,
    /// This connection, whatever it was sending.
    Connection,
    /// The account: everything waits.
    Account,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was accepted.
    Accept,
    /// Try again with waits; the attempt counts.
    Retry(Waits),
    /// It will never be accepted.
    GiveUp,
    /// The same, because of a verdict on its content: several of them within an hour pause the account.
    GiveUpAsSpam,
    /// Send the recipients that did not fit in transactions of half the size; nothing is charged.
    Split,
    /// Send the recipients of each domain in transactions of their own; nothing is charged.
    SplitByDomain,
    /// Send MAIL once more without parameters, then give up.
    WithoutParameters,
    /// Use a new connection, once at once; nothing is charged. When that ends so too, the account stops.
    Reconnect {
        /// In this condition.
        then: AccountCondition,
    },
    /// Stop the account for a while; nothing is charged.
    Pause(AccountCondition),
}

/// How a recipient is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// How the waits grow.
    pub growth: Growth,
    /// Attempts after which it is dead; `None`: as many as fit in `queue.lifetime`.
    pub attempts_max: Option<u32>,
    /// How long after its acceptance it is dead, where that is less than `queue.lifetime`.
    pub(crate) lifetime: Option<Duration>,
}

/// How waits grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// From a minute to four hours.
    FromAMinute,
    /// From an hour to four hours.
    FromAnHour,
    /// Always an hour.
    Hourly,
}

impl Waits {
    /// The usual waits.
    pub(super) const USUAL: Self =
        Self { growth: Growth::FromAMinute, attempts_max: None, lifetime: None };
}

impl Verdict {
    pub(super) const fn new(scope: Scope, action: Action) -> Self {
        Self { scope, action, remedy: "", least: Duration::ZERO, certain: false }
    }

    pub(super) const fn pause(condition: AccountCondition, remedy: &'static str) -> Self {
        Self::new(Scope::Account, Action::Pause(condition)).hint(remedy)
    }

    pub(super) const fn reconnect(then: AccountCondition) -> Self {
        Self::new(Scope::Connection, Action::Reconnect { then })
    }

    pub(super) const fn hint(self, remedy: &'static str) -> Self {
        Self { remedy, ..self }
    }

    /// Says that the account is meant whatever was sent.
    pub(super) const fn certain(self) -> Self {
        Self { certain: true, ..self }
    }

    /// Lengthens the first pause.
    pub(super) const fn at_least_minutes(self, minutes: u64) -> Self {
        Self { least: Duration::from_secs(minutes * 60), ..self }
    }
}
