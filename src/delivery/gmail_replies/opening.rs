//! Replies about the account's day at any stage, and those to the greeting, EHLO and STARTTLS
//! (docs/gmail.md section 3.2).
//!
//! Rule: before MAIL nothing can be a message's fault. Must not know what is done with a verdict.

use super::remedies;
use crate::{
    delivery::{
        answer::Stage,
        reply_row::{ANYWHERE, OPENING, Row, TRANSACTION},
        verdict::{Action, Scope, Verdict, Waits},
    },
    queue::state::AccountCondition::{BackingOff, PausedConfiguration, PausedQuota},
};

const QUOTA: Verdict = Verdict::pause(PausedQuota, remedies::QUOTA).certain();
const BUSY: Verdict = Verdict::pause(BackingOff, remedies::BUSY);
const SLIP: Verdict = Verdict::reconnect(PausedConfiguration).hint(remedies::DIALOGUE);
const LATER: Verdict =
    Verdict::new(Scope::Message, Action::Retry(Waits::USUAL)).hint(remedies::AN_MX);

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    // The account's day, at any stage (seen at DATA, in place of 354).
    Row { stages: ANYWHERE, codes: &[], enhanced: &["5.4.5"], text: &[],
        meaning: "the account's daily limit is reached", verdict: QUOTA, source: "docs/gmail.md section 3.4",
        examples: &[
            (Stage::Data, "550 5.4.5 Daily user sending limit exceeded. For more information on Gmail sending limits go to https://support.google.com/a/answer/166852"),
            (Stage::Mail, "550 5.4.5 Daily user sending quota exceeded."),
            (Stage::Rcpt, "550 5.4.5 Daily SMTP relay limit exceeded for customer. For more information on SMTP relay sending limits please contact your administrator or visit https://support.google.com/a/answer/6140680"),
            (Stage::FinalDot, "550 5.4.5 Daily user sending limit exceeded."),
        ] },
    // Anywhere: the dialogue.
    Row { stages: ANYWHERE, codes: &[530], enhanced: &["5.7.0"], text: &["starttls"],
        meaning: "TLS was expected and not begun", verdict: Verdict::pause(PausedConfiguration, remedies::MODE), source: "docs/gmail.md section 3.2",
        examples: &[(Stage::Mail, "530 5.7.0 Must issue a STARTTLS command first. For more information, go to https://support.google.com/a/answer/3221692 and review RFC 3207 specifications.")] },
    Row { stages: ANYWHERE, codes: &[538], enhanced: &[], text: &[],
        meaning: "the mechanism wants TLS", verdict: Verdict::pause(PausedConfiguration, remedies::MODE), source: "docs/gmail.md section 3.2",
        examples: &[(Stage::Auth, "538 5.7.11 Encryption required for requested authentication mechanism")] },
    Row { stages: ANYWHERE, codes: &[501], enhanced: &["5.7.11"], text: &[],
        meaning: "a command is not understood", verdict: SLIP, source: "docs/gmail.md section 3.2",
        examples: &[(Stage::Ehlo, "501 5.7.11 Syntax error (Mechanism must be specified).")] },
    Row { stages: ANYWHERE, codes: &[502, 503], enhanced: &["5.5.1"], text: &[],
        meaning: "a command came in the wrong order, or is unknown", verdict: SLIP, source: "docs/gmail.md section 3.2",
        examples: &[
            (Stage::Mail, "503 5.5.1 EHLO/HELO first. For more information, go to https://support.google.com/a/answer/3221692 and review RFC 5321 specifications."),
            (Stage::Starttls, "503 5.5.1 Bad sequence of commands."),
            (Stage::Data, "503 5.5.1 RCPT first."),
            (Stage::Rcpt, "503 5.5.1 MAIL first."),
            (Stage::FinalDot, "503 5.5.1 No DATA after BDAT."),
            (Stage::Ehlo, "502 5.5.1 Unrecognized command."),
            (Stage::Mail, "502 5.5.1 Unimplemented command."),
            (Stage::Mail, "502 5.5.1 Too many unrecognized commands, goodbye."),
        ] },
    Row { stages: ANYWHERE, codes: &[554], enhanced: &["5.7.0"], text: &["unauthenticated commands"],
        meaning: "too many commands before a login", verdict: SLIP, source: "docs/gmail.md section 3.2",
        examples: &[(Stage::Mail, "554 5.7.0 Too many unauthenticated commands.")] },
    Row { stages: OPENING, codes: &[501, 555], enhanced: &["5.5.2"], text: &[],
        meaning: "EHLO or STARTTLS is not understood", verdict: SLIP, source: "docs/gmail.md section 3.2",
        examples: &[
            (Stage::Ehlo, "555 5.5.2 Syntax error, goodbye."),
            (Stage::Starttls, "501 5.5.2 Syntax error, cannot decode response."),
        ] },
    // The opening itself.
    Row { stages: OPENING, codes: &[421], enhanced: &["4.7.0"], text: &["(ehlo)"],
        meaning: "the EHLO name is not acceptable, or this address is throttled", verdict: Verdict::pause(BackingOff, remedies::EHLO_NAME), source: "docs/gmail.md section 3.2",
        examples: &[(Stage::Ehlo, "421 4.7.0 Try again later, closing connection. (EHLO)")] },
    Row { stages: OPENING, codes: &[421], enhanced: &["4.7.0"], text: &["try again later, closing"],
        meaning: "Gmail guards itself against many connections", verdict: BUSY, source: "docs/gmail.md section 3.2",
        examples: &[(Stage::Greeting, "421 4.7.0 Try again later, closing connection.")] },
    Row { stages: OPENING, codes: &[421], enhanced: &["4.4.5", "4.3.0", "4.7.0"], text: &[],
        meaning: "Gmail is busy, or there are too many connections", verdict: BUSY, source: "docs/gmail.md section 3.2",
        examples: &[
            (Stage::Greeting, "421 4.4.5 Server busy, try again later."),
            (Stage::Greeting, "421 4.3.0 Temporary System Problem. Try again later (10)."),
            (Stage::Ehlo, "421 4.7.0 Temporary System Problem. Try again later (WS)."),
        ] },
    Row { stages: OPENING, codes: &[501], enhanced: &["5.5.4"], text: &[],
        meaning: "the EHLO name is refused", verdict: Verdict::pause(PausedConfiguration, remedies::EHLO_REFUSED), source: "docs/gmail.md section 3.2",
        examples: &[
            (Stage::Ehlo, "501 5.5.4 HELO/EHLO argument \"x_y\" invalid, closing connection. For more information, go to https://support.google.com/mail/?p=helo"),
            (Stage::Ehlo, "501 5.5.4 Empty HELO/EHLO argument not allowed, closing connection."),
        ] },
    Row { stages: OPENING, codes: &[454, 523, 525], enhanced: &["4.5.0", "5.7.10", "5.5.1"], text: &[],
        meaning: "the step to TLS went wrong", verdict: Verdict::pause(PausedConfiguration, remedies::STARTTLS), source: "docs/gmail.md section 3.2",
        examples: &[
            (Stage::Starttls, "454 5.5.1 STARTTLS may not be repeated."),
            (Stage::Starttls, "454 4.5.0 SMTP protocol violation, no commands allowed to pipeline after STARTTLS."),
            (Stage::Starttls, "523 5.7.10 SMTP protocol violation, no commands allowed to pipeline after STARTTLS."),
            (Stage::Starttls, "525 5.7.10 SMTP protocol violation, no commands allowed to pipeline after STARTTLS."),
        ] },
    Row { stages: TRANSACTION, codes: &[421], enhanced: &["4.7.0"], text: &["tls required for rcpt", "not in whitelist"],
        meaning: "the recipient's domain wants another way in (a receiving server's words)", verdict: LATER, source: "docs/gmail.md section 3.2",
        examples: &[
            (Stage::Rcpt, "421 4.7.0 TLS required for RCPT domain, closing connection."),
            (Stage::Rcpt, "421 4.7.0 IP not in whitelist for RCPT domain, closing connection."),
        ] },
];
