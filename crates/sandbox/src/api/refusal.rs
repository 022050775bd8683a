//! The errors of the API: a status, a reason, words, in Google's JSON (docs/https.md).
//!
//! Rule: the reason is what a client goes by; the words are for people. Must not know who is refused.

use std::fmt;

use serde_json::json;

use crate::replies::Template;

/// One error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Of HTTP.
    pub(super) status: u16,
    /// Empty for an answer that is not the API's.
    reason: String,
    message: String,
    /// The value of Retry-After.
    pub(super) retry_after: Option<String>,
}

impl Refusal {
    /// What a test has written: `403 rateLimitExceeded Rate Limit Exceeded`, and `Retry-After: 60` in a line below it. What
    /// is no such text is an error of the server.
    pub(super) fn scripted(text: &str) -> Self {
        let (text, below) = text.split_once('\n').unwrap_or((text, ""));
        let retry_after = below.strip_prefix("Retry-After: ").map(str::to_owned);
        let mut words = text.splitn(3, ' ');
        let status = words.next().and_then(|word| word.parse().ok()).unwrap_or(500);
        let reason = words.next().unwrap_or("backendError").to_owned();
        let message = words.next().unwrap_or("Backend Error").to_owned();
        Self { status, reason, message, retry_after }
    }

    /// What is wrong with the message.
    pub(super) fn of_message(words: &str) -> Self {
        Self::scripted(&format!("400 invalidArgument {words}"))
    }

    /// What SMTP would say, in a form of the API's.
    pub(super) fn like(reply: &Template, detail: &str) -> Self {
        let words = reply.scripted().replace("{}", detail);
        let is_permanent = words.starts_with('5');
        let reason = if is_permanent { "400 invalidArgument" } else { "503 backendError" };
        Self::scripted(&format!("{reason} {}", words.lines().next().unwrap_or_default()))
    }

    /// More recipients than the account has left.
    pub(super) fn of_the_day() -> Self {
        Self::scripted("429 rateLimitExceeded User-rate limit exceeded. (Mail sending)")
    }

    /// More octets than are taken.
    pub(super) fn too_large() -> Self {
        Self::scripted("413 uploadTooLarge Request payload size exceeds the limit.")
    }

    /// A page of something on the way.
    pub(super) fn page() -> Self {
        Self { reason: String::new(), ..Self::scripted("502 - Bad Gateway") }
    }

    /// What is sent.
    pub(super) fn body(&self) -> String {
        if self.reason.is_empty() {
            return format!("<html><title>Error {}</title>{}</html>\n", self.status, self.message);
        }
        let one = json!({ "message": self.message, "domain": "global", "reason": self.reason });
        let status = match self.status {
            400 => "INVALID_ARGUMENT",
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            429 => "RESOURCE_EXHAUSTED",
            _ => "INTERNAL",
        };
        json!({
            "error": { "code": self.status, "message": self.message, "errors": [one], "status": status },
        })
        .to_string()
    }
}

/// For the log.
impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.status, self.reason, self.message)
    }
}
