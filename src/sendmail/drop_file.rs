//! Leaves a message in the drop directory, for a daemon that does not answer.
//!
//! Rule: the name appears when the file is whole and on the disk, and not before; a file that could not be written
//! is removed. Must not know why the daemon did not answer.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, fchmod, flock, fsync, openat, renameat, unlinkat,
};

use super::{letter::Letter, transaction::Transaction};
use crate::queue::dropped::{FILE_MODE, new_name, temporary_name};

/// Writes the message, and returns when it is safe.
pub fn leave(
    directory: &Path,
    transaction: &Transaction<'_>,
    letter: &mut Letter,
) -> io::Result<()> {
    let head = transaction.head().encode().map_err(io::Error::other)?;
    // The directory may not be listed, so it is opened by its path alone.
    let place = openat(
        rustix::fs::CWD,
        directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let (temporary, new) = (temporary_name(transaction.id), new_name(transaction.id));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    let mode = Mode::from_raw_mode(FILE_MODE);
    let mut file = File::from(openat(&place, &temporary, flags, mode)?);
    // Says that this program lives, whatever a clock makes of the age of the file. Where there are no locks, the age is all
    // there is.
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok();
    let written = (|| {
        // Whatever the umask says: the daemon reads it through its group.
        fchmod(&file, mode)?;
        file.write_all(&head)?;
        letter.replay(|block| file.write_all(block))?;
        fsync(&file)?;
        renameat(&place, &temporary, &place, &new)?;
        Ok(())
    })();
    if let Err(error) = written {
        // A file that stays all the same is removed by the daemon after a day.
        unlinkat(&place, &temporary, AtFlags::empty()).ok();
        return Err(error);
    }
    // Once more: that makes the new name durable on ext4, XFS and btrfs, where the caller may not sync the directory.
    if let Err(error) = fsync(&file) {
        // What cannot be promised is taken back, unless the daemon has it already.
        return unlinkat(&place, &new, AtFlags::empty()).map_or(Ok(()), |()| Err(error.into()));
    }
    Ok(())
}
