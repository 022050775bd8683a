//! Replies to MAIL, RCPT and DATA that concern the connection, the message or one recipient (docs/gmail.md
//! sections 3.4 and 3.5).
//!
//! Rule: one recipient's fate is never that of the others. Must not know what is done with a verdict.

use super::remedies;
use crate::{
    delivery::{
        answer::Stage,
        reply_row::{MAIL, RCPT, Row, TRANSACTION},
        verdict::{Action, Growth, Scope, Verdict, Waits},
    },
    queue::state::AccountCondition::{BackingOff, PausedConfiguration},
};

const RECONNECT: Verdict = Verdict::reconnect(BackingOff);
const FAILED: Verdict = Verdict::new(Scope::Recipient, Action::GiveUp);
const LATER: Verdict = Verdict::new(Scope::Recipient, Action::Retry(Waits::USUAL));
const HOURLY: Verdict =
    Verdict::new(Scope::Recipient, Action::Retry(Waits { growth: Growth::Hourly, ..Waits::USUAL }));
const SPLIT: Verdict = Verdict::new(Scope::Recipient, Action::Split);

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    // The connection.
    Row { stages: TRANSACTION, codes: &[421], enhanced: &["4.7.0"], text: &["connection expired", "session expired"],
        meaning: "the connection has grown old", verdict: RECONNECT, source: "docs/gmail.md section 3.4",
        examples: &[
            (Stage::Mail, "421 4.7.0 Connection expired, try reconnecting."),
            (Stage::Mail, "421 4.7.0 Session expired, please reauthenticate."),
        ] },
    Row { stages: TRANSACTION, codes: &[451], enhanced: &["4.4.2"], text: &[],
        meaning: "the connection was silent for too long", verdict: RECONNECT, source: "docs/gmail.md section 3.4",
        examples: &[(Stage::Mail, "451 4.4.2 Timeout - closing connection.")] },
    Row { stages: TRANSACTION, codes: &[421], enhanced: &["4.3.0", "4.4.5", "4.7.0"], text: &["temporary system problem", "server busy"],
        meaning: "Gmail is busy, or too much came at once", verdict: Verdict::pause(BackingOff, remedies::BUSY), source: "docs/gmail.md section 3.4",
        examples: &[
            (Stage::Data, "421 4.3.0 Temporary System Problem. Try again later (10)."),
            (Stage::Data, "421 4.7.0 Temporary System Problem. Try again later (WS)."),
            (Stage::Mail, "421 4.4.5 Server busy, try again later."),
        ] },
    Row { stages: &[Stage::Data], codes: &[501, 555], enhanced: &["5.5.2"], text: &[],
        meaning: "DATA is not understood", verdict: Verdict::reconnect(PausedConfiguration).hint(remedies::DIALOGUE), source: "docs/gmail.md section 3.2",
        examples: &[(Stage::Data, "555 5.5.2 Syntax error, goodbye.")] },
    // The sender.
    Row { stages: MAIL, codes: &[553], enhanced: &["5.1.7"], text: &[],
        meaning: "the sender's address is not valid", verdict: Verdict::new(Scope::Message, Action::GiveUp).hint(remedies::ADDRESS), source: "docs/gmail.md section 3.4",
        examples: &[(Stage::Mail, "553 5.1.7 The sender address <a b@c> is not a valid RFC 5321 address.")] },
    Row { stages: MAIL, codes: &[501, 555], enhanced: &["5.5.2", "5.5.4"], text: &[],
        meaning: "MAIL is not understood, perhaps because of a parameter", verdict: Verdict::new(Scope::Message, Action::WithoutParameters), source: "docs/gmail.md section 3.4",
        examples: &[
            (Stage::Mail, "555 5.5.2 Syntax error, cannot decode response."),
            (Stage::Mail, "501 5.5.4 Unsupported parameter."),
        ] },
    // One recipient, for good.
    Row { stages: RCPT, codes: &[501, 555], enhanced: &["5.5.2", "5.5.4"], text: &[],
        meaning: "the recipient's address is not understood", verdict: FAILED.hint(remedies::ADDRESS), source: "docs/gmail.md section 3.5",
        examples: &[(Stage::Rcpt, "555 5.5.2 Syntax error, cannot decode response.")] },
    Row { stages: RCPT, codes: &[553], enhanced: &["5.1.3"], text: &[],
        meaning: "the recipient's address is not valid", verdict: FAILED.hint(remedies::ADDRESS), source: "docs/gmail.md section 3.5",
        examples: &[(Stage::Rcpt, "553 5.1.3 The recipient address <a> is not a valid RFC 5321 address.")] },
    Row { stages: RCPT, codes: &[553], enhanced: &["5.1.2"], text: &[],
        meaning: "the recipient's domain does not exist", verdict: FAILED.hint(remedies::ADDRESS), source: "docs/gmail.md section 3.5",
        examples: &[(Stage::Rcpt, "553 5.1.2 We weren't able to find the recipient domain. Please check for any spelling errors.")] },
    Row { stages: RCPT, codes: &[550], enhanced: &["5.1.1"], text: &[],
        meaning: "there is no such recipient", verdict: FAILED.hint(remedies::ADDRESS), source: "docs/gmail.md section 3.5",
        examples: &[(Stage::Rcpt, "550 5.1.1 The email account that you tried to reach does not exist. https://support.google.com/mail/?p=NoSuchUser")] },
    Row { stages: RCPT, codes: &[550], enhanced: &["5.2.1"], text: &["receivingrateperm", "at a rate"],
        meaning: "the recipient gets too much mail just now, in spite of the code", verdict: HOURLY, source: "docs/gmail.md section 3.5",
        examples: &[(Stage::Rcpt, "550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered. https://support.google.com/mail/?p=ReceivingRatePerm")] },
    Row { stages: RCPT, codes: &[550], enhanced: &["5.2.1"], text: &[],
        meaning: "the recipient's account is disabled", verdict: FAILED, source: "docs/gmail.md section 3.5",
        examples: &[
            (Stage::Rcpt, "550 5.2.1 The email account that you tried to reach is disabled. https://support.google.com/mail/?p=DisabledUser"),
            (Stage::Rcpt, "550 5.2.1 The email account that you tried to reach is inactive."),
        ] },
    Row { stages: RCPT, codes: &[552], enhanced: &["5.2.2"], text: &[],
        meaning: "the recipient's mailbox is full and unused", verdict: FAILED, source: "docs/gmail.md section 3.5",
        examples: &[(Stage::Rcpt, "552 5.2.2 The recipient's inbox is out of storage space and inactive. https://support.google.com/mail/?p=OverQuotaPerm")] },
    Row { stages: RCPT, codes: &[550], enhanced: &["5.7.1"], text: &[],
        meaning: "a rule of the domain refuses it", verdict: FAILED.hint(remedies::RULE), source: "docs/gmail.md section 3.5",
        examples: &[(Stage::Rcpt, "550 5.7.1 The user or domain that you are sending to (or from) has a policy that prohibited the mail that you sent. - gcdp")] },
    // One recipient, for now.
    Row { stages: RCPT, codes: &[450], enhanced: &["4.2.1"], text: &[],
        meaning: "the recipient gets too much mail just now", verdict: LATER, source: "docs/gmail.md section 3.5",
        examples: &[
            (Stage::Rcpt, "450 4.2.1 The user you are trying to contact is receiving mail too quickly. Please resend your message at a later time."),
            (Stage::Rcpt, "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered."),
        ] },
    Row { stages: RCPT, codes: &[452], enhanced: &["4.2.2"], text: &[],
        meaning: "the recipient's mailbox is full", verdict: LATER, source: "docs/gmail.md section 3.5",
        examples: &[(Stage::Rcpt, "452 4.2.2 The recipient's inbox is out of storage space. https://support.google.com/mail/?p=OverQuotaTemp")] },
    Row { stages: RCPT, codes: &[452], enhanced: &["4.5.3"], text: &["domain policy size"],
        meaning: "the recipient wants a smaller transaction", verdict: SPLIT, source: "docs/gmail.md section 3.5",
        examples: &[(Stage::Rcpt, "452 4.5.3 Domain policy size per transaction exceeded, please try this recipient in a separate transaction.")] },
    Row { stages: RCPT, codes: &[452], enhanced: &["4.5.3"], text: &[],
        meaning: "the transaction is full", verdict: SPLIT, source: "docs/gmail.md section 3.5",
        examples: &[(Stage::Rcpt, "452 4.5.3 Your message has too many recipients. For more information regarding Google's sending limits, go to https://support.google.com/mail/?p=TooManyRecipientsError")] },
    Row { stages: RCPT, codes: &[451], enhanced: &["4.3.0"], text: &["multiple destination domains"],
        meaning: "only one domain fits in a transaction", verdict: Verdict::new(Scope::Recipient, Action::SplitByDomain), source: "docs/gmail.md section 3.5",
        examples: &[(Stage::Rcpt, "451 4.3.0 Multiple destination domains per transaction is unsupported. Please try again.")] },
];
