//! The meaning of codes at any server: RFC 5321 and the registry of enhanced codes (RFC 3463, 4954, 5248).
//!
//! Rule: only what a code says by itself, because the prose is anybody's. Whatever may be about the account or its configuration
//! is no message's fault: others are tried, and the account waits only until one is accepted.

use std::time::Duration;

use super::remedies;
use crate::{
    delivery::{
        answer::Stage,
        reply_row::{ANYWHERE, AUTH, CONTENT, FINAL_DOT, MAIL, OPENING, RCPT, Row, TRANSACTION},
        verdict::{Action, Growth, Scope, Verdict, Waits},
    },
    queue::state::AccountCondition::{BackingOff, PausedConfiguration, PausedCredentials},
};

const BUSY: Verdict = Verdict::pause(BackingOff, remedies::BUSY);
const MECHANISM: Verdict = Verdict::pause(PausedConfiguration, remedies::MECHANISM);
const RECIPIENT: Verdict = Verdict::new(Scope::Recipient, Action::GiveUp);
const MESSAGE: Verdict = Verdict::new(Scope::Message, Action::GiveUp);
/// A mailbox is emptied again, or not.
const A_DAY: Verdict = Verdict::new(
    Scope::Recipient,
    Action::Retry(Waits {
        growth: Growth::FromAnHour,
        attempts_max: None,
        lifetime: Some(Duration::from_secs(24 * 3_600)),
    }),
);
const LATER: Verdict = Verdict::new(Scope::Recipient, Action::Retry(Waits::USUAL));

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    // The dialogue.
    Row { stages: ANYWHERE, codes: &[530], enhanced: &[], text: &["starttls"],
        meaning: "TLS was expected and not begun", verdict: Verdict::pause(PausedConfiguration, remedies::MODE), source: "RFC 3207",
        examples: &[(Stage::Mail, "530 5.7.0 Must issue a STARTTLS command first")] },
    Row { stages: ANYWHERE, codes: &[538], enhanced: &[], text: &[],
        meaning: "the mechanism wants TLS", verdict: Verdict::pause(PausedConfiguration, remedies::MODE), source: "RFC 4954",
        examples: &[(Stage::Auth, "538 5.7.11 Encryption required for requested authentication mechanism")] },
    Row { stages: ANYWHERE, codes: &[502, 503], enhanced: &["5.5.1", ""], text: &[],
        meaning: "a command came in the wrong order, or is unknown", verdict: Verdict::reconnect(PausedConfiguration).hint(remedies::DIALOGUE), source: "RFC 5321",
        examples: &[
            (Stage::Mail, "503 5.5.1 Error: send HELO/EHLO first"),
            (Stage::Ehlo, "502 5.5.1 Error: command not implemented"),
            (Stage::Rcpt, "503 Bad sequence of commands"),
        ] },
    Row { stages: OPENING, codes: &[421], enhanced: &[], text: &[],
        meaning: "the server is busy, or shutting down", verdict: BUSY, source: "RFC 5321",
        examples: &[
            (Stage::Greeting, "421 4.3.2 Service not available, closing transmission channel"),
            (Stage::Ehlo, "421 4.7.0 Error: too many connections"),
        ] },
    // The login.
    Row { stages: AUTH, codes: &[535], enhanced: &["5.7.8", "5.7.1", "5.7.0", "5.7.3", ""], text: &[],
        meaning: "user name or password are wrong", verdict: Verdict::pause(PausedCredentials, remedies::CREDENTIALS), source: "RFC 4954",
        examples: &[
            (Stage::Auth, "535 5.7.8 Authentication credentials invalid"),
            (Stage::Auth, "535 5.7.8 Error: authentication failed: authentication failure"),
            (Stage::Auth, "535 Authentication failed"),
        ] },
    Row { stages: AUTH, codes: &[534], enhanced: &["5.7.9"], text: &[],
        meaning: "the mechanism is too weak", verdict: MECHANISM, source: "RFC 4954",
        examples: &[(Stage::Auth, "534 5.7.9 Authentication mechanism is too weak")] },
    Row { stages: AUTH, codes: &[432], enhanced: &["4.7.12"], text: &[],
        meaning: "the password must be changed first", verdict: Verdict::pause(PausedCredentials, remedies::NEW_PASSWORD), source: "RFC 4954",
        examples: &[(Stage::Auth, "432 4.7.12 A password transition is needed")] },
    Row { stages: AUTH, codes: &[454], enhanced: &["4.7.0", ""], text: &[],
        meaning: "logins do not work there just now", verdict: BUSY, source: "RFC 4954",
        examples: &[(Stage::Auth, "454 4.7.0 Temporary authentication failure")] },
    Row { stages: AUTH, codes: &[501, 504], enhanced: &["5.5.2", "5.5.4", "5.7.4", ""], text: &[],
        meaning: "the mechanism is refused", verdict: MECHANISM, source: "RFC 4954",
        examples: &[
            (Stage::Auth, "504 5.5.4 Unrecognized authentication type"),
            (Stage::Auth, "501 5.5.2 Cannot decode the response"),
        ] },
    Row { stages: ANYWHERE, codes: &[], enhanced: &["5.7.13"], text: &[],
        meaning: "the account is disabled", verdict: Verdict::pause(PausedCredentials, remedies::DISABLED), source: "RFC 5248",
        examples: &[(Stage::Auth, "525 5.7.13 User account disabled")] },
    Row { stages: TRANSACTION, codes: &[530], enhanced: &[], text: &[],
        meaning: "a login is wanted", verdict: Verdict::reconnect(PausedCredentials).hint(remedies::LOGIN_WANTED), source: "RFC 4954",
        examples: &[
            (Stage::Mail, "530 5.7.0 Authentication required"),
            (Stage::Rcpt, "530 Authentication required"),
        ] },
    // What the account may do.
    Row { stages: TRANSACTION, codes: &[550, 551, 553, 554], enhanced: &[], text: &["relay access denied", "relaying denied", "relay not permitted", "unable to relay"],
        meaning: "the server does not relay for this login", verdict: Verdict::pause(PausedConfiguration, remedies::RELAYING), source: "RFC 3463 section 3.8",
        examples: &[
            (Stage::Rcpt, "554 5.7.1 <a@example.net>: Relay access denied"),
            (Stage::Rcpt, "550 5.7.1 Unable to relay"),
            (Stage::Rcpt, "550 5.7.1 Relaying denied"),
            (Stage::Rcpt, "550 relay not permitted"),
        ] },
    Row { stages: TRANSACTION, codes: &[550, 553, 554], enhanced: &[], text: &["not owned by user"],
        meaning: "the login does not own the sender's address", verdict: Verdict::pause(PausedConfiguration, remedies::SENDER), source: "RFC 3463 section 3.8",
        examples: &[(Stage::Rcpt, "553 5.7.1 <a@host.example>: Sender address rejected: not owned by user me@example.net")] },
    Row { stages: TRANSACTION, codes: &[], enhanced: &["5.1.7", "5.1.8"], text: &[],
        meaning: "the sender's address is refused", verdict: Verdict::pause(PausedConfiguration, remedies::SENDER), source: "RFC 3463 section 3.2",
        examples: &[
            (Stage::Mail, "501 5.1.7 Bad sender address syntax"),
            (Stage::Rcpt, "550 5.1.8 <a@host.invalid>: Sender address rejected: Domain not found"),
        ] },
    Row { stages: CONTENT, codes: &[431, 452], enhanced: &["4.3.1"], text: &[],
        meaning: "the server's disk is full", verdict: BUSY, source: "RFC 3463 section 3.4",
        examples: &[(Stage::Mail, "452 4.3.1 Insufficient system storage")] },
    Row { stages: MAIL, codes: &[555], enhanced: &["5.5.4", ""], text: &[],
        meaning: "a parameter of MAIL is not understood", verdict: Verdict::new(Scope::Message, Action::WithoutParameters), source: "RFC 5321",
        examples: &[(Stage::Mail, "555 5.5.4 MAIL FROM parameters not recognized or not implemented")] },
    // One recipient.
    Row { stages: RCPT, codes: &[], enhanced: &["5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.1.6", "5.1.10"], text: &[],
        meaning: "there is no such recipient", verdict: RECIPIENT.hint(remedies::ADDRESS), source: "RFC 3463 section 3.2, RFC 7505",
        examples: &[
            (Stage::Rcpt, "550 5.1.1 <a@example.net>: Recipient address rejected: User unknown"),
            (Stage::Rcpt, "550 5.1.2 Bad destination system address"),
            (Stage::Rcpt, "501 5.1.3 Bad recipient address syntax"),
            (Stage::Rcpt, "556 5.1.10 Recipient address has null MX"),
        ] },
    Row { stages: RCPT, codes: &[], enhanced: &["5.2.2"], text: &[],
        meaning: "the recipient's mailbox is full, in spite of the code", verdict: A_DAY, source: "RFC 3463 section 3.3",
        examples: &[(Stage::Rcpt, "552 5.2.2 Mailbox full")] },
    Row { stages: RCPT, codes: &[], enhanced: &["4.2.2"], text: &[],
        meaning: "the recipient's mailbox is full", verdict: LATER, source: "RFC 3463 section 3.3",
        examples: &[(Stage::Rcpt, "452 4.2.2 Mailbox full")] },
    Row { stages: RCPT, codes: &[451, 452, 550, 552], enhanced: &["4.5.3", "5.5.3"], text: &[],
        meaning: "the transaction is full", verdict: Verdict::new(Scope::Recipient, Action::Split), source: "RFC 5321 section 4.5.3.1.10",
        examples: &[
            (Stage::Rcpt, "452 4.5.3 Error: too many recipients"),
            (Stage::Rcpt, "550 5.5.3 Too many recipients"),
        ] },
    // The message.
    Row { stages: CONTENT, codes: &[552, 554], enhanced: &["5.3.4", "5.2.3"], text: &[],
        meaning: "the message is too large", verdict: MESSAGE.hint(remedies::TOO_LARGE), source: "RFC 3463 section 3.4, RFC 1870",
        examples: &[
            (Stage::Mail, "552 5.3.4 Message size exceeds fixed limit"),
            (Stage::FinalDot, "552 5.2.3 Message length exceeds administrative limit"),
        ] },
    Row { stages: FINAL_DOT, codes: &[550, 554], enhanced: &["5.4.6"], text: &[],
        meaning: "the message goes round in circles", verdict: MESSAGE.hint(remedies::LOOP), source: "RFC 3463 section 3.5",
        examples: &[(Stage::FinalDot, "554 5.4.6 Error: too many hops")] },
    Row { stages: FINAL_DOT, codes: &[550, 554], enhanced: &["5.6.0", "5.6.1", "5.6.2", "5.6.3"], text: &[],
        meaning: "the content's form is refused", verdict: MESSAGE.hint(remedies::MALFORMED), source: "RFC 3463 section 3.7",
        examples: &[(Stage::FinalDot, "554 5.6.0 Message content is malformed")] },
];
