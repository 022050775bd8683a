//! Tells when a file gets its final name in the drop directory.
//!
//! Rule: a hint only: where the kernel gives none, the slow look finds the files all the same.
//! Must not know what lies in the directory.

use std::{io, os::fd::OwnedFd, path::Path};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

/// The kernel's notes about one directory.
#[derive(Debug)]
pub(super) struct Watcher {
    notes: Option<AsyncFd<OwnedFd>>,
}

impl Watcher {
    pub(super) fn new() -> Self {
        let notes =
            inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(io::Error::from);
        #[expect(
            deprecated,
            reason = "its successor is unsafe; nobody closes this descriptor but its owner"
        )]
        let notes = notes.and_then(AsyncFd::new);
        if let Err(error) = &notes {
            tracing::debug!(%error, "no notes about the drop directory; it is looked at every minute");
        }
        Self { notes: notes.ok() }
    }

    /// Watches whatever the path leads to now. To be asked before each look: it costs nothing when nothing changed.
    pub(super) fn watch(&self, path: &Path) {
        let Some(notes) = &self.notes else { return };
        let flags = WatchFlags::MOVED_TO | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        if let Err(error) = inotify::add_watch(notes.get_ref(), path, flags) {
            tracing::debug!(error = %io::Error::from(error), "no notes about the drop directory; it is looked at every minute");
        }
    }

    /// Returns when there is something new.
    pub(super) async fn changed(&self) {
        let Some(notes) = &self.notes else { return std::future::pending().await };
        let Ok(mut ready) = notes.readable().await else { return std::future::pending().await };
        let mut buffer = [0; 4096];
        // How many notes there are, and about what, the look finds out.
        while rustix::io::read(notes.get_ref(), &mut buffer).is_ok_and(|octets| octets > 0) {}
        ready.clear_ready();
    }
}
