//! Two small files beside sled that survive the death of the process, though not a power cut: which final
//! dots may be out and what was answered to them, and a copy of the ledger.
//!
//! Rule: they are only ever read at start, to err on the safe side: the first spares duplicates after a
//! kill, the second keeps the budget when sled's files are damaged. Must not know sled.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    claim::Settlement,
    id::QueueId,
    record::{self, Stored},
};
use crate::{
    budget::{AccountKey, Event, ledgers::Ledgers},
    clock::{BootId, Moment},
};

/// Octets after which a file is written anew with what still counts.
const REWRITE_BYTES: u64 = 1024 * 1024;
/// Octets of a file that are read at start: many times what either ever has.
const READ_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One line of the file: what became of a final dot. Each kind is a record of its own, so that one which is
/// missing never changes what the others mean.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Dot<'a> {
    /// It is about to be sent.
    Noted(QueueId),
    /// The upstream has answered, and this follows from it.
    Answered(QueueId, Cow<'a, Settlement>),
    /// The claim has ended, and the queue knows how.
    Forgotten(QueueId),
}

impl Stored for Dot<'_> {}

/// The messages whose final dot was about to be sent.
#[derive(Debug)]
pub(super) struct UnconfirmedSends {
    path: PathBuf,
    boot: BootId,
    file: File,
    length: u64,
    /// An append has failed, and so has the attempt to write the file anew: nothing may be appended to it.
    torn: bool,
    /// With what was answered.
    unsettled: HashMap<QueueId, Option<Settlement>>,
}

/// What the file said at start.
#[derive(Debug)]
pub(super) struct FoundDots {
    same_boot: bool,
    unsettled: HashMap<QueueId, Option<Settlement>>,
}

/// What is known about the final dot of a claim whose worker has died.
#[derive(Debug)]
pub(super) enum FoundDot<'a> {
    /// It was certainly not sent.
    NotSent,
    /// It may have been.
    MaybeSent,
    /// It was, and this follows from the answer.
    Answered(&'a Settlement),
}

impl FoundDots {
    /// Of a process that has noted nothing here.
    #[cfg(feature = "fleet")]
    pub(super) fn none() -> Self {
        Self { same_boot: true, unsettled: HashMap::new() }
    }

    /// Reads the file of the last run. A missing or cut one says nothing, so everything may be out.
    pub(super) fn read(state: &Path, boot: BootId) -> Self {
        let bytes = read_bounded(&UnconfirmedSends::path(state)).unwrap_or_default();
        let mut found = Self { same_boot: false, unsettled: HashMap::new() };
        let Some((written_in, mut rest)) = bytes.split_first_chunk::<16>() else { return found };
        found.same_boot = u128::from_be_bytes(*written_in) == boot.0;
        // What a kill has cut is the last line. A dot whose line is not whole was not sent.
        while let Some((dot, behind)) = take(rest) {
            match dot {
                Dot::Noted(id) => drop(found.unsettled.insert(id, None)),
                Dot::Answered(id, settlement) => {
                    drop(found.unsettled.insert(id, Some(settlement.into_owned())));
                }
                Dot::Forgotten(id) => drop(found.unsettled.remove(&id)),
            }
            rest = behind;
        }
        found
    }

    /// What is known about the final dot of a message that was claimed when the last run ended.
    pub(super) fn of(&self, id: QueueId) -> FoundDot<'_> {
        // The file is not synced: what it says after a reboot may be of an earlier claim.
        if !self.same_boot {
            return FoundDot::MaybeSent;
        }
        match self.unsettled.get(&id) {
            None => FoundDot::NotSent,
            Some(None) => FoundDot::MaybeSent,
            Some(Some(settlement)) => FoundDot::Answered(settlement),
        }
    }
}

impl UnconfirmedSends {
    fn path(state: &Path) -> PathBuf {
        state.join("final-dots")
    }

    /// Starts a new file.
    pub(super) fn create(state: &Path, boot: BootId) -> io::Result<Self> {
        let path = Self::path(state);
        let file = write_anew(&path, &boot.0.to_be_bytes())?;
        Ok(Self { path, boot, file, length: 16, torn: false, unsettled: HashMap::new() })
    }

