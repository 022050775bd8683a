//! The alerts that wait for their targets, and what was told: in memory, and on disk.
//!
//! Rule: an alert and the mark that it was told are written together, before it is sent, and what was sent is taken out
//! afterwards: whenever the power fails, it is told once or, between the two, twice. A file that cannot be read or written
//! costs a line in the log and never an alert. Must not know what is told, nor how.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Mutex,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{self as channels, watch::Receiver},
    task::spawn_blocking,
};

use super::{
    outbox::Outbox,
    outputs::Target,
    watch::{Alert, Memory},
};
use crate::{
    clock::{Moment, Timestamp},
    kept_file::{self, KeptFileError},
    sync::lock,
};

/// The file's name in the queue's directory.
const FILE: &str = "alerts.json";
/// Octets of the file that are read: more than as many targets as there may be can have waiting.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The form of the file.
const VERSION: u32 = 1;

/// What is on disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Kept {
    version: u32,
    #[serde(flatten)]
    told: Told,
    /// By the name of the target, the oldest first.
    waiting: BTreeMap<String, Vec<Alert>>,
}

/// What was told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) conditions: Memory,
    /// Checks of the diagnosis that fail.
    pub(super) checks: BTreeSet<String>,
}

/// What waits, and what was told.
#[derive(Debug)]
pub(crate) struct Post {
    path: PathBuf,
    state: Mutex<State>,
    /// What is on disk; held while that is written.
    disk: channels::Mutex<Disk>,
    /// Something has come.
    pushed: channels::watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    told: Told,
    outboxes: BTreeMap<String, Outbox>,
}

#[derive(Debug, Default)]
struct Disk {
    written: Kept,
    /// The last write has failed, as the log has been told.
    failed: bool,
    /// A newer program's file is not touched.
    foreign: bool,
}

impl Post {
    /// That in the queue's directory.
    #[must_use]
    pub(crate) fn in_directory(directory: &Path) -> Self {
        let path = directory.join(FILE);
        let mut disk = Disk::default();
        match kept_file::read::<Kept>(&path, VERSION, FILE_BYTES_MAX) {
            Ok(kept) => disk.written = kept,
            Err(error) => {
                disk.foreign = matches!(error, KeptFileError::Newer(_));
                let path = path.display();
                tracing::warn!(%error, %path, "the alerts that waited cannot be read; what is wrong is told anew");
            }
        }
        let Kept { told, waiting, .. } = disk.written.clone();
        let outboxes = waiting.into_iter().map(|(name, waiting)| (name, Outbox::with(waiting)));
        let state = Mutex::new(State { told, outboxes: outboxes.collect() });
        Self { path, state, disk: disk.into(), pushed: channels::watch::Sender::new(()) }
    }

    /// From now on there are these targets; what waits for another one waits for nobody.
    pub(super) fn serve(&self, targets: &[Target]) {
        let mut state = lock(&self.state);
        let is_known = |name: &String| targets.iter().any(|target| target.name == *name);
        state.outboxes.retain(|name, outbox| {
            if !is_known(name) && !outbox.waiting.is_empty() {
                let waiting = outbox.waiting.len();
                tracing::warn!(
                    receiver = name,
                    waiting,
                    "alerts are dropped: their target is gone"
                );
            }
            is_known(name)
        });
        for target in targets {
            let outbox = state.outboxes.entry(target.name.clone()).or_default();
            // Another address, or a mended one, is tried at once.
            outbox.not_before = Timestamp(0);
        }
    }

    /// What was told so far.
    pub(super) fn told(&self) -> Told {
        lock(&self.state).told.clone()
    }

    /// Keeps alerts for the targets that want them, and that they are told; returns when both would survive a power cut.
    pub(super) async fn add(&self, alerts: &[Alert], told: Told, targets: &[Target]) {
        {
            let mut state = lock(&self.state);
            state.told = told;
            for target in targets {
                let Some(outbox) = state.outboxes.get_mut(&target.name) else { continue };
                let wanted = alerts.iter().filter(|alert| target.wants(alert.kind));
                wanted.for_each(|alert| outbox.push(alert.clone()));
            }
        }
        self.write().await;
        self.pushed.send_replace(());
    }

    /// Says when something has come.
    pub(super) fn listen(&self) -> Receiver<()> {
        self.pushed.subscribe()
    }

    /// The alert that is to be sent to a target now.
    pub(super) fn next(&self, target: &Target, now: Moment) -> Option<Alert> {
        lock(&self.state).outboxes.get_mut(&target.name)?.next(up(now), now.wall)
    }

    /// It was handed over; returns when it would not be sent again after a power cut.
    pub(super) async fn sent(&self, target: &Target, alert: &Alert, now: Timestamp) {
        if let Some(outbox) = lock(&self.state).outboxes.get_mut(&target.name) {
            outbox.sent(alert, &target.name, now);
        }
        self.write().await;
    }

    pub(super) fn failed(&self, target: &Target, what: String, now: Moment) {
        let shown = target.way.shown();
        if let Some(outbox) = lock(&self.state).outboxes.get_mut(&target.name) {
            outbox.failed(what, (&target.name, &shown), up(now), now.wall);
        }
    }

    /// How a target stands.
    pub(super) fn outbox(&self, target: &Target) -> Outbox {
        lock(&self.state).outboxes.get(&target.name).cloned().unwrap_or_default()
    }

    async fn write(&self) {
        let mut disk = self.disk.lock().await;
        let kept = self.snapshot();
        if disk.foreign || kept == disk.written {
            return;
        }
        let (path, whole) = (self.path.clone(), kept.clone());
        let written = spawn_blocking(move || kept_file::replace(&path, &whole)).await;
        let error = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let (Some(error), false) = (&error, disk.failed) {
            let path = self.path.display();
            tracing::warn!(error, %path, "what waits to be told would not survive a restart");
        }
        disk.failed = error.is_some();
        if error.is_none() {
            disk.written = kept;
        }
    }

    fn snapshot(&self) -> Kept {
        let state = lock(&self.state);
        let waiting = state.outboxes.iter().filter(|(_, outbox)| !outbox.waiting.is_empty());
        let waiting = waiting
            .map(|(name, outbox)| (name.clone(), outbox.waiting.iter().cloned().collect()))
            .collect();
        Kept { version: VERSION, told: state.told.clone(), waiting }
    }
}

/// Waits are of this process: they count in the boot clock.
pub(super) fn up(now: Moment) -> Timestamp {
    Timestamp(i64::try_from(now.since_boot_ms).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
