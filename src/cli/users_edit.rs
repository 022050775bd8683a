//! Replaces the users file as a whole, one editor at a time.
//!
//! Rule: whoever reads sees the old file or the new one, never a part; owner, group and mode stay; a crash
//! leaves the old file. Must not know what is edited.

use std::{
    fs::{self, File, Metadata},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{
    careful_file,
    listener::users::{UsersError, UsersFile},
};

/// A new file is for its owner alone.
const MODE_NEW: u32 = 0o600;
/// What root makes is also for the group of the directory: the relay's, as a rule.
const MODE_NEW_OF_ROOT: u32 = 0o640;

/// Why the file was not replaced.
#[derive(Debug, Error)]
pub(super) enum EditError {
    /// It cannot be read, or should not be used.
    #[error("{0}")]
    Users(#[from] UsersError),
    /// It cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
}

/// The lock on a users file, and what was in it.
#[derive(Debug)]
pub(super) struct Edit {
    path: PathBuf,
    /// The locked directory: no lock file stays behind, and the lock ends with the process.
    directory: File,
    users: UsersFile,
    /// What the file was like; `None` when there is none yet.
    present: Option<Metadata>,
}

impl Edit {
    /// Waits for other editors and reads the file; one that does not exist is empty.
    pub(super) fn begin(path: &Path) -> Result<Self, EditError> {
        // A symbolic link stays, and what it names is replaced; but not for root, when it is somebody else's.
        careful_file::expect_no_link_of_others(path)
            .map_err(|error| EditError::File { path: path.to_owned(), error })?;
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let failed = |error: io::Error| EditError::File { path: path.clone(), error };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = File::open(parent.unwrap_or_else(|| Path::new("."))).map_err(failed)?;
        careful_file::lock(&directory).map_err(failed)?;
        let present = match fs::metadata(&path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let users =
            present.as_ref().map(|_| UsersFile::read(&path)).transpose()?.unwrap_or_default();
        Ok(Self { path, directory, users, present })
    }

    /// What is in the file.
    pub(super) fn users(&self) -> &UsersFile {
        &self.users
    }

    /// Whether the file is a new one.
    pub(super) fn creates(&self) -> bool {
        self.present.is_none()
    }

    /// Puts the new text in the place of the old.
    pub(super) fn finish(self, text: &str) -> Result<(), EditError> {
        let scratch = self.scratch();
        let written = self.write(&scratch, text);
        if written.is_err() {
            // What is left of the attempt is overwritten by the next one.
            fs::remove_file(&scratch).ok();
        }
        written.map_err(|error| EditError::File { path: self.path.clone(), error })
    }

    fn write(&self, scratch: &Path, text: &str) -> io::Result<()> {
        let mut file = careful_file::create(scratch, MODE_NEW)?;
        file.write_all(text.as_bytes())?;
        self.give(&file)?;
        file.sync_all()?;
        fs::rename(scratch, &self.path)?;
        self.directory.sync_all()
    }

    /// Owner, group and mode of the file that is replaced.
    fn give(&self, file: &File) -> io::Result<()> {
        let own = file.metadata()?;
        let (owner, group, mode) = match &self.present {
            Some(present) => (present.uid(), present.gid(), present.permissions().mode()),
            None if rustix::process::geteuid().is_root() => {
                (own.uid(), self.directory.metadata()?.gid(), MODE_NEW_OF_ROOT)
            }
            None => (own.uid(), own.gid(), MODE_NEW),
        };
        if (owner, group) != (own.uid(), own.gid()) {
            std::os::unix::fs::fchown(file, Some(owner), Some(group))?;
        }
        file.set_permissions(fs::Permissions::from_mode(mode))
    }

    /// Beside the file, because a rename does not cross file systems; one name, because of the lock.
    fn scratch(&self) -> PathBuf {
        let mut name = std::ffi::OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(".new");
        self.path.with_file_name(name)
    }
}
