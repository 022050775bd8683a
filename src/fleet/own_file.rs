//! The file of a host beside its queue: the number of its ledger, and whether it is to take no mail.
//!
//! Rule: it lies where the ledger lies and lasts as long; a host whose ledger does not outlast a start has none. Without it the
//! host counts once more what it has spent, never less. Must not know who asks.
#![cfg_attr(
    not(feature = "fleet"),
    allow(dead_code, reason = "without the feature there is nobody to tell the number to")
)]

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::{clock::Timestamp, kept_file, sync::lock};

/// The file's name in the queue's directory.
const FILE: &str = "fleet.json";
/// Octets of the file that are read: many times what it has.
const FILE_BYTES_MAX: u64 = 4 * 1024;
/// The form of the file.
const VERSION: u32 = 1;

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// 0 where there was no file.
    ledger: i64,
    #[serde(rename = "drained_since_ms")]
    drained_since: Option<Timestamp>,
}

/// What a host keeps of itself.
#[derive(Clone, Debug)]
pub(crate) struct OwnFile {
    /// `None` where nothing is kept.
    path: Option<PathBuf>,
    kept: Arc<Mutex<Kept>>,
}

impl OwnFile {
    /// Of a host whose ledger begins anew with each start.
    pub(crate) fn none() -> Self {
        Self::with(None, Kept { version: VERSION, ledger: new_number(), drained_since: None })
    }

    /// In the queue's directory, where the ledger is. Blocks.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        let path = directory.join(FILE);
        let remedy = "what this host has spent in the last 24 hours counts once more for the fleet, never less";
        let found = match kept_file::read::<Kept>(&path, VERSION, FILE_BYTES_MAX) {
            Ok(kept) => kept,
            Err(reason) => {
                let path = path.display();
                warn!(%path, %reason, remedy, "the file of this host in its fleet cannot be used");
                return Self::none();
            }
        };
        if found.ledger != 0 {
            return Self::with(Some(path), found);
        }
        let new = Kept { version: VERSION, ledger: new_number(), drained_since: None };
        if let Err(reason) = kept_file::replace(&path, &new) {
            let path = path.display();
            warn!(%path, %reason, remedy, "the file of this host in its fleet cannot be written");
        }
        Self::with(Some(path), new)
    }

    fn with(path: Option<PathBuf>, kept: Kept) -> Self {
        Self { path, kept: Arc::new(Mutex::new(kept)) }
    }

    /// By which the books know what this host has spent, whatever it is called.
    pub(super) fn ledger(&self) -> i64 {
        lock(&self.kept).ledger
    }

    /// Since when it takes no new mail, as it was last told.
    pub(super) fn drained_since(&self) -> Option<Timestamp> {
        lock(&self.kept).drained_since
    }

    /// Keeps that for the next start, where it is news.
    pub(super) async fn keep_drained(&self, since: Option<Timestamp>) {
        let kept = {
            let mut kept = lock(&self.kept);
            if kept.drained_since.is_some() == since.is_some() {
                return;
            }
            kept.drained_since = since;
            *kept
        };
        let Some(path) = self.path.clone() else { return };
        let shown = path.display().to_string();
        let written = spawn_blocking(move || kept_file::replace(&path, &kept)).await;
        if let Ok(Err(reason)) = written {
            let remedy =
                "a start while the database is away would not know whether this host is drained";
            warn!(path = shown, %reason, remedy, "the file of this host in its fleet cannot be written");
        }
    }
}

/// No other ledger has it.
fn new_number() -> i64 {
    let mut octets = [0; 8];
    match getrandom(&mut octets, GetRandomFlags::empty()) {
        Ok(_) => (i64::from_be_bytes(octets) & i64::MAX).max(1),
        Err(_) => fastrand::i64(1..),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn the_number_and_the_order_outlast_a_start_and_every_directory_has_a_number_of_its_own()
    {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = OwnFile::in_directory(one.path());
        let since = Some(Timestamp(1_800_000_000_000));
        first.keep_drained(since).await;
        let again = OwnFile::in_directory(one.path());
        assert_eq!((again.ledger(), again.drained_since()), (first.ledger(), since));
        again.keep_drained(None).await;
        assert_eq!(OwnFile::in_directory(one.path()).drained_since(), None);
        assert_ne!(OwnFile::in_directory(other.path()).ledger(), first.ledger());
        assert_ne!(OwnFile::none().ledger(), OwnFile::none().ledger());
    }

    #[test]
    fn a_file_that_cannot_be_read_or_is_of_a_newer_program_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        for text in ["{", "{\"version\":2,\"ledger\":7}", "{\"version\":1}"] {
            fs::write(&path, text).unwrap();
            assert!(OwnFile::in_directory(directory.path()).ledger() > 7, "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
