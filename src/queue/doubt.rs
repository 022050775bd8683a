//! An index in doubt: one whose sync has failed, so that what is read from it may never have reached the disk.
//!
//! Rule: after a failed sync the kernel takes the pages for written and shows them until it needs the memory, and a
//! second sync succeeds without writing them; so the files are copied, and the copies synced, before anybody trusts
//! what they say. A mark tells the next process; it need not be durable, because what a power cut leaves is what the
//! disk has. Must not know what is in the files.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use tracing::warn;

use super::faults::{Faults, Step};
use crate::careful_file::{self, Links};

/// Octets copied at a time.
const BLOCK_BYTES: usize = 256 * 1024;
/// How often, and how long after another, we look whether tables that were thrown away have let go of their file.
const LOCK_ATTEMPTS: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The mark of the index in `directory`.
fn mark_of(directory: &Path) -> PathBuf {
    directory.with_extension("sled.unsynced")
}

/// Notes that the index in `directory` is in doubt.
pub(super) fn mark(directory: &Path) {
    // On a disk that refuses this too, only a process that starts before the machine does would not know.
    if let Err(error) = careful_file::open_or_create(&mark_of(directory)) {
        warn!(%error, "it cannot be noted that the queue's index was not synced; restart the machine rather than the program");
    }
}

/// Makes the index in `directory` as durable as it looks, when it is in doubt (`known`, or by its mark).
pub(super) fn settle(directory: &Path, known: bool, faults: &Faults) -> io::Result<()> {
    let mark = mark_of(directory);
    if !known && fs::symlink_metadata(&mark).is_err() {
        return Ok(());
    }
    let data = match careful_file::open(&directory.join("db"), Links::Refused) {
        Ok(data) => Some(locked(data)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if data.is_some() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                make_durable(&entry.path(), &directory.with_extension("sled.copy"), faults)?;
            }
        }
        faults.at(Step::SyncDirectory)?;
        File::open(directory)?.sync_all()?;
        warn!("the queue's index was rewritten, because a sync of it had failed");
    }
    match fs::remove_file(mark) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Waits until nobody writes to it any more: sled locks its data file.
fn locked(data: File) -> io::Result<File> {
    for _ in 1..LOCK_ATTEMPTS {
        match flock(&data, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => thread::sleep(LOCK_PAUSE),
            answer => return answer.map(|()| data).map_err(Into::into),
        }
    }
    Err(io::Error::other("the failed index has not been closed yet"))
}

fn make_durable(path: &Path, copy: &Path, faults: &Faults) -> io::Result<()> {
    let original = careful_file::open_or_create(path)?;
    let new = careful_file::create(copy, 0o600)?;
    match transfer(&original, &new, faults).and_then(|()| new.set_len(original.metadata()?.len())) {
        Ok(()) => {}
        // Mail must be able to leave a full disk: written over itself it is marked as unwritten again.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            drop(new);
            fs::remove_file(copy)?;
            transfer(&original, &original, faults)?;
            faults.at(Step::IndexSync)?;
            return original.sync_all();
        }
        Err(error) => return Err(error),
    }
    faults.at(Step::IndexSync)?;
    new.sync_all()?;
    fs::rename(copy, path)
}

fn transfer(from: &File, to: &File, faults: &Faults) -> io::Result<()> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut at = 0;
    loop {
        let length = from.read_at(&mut block, at)?;
        if length == 0 {
            return Ok(());
        }
        faults.at(Step::IndexWrite)?;
        to.write_all_at(&block[..length], at)?;
        at += length as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn scene() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let state = tempfile::tempdir().unwrap();
        let index = state.path().join("queue.sled");
        fs::create_dir(&index).unwrap();
        let data = index.join("db");
        fs::write(&data, vec![7; BLOCK_BYTES * 2 + 5]).unwrap();
        (state, index, data)
    }

    fn inode(path: &Path) -> u64 {
        fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn an_index_in_doubt_is_copied_once_and_others_are_not_touched() {
        let (_state, index, data) = scene();
        let (old, content) = (inode(&data), fs::read(&data).unwrap());
        settle(&index, false, &Faults::default()).unwrap();
        assert_eq!(inode(&data), old);
        mark(&index);
        settle(&index, false, &Faults::default()).unwrap();
        let new = inode(&data);
        assert_ne!(new, old, "the kernel may take the old pages for written");
        assert_eq!(fs::read(&data).unwrap(), content);
        settle(&index, false, &Faults::default()).unwrap();
        assert_eq!(inode(&data), new, "once");
        settle(&index, true, &Faults::default()).unwrap();
        assert_ne!(inode(&data), new, "this process knows, though the mark could not be made");
    }

    #[test]
    fn while_the_disk_still_refuses_the_index_stays_in_doubt() {
        for step in [Step::IndexWrite, Step::IndexSync, Step::SyncDirectory] {
            let (_state, index, _data) = scene();
            mark(&index);
            let faults = Faults::once(step, rustix::io::Errno::IO);
            settle(&index, false, &faults).unwrap_err();
            assert!(mark_of(&index).exists(), "{step:?}");
            settle(&index, false, &faults).unwrap();
            assert!(!mark_of(&index).exists(), "{step:?}");
        }
    }

    #[test]
    fn on_a_full_disk_the_index_is_written_over_itself_and_synced() {
        let (state, index, data) = scene();
        let (old, content) = (inode(&data), fs::read(&data).unwrap());
        settle(&index, true, &Faults::once(Step::IndexWrite, rustix::io::Errno::NOSPC)).unwrap();
        assert_eq!((inode(&data), fs::read(&data).unwrap()), (old, content));
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1, "nothing is left");
    }

    #[test]
    fn tables_that_are_still_written_to_are_not_copied() {
        let (_state, index, data) = scene();
        let file = File::open(&data).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        settle(&index, true, &Faults::default()).unwrap_err();
        drop(file);
        settle(&index, true, &Faults::default()).unwrap();
    }
}
