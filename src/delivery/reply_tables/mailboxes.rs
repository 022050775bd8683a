//! Replies of other providers of mailboxes, where they differ from what the codes say.

use super::remedies;
use crate::{
    delivery::{
        answer::Stage,
        reply_row::{ANYWHERE, Row, TRANSACTION},
        verdict::Verdict,
    },
    queue::state::AccountCondition::{PausedConfiguration, PausedCredentials, PausedQuota},
};

#[rustfmt::skip]
pub(super) const ICLOUD: &[Row] = &[
    Row { stages: TRANSACTION, codes: &[450, 451, 452, 550, 554], enhanced: &[], text: &["exceeded your daily sending limit"],
        meaning: "the account's daily limit is reached", verdict: Verdict::pause(PausedQuota, remedies::QUOTA).certain(), source: "https://support.apple.com/en-us/HT202305",
        examples: &[(Stage::FinalDot, "550 5.7.1 me@icloud.com: You have exceeded your daily sending limit. Please try again later.")] },
];

#[rustfmt::skip]
pub(super) const ZOHO: &[Row] = &[
    // By its code it would be a loop.
    Row { stages: TRANSACTION, codes: &[550], enhanced: &["5.4.6"], text: &["unusual sending activity"],
        meaning: "Zoho has blocked what the account sends", verdict: Verdict::pause(PausedCredentials, remedies::DISABLED), source: "https://help.zoho.com/portal/en/community/topic/unable-to-send-message-reason-550-5-4-6-unusual-sending-activity-detected",
        examples: &[(Stage::FinalDot, "550 5.4.6 Unusual sending activity detected.")] },
    Row { stages: ANYWHERE, codes: &[554], enhanced: &["5.1.8"], text: &["blocked"],
        meaning: "the account is blocked", verdict: Verdict::pause(PausedCredentials, remedies::DISABLED), source: "https://help.zoho.com/portal/en/community/topic/issue-with-outgoing-mail",
        examples: &[(Stage::Auth, "554 5.1.8 Sender Address Blocked")] },
    Row { stages: TRANSACTION, codes: &[552, 553], enhanced: &[], text: &["relaying disallowed"],
        meaning: "the account may not send as that address", verdict: Verdict::pause(PausedConfiguration, remedies::SENDER), source: "https://www.zoho.com/zeptomail/help/api/smtp-error-codes.html",
        examples: &[(Stage::Mail, "553 Relaying disallowed as root@host.example")] },
];
