//! Replies of services for programs that send: what they say of the account's day, its rate and its senders.

use super::remedies;
use crate::{
    delivery::{
        answer::Stage,
        reply_row::{AUTH, CONTENT, FINAL_DOT, OPENING, Row, TRANSACTION},
        verdict::{Action, Scope, Verdict},
    },
    queue::state::AccountCondition::{
        BackingOff, PausedConfiguration, PausedCredentials, PausedQuota,
    },
};

const QUOTA: Verdict = Verdict::pause(PausedQuota, remedies::QUOTA).certain();
const RATE: Verdict = Verdict::pause(BackingOff, remedies::RATE);
const SENDER: Verdict = Verdict::pause(PausedConfiguration, remedies::SENDER);
const SES_CODES: &str =
    "https://docs.aws.amazon.com/ses/latest/DeveloperGuide/smtp-response-codes.html";
const SENDGRID_CODES: &str =
    "https://sendgrid.com/docs/for-developers/sending-email/smtp-errors-and-troubleshooting/";

#[rustfmt::skip]
pub(super) const SES: &[Row] = &[
    Row { stages: TRANSACTION, codes: &[454], enhanced: &[], text: &["daily message quota exceeded"],
        meaning: "the account's daily limit is reached", verdict: QUOTA, source: SES_CODES,
        examples: &[(Stage::FinalDot, "454 Throttling failure: Daily message quota exceeded.")] },
    Row { stages: TRANSACTION, codes: &[454], enhanced: &[], text: &["maximum sending rate exceeded"],
        meaning: "mail comes faster than the account may send", verdict: RATE, source: "https://github.com/hackclub/hackathons-backend/issues/543, https://github.com/knadh/listmonk/issues/2273",
        examples: &[
            (Stage::FinalDot, "454 Throttling failure: Maximum sending rate exceeded."),
            (Stage::Data, "454 Throttling failure: Maximum sending rate exceeded."),
        ] },
    Row { stages: CONTENT, codes: &[554], enhanced: &[], text: &["is not verified"],
        meaning: "the sender, or in the sandbox a recipient, is not verified", verdict: SENDER, source: "https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html",
        examples: &[(Stage::FinalDot, "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: root@host.example")] },
    Row { stages: CONTENT, codes: &[554], enhanced: &[], text: &["sending paused for this account"],
        meaning: "Amazon has paused the account", verdict: Verdict::pause(PausedCredentials, remedies::DISABLED), source: "https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html",
        examples: &[(Stage::FinalDot, "554 Message rejected: Sending paused for this account.")] },
    Row { stages: OPENING, codes: &[421], enhanced: &[], text: &["too many concurrent"],
        meaning: "there are too many connections at a time", verdict: RATE, source: SES_CODES,
        examples: &[(Stage::Greeting, "421 Too many concurrent SMTP connections")] },
    Row { stages: FINAL_DOT, codes: &[552, 554], enhanced: &[], text: &["message is too long"],
        meaning: "the message is larger than SES takes", verdict: Verdict::new(Scope::Message, Action::GiveUp).hint(remedies::TOO_LARGE), source: SES_CODES,
        examples: &[(Stage::FinalDot, "552 Message is too long.")] },
];

#[rustfmt::skip]
pub(super) const MAILGUN: &[Row] = &[
    Row { stages: CONTENT, codes: &[421, 550, 554], enhanced: &[], text: &["for test purposes only", "is not allowed to send"],
        meaning: "the domain may send to authorised recipients only", verdict: Verdict::pause(PausedConfiguration, remedies::TEST_ACCOUNT), source: "https://github.com/swapmyvote/swapmyvote/issues/891, https://github.com/swapmyvote/swapmyvote/issues/182",
        examples: &[
            (Stage::Data, "421 Domain a.mailgun.org is not allowed to send: Sandbox subdomains are for test purposes only. Please add your own domain or add the address to authorized recipients in Account Settings."),
            (Stage::Data, "554 Sandbox subdomains are for test purposes only. Please add your own domain or add the address to authorized recipients in Account Settings."),
        ] },
];

#[rustfmt::skip]
pub(super) const SENDGRID: &[Row] = &[
    Row { stages: TRANSACTION, codes: &[403, 550], enhanced: &[], text: &["not authorized to send from"],
        meaning: "the sender is no verified identity", verdict: SENDER, source: SENDGRID_CODES,
        examples: &[(Stage::Mail, "403 You are not authorized to send from that email address")] },
    Row { stages: AUTH, codes: &[451], enhanced: &[], text: &["maximum credits exceeded"],
        meaning: "the account's plan is used up", verdict: QUOTA, source: "https://experienceleague.adobe.com (\"Emails not sent when SendGrid credits exceeded on Adobe Commerce\")",
        examples: &[(Stage::Auth, "451 Authentication failed: Maximum credits exceeded")] },
    Row { stages: TRANSACTION, codes: &[450], enhanced: &[], text: &["too frequent connects"],
        meaning: "connections come too often", verdict: RATE, source: SENDGRID_CODES,
        examples: &[(Stage::Mail, "450 too frequent connects from 192.0.2.1, please try again later.")] },
];
