//! From answers to outcomes: what the queue is told, and what the account learns from one attempt.
//!
//! Rule: pure. A recipient is charged for refusals of itself or its message alone; what concerns the
//! connection or the account leaves it as it was. Must not know stores, clocks or connections.

use std::time::Duration;

use super::{
    account_failure::{self, AccountFailure},
    answer::{Answer, Stage},
    classify::{classify, is_unknown},
    options::Uncertain,
    provider::Provider,
    retry,
    split::RecipientGroups,
    verdict::{Action, Scope, Verdict, Waits},
};
use crate::{
    clock::Timestamp,
    message::header::Edits,
    queue::{
        ClaimedMessage, ClaimedRecipient, Outcome,
        state::{AccountCondition, REPLY_LENGTH_MAX},
    },
    text,
};

/// What decides besides the answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Whose replies they are.
    pub(super) provider: Provider,
    pub(super) now: Timestamp,
    pub(super) lifetime: Duration,
    pub(super) uncertain: Uncertain,
    pub(super) resend_after: Duration,
    /// In 0.0..1.0; spreads the waits.
    pub(super) random: f64,
    /// A refusal in the account's name would be this message's own: others are accepted meanwhile.
    pub(super) own: bool,
    /// This is the second connection on which it is tried.
    pub(super) again: bool,
}

/// What one attempt comes to.
#[derive(Debug)]
pub(super) struct AttemptResult {
    /// For the queue: the outcome of each recipient, by its place in the record.
    pub(super) outcomes: Vec<(usize, Outcome)>,
    /// For the account.
    pub(super) account: AccountEffect,
    /// A refusal in the account's name, or a lost connection, was charged to the message.
    pub(super) charged: bool,
    /// For the connection.
    pub(super) connection: ConnectionFate,
    /// How the message is to be divided from now on.
    pub(super) split: Option<RecipientGroups>,
    /// What is told of it.
    pub(super) log: AttemptLog,
}

/// What the account learns from an attempt.
#[derive(Debug)]
pub(super) enum AccountEffect {
    /// Nothing: the attempt did not come as far as that, or its end was the message's own fault.
    Nothing,
    /// At least one recipient was accepted.
    Accepted,
    /// A recipient or the message was refused, so the account itself is well.
    Answered,
    /// The same, because the message was taken for spam.
    TakenForSpam,
    /// It is refused: the gravest refusal.
    Failed(AccountFailure),
}

/// What becomes of the connection after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionFate {
    /// It carries the next message.
    Keep,
    /// It must not be used again.
    Close,
    /// Nothing but the connection stood in the way: the same once more on a new one.
    RetryFresh,
    /// MAIL was refused, perhaps because of its parameters: the same once more without them.
    RetryWithoutParameters,
    /// It was lost after the final dot.
    Uncertain,
}

impl ConnectionFate {
    /// Whether it is of no use to anybody.
    pub(super) fn ends(self) -> bool {
        match self {
            Self::Keep | Self::RetryWithoutParameters => false,
            Self::Close | Self::RetryFresh | Self::Uncertain => true,
        }
    }
}

/// What is told of an attempt.
#[derive(Debug, Default)]
pub(super) struct AttemptLog {
    /// Refusals that the table does not know, in full, each once.
    pub(super) unknown: Vec<String>,
    /// The first words that were not an acceptance, for the list of last errors.
    pub(super) complaint: Option<String>,
    /// Of its header section.
    pub(super) edits: Edits,
}

impl AttemptResult {
    /// Whether the upstream has certainly said that the account's day is full.
    pub(super) fn finds_the_day_full(&self) -> bool {
        matches!(&self.account, AccountEffect::Failed(failure) if failure.day_full)
    }

    /// An attempt that never met the upstream.
    pub(super) fn untried(outcomes: Vec<(usize, Outcome)>) -> Self {
        Self {
            outcomes,
            account: AccountEffect::Nothing,
            charged: false,
            connection: ConnectionFate::Keep,
            split: None,
            log: AttemptLog::default(),
        }
    }

    /// Whether the message itself was what was refused.
    pub(super) fn is_the_messages_own(&self) -> bool {
        self.charged
            || matches!(self.account, AccountEffect::Answered | AccountEffect::TakenForSpam)
    }
}

