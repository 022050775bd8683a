//! From answers to outcomes: what the queue is told, and what the account learns from one attempt.
//!
//! Rule: pure. A recipient is charged for refusals of itself or its message alone; what concerns the
//! connection or the account leaves it as it was. Must not know stores, clocks or connections.

use std::time::Duration;

use super::{
    account::Trouble,
    answer::{Answer, Fault, Stage},
    classify::classify,
    options::Uncertain,
    retry,
    verdict::{Action, Scope, Verdict},
};
use crate::{
    clock::Timestamp,
    queue::{
        state::{AccountCondition, REPLY_LENGTH_MAX},
        store::{ClaimedMessage, ClaimedRecipient, Outcome},
    },
};

/// What decides besides the answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) now: Timestamp,
    pub(super) lifetime: Duration,
    pub(super) uncertain: Uncertain,
    pub(super) resend_after: Duration,
    /// In 0.0..1.0; spreads the waits.
    pub(super) random: f64,
}

/// What one attempt comes to.
#[derive(Debug)]
pub(super) struct Judgement {
    /// For the queue: the outcome of each recipient, by its place in the record.
    pub(super) outcomes: Vec<(usize, Outcome)>,
    /// For the account: the gravest refusal.
    pub(super) trouble: Option<Trouble>,
    /// At least one recipient was accepted.
    pub(super) accepted: bool,
    /// A recipient or the message was refused, so the account itself is well.
    pub(super) answered: bool,
    /// The connection must not be used again.
    pub(super) disconnected: bool,
    /// The connection was lost after the final dot.
    pub(super) uncertain: bool,
    /// Nothing but the connection stood in the way: try again on a new one. It says what the account
    /// learns when that one ends the same way.
    pub(super) try_again: Option<Trouble>,
    /// The first words that were not an acceptance, for the list of last errors.
    pub(super) complaint: Option<String>,
}

impl Judgement {
    /// An attempt that never met the upstream.
    pub(super) fn nothing_happened(outcomes: Vec<(usize, Outcome)>) -> Self {
        Self {
            outcomes,
            trouble: None,
            accepted: false,
            answered: false,
            disconnected: false,
            uncertain: false,
            try_again: None,
            complaint: None,
        }
    }
}

/// How long a message waits whose transaction a lost connection ended, so that one that always ends
/// that way does not stand before all others.
pub(super) const STEP_BACK: Duration = Duration::from_secs(60);

/// Longer than any pause of a back-off.
const STEP_PAST_PAUSE: Duration = Duration::from_secs(40 * 60);

/// Judges the answers, one for each recipient of the claim in its order.
pub(super) fn judge(claim: &ClaimedMessage, answers: &[Answer], terms: &Terms) -> Judgement {
    let verdicts: Vec<Verdict> = answers.iter().map(classify).collect();
    let accepted = verdicts.iter().any(|verdict| verdict.action == Action::Accept);
    let uncertain = answers.iter().any(|answer| matches!(answer, Answer::Broken { after_dot: true, .. }));
    let connection = |verdict: &Verdict| verdict.scope == Scope::Connection;
    let refused = |verdict: &Verdict| verdict.scope < Scope::Connection && verdict.action != Action::Accept;
    let outcomes = claim.recipients.iter().zip(answers).zip(&verdicts);
    Judgement {
        outcomes: outcomes
            .map(|((recipient, answer), verdict)| {
                (recipient.index, outcome(claim, recipient, answer, verdict, accepted, terms))
            })
            .collect(),
        trouble: answers.iter().zip(&verdicts).find_map(|(answer, verdict)| trouble(answer, verdict)),
        accepted,
        answered: verdicts.iter().any(refused),
        disconnected: uncertain || verdicts.iter().any(|verdict| verdict.scope >= Scope::Connection),
        uncertain,
        try_again: answers
            .iter()
            .zip(&verdicts)
            .next()
            .filter(|_| !uncertain && verdicts.iter().all(connection))
            .map(|(answer, verdict)| trouble_if_again(answer, verdict)),
        complaint: answers
            .iter()
            .zip(&verdicts)
            .find(|(_, verdict)| verdict.action != Action::Accept)
            .map(|(answer, _)| answer.to_string()),
    }
}

