//! The local socket's file: where programs of this host hand mail over.
//!
//! Rule: everybody may reach it, and trouble with it never keeps the relay from starting.
//! Must not know what is spoken on it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::unix_socket::UnixSocket;

/// Everybody may connect; who it is, the kernel tells.
const SOCKET_MODE: u32 = 0o666;
/// Everybody must be able to pass through a directory that we make.
const DIRECTORY_MODE: u32 = 0o755;
/// What others need of the directory.
const PASSABLE: u32 = 0o001;

/// Takes the configured socket. What stands in the way is told, and the relay does without it.
pub(super) fn bind_local(path: &Path) -> Option<UnixSocket> {
    let elsewhere = "set another socket under [sendmail], or socket = \"off\"";
    match UnixSocket::bind(path, SOCKET_MODE, DIRECTORY_MODE, elsewhere) {
        Ok(socket) => {
            if let Some(warning) = impassable(path) {
                tracing::warn!("{warning}");
            }
            Some(socket)
        }
        Err(error) => {
            tracing::warn!(%error, "no local socket: programs of this host reach the relay through the drop directory, or over TCP");
            None
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
    fn everybody_may_reach_the_local_socket_and_trouble_with_it_is_no_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/submit.sock");
        let socket = bind_local(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (SOCKET_MODE, DIRECTORY_MODE));
        assert!(bind_local(&path).is_none());
        drop(socket);
        fs::write(&path, "precious").unwrap();
        assert!(bind_local(&path).is_none());
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
