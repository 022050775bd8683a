//! The drop directory: mail that programs of this host left while the daemon did not answer.
//!
//! Rule: a file is removed only after the receipt for its message, and its name is the message's id, so one that
//! outlives a crash is known and not sent again. What cannot be used is renamed and told, never removed.
//! Must not know what a session thinks of a message.

mod directory;
mod player;
mod watch;

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

pub use self::directory::faults;
use self::{
    directory::{Directory, Dropped, Listing, Unusable},
    player::Outcome,
    watch::Watcher,
};
use super::arrival::Service;
use crate::{
    queue::{
        dropped::{DIRECTORY_MODE, new_name},
        id::QueueId,
    },
    shutdown::{Phase, Watch},
};

/// Between two looks when the kernel tells of nothing.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// After a look that the queue had no room for; doubled up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Messages put off one after the other: the next ones would be, too.
const PUT_OFF_MAX: u32 = 3;
/// Files of one look about which the log has a line each; of the others it has the number.
const LINES_MAX: u64 = 20;
/// Characters of a file's name that are logged.
const NAME_SHOWN_MAX: usize = 64;

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
}

/// How a look has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// There is more.
    Again,
    /// All is taken, or set aside.
    Done,
    /// The queue takes nothing just now.
    PutOff,
}

impl Reader {
    pub(super) fn new(tally: Arc<Tally>, service: Arc<Service>) -> Self {
        Self { tally, service, directory: None, told: None, pause: Duration::ZERO }
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
                Look::Again | Look::Done => Duration::ZERO,
            };
            let wait = match look {
                Look::Again => Duration::ZERO,
                Look::Done => LOOK_INTERVAL,
                Look::PutOff => self.pause,
            };
            tokio::select! {
                biased;
                () = &mut draining => return,
                () = watcher.changed(), if look == Look::Done => {}
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

    async fn look(&self, directory: &Arc<Directory>, watch: &Watch) -> Look {
        let (listed, now) = (Arc::clone(directory), self.service.clock.wall());
        let work = move || {
            let listing = listed.list()?;
            let removed = listed.remove_unfinished(&listing, now);
            Ok::<_, std::io::Error>((listing, removed))
        };
        let listing = match spawn_blocking(work).await.map_err(std::io::Error::other).flatten() {
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
        let mut round =
            Round { reader: self, directory, waiting: listing.waiting, bad: listing.bad, lines: 0 };
        let look = round.take(&listing, watch).await;
        round.close();
        look
    }
}

/// One look.
struct Round<'a> {
    reader: &'a Reader,
    directory: &'a Arc<Directory>,
    waiting: u64,
    bad: u64,
    lines: u64,
}

impl Round<'_> {
    async fn take(&mut self, listing: &Listing, watch: &Watch) -> Look {
        for name in &listing.foreign {
            self.set_aside(name, None, "nobody of ours has given it this name").await;
        }
        let mut put_off = 0;
        for id in &listing.new {
            if watch.phase() != Phase::Running {
                return Look::Done;
            }
            self.count();
            put_off = if self.file(*id, watch).await { 0 } else { put_off + 1 };
            if put_off >= PUT_OFF_MAX {
                return Look::PutOff;
            }
        }
        match (put_off, listing.waiting > listing.new.len() as u64) {
            (0, false) => Look::Done,
            (0, true) => Look::Again,
            _ => Look::PutOff,
        }
    }

    /// Takes one file; false when it must wait.
    async fn file(&mut self, id: QueueId, watch: &Watch) -> bool {
        let service = &self.reader.service;
        let (directory, limit) =
            (Arc::clone(self.directory), service.session_options.max_message_bytes);
        let read = spawn_blocking(move || directory.read(id, limit)).await;
        let read =
            read.unwrap_or_else(|error| Err(Unusable::Unreadable(std::io::Error::other(error))));
        let name = OsString::from(new_name(id));
        let dropped: Dropped = match read {
            Ok(dropped) => dropped,
            Err(Unusable::Gone) => {
                self.waiting = self.waiting.saturating_sub(1);
                return true;
            }
            Err(Unusable::Unreadable(error)) => {
                if self.may_tell() {
                    tracing::warn!(%id, %error, remedy = "see pillarbox check", "a file of the drop directory cannot be read");
                }
                return false;
            }
            Err(Unusable::Bad { uid, reason }) => {
                self.set_aside(&name, uid, &reason).await;
                return true;
            }
        };
        let uid = dropped.uid;
        match player::play(id, dropped, service, watch.clone()).await {
            Outcome::Taken(refused) if refused.is_empty() => self.remove(id).await,
            Outcome::Taken(refused) => {
                let words =
                    format!("the message was sent on, but not to all: {}", refused.join("; "));
                self.set_aside(&name, Some(uid), &words).await;
                true
            }
            Outcome::Bad(reason) => {
                self.set_aside(&name, Some(uid), &reason).await;
                true
            }
            Outcome::Later(reply) => {
                tracing::debug!(%id, uid, reply, "a file of the drop directory waits");
                false
            }
        }
    }

    /// The message is safe, so its file goes.
    async fn remove(&mut self, id: QueueId) -> bool {
        let directory = Arc::clone(self.directory);
        let removed = spawn_blocking(move || directory.remove(id))
            .await
            .map_err(std::io::Error::other)
            .flatten();
        match removed {
            Ok(()) => {
                self.waiting = self.waiting.saturating_sub(1);
                true
            }
            Err(error) => {
                if self.may_tell() {
                    tracing::error!(%id, %error, "the file of a message that was taken cannot be removed from the drop directory; the message is sent once all the same");
                }
                false
            }
        }
    }

    async fn set_aside(&mut self, name: &OsStr, uid: Option<u32>, reason: &str) {
        let (directory, old) = (Arc::clone(self.directory), name.to_owned());
        let moved = spawn_blocking(move || directory.set_aside(&old)).await;
        let moved = moved.map_err(std::io::Error::other).flatten();
        let told = self.may_tell();
        let (file, directory) = (shown(name), self.reader.tally.path.display());
        match moved {
            Ok(kept_as) => {
                self.bad += 1;
                self.waiting = self
                    .waiting
                    .saturating_sub(u64::from(name.as_encoded_bytes().starts_with(b"new.")));
                if told {
                    let remedy =
                        "look at it as root; rename it back to be tried again, or delete it";
                    tracing::warn!(%directory, file, uid, reason, kept_as = shown(&kept_as), remedy, "set aside in the drop directory");
                }
            }
            Err(error) if told => {
                tracing::warn!(%directory, file, uid, reason, %error, "a file of the drop directory can neither be used nor renamed");
            }
            Err(_) => {}
        }
    }

    /// Whether there is a line left for one more file.
    fn may_tell(&mut self) -> bool {
        self.lines += 1;
        self.lines <= LINES_MAX
    }

    fn count(&self) {
        self.reader.tally.waiting.store(self.waiting, Ordering::Relaxed);
        self.reader.tally.set_aside.store(self.bad, Ordering::Relaxed);
    }

    fn close(&self) {
        self.count();
        if self.lines > LINES_MAX {
            let files = self.lines - LINES_MAX;
            tracing::warn!(files, directory = %self.reader.tally.path.display(), "more files of the drop directory like these");
        }
    }
}

/// A name as the log shows it: anybody may have chosen it.
fn shown(name: &OsStr) -> String {
    name.to_string_lossy()
        .chars()
        .take(NAME_SHOWN_MAX)
        .collect::<String>()
        .escape_debug()
        .to_string()
}
