//! The file of a Unix socket: its directory, what may lie in its place, and how it appears.
//!
//! Rule: the file appears under its name only when its mode is right and somebody listens, and a file on which
//! somebody answers is never replaced. Must not know what is spoken on the socket.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::Path,
};

use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};

/// Connections that the kernel keeps while we are busy.
const BACKLOG: i32 = 1024;

/// What stands in the way of a socket.
#[derive(Debug)]
pub enum Obstacle {
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

/// Listens on `path` without blocking, with the mode `socket_mode`, after making its directory, where it is missing, with
/// `directory_mode`, and in the place of a socket that nobody answers on.
///
/// # Errors
/// What stands in the way; then nothing was changed but the directory.
pub fn listen(
    path: &Path,
    socket_mode: u32,
    directory_mode: u32,
) -> Result<UnixListener, Obstacle> {
    make_directory(path, directory_mode)?;
    check_present(path)?;
    // Prepared beside its place: the rename shows it with its final mode, and takes the place of a stale one.
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let listener = bind(&draft).map_err(io::Error::from)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(socket_mode))?;
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
    fs::set_permissions(directory, fs::Permissions::from_mode(mode))
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