/// How long a message waits whose dialogue did not come as far as itself.
const STEP_BACK: Duration = Duration::from_secs(60);
/// Setbacks that a message has had when its lifetime is over, before that counts: they take hours.
const SETBACKS_MIN: u32 = 5;
/// Attempts after which a message is dead that alone is refused for good in the account's name. They take half a day.
const OWN_ATTEMPTS_MAX: u32 = 8;
/// Unknown refusals of one attempt that are told.
const UNKNOWN_MAX: usize = 5;

/// Judges the answers, one for each recipient of the claim in its order.
pub(super) fn judge(claim: &ClaimedMessage, answers: &[Answer], terms: &Terms) -> AttemptResult {
    let said: Vec<Verdict> =
        answers.iter().map(|answer| classify(terms.provider, answer)).collect();
    let accepted = said.iter().any(|verdict| verdict.action == Action::Accept);
    let judged = |(answer, verdict): (&Answer, &Verdict)| {
        own_verdict(answer, verdict, accepted, terms).unwrap_or(*verdict)
    };
    let verdicts: Vec<Verdict> = answers.iter().zip(&said).map(judged).collect();
    let charged = verdicts != said;
    let outcomes = claim.recipients.iter().zip(answers).zip(&verdicts);
    let complaint =
        answers.iter().zip(&verdicts).find(|(_, verdict)| verdict.action != Action::Accept);
    AttemptResult {
        outcomes: outcomes
            .map(|((recipient, answer), verdict)| {
                (recipient.index, outcome(claim, recipient, answer, verdict, accepted, terms))
            })
            .collect(),
        account: account_effect(claim, answers, &said, &verdicts, terms),
        charged,
        connection: connection_fate(claim, answers, &said, &verdicts, terms),
        split: split(claim, answers, &said, &verdicts, charged),
        log: AttemptLog {
            unknown: unknown_refusals(terms.provider, answers),
            complaint: complaint.map(|(answer, _)| answer.to_string()),
            edits: Edits::default(),
        },
    }
}

/// What the account learns from the answers. `said` is what they mean, `verdicts` what is made of them.
fn account_effect(
    claim: &ClaimedMessage,
    answers: &[Answer],
    said: &[Verdict],
    verdicts: &[Verdict],
    terms: &Terms,
) -> AccountEffect {
    let mut both = answers.iter().zip(verdicts);
    let failure = both.find_map(|(answer, verdict)| {
        let again = terms.again || is_known_loss(claim, answer);
        account_failure::of(answer, verdict, again)
    });
    let refused = |(verdict, said): (&Verdict, &Verdict)| {
        said.scope < Scope::Connection && verdict.action != Action::Accept
    };
    let action = |action| verdicts.iter().any(|verdict| verdict.action == action);
    match failure {
        Some(failure) => AccountEffect::Failed(failure),
        None if action(Action::Accept) => AccountEffect::Accepted,
        None if action(Action::GiveUpAsSpam) => AccountEffect::TakenForSpam,
        None if verdicts.iter().zip(said).any(refused) => AccountEffect::Answered,
        None => AccountEffect::Nothing,
    }
}

/// What becomes of the connection on which the answers came.
fn connection_fate(
    claim: &ClaimedMessage,
    answers: &[Answer],
    said: &[Verdict],
    verdicts: &[Verdict],
    terms: &Terms,
) -> ConnectionFate {
    let after_dot = |answer: &Answer| matches!(answer, Answer::Broken { after_dot: true, .. });
    if answers.iter().any(after_dot) {
        return ConnectionFate::Uncertain;
    }
    let first = answers.first();
    let may_again = !terms.again && first.is_some_and(|one| !is_known_loss(claim, one));
    if may_again && verdicts.iter().all(|verdict| verdict.scope == Scope::Connection) {
        return ConnectionFate::RetryFresh;
    }
    // 421 announces the end of the connection, whatever else it says.
    let closing =
        |answer: &Answer| matches!(answer, Answer::Replied { reply, .. } if reply.code == 421);
    if said.iter().any(|verdict| matches!(verdict.action, Action::Reconnect { .. }))
        || verdicts.iter().any(|verdict| verdict.scope >= Scope::Connection)
        || answers.iter().any(closing)
    {
        return ConnectionFate::Close;
    }
    let without = verdicts.iter().any(|verdict| verdict.action == Action::WithoutParameters);
    if without { ConnectionFate::RetryWithoutParameters } else { ConnectionFate::Keep }
}

