//! The subject of a refusal that the table of known replies does not have, by its words and codes.
//!
//! Rule: pure. The narrower subject wins: a size, a loop or a mailbox is never taken for the account's day.

use super::answer::Reply;

/// What the words speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The size of the message, or of a part of it.
    Size,
    /// A message that goes round in circles.
    Loop,
    /// The number of recipients in one transaction.
    Recipients,
    /// The mailbox of a recipient: its room, its limits.
    Mailbox,
    /// Who the message says that it comes from.
    Sender,
    /// How much the account may send in some time; plainly so.
    Allowance,
    /// How fast it sends, or over how many connections.
    Rate,
    /// Some limit: whose, it does not say.
    Limit,
    /// None of these.
    Nothing,
}

/// The subject of a refusal.
pub(super) fn subject(reply: &Reply) -> Subject {
    let text = reply.text.to_ascii_lowercase();
    let has = |fragments: &[&str]| fragments.iter().any(|fragment| text.contains(fragment));
    let limit = has(LIMIT) || has_word(&text, LIMIT_WORDS);
    let code = reply.enhanced.get(1..).unwrap_or_default();
    if has(LOOP) || code == ".4.6" {
        return Subject::Loop;
    }
    if matches!(code, ".3.4" | ".2.3") || reply.code == 523 {
        return Subject::Size;
    }
    if has(RECIPIENTS) && !has(TIMES) {
        return Subject::Recipients;
    }
    if matches!(code, ".2.1" | ".2.2") || has(MAILBOX) {
        return Subject::Mailbox;
    }
    if limit && (has(TIMES) || has(SENDING)) {
        return Subject::Allowance;
    }
    if reply.code == 552 || has_word(&text, SIZE_WORDS) || has(SIZE) {
        return Subject::Size;
    }
    if has(RATE) || has_word(&text, RATE_WORDS) {
        return Subject::Rate;
    }
    if has(SENDER) {
        return Subject::Sender;
    }
    if limit { Subject::Limit } else { Subject::Nothing }
}

fn has_word(text: &str, words: &[&str]) -> bool {
    text.split(|character: char| !character.is_ascii_alphanumeric()).any(|one| words.contains(&one))
}

const LIMIT: &[&str] =
    &["too many", "exceed", "maximum", "threshold", "throttl", "reached", "suspended"];
