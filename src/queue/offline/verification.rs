//! Compares spool, records, ledger and history of a queue that nobody uses, and tells what does not fit.
//!
//! Rule: everything is looked at, nothing is changed, and each finding says what to do. What a start of the
//! daemon puts right without losing anything is a note, everything else is a problem. Must not know how it
//! is printed.

use std::{collections::BTreeSet, fs};

use super::inspection::{Inspection, InspectionError};
use crate::{
    budget::ledgers::Ledgers,
    clock::Moment,
    queue::{
        id::QueueId,
        index::{DeadKey, FoundEvents, Index, IndexError},
        kept,
        record::MessageRecord,
        state::RecipientState,
    },
};

/// What does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// How bad it is.
    pub(crate) gravity: Gravity,
    /// A message, a file or a part of the queue.
    pub(crate) subject: String,
    /// What was found.
    pub(crate) what: String,
    /// What to do.
    pub(crate) remedy: &'static str,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gravity {
    /// The next start puts it right, and nothing is lost.
    Note,
    /// Mail, states or the budget are damaged.
    Problem,
}

/// What there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Files of messages.
    pub(crate) files: u64,
    /// Octets of the messages in them.
    pub(crate) bytes: u64,
    /// Records of queued messages.
    pub(crate) records: u64,
    /// Recipients that wait, uncertain ones included.
    pub(crate) waiting: u64,
    /// Recipients that are held.
    pub(crate) held: u64,
    /// Recipients that are dead.
    pub(crate) dead: u64,
    /// Finished messages that are remembered.
    pub(crate) history: u64,
    /// Kept bodies of relayed messages.
    pub(crate) kept: u64,
    /// Recipients that the ledger counts for the last 24 hours.
    pub(crate) spent: u32,
    /// Findings that are problems.
    pub(crate) problems: u64,
    /// Findings that are notes.
    pub(crate) notes: u64,
}

const KEPT: &str = "nothing: it was relayed, and only `history resend` would want it";
const AT_START: &str = "nothing: the next start puts it right";
const EXPORT: &str =
    "export what is whole (pillarbox store export), and keep the file for a person to look at";
const NEWER: &str = "install the version that wrote it, or a later one";
const REBUILT: &str = "the next start rebuilds the index from the spool: no message is lost, some may be sent \
                       twice, and held and dead mail waits again";

/// Looks at everything and hands each finding to `tell`.
///
/// # Errors
/// When the spool cannot be listed.
pub(crate) fn check(
    inspection: &Inspection,
    now: Moment,
    tell: &mut dyn FnMut(&Finding),
    step: &dyn Fn(),
) -> Result<Summary, InspectionError> {
    let mut checkup = Verification { inspection, now, tell, step, summary: Summary::default() };
    let whole = checkup.spool()?;
    match inspection.index_trouble() {
        Some(reason) => checkup.index_unreadable(reason, !whole.is_empty()),
        None => checkup.index(&whole),
    }
    checkup.kept();
    checkup.remains();
    Ok(checkup.summary)
}

struct Verification<'a> {
    inspection: &'a Inspection,
    now: Moment,
    tell: &'a mut dyn FnMut(&Finding),
    /// Told of each file that was looked at.
    step: &'a dyn Fn(),
    summary: Summary,
}

