//! The mark beside a spool file that says that somebody holds the message, for an index that is built anew.
//!
//! Rule: it is durable before a hold is answered, and gone before a release is. So every hold that was answered has one;
//! one without a hold is of a verb that a crash has cut off, and goes at the next start. Must not know who holds.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use super::{
    directory_sync,
    faults::{Faults, Step},
    record::MessageRecord,
    state::{REPLY_LENGTH_MAX, RecipientState, cut},
};
use crate::{
    careful_file::{self, Links},
    clock::Timestamp,
};

/// The end of its name, behind the id.
pub(super) const SUFFIX: &str = ".held";
/// What is said when the mark is there and cannot be read: its message still does not leave by itself.
const UNREADABLE: &str = "held when the queue's index was lost";

/// Marks the message of this file as held for this reason.
pub(super) fn make(message: &Path, reason: &str, faults: &Faults) -> io::Result<()> {
    try_making(&mark_of(message), reason, faults).inspect_err(|_| forget(message))
}

fn try_making(mark: &Path, reason: &str, faults: &Faults) -> io::Result<()> {
    faults.at(Step::Open)?;
    let mut file = careful_file::create(mark, 0o600)?;
    faults.at(Step::Write)?;
    file.write_all(cut(reason).as_bytes())?;
    faults.at(Step::Sync)?;
    file.sync_data()?;
    sync_name(mark, faults)
}

/// Takes the mark away; durable when it returns.
pub(super) fn remove(message: &Path, faults: &Faults) -> io::Result<()> {
    let mark = mark_of(message);
    match fs::remove_file(&mark) {
        Ok(()) => sync_name(&mark, faults),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes the mark of a message away that has left the queue. What stays after a crash goes at the next start.
pub(super) fn forget(message: &Path) {
    drop(fs::remove_file(mark_of(message)));
}

/// Whether the message is marked.
pub(super) fn is_there(message: &Path) -> bool {
    fs::symlink_metadata(mark_of(message)).is_ok()
}

/// The record of a message that was made from this file, held when it is marked.
pub(super) fn applied(
    message: &Path,
    mut record: MessageRecord,
    since: Timestamp,
) -> MessageRecord {
    let Some(reason) = reason(&mark_of(message)) else { return record };
    for recipient in &mut record.recipients {
        if matches!(recipient.state, RecipientState::Queued { .. }) {
            recipient.state = RecipientState::Held { since, reason: reason.clone() };
        }
    }
    record
}

fn mark_of(message: &Path) -> PathBuf {
    let mut path = message.as_os_str().to_owned();
    path.push(SUFFIX);
    path.into()
}

fn sync_name(mark: &Path, faults: &Faults) -> io::Result<()> {
    faults.at(Step::SyncDirectory)?;
    mark.parent().map_or(Ok(()), directory_sync::sync)
}

/// The reason in a mark; `None` where there is none.
fn reason(mark: &Path) -> Option<String> {
    let read = |file: File| {
        let mut text = String::new();
        file.take(REPLY_LENGTH_MAX as u64).read_to_string(&mut text).map(|_| text)
    };
    match careful_file::open(mark, Links::Refused).and_then(read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Ok(text) if !text.is_empty() => Some(text),
        _ => Some(UNREADABLE.to_owned()),
    }
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