/// How the message is to be divided from now on.
fn split(
    claim: &ClaimedMessage,
    answers: &[Answer],
    said: &[Verdict],
    verdicts: &[Verdict],
    charged: bool,
) -> Option<RecipientGroups> {
    let action = |action| verdicts.iter().any(|verdict| verdict.action == action);
    if action(Action::SplitByDomain) {
        return Some(RecipientGroups::ByDomain);
    }
    // One of several recipients may be what is refused: halves find it, and the others get their mail.
    let in_doubt = charged || claim.setbacks.count > 0 && answers.iter().any(is_in_transaction);
    let refused = in_doubt && said.iter().all(|one| one.scope > Scope::Message);
    let halves = action(Action::Split) || refused && claim.recipients.len() > 1;
    halves.then(|| RecipientGroups::halved(claim.recipients.len()))
}

fn unknown_refusals(provider: Provider, answers: &[Answer]) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for answer in answers.iter().filter(|answer| is_unknown(provider, answer)) {
        let stage = if let Answer::Replied { stage, .. } = answer { stage.name() } else { "" };
        let text = format!("{stage}: {answer}");
        if texts.len() < UNKNOWN_MAX && !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

/// The verdict instead of one on the account or the connection, where it is this message's own: others are accepted
/// meanwhile, or this recipient alone was refused in a transaction that was accepted.
fn own_verdict(answer: &Answer, said: &Verdict, accepted: bool, terms: &Terms) -> Option<Verdict> {
    let (stage, refusal) = match answer {
        Answer::Replied { stage, reply } => (*stage, Some(reply)),
        Answer::Broken { stage, after_dot: false, .. } => (*stage, None),
        Answer::Broken { .. } | Answer::Unsendable { .. } => return None,
    };
    let mine = match said.action {
        Action::Pause(_) => terms.own || accepted && stage == Stage::Rcpt && !said.certain,
        // What the upstream says of the connection may be true once.
        Action::Reconnect { .. } => terms.own && (terms.again || refusal.is_none()),
        _ => false,
    };
    let attempts_max = refusal.filter(|reply| reply.is_permanent()).map(|_| OWN_ATTEMPTS_MAX);
    let retry = Action::Retry(Waits { attempts_max, ..Waits::USUAL });
    (mine && stage >= Stage::Mail).then(|| Verdict::new(Scope::Message, retry).hint(said.remedy))
}

/// A connection lost in the transaction of a message that has cost one before: a second login at once would be
/// one more.
fn is_known_loss(claim: &ClaimedMessage, answer: &Answer) -> bool {
    claim.setbacks.count > 0
        && matches!(answer, Answer::Broken { stage, .. } if *stage >= Stage::Mail)
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
        Action::Retry(waits) if is_about_more(terms.provider, answer) => {
            let reply =
                bounded(format!("{reply} (others are accepted, so this message is charged)"));
            deferred(claim, reply, Retrying { waits, attempts }, terms)
        }
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
        Action::Pause(_) | Action::Reconnect { .. } if is_in_transaction(answer) => {
            // In doubt, it may have been this message's fate for its whole lifetime.
            let doubtful = !verdict.certain
                && matches!(
                    verdict.action,
                    Action::Pause(_) | Action::Reconnect { then: AccountCondition::BackingOff }
                );
            if doubtful && is_given_up(claim, terms) {
                return Outcome::Dead { reply: expired(&reply, terms.lifetime) };
            }
            Outcome::SetBack { until: terms.now.after(step(claim)), reply }
        }
        Action::Pause(_) => Outcome::NotTried { until: None },
        Action::Reconnect { .. } => Outcome::NotTried { until: Some(terms.now.after(STEP_BACK)) },
    }
}

/// Whether an answer came when the message itself was being handed over.
fn is_in_transaction(answer: &Answer) -> bool {
    match answer {
        Answer::Replied { stage, .. } | Answer::Broken { stage, .. } => *stage >= Stage::Mail,
        Answer::Unsendable { .. } => false,
    }
}

