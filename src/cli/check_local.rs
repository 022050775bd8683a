//! The part of `pillarbox check` about programs of this host: the local socket and the drop directory.
//!
//! Rule: it only looks. Nothing here keeps the relay from starting, so all of it is a warning, with the command that
//! helps. Must not know what is spoken there.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::MetadataExt as _,
};

use super::screen::labelled;
use crate::{
    listener::{bind, drop_directory, options::Local},
    settings::Settings,
};

/// Prints both places.
pub(super) fn print(out: &mut dyn Write, places: &Local) -> io::Result<()> {
    let socket = places.socket.as_ref();
    let socket =
        socket.map_or_else(|| "no local socket".to_owned(), |path| path.display().to_string());
    let directory = places.drop_directory.as_ref().map_or_else(
        || "no drop directory: while the relay is down, local mail has nowhere to go".to_owned(),
        |path| format!("{} while the relay is down", path.display()),
    );
    labelled(out, "sendmail", &[socket, directory])
}

/// What stands in the way of local mail.
pub(super) fn warnings(settings: &Settings) -> Vec<String> {
    let places = &settings.listener.local;
    let socket = places.socket.as_deref().and_then(bind::impassable);
    // The queue belongs to the user of the relay, who may be another one than the user of this command.
    let owner = fs::metadata(&settings.queue.directory)
        .ok()
        .map(|metadata| (metadata.uid(), metadata.gid()));
    let directory = places.drop_directory.as_deref();
    let directory = directory.map(|path| drop_directory::faults(path, owner)).unwrap_or_default();
    socket.into_iter().chain(directory).collect()
}
