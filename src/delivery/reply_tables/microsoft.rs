//! Replies of Exchange Online and Outlook.com to clients that log in.
//!
//! Rule: what is said of the account or of its organisation stops the account and costs no message anything.

use super::remedies;
use crate::{
    delivery::{
        answer::Stage,
        reply_row::{ANYWHERE, AUTH, Row, TRANSACTION},
        verdict::Verdict,
    },
    queue::state::AccountCondition::{
        BackingOff, PausedConfiguration, PausedCredentials, PausedQuota,
    },
};

const QUOTA: Verdict = Verdict::pause(PausedQuota, remedies::QUOTA).certain();
const DISABLED: Verdict = Verdict::pause(PausedCredentials, remedies::DISABLED);
const SUBMISSION: &str = "https://learn.microsoft.com/en-us/exchange/troubleshoot/send-emails/smtp-submission-improvements";

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row { stages: AUTH, codes: &[535], enhanced: &["5.7.139"], text: &["smtpclientauthentication is disabled"],
        meaning: "SMTP AUTH is switched off for the mailbox or the organisation", verdict: Verdict::pause(PausedConfiguration, remedies::SMTP_AUTH), source: "https://github.com/nodemailer/nodemailer/issues/1484",
        examples: &[(Stage::Auth, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.")] },
    Row { stages: AUTH, codes: &[535], enhanced: &["5.7.139"], text: &["basic authentication is disabled"],
        meaning: "passwords are switched off", verdict: Verdict::pause(PausedConfiguration, remedies::BASIC_AUTH), source: "https://github.com/nodemailer/nodemailer/issues/1714",
        examples: &[(Stage::Auth, "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.")] },
    // Not a message's fault, although it comes with the code of one: what DKIM is at Gmail is the login here.
    Row { stages: ANYWHERE, codes: &[550], enhanced: &["5.7.30"], text: &[],
        meaning: "passwords are not taken any more", verdict: Verdict::pause(PausedConfiguration, remedies::BASIC_AUTH).certain(), source: "https://www.captaindns.com/en/blog/microsoft-exchange-basic-auth-smtp-end",
        examples: &[
            (Stage::Auth, "550 5.7.30 Basic authentication is not supported for Client Submission."),
            (Stage::Mail, "550 5.7.30 Basic authentication is not supported for Client Submission."),
            (Stage::FinalDot, "550 5.7.30 Basic authentication is not supported for Client Submission."),
        ] },
    Row { stages: AUTH, codes: &[535], enhanced: &["5.7.139"], text: &[],
        meaning: "the sign-in is refused", verdict: Verdict::pause(PausedCredentials, remedies::SIGN_IN), source: "https://learn.microsoft.com/en-us/exchange/clients-and-mobile-in-exchange-online/authenticated-client-smtp-submission",
        examples: &[(Stage::Auth, "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.")] },
    Row { stages: AUTH, codes: &[535], enhanced: &["5.7.3"], text: &[],
        meaning: "user name or password are wrong, or SMTP AUTH is switched off", verdict: Verdict::pause(PausedCredentials, remedies::SIGN_IN), source: "https://github.com/jstedfast/MailKit/issues/700",
        examples: &[(Stage::Auth, "535 5.7.3 Authentication unsuccessful")] },
    Row { stages: TRANSACTION, codes: &[530, 550], enhanced: &["5.7.57"], text: &[],
        meaning: "nobody has logged in", verdict: Verdict::reconnect(PausedCredentials).hint(remedies::LOGIN_WANTED), source: "https://www.easy365manager.com/office-365-ndr-error-codes/",
        examples: &[(Stage::Mail, "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM")] },
    Row { stages: TRANSACTION, codes: &[550, 554], enhanced: &["5.2.252", "5.2.0", "5.7.60"], text: &["sendasdenied", "send as this sender"],
        meaning: "the account may not send as that address", verdict: Verdict::pause(PausedConfiguration, remedies::SENDER), source: "https://github.com/gophish/gophish/issues/2900, https://github.com/swiftmailer/swiftmailer/issues/1030",
        examples: &[
            (Stage::FinalDot, "554 5.2.252 SendAsDenied; me@example.com not allowed to send as root@host.example; STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a permanent exception"),
            (Stage::FinalDot, "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a permanent exception with message Cannot submit message."),
            (Stage::FinalDot, "550 5.7.60 SMTP; Client does not have permissions to send as this sender"),
        ] },
    Row { stages: TRANSACTION, codes: &[554], enhanced: &["5.2.0"], text: &["submissionquotaexceeded"],
        meaning: "the mailbox's daily limit is reached", verdict: QUOTA, source: SUBMISSION,
        examples: &[(Stage::FinalDot, "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException")] },
    Row { stages: TRANSACTION, codes: &[550], enhanced: &["5.7.232", "5.7.233"], text: &[],
        meaning: "the organisation's daily limit is reached", verdict: QUOTA, source: "https://learn.microsoft.com/en-us/answers/questions/5835651/email-cant-be-sent-because-tenant-has-exceeded-its",
        examples: &[(Stage::FinalDot, "550 5.7.233 Your message can't be sent because your tenant has exceeded its daily limit for sending email to external recipients")] },
    Row { stages: ANYWHERE, codes: &[421, 432], enhanced: &["4.3.2"], text: &["concurrent connection", "thread limit"],
        meaning: "there are too many connections at a time", verdict: Verdict::pause(BackingOff, remedies::RATE), source: SUBMISSION,
        examples: &[
            (Stage::Auth, "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information."),
            (Stage::FinalDot, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded"),
        ] },
    Row { stages: TRANSACTION, codes: &[554], enhanced: &["5.2.2"], text: &["storedrv.submission"],
        meaning: "the account's own mailbox is full", verdict: Verdict::pause(PausedConfiguration, remedies::FULL_MAILBOX), source: SUBMISSION,
        examples: &[(Stage::FinalDot, "554 5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded")] },
    Row { stages: TRANSACTION, codes: &[554], enhanced: &["5.2.0"], text: &["outboundspamexception"],
        meaning: "Microsoft does not trust the account", verdict: DISABLED, source: "https://github.com/Youans/nodejs-nodemailer-outlook/issues/11, https://github.com/DesertsP/Valine-Admin/issues/26",
        examples: &[(Stage::FinalDot, "554 5.2.0 STOREDRV.Submission.Exception:OutboundSpamException; Failed to process message due to a permanent exception with message WASCL UserAction verdict is not None. Actual verdict is RefuseQuota, ShowTierUpgrade.")] },
    Row { stages: TRANSACTION, codes: &[550], enhanced: &["5.1.8"], text: &["bad outbound sender"],
        meaning: "the account is blocked because it is suspected of spam", verdict: DISABLED, source: "https://support.uidaho.edu/TDClient/40/Portal/KB/ArticleDet?ID=2233",
        examples: &[(Stage::FinalDot, "550 5.1.8 Access denied, bad outbound sender AS(42004)")] },
    Row { stages: TRANSACTION, codes: &[550], enhanced: &["5.7.705", "5.7.708", "5.7.750"], text: &[],
        meaning: "the organisation is blocked", verdict: DISABLED, source: "https://learn.microsoft.com/en-us/exchange/troubleshoot/email-delivery/ndr/fix-error-code-5-7-700-through-5-7-750",
        examples: &[
            (Stage::FinalDot, "550 5.7.705 Access denied, tenant has exceeded threshold."),
            (Stage::FinalDot, "550 5.7.708 Access denied, traffic not accepted from this IP."),
        ] },
];