/// Whether an answer was said in the name of more than the message.
fn is_about_more(provider: Provider, answer: &Answer) -> bool {
    classify(provider, answer).scope >= Scope::Connection
}

/// How long a message stays behind the others after a setback: it grows, so that a message that earns one each
/// time costs the others less and less.
pub(super) fn step(claim: &ClaimedMessage) -> Duration {
    retry::delay(claim.setbacks.count.saturating_add(1), 0.0)
}

/// Moves what was set back behind the pause that it has earned, so that the next probe is another message.
pub(super) fn behind(outcomes: &mut [(usize, Outcome)], pause: Duration) {
    for (_, outcome) in outcomes {
        if let Outcome::SetBack { until, .. } = outcome {
            *until = until.after(pause);
        }
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
    let setbacks = if terms.own { claim.setbacks.count } else { 0 };
    let wait = retry::growing(waits.growth, attempts.saturating_add(setbacks), terms.random);
    let until = terms.now.after(wait);
    Outcome::Deferred { until: if end > terms.now { until.min(end) } else { until }, reply }
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
        _ if is_given_up(claim, terms) => Outcome::Dead { reply: expired(&reason, terms.lifetime) },
        _ => Outcome::SetBack { until: terms.now.after(step(claim)), reply: reason.clone() },
    };
    claim.recipients.iter().map(|recipient| (recipient.index, outcome(recipient))).collect()
}

/// Whether a message that was set back, and never refused, has had its time: not only its lifetime, which may have passed
/// while the account was paused or the relay was off.
fn is_given_up(claim: &ClaimedMessage, terms: &Terms) -> bool {
    claim.setbacks.count >= SETBACKS_MIN && claim.lifetime_from.after(terms.lifetime) <= terms.now
}

fn expired(reply: &str, lifetime: Duration) -> String {
    let hours = lifetime.as_secs() / 3_600;
    bounded(format!("given up after {hours} hours (queue.lifetime); the last answer was: {reply}"))
}

