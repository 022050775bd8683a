//! The spool: one file a message, the truth about what was accepted.
//!
//! Rule: a file under its final name whose own sync and whose directory's sync have both returned is an
//! accepted message. Before that it is `<id>.part`, or unacknowledged. Must not know sled or states.

use std::{
    ffi::OsString,
    fmt::{self, Write as _},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tracing::warn;

use super::{
    directory_sync::{self, DirectorySync},
    ending::Ending,
    error::QueueError,
    faults::{Faults, Step},
    id::{ID_LENGTH, QueueId},
    kept::Kept,
    marks::{self, Mark},
    record::MessageRecord,
    remote::Remote,
    reserved_ids::ReservedId,
    spool_file::{self, Described, MessageReader, PART_SUFFIX, ReadError},
};
use crate::{clock::Timestamp, reasons, sync};

/// Sub-directories of the spool. A message's directory follows from its time (it changes every 65 s),
/// so that messages that come together share one directory sync.
const DIRECTORIES: u16 = 256;

/// The directory tree of spool files.
#[derive(Debug)]
pub(super) struct Spool {
    root: PathBuf,
    damaged: PathBuf,
    directories: DirectorySync,
    names: Arc<Names>,
    /// Bodies of relayed messages.
    pub(super) kept: Kept,
    /// Where messages are durable, when that is not here: then nothing here is synced, and what is missing is fetched.
    pub(super) remote: Option<Arc<dyn Remote>>,
    pub(super) faults: Faults,
}

/// Held while a name is made or changed. The kernel admits one thread at a time to a directory and lets
/// the others spin, which costs a machine with few cores more than sleeping here.
type Names = Mutex<()>;

/// What becomes of the file of a message that has left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retirement {
    Removed,
    Kept,
}

impl Retirement {
    /// Of a message that ended so, when relayed ones are kept or not.
    pub(super) fn of(end: Option<&MessageRecord>, are_kept: bool) -> Self {
        let how = end.and_then(|record| record.end.as_ref()).map(|end| end.how);
        if are_kept && how == Some(Ending::Relayed) { Self::Kept } else { Self::Removed }
    }
}

/// What lies in the spool.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Whole names.
    pub(super) messages: Vec<QueueId>,
    /// Messages whose client was not answered.
    pub(super) parts: Vec<PathBuf>,
    /// Messages with marks.
    pub(super) marked: Vec<QueueId>,
}

impl Spool {
    /// Opens or creates the tree under the state directory.
    pub(super) fn open(
        state: &Path,
        remote: Option<Arc<dyn Remote>>,
        faults: Faults,
    ) -> io::Result<Self> {
        let spool = Self {
            root: state.join("spool"),
            damaged: state.join("damaged"),
            directories: DirectorySync::start(faults.clone())?,
            names: Arc::default(),
            kept: Kept::open(state)?,
            remote,
            faults,
        };
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(&spool.damaged)?;
        private.create(&spool.root)?;
        let first = spool.root.join(format!("{:02x}", DIRECTORIES - 1));
        if !first.is_dir() {
            // The last one is made last: if it is there, all are, and their names were synced.
            for number in 0..DIRECTORIES {
                private.create(spool.root.join(format!("{number:02x}")))?;
            }
            directory_sync::sync(&spool.root)?;
            directory_sync::sync(state)?;
        }
        Ok(spool)
    }

    /// The file that a new message is received into. Nothing is on disk until the first
    /// [`PartFile::append`] or [`Spool::store`].
    pub(super) fn part(&self, id: QueueId) -> PartFile {
        let mut path = self.path(id).into_os_string();
        path.push(PART_SUFFIX);
        let path = PathBuf::from(path);
        let (names, faults) = (Arc::clone(&self.names), self.faults.clone());
        PartFile { path, file: None, names, reserved_id: None, faults }
    }

