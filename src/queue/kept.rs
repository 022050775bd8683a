//! The bodies of relayed messages that are kept for a while, so that a person can send one again.
//!
//! Rule: a directory of its own, in which nobody ever looks for a waiting message: whatever a crash leaves here is sent by
//! nobody. A body comes by a rename when its message is in the history; room is made by removing the oldest, and all of them
//! go before mail is refused for a full disk. Must not know the index.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use super::id::QueueId;
use crate::sync;

/// The directory below the state directory.
pub(crate) const FOLDER: &str = "kept";
/// Octets of all bodies: a week of 500 messages a day with pictures in some, and little beside the queue's own room.
pub(crate) const KEPT_BYTES_MAX: u64 = 1 << 30;
/// Bodies, so that a directory and a memory of small ones stay small.
pub(crate) const KEPT_FILES_MAX: usize = 100_000;

/// Bodies that are removed at a time for want of room: whoever brings mail waits for it.
const MADE_ROOM_MAX: usize = 1_000;

/// The kept bodies.
#[derive(Debug)]
pub(super) struct Kept {
    directory: PathBuf,
    files: Mutex<Files>,
}

/// What is there, by id and so by age.
#[derive(Debug, Default)]
struct Files {
    octets: BTreeMap<QueueId, u64>,
    total: u64,
}

impl Files {
    fn add(&mut self, id: QueueId, octets: u64) {
        let before = self.octets.insert(id, octets).unwrap_or(0);
        self.total = self.total.saturating_sub(before).saturating_add(octets);
    }

    fn remove(&mut self, id: QueueId) {
        self.total = self.total.saturating_sub(self.octets.remove(&id).unwrap_or(0));
    }
}

impl Kept {
    /// Opens the directory, or makes it.
    pub(super) fn open(state: &Path) -> io::Result<Self> {
        let directory = state.join(FOLDER);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let mut files = Files::default();
        for (id, octets) in list(&directory)? {
            files.add(id, octets);
        }
        Ok(Self { directory, files: Mutex::new(files) })
    }

    /// Where a body lies when it is kept.
    pub(super) fn path(&self, id: QueueId) -> PathBuf {
        self.directory.join(id.to_string())
    }

    /// Takes the file of a relayed message, and makes room for it.
    pub(super) fn take(&self, id: QueueId, file: &Path) -> io::Result<()> {
        let octets = fs::metadata(file)?.len();
        fs::rename(file, self.path(id))?;
        let mut files = self.lock();
        files.add(id, octets);
        self.shrink(&mut files, |files| {
            files.total > KEPT_BYTES_MAX || files.octets.len() > KEPT_FILES_MAX
        })
    }

    /// The ids of what is kept.
    pub(super) fn ids(&self) -> Vec<QueueId> {
        self.lock().octets.keys().copied().collect()
    }

    /// Removes one.
    pub(super) fn remove(&self, id: QueueId) -> io::Result<()> {
        let mut files = self.lock();
        self.unlink(&mut files, id)
    }

    /// Removes the oldest ones for as long as room is wanted, a thousand at most.
    pub(super) fn make_room(&self, is_wanted: impl Fn() -> bool) -> io::Result<()> {
        let mut files = self.lock();
        let least = files.octets.len().saturating_sub(MADE_ROOM_MAX);
        self.shrink(&mut files, |files| files.octets.len() > least && is_wanted())
    }

    fn shrink(&self, files: &mut Files, is_too_much: impl Fn(&Files) -> bool) -> io::Result<()> {
        while is_too_much(files) {
            let Some(oldest) = files.octets.keys().next().copied() else { return Ok(()) };
            self.unlink(files, oldest)?;
        }
        Ok(())
    }

    fn unlink(&self, files: &mut Files, id: QueueId) -> io::Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => files.remove(id),
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        sync::lock(&self.files)
    }
}

/// What is kept in the directory, with its octets.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(QueueId, u64)>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some(Ok(id)) = entry.file_name().to_str().map(str::parse) {
            found.push((id, entry.metadata()?.len()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> QueueId {
        QueueId::from_bytes([number; 16])
    }

    #[test]
    fn the_oldest_go_when_there_is_too_much_and_all_when_the_disk_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let kept = Kept::open(directory.path()).unwrap();
        let file = directory.path().join("file");
        for number in [3, 1, 2] {
            // A hole: the octets count as they are seen.
            fs::File::create(&file).unwrap().set_len(KEPT_BYTES_MAX / 2).unwrap();
            kept.take(id(number), &file).unwrap();
        }
        assert_eq!(kept.ids(), [id(2), id(3)]);
        assert_eq!(
            Kept::open(directory.path()).unwrap().ids(),
            kept.ids(),
            "as a start finds them"
        );
        kept.make_room(|| kept.path(id(2)).exists()).unwrap();
        assert_eq!(kept.ids(), [id(3)]);
        kept.make_room(|| true).unwrap();
        assert!(kept.ids().is_empty() && list(&directory.path().join(FOLDER)).unwrap().is_empty());
    }
}
