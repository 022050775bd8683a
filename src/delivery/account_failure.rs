//! A failure of the account: which answers are one, how grave it is, and how long it pauses all mail.

use std::time::Duration;

use super::{
    answer::{Answer, Fault, Stage},
    oauth,
    verdict::{Action, Verdict},
};
use crate::{addressed::addressed, queue::state::AccountCondition};

/// How long good mail waits at most for one message or one sender that is refused in the account's name, unless the
/// upstream says that the day is full or the rate unusual (then [`FULL_PAUSE`]). Held by tests/delivery/blame.rs and month.rs.
const DOUBTFUL_PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// The same when the upstream says that the day is full; it doubles twice with every other message that is told so. The
/// longest pause for an unusual rate, too (docs/gmail.md section 3.6).
const FULL_PAUSE: Duration = Duration::from_secs(3_600);

/// Why the account stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AccountFailure {
    pub(super) condition: AccountCondition,
    pub(super) reason: String,
    pub(super) remedy: String,
    /// The least first pause, where the usual one is too short.
    pub(super) least: Duration,
    /// How long the server asks to be left alone.
    pub(super) asks_for: Duration,
    /// How soon it may be looked at again.
    pub(super) recheck: Recheck,
    /// The connection was lost at AUTH, which some servers do instead of refusing.
    pub(super) lost_at_login: bool,
    /// The connection was lost while a message was handed over.
    pub(super) lost_in_transaction: bool,
    /// The upstream itself says that the account's day is full.
    pub(super) day_full: bool,
    /// The reason is in the words of this program, and not in those of the upstream.
    pub(super) in_our_words: bool,
    /// It says no more than the refusal before it, because it comes from the same message, sender or recipient: others
    /// wait no longer for it.
    pub(super) says_nothing_new: bool,
}

/// What it costs to look again whether a failure is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recheck {
    /// As much as the condition says.
    Usual,
    /// A connection without a login, as in a back-off.
    WithoutLogin,
    /// Another message: the login has worked, and perhaps only the one that was refused is meant.
    AnotherMessage,
    /// Nothing: it is found on this side before anything is sent.
    Local,
}

impl AccountFailure {
    pub(super) fn new(condition: AccountCondition, reason: String, remedy: String) -> Self {
        Self {
            condition,
            reason,
            remedy,
            least: Duration::ZERO,
            asks_for: Duration::ZERO,
            recheck: Recheck::Usual,
            lost_at_login: false,
            lost_in_transaction: false,
            day_full: false,
            in_our_words: false,
            says_nothing_new: false,
        }
    }

    /// The same of the account with this name: it was written as of the main one.
    pub(super) fn addressed(self, account: &str) -> Self {
        let reason = match self.in_our_words {
            true => addressed(&self.reason, account),
            false => self.reason,
        };
        Self { reason, remedy: addressed(&self.remedy, account), ..self }
    }
}

/// What the account learns from an answer, if it concerns the account.
/// `again`: a new connection has met it before.
pub(super) fn of(answer: &Answer, verdict: &Verdict, again: bool) -> Option<AccountFailure> {
    let condition = match verdict.action {
        Action::Pause(condition) => condition,
        Action::Reconnect { .. } if again => return Some(of_again(answer, verdict)),
        _ => return None,
    };
    let mut failure = AccountFailure::new(condition, answer.to_string(), verdict.remedy.to_owned());
    failure.least = verdict.least;
    failure.asks_for = answer.asks_for();
    failure.day_full = condition == AccountCondition::PausedQuota && verdict.certain;
    failure.in_our_words = matches!(answer, Answer::Broken { .. });
    failure.recheck = match answer {
        _ if verdict.certain => Recheck::Usual,
        _ => recheck_of_reply(answer),
    };
    if let Answer::Broken { stage, fault, .. } = answer {
        let fault = fault.itself();
        failure.lost_at_login = *stage == Stage::Auth && matches!(fault, Fault::Lost(_));
        failure.recheck = match fault {
            Fault::NoPassword { .. } => Recheck::Local,
            Fault::NoToken(error) if error.kind == oauth::Kind::Local => Recheck::Local,
            Fault::Configuration(_) => Recheck::Local,
            Fault::NoStarttls
            | Fault::Injected
            | Fault::PlainText
            | Fault::TlsFirst
            | Fault::NoAuth
            | Fault::Certificate(_) => Recheck::WithoutLogin,
            Fault::NoToken(error) if error.kind == oauth::Kind::Refused => Recheck::WithoutLogin,
            _ => Recheck::Usual,
        };
        match fault {
            Fault::NoPassword { remedy, .. } => remedy.clone_into(&mut failure.remedy),
            Fault::NoToken(error) => error.remedy.clone_into(&mut failure.remedy),
            _ => {}
        }
    }
    Some(failure)
}

/// Only a refused login counts against the account. Before it, looking again costs none; after it, another message
/// may be accepted.
fn recheck_of_reply(answer: &Answer) -> Recheck {
    match answer {
        Answer::Replied { stage, .. } if *stage < Stage::Auth => Recheck::WithoutLogin,
        Answer::Replied { stage, .. } if *stage > Stage::Auth => Recheck::AnotherMessage,
        _ => Recheck::Usual,
    }
}

