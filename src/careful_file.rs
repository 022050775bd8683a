//! Files in a directory whose owner may be somebody else: made, opened and locked without trusting what lies there.
//!
//! Rule: a file is made new and never through a link, only regular files are opened, and nobody who holds a lock or
//! the other end of a pipe can make us wait for long. Must not know what is in the files.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    thread,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock},
    io::Errno,
};

/// How long a lock of somebody else is waited for: our own editors hold one for milliseconds.
pub(crate) const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
/// Between two attempts to have it.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Whether a link at the end of the path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// It is: the path is the administrator's.
    Followed,
    /// It is not, and counts as no file of ours.
    Refused,
}

/// Makes a file for writing, in the place of whatever lies there.
///
/// # Errors
/// Those of the disk; a directory is not removed.
pub(crate) fn create(path: &Path, mode: u32) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Exclusive: somebody who is faster with a link makes it fail.
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

/// Opens a regular file for reading.
///
/// # Errors
/// Those of the disk, and `InvalidInput` for anything else than a regular file.
pub(crate) fn open(path: &Path, links: Links) -> io::Result<File> {
    regular(path, OFlags::RDONLY, links)
}

/// Opens a regular file for reading and writing, without changing it, and makes it where there is none.
///
/// # Errors
/// As of [`open`], without following links.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    regular(path, OFlags::RDWR | OFlags::CREATE, Links::Refused)
}

fn regular(path: &Path, how: OFlags, links: Links) -> io::Result<File> {
    // Without NONBLOCK a pipe would wait here for its other end.
    let mut flags = how | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if links == Links::Refused {
        flags |= OFlags::NOFOLLOW;
    }
    let file = match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) => return Err(refused("it is a symbolic link")),
        Err(errno) => return Err(errno.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(refused("it is not a regular file"));
    }
    Ok(file)
}

/// Locks a file or directory for this process alone, and waits for others no longer than [`LOCK_WAIT_MAX`].
///
/// # Errors
/// `TimedOut` when somebody else has it for longer.
pub(crate) fn lock(file: &File) -> io::Result<()> {
    lock_within(file, LOCK_WAIT_MAX)
}

fn lock_within(file: &File, patience: Duration) -> io::Result<()> {
    let mut waited = Duration::ZERO;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if waited < patience => {
                thread::sleep(LOCK_PAUSE);
                waited += LOCK_PAUSE;
            }
            Err(Errno::WOULDBLOCK) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "another process holds a lock on it; find that one with: fuser -v FILE",
                ));
            }
            done => return Ok(done?),
        }
    }
}

/// Whether root would follow a link that somebody less privileged has made.
///
/// # Errors
/// `InvalidInput` when so.
pub(crate) fn expect_no_link_of_others(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() && found.uid() != 0 && is_root() => {
            Err(refused("it is a symbolic link that another user has made"))
        }
        _ => Ok(()),
    }
}

/// Whether this process may do everything.
#[must_use]
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn refused(words: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, words)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn fifo(path: &Path) {
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    #[test]
    fn a_file_is_made_in_the_place_of_a_link_and_never_through_it() {
        let directory = tempfile::tempdir().unwrap();
        let (precious, path) = (directory.path().join("precious"), directory.path().join("file"));
        fs::write(&precious, "precious").unwrap();
        for links_to in [&precious, &directory.path().join("nothing")] {
            symlink(links_to, &path).unwrap();
            create(&path, 0o600).unwrap();
            assert!(fs::symlink_metadata(&path).unwrap().is_file());
            fs::remove_file(&path).unwrap();
        }
        fs::hard_link(&precious, &path).unwrap();
        create(&path, 0o600).unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }

    #[test]
    fn links_and_what_is_no_regular_file_are_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "x").unwrap();
        symlink(path("file"), path("link")).unwrap();
        fifo(&path("fifo"));
        assert!(open(&path("file"), Links::Refused).is_ok());
        assert!(open(&path("link"), Links::Followed).is_ok());
        for name in ["link", "fifo", "."] {
            let kind = open(&path(name), Links::Refused).unwrap_err().kind();
            assert_eq!(kind, io::ErrorKind::InvalidInput, "{name}");
        }
        assert!(open(&path("fifo"), Links::Followed).is_err());
        for name in ["link", "fifo"] {
            assert!(open_or_create(&path(name)).is_err(), "{name}");
        }
        assert!(open_or_create(&path("new")).unwrap().metadata().unwrap().is_file());
    }

    #[test]
    fn a_lock_of_somebody_else_is_waited_for_but_not_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let [mine, other] = [(); 2].map(|()| File::open(directory.path()).unwrap());
        lock(&other).unwrap();
        let error = lock_within(&mine, Duration::from_millis(60)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| lock(&mine));
            thread::sleep(LOCK_PAUSE);
            drop(other);
            waiting.join().unwrap().unwrap();
        });
    }
}
