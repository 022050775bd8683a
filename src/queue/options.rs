//! What the queue is told.
//!
//! Rule: each limit has its reason beside it. Must not know relay.toml.

use std::{path::PathBuf, time::Duration};

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
    pub hostname: String,
    /// How long a commit may take before the store counts as failed.
    pub commit_timeout: Duration,
}