    /// Notes that the dot of `id` is about to be sent. When that fails it must not be sent.
    pub(super) fn note(&mut self, id: QueueId) -> io::Result<()> {
        if self.unsettled.contains_key(&id) && !self.torn {
            return Ok(());
        }
        let known = self.unsettled.insert(id, None);
        let noted = self.append(&Dot::Noted(id));
        if noted.is_err() && known.is_none() {
            self.unsettled.remove(&id);
        }
        noted
    }

    /// The upstream has answered to the dot of `id`. A dot that was never noted needs no answer.
    pub(super) fn answered(&mut self, id: QueueId, settlement: &Settlement) -> io::Result<()> {
        let Some(known) = self.unsettled.get_mut(&id) else { return Ok(()) };
        *known = Some(settlement.clone());
        self.append(&Dot::Answered(id, Cow::Borrowed(settlement)))
    }

    /// The claim has ended, and the queue knows how.
    pub(super) fn forget(&mut self, id: QueueId) -> io::Result<()> {
        if self.unsettled.remove(&id).is_none() {
            return Ok(());
        }
        self.append(&Dot::Forgotten(id))
    }

    /// Adds a line for what `unsettled` has already. Nothing is ever appended to a line that may not be
    /// whole: after an error the file is written anew.
    fn append(&mut self, dot: &Dot<'_>) -> io::Result<()> {
        if self.torn {
            return self.rewrite();
        }
        let line = dot_line(dot);
        if self.file.write_all(&line).is_err() {
            self.torn = true;
            return self.rewrite();
        }
        self.length += line.len() as u64;
        if self.length <= REWRITE_BYTES {
            return Ok(());
        }
        let whole = self.whole();
        if self.length > REWRITE_BYTES + 2 * whole.len() as u64 {
            // The long file is as good as the short one: it is tried again with the next line.
            self.replace(&whole).ok();
        }
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let whole = self.whole();
        self.replace(&whole)
    }

    fn replace(&mut self, whole: &[u8]) -> io::Result<()> {
        self.file = write_anew(&self.path, whole)?;
        self.length = whole.len() as u64;
        self.torn = false;
        Ok(())
    }

    /// The file with what still counts.
    fn whole(&self) -> Vec<u8> {
        let mut bytes = self.boot.0.to_be_bytes().to_vec();
        for (id, settlement) in &self.unsettled {
            let dot = match settlement {
                Some(settlement) => Dot::Answered(*id, Cow::Borrowed(settlement)),
                None => Dot::Noted(*id),
            };
            bytes.extend(dot_line(&dot));
        }
        bytes
    }
}

/// The length of the record, and the record with its version and checksum.
fn dot_line(dot: &Dot<'_>) -> Vec<u8> {
    // Nothing in it can fail to be encoded; an empty line would end the file, as a cut one does.
    let mut line = record::encode(dot).unwrap_or_default();
    let length = u32::try_from(line.len()).unwrap_or(0);
    drop(line.splice(..0, length.to_be_bytes()));
    line
}

/// The first line, and what is behind it; `None` where no whole one is.
fn take(bytes: &[u8]) -> Option<(Dot<'static>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (encoded, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some((record::decode(encoded).ok()?, rest))
}

fn read_bounded(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(READ_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= READ_BYTES_MAX).then_some(bytes)
}

/// The copy of the ledger.
#[derive(Debug)]
pub(super) struct LedgerCopy {
    path: PathBuf,
    boot: BootId,
    file: File,
    length: u64,
    /// An entry is missing, so the file is removed: who finds none does not trust it.
    stale: bool,
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
const LINE_BYTES: usize = 80;
/// The same before events had an account, when the first line was of version 1.
const LINE_BYTES_OF_1: usize = 64;

/// The first line: in which boot the copy was written, and whether half of the budget is unaccounted for.
type Header = (BootId, bool);

/// A line: an event without its origin. Where the copy is needed, what each origin has spent begins anew.
type Line = (u64, Option<(Moment, u32)>, AccountKey);

impl Stored for Header {
    // The lines have become longer.
    const ADDED: &'static [&'static [u8]] = &[&[]];
}
impl Stored for Line {
    // The account that was the only one.
    const ADDED: &'static [&'static [u8]] = &[&[0]];
}

