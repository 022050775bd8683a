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

use super::{
    id::QueueId,
    record::{self, Stored},
};
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
        let mut out = HashSet::new();
        for id in ids.iter().map(|id| QueueId::from_bytes(*id)) {
            // The second mention takes the first one back.
            if !out.remove(&id) {
                out.insert(id);
            }
        }
        Self { same_boot, ids: out }
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
        if self.unsettled.insert(id) { self.append(id) } else { Ok(()) }
    }

    /// The claim has ended: the id is mentioned once more, which takes the first mention back.
    pub(super) fn forget(&mut self, id: QueueId) -> io::Result<()> {
        if self.unsettled.remove(&id) { self.append(id) } else { Ok(()) }
    }

    fn append(&mut self, id: QueueId) -> io::Result<()> {
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
}

/// The copy of the ledger.
#[derive(Debug)]
pub(super) struct LedgerCopy {
    path: PathBuf,
    boot: BootId,
    file: File,
    length: u64,
}

/// What the copy of the last run said.
#[derive(Debug)]
pub(super) struct FoundLedger {
    /// The boot in which it was written. The file is not synced: after a reboot it may be old or cut.
    pub(super) boot: BootId,
    /// No line of it is damaged.
    pub(super) is_whole: bool,
    /// The run before it did not know what had been spent, and had not yet accounted for that.
    pub(super) half_unknown: bool,
    pub(super) events: BTreeMap<u64, Event>,
}

/// Octets of one line: a sequence number and an event, with version and checksum. Shorter ones are padded.
const LINE_BYTES: usize = 64;

/// The first line: in which boot the copy was written, and whether half of the budget is unaccounted for.
type Header = (BootId, bool);

impl Stored for Header {}
impl Stored for (u64, Option<Event>) {}

impl LedgerCopy {
    fn path(state: &Path) -> PathBuf {
        state.join("ledger.copy")
    }

    /// Reads the copy of the last run; `None` when there is none, or its first line cannot be read.
    pub(super) fn read(state: &Path) -> Option<FoundLedger> {
        let bytes = fs::read(Self::path(state)).ok()?;
        let (lines, rest) = bytes.as_chunks::<LINE_BYTES>();
        let (first, lines) = lines.split_first()?;
        let (boot, half_unknown): Header = unline(first)?;
        let mut found =
            FoundLedger { boot, is_whole: rest.is_empty(), half_unknown, events: BTreeMap::new() };
        for line in lines {
            match unline::<(u64, Option<Event>)>(line) {
                Some((sequence, Some(event))) => drop(found.events.insert(sequence, event)),
                Some((sequence, None)) => drop(found.events.remove(&sequence)),
                None => found.is_whole = false,
            }
        }
        Some(found)
    }

    /// Starts a new copy with what the ledger holds.
    pub(super) fn create(
        state: &Path,
        boot: BootId,
        ledger: &Ledger,
        half_unknown: bool,
    ) -> io::Result<Self> {
        let path = Self::path(state);
        let bytes = whole(boot, ledger, half_unknown);
        let file = write_anew(&path, &bytes)?;
        Ok(Self { path, boot, file, length: bytes.len() as u64 })
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
        let mut bytes = Vec::new();
        changes.iter().for_each(|(sequence, event)| line(&mut bytes, &(*sequence, *event)));
        self.file.write_all(&bytes)?;
        self.length += bytes.len() as u64;
        let live = (ledger.event_count() * LINE_BYTES) as u64;
        if self.length > REWRITE_BYTES + 2 * live { self.rewrite(ledger) } else { Ok(()) }
    }

    /// Writes it anew with what still counts, and with nothing unaccounted for.
    pub(super) fn rewrite(&mut self, ledger: &Ledger) -> io::Result<()> {
        let bytes = whole(self.boot, ledger, false);
        self.file = write_anew(&self.path, &bytes)?;
        self.length = bytes.len() as u64;
        Ok(())
    }
}

fn whole(boot: BootId, ledger: &Ledger, half_unknown: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header: Header = (boot, half_unknown);
    line(&mut bytes, &header);
    ledger.events().for_each(|(sequence, event)| line(&mut bytes, &(sequence, Some(event))));
    bytes
}

/// Adds one line. An event takes at most 61 octets; see the test.
fn line<T: Stored>(bytes: &mut Vec<u8>, entry: &T) {
    let Ok(encoded) = record::encode(entry) else { return };
    let start = bytes.len();
    bytes.push(u8::try_from(encoded.len()).unwrap_or(0));
    bytes.extend_from_slice(&encoded);
    bytes.resize(start + LINE_BYTES, 0);
}

fn unline<T: Stored>(line: &[u8; LINE_BYTES]) -> Option<T> {
    let length = usize::from(line[0]);
    record::decode(line.get(1..=length)?).ok()
}

/// Replaces a file whole, so that a crash leaves the old or the new one, and returns it for appending.
fn write_anew(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let next = path.with_extension("new");
    let mut file =
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&next)?;
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
        let at =
            Moment { wall: Timestamp(i64::MAX), boot: BootId(u128::MAX), since_boot_ms: u64::MAX };
        let event = Event { at, recipients: u32::MAX };
        let mut ledger = Ledger::default();
        ledger.insert(u64::MAX - 1, event);
        let mut copy = LedgerCopy::create(directory.path(), BootId(7), &ledger, true).unwrap();
        copy.append(&BTreeMap::from([(5, Some(event)), (6, Some(event)), (5, None)]), &ledger)
            .unwrap();
        let read = LedgerCopy::read(directory.path()).unwrap();
        assert_eq!((read.boot, read.is_whole, read.half_unknown), (BootId(7), true, true));
        assert_eq!(
            read.events.into_iter().collect::<Vec<_>>(),
            [(6, event), (u64::MAX - 1, event)]
        );
        copy.rewrite(&ledger).unwrap();
        let read = LedgerCopy::read(directory.path()).unwrap();
        assert_eq!((read.half_unknown, read.events.len()), (false, 1));
        let path = LedgerCopy::path(directory.path());
        let cut = fs::read(&path).unwrap();
        fs::write(&path, &cut[..cut.len() - 3]).unwrap();
        assert!(!LedgerCopy::read(directory.path()).unwrap().is_whole);
        fs::write(&path, "").unwrap();
        assert!(LedgerCopy::read(directory.path()).is_none(), "an empty file says nothing");
    }

    #[test]
    fn a_dot_counts_as_sent_when_noted_in_this_boot_and_always_after_a_reboot() {
        let directory = tempfile::tempdir().unwrap();
        let (sent, unsent) = (QueueId::from_bytes([1; 16]), QueueId::from_bytes([2; 16]));
        let mut dots = FinalDots::create(directory.path(), BootId(7)).unwrap();
        dots.note(sent).unwrap();
        let found = FoundDots::read(directory.path(), BootId(7));
        assert!(found.may_be_sent(sent) && !found.may_be_sent(unsent));
        dots.forget(sent).unwrap();
        assert!(
            !FoundDots::read(directory.path(), BootId(7)).may_be_sent(sent),
            "its claim has ended"
        );
        assert!(FoundDots::read(directory.path(), BootId(8)).may_be_sent(unsent));
        assert!(FoundDots::read(&directory.path().join("none"), BootId(7)).may_be_sent(unsent));
    }
}
