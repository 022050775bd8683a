//! The body of a message while it is read: in memory, or, when it is long, in a file without a name.
//!
//! Rule: a call stays small whatever is piped into it, and leaves nothing behind: the file has no name from the
//! beginning, so it goes with the process. Must not know what the octets mean.

use std::{
    fs::File,
    io::{self, Read, Seek as _, SeekFrom, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat},
    io::Errno,
};

/// Octets that are kept in memory: nearly every mail has fewer, and a call must stay below 8 MiB in all.
pub(crate) const MEMORY_BYTES_MAX: usize = 512 * 1024;
/// Octets that are copied at a time.
const BLOCK_BYTES: usize = 64 * 1024;

/// The octets.
#[derive(Debug)]
pub(crate) struct BodyBuffer {
    place: Place,
    /// Directories in which a file may be made, best first.
    directories: Vec<PathBuf>,
    length: u64,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<u8>),
    File(File),
}

impl BodyBuffer {
    /// Holds nothing yet.
    #[must_use]
    pub(crate) fn new(directories: Vec<PathBuf>) -> Self {
        Self { place: Place::Memory(Vec::new()), directories, length: 0 }
    }

    /// Octets so far.
    #[must_use]
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Adds octets.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Place::Memory(memory) = &mut self.place {
            if memory.len() + bytes.len() <= MEMORY_BYTES_MAX {
                memory.extend_from_slice(bytes);
                self.length += bytes.len() as u64;
                return Ok(());
            }
            let mut file = unnamed_file(&self.directories)?;
            file.write_all(memory)?;
            self.place = Place::File(file);
        }
        if let Place::File(file) = &mut self.place {
            file.write_all(bytes)?;
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Hands every octet to `take`, block by block; as often as one likes.
    pub(crate) fn replay<E: From<io::Error>>(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let file = match &mut self.place {
            Place::Memory(memory) => return take(memory),
            Place::File(file) => file,
        };
        file.seek(SeekFrom::Start(0))?;
        let mut block = vec![0; BLOCK_BYTES];
        let mut rest = self.length;
        while rest > 0 {
            let count = file.read(&mut block)?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            take(&block[..count])?;
            rest = rest.saturating_sub(count as u64);
        }
        file.seek(SeekFrom::End(0))?;
        Ok(())
    }
}

/// A file without a name in the first directory that lets us make one.
fn unnamed_file(directories: &[PathBuf]) -> io::Result<File> {
    let mut last = io::Error::other("there is no directory for it");
    for directory in directories {
        match unnamed_in(directory) {
            Ok(file) => return Ok(File::from(file)),
            Err(error) => {
                last = io::Error::new(error.kind(), format!("{}: {error}", directory.display()))
            }
        }
    }
    Err(last)
}

fn unnamed_in(directory: &Path) -> io::Result<OwnedFd> {
    let owner_only = Mode::RUSR | Mode::WUSR;
    match openat(CWD, directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, owner_only) {
        // Some file systems cannot do it: overlayfs of old kernels, NFS.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
        result => return Ok(result?),
    }
    let mut random = [0; 16];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let path = directory.join(format!(".sendmail.{:032x}", u128::from_le_bytes(random)));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
    let file = openat(CWD, &path, flags, owner_only)?;
    unlinkat(CWD, &path, AtFlags::empty())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of(buffer: &mut BodyBuffer) -> Vec<u8> {
        let mut all = Vec::new();
        buffer
            .replay(|block| {
                all.extend_from_slice(block);
                Ok::<_, io::Error>(())
            })
            .unwrap();
        all
    }

    #[test]
    fn long_bodies_go_to_a_file_that_nobody_sees() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let mut buffer = BodyBuffer::new(vec![missing, directory.path().to_owned()]);
        let block: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        for _ in 0..8 {
            buffer.write(&block).unwrap();
        }
        assert!(matches!(buffer.place, Place::File(_)));
        assert_eq!(buffer.length(), 800_000);
        assert_eq!(all_of(&mut buffer), block.repeat(8));
        buffer.write(b"more").unwrap();
        assert_eq!(all_of(&mut buffer), [block.repeat(8), b"more".to_vec()].concat());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn short_ones_need_no_directory_and_long_ones_say_that_there_is_none() {
        let mut buffer = BodyBuffer::new(Vec::new());
        buffer.write(b"short").unwrap();
        assert_eq!(all_of(&mut buffer), b"short");
        assert!(buffer.write(&vec![0; MEMORY_BYTES_MAX]).is_err());
    }
}
