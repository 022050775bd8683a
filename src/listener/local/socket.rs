//! The local socket's file: where programs of this host hand mail over.
//!
//! Rule: everybody may reach it, and trouble with it never keeps the relay from starting.
//! Must not know what is spoken on it.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::socket_file::{self, Obstacle};

/// Everybody may connect; who it is, the kernel tells.
const SOCKET_MODE: u32 = 0o666;
/// Everybody must be able to pass through a directory that we make.
const DIRECTORY_MODE: u32 = 0o755;
/// What others need of the directory.
const PASSABLE: u32 = 0o001;

/// Why there is no local socket.
#[derive(Debug, Error)]
pub enum LocalSocketError {
    /// Another process answers there.
    #[error("another daemon answers on {0}; give each its own: socket under [sendmail]")]
    Taken(PathBuf),
    /// The path holds something that is not a socket.
    #[error(
        "{0} exists and is not a socket, so it is left alone; remove it, or set another socket under [sendmail]"
    )]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error(
        "{error} at {path}; let its directory belong to the user of the relay, or set another socket under \
         [sendmail], or socket = \"off\""
    )]
    System {
        /// The socket's path.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
}

/// A listening socket. Dropping it removes its file, unless systemd has made it.
#[derive(Debug)]
pub struct LocalSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    is_ours: bool,
}

impl LocalSocket {
    /// Listens on `path`, after making its directory and removing a socket that nobody answers on.
    pub(in crate::listener) fn bind(path: &Path) -> Result<Self, LocalSocketError> {
        let listener = socket_file::listen(path, SOCKET_MODE, DIRECTORY_MODE);
        let listener = listener.map_err(|obstacle| match obstacle {
            Obstacle::Taken => LocalSocketError::Taken(path.to_owned()),
            Obstacle::NotASocket => LocalSocketError::NotASocket(path.to_owned()),
            Obstacle::System(error) => LocalSocketError::System { path: path.to_owned(), error },
        })?;
        if let Some(warning) = impassable(path) {
            tracing::warn!("{warning}");
        }
        Ok(Self { listener, path: path.to_owned(), is_ours: true })
    }

    /// A socket that systemd has passed.
    pub(in crate::listener) fn inherited(listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(Path::to_owned).unwrap_or_default();
        Ok(Self { listener, path, is_ours: false })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        if self.is_ours {
            // One that is gone already is what this wants; a stale one is replaced by the next start.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Why other users cannot reach a socket at `path`, if its directory keeps them out.
#[must_use]
pub fn impassable(path: &Path) -> Option<String> {
    let directory = path.parent()?;
    let mode = fs::metadata(directory).ok()?.permissions().mode() & 0o7777;
    (mode & PASSABLE == 0).then(|| {
        format!(
            "other users cannot reach {}, because they may not pass through {} (mode {mode:04o}); run: chmod o+x {}",
            path.display(),
            directory.display(),
            directory.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_or_another_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/submit.sock");
        let socket = LocalSocket::bind(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (SOCKET_MODE, DIRECTORY_MODE));
        assert!(matches!(LocalSocket::bind(&path), Err(LocalSocketError::Taken(_))));
        drop(socket);
        assert!(!path.exists(), "the file goes with its listener");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "one that died without cleaning up");
        drop(LocalSocket::bind(&path).unwrap());
        fs::write(&path, "precious").unwrap();
        assert!(matches!(LocalSocket::bind(&path), Err(LocalSocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_directory_that_keeps_others_out_is_named_with_the_command() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("submit.sock");
        let open =
            |mode| fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        open(0o755);
        assert_eq!(impassable(&path), None);
        open(0o750);
        assert!(impassable(&path).unwrap().contains("run: chmod o+x "));
    }
}
