//! Alerts outside the queue: what a person must hear of although no mail can leave.
//!
//! Rule: an alert never depends on the upstream or on the queue; it goes to a command or a webhook of the
//! administrator. Each kind is told once when it begins, again after a time while it lasts, and once when
//! it is over. Must not know how facts are gathered.

use std::{path::PathBuf, time::Duration};

pub mod hook;
pub mod task;
pub mod watch;
pub mod webhook;

/// Where alerts go, and when.
#[derive(Clone, Debug)]
pub struct Options {
    /// A program and its arguments; it gets the alert as JSON on its standard input. No shell is involved.
    pub command: Vec<String>,
    /// An address that gets the same JSON as the body of a POST.
    pub webhook: Option<webhook::Address>,
    /// One more trusted root for it.
    pub ca_file: Option<PathBuf>,
    /// How long the oldest waiting message may wait before that is an alert.
    pub oldest_message: Duration,
    /// When an alert that lasts is told again.
    pub repeat: Duration,
    /// The name of this host, for the texts.
    pub hostname: String,
}

impl Options {
    /// Whether anybody is told.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.command.is_empty() || self.webhook.is_some()
    }
}