/// What the account learns from an answer, if it concerns the account.
fn trouble(answer: &Answer, verdict: &Verdict) -> Option<Trouble> {
    let Action::Pause(condition) = verdict.action else { return None };
    let (remedy, local) = match answer {
        Answer::Broken { fault: Fault::NoPassword { remedy, .. }, .. } => (remedy.clone(), true),
        _ => (verdict.remedy.to_owned(), false),
    };
    Some(Trouble { condition, reason: answer.to_string(), remedy, local })
}

/// What the account learns when a new connection meets the same answer.
fn trouble_if_again(answer: &Answer, verdict: &Verdict) -> Trouble {
    let reason = answer.to_string();
    match verdict.action {
        Action::LogInAgain => Trouble {
            condition: AccountCondition::PausedCredentials,
            reason,
            remedy: verdict.remedy.to_owned(),
            local: false,
        },
        _ => connection_trouble(reason),
    }
}

/// Two connections in a row were lost.
pub(super) fn connection_trouble(reason: String) -> Trouble {
    Trouble {
        condition: AccountCondition::BackingOff,
        reason,
        remedy:
            "Nothing: the relay connects again with growing waits. If it goes on, look at the network and at \
                 anything that filters it."
                .to_owned(),
        local: false,
    }
}

fn outcome(
    claim: &ClaimedMessage,
    recipient: &ClaimedRecipient,
    answer: &Answer,
    verdict: &Verdict,
    accepted: bool,
    terms: &Terms,
) -> Outcome {
    let reply = bounded(answer.to_string());
    let attempts = recipient.attempts.saturating_add(1);
    if let Answer::Broken { after_dot: true, .. } = answer {
        return unknown(recipient, reply, terms);
    }
    let deferred = |wait| deferred(claim, reply.clone(), wait, terms);
    match verdict.action {
        Action::Accept => Outcome::Relayed { reply },
        Action::Retry => deferred(retry::delay(attempts, terms.random)),
        Action::RetryPatiently => deferred(retry::patient_delay(attempts, terms.random)),
        Action::GiveUp => Outcome::Dead { reply },
        // Those that did not fit go at once; one that does not fit alone is merely deferred.
        Action::Split if accepted => Outcome::NotTried { until: None },
        Action::Split => deferred(retry::delay(attempts, terms.random)),
        // A pause that this very message may have earned: the next probe must be another message.
        Action::Pause(AccountCondition::BackingOff)
            if matches!(answer, Answer::Replied { stage: Stage::FinalDot, .. }) =>
        {
            suspicious(claim, reply, terms)
        }
        Action::Pause(_) => Outcome::NotTried { until: None },
        Action::Reconnect => broken(claim, answer, reply, terms),
        Action::LogInAgain => Outcome::NotTried { until: Some(terms.now.after(STEP_BACK)) },
    }
}

fn unknown(recipient: &ClaimedRecipient, reason: String, terms: &Terms) -> Outcome {
    let once_more = terms.uncertain == Uncertain::ResendOnce && !recipient.resend;
    let wait = retry::resend_delay(terms.resend_after, terms.random);
    Outcome::Uncertain { resend_at: once_more.then(|| terms.now.after(wait)), reason }
}

fn deferred(claim: &ClaimedMessage, reply: String, wait: Duration, terms: &Terms) -> Outcome {
    if is_expired(claim, terms) {
        return Outcome::Dead { reply: expired(&reply, terms) };
    }
    // The last attempt comes when the lifetime ends, not hours later.
    let until = terms.now.after(wait).min(claim.lifetime_from.after(terms.lifetime));
    Outcome::Deferred { until, reply }
}

/// The connection failed in a transaction. That is nobody's fault, unless it has been this message's
/// fate for its whole lifetime.
fn broken(claim: &ClaimedMessage, answer: &Answer, reply: String, terms: &Terms) -> Outcome {
    let in_transaction = matches!(answer, Answer::Broken { stage, .. } if *stage >= Stage::Mail);
    if in_transaction && is_expired(claim, terms) {
        return Outcome::Dead { reply: expired(&reply, terms) };
    }
    Outcome::NotTried { until: Some(terms.now.after(STEP_BACK)) }
}

