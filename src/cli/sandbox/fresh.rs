//! A sandbox that starts with an empty queue.
//!
//! Rule: only the default directory is ever emptied, and never under a process that holds it. Must not
//! know what a queue consists of.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
};

use crate::cli::exit::{Exit, Failure};

/// The file that the daemon on a queue holds locked.
const LOCK: &str = "lock";

/// Empties the queue of an earlier run: its spent budget and its paused account would puzzle whoever
/// starts anew. A queue that another process holds is left alone; opening it says who that is.
pub(super) fn start_fresh(queue: &Path) -> Result<(), Failure> {
    empty_unless_locked(queue).map_err(|error| {
        let message = format!(
            "cannot empty the queue of an earlier sandbox in {}: {error}; choose another place with --directory",
            queue.display()
        );
        Failure::new(Exit::Unavailable, message)
    })
}

fn empty_unless_locked(queue: &Path) -> io::Result<()> {
    let lock = match File::options().write(true).open(queue.join(LOCK)) {
        Ok(lock) => lock,
        // Nobody was here before.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    for entry in fs::read_dir(queue)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_name() != LOCK {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