fn line_of(sequence: u64, event: Option<Event>) -> Line {
    let account = event.map(|event| event.account).unwrap_or_default();
    (sequence, event.map(|event| (event.at, event.recipients)), account)
}

impl LedgerCopy {
    fn path(state: &Path) -> PathBuf {
        state.join("ledger.copy")
    }

    /// Reads the copy of the last run; `None` when there is none, or its first line cannot be read.
    pub(super) fn read(state: &Path) -> Option<FoundLedger> {
        let bytes = read_bounded(&Self::path(state))?;
        let length = if bytes.get(1) == Some(&1) { LINE_BYTES_OF_1 } else { LINE_BYTES };
        let mut lines = bytes.chunks_exact(length);
        let (boot, half_unknown): Header = unline(lines.next()?)?;
        let is_whole = lines.remainder().is_empty();
        let mut found = FoundLedger { boot, is_whole, half_unknown, events: BTreeMap::new() };
        for line in lines {
            match unline::<Line>(line) {
                Some((sequence, Some((at, recipients)), account)) => {
                    found.events.insert(sequence, Event { at, recipients, origin: 0, account });
                }
                Some((sequence, None, _)) => drop(found.events.remove(&sequence)),
                None => found.is_whole = false,
            }
        }
        Some(found)
    }

    /// Starts a new copy with what the ledger holds.
    pub(super) fn create(
        state: &Path,
        boot: BootId,
        ledger: &Ledgers,
        half_unknown: bool,
    ) -> io::Result<Self> {
        let path = Self::path(state);
        let bytes = whole(boot, ledger, half_unknown);
        let file = write_anew(&path, &bytes)?;
        Ok(Self { path, boot, file, length: bytes.len() as u64, stale: false })
    }

    /// Whether there is one of some earlier run, readable or not.
    pub(super) fn exists(state: &Path) -> bool {
        fs::symlink_metadata(Self::path(state)).is_ok()
    }