/// The account is told to slow down after a whole message was seen. If it is about the content, the message
/// would earn the same again as the first after every pause, and nothing else would ever leave.
fn suspicious(claim: &ClaimedMessage, reply: String, terms: &Terms) -> Outcome {
    if is_expired(claim, terms) {
        return Outcome::Dead { reply: expired(&reply, terms) };
    }
    Outcome::NotTried { until: Some(terms.now.after(STEP_PAST_PAUSE)) }
}

/// The outcomes of a claim whose worker died at `stage`.
pub(super) fn abandoned(claim: &ClaimedMessage, stage: Stage, terms: &Terms) -> Vec<(usize, Outcome)> {
    let reason = format!("the relay's own worker failed (at {})", stage.name());
    let outcome = |recipient: &ClaimedRecipient| match stage {
        Stage::FinalDot => unknown(recipient, reason.clone(), terms),
        _ if is_expired(claim, terms) => Outcome::Dead { reply: expired(&reason, terms) },
        _ => Outcome::NotTried { until: Some(terms.now.after(STEP_BACK)) },
    };
    claim.recipients.iter().map(|recipient| (recipient.index, outcome(recipient))).collect()
}

fn is_expired(claim: &ClaimedMessage, terms: &Terms) -> bool {
    claim.lifetime_from.after(terms.lifetime) <= terms.now
}

fn expired(reply: &str, terms: &Terms) -> String {
    let hours = terms.lifetime.as_secs() / 3_600;
    bounded(format!("given up after {hours} hours (queue.lifetime); the last answer was: {reply}"))
}

