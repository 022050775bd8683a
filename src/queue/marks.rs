//! The marks beside a spool file that say what a person has ordered of the message, for an index that is built anew: that
//! it is held, and the time before which it does not leave.
//!
//! Rule: a mark is durable before the order is answered, and gone before its end is. So every order that was answered has
//! one; one that the record does not know is of a verb that a crash has cut off, and goes at the next start.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use super::{
    directory_sync,
    faults::{Faults, Step},
    record::MessageRecord,
    schedule::Schedule,
    spool_file::PART_SUFFIX,
    state::{REPLY_LENGTH_MAX, RecipientState, cut},
};
use crate::{
    careful_file::{self, Links},
    clock::Timestamp,
};

/// What is marked, as the end of the mark's name behind the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Somebody holds it; why.
    Held,
    /// It does not leave before a time; its milliseconds.
    Scheduled,
}

impl Mark {
    pub(super) const ALL: [Self; 2] = [Self::Held, Self::Scheduled];

    fn suffix(self) -> &'static str {
        match self {
            Self::Held => ".held",
            Self::Scheduled => ".scheduled",
        }
    }

    /// What it says when it is there and cannot be read: its message still does not leave by itself.
    fn unreadable(self) -> &'static str {
        match self {
            Self::Held => "held when the queue's index was lost",
            Self::Scheduled => {
                "scheduled for a time that was lost with the queue's index; schedule or retry it"
            }
        }
    }

    /// What it says of a message with this record; `None` when it has none.
    fn text(self, record: &MessageRecord) -> Option<String> {
        match self {
            Self::Held => held_reason(record).map(cut),
            Self::Scheduled => record.schedule.map(|one| one.at.0.to_string()),
        }
    }

    fn of(self, message: &Path) -> PathBuf {
        let mut path = message.as_os_str().to_owned();
        path.push(self.suffix());
        path.into()
    }

    /// Marks the message of this file. A crash finds the old mark or the new one, whole.
    pub(super) fn make(self, message: &Path, text: &str, faults: &Faults) -> io::Result<()> {
        let mark = self.of(message);
        let mut part = mark.clone().into_os_string();
        part.push(PART_SUFFIX);
        let made = || {
            faults.at(Step::Open)?;
            let mut file = careful_file::create(part.as_ref(), 0o600)?;
            faults.at(Step::Write)?;
            file.write_all(text.as_bytes())?;
            faults.at(Step::Sync)?;
            file.sync_data()?;
            faults.at(Step::Rename)?;
            fs::rename(&part, &mark)?;
            sync_name(&mark, faults)
        };
        made().inspect_err(|_| drop(fs::remove_file(&part)))
    }

    /// Takes the mark away; durable when it returns.
    pub(super) fn remove(self, message: &Path, faults: &Faults) -> io::Result<()> {
        let mark = self.of(message);
        match fs::remove_file(&mark) {
            Ok(()) => sync_name(&mark, faults),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the message is marked so.
    pub(super) fn is_there(self, message: &Path) -> bool {
        fs::symlink_metadata(self.of(message)).is_ok()
    }

    /// What it says; `None` where there is none, an error where it cannot be read.
    fn read(self, message: &Path) -> Result<Option<String>, &'static str> {
        let read = |file: File| {
            let mut text = String::new();
            file.take(REPLY_LENGTH_MAX as u64).read_to_string(&mut text).map(|_| text)
        };
        match careful_file::open(&self.of(message), Links::Refused).and_then(read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Ok(text) if !text.is_empty() => Ok(Some(text)),
            _ => Err(self.unreadable()),
        }
    }
}

/// The name of the message, when this is the name of a mark.
pub(super) fn marked(name: &str) -> Option<&str> {
    Mark::ALL.into_iter().find_map(|mark| name.strip_suffix(mark.suffix()))
}

/// Whether the message has any.
pub(super) fn are_there(message: &Path) -> bool {
    Mark::ALL.into_iter().any(|mark| mark.is_there(message))
}

/// Takes the marks of a message away that has left the queue. What stays after a crash goes at the next start.
pub(super) fn forget(message: &Path) {
    Mark::ALL.into_iter().for_each(|mark| drop(fs::remove_file(mark.of(message))));
}

/// Gives the message the marks of its record, and no others; durable when it returns.
pub(super) fn bring_in_line(
    message: &Path,
    record: &MessageRecord,
    faults: &Faults,
) -> io::Result<()> {
    Mark::ALL.into_iter().try_for_each(|mark| match mark.text(record) {
        Some(text) if mark.read(message).as_ref().ok() == Some(&Some(text.clone())) => Ok(()),
        Some(text) => mark.make(message, &text, faults),
        None => mark.remove(message, faults),
    })
}

/// Whether a message with this record has marks.
pub(super) fn are_due(record: &MessageRecord) -> bool {
    Mark::ALL.into_iter().any(|mark| mark.text(record).is_some())
}

/// The record of a message that was made from this file, as its marks have it.
pub(super) fn applied(
    message: &Path,
    mut record: MessageRecord,
    since: Timestamp,
) -> MessageRecord {
    let held = Mark::Held.read(message).unwrap_or_else(|words| Some(words.to_owned()));
    let time = Mark::Scheduled.read(message).and_then(|text| {
        let time = text.map(|text| text.parse().map(Timestamp)).transpose();
        time.map_err(|_| Mark::Scheduled.unreadable())
    });
    let (at, lost) = time.map_or_else(|words| (None, Some(words)), |at| (at, None));
    record.schedule = at.map(Schedule::new);
    if held.is_some() || lost.is_some() || at.is_some() {
        // A person has taken it out of its storm.
        record.fold = None;
    }
    let Some(reason) = held.or_else(|| lost.map(str::to_owned)) else { return record };
    for recipient in &mut record.recipients {
        if matches!(recipient.state, RecipientState::Queued { .. }) {
            recipient.state = RecipientState::Held { since, reason: reason.clone() };
        }
    }
    record
}

fn sync_name(mark: &Path, faults: &Faults) -> io::Result<()> {
    faults.at(Step::SyncDirectory)?;
    mark.parent().map_or(Ok(()), directory_sync::sync)
}

/// Why a message is held by somebody, and not because no answer came.
pub(super) fn held_reason(record: &MessageRecord) -> Option<&str> {
    let held = record.recipients.iter().filter(|one| !one.is_held_without_answer());
    let mut reasons = held.filter_map(|one| match &one.state {
        RecipientState::Held { reason, .. } => Some(reason.as_str()),
        _ => None,
    });
    reasons.next()
}
