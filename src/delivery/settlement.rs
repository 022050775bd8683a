//! From answers to outcomes: what the queue is told, and what the account learns from one attempt.
//!
//! Rule: pure. A recipient is charged for refusals of itself or its message alone; what concerns the
//! connection or the account leaves it as it was. Must not know stores, clocks or connections.

use std::time::Duration;

use super::{
    account::{Recheck, Trouble},
    answer::{Answer, Fault, Stage},
    classify::{classify, is_unknown},
    oauth,
    options::Uncertain,
    retry,
    split::Splitting,
    verdict::{Action, Scope, Verdict, Waits},
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
    /// MAIL was refused, perhaps because of its parameters: try again without them.
    pub(super) without_parameters: bool,
    /// The message was taken for spam.
    pub(super) spam: bool,
    /// How the message is to be divided from now on.
    pub(super) split: Option<Splitting>,
    /// Refusals that the table does not know, in full, each once.
    pub(super) unknown: Vec<String>,
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
            without_parameters: false,
            spam: false,
            split: None,
            unknown: Vec::new(),
            complaint: None,
        }
    }
}

/// How long a message waits whose transaction a lost connection ended, so that one that always ends
/// that way does not stand before all others.
pub(super) const STEP_BACK: Duration = Duration::from_secs(60);

/// Longer than any pause of a back-off.
const STEP_PAST_PAUSE: Duration = Duration::from_secs(70 * 60);
/// Unknown refusals of one attempt that are told.
const UNKNOWN_MAX: usize = 5;

/// Judges the answers, one for each recipient of the claim in its order.
pub(super) fn judge(claim: &ClaimedMessage, answers: &[Answer], terms: &Terms) -> Judgement {
    let verdicts: Vec<Verdict> = answers.iter().map(classify).collect();
    let accepted = verdicts.iter().any(|verdict| verdict.action == Action::Accept);
    let uncertain =
        answers.iter().any(|answer| matches!(answer, Answer::Broken { after_dot: true, .. }));
    let connection = |verdict: &Verdict| verdict.scope == Scope::Connection;
    let refused =
        |verdict: &Verdict| verdict.scope < Scope::Connection && verdict.action != Action::Accept;
    let action = |action| verdicts.iter().any(|verdict| verdict.action == action);
    // 421 announces the end of the connection, whatever else it says.
    let closing =
        |answer: &Answer| matches!(answer, Answer::Replied { reply, .. } if reply.code == 421);
    let outcomes = claim.recipients.iter().zip(answers).zip(&verdicts);
    Judgement {
        outcomes: outcomes
            .map(|((recipient, answer), verdict)| {
                (recipient.index, outcome(claim, recipient, answer, verdict, accepted, terms))
            })
            .collect(),
        trouble: answers
            .iter()
            .zip(&verdicts)
            .find_map(|(answer, verdict)| trouble(answer, verdict)),
        accepted,
        answered: verdicts.iter().any(refused),
        disconnected: uncertain
            || verdicts.iter().any(|verdict| verdict.scope >= Scope::Connection)
            || answers.iter().any(closing),
        uncertain,
        try_again: answers
            .iter()
            .zip(&verdicts)
            .next()
            .filter(|_| !uncertain && verdicts.iter().all(connection))
            .map(|(answer, verdict)| trouble_if_again(answer, verdict)),
        without_parameters: action(Action::WithoutParameters),
        spam: action(Action::GiveUpAsSpam),
        split: if action(Action::SplitByDomain) {
            Some(Splitting::ByDomain)
        } else {
            action(Action::Split).then(|| Splitting::halved(claim.recipients.len()))
        },
        unknown: unknown_refusals(answers),
        complaint: answers
            .iter()
            .zip(&verdicts)
            .find(|(_, verdict)| verdict.action != Action::Accept)
            .map(|(answer, _)| answer.to_string()),
    }
}