const LIMIT_WORDS: &[&str] = &["limit", "limits", "limited", "quota", "quotas", "rate", "max"];
const LOOP: &[&str] = &[
    "hops",
    "mail loop",
    "mailloop",
    "looping",
    "routing loop",
    "received headers",
    "received lines",
];
const RECIPIENTS: &[&str] = &[
    "too many recipients",
    "too many rcpt",
    "number of recipients",
    "recipients per message",
    "recipients per transaction",
    "recipient count",
    "maximum recipients",
    "recipients exceed",
    "recipient limit",
];
const MAILBOX: &[&str] = &[
    "mailbox",
    "mail box",
    "inbox",
    "receiv",
    "recipient's",
    "recipient has",
    "user's",
    "recipient over",
    "user over",
    "user is over",
    "recipient quota",
    "user quota",
];
const TIMES: &[&str] = &[
    "daily",
    "per day",
    "a day",
    "hourly",
    "per hour",
    "an hour",
    "per minute",
    "24 hour",
    "24-hour",
    "monthly",
    "per month",
    "today",
    "/day",
    "/hour",
    "hours",
];
const SENDING: &[&str] = &[
    "sending limit",
    "sending quota",
    "send limit",
    "send quota",
    "sent limit",
    "submission",
    "outbound",
    "outgoing",
    "relay limit",
    "relay quota",
    "email quota",
    "mail quota",
    "message quota",
    "messages quota",
    "your account",
    "account has",
    "sender has exceeded",
    "sent too many",
    "too many messages",
    "too many emails",
    "too many mails",
    "tenant",
];
const SIZE: &[&str] = &["databytes", "attachment", "header", "mime part", "body part"];
const SIZE_WORDS: &[&str] = &[
    "size",
    "sized",
    "large",
    "larger",
    "big",
    "long",
    "length",
    "bytes",
    "octets",
    "kb",
    "mb",
    "megabytes",
    "kilobytes",
];
const RATE: &[&str] = &[
    "rate limit",
    "ratelimit",
    "sending rate",
    "message rate",
    "too fast",
    "too quickly",
    "connection limit",
    "connections limit",
    "too many connections",
    "too many concurrent",
    "concurrent connections",
    "simultaneous",
    "too much mail",
    "server busy",
    "too many sessions",
    "thread limit",
    "slow down",
    "too many requests",
    "throttl",
];
const RATE_WORDS: &[&str] = &["rate", "busy"];
const SENDER: &[&str] = &[
    "sender",
    "send as",
    "sendas",
    "send-as",
    "from address",
    "from: address",
    "identity",
    "identities",
    "not owned",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_subject_is_never_taken_for_the_accounts_day() {
        use Subject::{Allowance, Limit, Loop, Mailbox, Nothing, Rate, Recipients, Sender, Size};
        for (line, expected) in [
            ("552 Message size exceeds limit", Size),
            ("552 sorry, that message size exceeds my databytes limit (#5.3.4)", Size),
            ("552 Message size exceeds maximum permitted", Size),
            ("552 5.3.4 Error: message file too big", Size),
            ("552 5.3.4 Message size exceeds fixed maximum message size", Size),
            ("552 5.2.3 Message exceeds local size limit.", Size),
            ("550 Message too large: limit is 10 MB", Size),
            ("554 5.7.0 attachment limit exceeded", Size),
            ("550 message header limit exceeded", Size),
            ("550 maximum allowed line length is 998 octets", Size),
            ("552 exceeded storage allocation", Size),
            ("523 the limit for your session was reached", Size),
            ("554 5.4.6 Too many hops 26 (25 max)", Loop),
            ("554 sorry, too many hops, this message is looping (#5.4.6)", Loop),
            ("554 5.4.14 Hop count exceeded - possible mail loop", Loop),
            ("452 too many recipients", Recipients),
            ("550 5.5.3 Too many recipients", Recipients),
            ("552 Too many recipients", Recipients),
            ("550 5.2.2 Mailbox quota exceeded", Mailbox),
            ("552 5.2.2 user over quota", Mailbox),
            ("550 Recipient's inbox is over its limit", Mailbox),
            (
                "550 5.2.121 Recipient's per hour message receive limit from specific sender exceeded",
                Mailbox,
            ),
            ("450 the user is receiving mail at a rate that prevents more", Mailbox),
            (
                "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
                Allowance,
            ),
            ("454 Throttling failure: Daily message quota exceeded.", Allowance),
            ("454 4.7.0 Throttling failure: Maximum sending rate exceeded.", Rate),
            (
                "550 Domain example.org has exceeded the max emails per hour (500/500 (100%)) allowed.",
                Allowance,
            ),
            ("554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException", Allowance),
            ("550 5.7.1 Email quota exceeded.", Allowance),
            ("550 Your account has exceeded its quota", Allowance),
            ("432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", Rate),
            (
                "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending",
                Rate,
            ),
            ("450 4.7.1 Error: too much mail from 192.0.2.1", Rate),
            ("553 5.7.1 <a@b.example>: Sender address rejected: not owned by user me", Sender),
            ("550 5.7.60 SMTP; Client does not have permissions to send as this sender", Sender),
            ("550 5.9.9 Some limit reached", Limit),
            ("550 5.9.9 corporate mail refused", Nothing),
            ("554 no", Nothing),
        ] {
            let (code, text) = line.split_at(3);
            let reply = Reply::new(code.parse().unwrap(), text.trim());
            assert_eq!(subject(&reply), expected, "{line}");
        }
    }
}
