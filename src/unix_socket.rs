//! A Unix socket to listen on: its directory, what may lie in the place of its file, and how that appears and goes.
//!
//! Rule: the file appears under its name only when its mode is right and somebody listens, and a file on which
//! somebody answers is never replaced. Must not know what is spoken on the socket.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fd::{AsRawFd as _, OwnedFd},
    fs::{FileType, Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use thiserror::Error;

/// Connections that the kernel keeps while we are busy.
const BACKLOG: i32 = 1024;

/// Why there is no socket at `path`, and what to do.
#[derive(Debug, Error)]
#[error("{}", self.words())]
pub struct SocketError {
    path: PathBuf,
    obstacle: Obstacle,
    /// How to have it elsewhere.
    elsewhere: &'static str,
}

/// What stands in the way of a socket.
#[derive(Debug)]
enum Obstacle {
    /// Another process answers there.
    Taken,
    /// The path holds something that is not a socket.
    NotASocket,
    /// The system refuses.
    System(io::Error),
}

impl From<io::Error> for Obstacle {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl SocketError {
    /// The system refuses.
    pub fn new(path: &Path, error: io::Error, elsewhere: &'static str) -> Self {
        Self { path: path.to_owned(), obstacle: error.into(), elsewhere }
    }

    fn words(&self) -> String {
        let (path, elsewhere) = (self.path.display(), self.elsewhere);
        match &self.obstacle {
            Obstacle::Taken => {
                format!("another daemon answers on {path}; stop it first, or {elsewhere}")
            }
            Obstacle::NotASocket => format!(
                "{path} exists and is not a socket, so it is left alone; remove it, or {elsewhere}"
            ),
            Obstacle::System(error) => format!(
                "cannot listen on {path}: {error}; let its directory belong to the user of the relay, or {elsewhere}"
            ),
        }
    }
}

/// A listening socket. Dropping it removes its file, unless systemd has made it.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    is_ours: bool,
}

impl UnixSocket {
    /// Listens on `path`, with the mode `socket_mode`, after making its directory, where it is missing, with
    /// `directory_mode`, and in the place of a socket that nobody answers on. An error changes nothing but the directory,
    /// and says how to have the socket `elsewhere`.
    pub(crate) fn bind(
        path: &Path,
        socket_mode: u32,
        directory_mode: u32,
        elsewhere: &'static str,
    ) -> Result<Self, SocketError> {
        let path = path.to_owned();
        match listen(&path, socket_mode, directory_mode) {
            Ok(listener) => Ok(Self { listener, path, is_ours: true }),
            Err(obstacle) => Err(SocketError { path, obstacle, elsewhere }),
        }
    }

    /// A socket that systemd has passed.
    pub(crate) fn inherited(listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(Path::to_owned).unwrap_or_default();
        Ok(Self { listener, path, is_ours: false })
    }

    /// What takes connections, within a runtime.
    pub(crate) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        self.listener.try_clone().and_then(tokio::net::UnixListener::from_std)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if self.is_ours {
            // One that is gone already is what this wants; a stale one is replaced by the next start.
            drop(fs::remove_file(&self.path));
        }
    }
}

fn listen(path: &Path, socket_mode: u32, directory_mode: u32) -> Result<UnixListener, Obstacle> {
    make_directory(path, directory_mode)?;
    check_present(path)?;
    // Prepared beside its place: the rename shows it with its final mode, and takes the place of a stale one.
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let listener = bind(&draft).map_err(io::Error::from)?;
    give_mode(&draft, FileType::Socket, socket_mode)?;
    fs::rename(&draft, path)?;
    Ok(listener)
}

fn bind(path: &Path) -> Result<UnixListener, Errno> {
    let socket = socket()?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    let Some(directory) =
        path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists())
    else {
        return Ok(());
    };
    fs::DirBuilder::new().recursive(true).mode(mode).create(directory)?;
    // The umask may have taken rights away.
    give_mode(directory, FileType::Directory, mode)
}

/// Gives what we have just made at `path` its mode. The owner of the directory above may put something else there at any
/// moment, also a link to a file of ours: so what lies there is held first, and looked at, before it is changed.
fn give_mode(path: &Path, kind: FileType, mode: u32) -> io::Result<()> {
    let held =
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    let found = rustix::fs::fstat(&held)?;
    let is_ours = found.st_uid == rustix::process::geteuid().as_raw();
    if !is_ours || FileType::from_raw_mode(found.st_mode) != kind {
        let words = format!("somebody has put something else in the place of {}", path.display());
        return Err(io::Error::other(words));
    }
    if found.st_mode & 0o7777 == mode {
        return Ok(());
    }
    // The way to what is held so: a socket cannot be opened otherwise.
    fs::set_permissions(
        format!("/proc/self/fd/{}", held.as_raw_fd()),
        fs::Permissions::from_mode(mode),
    )
}

/// Whether what lies at `path` may be replaced.
fn check_present(path: &Path) -> Result<(), Obstacle> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(Obstacle::NotASocket);
    }
    // Not blocking: a daemon whose queue of connections is full must not hold us up.
    match socket().and_then(|socket| rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)) {
        Ok(()) | Err(Errno::AGAIN) => Err(Obstacle::Taken),
        Err(Errno::CONNREFUSED) => Ok(()),
        // Somebody has it whom we may not ask.
        Err(errno) => Err(Obstacle::System(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn socket_and_directory_have_the_modes_that_were_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/control.sock");
        for mode in [0o600, 0o660, 0o666] {
            drop(listen(&path, mode, 0o751).unwrap());
            assert_eq!((mode_of(&path), mode_of(path.parent().unwrap())), (mode, 0o751));
        }
    }

    #[test]
    fn what_somebody_put_in_the_place_of_the_socket_keeps_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let (precious, draft) = (directory.path().join("precious"), directory.path().join("new"));
        fs::write(&precious, "precious").unwrap();
        fs::set_permissions(&precious, fs::Permissions::from_mode(0o600)).unwrap();
        // What a faster owner of the directory does between our making the socket and giving it its mode.
        std::os::unix::fs::symlink(&precious, &draft).unwrap();
        assert!(give_mode(&draft, FileType::Socket, 0o666).is_err());
        fs::remove_file(&draft).unwrap();
        fs::hard_link(&precious, &draft).unwrap();
        assert!(give_mode(&draft, FileType::Socket, 0o666).is_err());
        assert_eq!(mode_of(&precious), 0o600);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/own.sock");
        let bind = || UnixSocket::bind(&path, 0o660, 0o750, "set another admin.socket");
        let socket = bind().unwrap();
        let taken = bind().unwrap_err().to_string();
        assert!(taken.contains("another daemon answers on") && taken.ends_with("admin.socket"));
        drop(socket);
        assert!(!path.exists(), "the file goes with its listener");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "one that died without cleaning up");
        let _socket = bind().unwrap();
        assert_eq!((mode_of(&path), mode_of(path.parent().unwrap())), (0o660, 0o750));
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        fs::write(&path, "data").unwrap();
        let error = UnixSocket::bind(&path, 0o660, 0o750, "choose another").unwrap_err();
        assert!(error.to_string().contains("exists and is not a socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    }

    #[test]
    fn a_socket_of_systemd_keeps_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passed.sock");
        let socket = UnixSocket::inherited(UnixListener::bind(&path).unwrap()).unwrap();
        assert_eq!(socket.path(), path);
        drop(socket);
        assert!(path.exists());
    }
}
