//! Replies about the message itself, most of them after the final dot (docs/gmail.md section 3.6).
//!
//! Rule: what is refused for good stays visible as dead, with the reply. Must not know what is done with
//! a verdict.

use super::remedies;
use crate::{
    delivery::{
        answer::Stage,
        reply_row::{CONTENT, FINAL_DOT, Row, TRANSACTION},
        verdict::{Action, Growth, Scope, Verdict, Waits},
    },
    queue::state::AccountCondition::BackingOff,
};

const FAILED: Verdict = Verdict::new(Scope::Message, Action::GiveUp);
const LATER: Verdict = Verdict::new(Scope::Message, Action::Retry(Waits::USUAL));
/// It may pass once the suspicion has cooled down; three times is enough.
const SUSPICIOUS: Verdict = Verdict::new(
    Scope::Message,
    Action::Retry(Waits { growth: Growth::FromAnHour, attempts_max: Some(3), lifetime: None }),
);
/// A slip of the wire may not repeat itself; a message that earns it twice always will.
const ONCE_MORE: Verdict =
    Verdict::new(Scope::Message, Action::Retry(Waits { attempts_max: Some(2), ..Waits::USUAL }));
const SPAM: Verdict = Verdict::new(Scope::Message, Action::GiveUpAsSpam).hint(remedies::SPAM);
const MALFORMED: Verdict = FAILED.hint(remedies::MALFORMED);

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row { stages: TRANSACTION, codes: &[421, 450, 550], enhanced: &["4.7.28", "5.7.28"], text: &["same message-id", "this message exceeded"],
        meaning: "this message was seen too often", verdict: SUSPICIOUS, source: "docs/gmail.md section 3.6",
        examples: &[(Stage::FinalDot, "421 4.7.28 Gmail has detected that this message exceeded its quota for sending messages with the same Message-ID.")] },
    Row { stages: TRANSACTION, codes: &[421, 450, 550], enhanced: &["4.7.28", "5.7.28"], text: &[],
        meaning: "mail comes at an unusual rate", verdict: Verdict::pause(BackingOff, remedies::UNUSUAL_RATE).at_least_minutes(15), source: "docs/gmail.md section 3.6",
        examples: &[
            (Stage::FinalDot, "421 4.7.28 Gmail has detected an unusual rate of mail. To protect our users from spam, mail has been temporarily rate limited. https://support.google.com/mail/?p=UnsolicitedRateLimitError"),
            (Stage::FinalDot, "550 5.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP Netblock."),
        ] },
    Row { stages: CONTENT, codes: &[552], enhanced: &["5.3.4", "5.2.3"], text: &[],
        meaning: "the message, a header field or the number of attachments is too large", verdict: FAILED.hint(remedies::TOO_LARGE), source: "docs/gmail.md sections 3.4 and 3.6",
        examples: &[
            (Stage::FinalDot, "552 5.3.4 Your message exceeded Google's message size limits. https://support.google.com/mail/?p=MaxSizeError"),
            (Stage::Mail, "552 5.2.3 Your message exceeded Google's message size limits."),
            (Stage::FinalDot, "552 5.3.4 The number of attachments (600) exceeds Google's limit of 500 attachments."),
            (Stage::FinalDot, "552 5.3.4 The size of the <Subject> header value exceeds Google's limit."),
        ] },
    Row { stages: FINAL_DOT, codes: &[552], enhanced: &["5.7.0"], text: &[],
        meaning: "an attachment is of a kind that Gmail blocks", verdict: FAILED.hint(remedies::BLOCKED), source: "docs/gmail.md section 3.6",
        examples: &[
            (Stage::FinalDot, "552 5.7.0 This message was blocked because its content presents a potential security issue. https://support.google.com/mail/?p=BlockedMessage"),
            (Stage::FinalDot, "552 5.7.0 Our system detected an illegal attachment on your message."),
        ] },
    Row { stages: FINAL_DOT, codes: &[550], enhanced: &["5.7.1"], text: &["unsolicited", "low reputation", "suspicious"],
        meaning: "Gmail takes the message for spam", verdict: SPAM, source: "docs/gmail.md section 3.6",
        examples: &[
            (Stage::FinalDot, "550 5.7.1 Our system has detected that this message is likely unsolicited mail. https://support.google.com/mail/?p=UnsolicitedMessageError"),
            (Stage::FinalDot, "550 5.7.1 Our system has detected that this message is likely suspicious due to the very low reputation of the sending domain."),
        ] },
    Row { stages: FINAL_DOT, codes: &[550], enhanced: &["5.7.1"], text: &["rfcmessagenoncompliant", "from: header", "message-id", "encoded-word", "unicode", "rfc 5322"],
        meaning: "a header field breaks the rules", verdict: MALFORMED, source: "docs/gmail.md section 3.6",
        examples: &[
            (Stage::FinalDot, "550 5.7.1 Messages missing a valid address in From: header, or having no From: header, are not accepted. https://support.google.com/mail/?p=RfcMessageNonCompliant"),
            (Stage::FinalDot, "550 5.7.1 Messages with multiple addresses in From: header are not accepted."),
            (Stage::FinalDot, "550 5.7.1 Messages missing a valid Message-ID: header are not accepted."),
            (Stage::FinalDot, "550 5.7.1 This message is not RFC 5322 compliant. There are multiple Subject headers."),
            (Stage::FinalDot, "550 5.7.1 Encoded-word syntax is not permitted in message header <From>."),
            (Stage::FinalDot, "550 5.7.1 Unicode characters are present in disallowed header <Date>."),
        ] },
    Row { stages: TRANSACTION, codes: &[550], enhanced: &["5.7.23", "5.7.24", "5.7.25", "5.7.26", "5.7.27", "5.7.29", "5.7.30", "5.7.31", "5.7.32", "5.7.40"], text: &[],
        meaning: "a rule for mail from strangers failed (a receiving server's words)", verdict: FAILED.hint(remedies::AN_MX), source: "docs/gmail.md section 3.6",
        examples: &[
            (Stage::FinalDot, "550 5.7.26 This message does not have authentication information or fails to pass authentication checks."),
            (Stage::FinalDot, "550 5.7.25 The IP address sending this message does not have a PTR record setup."),
            (Stage::FinalDot, "550 5.7.23 The IP address sending this message has no PTR record, or its forward DNS entry does not match."),
            (Stage::FinalDot, "550 5.7.31 The sending domain does not have a DMARC policy in place."),
            (Stage::FinalDot, "550 5.7.40 The sending domain has no DMARC record, or the record has no policy."),
        ] },
    Row { stages: TRANSACTION, codes: &[421, 450, 451], enhanced: &["4.7.23", "4.7.24", "4.7.25", "4.7.26", "4.7.27", "4.7.29", "4.7.30", "4.7.31", "4.7.32", "4.7.40"], text: &[],
        meaning: "a rule for mail from strangers failed for now (a receiving server's words)", verdict: LATER.hint(remedies::AN_MX), source: "docs/gmail.md section 3.6",
        examples: &[
            (Stage::FinalDot, "421 4.7.26 This mail has been rate limited because it is unauthenticated."),
            (Stage::FinalDot, "451 4.7.24 The SPF record of the sending domain has one or more suspicious entries."),
            (Stage::FinalDot, "421 4.7.40 The sending domain has no DMARC record, or the record has no policy."),
            (Stage::FinalDot, "421 4.7.32 Your email has been rate limited because the From: header isn't aligned."),
        ] },
    Row { stages: FINAL_DOT, codes: &[421], enhanced: &["4.7.0"], text: &["suspicious"],
        meaning: "the content or its links look suspicious", verdict: SUSPICIOUS, source: "docs/gmail.md section 3.6",
        examples: &[(Stage::FinalDot, "421 4.7.0 This message is suspicious due to the nature of the content or the links within. To best protect our users from spam, the message has been blocked.")] },
    Row { stages: FINAL_DOT, codes: &[451], enhanced: &["4.3.0"], text: &[],
        meaning: "Gmail refuses the message for now", verdict: LATER, source: "docs/gmail.md section 3.6",
        examples: &[(Stage::FinalDot, "451 4.3.0 Mail server temporarily rejected message.")] },
    Row { stages: FINAL_DOT, codes: &[451], enhanced: &["4.5.0"], text: &[],
        meaning: "line ends or the end of the message were wrong", verdict: ONCE_MORE, source: "docs/gmail.md section 3.6",
        examples: &[(Stage::FinalDot, "451 4.5.0 SMTP protocol violation, visit https://support.google.com/a/answer/3221692 and review RFC 5321 specifications.")] },
    Row { stages: FINAL_DOT, codes: &[554], enhanced: &["5.4.6", "5.6.0"], text: &["hops", "mailloop", "mail loop"],
        meaning: "the message goes round in circles", verdict: FAILED.hint(remedies::LOOP), source: "docs/gmail.md section 3.6",
        examples: &[
            (Stage::FinalDot, "554 5.4.6 Message exceeded 50 hops, this may indicate a mail loop. https://support.google.com/mail/?p=MailLoop"),
            (Stage::FinalDot, "554 5.6.0 Message exceeded 50 hops, this may indicate a mail loop."),
        ] },
    Row { stages: FINAL_DOT, codes: &[554], enhanced: &["5.6.0"], text: &[],
        meaning: "the message is malformed", verdict: MALFORMED, source: "docs/gmail.md section 3.6",
        examples: &[(Stage::FinalDot, "554 5.6.0 Mail message is malformed. Not accepted.")] },
];
