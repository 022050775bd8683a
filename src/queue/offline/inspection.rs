//! A state directory that is looked at while no daemon has it.
//!
//! Rule: nothing in the directory is changed. Opening sled writes, so a copy of its files is opened elsewhere;
//! when even that fails, the spool files tell of themselves. Must not know what is looked for.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _},
    os::unix::fs::DirBuilderExt as _,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

use super::portable::PortableMessage;
use crate::{
    careful_file::{self, Links},
    message::envelope::Envelope,
    queue::{
        faults::Faults,
        id::QueueId,
        index::{Index, IndexError},
        kept, marks,
        record::MessageRecord,
        recovery::{self, QueueOpenError, StateLock},
        sled_opening::{FOLDER, open_guarded},
        spool::{self, Listing},
        spool_file::{self, Described, ReadError},
        state::RecipientState,
    },
};

/// Octets of a spool file that is read into memory: three times what the listener takes at most.
const FILE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// A state directory, with its lock.
#[derive(Debug)]
pub struct Inspection {
    pub(super) state: PathBuf,
    index: Copied,
    _lock: Option<StateLock>,
}

/// Why it cannot be looked at.
#[derive(Debug, Error)]
pub enum InspectionError {
    /// No queue was ever there.
    #[error(
        "there is no queue in {0}; name the directory with --directory (it is the one with the folder spool)"
    )]
    Absent(PathBuf),
    /// A daemon has it, or the permissions stand in the way.
    #[error("{0}")]
    Closed(#[from] QueueOpenError),
    /// It is in the fleet's database, which cannot be read.
    #[error(
        "the queue in the fleet's database cannot be read: {0}; look at the database and at the way to it"
    )]
    Away(String),
    /// Hosts work with it.
    #[error(
        "the queue in the fleet's database is in use by {0}; stop pillarbox there first, or wait half a minute when it was killed"
    )]
    InUse(String),
    /// The spool cannot be listed.
    #[error(
        "the spool cannot be read: {0}; run the command as root, or as the user that runs pillarbox"
    )]
    Spool(io::Error),
}

/// Why a message cannot be taken out.
#[derive(Debug, Error)]
pub enum TakeError {
    /// Its file is damaged, or a newer program wrote it.
    #[error("{0}")]
    File(String),
    /// Every recipient was written to, or a person deleted it; only its file has not gone yet.
    #[error("it is finished")]
    Finished,
}

#[derive(Debug)]
enum Copied {
    Open { index: Arc<dyn Index>, _copy: Copy },
    Unreadable(String),
}

impl Inspection {
    /// Of a copy that nobody else has.
    #[cfg(feature = "fleet")]
    pub(super) fn of_copy(state: PathBuf, index: Arc<dyn Index>, copy: Copy) -> Self {
        Self { state, index: Copied::Open { index, _copy: copy }, _lock: None }
    }

