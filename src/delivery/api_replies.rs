//! The answers of the Gmail API that are known, each with its meaning and its source, and what any other one means.
//!
//! Rule: policy is data; the reason comes before the words, as Google asks. What concerns the token, the project or the account is
//! no message's fault. `docs/https.md` is compared with the table. Must not know what is done with a verdict.

use std::time::Duration;

use serde::Deserialize;

use super::{
    answer::{Answer, Reply, Stage},
    reply_row::{AUTH, FINAL_DOT, Row},
    verdict::{Action, Scope, Verdict},
};
use crate::queue::state::AccountCondition::{
    BackingOff, PausedConfiguration, PausedCredentials, PausedQuota,
};

const DAY: &str = "Nothing: the queue waits and one message is tried when the pause ends. Send less from this account until then, also from the web and the phone; if it happens often, lower budget.recipients_per_day.";
const PROJECT_DAY: &str = "Look at the quotas of the project's Gmail API (https://console.cloud.google.com/apis/api/gmail.googleapis.com/quotas); one message is tried when the pause ends.";
const RATE: &str = "Nothing: the relay tries again with growing waits. If it happens often, lower budget.pace_per_minute, or look who else uses the project.";
const DISABLED: &str = "Switch the Gmail API on in the project of the client or the service account (https://console.cloud.google.com/apis/library/gmail.googleapis.com); it takes some minutes. Then run `pillarbox resume`.";
const SCOPE: &str = "The token does not allow to send: run `pillarbox auth google` and leave Gmail's box ticked. For a service account, add https://www.googleapis.com/auth/gmail.send to its domain-wide delegation. Then run `pillarbox resume`.";
const POLICY: &str = "The Workspace administrator has not allowed this client to use Gmail: admin.google.com, Security, API controls. Then run `pillarbox resume`.";
const DELEGATION: &str = "The service account may not act for upstream.username: a Workspace administrator must add its client id with the scope https://www.googleapis.com/auth/gmail.send (admin.google.com, Security, API controls, Domain-wide delegation). Then run `pillarbox resume`.";
const NO_MAILBOX: &str = "upstream.username must be an account with Gmail switched on, and a service account must act for it: check it in the Google Admin console. Then run `pillarbox resume`.";
const TOKEN: &str = "Run `pillarbox auth google` and log in as upstream.username; for a service account, check its key file. Then run `pillarbox resume`.";
const ELSEWHERE: &str = "What answers is not the Gmail API: remove upstream.host and upstream.port for Google's, and look for a proxy in between. Then restart the relay: `systemctl restart pillarbox`.";
const FORBIDDEN: &str = "Look up the reason in docs/https.md, and look at the account with a browser; then run `pillarbox resume`.";
const TOO_LARGE: &str =
    "Gmail takes 25 MB with attachments: send a link to the file instead, or several messages.";
const MALFORMED: &str = "The program that wrote this message must be corrected.";