    /// Writes what is left of a frame and makes file and name durable: their syncs run side by side.
    pub(super) async fn store(
        self: &Arc<Self>,
        id: QueueId,
        part: PartFile,
        rest: Vec<u8>,
    ) -> Result<(), QueueError> {
        let spool = Arc::clone(self);
        let work = move || -> io::Result<_> {
            let mut part = part;
            part.write(&rest)?;
            let path = spool.path(id);
            part.rename(&path)?;
            let Some(file) = part.file.take() else { return Err(io::ErrorKind::NotFound.into()) };
            let named = spool.directories.request(path.parent().unwrap_or(&spool.root));
            let synced = spool.faults.at(Step::Sync).and_then(|()| file.sync_data());
            if let Err(error) = synced {
                spool.remove(id)?;
                return Err(error);
            }
            Ok(named)
        };
        let named = blocking(work).await?.map_err(|error| refused(&error))?;
        match named.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => {
                // The client will hear that it must keep the message, so ours must not stay.
                self.remove(id).map_err(|error| refused(&error))?;
                Err(QueueError::Unavailable(format!(
                    "the spool directory cannot be synced: {reason}"
                )))
            }
            Err(_) => Err(QueueError::Unavailable("the queue is closing".into())),
        }
    }

    /// The same where messages are durable elsewhere, with the record of one that has just come.
    pub(super) async fn store_at(
        self: &Arc<Self>,
        remote: Arc<dyn Remote>,
        (id, record): (QueueId, MessageRecord),
        mut part: PartFile,
        rest: Vec<u8>,
    ) -> Result<(), QueueError> {
        let spool = Arc::clone(self);
        let work = move || {
            let path = spool.path(id);
            let named = part.write(&rest).and_then(|()| part.rename(&path));
            named.map_err(|error| refused(&error))?;
            part.file = None;
            remote.store(id, &record, &path).inspect_err(|_| {
                // The client will hear that it must keep the message.
                if let Err(error) = spool.remove(id) {
                    warn!(%id, error = %error, "the file of a refused message cannot be removed");
                }
            })
        };
        blocking(work).await?
    }

    /// Opens the file of a message, which may have to be fetched.
    fn open_file(&self, id: QueueId) -> io::Result<File> {
        self.faults.at(Step::Open)?;
        let path = self.path(id);
        match (File::open(&path), &self.remote) {
            (Err(error), Some(remote)) if error.kind() == io::ErrorKind::NotFound => {
                remote.fetch(id, &path)?;
                File::open(path)
            }
            (opened, _) => opened,
        }
    }

    /// Opens a message after checking it.
    pub(super) fn read(&self, id: QueueId) -> Result<MessageReader, ReadError> {
        MessageReader::of_file(self.open_file(id)?)
    }

    /// Checks a message and returns what it says about itself.
    pub(super) fn describe(&self, id: QueueId) -> Result<Described, ReadError> {
        spool_file::describe_file(&mut self.open_file(id)?)
    }

    /// Removes a message's file. That it is gone already is fine: a crash may have come in between.
    pub(super) fn remove(&self, id: QueueId) -> io::Result<()> {
        self.faults.at(Step::Unlink)?;
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => marks::forget(&self.path(id)),
        }
        Ok(())
    }

    /// Ends the file of a message that has left the queue. Where it is to be kept and cannot be, it goes.
    pub(super) fn retire(&self, id: QueueId, retirement: Retirement) -> io::Result<()> {
        if retirement == Retirement::Kept {
            let kept = self.faults.at(Step::Rename);
            match kept.and_then(|()| self.kept.take(id, &self.path(id))) {
                Ok(()) => marks::forget(&self.path(id)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    warn!(%id, error = %error, "the body of a relayed message cannot be kept");
                }
            }
        }
        self.remove(id)
    }

    /// Opens the kept body of a message after checking it.
    pub(super) fn read_kept(&self, id: QueueId) -> Result<MessageReader, ReadError> {
        MessageReader::of_file(File::open(self.kept.path(id))?)
    }

    /// Moves a damaged message out of the way of the others. Returns where it is now.
    pub(super) fn set_aside(&self, id: QueueId) -> io::Result<PathBuf> {
        let target = self.damaged.join(id.to_string());
        match fs::rename(self.path(id), &target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => marks::forget(&self.path(id)),
        }
        Ok(target)
    }

    /// How many files have been set aside.
    pub(super) fn set_aside_count(&self) -> u64 {
        fs::read_dir(&self.damaged).map_or(0, |entries| entries.count() as u64)
    }

    /// Everything in the spool, by name only.
    pub(super) fn list(&self) -> io::Result<Listing> {
        match &self.remote {
            // What lies here is a part of it, and perhaps of what other hosts have by now.
            Some(remote) => Ok(Listing { messages: remote.ids()?, ..Listing::default() }),
            None => list_below(&self.root),
        }
    }

    /// Octets that the file system still has for us.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let statistics = rustix::fs::statvfs(&self.root)?;
        Ok(statistics.f_bavail.saturating_mul(statistics.f_frsize))
    }

    /// Marks a message.
    pub(super) fn mark(&self, id: QueueId, mark: Mark, text: &str) -> io::Result<()> {
        mark.make(&self.path(id), text, &self.faults)
    }

    /// Takes the mark away.
    pub(super) fn unmark(&self, id: QueueId, mark: Mark) -> io::Result<()> {
        mark.remove(&self.path(id), &self.faults)
    }

    /// Whether a message is marked so.
    pub(super) fn is_marked(&self, id: QueueId, mark: Mark) -> bool {
        mark.is_there(&self.path(id))
    }

    /// Whether a message has any mark.
    pub(super) fn has_marks(&self, id: QueueId) -> bool {
        marks::are_there(&self.path(id))
    }

    /// Gives a message the marks of its record.
    pub(super) fn mark_as(&self, id: QueueId, record: &MessageRecord) -> io::Result<()> {
        marks::bring_in_line(&self.path(id), record, &self.faults)
    }

    /// The record of a message that was made from its file, as its marks have it.
    pub(super) fn as_marked(
        &self,
        id: QueueId,
        record: MessageRecord,
        now: Timestamp,
    ) -> MessageRecord {
        marks::applied(&self.path(id), record, now)
    }

    pub(super) fn path(&self, id: QueueId) -> PathBuf {
        path_below(&self.root, id)
    }
}