impl Verification<'_> {
    /// Reads every file; returns the ids of all that are there.
    fn spool(&mut self) -> Result<BTreeSet<QueueId>, InspectionError> {
        let listing = self.inspection.listing()?;
        for part in &listing.parts {
            let what = "a message whose acceptance was never confirmed to its client";
            self.note(&part.display().to_string(), what.into(), AT_START);
        }
        let found: BTreeSet<QueueId> = listing.messages.into_iter().collect();
        for id in &found {
            self.summary.files += 1;
            (self.step)();
            match self.inspection.describe(*id) {
                Ok(described) => self.summary.bytes += described.trailer.body_bytes,
                Err(error) => {
                    let what = format!("its file cannot be used: {error}");
                    let remedy = if error.is_newer() { NEWER } else { EXPORT };
                    self.problem(&self.inspection.path(*id).display().to_string(), what, remedy);
                }
            }
        }
        Ok(found)
    }

    fn index_unreadable(&mut self, reason: &str, has_messages: bool) {
        let what = format!("the states of messages and the budget cannot be read: {reason}");
        match (
            reason.contains("newer version"),
            has_messages || self.inspection.state.join("queue.sled").exists(),
        ) {
            (true, _) => self.problem("queue.sled", what, NEWER),
            (false, true) => self.problem("queue.sled", what, REBUILT),
            // A queue that was never used.
            (false, false) => self.note("queue.sled", what, AT_START),
        }
    }

    fn index(&mut self, files: &BTreeSet<QueueId>) {
        let inspection = self.inspection;
        let looked = inspection.with_index(|index| {
            let ledger = self.ledger(index)?;
            let mut known = BTreeSet::new();
            for entry in index.messages(None) {
                match entry {
                    Ok((id, record)) => {
                        known.insert(id);
                        self.record(index, &ledger, id, &record, files.contains(&id))?;
                    }
                    Err(IndexError::Damaged { id, reason }) => {
                        known.insert(id);
                        let what = format!("its record is damaged: {reason}");
                        self.problem(
                            &id.to_string(),
                            what,
                            "the next start queues it from its file, as new",
                        );
                    }
                    Err(error) => return Err(error),
                }
            }
            self.history(index, &known)?;
            self.without_record(index, files.difference(&known))
        });
        if let Err(reason) = looked {
            self.problem("queue.sled", reason, REBUILT);
        }
    }

    fn ledger(&mut self, index: &dyn Index) -> Result<Ledgers, IndexError> {
        let FoundEvents { events, damaged } = index.ledger()?;
        let damaged = damaged.len();
        let mut ledger = Ledgers::default();
        for (sequence, event) in events {
            ledger.insert(sequence, event);
        }
        let spent = |account| ledger.of(account).spent(self.now);
        self.summary.spent = ledger.accounts().into_iter().map(spent).sum();
        if damaged > 0 {
            let remedy =
                "nothing: ledger.copy is used, or half of the budget counts as spent for a day";
            self.problem("ledger", format!("{damaged} entries of the budget are damaged"), remedy);
        }
        Ok(ledger)
    }

    fn record(
        &mut self,
        index: &dyn Index,
        ledger: &Ledgers,
        id: QueueId,
        record: &MessageRecord,
        has_file: bool,
    ) -> Result<(), IndexError> {
        self.summary.records += 1;
        for recipient in &record.recipients {
            match recipient.state {
                RecipientState::Queued { .. } | RecipientState::Reserved { .. } => {
                    self.summary.waiting += 1
                }
                RecipientState::Held { .. } => self.summary.held += 1,
                RecipientState::Dead { .. } => self.summary.dead += 1,
                RecipientState::Relayed { .. } => {}
            }
            if let RecipientState::Reserved { reservation, .. } = recipient.state
                && ledger.event(reservation).is_none()
            {
                let what =
                    format!("the ledger does not know its reservation for {}", recipient.address);
                self.problem(
                    &id.to_string(),
                    what,
                    "nothing: at worst one recipient too few is counted",
                );
            }
        }
        if record.is_reserved() {
            let what = "an attempt was under way when the relay stopped";
            self.note(&id.to_string(), what.into(), AT_START);
        }
        if has_file {
            self.compare(id, record);
        } else if record.recipients.iter().any(|recipient| !recipient.state.is_final()) {
            let remedy = "restore the file from a backup before the next start, which makes the message dead";
            self.problem(&id.to_string(), "its file is missing from the spool".into(), remedy);
        }
        let dead = DeadKey::of(id, record).map(|key| index.has_dead(&key)).transpose()?;
        if dead == Some(false) {
            self.note(&id.to_string(), "a key of its record is missing".into(), AT_START);
        }
        Ok(())
    }

    /// File and record must tell of the same message.
    fn compare(&mut self, id: QueueId, record: &MessageRecord) {
        // A file that cannot be read was told of before.
        let Ok(described) = self.inspection.describe(id) else { return };
        let addresses = record.recipients.iter().map(|recipient| &recipient.address);
        if !addresses.eq(&described.envelope.forward_paths)
            || record.reverse_path != described.envelope.reverse_path
            || record.size_bytes != described.trailer.body_bytes
        {
            let what = "its file and its record tell of different messages";
            let remedy = "look at it (pillarbox queue show ID), and compare its file with the log";
            self.problem(&id.to_string(), what.into(), remedy);
        }
    }

    fn history(&mut self, index: &dyn Index, known: &BTreeSet<QueueId>) -> Result<(), IndexError> {
        for entry in index.history(None) {
            match entry {
                Ok((id, _)) => {
                    self.summary.history += 1;
                    if known.contains(&id) {
                        let what = "it is in the queue and in the history of finished messages";
                        let remedy = "look at it with pillarbox queue show ID; delete it when it has arrived";
                        self.problem(&id.to_string(), what.into(), remedy);
                    }
                }
                Err(IndexError::Damaged { id, reason }) => {
                    let what = format!("its entry in the history is damaged: {reason}");
                    self.problem(
                        &id.to_string(),
                        what,
                        "nothing: it is only remembered, and goes with time",
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn without_record<'a>(
        &mut self,
        index: &dyn Index,
        files: impl Iterator<Item = &'a QueueId>,
    ) -> Result<(), IndexError> {
        for id in files {
            let what = match index.finished(*id) {
                Ok(Some(_)) => "it is finished, only its file has not gone yet",
                Ok(None) | Err(IndexError::Damaged { .. }) => {
                    "it was accepted and has no record yet"
                }
                Err(error) => return Err(error),
            };
            self.note(&id.to_string(), what.into(), AT_START);
        }
        Ok(())
    }

    /// The bodies of relayed messages, which wait for nobody.
    fn kept(&mut self) {
        let directory = self.inspection.state.join(kept::FOLDER);
        let found = match kept::list(&directory) {
            Ok(found) => found,
            Err(error) => {
                let what = format!("the kept bodies of relayed messages cannot be listed: {error}");
                return self.problem(&directory.display().to_string(), what, KEPT);
            }
        };
        for (id, _) in found {
            self.summary.kept += 1;
            (self.step)();
            let path = directory.join(id.to_string());
            if let Err(error) = self.inspection.describe_kept(id) {
                let what = format!("the kept body of a relayed message cannot be used: {error}");
                self.note(&path.display().to_string(), what, KEPT);
            }
        }
    }

    /// What earlier starts have put aside.
    fn remains(&mut self) {
        let state = &self.inspection.state;
        let aside = fs::read_dir(state.join("damaged")).map_or(0, Iterator::count);
        if aside > 0 {
            let what = format!("{aside} damaged message files were set aside");
            let remedy =
                "look at them (strings FILE), tell whoever sent them, and remove the files";
            self.note(&state.join("damaged").display().to_string(), what, remedy);
        }
        let entries = fs::read_dir(state).into_iter().flatten().flatten();
        let bad = entries
            .map(|entry| entry.path())
            .filter(|path| path.to_string_lossy().contains("queue.sled.bad-"));
        for path in bad.collect::<BTreeSet<_>>() {
            let what = "an index that was damaged, and was rebuilt from the spool";
            self.note(
                &path.display().to_string(),
                what.into(),
                "remove it when mail flows as it should",
            );
        }
    }

    fn note(&mut self, subject: &str, what: String, remedy: &'static str) {
        self.summary.notes += 1;
        (self.tell)(&Finding { gravity: Gravity::Note, subject: subject.into(), what, remedy });
    }

    fn problem(&mut self, subject: &str, what: String, remedy: &'static str) {
        self.summary.problems += 1;
        (self.tell)(&Finding { gravity: Gravity::Problem, subject: subject.into(), what, remedy });
    }
}