const GIVE_UP: Verdict = Verdict::new(Scope::Message, Action::GiveUp);

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row { stages: FINAL_DOT, codes: &[403, 429], enhanced: &[], text: &["mail sending"],
        meaning: "the account's daily limit is reached", verdict: Verdict::pause(PausedQuota, DAY).certain(), source: "docs/https.md section 4",
        examples: &[(Stage::FinalDot, "429 rateLimitExceeded User-rate limit exceeded.  Retry after 2026-11-29T05:00:00.000Z (Mail sending)")] },
    Row { stages: FINAL_DOT, codes: &[403, 429], enhanced: &["dailyLimitExceeded", "quotaExceeded"], text: &[],
        meaning: "the project's units of the day are used up", verdict: Verdict::pause(PausedQuota, PROJECT_DAY).certain(), source: "docs/https.md section 4",
        examples: &[
            (Stage::FinalDot, "403 dailyLimitExceeded Daily Limit Exceeded"),
            (Stage::FinalDot, "403 quotaExceeded The request cannot be completed because you have exceeded your quota."),
        ] },
    Row { stages: FINAL_DOT, codes: &[403], enhanced: &["rateLimitExceeded", "userRateLimitExceeded"], text: &[],
        meaning: "too many requests in a minute", verdict: Verdict::pause(BackingOff, RATE).certain(), source: "docs/https.md section 4",
        examples: &[
            (Stage::FinalDot, "403 userRateLimitExceeded User Rate Limit Exceeded"),
            (Stage::FinalDot, "403 rateLimitExceeded Rate Limit Exceeded"),
        ] },
    Row { stages: FINAL_DOT, codes: &[429], enhanced: &[], text: &[],
        meaning: "too many requests at once", verdict: Verdict::pause(BackingOff, RATE).certain(), source: "docs/https.md section 4",
        examples: &[(Stage::FinalDot, "429 rateLimitExceeded Too many concurrent requests for user.")] },
    Row { stages: AUTH, codes: &[403], enhanced: &["accessNotConfigured", "SERVICE_DISABLED"], text: &[],
        meaning: "the Gmail API is switched off in the project", verdict: Verdict::pause(PausedConfiguration, DISABLED), source: "docs/https.md section 4",
        examples: &[(Stage::Auth, "403 accessNotConfigured Gmail API has not been used in project 123 before or it is disabled.")] },
    Row { stages: AUTH, codes: &[403], enhanced: &["insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"], text: &[],
        meaning: "the token does not allow to send", verdict: Verdict::pause(PausedCredentials, SCOPE), source: "docs/https.md section 4",
        examples: &[(Stage::Auth, "403 insufficientPermissions Request had insufficient authentication scopes.")] },
    Row { stages: AUTH, codes: &[403], enhanced: &["domainPolicy"], text: &[],
        meaning: "the organisation does not allow the client", verdict: Verdict::pause(PausedConfiguration, POLICY), source: "docs/https.md section 4",
        examples: &[(Stage::Auth, "403 domainPolicy The domain administrators have disabled Gmail apps.")] },
    Row { stages: AUTH, codes: &[400, 403], enhanced: &[], text: &["delegation denied"],
        meaning: "the service account may not act for the mailbox", verdict: Verdict::pause(PausedConfiguration, DELEGATION), source: "docs/https.md section 4",
        examples: &[(Stage::Auth, "403 forbidden Delegation denied for me@example.org")] },
    Row { stages: AUTH, codes: &[400, 403], enhanced: &["failedPrecondition"], text: &[],
        meaning: "the account has no mailbox that could send", verdict: Verdict::pause(PausedConfiguration, NO_MAILBOX), source: "docs/https.md section 4",
        examples: &[
            (Stage::Auth, "400 failedPrecondition Mail service not enabled"),
            (Stage::Auth, "400 failedPrecondition Precondition check failed."),
        ] },
    Row { stages: AUTH, codes: &[401], enhanced: &[], text: &[],
        meaning: "the token is refused; a new one is tried at once", verdict: Verdict::reconnect(PausedCredentials).hint(TOKEN), source: "docs/https.md section 4",
        examples: &[(Stage::Auth, "401 authError Invalid Credentials")] },
    Row { stages: AUTH, codes: &[404], enhanced: &[], text: &[],
        meaning: "what answers is not the API", verdict: Verdict::pause(PausedConfiguration, ELSEWHERE), source: "docs/https.md section 4",
        examples: &[(Stage::Auth, "404 notFound Not Found")] },
    Row { stages: FINAL_DOT, codes: &[413], enhanced: &[], text: &[],
        meaning: "the message is too large", verdict: GIVE_UP.hint(TOO_LARGE), source: "docs/https.md section 4",
        examples: &[(Stage::FinalDot, "413 uploadTooLarge Request payload size exceeds the limit.")] },
    Row { stages: FINAL_DOT, codes: &[400], enhanced: &["invalidArgument", "badRequest"], text: &[],
        meaning: "the message is malformed", verdict: GIVE_UP.hint(MALFORMED), source: "docs/https.md section 4",
        examples: &[
            (Stage::FinalDot, "400 invalidArgument Invalid To header"),
            (Stage::FinalDot, "400 badRequest Bad Request"),
        ] },
];

/// The first row that fits a refusal.
pub(super) fn row(reply: &Reply) -> Option<&'static Row> {
    let text = reply.text.to_ascii_lowercase();
    ROWS.iter().find(|row| row.stages.iter().any(|stage| row.fits(*stage, reply, &text)))
}

/// The verdict on an answer of the API.
pub(super) fn verdict(reply: &Reply) -> Verdict {
    match (reply.code, row(reply)) {
        (200..=299, _) => Verdict::new(Scope::Message, Action::Accept),
        (_, Some(row)) => row.verdict,
        // The API names a reason; without one, somebody else has answered.
        (400 | 403, None) if !reply.enhanced.is_empty() && reply.code == 400 => GIVE_UP,
        (403, None) if !reply.enhanced.is_empty() => Verdict::pause(PausedConfiguration, FORBIDDEN),
        (400..=499, None) => Verdict::pause(PausedConfiguration, ELSEWHERE),
        _ => Verdict::pause(BackingOff, ""),
    }
}

/// What the API has answered to a whole request: at the stage whom it concerns.
pub(super) fn answer(status: u16, body: &[u8], asks_for: Duration) -> Answer {
    let Problem { reason, message } = Problem::read(body);
    let reply = Reply { asks_for, ..Reply::of_http(status, &reason, &message) };
    let stage = match row(&reply) {
        Some(row) => row.stages.first().copied(),
        None if matches!(status, 200..=299 | 400) => None,
        // Unknown, and about whoever asks rather than what is sent.
        None => Some(Stage::Auth),
    };
    Answer::Replied { stage: stage.unwrap_or(Stage::FinalDot), reply }
}

