//! The memory of the weekly reports: since when their hours count, when the last one was queued, and the one that is being
//! queued.
//!
//! Rule: it is on disk before anything follows from it. Must not know what a report says, or what it is made of.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, MutexGuard},
    task::spawn_blocking,
};

use super::schedule::Hour;
use crate::{
    clock::Timestamp,
    kept_file::{self, KeptFileError},
    live::Live,
    queue::id::QueueId,
    smtp::address::Address,
};

/// The file's name in the queue's directory.
const FILE: &str = "report.json";
/// Octets of the file that are read: many times what it has.
const FILE_BYTES_MAX: u64 = 16 * 1024;
/// The form of the file.
const VERSION: u32 = 1;

/// Whether and when it comes by mail, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) enabled: bool,
    pub(crate) hour: Hour,
    /// The From address: the account.
    pub(crate) from: Option<Address>,
    /// Who reads it.
    pub(crate) to: Option<Address>,
    /// How long the history knows what has left the queue.
    pub(crate) history_lifetime: Duration,
}

/// The reports of this relay.
#[derive(Debug)]
pub(crate) struct Reports {
    path: PathBuf,
    pub(super) options: Live<Options>,
    /// What is on disk; held while a report is queued. `None` while it is not known.
    kept: Mutex<Option<Kept>>,
}

/// The file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) version: u32,
    /// Since when its hours count: since it was turned on, or the last one was queued.
    pub(super) counts_since: Option<Timestamp>,
    /// When the last one was queued.
    pub(super) queued: Option<Timestamp>,
    /// The one that is being queued.
    pub(super) pending: Option<Pending>,
}

/// A report that is in the queue, or will be under this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) id: QueueId,
    pub(super) at: Timestamp,
}

/// What is kept, while nobody else changes it.
#[derive(Debug)]
pub(super) struct Held<'a> {
    path: &'a Path,
    kept: MutexGuard<'a, Option<Kept>>,
}

impl Reports {
    /// Those in the queue's directory.
    #[must_use]
    pub(crate) fn in_directory(directory: &Path, options: Live<Options>) -> Self {
        Self { path: directory.join(FILE), options, kept: Mutex::default() }
    }

    /// What is kept, for whoever changes it.
    pub(super) async fn hold(&self) -> Held<'_> {
        Held { path: &self.path, kept: self.kept.lock().await }
    }
}

impl Held<'_> {
    /// What is kept, read once; damage makes room, and a newer program's file is an error each time.
    pub(super) async fn known(&mut self) -> Result<Kept, KeptFileError> {
        if let Some(kept) = *self.kept {
            return Ok(kept);
        }
        let path = self.path.to_owned();
        let read = spawn_blocking(move || kept_file::read(&path, VERSION, FILE_BYTES_MAX)).await;
        let read = match read.map_err(io::Error::other)? {
            Err(KeptFileError::Damaged(error)) => {
                let path = self.path.display();
                tracing::warn!(%error, %path, "when the last report was queued is not known; the next one comes in its week");
                Kept::default()
            }
            read => read?,
        };
        *self.kept = Some(read);
        Ok(read)
    }

    /// Returns when it would survive a power cut.
    pub(super) async fn keep(&mut self, next: Kept) -> Result<(), KeptFileError> {
        if *self.kept == Some(next) {
            return Ok(());
        }
        let path = self.path.to_owned();
        let next = Kept { version: VERSION, ..next };
        let written = spawn_blocking(move || kept_file::replace(&path, &next)).await;
        written.map_err(io::Error::other)??;
        *self.kept = Some(next);
        Ok(())
    }
}

impl Kept {
    /// As it counts now: times ahead of the clock would keep reports away until then, and what was turned on just now waits
    /// for its hour, however long ago it was on before.
    pub(super) fn as_of(self, now: Timestamp, enabled: bool) -> Self {
        let since = self.counts_since.map_or(now, |since| since.min(now));
        Self {
            counts_since: enabled.then_some(since),
            queued: self.queued.filter(|queued| *queued <= now),
            ..self
        }
    }

    /// Once the pending one is queued, and has told everything up to then.
    pub(super) fn settled(self, until: Timestamp) -> Self {
        Self { counts_since: Some(until), queued: Some(until), pending: None, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_clock_that_was_ahead_keeps_no_report_away() {
        let kept = Kept::default().as_of(NOW.after(400 * DAY), true).settled(NOW.after(400 * DAY));
        let again = kept.as_of(NOW, true);
        assert_eq!((again.counts_since, again.queued), (Some(NOW), None));
        assert_eq!(again.as_of(NOW.after(DAY), true).counts_since, Some(NOW), "and stays so");
    }

    #[test]
    fn what_is_turned_on_again_waits_for_its_hour_and_knows_when_the_last_one_was() {
        let kept = Kept::default().as_of(NOW, true).settled(NOW);
        let off = kept.as_of(NOW.after(DAY), false);
        assert_eq!(off.counts_since, None);
        let on = off.as_of(NOW.after(100 * DAY), true);
        assert_eq!((on.counts_since, on.queued), (Some(NOW.after(100 * DAY)), Some(NOW)));
    }

    #[tokio::test]
    async fn it_survives_a_restart_damage_makes_room_and_a_newer_form_stays() {
        let directory = tempfile::tempdir().unwrap();
        let hour = Hour { day: super::super::schedule::Weekday::Monday, hour: 6 };
        let options =
            Options { enabled: true, hour, from: None, to: None, history_lifetime: 30 * DAY };
        let start = || Reports::in_directory(directory.path(), Live::new(options.clone()));
        let id = QueueId::proposed(NOW, [7; 6]);
        let kept = Kept { pending: Some(Pending { id, at: NOW }), ..Kept::default() };
        start().hold().await.keep(kept).await.unwrap();
        let kept = Kept { version: VERSION, ..kept };
        assert_eq!(start().hold().await.known().await.unwrap(), kept);

        let path = directory.path().join(FILE);
        for damaged in ["", "{", "[]", "{\"version\":1,\"pending\":{\"id\":\"..\",\"at\":1}}"] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(start().hold().await.known().await.unwrap(), Kept::default(), "{damaged}");
        }
        let newer = "{\"version\":2}";
        std::fs::write(&path, newer).unwrap();
        let reports = start();
        assert!(reports.hold().await.known().await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);
    }
}
