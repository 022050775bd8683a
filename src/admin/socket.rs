//! The Unix socket of the API: its file, its mode, and how many may talk at a time.
//!
//! Rule: owner and group may talk, a named number at a time. Must not know HTTP.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::net::{UnixListener, UnixStream, unix::SocketAddr};

use super::{
    audience::{Audience, Limits, Party},
    conversation::Conversation,
};
use crate::{
    clock::Clock,
    socket_file::{self, Obstacle},
};

/// Owner and group may use the API; the group is how an administrator lets others in.
const SOCKET_MODE: u32 = 0o660;
/// The group must be able to pass through a directory that we make.
const DIRECTORY_MODE: u32 = 0o750;
/// Conversations at a time; whoever asks for nothing makes room.
const LIMITS: Limits = Limits { all: 64, of_one: 48, kept: 16 };
/// Pause after an accept failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why the API cannot listen.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Another process answers there.
    #[error(
        "another daemon answers on {0}: stop it first, or set another admin.socket (and queue.directory) in relay.toml"
    )]
    Taken(PathBuf),
    /// The path holds something that is not a socket.
    #[error(
        "{0} exists and is not a socket: it is left alone; remove it or set another admin.socket"
    )]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error(
        "cannot listen on the admin socket {path}: {error}; check the directory's owner, or set another admin.socket"
    )]
    System {
        /// The socket's path.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
}

/// A listening socket. Dropping it removes its file.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    audience: Arc<Audience>,
    clock: Arc<dyn Clock>,
}

impl Socket {
    /// Listens on `path`, after making its directory and removing a socket that nobody answers on.
    pub fn bind(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, SocketError> {
        let system = |error| SocketError::System { path: path.to_owned(), error };
        let listener = socket_file::listen(path, SOCKET_MODE, DIRECTORY_MODE);
        let listener = listener.map_err(|obstacle| match obstacle {
            Obstacle::Taken => SocketError::Taken(path.to_owned()),
            Obstacle::NotASocket => SocketError::NotASocket(path.to_owned()),
            Obstacle::System(error) => system(error),
        })?;
        let listener = UnixListener::from_std(listener).map_err(system)?;
        Ok(Self { listener, path: path.to_owned(), audience: Audience::new(LIMITS), clock })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A file that is gone already is what this wants; any other failure leaves a stale socket,
        // which the next start removes.
        drop(fs::remove_file(&self.path));
    }
}

impl axum::serve::Listener for Socket {
    type Io = Conversation<UnixStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else {
                self.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // A client that is gone already has no user, and no answer is owed to it.
            let party = stream.peer_cred().map(|credentials| Party::User(credentials.uid()));
            if let Ok(party) = party
                && let Some(place) = self.audience.enter(party)
            {
                return (Conversation::new(stream, place, &self.clock), address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::clock::SystemClock;

    fn clock() -> Arc<dyn Clock> {
        Arc::new(SystemClock::new())
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("made/admin.sock");
        let socket = Socket::bind(&path, clock()).expect("a fresh path");
        assert!(matches!(Socket::bind(&path, clock()), Err(SocketError::Taken(_))));
        drop(socket);
        assert!(!path.exists(), "the file goes with its listener");

        drop(
            std::os::unix::net::UnixListener::bind(&path)
                .expect("a listener that dies without cleaning up"),
        );
        assert!(path.exists());
        let socket = Socket::bind(&path, clock()).expect("the stale file is replaced");
        let mode = fs::metadata(&path).expect("the file").permissions().mode() & 0o777;
        assert_eq!(mode, SOCKET_MODE);
        drop(socket);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("precious");
        fs::write(&path, "data").expect("written");
        assert!(matches!(Socket::bind(&path, clock()), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).expect("still there"), "data");
    }
}