    /// Takes the lock of `state` and opens a copy of its index below `scratch`.
    ///
    /// # Errors
    /// When a daemon runs, or the directory is none or may not be read.
    pub fn open(state: &Path, scratch: &Path) -> Result<Self, InspectionError> {
        match fs::metadata(state.join("spool")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(InspectionError::Absent(state.into()));
            }
            Err(error) => return Err(InspectionError::Spool(error)),
            Ok(_) => {}
        }
        let lock = recovery::lock_to_look(state)?;
        let index = Copied::open(state, scratch).unwrap_or_else(Copied::Unreadable);
        Ok(Self { state: state.into(), index, _lock: lock })
    }

    /// Why the index cannot be read, when it cannot: every message counts as waiting then.
    #[must_use]
    pub fn index_trouble(&self) -> Option<&str> {
        match &self.index {
            Copied::Open { .. } => None,
            Copied::Unreadable(reason) => Some(reason),
        }
    }

    /// The messages of the spool, in the order of acceptance.
    ///
    /// # Errors
    /// When the spool cannot be listed.
    pub fn messages(&self) -> Result<BTreeSet<QueueId>, InspectionError> {
        Ok(self.listing()?.messages.into_iter().collect())
    }

    pub(super) fn listing(&self) -> Result<Listing, InspectionError> {
        spool::list_below(&self.state.join("spool")).map_err(InspectionError::Spool)
    }

    /// Where the file of a message lies.
    #[must_use]
    pub(crate) fn path(&self, id: QueueId) -> PathBuf {
        spool::path_below(&self.state.join("spool"), id)
    }

    /// Checks a message's file, however long it is.
    pub(super) fn describe(&self, id: QueueId) -> Result<Described, ReadError> {
        spool_file::describe_file(&mut careful_file::open(&self.path(id), Links::Refused)?)
    }

    /// The same of a kept body of a relayed message.
    pub(super) fn describe_kept(&self, id: QueueId) -> Result<Described, ReadError> {
        let path = self.state.join(kept::FOLDER).join(id.to_string());
        spool_file::describe_file(&mut careful_file::open(&path, Links::Refused)?)
    }

    /// How many bodies of relayed messages are kept, which nobody takes out.
    pub(crate) fn kept(&self) -> usize {
        kept::list(&self.state.join(kept::FOLDER)).map_or(0, |found| found.len())
    }

    /// Takes a message out: its octets, its envelope, and where its recipients stand.
    ///
    /// # Errors
    /// When its file cannot be used, or it is finished.
    pub fn take(&self, id: QueueId) -> Result<PortableMessage, TakeError> {
        // An index that fails here counts as one that knows nothing: the file tells enough.
        let known = self.with_index(|index| known(index, id)).unwrap_or(Known::Nothing);
        if matches!(known, Known::Finished) {
            return Err(TakeError::Finished);
        }
        let (mut envelope, described, message) =
            self.original(id).map_err(|error| TakeError::File(error.to_string()))?;
        let record = match known {
            Known::Queued(record) if record.recipients.len() == envelope.forward_paths.len() => {
                *record
            }
            _ => {
                let accepted_at = described.accepted_at;
                marks::applied(&self.path(id), described, accepted_at)
            }
        };
        envelope.lane = record.lane;
        let (rule, route, account) = (record.rule, record.route, record.account);
        let not_before = record.schedule.map(|schedule| schedule.at);
        let mut recipients = record.recipients;
        if let Some(fold) = &record.fold {
            // Another queue knows nothing of the storm: a person decides, instead of thousands leaving at once.
            let reason = format!("folded into the storm {}", fold.storm);
            let waiting = recipients
                .iter_mut()
                .filter(|one| matches!(one.state, RecipientState::Queued { .. }));
            waiting.for_each(|one| {
                let since = record.accepted_at;
                one.state = RecipientState::Held { since, reason: reason.clone() };
            });
        }
        Ok(PortableMessage { id, envelope, recipients, not_before, rule, route, account, message })
    }

    fn original(&self, id: QueueId) -> Result<(Envelope, MessageRecord, Vec<u8>), ReadError> {
        let file = careful_file::open(&self.path(id), Links::Refused)?;
        let mut bytes = Vec::new();
        if file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)? as u64 > FILE_BYTES_MAX {
            return Err(ReadError::Io(io::ErrorKind::FileTooLarge.into()));
        }
        spool_file::original(bytes)
    }

    /// Asks the index; sled may panic when its files are damaged.
    pub(super) fn with_index<T>(
        &self,
        question: impl FnOnce(&dyn Index) -> Result<T, IndexError>,
    ) -> Result<T, String> {
        match &self.index {
            Copied::Unreadable(reason) => Err(reason.clone()),
            Copied::Open { index, .. } => {
                panic::catch_unwind(AssertUnwindSafe(|| question(&**index)))
                    .unwrap_or_else(|_| {
                        Err(IndexError::Broken("sled panicked while it was read".into()))
                    })
                    .map_err(|error| error.to_string())
            }
        }
    }
}

/// What the index knows of a message.
enum Known {
    Queued(Box<MessageRecord>),
    Finished,
    /// As little as if there were no index; a damaged record says no more.
    Nothing,
}

fn known(index: &dyn Index, id: QueueId) -> Result<Known, IndexError> {
    match index.message(id) {
        Ok(Some(record)) => Ok(Known::Queued(Box::new(record))),
        Ok(None) => Ok(index.finished(id)?.map_or(Known::Nothing, |_| Known::Finished)),
        Err(IndexError::Damaged { .. }) => Ok(Known::Nothing),
        Err(error) => Err(error),
    }
}

impl Copied {
    fn open(state: &Path, scratch: &Path) -> Result<Self, String> {
        let files = state.join(FOLDER);
        if !files.is_dir() {
            return Err("there is no index".into());
        }
        let copy = Copy::make(&files, scratch).map_err(|error| {
            format!("the index cannot be copied to {}: {error}", scratch.display())
        })?;
        let index = open_guarded(&copy.0, Faults::default()).map_err(|error| error.to_string())?;
        Ok(Self::Open { index, _copy: copy })
    }
}

/// A copy of sled's files, or of a database, that goes when it is dropped.
#[derive(Debug)]
pub(super) struct Copy(pub(super) PathBuf);

impl Copy {
    fn make(files: &Path, scratch: &Path) -> io::Result<Self> {
        let copy = Self::empty(scratch)?;
        copy_folder(files, &copy.0)?;
        Ok(copy)
    }

    /// A new directory.
    pub(super) fn empty(scratch: &Path) -> io::Result<Self> {
        // Mail addresses are in it, so nobody else may look; an existing directory is never used.
        let name = format!("pillarbox-look-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let copy = Self(scratch.join(name));
        fs::DirBuilder::new().mode(0o700).create(&copy.0)?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Nobody can be told; whatever is left is in a directory for temporary files.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            fs::create_dir_all(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else if kind.is_file() {
            let mut file = careful_file::open(&entry.path(), Links::Refused)?;
            io::copy(&mut file, &mut careful_file::create(&target, 0o600)?)?;
        }
    }
    Ok(())
}