/// What the account learns when a new connection meets the same answer.
fn of_again(answer: &Answer, verdict: &Verdict) -> AccountFailure {
    let reason = answer.to_string();
    match verdict.action {
        Action::Reconnect { then } if then != AccountCondition::BackingOff => {
            let mut failure = AccountFailure::new(then, reason, verdict.remedy.to_owned());
            failure.recheck = recheck_of_reply(answer);
            failure
        }
        _ => of_lost_connections(reason),
    }
}

/// What the account learns when messages are taken for spam too often.
pub(super) fn of_spam(reason: &str) -> AccountFailure {
    let mut failure = AccountFailure::new(
        AccountCondition::PausedQuota,
        format!("three messages of several senders within an hour were taken for spam, at last: {reason}"),
        "Look at what writes these messages (`pillarbox queue list` shows them as dead) and stop it: more of \
         them endanger the account. The relay goes on when the pause ends; `pillarbox resume` ends it now."
            .to_owned(),
    );
    failure.says_nothing_new = true;
    failure
}

/// Two connections in a row were lost.
pub(super) fn of_lost_connections(reason: String) -> AccountFailure {
    let mut failure = AccountFailure::new(
        AccountCondition::BackingOff,
        reason,
        "Nothing: the relay connects again with growing waits. If it goes on, look at the network and at \
         anything that filters it."
            .to_owned(),
    );
    failure.lost_in_transaction = true;
    failure.recheck = Recheck::AnotherMessage;
    failure
}

/// How long the pause lasts that a failure begins for the `strikes`th time in a row.
pub(super) fn wait(failure: &AccountFailure, strikes: u32) -> Duration {
    let news = if failure.says_nothing_new { 1 } else { strikes };
    let doubled = failure.least.saturating_mul(1 << news.saturating_sub(1).min(8));
    let usual = match failure.recheck {
        Recheck::Local => return local_pause(strikes),
        Recheck::WithoutLogin => pause(AccountCondition::BackingOff, strikes),
        Recheck::AnotherMessage => pause(failure.condition, strikes).min(doubtful_pause(strikes)),
        Recheck::Usual => pause(failure.condition, news),
    };
    let most = match failure.recheck {
        // Less than that was asked for, so it may be one message's own like any other.
        Recheck::AnotherMessage if failure.least < DOUBTFUL_PAUSE_MAX => DOUBTFUL_PAUSE_MAX,
        _ => longest(failure.condition),
    };
    // What it asks for has been bounded where it was read, and a stored pause is never longer than the longest.
    usual.max(doubled.min(most)).max(failure.asks_for.min(longest(failure.condition)))
}

/// No pause of a condition lasts longer.
pub(super) fn longest(condition: AccountCondition) -> Duration {
    pause(condition, u32::MAX).max(match condition {
        // "Unusual rate" asks for more than a back-off.
        AccountCondition::BackingOff => FULL_PAUSE,
        _ => Duration::ZERO,
    })
}

/// How long a pause lasts after finding the condition `strikes` times in a row.
fn pause(condition: AccountCondition, strikes: u32) -> Duration {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 3_600;
    let step = strikes.saturating_sub(1);
    let seconds = match condition {
        AccountCondition::Open => 0,
        AccountCondition::BackingOff => (30u64 << step.min(6)).min(30 * MINUTE),
        AccountCondition::PausedLogin => (15 * MINUTE) << step.min(3),
        AccountCondition::PausedQuota => return FULL_PAUSE * (1 << step.min(2)),
        // Each failing login feeds Google's abuse heuristics, so there is no more than one in 6 h.
        AccountCondition::PausedCredentials | AccountCondition::PausedConfiguration => 6 * HOUR,
    };
    Duration::from_secs(seconds)
}

/// How long a pause lasts that a fault on this side causes: it ends soon after somebody mends it.
fn local_pause(strikes: u32) -> Duration {
    let minutes = match strikes {
        0 | 1 => 1,
        2 => 2,
        _ => 5,
    };
    Duration::from_secs(minutes * 60)
}

/// How long a pause lasts at most that one message may have earned for itself: the others wait no longer for it.
fn doubtful_pause(strikes: u32) -> Duration {
    let minutes = match strikes {
        0 | 1 => 1,
        2 => 5,
        _ => return DOUBTFUL_PAUSE_MAX,
    };
    Duration::from_secs(minutes * 60)
}

/// The gravity of a condition.
pub(super) fn rank(condition: AccountCondition) -> u8 {
    match condition {
        AccountCondition::Open => 0,
        AccountCondition::BackingOff => 1,
        AccountCondition::PausedLogin => 2,
        AccountCondition::PausedQuota => 3,
        AccountCondition::PausedCredentials => 4,
        AccountCondition::PausedConfiguration => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_upstream_has_said_stays_and_what_this_program_says_is_of_the_account() {
        let (reason, remedy) = ("upstream.ca_file is empty", "Check upstream.ca_file.");
        let of = |in_our_words| {
            let condition = AccountCondition::PausedConfiguration;
            let failure = AccountFailure::new(condition, reason.into(), remedy.into());
            let AccountFailure { reason, remedy, .. } =
                AccountFailure { in_our_words, ..failure }.addressed("second");
            (reason, remedy)
        };
        let remedy = "Check second's ca_file.".to_owned();
        assert_eq!(of(true), ("second's ca_file is empty".to_owned(), remedy.clone()));
        assert_eq!(of(false), (reason.to_owned(), remedy));
    }
}
