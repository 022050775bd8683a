//! The drop directory: mail that programs of this host left while the daemon did not answer.
//!
//! Rule: a file is removed only after the receipt for its message, and its name is the message's id, so one that
//! outlives a crash is known and not sent again. What cannot be used is renamed and told, never removed.
//! Must not know what a session thinks of a message.

mod directory;
mod replay;

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use serde::{Deserialize, Serialize};
use tokio::{io::unix::AsyncFd, task::spawn_blocking};

pub use self::directory::faults;
use self::{
    directory::{Directory, Turn},
    replay::{Look, Round},
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
/// What lies in the directory, as the last look has left it.
#[derive(Debug, Default)]
pub struct Tally {
    path: PathBuf,
    waiting: AtomicU64,
    set_aside: AtomicU64,
}

/// The same, to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropState {
    /// The directory.
    pub directory: String,
    /// Files that wait to be taken.
    pub waiting: u64,
    /// Files that a person must look at: `bad.*`.
    pub set_aside: u64,
}

impl Tally {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    /// What is there.
    #[must_use]
    pub fn state(&self) -> DropState {
        DropState {
            directory: self.path.display().to_string(),
            waiting: self.waiting.load(Ordering::Relaxed),
            set_aside: self.set_aside.load(Ordering::Relaxed),
        }
    }
}

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
            watcher.watch(&self.tally.path);
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
        let (open, path) = (self.directory.take(), self.tally.path.clone());
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
                let path = self.tally.path.display();
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
            let directory = self.tally.path.display();
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

/// The time for which the limits below are.
const WINDOW_MS: u64 = 60_000;
/// Lines about files of one owner.
const LINES_MAX: u64 = 20;
/// Files of one owner that are set aside.
const SET_ASIDE_MAX: u64 = 100;
/// Owners that are told apart; the others share their limits.
const OWNERS_MAX: usize = 100;
/// Owners whose number is told at the end; of the others how many lines were left out.
const SUMMARIES_MAX: usize = 10;
/// Stands for all owners beyond [`OWNERS_MAX`].
const OTHERS: u32 = u32::MAX;

/// What has been told in the present minute.
#[derive(Debug, Default)]
pub(super) struct Telling {
    since_ms: u64,
    owners: BTreeMap<u32, Told>,
}

#[derive(Debug, Default)]
struct Told {
    lines: u64,
    left_out: u64,
    set_aside: u64,
}

/// Lines that were left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Whose files they were about; nobody's when there are too many owners.
    pub(super) uid: Option<u32>,
    pub(super) lines: u64,
}

impl Telling {
    /// Whether there is a line for a file of this owner.
    pub(super) fn may_tell(&mut self, uid: u32) -> bool {
        let told = self.of(uid);
        let has_room = told.lines < LINES_MAX;
        if has_room {
            told.lines += 1
        } else {
            told.left_out += 1
        }
        has_room
    }

    /// Whether one more file of this owner is set aside now.
    pub(super) fn may_set_aside(&mut self, uid: u32) -> bool {
        let told = self.of(uid);
        told.set_aside += 1;
        told.set_aside <= SET_ASIDE_MAX
    }

    fn of(&mut self, uid: u32) -> &mut Told {
        let is_known = self.owners.contains_key(&uid) || self.owners.len() < OWNERS_MAX;
        self.owners.entry(if is_known { uid } else { OTHERS }).or_default()
    }

    /// Begins a new minute when the last one is over; returns what it had no room for.
    pub(super) fn turn_over(&mut self, now_ms: u64) -> Vec<LeftOut> {
        if now_ms < self.since_ms.saturating_add(WINDOW_MS) {
            return Vec::new();
        }
        self.since_ms = now_ms;
        let told = std::mem::take(&mut self.owners);
        let left_out = told.into_iter().filter(|(_, told)| told.left_out > 0);
        let mut left_out: Vec<LeftOut> = left_out
            .map(|(uid, told)| LeftOut {
                uid: (uid != OTHERS).then_some(uid),
                lines: told.left_out,
            })
            .collect();
        let rest = left_out.split_off(left_out.len().min(SUMMARIES_MAX));
        let lines: u64 = rest.iter().map(|other| other.lines).sum();
        left_out.extend((lines > 0).then_some(LeftOut { uid: None, lines }));
        left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_has_his_lines_and_takes_none_of_the_others() {
        let mut telling = Telling::default();
        assert_eq!(telling.turn_over(WINDOW_MS), []);
        let told = (0..1_000).filter(|_| telling.may_tell(1_000)).count() as u64;
        assert_eq!(told, LINES_MAX);
        assert!(telling.may_tell(1_001) && telling.may_tell(0));
        assert_eq!(telling.turn_over(2 * WINDOW_MS - 1), []);
        let left_out = LeftOut { uid: Some(1_000), lines: 1_000 - LINES_MAX };
        assert_eq!(telling.turn_over(2 * WINDOW_MS), [left_out]);
        assert!(telling.may_tell(1_000));
    }

    #[test]
    fn a_minute_sets_aside_so_many_files_of_an_owner_and_no_more() {
        let mut telling = Telling::default();
        let set_aside = (0..1_000).filter(|_| telling.may_set_aside(1_000)).count() as u64;
        assert_eq!((set_aside, telling.may_set_aside(1_001)), (SET_ASIDE_MAX, true));
    }

    #[test]
    fn a_crowd_of_owners_is_bounded_in_memory_and_in_lines() {
        let mut telling = Telling::default();
        telling.turn_over(WINDOW_MS);
        for uid in 0..10_000 {
            assert!((0..30).filter(|_| telling.may_tell(uid)).count() as u64 <= LINES_MAX);
        }
        assert!(telling.owners.len() <= OWNERS_MAX + 1);
        let left_out = telling.turn_over(2 * WINDOW_MS);
        assert_eq!(left_out.len(), SUMMARIES_MAX + 1);
        let told = LINES_MAX * (OWNERS_MAX as u64 + 1);
        assert_eq!(left_out.iter().map(|other| other.lines).sum::<u64>(), 300_000 - told);
    }
}
