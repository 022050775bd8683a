//! A verdict: whom an answer concerns and what to do about it.
//!
//! Rule: a plain value; scope and action are all that the rest of delivery needs to know about a reply.
//! Must not know replies.

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
}

/// Whom an answer concerns. Only the first two may ever cost a message an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
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
pub(super) enum Action {
    /// It was accepted.
    Accept,
    /// Try again with growing waits; the attempt counts.
    Retry,
    /// The same, beginning with an hour.
    RetryPatiently,
    /// It will never be accepted.
    GiveUp,
    /// Send the recipients that did not fit in a transaction of their own; nothing is charged.
    Split,
    /// Use a new connection, once at once; nothing is charged.
    Reconnect,
    /// The same, and when the new connection ends so too, the login is what is wrong.
    LogInAgain,
    /// Stop the account for a while; nothing is charged.
    Pause(AccountCondition),
}

impl Verdict {
    pub(super) const fn new(scope: Scope, action: Action) -> Self {
        Self { scope, action, remedy: "" }
    }

    pub(super) const fn pause(condition: AccountCondition, remedy: &'static str) -> Self {
        Self { scope: Scope::Account, action: Action::Pause(condition), remedy }
    }

    pub(super) const fn hint(self, remedy: &'static str) -> Self {
        Self { scope: self.scope, action: self.action, remedy }
    }
}