fn unknown_refusals(answers: &[Answer]) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for answer in answers.iter().filter(|answer| is_unknown(answer)) {
        let stage = if let Answer::Replied { stage, .. } = answer { stage.name() } else { "" };
        let text = format!("{stage}: {answer}");
        if texts.len() < UNKNOWN_MAX && !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

/// What the account learns from an answer, if it concerns the account.
fn trouble(answer: &Answer, verdict: &Verdict) -> Option<Trouble> {
    let Action::Pause(condition) = verdict.action else { return None };
    let mut trouble = Trouble::new(condition, answer.to_string(), verdict.remedy.to_owned());
    trouble.least = verdict.least;
    trouble.day_full = condition == AccountCondition::PausedQuota;
    if let Answer::Broken { stage, fault, .. } = answer {
        let fault = fault.itself();
        trouble.lost_at_login = *stage == Stage::Auth && matches!(fault, Fault::Lost(_));
        trouble.recheck = match fault {
            Fault::NoPassword { .. } => Recheck::Local,
            Fault::NoToken(error) if error.kind == oauth::Kind::Local => Recheck::Local,
            Fault::NoStarttls | Fault::Injected => Recheck::WithoutLogin,
            Fault::PlainText if *stage == Stage::Starttls => Recheck::WithoutLogin,
            _ => Recheck::Usual,
        };
        match fault {
            Fault::NoPassword { remedy, .. } => remedy.clone_into(&mut trouble.remedy),
            Fault::NoToken(error) => error.remedy.clone_into(&mut trouble.remedy),
            _ => {}
        }
    }
    Some(trouble)
}

/// What the account learns when a new connection meets the same answer.
fn trouble_if_again(answer: &Answer, verdict: &Verdict) -> Trouble {
    let reason = answer.to_string();
    match verdict.action {
        Action::Reconnect { then } if then != AccountCondition::BackingOff => {
            Trouble::new(then, reason, verdict.remedy.to_owned())
        }
        _ => connection_trouble(reason),
    }
}

/// What the account learns when messages are taken for spam too often.
pub(super) fn spam_trouble(reason: &str) -> Trouble {
    Trouble::new(
        AccountCondition::PausedQuota,
        format!("three messages within an hour were taken for spam, at last: {reason}"),
        "Look at what writes these messages (`pillarbox queue list` shows them as dead) and stop it: more of \
         them endanger the account. The relay goes on when the pause ends; `pillarbox resume` ends it now."
            .to_owned(),
    )
}

/// Two connections in a row were lost.
pub(super) fn connection_trouble(reason: String) -> Trouble {
    Trouble::new(
        AccountCondition::BackingOff,
        reason,
        "Nothing: the relay connects again with growing waits. If it goes on, look at the network and at \
         anything that filters it."
            .to_owned(),
    )
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
    let usual = |attempts| Retrying { waits: Waits::USUAL, attempts };
    match verdict.action {
        Action::Accept => Outcome::Relayed { reply },
        Action::Retry(waits) => deferred(claim, reply, Retrying { waits, attempts }, terms),
        Action::GiveUp | Action::GiveUpAsSpam | Action::WithoutParameters => {
            Outcome::Dead { reply }
        }
        // They go at once, in smaller company; one that does not fit alone is merely deferred.
        Action::Split if !accepted && claim.recipients.len() == 1 => {
            deferred(claim, reply, usual(attempts), terms)
        }
        Action::SplitByDomain if !accepted && is_one_domain(claim) => {
            deferred(claim, reply, usual(attempts), terms)
        }
        Action::Split | Action::SplitByDomain => Outcome::NotTried { until: None },
        // A pause that this very message may have earned: the next probe must be another message.
        Action::Pause(AccountCondition::BackingOff)
            if matches!(answer, Answer::Replied { stage: Stage::FinalDot, .. }) =>
        {
            suspicious(claim, reply, terms)
        }
        Action::Pause(_) => Outcome::NotTried { until: None },
        Action::Reconnect { then: AccountCondition::BackingOff } => {
            broken(claim, answer, reply, terms)
        }
        Action::Reconnect { .. } => Outcome::NotTried { until: Some(terms.now.after(STEP_BACK)) },
    }
}

fn is_one_domain(claim: &ClaimedMessage) -> bool {
    let domain =
        |recipient: &ClaimedRecipient| recipient.address.domain().map(str::to_ascii_lowercase);
    let first = claim.recipients.first().map(domain);
    claim.recipients.iter().all(|recipient| Some(domain(recipient)) == first)
}

/// How often a recipient has been tried, and how it is tried again.
#[derive(Clone, Copy)]
struct Retrying {
    waits: Waits,
    /// This attempt included.
    attempts: u32,
}

fn unknown(recipient: &ClaimedRecipient, reason: String, terms: &Terms) -> Outcome {
    let once_more = terms.uncertain == Uncertain::ResendOnce && !recipient.resend;
    let wait = retry::resend_delay(terms.resend_after, terms.random);
    Outcome::Uncertain { resend_at: once_more.then(|| terms.now.after(wait)), reason }
}

fn deferred(claim: &ClaimedMessage, reply: String, retrying: Retrying, terms: &Terms) -> Outcome {
    let Retrying { waits, attempts } = retrying;
    let lifetime = waits.lifetime.map_or(terms.lifetime, |own| own.min(terms.lifetime));
    let (end, enough) = (
        claim.lifetime_from.after(lifetime),
        attempts >= retry::attempts_within(lifetime, waits.growth),
    );
    if end <= terms.now && enough {
        return Outcome::Dead { reply: expired(&reply, lifetime) };
    }
    if waits.attempts_max.is_some_and(|most| attempts >= most) {
        return Outcome::Dead {
            reply: bounded(format!("given up after {attempts} attempts; {reply}")),
        };
    }
    // The last attempt comes when the lifetime ends, not hours later.
    let wait = retry::growing(waits.growth, attempts, terms.random);
    let until = terms.now.after(wait);
    Outcome::Deferred { until: if end > terms.now { until.min(end) } else { until }, reply }
}

/// The connection failed in a transaction. That is nobody's fault, unless it has been this message's
/// fate for its whole lifetime.
fn broken(claim: &ClaimedMessage, answer: &Answer, reply: String, terms: &Terms) -> Outcome {
    let in_transaction = matches!(answer, Answer::Broken { stage, .. } if *stage >= Stage::Mail);
    if in_transaction && is_expired(claim, terms) {
        return Outcome::Dead { reply: expired(&reply, terms.lifetime) };
    }
    Outcome::NotTried { until: Some(terms.now.after(STEP_BACK)) }
}

/// The account is told to slow down after a whole message was seen. If it is about the content, the message
/// would earn the same again as the first after every pause, and nothing else would ever leave.
fn suspicious(claim: &ClaimedMessage, reply: String, terms: &Terms) -> Outcome {
    if is_expired(claim, terms) {
        return Outcome::Dead { reply: expired(&reply, terms.lifetime) };
    }
    Outcome::NotTried { until: Some(terms.now.after(STEP_PAST_PAUSE)) }
}

/// The outcomes of a claim whose worker died at `stage`.
pub(super) fn abandoned(
    claim: &ClaimedMessage,
    stage: Stage,
    terms: &Terms,
) -> Vec<(usize, Outcome)> {
    let reason = format!("the relay's own worker failed (at {})", stage.name());
    let outcome = |recipient: &ClaimedRecipient| match stage {
        Stage::FinalDot => unknown(recipient, reason.clone(), terms),
        _ if is_expired(claim, terms) => Outcome::Dead { reply: expired(&reason, terms.lifetime) },
        _ => Outcome::NotTried { until: Some(terms.now.after(STEP_BACK)) },
    };
    claim.recipients.iter().map(|recipient| (recipient.index, outcome(recipient))).collect()
}

fn is_expired(claim: &ClaimedMessage, terms: &Terms) -> bool {
    claim.lifetime_from.after(terms.lifetime) <= terms.now
}

fn expired(reply: &str, lifetime: Duration) -> String {
    let hours = lifetime.as_secs() / 3_600;
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
            reservation: 1,
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
        let answers = [
            replied(Stage::FinalDot, 250, "2.0.0 OK"),
            replied(Stage::Rcpt, 550, "5.1.1 no such user"),
        ];
        let judgement = judge(&claim(2), &answers, &TERMS);
        assert!(matches!(judgement.outcomes[0], (0, Outcome::Relayed { .. })));
        assert!(matches!(judgement.outcomes[1], (1, Outcome::Dead { .. })));
        assert!(
            judgement.trouble.is_none() && !judgement.disconnected && judgement.try_again.is_none()
        );
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
        let (_, Outcome::Uncertain { resend_at, .. }) = &after.outcomes[0] else {
            panic!("{after:?}")
        };
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
        assert!(trouble.recheck == Recheck::Usual && !trouble.remedy.is_empty());
    }

    #[test]
    fn a_worker_that_dies_leaves_its_recipients_untried_before_the_final_dot_and_uncertain_after_it()
     {
        for stage in Stage::ALL {
            let outcomes = abandoned(&claim(2), stage, &TERMS);
            assert_eq!(outcomes.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1]);
            for (_, outcome) in outcomes {
                let uncertain = matches!(outcome, Outcome::Uncertain { resend_at: Some(_), .. });
                assert_eq!(uncertain, stage == Stage::FinalDot, "{stage:?} {outcome:?}");
                assert!(
                    uncertain || outcome == Outcome::NotTried { until: Some(NOW.after(STEP_BACK)) }
                );
            }
        }
    }

    #[test]
    fn a_deferred_recipient_is_dead_once_its_lifetime_is_over_and_it_was_tried_for_hours() {
        let later = replied(Stage::FinalDot, 451, "4.3.0 later");
        assert!(
            matches!(outcome_of(later.clone()), Outcome::Deferred { until, .. } if until > NOW)
        );
        let terms = Terms { now: NOW.after(TERMS.lifetime), ..TERMS };
        let mut tried = claim(1);
        for attempts in 0..5 {
            tried.recipients[0].attempts = attempts;
            let judgement = judge(&tried, std::slice::from_ref(&later), &terms);
            let (_, Outcome::Deferred { until, .. }) = judgement.outcomes[0] else {
                panic!("its lifetime may have passed while the account was paused: {judgement:?}")
            };
            assert_eq!(until, terms.now.after(retry::delay(attempts + 1, 0.0)));
        }
        tried.recipients[0].attempts = 5;
        let judgement = judge(&tried, &[later], &terms);
        let (_, Outcome::Dead { reply }) = &judgement.outcomes[0] else { panic!("{judgement:?}") };
        assert!(reply.contains("120 hours") && reply.contains("4.3.0 later"), "{reply}");
    }

    #[test]
    fn recipients_that_did_not_fit_go_at_once_in_half_the_size_unless_one_does_not_fit_alone() {
        let full = replied(Stage::Rcpt, 452, "4.5.3 too many recipients");
        let judgement =
            judge(&claim(2), &[replied(Stage::FinalDot, 250, "2.0.0 OK"), full.clone()], &TERMS);
        assert_eq!(judgement.outcomes[1].1, Outcome::NotTried { until: None });
        assert_eq!(judgement.split, Some(Splitting::halved(2)));
        let judgement = judge(&claim(3), &[full.clone(), full.clone(), full.clone()], &TERMS);
        assert!(
            judgement
                .outcomes
                .iter()
                .all(|(_, outcome)| *outcome == Outcome::NotTried { until: None })
        );
        assert!(matches!(outcome_of(full), Outcome::Deferred { .. }));
    }

    #[test]
    fn a_suspicious_message_is_tried_three_times_with_long_waits() {
        let line = "4.7.0 This message is suspicious due to the nature of the content";
        for (attempts, hours) in [(0, Some(1)), (1, Some(4)), (2, None)] {
            let mut claim = claim(1);
            claim.recipients[0].attempts = attempts;
            let judgement = judge(&claim, &[replied(Stage::FinalDot, 421, line)], &TERMS);
            assert!(judgement.disconnected, "421 ends the connection");
            match (&judgement.outcomes[0].1, hours) {
                (Outcome::Deferred { until, .. }, Some(hours)) => {
                    assert_eq!(until.since(NOW).as_secs() / 3_600, hours);
                }
                (Outcome::Dead { reply }, None) => {
                    assert!(reply.contains("after 3 attempts"), "{reply}")
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn an_unknown_refusal_of_a_recipient_is_tried_for_a_day_and_told_in_full() {
        let refusal = replied(Stage::Rcpt, 550, "5.9.9 unheard of");
        let judgement = judge(&claim(1), std::slice::from_ref(&refusal), &TERMS);
        assert_eq!(judgement.unknown, ["RCPT: 550 5.9.9 unheard of"]);
        assert!(matches!(judgement.outcomes[0].1, Outcome::Deferred { .. }));
        let terms = Terms { now: NOW.after(Duration::from_secs(24 * 3_600)), ..TERMS };
        let mut tried = claim(1);
        tried.recipients[0].attempts = 5;
        let judgement = judge(&tried, &[refusal], &terms);
        let (_, Outcome::Dead { reply }) = &judgement.outcomes[0] else { panic!("{judgement:?}") };
        assert!(reply.contains("24 hours"), "{reply}");
    }
}
