//! The drop directory as the daemon has it open: its mode, its entries, and what is done to a file there.
//!
//! Rule: everybody may write into it, so nothing in it is believed: no link is followed, nothing but a regular file
//! with one name is read, and no file is ever lost. Must not know what a file says.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat, fchmod, flock,
        fstat, mkdir, open, openat, renameat_with, stat, statat, unlinkat,
    },
    io::Errno,
};

use crate::{
    clock::Timestamp,
    queue::{
        dropped::{DIRECTORY_MODE, HEAD_BYTES_MAX, Head, Name, bad_name, new_name},
        id::QueueId,
    },
};

/// Files that one look takes; those that are there after it are for the next one, which follows at once.
const FILES_MAX: usize = 1_000;
/// Foreign names and old unfinished files that one look puts in order.
const ODD_FILES_MAX: usize = 100;
/// How old a file is whose caller must have died over it.
const UNFINISHED_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Octets of a name that a file set aside keeps of its own.
const NAME_BYTES_MAX: usize = 200;
/// Files set aside under one name: who makes more has them stay where they are.
const NAMESAKES_MAX: u32 = 100;

/// The directory, open and locked: one daemon at a time takes its files.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// What lies in it.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Whole files, oldest first, [`FILES_MAX`] at most.
    pub(super) new: BTreeSet<QueueId>,
    /// Whole files, all of them.
    pub(super) waiting: u64,
    /// Files that were set aside.
    pub(super) bad: u64,
    /// Names that nobody of ours makes.
    pub(super) foreign: Vec<OsString>,
    /// Files that perhaps nobody writes any more.
    unfinished: Vec<OsString>,
}

/// A file whose head was read.
#[derive(Debug)]
pub(super) struct Dropped {
    /// Positioned at the message.
    pub(super) file: File,
    /// The owner.
    pub(super) uid: u32,
    pub(super) head: Head,
}

/// Why there is no such file.
#[derive(Debug)]
pub(super) enum Unusable {
    /// Its owner has taken it away.
    Gone,
    /// It cannot be read now, and perhaps later.
    Unreadable(io::Error),
    /// It is of no use.
    Bad { uid: Option<u32>, reason: String },
}

