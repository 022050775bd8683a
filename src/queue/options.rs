//! The options of the queue.
//!
//! Rule: each limit has its reason beside it. Must not know relay.toml.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{folding, routes::Accounts};
use crate::{budget::Limit, fleet};

/// Everything a store is told. `settings` fills it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The state directory; holds `lock`, `spool/` and `queue.sled/`.
    pub directory: PathBuf,
    /// Octets that queued messages may take in all.
    pub max_bytes: u64,
    /// Octets that must stay free on the disk; sled does not survive a full one.
    pub min_free_bytes: u64,
    /// Our name in the Received field.
    pub(crate) hostname: String,
    /// Whether a recipient whose final dot may have been sent when the process died is held for a
    /// person; otherwise it is sent once more.
    pub(crate) hold_uncertain: bool,
    /// How long the bodies of relayed messages are kept; `None` is not at all.
    pub(crate) keep_relayed: Option<Duration>,
    /// What of it is folded when a storm of it comes.
    pub(crate) storms: folding::Options,
    /// What one origin may take from the others.
    pub(crate) fairness: Fairness,
    /// The accounts that mail leaves by, and its routes to them.
    pub(crate) accounts: Accounts,
    /// The fleet's database, where the queue is there and not in the directory.
    pub(crate) database: Option<fleet::Options>,
    /// How long a commit may take before the store counts as failed.
    pub(crate) commit_timeout: Duration,
}

/// Where the queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// In its directory.
    Sled,
    /// In the fleet's database.
    Postgres,
}

/// What an origin, and bulk mail, may take from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fairness {
    /// Of a hundred recipients how many are of bulk mail while normal mail waits as well; 0 to 50.
    pub(crate) bulk_share: u32,
    /// Recipients in any 24 hours of one origin.
    pub(crate) origin_limit: Limit,
    /// The same of mail that these rules struck.
    pub(crate) by_rule: BTreeMap<String, Limit>,
}

impl Fairness {
    /// Recipients in any 24 hours of one origin, of mail that this rule struck.
    pub(super) fn limit_of(&self, rule: Option<&str>) -> Limit {
        let own = rule.and_then(|rule| self.by_rule.get(rule));
        own.copied().unwrap_or(self.origin_limit)
    }
}

impl Default for Fairness {
    /// The defaults of relay.toml: no origin has a limit.
    fn default() -> Self {
        Self { bulk_share: 5, origin_limit: Limit::NONE, by_rule: BTreeMap::new() }
    }
}

/// How much may be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) max_bytes: u64,
    pub(super) min_free_bytes: u64,
    pub(super) keep_relayed: Option<Duration>,
}

impl Room {
    pub(super) fn of(options: &Options) -> Self {
        let Options { max_bytes, min_free_bytes, keep_relayed, .. } = *options;
        Self { max_bytes, min_free_bytes, keep_relayed }
    }
}

impl Options {
    /// The defaults of relay.toml for a state directory.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            max_bytes: 2 << 30,
            min_free_bytes: 256 << 20,
            hostname: "localhost".into(),
            hold_uncertain: false,
            keep_relayed: None,
            storms: folding::Options::default(),
            fairness: Fairness::default(),
            accounts: Accounts::default(),
            database: None,
            commit_timeout: Duration::from_secs(30),
        }
    }
}
