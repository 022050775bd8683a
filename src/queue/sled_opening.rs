//! sled's files: opened under guard, and moved out of the way when they are damaged.

use std::{
    fs, io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use super::{
    doubt,
    faults::Faults,
    index::{Index, IndexSource, OpenError},
    sled_index::SledIndex,
};
use crate::clock::Timestamp;

/// How long sled may take to open; a damaged store can hang.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
/// The folder of sled's files in the state directory.
pub(super) const FOLDER: &str = "queue.sled";

/// The index on disk.
#[derive(Debug)]
pub(super) struct SledFiles;

impl IndexSource for SledFiles {
    fn open(
        &self,
        state: &Path,
        in_doubt: bool,
        faults: &Faults,
    ) -> Result<Arc<dyn Index>, OpenError> {
        let files = state.join(FOLDER);
        doubt::settle(&files, in_doubt, faults).map_err(|error| {
            OpenError::Unavailable(format!("the queue's index cannot be rewritten: {error}"))
        })?;
        open_guarded(&files, faults.clone())
    }

    fn set_aside(&self, state: &Path, now: Timestamp) -> io::Result<PathBuf> {
        let bad = state.join(format!("{FOLDER}.bad-{}", now.0));
        fs::rename(state.join(FOLDER), &bad).map(|()| bad)
    }
}

/// Opens sled in a thread of its own: it may panic or hang on damaged files.
pub(super) fn open_guarded(path: &Path, faults: Faults) -> Result<Arc<dyn Index>, OpenError> {
    let (answer, result) = mpsc::channel();
    let path = path.to_owned();
    let opening = thread::Builder::new().name("queue-open".into()).spawn(move || {
        let opened = panic::catch_unwind(AssertUnwindSafe(|| SledIndex::open(&path, faults)));
        // The receiver is gone after the time-out; then nobody wants the index.
        drop(answer.send(opened));
    });
    opening.map_err(|error| OpenError::Unavailable(error.to_string()))?;
    match result.recv_timeout(OPEN_TIMEOUT) {
        Ok(Ok(opened)) => Ok(Arc::new(opened?)),
        Ok(Err(_)) => Err(OpenError::Damaged("sled panicked while opening".into())),
        Err(_) => Err(OpenError::Damaged(format!(
            "sled did not open within {} s",
            OPEN_TIMEOUT.as_secs()
        ))),
    }
}
