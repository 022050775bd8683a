//! Writes messages to an mbox file or a Maildir.
//!
//! Rule: nothing that exists is opened, and what was finished survives a power cut. Must not know the queue.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use clap::ValueEnum;

use crate::{message::mbox, queue::carried::Carried, smtp::address::Address};

/// The format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
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
    pub(super) fn write(&mut self, carried: &Carried) -> io::Result<()> {
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
fn date(carried: &Carried) -> String {
    let accepted = jiff::Timestamp::from_millisecond(carried.envelope.accepted_at.0);
    let accepted = accepted.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    accepted.strftime("%a %b %e %H:%M:%S %Y").to_string()
}
