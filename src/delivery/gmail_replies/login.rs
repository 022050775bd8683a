//! Replies to AUTH, and those that say that the login or the account is what is wrong (docs/gmail.md
//! sections 3.3 and 3.4).
//!
//! Rule: each says in one sentence what to do and where. Must not know what is done with a verdict.

use super::remedies;
use crate::{
    delivery::{
        answer::Stage,
        reply_row::{AUTH, Row, TRANSACTION},
        verdict::Verdict,
    },
    queue::state::AccountCondition::{
        BackingOff, PausedConfiguration, PausedCredentials, PausedLogin, PausedQuota,
    },
};

const BUSY: Verdict = Verdict::pause(BackingOff, remedies::BUSY);
const BROWSER: Verdict = Verdict::pause(PausedCredentials, remedies::BROWSER);
const LOGINS: Verdict = Verdict::pause(PausedLogin, remedies::LOGINS);
const RELAY_RULE: Verdict = Verdict::pause(PausedConfiguration, remedies::RELAY_RULE);

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row { stages: AUTH, codes: &[534, 535], enhanced: &[], text: &["invalidsecondfactor", "application-specific"],
        meaning: "the account's own password was used where an app password is needed", verdict: Verdict::pause(PausedCredentials, remedies::APP_PASSWORD), source: "docs/gmail.md section 3.3",
        examples: &[
            (Stage::Auth, "534 5.7.9 Application-specific password required. For more information, go to https://support.google.com/mail/?p=InvalidSecondFactor"),
            (Stage::Auth, "535 5.7.1 Application-specific password required. Learn more at http://support.google.com/accounts/bin/answer.py?answer=185833"),
        ] },
    Row { stages: AUTH, codes: &[534, 535], enhanced: &[], text: &["web browser", "webloginrequired"],
        meaning: "Google blocked the sign-in as suspicious", verdict: BROWSER, source: "docs/gmail.md section 3.3",
        examples: &[
            (Stage::Auth, "534 5.7.9 Please log in with your web browser and then try again. For more information, go to https://support.google.com/mail/?p=WebLoginRequired"),
            (Stage::Auth, "534 5.7.14 <https://accounts.google.com/signin/continue?sarp=1> Please log in via your web browser and then try again."),
            (Stage::Auth, "535 5.7.1 Please log in through your web browser and then try again."),
        ] },
    Row { stages: AUTH, codes: &[534], enhanced: &["5.7.14"], text: &[],
        meaning: "Google wants the sign-in confirmed", verdict: BROWSER, source: "docs/gmail.md section 3.3",
        examples: &[(Stage::Auth, "534 5.7.14 <https://accounts.google.com/signin/continue?sarp=1&scc=1>")] },
    Row { stages: AUTH, codes: &[535], enhanced: &["5.7.8", "5.7.1", "5.7.9", ""], text: &[],
        meaning: "user name or app password are wrong, or the password was revoked", verdict: Verdict::pause(PausedCredentials, remedies::CREDENTIALS), source: "docs/gmail.md section 3.3",
        examples: &[
            (Stage::Auth, "535 5.7.8 Username and Password not accepted. For more information, go to https://support.google.com/mail/?p=BadCredentials"),
            (Stage::Auth, "535 5.7.1 Username and Password not accepted. Learn more at http://support.google.com/mail/bin/answer.py?answer=14257"),
        ] },
    Row { stages: AUTH, codes: &[501], enhanced: &["5.5.2"], text: &["cannot decode"],
        meaning: "the credential arrived broken", verdict: Verdict::pause(PausedCredentials, remedies::UNREADABLE_PASSWORD), source: "docs/gmail.md section 3.3",
        examples: &[(Stage::Auth, "501 5.5.2 Cannot Decode response")] },
    Row { stages: AUTH, codes: &[454], enhanced: &["4.7.0"], text: &["too many login"],
        meaning: "too many logins in a short time", verdict: LOGINS, source: "docs/gmail.md section 3.3",
        examples: &[(Stage::Auth, "454 4.7.0 Too many login attempts, please try again later. For more information, go to https://support.google.com/mail/answer/7126229")] },
    Row { stages: AUTH, codes: &[454], enhanced: &["4.7.0"], text: &[],
        meaning: "logins do not work at Gmail just now", verdict: BUSY, source: "docs/gmail.md section 3.3",
        examples: &[(Stage::Auth, "454 4.7.0 Cannot authenticate due to temporary system problem. Try again later.")] },
    Row { stages: AUTH, codes: &[421], enhanced: &[], text: &[],
        meaning: "logins from here are throttled", verdict: LOGINS, source: "docs/gmail.md section 3.3",
        examples: &[(Stage::Auth, "421 4.7.0 Try again later, closing connection.")] },
    Row { stages: AUTH, codes: &[501, 504, 535], enhanced: &["5.5.2", "5.7.4", "5.5.4"], text: &[],
        meaning: "the mechanism is refused", verdict: Verdict::pause(PausedConfiguration, remedies::MECHANISM), source: "docs/gmail.md section 3.3",
        examples: &[
            (Stage::Auth, "501 5.5.2 Syntax error."),
            (Stage::Auth, "535 5.5.4 Optional Argument not permitted for that AUTH mode."),
            (Stage::Auth, "504 5.7.4 Unrecognized Authentication Type"),
            (Stage::Auth, "504 5.7.4 XOAUTH is no longer supported."),
        ] },
    Row { stages: AUTH, codes: &[503], enhanced: &["5.7.0"], text: &[],
        meaning: "the connection is logged in already", verdict: Verdict::reconnect(PausedConfiguration).hint(remedies::DIALOGUE), source: "docs/gmail.md section 3.3",
        examples: &[(Stage::Auth, "503 5.7.0 No identity changes permitted.")] },
    Row { stages: TRANSACTION, codes: &[530], enhanced: &["5.7.0", "5.5.1"], text: &[],
        meaning: "a login is wanted", verdict: Verdict::reconnect(PausedCredentials).hint(remedies::LOGIN_WANTED), source: "docs/gmail.md section 3.3",
        examples: &[
            (Stage::Mail, "530 5.7.0 Authentication Required. For more information, go to https://support.google.com/mail/?p=WantAuthError"),
            (Stage::Mail, "530 5.5.1 Authentication Required. Learn more at http://support.google.com/mail/bin/answer.py?answer=14257"),
        ] },
    // What the account may not do.
    Row { stages: TRANSACTION, codes: &[550], enhanced: &["5.7.0"], text: &["sending denied"],
        meaning: "the account is disabled for sending", verdict: Verdict::pause(PausedCredentials, remedies::DISABLED), source: "docs/gmail.md section 3.4",
        examples: &[(Stage::Mail, "550 5.7.0 Mail Sending denied. This error occurs if the sender account is disabled or not registered within your Google Workspace domain.")] },
    Row { stages: TRANSACTION, codes: &[550], enhanced: &["5.7.1"], text: &["daily smtp relay", "daily user sending", "sending limit exceeded"],
        meaning: "the daily limit of the relay service is reached", verdict: Verdict::pause(PausedQuota, remedies::QUOTA).certain(), source: "docs/gmail.md section 3.4",
        examples: &[
            (Stage::Mail, "550 5.7.1 Daily SMTP relay limit exceeded for user. For more information on SMTP relay sending limits please contact your administrator."),
            (Stage::Data, "550 5.7.1 Daily SMTP relay sending limit exceeded for customer."),
        ] },
    Row { stages: TRANSACTION, codes: &[550], enhanced: &["5.7.1"], text: &["email quota exceeded"],
        meaning: "a quota is exceeded, perhaps that of the account's storage", verdict: Verdict::pause(PausedQuota, remedies::STORAGE), source: "docs/gmail.md section 3.4",
        examples: &[(Stage::Data, "550 5.7.1 Email quota exceeded.")] },
    Row { stages: TRANSACTION, codes: &[450], enhanced: &["4.2.1"], text: &["peak smtp relay"],
        meaning: "the relay service has a peak", verdict: BUSY.at_least_minutes(5), source: "docs/gmail.md section 3.4",
        examples: &[(Stage::Mail, "450 4.2.1 Peak SMTP relay limit exceeded for customer. This is a temporary error.")] },
    Row { stages: TRANSACTION, codes: &[550], enhanced: &["5.7.0", "5.7.1"], text: &["mail relay denied", "invalid credentials for relay", "notauthorizederror", "the ip you're using"],
        meaning: "smtp-relay.gmail.com does not know this address", verdict: RELAY_RULE, source: "docs/gmail.md section 3.4",
        examples: &[
            (Stage::Mail, "550 5.7.0 Mail relay denied <192.0.2.1>. Invalid credentials for relay for one of the domains."),
            (Stage::Mail, "550 5.7.1 Invalid credentials for relay <192.0.2.1>. The IP address you've registered in your Workspace SMTP Relay service doesn't match the domain of the account this email is being sent from."),
            (Stage::FinalDot, "550 5.7.1 The IP you're using to send mail is not authorized to send email directly to our servers. https://support.google.com/mail/?p=NotAuthorizedError"),
        ] },
];