/// Everything in the spool at `root`, by name only.
pub(super) fn list_below(root: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for number in 0..DIRECTORIES {
        let directory = match fs::read_dir(root.join(format!("{number:02x}"))) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in directory {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Ok(id) = name.parse() {
                listing.messages.push(id);
            } else if let Some(Ok(id)) = marks::marked(name).map(str::parse) {
                listing.marked.push(id);
            } else if name.ends_with(PART_SUFFIX) {
                listing.parts.push(root.join(format!("{number:02x}")).join(name));
            }
        }
    }
    Ok(listing)
}

/// Where the file of a message lies in the spool at `root`.
pub(super) fn path_below(root: &Path, id: QueueId) -> PathBuf {
    let length = root.as_os_str().len() + "/00/".len() + ID_LENGTH + PART_SUFFIX.len();
    let mut path = OsString::with_capacity(length);
    path.push(root);
    // Bits 16 to 23 of the millisecond. Writing to memory cannot fail.
    let _: fmt::Result = write!(path, "/{:02x}/{id}", id.as_bytes()[3]);
    path.into()
}

/// A file that is being received. Dropping it before it has its final name removes it.
#[derive(Debug)]
pub(super) struct PartFile {
    path: PathBuf,
    file: Option<File>,
    names: Arc<Names>,
    /// Writing goes on in its thread when nobody waits for it any more; until it has ended no other draft may
    /// have the id.
    reserved_id: Option<Arc<ReservedId>>,
    faults: Faults,
}

impl PartFile {
    /// Writes a block and gives the buffer back.
    pub(super) async fn append(self, block: Vec<u8>) -> Result<(Self, Vec<u8>), QueueError> {
        let work = move || {
            let mut part = self;
            part.write(&block).map(|()| (part, block))
        };
        blocking(work).await?.map_err(|error| refused(&error))
    }

    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let _one_at_a_time = sync::lock(&self.names);
                self.faults.at(Step::Open)?;
                let file =
                    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path)?;
                self.file.insert(file)
            }
        };
        if let Err(error) = self.faults.at(Step::Write) {
            // A disk that is full takes what there was room for.
            file.write_all(&block[..block.len() / 2])?;
            return Err(error);
        }
        file.write_all(block)
    }

    fn rename(&self, path: &Path) -> io::Result<()> {
        let _one_at_a_time = sync::lock(&self.names);
        self.faults.at(Step::Rename)?;
        fs::rename(&self.path, path)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // `file` is taken when the name has become final.
        if self.file.is_some() {
            // What cannot be removed now is removed at the next start.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// A draft whose frame is complete.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) id: QueueId,
    pub(super) record: MessageRecord,
    /// It comes from a client, and its times from the clock of this process.
    pub(super) is_new: bool,
    /// The rest of the frame, or all of it.
    pub(super) buffer: Vec<u8>,
    pub(super) part: Option<PartFile>,
    /// To be kept until the record is on its way: whoever asks for the id then finds it.
    pub(super) reserved_id: Option<Arc<ReservedId>>,
}

impl Finished {
    /// The part file, which is there unless a write has failed.
    pub(super) fn into_part(self) -> Result<(PartFile, Vec<u8>), QueueError> {
        let mut part = self
            .part
            .ok_or_else(|| QueueError::Unavailable("a write of the message has failed".into()))?;
        part.reserved_id = self.reserved_id;
        Ok((part, self.buffer))
    }
}

/// Runs blocking work on tokio's threads for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, QueueError> {
    let task = tokio::task::spawn_blocking(work);
    task.await.map_err(|error| QueueError::Unavailable(format!("a disk task ended early: {error}")))
}

/// An error of the disk, as the client must hear it.
pub(super) fn refused(error: &io::Error) -> QueueError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            QueueError::Full(format!("the queue's disk is full: {}", reasons::of_file(error)))
        }
        // It is no disk that has said so.
        io::ErrorKind::NotConnected => QueueError::Unavailable(error.to_string()),
        _ => QueueError::Unavailable(format!(
            "the queue's disk does not work: {}",
            reasons::of_file(error)
        )),
    }
}