impl Directory {
    /// Opens the directory; makes it when it is missing and its parent may be written.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let words = |errno: Errno| io::Error::from(errno).to_string();
        let made = mkdir(path, Mode::RWXU);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(|errno| match made {
            Err(Errno::EXIST) | Ok(()) => words(errno),
            Err(errno) => words(errno),
        })?;
        if made.is_ok() {
            // Not with mkdir: the umask of a daemon takes the others' rights away.
            fchmod(&fd, Mode::from_raw_mode(DIRECTORY_MODE)).map_err(words)?;
        }
        flock(&fd, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => "another daemon takes its files".to_owned(),
            errno => words(errno),
        })?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Whether the path still leads here.
    pub(super) fn is_current(&self) -> bool {
        match (stat(&self.path), fstat(&self.fd)) {
            (Ok(there), Ok(here)) => is_same(&there, &here),
            _ => false,
        }
    }

    /// All entries, by name only.
    pub(super) fn list(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            match name.to_str().and_then(Name::read) {
                Some(Name::New(id)) => {
                    listing.waiting += 1;
                    listing.new.insert(id);
                    if listing.new.len() > FILES_MAX {
                        listing.new.pop_last();
                    }
                }
                Some(Name::Bad) => listing.bad += 1,
                Some(Name::Temporary(_)) => keep(&mut listing.unfinished, name),
                None if name == "." || name == ".." => {}
                None => keep(&mut listing.foreign, name),
            }
        }
        Ok(listing)
    }

    /// Removes what callers have left who died over it. Returns how many files went.
    pub(super) fn remove_unfinished(&self, listing: &Listing, now: Timestamp) -> usize {
        let is_old = |name: &&OsString| {
            let changed = statat(&self.fd, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW);
            changed.is_ok_and(|stat| {
                now.since(Timestamp(stat.st_mtime.saturating_mul(1_000))) > UNFINISHED_AGE_MAX
            })
        };
        let removed =
            |name: &&OsString| unlinkat(&self.fd, name.as_os_str(), AtFlags::empty()).is_ok();
        listing.unfinished.iter().filter(is_old).filter(removed).count()
    }

    /// Opens a whole file and reads its head.
    pub(super) fn read(&self, id: QueueId, message_bytes_max: u64) -> Result<Dropped, Unusable> {
        let name = new_name(id);
        let unreadable = |errno: Errno| match errno {
            Errno::NOENT => Unusable::Gone,
            errno => Unusable::Unreadable(errno.into()),
        };
        let seen = statat(&self.fd, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(unreadable)?;
        let bad = |reason: String| Unusable::Bad { uid: Some(seen.st_uid), reason };
        fitness(&seen, message_bytes_max).map_err(bad)?;
        // Not blocking, should somebody put a FIFO there at this moment.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = openat(&self.fd, &name, flags, Mode::empty()).map_err(unreadable)?;
        let opened = fstat(&fd).map_err(unreadable)?;
        if !is_same(&seen, &opened) {
            return Err(Unusable::Unreadable(io::ErrorKind::ResourceBusy.into()));
        }
        fitness(&opened, message_bytes_max).map_err(bad)?;
        let mut file = File::from(fd);
        let mut bytes = Vec::new();
        file.by_ref()
            .take(HEAD_BYTES_MAX as u64)
            .read_to_end(&mut bytes)
            .map_err(Unusable::Unreadable)?;
        let read = Head::read(&bytes).and_then(|(head, message_at)| {
            let size = u64::try_from(opened.st_size).unwrap_or(0);
            head.check_length(message_at, size).map(|()| (head, message_at))
        });
        let (head, message_at) = read.map_err(|error| bad(error.to_string()))?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(message_at as u64))
            .map_err(Unusable::Unreadable)?;
        Ok(Dropped { file, uid: opened.st_uid, head })
    }

    /// Removes a file whose message is safe.
    pub(super) fn remove(&self, id: QueueId) -> io::Result<()> {
        match unlinkat(&self.fd, new_name(id), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Gives a file a name under which it is left alone. Returns that name.
    pub(super) fn set_aside(&self, name: &OsStr) -> io::Result<OsString> {
        let kept = &name.as_bytes()[..name.len().min(NAME_BYTES_MAX)];
        let first = [bad_name("").as_bytes(), kept].concat();
        for number in 0..NAMESAKES_MAX {
            let number = if number == 0 { String::new() } else { format!(".{number}") };
            let target = OsString::from_vec([&first, number.as_bytes()].concat());
            match renameat_with(&self.fd, name, &self.fd, &target, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(target),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A process that is being started may have a copy of the descriptor, and the lock with it.
        let _ = flock(self.fd.as_fd(), FlockOperation::Unlock);
    }
}

fn keep(names: &mut Vec<OsString>, name: &OsStr) {
    if names.len() < ODD_FILES_MAX {
        names.push(name.to_owned());
    }
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Whether it may be read at all.
fn fitness(stat: &Stat, message_bytes_max: u64) -> Result<(), String> {
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_nlink != 1 => {
            Err(format!("it has {} names", stat.st_nlink))
        }
        FileType::RegularFile if size > message_bytes_max.saturating_add(HEAD_BYTES_MAX as u64) => {
            Err(format!("it has {size} octets, and a message may have {message_bytes_max}"))
        }
        FileType::RegularFile => Ok(()),
        FileType::Symlink => Err("it is a symbolic link".into()),
        FileType::Directory => Err("it is a directory".into()),
        _ => Err("it is no regular file".into()),
    }
}

/// What is wrong with the mode or the owner of the directory, with the command that puts it right. `owner` is the user
/// of the relay, where that is known.
#[must_use]
pub fn faults(path: &Path, owner: Option<(u32, u32)>) -> Vec<String> {
    let shown = path.display();
    let Ok(metadata) = fs::symlink_metadata(path) else { return Vec::new() };
    if !metadata.is_dir() {
        return vec![format!(
            "the drop directory {shown} is no directory; remove it, or set another one"
        )];
    }
    let (mode, uid, gid) = {
        use std::os::unix::fs::MetadataExt as _;
        (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
    };
    let mut faults = Vec::new();
    if let Some((user, group)) = owner.filter(|owner| *owner != (uid, gid)) {
        faults.push(format!(
            "the drop directory {shown} belongs to {uid}:{gid} and not to the relay ({user}:{group}), which cannot take \
             its files; run: chown {user}:{group} {shown} && chmod {DIRECTORY_MODE:o} {shown}"
        ));
    } else if mode != DIRECTORY_MODE {
        faults.push(format!(
            "the drop directory {shown} has mode {mode:04o} and needs {DIRECTORY_MODE:o}: everybody may put a file there, \
             and nobody see or touch those of others; run: chmod {DIRECTORY_MODE:o} {shown}"
        ));
    }
    faults
}