    /// Adds what a commit changed. A copy that misses something is removed, and written anew next time.
    pub(super) fn append(
        &mut self,
        changes: &BTreeMap<u64, Option<Event>>,
        ledger: &Ledgers,
        half_unknown: bool,
    ) -> io::Result<()> {
        if self.stale {
            return self.rewrite(ledger, half_unknown);
        }
        if changes.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        changes.iter().for_each(|(sequence, event)| line(&mut bytes, &line_of(*sequence, *event)));
        if let Err(error) = self.file.write_all(&bytes) {
            self.give_up()?;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        let live = (ledger.event_count() * LINE_BYTES) as u64;
        if self.length > REWRITE_BYTES + 2 * live {
            self.rewrite(ledger, half_unknown)
        } else {
            Ok(())
        }
    }

    /// Writes it anew with what still counts, and whether there is more that nobody knows.
    pub(super) fn rewrite(&mut self, ledger: &Ledgers, half_unknown: bool) -> io::Result<()> {
        let bytes = whole(self.boot, ledger, half_unknown);
        match write_anew(&self.path, &bytes) {
            Ok(file) => self.file = file,
            Err(error) => {
                self.give_up()?;
                return Err(error);
            }
        }
        self.length = bytes.len() as u64;
        self.stale = false;
        Ok(())
    }

    fn give_up(&mut self) -> io::Result<()> {
        self.stale = true;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn whole(boot: BootId, ledger: &Ledgers, half_unknown: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header: Header = (boot, half_unknown);
    line(&mut bytes, &header);
    ledger.events().for_each(|(sequence, event)| line(&mut bytes, &line_of(sequence, Some(event))));
    bytes
}

/// Adds one line. An event takes at most 66 octets; see the test.
fn line<T: Stored>(bytes: &mut Vec<u8>, entry: &T) {
    let Ok(encoded) = record::encode(entry) else { return };
    let start = bytes.len();
    bytes.push(u8::try_from(encoded.len()).unwrap_or(0));
    bytes.extend_from_slice(&encoded);
    bytes.resize(start + LINE_BYTES, 0);
}

fn unline<T: Stored>(line: &[u8]) -> Option<T> {
    let length = usize::from(*line.first()?);
    record::decode(line.get(1..=length)?).ok()
}

/// Replaces a file whole, so that a crash leaves the old or the new one, and returns it for appending.
fn write_anew(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let next = path.with_extension("new");
    // One that a crash has left, or a link that leads elsewhere.
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&next)?;
    file.write_all(bytes)?;
    fs::rename(&next, path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, queue::claim::Outcome};

    #[test]
    fn the_longest_event_fits_a_line_and_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let at =
            Moment { wall: Timestamp(i64::MAX), boot: BootId(u128::MAX), since_boot_ms: u64::MAX };
        let account = AccountKey::of("second");
        let event = Event { at, recipients: u32::MAX, origin: 0, account };
        let mut ledger = Ledgers::default();
        ledger.insert(u64::MAX - 1, event);
        let mut copy = LedgerCopy::create(directory.path(), BootId(7), &ledger, true).unwrap();
        copy.append(
            &BTreeMap::from([(5, Some(event)), (6, Some(event)), (5, None)]),
            &ledger,
            true,
        )
        .unwrap();
        let read = LedgerCopy::read(directory.path()).unwrap();
        assert_eq!((read.boot, read.is_whole, read.half_unknown), (BootId(7), true, true));
        assert_eq!(
            read.events.into_iter().collect::<Vec<_>>(),
            [(6, event), (u64::MAX - 1, event)]
        );
        copy.rewrite(&ledger, false).unwrap();
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
    fn a_copy_that_misses_an_event_is_removed_and_comes_back_whole() {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = Ledgers::default();
        let mut copy = LedgerCopy::create(directory.path(), BOOT, &ledger, false).unwrap();
        let at = Moment { wall: Timestamp(1), boot: BOOT, since_boot_ms: 1 };
        ledger.insert(1, Event { at, recipients: 3, origin: 0, account: AccountKey::MAIN });
        let changes = BTreeMap::from([(1, ledger.event(1))]);
        // The disk is full for a moment: a file that may not be written to.
        let good = File::open(LedgerCopy::path(directory.path())).unwrap();
        copy.file = good;
        assert!(copy.append(&changes, &ledger, false).is_err());
        assert!(LedgerCopy::read(directory.path()).is_none(), "it would be trusted without it");
        copy.append(&BTreeMap::new(), &ledger, false).unwrap();
        let read = LedgerCopy::read(directory.path()).unwrap();
        assert_eq!((read.is_whole, read.events.len()), (true, 1));
    }

    const BOOT: BootId = BootId(7);

    fn found(directory: &Path, id: QueueId) -> String {
        match FoundDots::read(directory, BOOT).of(id) {
            FoundDot::NotSent => "not sent".into(),
            FoundDot::MaybeSent => "maybe sent".into(),
            FoundDot::Answered(settlement) => format!("answered at {}", settlement.at.0),
        }
    }

    fn answer(at: i64) -> Settlement {
        let reply = "250 2.0.0 OK".to_owned();
        Settlement {
            reservation: 1,
            at: Timestamp(at),
            outcomes: vec![(0, Outcome::Relayed { reply })],
        }
    }

    /// Writing fails, as on a full disk, while `act` runs; a name that is taken keeps the file from being
    /// written anew as well.
    fn while_the_disk_is_full<T>(
        dots: &mut UnconfirmedSends,
        act: impl FnOnce(&mut UnconfirmedSends) -> T,
    ) -> T {
        let next = dots.path.with_extension("new");
        fs::create_dir(&next).unwrap();
        let good = std::mem::replace(&mut dots.file, File::open(&dots.path).unwrap());
        let result = act(dots);
        fs::remove_dir(&next).unwrap();
        if dots.torn {
            dots.file = good;
        }
        result
    }

    #[test]
    fn a_dot_counts_as_sent_when_noted_in_this_boot_and_always_after_a_reboot() {
        let directory = tempfile::tempdir().unwrap();
        let (sent, unsent) = (QueueId::from_bytes([1; 16]), QueueId::from_bytes([2; 16]));
        let mut dots = UnconfirmedSends::create(directory.path(), BOOT).unwrap();
        dots.note(sent).unwrap();
        assert_eq!(found(directory.path(), sent), "maybe sent");
        assert_eq!(found(directory.path(), unsent), "not sent");
        dots.answered(sent, &answer(5)).unwrap();
        dots.answered(unsent, &answer(5)).unwrap();
        assert_eq!(found(directory.path(), sent), "answered at 5");
        assert_eq!(found(directory.path(), unsent), "not sent");
        let after_a_reboot = FoundDots::read(directory.path(), BootId(8));
        for id in [sent, unsent] {
            assert!(matches!(after_a_reboot.of(id), FoundDot::MaybeSent));
        }
        dots.forget(sent).unwrap();
        assert_eq!(found(directory.path(), sent), "not sent", "its claim has ended");
        let missing = FoundDots::read(&directory.path().join("none"), BOOT);
        assert!(matches!(missing.of(unsent), FoundDot::MaybeSent));
    }

    #[test]
    fn a_line_that_could_not_be_written_never_changes_what_a_later_one_means() {
        let id = QueueId::from_bytes([1; 16]);
        for fails in ["note", "answered", "forget"] {
            let directory = tempfile::tempdir().unwrap();
            let mut dots = UnconfirmedSends::create(directory.path(), BOOT).unwrap();
            if fails == "note" {
                assert!(while_the_disk_is_full(&mut dots, |dots| dots.note(id)).is_err());
                assert_eq!(found(directory.path(), id), "not sent");
                // The attempt was given up; its settlement takes back what was never written.
                dots.forget(id).unwrap();
            } else {
                dots.note(id).unwrap();
                if fails == "answered" {
                    let answered = |dots: &mut UnconfirmedSends| dots.answered(id, &answer(5));
                    assert!(while_the_disk_is_full(&mut dots, answered).is_err());
                    assert_eq!(found(directory.path(), id), "maybe sent");
                    dots.forget(id).unwrap();
                } else {
                    assert!(while_the_disk_is_full(&mut dots, |dots| dots.forget(id)).is_err());
                    assert_eq!(found(directory.path(), id), "maybe sent");
                }
            }
            // Minutes later the next attempt's dot is about to be sent.
            dots.note(id).unwrap();
            assert_eq!(found(directory.path(), id), "maybe sent", "after a failed {fails}");
            dots.forget(id).unwrap();
            assert_eq!(found(directory.path(), id), "not sent", "after a failed {fails}");
        }
    }

    #[test]
    fn half_a_line_is_replaced_before_the_next_one_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (QueueId::from_bytes([1; 16]), QueueId::from_bytes([2; 16]));
        let mut dots = UnconfirmedSends::create(directory.path(), BOOT).unwrap();
        dots.note(first).unwrap();
        // The disk took a part of the line.
        dots.file.write_all(&dot_line(&Dot::Noted(second))[..9]).unwrap();
        dots.torn = true;
        assert_eq!(found(directory.path(), first), "maybe sent");
        assert_eq!(found(directory.path(), second), "not sent");
        dots.note(second).unwrap();
        for id in [first, second] {
            assert_eq!(found(directory.path(), id), "maybe sent");
        }
    }

    #[test]
    fn the_file_stays_short_and_keeps_what_still_counts() {
        let directory = tempfile::tempdir().unwrap();
        let kept = QueueId::from_bytes([1; 16]);
        let mut dots = UnconfirmedSends::create(directory.path(), BOOT).unwrap();
        dots.note(kept).unwrap();
        dots.answered(kept, &answer(9)).unwrap();
        let reply = "x".repeat(1_000);
        let large = Settlement {
            reservation: 1,
            at: Timestamp(1),
            outcomes: (0..100).map(|at| (at, Outcome::Relayed { reply: reply.clone() })).collect(),
        };
        for number in 0..40 {
            let id = QueueId::from_bytes([number + 2; 16]);
            dots.note(id).unwrap();
            dots.answered(id, &large).unwrap();
            dots.forget(id).unwrap();
        }
        let length = fs::metadata(&dots.path).unwrap().len();
        assert!(length < 2 * REWRITE_BYTES, "{length}");
        assert_eq!(found(directory.path(), kept), "answered at 9");
    }

    #[test]
    fn a_link_in_the_place_of_the_next_file_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = directory.path().join("elsewhere");
        fs::write(&elsewhere, "precious").unwrap();
        let link = directory.path().join("final-dots.new");
        std::os::unix::fs::symlink(&elsewhere, link).unwrap();
        UnconfirmedSends::create(directory.path(), BOOT).unwrap();
        assert_eq!(fs::read_to_string(elsewhere).unwrap(), "precious");
    }
}
