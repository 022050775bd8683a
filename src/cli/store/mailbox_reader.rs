//! Reads the messages of an mbox file or a Maildir, one after the other.
//!
//! Rule: one message is in memory at a time, and none that is absurdly long. Must not know what becomes of
//! them.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    vec,
};

use crate::message::mbox;

/// Octets of one message: three times what the listener takes at most.
const MESSAGE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A mailbox that is being read.
#[derive(Debug)]
pub(super) enum MailboxReader {
    Mbox { file: BufReader<File>, reader: Option<mbox::Reader>, number: usize },
    Maildir { files: vec::IntoIter<PathBuf> },
}

/// A message, and where it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) place: String,
    pub(super) bytes: Vec<u8>,
}

impl MailboxReader {
    /// Opens a mailbox and finds out which kind it is.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if fs::metadata(path)?.is_dir() {
            return Ok(Self::Maildir { files: messages_of(path)?.into_iter() });
        }
        let mut file = BufReader::new(File::open(path)?);
        let beginning = file.fill_buf()?;
        if !beginning.is_empty() && !mbox::Reader::begins(beginning) {
            return Err(io::Error::other(
                "it is no mbox: its first line does not begin with \"From \"",
            ));
        }
        Ok(Self::Mbox { file, reader: Some(mbox::Reader::default()), number: 0 })
    }

    /// The next message.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        match self {
            Self::Maildir { files } => {
                let Some(path) = files.next() else { return Ok(None) };
                let mut bytes = Vec::new();
                let most = MESSAGE_BYTES_MAX as u64 + 1;
                File::open(&path)?.take(most).read_to_end(&mut bytes)?;
                bounded(bytes.len())?;
                Ok(Some(Found { place: path.display().to_string(), bytes }))
            }
            Self::Mbox { file, reader, number } => {
                let Some(lines) = reader else { return Ok(None) };
                let mut line = Vec::new();
                let found = loop {
                    line.clear();
                    file.by_ref()
                        .take(MESSAGE_BYTES_MAX as u64 + 1)
                        .read_until(b'\n', &mut line)?;
                    bounded(lines.length() + line.len())?;
                    if line.is_empty() {
                        break reader.take().and_then(mbox::Reader::finish);
                    }
                    if let Some(message) = lines.line(&line) {
                        break Some(message);
                    }
                };
                *number += 1;
                Ok(found.map(|bytes| Found { place: format!("message {number}"), bytes }))
            }
        }
    }
}

fn bounded(length: usize) -> io::Result<()> {
    if length > MESSAGE_BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
}

/// The files of a Maildir, old ones first, because their names begin with the time.
fn messages_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.join("new").is_dir() || !path.join("cur").is_dir() {
        return Err(io::Error::other("it is no Maildir: the directories new and cur are missing"));
    }
    let mut files = Vec::new();
    for directory in ["cur", "new"] {
        for entry in fs::read_dir(path.join(directory))? {
            let entry = entry?;
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if entry.file_type()?.is_file() && !hidden {
                files.push(entry.path());
            }
        }
    }
    files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    Ok(files)
}
