//! The reasons why there is no access token, and what they mean for the account.
//!
//! Rule: pure. A kind decides how long the account waits, the remedy what a person does meanwhile; neither
//! repeats a secret. Must not know who asks for a token.

use thiserror::Error;

use crate::text;

/// Octets of a provider's own words that are repeated.
const WORDS_LENGTH_MAX: usize = 300;

/// There is no access token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct TokenError {
    /// What it means for the account.
    pub kind: Kind,
    /// What happened.
    pub reason: String,
    /// What to do, and where.
    pub remedy: String,
}

/// What a missing token means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file on this host is missing or cannot be used: nobody was asked.
    Local,
    /// The provider has said that the grant is dead: only a person can make a new one.
    Dead,
    /// It may work later; the refresh token stays.
    Temporary,
    /// The provider refuses the client, its scope or its delegation.
    Refused,
}

impl TokenError {
    pub(super) fn new(kind: Kind, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), remedy: remedy.into() }
    }

    pub(super) fn local(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Kind::Local, reason, remedy)
    }

    pub(super) fn temporary(reason: impl Into<String>) -> Self {
        let remedy = "Nothing: the token is kept, and the relay asks again with growing waits. If it goes on, look \
                      at the network, the name server and the firewall: the token endpoint is reached over HTTPS.";
        Self::new(Kind::Temporary, reason, remedy)
    }
}

/// A provider's words as they may be shown: short, on one line, and without the secrets of the request, should
/// they have been repeated.
pub(super) fn shown(words: &str, secrets: &[&str]) -> String {
    let mut words = words.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        words = words.replace(secret, "***");
    }
    text::printable_within(&words, WORDS_LENGTH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_words_are_cut_and_show_line_ends_but_no_repeated_secret() {
        let words = "Bad\r\nRequest \u{202e}1//word";
        assert_eq!(shown(words, &["1//word", ""]), "Bad\\u{d}\\u{a}Request \\u{202e}***");
        let long = shown(&"ü".repeat(1_000), &[]);
        assert!(long.len() <= WORDS_LENGTH_MAX && long.ends_with("..."), "{long}");
    }
}
