//! The words of commands and page alike: of the relay, of a message, of why it waits.
//!
//! Rule: pure; text from the answers of the API, and nothing of how it is shown: whoever shows it makes it harmless there.

pub(crate) mod clients;
pub(crate) mod explain;
pub(crate) mod fleet;
pub(crate) mod journey;
pub(crate) mod message;
pub(crate) mod settings;
pub(crate) mod status;
pub(crate) mod storms;
mod waits;

pub(crate) use self::waits::in_words;

/// Labels in their order, each with the lines that stand beside it.
pub(crate) type Lines = Vec<(&'static str, Vec<String>)>;

/// The text without the full stop that it may end with, to go on with one of our own.
#[must_use]
pub(crate) fn phrase(text: &str) -> &str {
    text.trim_end().trim_end_matches('.')
}