/// What an error of the API says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Problem {
    /// Its code word; empty when it is not the API's.
    pub(super) reason: String,
    pub(super) message: String,
}

#[derive(Deserialize)]
struct Body {
    error: Error,
}

#[derive(Deserialize)]
struct Error {
    #[serde(default)]
    message: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    errors: Vec<One>,
    #[serde(default)]
    details: Vec<One>,
}

#[derive(Deserialize)]
struct One {
    #[serde(default)]
    reason: String,
}

impl Problem {
    /// Reads the JSON of an error; what is none says nothing.
    pub(super) fn read(body: &[u8]) -> Self {
        let Ok(Body { error }) = serde_json::from_slice::<Body>(body) else {
            return Self::default();
        };
        let reasons = error.errors.into_iter().chain(error.details).map(|one| one.reason);
        let reason = reasons.chain([error.status]).find(|reason| !reason.is_empty());
        Self { reason: reason.unwrap_or_default(), message: error.message }
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write, fs, path::Path};

    use super::*;

    fn reply(line: &str) -> Reply {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap();
        Reply::of_http(word().parse().unwrap(), word(), word())
    }

    #[test]
    fn each_example_meets_its_own_row_at_its_own_stage() {
        for expected in ROWS {
            assert!(!expected.examples.is_empty());
            for (stage, line) in expected.examples {
                let reply = reply(line);
                let met = row(&reply).unwrap();
                assert_eq!((met.meaning, met.stages), (expected.meaning, &[*stage][..]), "{line}");
                assert_eq!(reply.to_string(), *line);
            }
        }
    }

    #[test]
    fn whatever_stops_the_account_says_what_to_do() {
        for row in ROWS {
            assert!(row.verdict.remedy.ends_with('.'), "{}", row.meaning);
        }
    }

    #[test]
    fn an_error_is_read_in_each_form_that_google_writes() {
        let read = |text: &str| {
            let Problem { reason, message } = Problem::read(text.as_bytes());
            (reason, message)
        };
        let of = |reason: &str| (reason.to_owned(), "m".to_owned());
        assert_eq!(
            read(r#"{"error":{"code":403,"message":"m","errors":[{"reason":"domainPolicy"}]}}"#),
            of("domainPolicy")
        );
        assert_eq!(
            read(
                r#"{"error":{"message":"m","status":"X","details":[{"@type":"t"},{"reason":"R"}]}}"#
            ),
            of("R")
        );
        assert_eq!(read(r#"{"error":{"message":"m","status":"ABORTED"}}"#), of("ABORTED"));
        assert_eq!(read("<html>"), Default::default());
        assert_eq!(read(r#"{"error":"invalid_request"}"#), Default::default());
    }

    #[test]
    fn only_what_the_api_itself_says_of_a_message_ends_a_message() {
        for (line, expected) in [
            ("400 somethingNew No", GIVE_UP.action),
            ("403 somethingNew No", Action::Pause(PausedConfiguration)),
            ("400  <html>", Action::Pause(PausedConfiguration)),
            ("407  Proxy", Action::Pause(PausedConfiguration)),
            ("418 teapot No", Action::Pause(PausedConfiguration)),
        ] {
            assert_eq!(verdict(&reply(line)).action, expected, "{line}");
        }
    }

    const BEGIN: &str = "<!-- The table is written by `BLESS=1 cargo test --lib delivery::api_replies` from the program's own. -->\n";
    const END: &str = "<!-- End of the table. -->\n";

    #[test]
    fn the_document_has_every_row() {
        let mut table = "| Answer | Meaning | What the relay does |\n|---|---|---|\n".to_owned();
        for row in ROWS {
            let does = match row.verdict.action {
                Action::GiveUp => "the message is given up",
                Action::Reconnect { .. } => "a new token at once, then the account pauses",
                Action::Pause(PausedQuota) => "the account pauses: 1, 2, 4 hours",
                Action::Pause(BackingOff) => "the account pauses, with growing waits",
                Action::Pause(_) => "the account pauses until a person has acted",
                _ => "?",
            };
            for (_, line) in row.examples {
                writeln!(table, "| `{line}` | {} | {does} |", row.meaning).unwrap();
            }
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/https.md");
        let present = fs::read_to_string(&path).unwrap();
        let (before, rest) = present.split_once(BEGIN).expect("the mark before the table");
        let (_, after) = rest.split_once(END).expect("the mark behind the table");
        let expected = format!("{before}{BEGIN}{table}{END}{after}");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &expected).unwrap();
        }
        assert!(present == expected, "docs/https.md differs; run the test with BLESS=1");
    }
}