fn bounded(mut text: String) -> String {
    while text.len() > REPLY_LENGTH_MAX {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{delivery::answer::Reply, message::envelope::BodyKind, queue::id::QueueId};

    const NOW: Timestamp = Timestamp(1_700_000_000_000);
    const TERMS: Terms = Terms {
        now: NOW,
        lifetime: Duration::from_secs(5 * 24 * 3_600),
        uncertain: Uncertain::ResendOnce,
        resend_after: Duration::from_secs(300),
        random: 0.0,
    };

    fn claim(recipients: usize) -> ClaimedMessage {
        let recipient = |index| ClaimedRecipient {
            index,
            address: format!("user{index}@example.org").parse().unwrap(),
            attempts: 0,
            resend: false,
        };
        ClaimedMessage {
            id: QueueId::from_bytes([0; 16]),
            reverse_path: None,
            body: BodyKind::SevenBit,
            internationalized: false,
            size_bytes: 10,
            accepted_at: NOW,
            lifetime_from: NOW,
            recipients: (0..recipients).map(recipient).collect(),
        }
    }

    fn replied(stage: Stage, code: u16, text: &str) -> Answer {
        Answer::Replied { stage, reply: Reply::new(code, text) }
    }

    fn lost(stage: Stage, after_dot: bool) -> Answer {
        Answer::Broken { stage, after_dot, fault: Fault::Lost("gone".into()) }
    }

    fn outcome_of(answer: Answer) -> Outcome {
        judge(&claim(1), &[answer], &TERMS).outcomes.remove(0).1
    }

    #[test]
    fn one_refused_recipient_does_not_concern_the_others() {
        let answers =
            [replied(Stage::FinalDot, 250, "2.0.0 OK"), replied(Stage::Rcpt, 550, "5.1.1 no such user")];
        let judgement = judge(&claim(2), &answers, &TERMS);
        assert!(matches!(judgement.outcomes[0], (0, Outcome::Relayed { .. })));
        assert!(matches!(judgement.outcomes[1], (1, Outcome::Dead { .. })));
        assert!(judgement.trouble.is_none() && !judgement.disconnected && judgement.try_again.is_none());
    }

    #[test]
    fn refusals_of_the_account_charge_nothing() {
        for stage in [Stage::Auth, Stage::Mail, Stage::Rcpt, Stage::Data, Stage::FinalDot] {
            let judgement = judge(&claim(1), &[replied(stage, 550, "5.4.5 Daily limit")], &TERMS);
            assert_eq!(judgement.outcomes, [(0, Outcome::NotTried { until: None })]);
            assert_eq!(judgement.trouble.unwrap().condition, AccountCondition::PausedQuota);
        }
    }

    #[test]
    fn a_connection_lost_before_the_dot_is_tried_again_and_after_it_is_uncertain() {
        let before = judge(&claim(1), &[lost(Stage::Data, false)], &TERMS);
        assert!(before.try_again.is_some() && !before.uncertain);
        assert_eq!(before.outcomes, [(0, Outcome::NotTried { until: Some(NOW.after(STEP_BACK)) })]);
        let after = judge(&claim(1), &[lost(Stage::FinalDot, true)], &TERMS);
        assert!(after.uncertain && after.try_again.is_none());
        let (_, Outcome::Uncertain { resend_at, .. }) = &after.outcomes[0] else { panic!("{after:?}") };
        assert_eq!(*resend_at, Some(NOW.after(Duration::from_secs(300))));
    }

    #[test]
    fn a_second_uncertain_attempt_or_the_hold_policy_holds_the_recipient() {
        let mut again = claim(1);
        again.recipients[0].resend = true;
        let held = |judgement: Judgement| {
            matches!(judgement.outcomes[0].1, Outcome::Uncertain { resend_at: None, .. })
        };
        assert!(held(judge(&again, &[lost(Stage::FinalDot, true)], &TERMS)));
        let terms = Terms { uncertain: Uncertain::Hold, ..TERMS };
        assert!(held(judge(&claim(1), &[lost(Stage::FinalDot, true)], &terms)));
    }

    #[test]
    fn a_login_that_the_upstream_forgot_is_repeated_once_and_harms_no_message() {
        let wanted = replied(Stage::Mail, 530, "5.7.0 Authentication Required.");
        let terms = Terms { now: NOW.after(TERMS.lifetime), ..TERMS };
        let judgement = judge(&claim(1), &[wanted], &terms);
        assert!(judgement.trouble.is_none() && judgement.disconnected);
        assert!(matches!(judgement.outcomes[0].1, Outcome::NotTried { .. }), "{judgement:?}");
        let trouble = judgement.try_again.unwrap();
        assert_eq!(trouble.condition, AccountCondition::PausedCredentials);
        assert!(!trouble.local && !trouble.remedy.is_empty());
    }

    #[test]
    fn a_worker_that_dies_leaves_its_recipients_untried_before_the_final_dot_and_uncertain_after_it() {
        for stage in Stage::ALL {
            let outcomes = abandoned(&claim(2), stage, &TERMS);
            assert_eq!(outcomes.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1]);
            for (_, outcome) in outcomes {
                let uncertain = matches!(outcome, Outcome::Uncertain { resend_at: Some(_), .. });
                assert_eq!(uncertain, stage == Stage::FinalDot, "{stage:?} {outcome:?}");
                assert!(uncertain || outcome == Outcome::NotTried { until: Some(NOW.after(STEP_BACK)) });
            }
        }
    }

    #[test]
    fn a_deferred_recipient_is_dead_once_its_lifetime_is_over() {
        let later = replied(Stage::FinalDot, 451, "4.3.0 later");
        assert!(matches!(outcome_of(later.clone()), Outcome::Deferred { until, .. } if until > NOW));
        let terms = Terms { now: NOW.after(TERMS.lifetime), ..TERMS };
        let judgement = judge(&claim(1), &[later], &terms);
        let (_, Outcome::Dead { reply }) = &judgement.outcomes[0] else { panic!("{judgement:?}") };
        assert!(reply.contains("120 hours") && reply.contains("4.3.0 later"), "{reply}");
    }

    #[test]
    fn recipients_that_did_not_fit_go_at_once_unless_nothing_fits() {
        let full = replied(Stage::Rcpt, 452, "4.5.3 too many recipients");
        let judgement = judge(&claim(2), &[replied(Stage::FinalDot, 250, "2.0.0 OK"), full.clone()], &TERMS);
        assert_eq!(judgement.outcomes[1].1, Outcome::NotTried { until: None });
        assert!(matches!(outcome_of(full), Outcome::Deferred { .. }));
    }
}
