//! The drop directory: mail that programs of this host left while the daemon did not answer.
//!
//! Rule: a file is removed only after the receipt for its message, and its name is the message's id, so one that
//! outlives a crash is known and not sent again. What cannot be used is renamed and told, never removed.
//! Must not know what a session thinks of a message.

mod directory;
mod replay;

use std::{io, os::fd::OwnedFd, path::Path, sync::Arc, time::Duration};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::{io::unix::AsyncFd, task::spawn_blocking};

pub(crate) use self::directory::{DropState, Tally, faults};
use self::{
    directory::{Directory, Turn},
    replay::{LeftOut, Look, Round, Telling},
};
use super::service::Service;
use crate::{
    queue::dropped::DIRECTORY_MODE,
    shutdown::{Phase, Watch},
};

/// Between two looks when the kernel tells of nothing.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// After a look that has changed nothing, whatever the kernel tells: somebody may rename his files without end.
const BREATH: Duration = Duration::from_millis(200);
/// After a look that has changed nothing, when there are more files than it has tried.
const PAGE_PAUSE: Duration = Duration::from_secs(1);
/// After a look that the queue had no room for; doubled up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Takes the files.
pub(super) struct Reader {
    tally: Arc<Tally>,
    service: Arc<Service>,
    directory: Option<Arc<Directory>>,
    /// Trouble with the directory that the log has already.
    told: Option<String>,
    pause: Duration,
    turn: Turn,
    telling: Telling,
}

impl Reader {
    pub(super) fn new(tally: Arc<Tally>, service: Arc<Service>) -> Self {
        let pause = Duration::ZERO;
        let (turn, telling) = (Turn::default(), Telling::default());
        Self { tally, service, directory: None, told: None, pause, turn, telling }
    }

    /// Takes files until the service drains.
    pub(super) async fn run(mut self, mut shutdown: Watch) {
        let watch = shutdown.clone();
        let watcher = Watcher::new();
        let clock = Arc::clone(&self.service.clock);
        let draining = shutdown.reached(Phase::Draining);
        tokio::pin!(draining);
        loop {
            let directory = self.directory().await;
            // Before the look: what comes during it is told.
            watcher.watch(self.tally.path());
            let look = match directory {
                Some(directory) => self.look(&directory, &watch).await,
                None => Look::Done,
            };
            self.pause = match look {
                Look::PutOff => (self.pause * 2).clamp(PAUSE, PAUSE_MAX),
                // Where the kernel tells nothing, what comes new waits no longer than without those that stay.
                Look::Stuck { has_more: false } => (self.pause * 2).clamp(PAUSE, LOOK_INTERVAL),
                Look::Again | Look::Done | Look::Stuck { has_more: true } => Duration::ZERO,
            };
            let wait = match look {
                Look::Again => Duration::ZERO,
                Look::Done => LOOK_INTERVAL,
                Look::Stuck { has_more: true } => PAGE_PAUSE,
                Look::PutOff | Look::Stuck { .. } => self.pause,
            };
            let is_open = matches!(look, Look::Done | Look::Stuck { .. });
            tokio::select! {
                biased;
                () = &mut draining => return,
                () = async {
                    if look != Look::Done {
                        clock.sleep(BREATH).await;
                    }
                    watcher.changed().await;
                }, if is_open => {}
                () = clock.sleep(wait) => {}
            }
        }
    }

    /// The directory, opened anew when its path leads elsewhere.
    async fn directory(&mut self) -> Option<Arc<Directory>> {
        let (open, path) = (self.directory.take(), self.tally.path().to_owned());
        let work = move || match open.filter(|directory| directory.is_current()) {
            Some(directory) => Ok(directory),
            None => Directory::open(&path).map(Arc::new),
        };
        match spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(directory) => {
                self.directory = Some(directory);
                self.told = None;
            }
            Err(reason) if self.told.as_ref() == Some(&reason) => {}
            Err(reason) => {
                let path = self.tally.path().display();
                let remedy = format!(
                    "install -d -m {DIRECTORY_MODE:o} -o USER -g GROUP {path} (those of the relay), or drop_directory = \"off\" \
                     under [sendmail]"
                );
                tracing::warn!(directory = %path, reason, remedy, "the drop directory cannot be used: while the relay is down, local mail has nowhere to go");
                self.told = Some(reason);
            }
        }
        self.directory.clone()
    }

    async fn look(&mut self, directory: &Arc<Directory>, watch: &Watch) -> Look {
        let now = self.service.clock.now();
        for LeftOut { uid, lines } in self.telling.turn_over(now.since_boot_ms) {
            let directory = self.tally.path().display();
            tracing::warn!(%directory, uid, lines, "more files of the drop directory like those logged in the last minute");
        }
        let (listed, turn) = (Arc::clone(directory), self.turn.clone());
        let work = move || {
            let listing = listed.list(turn, now.wall)?;
            let removed = listed.remove_unfinished(&listing);
            Ok::<_, io::Error>((listing, removed))
        };
        let listing = match spawn_blocking(work).await.map_err(io::Error::other).flatten() {
            Ok((listing, 0)) => listing,
            Ok((listing, removed)) => {
                tracing::info!(
                    files = removed,
                    "unfinished files of the last days removed from the drop directory"
                );
                listing
            }
            Err(error) => {
                tracing::warn!(%error, "the drop directory cannot be read");
                return Look::PutOff;
            }
        };
        let mut round = Round::new(
            &self.service,
            &self.tally,
            directory,
            &mut self.telling,
            (listing.waiting, listing.bad),
        );
        let look = round.take(&listing, watch).await;
        self.turn = listing.next_turn(round.last, round.tried);
        look
    }
}

/// The kernel's notes about one directory.
#[derive(Debug)]
struct Watcher {
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
