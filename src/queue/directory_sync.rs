//! Makes directory entries durable, one sync for all who wait.
//!
//! Rule: a waiter is answered only by a sync that began after it asked; a few threads sync at the same
//! time, so that on a slow disk nobody waits for a whole sync that came too early for them.
//! Must not know what the entries are.

use std::{
    collections::HashSet,
    fs::File,
    io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use tokio::sync::oneshot;

use super::faults::{Faults, Step};
use crate::sync;

/// Syncs at the same time. Two halve the wait for the next start; more would only wake more threads.
const THREADS: usize = 2;

/// The result of a shared sync; the error is shared as text because several wait for it.
pub(super) type Synced = Result<(), String>;

/// A service that syncs directories on threads of its own until it is dropped.
#[derive(Debug)]
pub(super) struct DirectorySync {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    asked: Mutex<Asked>,
    wake: Condvar,
    faults: Faults,
}

#[derive(Debug, Default)]
struct Asked {
    directories: HashSet<PathBuf>,
    waiting: Vec<oneshot::Sender<Synced>>,
    closed: bool,
}

impl DirectorySync {
    /// Starts the threads.
    pub(super) fn start(faults: Faults) -> io::Result<Self> {
        let service = Self { shared: Arc::new(Shared { faults, ..Shared::default() }) };
        for number in 0..THREADS {
            let shared = Arc::clone(&service.shared);
            thread::Builder::new().name(format!("directory-sync-{number}")).spawn(move || {
                // A thread that is gone would leave those who ask waiting for ever; who is asked for now hears no.
                while panic::catch_unwind(AssertUnwindSafe(|| serve(&shared))).is_err() {
                    tracing::error!("a thread that syncs directories has panicked and goes on");
                }
            })?;
        }
        Ok(service)
    }

    /// Asks for a sync of `directory` that begins after this call.
    pub(super) fn request(&self, directory: &Path) -> oneshot::Receiver<Synced> {
        let (answer, receiver) = oneshot::channel();
        let mut asked = sync::lock(&self.shared.asked);
        if !asked.directories.contains(directory) {
            asked.directories.insert(directory.to_owned());
        }
        asked.waiting.push(answer);
        drop(asked);
        self.shared.wake.notify_one();
        receiver
    }
}

impl Drop for DirectorySync {
    fn drop(&mut self) {
        sync::lock(&self.shared.asked).closed = true;
        self.shared.wake.notify_all();
    }
}

fn serve(shared: &Shared) {
    while let Some((directories, waiting)) = next(shared) {
        let sync = |path: &PathBuf| shared.faults.at(Step::SyncDirectory).and_then(|()| sync(path));
        let result = directories.iter().try_for_each(sync).map_err(|error| error.to_string());
        for answer in waiting {
            // The one who asked may have gone away with its connection.
            drop(answer.send(result.clone()));
        }
    }
}

/// Waits for work; takes all that is asked. `None` when the service is closed.
fn next(shared: &Shared) -> Option<(HashSet<PathBuf>, Vec<oneshot::Sender<Synced>>)> {
    let mut asked = sync::lock(&shared.asked);
    while asked.waiting.is_empty() {
        if asked.closed {
            return None;
        }
        asked = shared.wake.wait(asked).unwrap_or_else(PoisonError::into_inner);
    }
    Some((std::mem::take(&mut asked.directories), std::mem::take(&mut asked.waiting)))
}

/// Makes the entries of a directory durable.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_asked_is_answered_and_a_missing_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let service = DirectorySync::start(Faults::default()).unwrap();
        let answers: Vec<_> = (0..20).map(|_| service.request(directory.path())).collect();
        for answer in answers {
            assert_eq!(answer.await, Ok(Ok(())));
        }
        let answer = service.request(&directory.path().join("missing")).await.unwrap();
        assert!(answer.is_err());
    }
}
