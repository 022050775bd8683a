//! Two small files beside sled that survive the death of the process, though not a power cut: which final
//! dots may be out, and a copy of the ledger.
//!
//! Rule: they are only ever read at start, to err on the safe side: the first spares duplicates after a
//! kill, the second keeps the budget when sled's files are damaged. Must not know sled.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{id::QueueId, record};
use crate::{
    budget::ledger::{Event, Ledger},
    clock::BootId,
};

/// Octets after which a file is written anew with what still counts.
const REWRITE_BYTES: u64 = 1024 * 1024;

/// The messages whose final dot was about to be sent.
#[derive(Debug)]
pub(super) struct FinalDots {
    path: PathBuf,
    boot: BootId,
    file: File,
    length: u64,
    unsettled: HashSet<QueueId>,
}

/// What the file said at start.
#[derive(Debug)]
pub(super) struct FoundDots {
    same_boot: bool,
    ids: HashSet<QueueId>,
}

impl FoundDots {
    /// Reads the file of the last run. A missing or cut one says nothing, so everything may be out.
    pub(super) fn read(state: &Path, boot: BootId) -> Self {
        let bytes = fs::read(FinalDots::path(state)).unwrap_or_default();
        let (chunks, _) = bytes.as_chunks::<16>();
        let Some((written_in, ids)) = chunks.split_first() else {
            return Self { same_boot: false, ids: HashSet::new() };
        };
        let same_boot = u128::from_be_bytes(*written_in) == boot.0;
        Self { same_boot, ids: ids.iter().map(|id| QueueId::from_bytes(*id)).collect() }
    }

    /// Whether the final dot of a claim of the last run may have been sent. After a reboot the file
    /// proves nothing, because it is not synced.
    pub(super) fn may_be_sent(&self, id: QueueId) -> bool {
        !self.same_boot || self.ids.contains(&id)
    }
}

impl FinalDots {
    fn path(state: &Path) -> PathBuf {
        state.join("final-dots")
    }

    /// Starts a new file.
    pub(super) fn create(state: &Path, boot: BootId) -> io::Result<Self> {
        let path = Self::path(state);
        let file = write_anew(&path, &boot.0.to_be_bytes())?;
        Ok(Self { path, boot, file, length: 16, unsettled: HashSet::new() })
    }

    /// Notes that the dot of `id` is about to be sent.
    pub(super) fn note(&mut self, id: QueueId) -> io::Result<()> {
        self.unsettled.insert(id);
        self.file.write_all(id.as_bytes())?;
        self.length += 16;
        if self.length > REWRITE_BYTES {
            let mut bytes = self.boot.0.to_be_bytes().to_vec();
            self.unsettled.iter().for_each(|id| bytes.extend_from_slice(id.as_bytes()));
            self.file = write_anew(&self.path, &bytes)?;
            self.length = bytes.len() as u64;
        }
        Ok(())
    }

    /// The claim has ended.
    pub(super) fn forget(&mut self, id: QueueId) {
        self.unsettled.remove(&id);
    }
}

/// The copy of the ledger.
#[derive(Debug)]
pub(super) struct LedgerCopy {
    path: PathBuf,
    file: File,
    length: u64,
}

/// Octets of one line: a sequence number and an event, with version and checksum. Shorter ones are padded.
const LINE_BYTES: usize = 64;

impl LedgerCopy {
    fn path(state: &Path) -> PathBuf {
        state.join("ledger.copy")
    }

    /// The events that the last run wrote; `None` when there is no copy.
    pub(super) fn read(state: &Path) -> Option<BTreeMap<u64, Event>> {
        let bytes = fs::read(Self::path(state)).ok()?;
        let mut events = BTreeMap::new();
        for line in bytes.as_chunks::<LINE_BYTES>().0 {
            let length = usize::from(line[0]);
            let Some(Ok((sequence, event))) =
                line.get(1..=length).map(record::decode::<(u64, Option<Event>)>)
            else {
                continue;
            };
            match event {
                Some(event) => events.insert(sequence, event),
                None => events.remove(&sequence),
            };
        }
        Some(events)
    }

    /// Starts a new copy with what the ledger holds.
    pub(super) fn create(state: &Path, ledger: &Ledger) -> io::Result<Self> {
        let path = Self::path(state);
        let bytes = lines(ledger.events().map(|(sequence, event)| (sequence, Some(event))));
        let file = write_anew(&path, &bytes)?;
        Ok(Self { path, file, length: bytes.len() as u64 })
    }

    /// Adds what a commit changed.
    pub(super) fn append(
        &mut self,
        changes: &BTreeMap<u64, Option<Event>>,
        ledger: &Ledger,
    ) -> io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let bytes = lines(changes.iter().map(|(sequence, event)| (*sequence, *event)));
        self.file.write_all(&bytes)?;
        self.length += bytes.len() as u64;
        let live = (ledger.events().count() * LINE_BYTES) as u64;
        if self.length > REWRITE_BYTES + 2 * live {
            let bytes = lines(ledger.events().map(|(sequence, event)| (sequence, Some(event))));
            self.file = write_anew(&self.path, &bytes)?;
            self.length = bytes.len() as u64;
        }
        Ok(())
    }
}

fn lines(events: impl Iterator<Item = (u64, Option<Event>)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in events {
        // An event takes at most 50 octets; see the test.
        let Ok(encoded) = record::encode(&entry) else { continue };
        let start = bytes.len();
        bytes.push(u8::try_from(encoded.len()).unwrap_or(0));
        bytes.extend_from_slice(&encoded);
        bytes.resize(start + LINE_BYTES, 0);
    }
    bytes
}

/// Replaces a file whole, so that a crash leaves the old or the new one, and returns it for appending.
fn write_anew(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let next = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(bytes)?;
    fs::rename(&next, path)?;
    OpenOptions::new().append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Moment, Timestamp};

    #[test]
    fn the_longest_event_fits_a_line_and_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let at = Moment { wall: Timestamp(i64::MAX), boot: BootId(u128::MAX), since_boot_ms: u64::MAX };
        let event = Event { at, recipients: u32::MAX };
        let mut ledger = Ledger::default();
        ledger.insert(u64::MAX - 1, event);
        let mut copy = LedgerCopy::create(directory.path(), &ledger).unwrap();
        copy.append(&BTreeMap::from([(5, Some(event)), (6, Some(event)), (5, None)]), &ledger).unwrap();
        let read = LedgerCopy::read(directory.path()).unwrap();
        assert_eq!(read.into_iter().collect::<Vec<_>>(), [(6, event), (u64::MAX - 1, event)]);
    }

    #[test]
    fn a_dot_counts_as_sent_when_noted_in_this_boot_and_always_after_a_reboot() {
        let directory = tempfile::tempdir().unwrap();
        let (sent, unsent) = (QueueId::from_bytes([1; 16]), QueueId::from_bytes([2; 16]));
        let mut dots = FinalDots::create(directory.path(), BootId(7)).unwrap();
        dots.note(sent).unwrap();
        let found = FoundDots::read(directory.path(), BootId(7));
        assert!(found.may_be_sent(sent) && !found.may_be_sent(unsent));
        assert!(FoundDots::read(directory.path(), BootId(8)).may_be_sent(unsent));
        assert!(FoundDots::read(&directory.path().join("none"), BootId(7)).may_be_sent(unsent));
    }
}
