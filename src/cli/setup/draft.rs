//! The draft: the answers so far, beside relay.toml, so that an interrupted `pillarbox setup` goes on where it was.
//!
//! Rule: never a secret; readable by its owner alone; believed only when it is the caller's own file. Replaced whole, so a
//! kill leaves the old one or the new one.

use std::{
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    deed::{self, Whole},
    plan::SECRET_MODE,
    questions::{Answers, Name},
};
use crate::{
    careful_file::{self, Links},
    exit::Failure,
    queue::id::QueueId,
};

/// The version of its layout.
const VERSION: u32 = 1;
/// What is appended to the configuration's name.
const ENDING: &str = ".draft";
/// Octets of a draft.
const BYTES_MAX: u64 = 64 * 1024;
/// Write permission for the group and for everybody.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Draft {
    version: u32,
    /// What was answered.
    pub(super) answers: Answers,
    /// Files were changed that the service has not read yet.
    #[serde(default)]
    pub(super) service_is_due: bool,
    /// The first mail, once it is queued.
    #[serde(default)]
    pub(super) sent: Option<QueueId>,
}

/// Its file.
#[derive(Clone, Debug)]
pub(super) struct DraftFile(PathBuf);

impl DraftFile {
    /// The one of this configuration.
    pub(super) fn of(config: &Path) -> Self {
        let mut path = config.as_os_str().to_owned();
        path.push(ENDING);
        Self(path.into())
    }

    /// What an earlier call has left; nothing when that cannot be used, for it only saves some answers.
    pub(super) fn read(&self) -> Option<Draft> {
        let file = careful_file::open(&self.0, Links::Refused).ok()?;
        let found = file.metadata().ok()?;
        let is_ours = found.uid() == rustix::process::geteuid().as_raw()
            && found.mode() & WRITABLE_BY_OTHERS == 0;
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
        let draft: Draft = serde_json::from_str(&text).ok()?;
        (is_ours && draft.version == VERSION).then_some(draft)
    }

    /// Keeps it.
    pub(super) fn keep(&self, draft: &Draft) -> Result<(), Failure> {
        let answers = draft.answers.iter().filter(|(name, _)| **name != Name::Password);
        let answers = answers.map(|(name, text)| (*name, text.clone())).collect();
        let draft = Draft { version: VERSION, answers, ..draft.clone() };
        let text = serde_json::to_string_pretty(&draft).map_err(io::Error::from)? + "\n";
        deed::replace(&self.0, text.as_bytes(), Whole::new(SECRET_MODE))
    }

    /// Removes it: all is done.
    pub(super) fn remove(&self) -> Result<(), Failure> {
        deed::remove(&self.0)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}
