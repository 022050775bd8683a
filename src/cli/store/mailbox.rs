//! An mbox file or a Maildir: its messages read one after the other, or written.
//!
//! Rule: one message is in memory at a time, and none that is absurdly long; nothing that exists is opened to be written,
//! and what was finished survives a power cut. Must not know the queue.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    vec,
};

use clap::ValueEnum;
use rustix::fs::{Mode, OFlags};

use crate::{message::mbox, queue::offline::portable::PortableMessage, smtp::address::Address};

/// Octets of one message: three times what the listener takes at most.
const MESSAGE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A mailbox that is being read.
#[derive(Debug)]
pub(super) enum MailboxReader {
    Mbox { file: BufReader<File>, reader: Option<mbox::Reader>, number: usize, bytes_max: usize },
    Maildir { files: vec::IntoIter<PathBuf> },
}

/// A message, and where it was found.
#[derive(Debug)]
pub(super) struct FoundMessage {
    pub(super) place: String,
    /// Its octets, or why they cannot be had; then the next message may still be whole.
    pub(super) bytes: Result<Vec<u8>, String>,
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
                "it is not an mbox: its first line does not begin with \"From \"",
            ));
        }
        Ok(Self::mbox(file, MESSAGE_BYTES_MAX))
    }

    fn mbox(file: BufReader<File>, bytes_max: usize) -> Self {
        Self::Mbox { file, reader: Some(mbox::Reader::new(bytes_max)), number: 0, bytes_max }
    }

    /// The next message.
    pub(super) fn next(&mut self) -> io::Result<Option<FoundMessage>> {
        match self {
            Self::Maildir { files } => {
                let Some(path) = files.next() else { return Ok(None) };
                let place = path.display().to_string();
                let bytes = read_file(&path).map_err(|error| format!("it cannot be read: {error}"));
                Ok(Some(FoundMessage { place, bytes }))
            }
            Self::Mbox { file, reader, number, bytes_max } => {
                let Some(lines) = reader else { return Ok(None) };
                let mut line = Vec::new();
                let found = loop {
                    line.clear();
                    file.by_ref().take(*bytes_max as u64 + 1).read_until(b'\n', &mut line)?;
                    if line.is_empty() {
                        break reader.take().and_then(mbox::Reader::finish);
                    }
                    if let Some(message) = lines.line(&line) {
                        break Some(message);
                    }
                };
                *number += 1;
                let too_long = |mbox::TooLong| {
                    format!("it is longer than {bytes_max} octets, more than any relay takes")
                };
                Ok(found.map(|message| FoundMessage {
                    place: format!("message {number}"),
                    bytes: message.map_err(too_long),
                }))
            }
        }
    }
}

/// A file of a Maildir, which may be somebody else's: no link is followed, and nothing but a regular file is read.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MESSAGE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    bounded(bytes.len())?;
    Ok(bytes)
}

fn bounded(length: usize) -> io::Result<()> {
    if length > MESSAGE_BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
}

/// The files of a Maildir, old ones first, because their names begin with the time.
fn messages_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.join("new").is_dir() || !path.join("cur").is_dir() {
        return Err(io::Error::other(
            "it is not a Maildir: the directories new and cur are missing",
        ));
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

/// The format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One file.
    Mbox,
    /// A directory with one file for each message.
    Maildir,
}

/// A mailbox that is being made.
#[derive(Debug)]
pub(super) enum MailboxWriter {
    Mbox { file: BufWriter<File>, path: PathBuf },
    Maildir { path: PathBuf },
}

impl MailboxWriter {
    /// Makes an empty mailbox.
    pub(super) fn create(format: Format, path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        match format {
            Format::Mbox => {
                let file =
                    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                Ok(Self::Mbox { file: BufWriter::new(file), path })
            }
            Format::Maildir => {
                let mut private = fs::DirBuilder::new();
                private.mode(0o700).create(&path)?;
                ["tmp", "new", "cur"]
                    .iter()
                    .try_for_each(|name| private.create(path.join(name)))?;
                Ok(Self::Maildir { path })
            }
        }
    }

    /// Adds a message.
    pub(super) fn write(&mut self, carried: &PortableMessage) -> io::Result<()> {
        match self {
            Self::Mbox { file, .. } => {
                let sender =
                    carried.envelope.reverse_path.as_ref().map_or("MAILER-DAEMON", Address::as_str);
                // A quoted local part may hold blanks, which would end the sender.
                let sender = sender.replace(char::is_whitespace, "-");
                file.write_all(&mbox::entry(&sender, &date(carried), &carried.to_file()))
            }
            Self::Maildir { path } => {
                // The queue id is unique, and sorts in the order of acceptance.
                let seconds = carried.envelope.accepted_at.0.div_euclid(1_000);
                let name = format!("{seconds}.Q{}.pillarbox", carried.id);
                let temporary = path.join("tmp").join(&name);
                let mut file =
                    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
                file.write_all(&carried.to_file())?;
                file.sync_all()?;
                fs::rename(temporary, path.join("new").join(name))
            }
        }
    }

    /// Makes everything durable.
    pub(super) fn finish(self) -> io::Result<()> {
        let path = match self {
            Self::Mbox { file, path } => {
                file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
                path
            }
            Self::Maildir { path } => {
                File::open(path.join("new"))?.sync_all()?;
                File::open(&path)?.sync_all()?;
                path
            }
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }
}

/// When the message was accepted, as asctime writes it, in UTC.
fn date(carried: &PortableMessage) -> String {
    let accepted = jiff::Timestamp::from_millisecond(carried.envelope.accepted_at.0);
    let accepted = accepted.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    accepted.strftime("%a %b %e %H:%M:%S %Y").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_an_mbox_that_is_too_long_is_told_of_and_the_others_come() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mbox");
        let line = "From a@example.org Thu Jan  1 00:00:00 2026\n";
        // One that is long by its lines, one that is a single line, and one whose rest looks like a separator.
        let many_lines = "Subject: 2\n\n".to_owned() + &"0123456789\n".repeat(20);
        let one_line = "3".repeat(1_000) + "\n";
        let tricky = format!("{}From x\n\n", "4".repeat(101));
        let messages = ["Subject: 1\n", &many_lines, &one_line, &tricky, "Subject: 5\n"];
        let entries: String = messages.iter().map(|one| format!("{line}{one}\n")).collect();
        fs::write(&path, entries).unwrap();
        let mut mailbox = MailboxReader::mbox(BufReader::new(File::open(&path).unwrap()), 100);
        let mut found = Vec::new();
        while let Some(FoundMessage { place, bytes }) = mailbox.next().unwrap() {
            found.push((place, bytes.map(|bytes| String::from_utf8(bytes).unwrap())));
        }
        let whole: Vec<_> = found.iter().map(|(_, bytes)| bytes.as_deref().ok()).collect();
        assert_eq!(whole, [Some("Subject: 1\n"), None, None, None, Some("Subject: 5\n")]);
        assert_eq!(found[4].0, "message 5");
        let reason = found[1].1.as_ref().unwrap_err();
        assert!(reason.contains("longer than 100 octets"), "{reason}");
    }
}
