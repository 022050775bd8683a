//! Events as lines: text on a terminal, JSON otherwise.
//!
//! Rule: one event a line, fixed field names, no secret and no body. Must not know who logs.

/// How events are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text.
    Text,
    /// JSON.
    Json,
}

/// Format and level of the log.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How.
    pub format: Format,
    /// How much.
    pub level: tracing::Level,
}