fn bounded(text: String) -> String {
    text::printable_within(&text, REPLY_LENGTH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        delivery::{
            account_failure::Recheck,
            answer::{Fault, Reply},
            fixtures::claimed,
        },
        queue::record::Setbacks,
    };

    const NOW: Timestamp = Timestamp(1_700_000_000_000);
    const TERMS: Terms = Terms {
        provider: Provider::Gmail,
        now: NOW,
        lifetime: Duration::from_secs(5 * 24 * 3_600),
        uncertain: Uncertain::ResendOnce,
        resend_after: Duration::from_secs(300),
        random: 0.0,
        own: false,
        again: false,
    };

    fn claim(recipients: usize) -> ClaimedMessage {
        let addresses: Vec<String> =
            (0..recipients).map(|index| format!("user{index}@example.org")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        ClaimedMessage { accepted_at: NOW, lifetime_from: NOW, ..claimed(0, &addresses) }
    }

    fn replied(stage: Stage, code: u16, text: &str) -> Answer {
        Answer::Replied { stage, reply: Reply::new(code, text) }
    }

    fn lost(stage: Stage, after_dot: bool) -> Answer {
        Answer::Broken { stage, after_dot, fault: Fault::Lost("gone".into()) }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    fn is_set_back(outcome: &Outcome, step: Duration) -> bool {
        matches!(outcome, Outcome::SetBack { until, .. } if *until == NOW.after(step))
    }

    fn failure_of(result: AttemptResult) -> AccountFailure {
        let AccountEffect::Failed(failure) = result.account else { panic!("{result:?}") };
        failure
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
        let result = judge(&claim(2), &answers, &TERMS);
        assert!(matches!(result.outcomes[0], (0, Outcome::Relayed { .. })));
        assert!(matches!(result.outcomes[1], (1, Outcome::Dead { .. })));
        assert!(matches!(result.account, AccountEffect::Accepted));
        assert_eq!(result.connection, ConnectionFate::Keep);
    }

    #[test]
    fn refusals_of_the_account_charge_nothing() {
        for stage in [Stage::Auth, Stage::Mail, Stage::Rcpt, Stage::Data, Stage::FinalDot] {
            let result = judge(&claim(1), &[replied(stage, 550, "5.4.5 Daily limit")], &TERMS);
            let (_, outcome) = &result.outcomes[0];
            if stage == Stage::Auth {
                assert_eq!(*outcome, Outcome::NotTried { until: None });
            } else {
                // It may have been about the message: the next probe is another one.
                assert!(is_set_back(outcome, MINUTE), "{outcome:?}");
            }
            assert_eq!(failure_of(result).condition, AccountCondition::PausedQuota);
        }
    }

    #[test]
    fn a_connection_lost_before_the_dot_is_tried_again_and_after_it_is_uncertain() {
        let before = judge(&claim(1), &[lost(Stage::Data, false)], &TERMS);
        assert_eq!(before.connection, ConnectionFate::RetryFresh);
        assert!(is_set_back(&before.outcomes[0].1, MINUTE), "{before:?}");
        let after = judge(&claim(1), &[lost(Stage::FinalDot, true)], &TERMS);
        assert_eq!(after.connection, ConnectionFate::Uncertain);
        let (_, Outcome::Uncertain { resend_at, .. }) = &after.outcomes[0] else {
            panic!("{after:?}")
        };
        assert_eq!(*resend_at, Some(NOW.after(Duration::from_secs(300))));
    }

    #[test]
    fn a_second_uncertain_attempt_or_the_hold_policy_holds_the_recipient() {
        let mut again = claim(1);
        again.recipients[0].resend = true;
        let held = |result: AttemptResult| {
            matches!(result.outcomes[0].1, Outcome::Uncertain { resend_at: None, .. })
        };
        assert!(held(judge(&again, &[lost(Stage::FinalDot, true)], &TERMS)));
        let terms = Terms { uncertain: Uncertain::Hold, ..TERMS };
        assert!(held(judge(&claim(1), &[lost(Stage::FinalDot, true)], &terms)));
    }

    #[test]
    fn a_login_that_the_upstream_forgot_is_repeated_once_and_harms_no_message() {
        let wanted = replied(Stage::Mail, 530, "5.7.0 Authentication Required.");
        let terms = Terms { now: NOW.after(TERMS.lifetime), ..TERMS };
        let result = judge(&claim(1), std::slice::from_ref(&wanted), &terms);
        assert!(matches!(result.account, AccountEffect::Nothing));
        assert_eq!(result.connection, ConnectionFate::RetryFresh);
        assert!(matches!(result.outcomes[0].1, Outcome::SetBack { .. }), "{result:?}");
        let terms = Terms { again: true, ..terms };
        let failure = failure_of(judge(&claim(1), &[wanted], &terms));
        assert_eq!(failure.condition, AccountCondition::PausedCredentials);
        // The login itself was taken.
        assert!(failure.recheck == Recheck::AnotherMessage && !failure.remedy.is_empty());
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
                assert!(uncertain || is_set_back(&outcome, MINUTE));
            }
        }
    }

    #[test]
    fn a_worker_that_dies_ends_no_message_that_was_not_tried_for_hours() {
        let terms = Terms { now: NOW.after(TERMS.lifetime), ..TERMS };
        let mut old = claim(1);
        for (count, is_dead) in [(0, false), (SETBACKS_MIN - 1, false), (SETBACKS_MIN, true)] {
            old.setbacks.count = count;
            let outcome = abandoned(&old, Stage::Mail, &terms).remove(0).1;
            assert_eq!(matches!(outcome, Outcome::Dead { .. }), is_dead, "{count}: {outcome:?}");
            // Within its lifetime it never ends by that.
            assert!(matches!(abandoned(&old, Stage::Mail, &TERMS)[0].1, Outcome::SetBack { .. }));
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
            let result = judge(&tried, std::slice::from_ref(&later), &terms);
            let (_, Outcome::Deferred { until, .. }) = result.outcomes[0] else {
                panic!("its lifetime may have passed while the account was paused: {result:?}")
            };
            assert_eq!(until, terms.now.after(retry::delay(attempts + 1, 0.0)));
        }
        tried.recipients[0].attempts = 5;
        let result = judge(&tried, &[later], &terms);
        let (_, Outcome::Dead { reply }) = &result.outcomes[0] else { panic!("{result:?}") };
        assert!(reply.contains("120 hours") && reply.contains("4.3.0 later"), "{reply}");
    }

    #[test]
    fn recipients_that_did_not_fit_go_at_once_in_half_the_size_unless_one_does_not_fit_alone() {
        let full = replied(Stage::Rcpt, 452, "4.5.3 too many recipients");
        let result =
            judge(&claim(2), &[replied(Stage::FinalDot, 250, "2.0.0 OK"), full.clone()], &TERMS);
        assert_eq!(result.outcomes[1].1, Outcome::NotTried { until: None });
        assert_eq!(result.split, Some(RecipientGroups::halved(2)));
        let result = judge(&claim(3), &[full.clone(), full.clone(), full.clone()], &TERMS);
        assert!(
            result
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
            let result = judge(&claim, &[replied(Stage::FinalDot, 421, line)], &TERMS);
            assert!(result.connection.ends(), "421 ends the connection");
            match (&result.outcomes[0].1, hours) {
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
        let result = judge(&claim(1), std::slice::from_ref(&refusal), &TERMS);
        assert_eq!(result.log.unknown, ["RCPT: 550 5.9.9 unheard of"]);
        assert!(matches!(result.outcomes[0].1, Outcome::Deferred { .. }));
        let terms = Terms { now: NOW.after(Duration::from_secs(24 * 3_600)), ..TERMS };
        let mut tried = claim(1);
        tried.recipients[0].attempts = 5;
        let result = judge(&tried, &[refusal], &terms);
        let (_, Outcome::Dead { reply }) = &result.outcomes[0] else { panic!("{result:?}") };
        assert!(reply.contains("24 hours"), "{reply}");
    }

    fn after_setbacks(count: u32, recipients: usize) -> ClaimedMessage {
        ClaimedMessage {
            setbacks: Setbacks { count, last: Some(NOW), stops: 0 },
            ..claim(recipients)
        }
    }

    #[test]
    fn each_setback_puts_a_message_further_behind_the_others() {
        for (count, minutes) in [(0, 1), (1, 5), (2, 15), (3, 60), (4, 240), (9, 240)] {
            for answer in
                [lost(Stage::Data, false), replied(Stage::Data, 550, "5.7.1 Email quota exceeded.")]
            {
                let result = judge(&after_setbacks(count, 1), &[answer], &TERMS);
                assert!(is_set_back(&result.outcomes[0].1, minutes * MINUTE), "{result:?}");
            }
        }
        let mut outcomes =
            [(0, Outcome::SetBack { until: NOW.after(MINUTE), reply: String::new() })];
        behind(&mut outcomes, 10 * MINUTE);
        assert!(is_set_back(&outcomes[0].1, 11 * MINUTE), "after the pause");
    }

    #[test]
    fn a_message_that_has_cost_a_connection_gets_no_second_login_at_once() {
        let first = judge(&claim(1), &[lost(Stage::Data, false)], &TERMS);
        assert_eq!(first.connection, ConnectionFate::RetryFresh);
        assert!(matches!(first.account, AccountEffect::Nothing));
        let known = judge(&after_setbacks(1, 1), &[lost(Stage::Data, false)], &TERMS);
        assert_eq!(known.connection, ConnectionFate::Close);
        assert_eq!(failure_of(known).condition, AccountCondition::BackingOff);
        let aged = replied(Stage::Mail, 421, "4.7.0 Connection expired, try reconnecting.");
        let aged = judge(&after_setbacks(1, 1), &[aged], &TERMS);
        assert_eq!(aged.connection, ConnectionFate::RetryFresh, "it was told why");
    }

    #[test]
    fn what_is_a_messages_own_is_charged_to_it_and_troubles_nobody() {
        let own = Terms { own: true, ..TERMS };
        for answer in [
            lost(Stage::Data, false),
            replied(Stage::Data, 550, "5.7.1 Email quota exceeded."),
            replied(Stage::Mail, 550, "5.7.1 Invalid credentials for relay <192.0.2.1>."),
            replied(Stage::Mail, 550, "5.4.5 Daily user sending limit exceeded."),
            replied(Stage::FinalDot, 421, "4.7.28 unusual rate"),
        ] {
            let result = judge(&after_setbacks(1, 1), std::slice::from_ref(&answer), &own);
            let (_, Outcome::Deferred { until, reply }) = &result.outcomes[0] else {
                panic!("{result:?}")
            };
            assert_eq!(until.since(NOW), 5 * MINUTE, "the setback before it counts");
            assert!(reply.starts_with(&answer.to_string()) && reply.contains("others"), "{reply}");
            assert!(result.charged && matches!(result.account, AccountEffect::Nothing));
            assert_ne!(result.connection, ConnectionFate::RetryFresh);
        }
        let refused = replied(Stage::Data, 550, "5.7.1 Email quota exceeded.");
        let mut claim = after_setbacks(1, 1);
        claim.recipients[0].attempts = OWN_ATTEMPTS_MAX - 1;
        let result = judge(&claim, std::slice::from_ref(&refused), &own);
        assert!(matches!(result.outcomes[0].1, Outcome::Dead { .. }), "{result:?}");
        let lists = judge(&after_setbacks(1, 8), &vec![refused; 8], &own);
        assert_eq!(
            lists.split,
            Some(RecipientGroups::AtMost(4)),
            "halves find the one that is refused"
        );
        let wrong = replied(Stage::Auth, 535, "5.7.8 Username and Password not accepted.");
        // A login is nobody's own.
        failure_of(judge(&after_setbacks(1, 1), &[wrong], &own));
    }

    #[test]
    fn a_recipient_refused_beside_accepted_ones_is_its_own_affair_unless_the_day_is_full() {
        let accepted = replied(Stage::FinalDot, 250, "2.0.0 OK");
        let denied = replied(Stage::Rcpt, 550, "5.7.0 Mail relay denied <192.0.2.1>.");
        let result = judge(&claim(2), &[accepted.clone(), denied], &TERMS);
        assert!(matches!(result.outcomes[1].1, Outcome::Deferred { .. }), "{result:?}");
        assert!(matches!(result.account, AccountEffect::Accepted) && result.split.is_none());
        let full = replied(Stage::Rcpt, 550, "5.4.5 Daily user sending limit exceeded.");
        assert!(failure_of(judge(&claim(2), &[accepted, full], &TERMS)).day_full);
    }

    #[test]
    fn only_a_refused_login_or_a_full_day_earns_a_pause_of_hours() {
        for (answer, expected) in [
            (replied(Stage::Ehlo, 501, "5.5.4 HELO/EHLO argument invalid"), Recheck::WithoutLogin),
            (
                replied(Stage::Starttls, 454, "5.5.1 STARTTLS may not be repeated."),
                Recheck::WithoutLogin,
            ),
            (replied(Stage::Greeting, 554, "no service"), Recheck::WithoutLogin),
            (replied(Stage::Auth, 535, "5.7.8 no"), Recheck::Usual),
            (replied(Stage::Mail, 550, "5.7.0 Mail Sending denied."), Recheck::AnotherMessage),
            (
                replied(Stage::Mail, 530, "5.7.0 Must issue a STARTTLS command first."),
                Recheck::AnotherMessage,
            ),
            (replied(Stage::Data, 550, "5.4.5 Daily user sending limit exceeded."), Recheck::Usual),
        ] {
            let result = judge(&claim(1), std::slice::from_ref(&answer), &TERMS);
            assert_eq!(failure_of(result).recheck, expected, "{answer}");
        }
        let broken = |stage, fault| Answer::Broken { stage, after_dot: false, fault };
        for (fault, expected) in [
            (Fault::Certificate("expired".into()), Recheck::WithoutLogin),
            (Fault::PlainText, Recheck::WithoutLogin),
            (Fault::TlsFirst, Recheck::WithoutLogin),
            (Fault::NoStarttls, Recheck::WithoutLogin),
            (Fault::Injected, Recheck::WithoutLogin),
            (Fault::NoAuth, Recheck::WithoutLogin),
            (Fault::Configuration("no ca_file".into()), Recheck::Local),
        ] {
            let result = judge(&claim(1), &[broken(Stage::Connect, fault.clone())], &TERMS);
            assert_eq!(failure_of(result).recheck, expected, "{fault}");
        }
    }
}
