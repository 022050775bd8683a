//! Notices: tells the administrator, by mail, of mail that could not be relayed or still waits, and senders of theirs.
//!
//! Rule: an end is told of once (after a crash in the wrong moment twice), many together in one notice, never
//! about a notice, and never more than a few an hour. Must not know SMTP or the upstream.

mod collect;
mod remembered;
mod spent;
mod storms;
mod task;

use std::time::Duration;

use crate::smtp::address::Address;

pub(crate) use spent::{Day, Shares};
pub(crate) use storms::StormTeller;
pub(crate) use task::{Notifier, envelope};

/// Who is told, and how often.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of this host, for the texts.
    pub(crate) hostname: String,
    /// The From address of a notice: the account. Without it nobody is told by mail.
    pub(crate) from: Option<Address>,
    /// Who reads notices; without it nobody is told by mail.
    pub admin: Option<Address>,
    /// Whether the sender of a message is told as well, when it has an address elsewhere.
    pub senders: bool,
    /// Notices in any hour, of all kinds together; beyond it failures wait and come in one.
    pub(crate) per_hour: u32,
    /// After how long it is told that a message still waits; `None` for never.
    pub delay_after: Option<Duration>,
    /// How long after the last failure a notice waits for more of them.
    pub(crate) gather: Duration,
    /// How long the first failure waits at most.
    pub(crate) gather_max: Duration,
    /// The From address of a summary of folded mail: the account, whoever is told of dead letters.
    pub(crate) account: Option<Address>,
    /// How long folded mail is kept that was told of.
    pub(crate) folded_kept: Duration,
    /// What may be spent in 24 hours of each account: that it is spent while mail waits is told.
    pub(crate) days: Vec<Day>,
}

impl Options {
    /// The defaults, for a host of that name.
    #[must_use]
    pub fn new(hostname: String) -> Self {
        Self {
            hostname,
            from: None,
            admin: None,
            senders: false,
            per_hour: 4,
            delay_after: Some(Duration::from_secs(4 * 3600)),
            gather: Duration::from_secs(60),
            gather_max: Duration::from_secs(10 * 60),
            account: None,
            folded_kept: Duration::from_secs(30 * 86_400),
            days: Vec::new(),
        }
    }
}
