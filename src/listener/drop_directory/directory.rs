//! The drop directory as the daemon has it open: its mode, its entries, and what is done to a file there.
//!
//! Rule: everybody may write into it, so nothing in it is believed: no link is followed, nothing but a regular file
//! with one name is read, and no file is ever lost. Must not know what a file says.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat, fchmod, flock,
        fstat, fsync, mkdir, open, openat, renameat, renameat_with, stat, statat, unlinkat,
    },
    io::Errno,
};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    queue::{
        dropped::{
            ANY_HEAD_BYTES_MAX, Contents, DIRECTORY_MODE, FILE_MODE, Name, bad_name, new_name,
            temporary_name,
        },
        id::{QueueId, RANDOM_LENGTH},
    },
};

/// The number that the kernel gives for users without one, user_namespaces(7).
const NOBODY: u32 = 65_534;
/// How old a file is whose caller must have died over it.
const UNFINISHED_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Octets of a name that a file set aside keeps of its own.
const NAME_BYTES_MAX: usize = 200;
/// Files set aside under one name, with a number each; more get a name that cannot be guessed.
const NAMESAKES_MAX: u32 = 100;

/// What lies in the directory, as the last look has left it.
#[derive(Debug, Default)]
pub struct Tally {
    path: PathBuf,
    waiting: AtomicU64,
    set_aside: AtomicU64,
}

/// The same, to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropState {
    /// The directory.
    pub(crate) directory: String,
    /// Files that wait to be taken.
    pub(crate) waiting: u64,
    /// Files that a person must look at: `bad.*`.
    pub(crate) set_aside: u64,
}

impl Tally {
    pub(in crate::listener) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes what a look has left.
    pub(super) fn note(&self, waiting: u64, set_aside: u64) {
        self.waiting.store(waiting, Ordering::Relaxed);
        self.set_aside.store(set_aside, Ordering::Relaxed);
    }

    /// What is there.
    #[must_use]
    pub fn state(&self) -> DropState {
        DropState {
            directory: self.path.display().to_string(),
            waiting: self.waiting.load(Ordering::Relaxed),
            set_aside: self.set_aside.load(Ordering::Relaxed),
        }
    }
}

/// The directory, open and locked: one daemon at a time takes its files.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// A file whose head was read.
#[derive(Debug)]
pub(super) struct Dropped {
    /// Positioned at the message.
    pub(super) file: File,
    /// Where in the file that is.
    pub(super) message_at: u64,
    /// Whose message it is: the owner of the file, or, when the daemon has written it anew, that of the old one.
    pub(super) uid: u32,
    pub(super) contents: Contents,
}

/// Why there is no such file.
#[derive(Debug)]
pub(super) enum Unusable {
    /// Its owner has taken it away, or puts another one in its place at this moment.
    Gone,
    /// This process cannot read any file now: it has no descriptor or no memory left.
    Exhausted(io::Error),
    /// It is of no use.
    Bad { uid: Option<u32>, reason: String },
}

impl Directory {
    /// Opens the directory; makes it when it is missing and its parent may be written.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let words = |errno: Errno| io::Error::from(errno).to_string();
        let made = mkdir(path, Mode::RWXU);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(|errno| match made {
            Err(Errno::EXIST) | Ok(()) => words(errno),
            Err(errno) => words(errno),
        })?;
        if made.is_ok() {
            // Not with mkdir: the umask of a daemon takes the others' rights away.
            fchmod(&fd, Mode::from_raw_mode(DIRECTORY_MODE)).map_err(words)?;
        }
        flock(&fd, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => "another daemon takes its files".to_owned(),
            errno => words(errno),
        })?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Whether the path still leads here.
    pub(super) fn is_current(&self) -> bool {
        match (stat(&self.path), fstat(&self.fd)) {
            (Ok(there), Ok(here)) => is_same(&there, &here),
            _ => false,
        }
    }

    /// All entries, with the owners of whole files.
    pub(super) fn list(&self, turn: Turn, now: Timestamp) -> io::Result<Listing> {
        let mut listing = Listing::new(turn);
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let found = name.to_str().and_then(Name::read);
            if found == Some(Name::Bad) {
                listing.bad += 1;
                continue;
            }
            // Its owner may have taken it away meanwhile.
            let Ok(stat) = self.look_at(name) else { continue };
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            match found {
                Some(Name::New(id)) => listing.add(stat.st_uid, id),
                Some(Name::Temporary(_)) if is_file => {
                    if is_left_behind(&stat, now) && !self.is_being_written(name) {
                        listing.add_unfinished(name.to_owned());
                    }
                }
                // No caller of ours makes a directory, or a link, before it is renamed.
                Some(Name::Temporary(_)) | None => {
                    listing.add_foreign(stat.st_uid, name.to_owned());
                }
                Some(Name::Bad) => {}
            }
        }
        Ok(listing)
    }

    /// Whether the caller who made the file lives: it holds a lock, and a clock that was set makes no file old.
    fn is_being_written(&self, name: &OsStr) -> bool {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let Ok(file) = openat(&self.fd, name, flags, Mode::empty()) else { return false };
        flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
    }

    fn look_at(&self, name: &OsStr) -> Result<Stat, Errno> {
        statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Removes what callers have left who died over it. Returns how many files went.
    pub(super) fn remove_unfinished(&self, listing: &Listing) -> usize {
        let removed =
            |name: &&OsString| unlinkat(&self.fd, name.as_os_str(), AtFlags::empty()).is_ok();
        listing.unfinished.iter().filter(removed).count()
    }

    /// Opens a whole file and reads its head.
    pub(super) fn read(&self, id: QueueId, message_bytes_max: u64) -> Result<Dropped, Unusable> {
        let name = new_name(id);
        let seen = self.look_at(name.as_ref()).map_err(|errno| unusable(errno, None))?;
        let failed = |errno: Errno| unusable(errno, Some(seen.st_uid));
        let bad = |reason: String| Unusable::Bad { uid: Some(seen.st_uid), reason };
        fitness(&seen, message_bytes_max).map_err(bad)?;
        // Not blocking, should somebody put a FIFO there at this moment.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = openat(&self.fd, &name, flags, Mode::empty()).map_err(failed)?;
        let opened = fstat(&fd).map_err(failed)?;
        if !is_same(&seen, &opened) {
            return Err(Unusable::Gone);
        }
        fitness(&opened, message_bytes_max).map_err(bad)?;
        let mut file = File::from(fd);
        let mut bytes = Vec::new();
        let most = ANY_HEAD_BYTES_MAX as u64;
        Read::by_ref(&mut file)
            .take(most)
            .read_to_end(&mut bytes)
            .map_err(|error| bad(format!("it cannot be read: {error}")))?;
        let read = Contents::read(&bytes).and_then(|(contents, message_at)| {
            let size = u64::try_from(opened.st_size).unwrap_or(0);
            contents.head.check_length(message_at, size).map(|()| (contents, message_at as u64))
        });
        let (contents, message_at) = read.map_err(|error| bad(error.to_string()))?;
        file.seek(SeekFrom::Start(message_at))
            .map_err(|error| bad(format!("it cannot be read: {error}")))?;
        // Who has this process's number could do whatever it does; but nobody's number is that of many.
        let own = rustix::process::geteuid().as_raw();
        let ours = opened.st_uid == own && own != NOBODY;
        let uid = contents.owner.filter(|_| ours).unwrap_or(opened.st_uid);
        Ok(Dropped { file, message_at, uid, contents })
    }

    /// Writes a file with these contents and the message of another one, and gives it its final name, over whatever
    /// has that name. When this returns, it is on the disk.
    pub(super) fn write(
        &self,
        id: QueueId,
        contents: &Contents,
        message: &mut File,
        message_at: u64,
    ) -> io::Result<()> {
        let head = contents.encode().map_err(io::Error::other)?;
        let temporary = temporary_name(another_id(id)?);
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
        let mode = Mode::from_raw_mode(FILE_MODE);
        let mut file = File::from(openat(&self.fd, &temporary, flags, mode)?);
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok();
        let written = (|| {
            file.write_all(&head)?;
            message.seek(SeekFrom::Start(message_at))?;
            let octets = contents.head.message_bytes;
            if io::copy(&mut message.take(octets), &mut file)? != octets {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            fsync(&file)?;
            renameat(&self.fd, &temporary, &self.fd, new_name(id))?;
            Ok(fsync(&self.fd)?)
        })();
        if written.is_err() {
            // When it has its final name already, there is none to remove.
            unlinkat(&self.fd, &temporary, AtFlags::empty()).ok();
        }
        written
    }

    /// Removes a file whose message is safe.
    pub(super) fn remove(&self, id: QueueId) -> io::Result<()> {
        match unlinkat(&self.fd, new_name(id), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Gives a file a name under which it is left alone. Returns that name.
    pub(super) fn set_aside(&self, name: &OsStr) -> io::Result<OsString> {
        let kept = &name.as_bytes()[..name.len().min(NAME_BYTES_MAX)];
        let first = [bad_name("").as_bytes(), kept].concat();
        for number in 0..NAMESAKES_MAX {
            let number = if number == 0 { String::new() } else { format!(".{number}") };
            let target = OsString::from_vec([&first, number.as_bytes()].concat());
            match renameat_with(&self.fd, name, &self.fd, &target, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(target),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        // Somebody has taken all of these names: one that he cannot guess.
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let unique = format!(".{:016x}", u64::from_le_bytes(random));
        let target = OsString::from_vec([&first, unique.as_bytes()].concat());
        renameat_with(&self.fd, name, &self.fd, &target, RenameFlags::NOREPLACE)?;
        Ok(target)
    }
}

/// An id of the same age that nobody can guess.
pub(super) fn another_id(id: QueueId) -> io::Result<QueueId> {
    let mut random = [0; RANDOM_LENGTH];
    let count = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    if count != RANDOM_LENGTH {
        return Err(io::Error::other("the kernel gives no random numbers"));
    }
    Ok(QueueId::proposed(id.time(), random))
}

/// What an error about one file means: trouble of this process stops everything, any other only that file.
fn unusable(errno: Errno, uid: Option<u32>) -> Unusable {
    match errno {
        Errno::NOENT => Unusable::Gone,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => Unusable::Exhausted(errno.into()),
        errno => {
            let reason = format!("it cannot be read: {}", io::Error::from(errno));
            Unusable::Bad { uid, reason }
        }
    }
}

/// Whether nobody has written to it for so long, by the wall clock, that its caller must have died.
fn is_left_behind(stat: &Stat, now: Timestamp) -> bool {
    now.since(Timestamp(stat.st_mtime.saturating_mul(1_000))) > UNFINISHED_AGE_MAX
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A process that is being started may have a copy of the descriptor, and the lock with it.
        let _ = flock(self.fd.as_fd(), FlockOperation::Unlock);
    }
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Whether it may be read at all.
fn fitness(stat: &Stat, message_bytes_max: u64) -> Result<(), String> {
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_nlink != 1 => {
            Err(format!("it has {} names", stat.st_nlink))
        }
        FileType::RegularFile
            if size > message_bytes_max.saturating_add(ANY_HEAD_BYTES_MAX as u64) =>
        {
            Err(format!("it has {size} octets, and a message may have {message_bytes_max}"))
        }
        FileType::RegularFile => Ok(()),
        FileType::Symlink => Err("it is a symbolic link".into()),
        FileType::Directory => Err("it is a directory".into()),
        _ => Err("it is not a regular file".into()),
    }
}

/// What is wrong with the mode or the owner of the directory, with the command that puts it right. `owner` is the user
/// of the relay, where that is known.
#[must_use]
pub(crate) fn faults(path: &Path, owner: Option<(u32, u32)>) -> Vec<String> {
    let shown = path.display();
    let Ok(metadata) = fs::symlink_metadata(path) else { return Vec::new() };
    if !metadata.is_dir() {
        return vec![format!(
            "the drop directory {shown} is not a directory; remove it, or set another one"
        )];
    }
    let (mode, uid, gid) = {
        use std::os::unix::fs::MetadataExt as _;
        (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
    };
    let mut faults = Vec::new();
    if let Some((user, group)) = owner.filter(|owner| *owner != (uid, gid)) {
        faults.push(format!(
            "the drop directory {shown} belongs to {uid}:{gid} and not to the relay ({user}:{group}), which cannot take \
             its files; run: chown {user}:{group} {shown} && chmod {DIRECTORY_MODE:o} {shown}"
        ));
    } else if mode != DIRECTORY_MODE {
        faults.push(format!(
            "the drop directory {shown} has mode {mode:04o} and needs {DIRECTORY_MODE:o}: everybody may put a file there, \
             and nobody see or touch those of others; run: chmod {DIRECTORY_MODE:o} {shown}"
        ));
    }
    faults
}

/// Whole files of one owner that one look takes; those that are there after it are for the next one, which follows at
/// once.
const FILES_MAX: usize = 500;
/// Owners of one look: more than a host has people, and not as many as a user may have numbers in his namespaces.
const OWNERS_MAX: usize = 500;
/// Whole files that one look has in memory, of all owners; each owner has an equal share of them.
const NAMES_MAX: usize = 20_000;
/// Foreign names and old unfinished files that one look puts in order.
const ODD_FILES_MAX: usize = 100;

/// Where the last look has ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn {
    /// The owner who is next; root is always the first.
    owner: u32,
    /// The last file that was tried, of owners who have more files than one look takes.
    tried: BTreeMap<u32, QueueId>,
}

/// A file, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owned<T> {
    pub(super) uid: u32,
    pub(super) item: T,
}

/// Names by what they are.
#[derive(Debug, Default)]
pub(super) struct Listing {
    turn: Turn,
    /// Whole files: owners in the order of their turn, the files of each oldest first, behind the one tried last.
    new: BTreeMap<OwnerRank, BTreeSet<(bool, QueueId)>>,
    /// Whole files, all of them.
    pub(super) waiting: u64,
    /// Files that were set aside.
    pub(super) bad: u64,
    /// Names that Pillarbox does not give.
    pub(super) foreign: Vec<Owned<OsString>>,
    /// Files over which their callers have died.
    pub(super) unfinished: Vec<OsString>,
    /// Whether there was no place for some.
    pub(super) has_more: bool,
}

/// Sorts root first, then from the owner who is next.
type OwnerRank = (bool, bool, u32);

impl Listing {
    pub(super) fn new(turn: Turn) -> Self {
        Self { turn, ..Self::default() }
    }

    /// Adds a whole file.
    pub(super) fn add(&mut self, uid: u32, id: QueueId) {
        self.waiting += 1;
        let rank = (uid != 0, uid < self.turn.owner, uid);
        let passed = self.turn.tried.get(&uid).is_some_and(|tried| id <= *tried);
        let files = self.new.entry(rank).or_default();
        files.insert((passed, id));
        // One owner more makes everybody's share smaller.
        let is_new_owner = files.len() == 1;
        if self.new.len() > OWNERS_MAX {
            self.new.pop_last();
            self.has_more = true;
        }
        let share = self.share();
        let shared =
            if is_new_owner { self.new.range_mut(..) } else { self.new.range_mut(rank..=rank) };
        for (_, files) in shared {
            while files.len() > share {
                files.pop_last();
                self.has_more = true;
            }
        }
    }

    /// How many files of each owner one look has in memory.
    fn share(&self) -> usize {
        (NAMES_MAX / self.new.len().max(1)).min(FILES_MAX)
    }

    /// Adds a name that is nobody's.
    pub(super) fn add_foreign(&mut self, uid: u32, name: OsString) {
        self.has_more |= !keep(&mut self.foreign, Owned { uid, item: name });
    }

    /// Adds a file that nobody writes any more.
    pub(super) fn add_unfinished(&mut self, name: OsString) {
        self.has_more |= !keep(&mut self.unfinished, name);
    }

    /// One file of each owner after the other.
    pub(super) fn in_turns(&self) -> VecDeque<(u32, VecDeque<QueueId>)> {
        let files = |files: &BTreeSet<(bool, QueueId)>| files.iter().map(|(_, id)| *id).collect();
        self.new.iter().map(|((_, _, uid), of_owner)| (*uid, files(of_owner))).collect()
    }

    /// Where the next look begins when these files were tried, and `last` had the last turn.
    pub(super) fn next_turn(&self, last: Option<u32>, tried: BTreeMap<u32, QueueId>) -> Turn {
        let owner = last.map_or(self.turn.owner, |uid| uid.wrapping_add(1));
        // An owner whose files were all looked at begins anew with his oldest.
        let has_more = |uid: &u32| {
            let files = self.new.iter().find(|((_, _, owner), _)| owner == uid);
            files.is_some_and(|(_, files)| {
                files.len() == self.share() || files.last().map(|(_, id)| id) != tried.get(uid)
            })
        };
        Turn {
            owner,
            tried: tried
                .iter()
                .filter(|(uid, _)| has_more(uid))
                .map(|(uid, id)| (*uid, *id))
                .collect(),
        }
    }
}

fn keep<T>(items: &mut Vec<T>, item: T) -> bool {
    let has_room = items.len() < ODD_FILES_MAX;
    if has_room {
        items.push(item);
    }
    has_room
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn id(number: usize) -> QueueId {
        QueueId::proposed(Timestamp(i64::try_from(number).unwrap()), [7; 6])
    }

    fn listing(turn: Turn, files: impl IntoIterator<Item = (u32, usize)>) -> Listing {
        let mut listing = Listing::new(turn);
        files.into_iter().for_each(|(uid, number)| listing.add(uid, id(number)));
        listing
    }

    #[test]
    fn the_files_of_one_owner_take_no_place_of_another() {
        let many = (0..5 * FILES_MAX).map(|number| (1_000, number));
        let listing = listing(Turn::default(), many.chain([(0, 9_000), (1_001, 9_001)]));
        let turns = listing.in_turns();
        let owners: Vec<(u32, usize)> =
            turns.iter().map(|(uid, files)| (*uid, files.len())).collect();
        assert_eq!(owners, [(0, 1), (1_000, FILES_MAX), (1_001, 1)]);
        assert_eq!((listing.waiting, listing.has_more), (5 * FILES_MAX as u64 + 2, true));
    }

    #[test]
    fn files_that_stay_do_not_hide_those_behind_them_for_ever() {
        let files = || (0..2 * FILES_MAX + 5).map(|number| (1_000, number));
        let (mut turn, mut seen) = (Turn::default(), BTreeSet::new());
        for _ in 0..3 {
            let listing = listing(turn, files());
            let (uid, tried) = listing.in_turns().pop_front().unwrap();
            seen.extend(tried.iter().copied());
            let last = *tried.back().unwrap();
            turn = listing.next_turn(Some(uid), BTreeMap::from([(uid, last)]));
        }
        assert_eq!(seen.len(), 2 * FILES_MAX + 5);
        // Few files are looked at from the oldest, whatever was tried last.
        let few = listing(Turn::default(), [(1_000, 1), (1_000, 2)]);
        let turn = few.next_turn(Some(1_000), BTreeMap::from([(1_000, id(2))]));
        let again = listing(turn, [(1_000, 1), (1_000, 2)]);
        assert_eq!(again.in_turns()[0].1, [id(1), id(2)]);
    }

    #[test]
    fn many_files_of_many_owners_are_a_bounded_number_of_names_and_none_is_passed_over_for_ever() {
        let owners = 200;
        let files = || (0..owners).flat_map(|uid| (0..FILES_MAX).map(move |number| (uid, number)));
        let (mut turn, mut seen, mut looks) = (Turn::default(), BTreeSet::new(), 0);
        while seen.len() < owners as usize * FILES_MAX {
            let listing = listing(turn, files());
            let turns = listing.in_turns();
            let names: usize = turns.iter().map(|(_, files)| files.len()).sum();
            assert!(names <= NAMES_MAX && listing.has_more, "{names}");
            let tried = |(uid, files): &(u32, VecDeque<QueueId>)| Some((*uid, *files.back()?));
            let tried = turns.iter().filter_map(tried).collect();
            seen.extend(turns.iter().flat_map(|(uid, files)| files.iter().map(|id| (*uid, *id))));
            turn = listing.next_turn(turns.back().map(|(uid, _)| *uid), tried);
            looks += 1;
            assert!(looks <= 2 * FILES_MAX * owners as usize / NAMES_MAX, "somebody starves");
        }
    }

    #[test]
    fn more_owners_than_one_look_serves_have_their_turn_in_the_next_and_root_in_each() {
        let owners = 2 * OWNERS_MAX as u32;
        let files = || (0..owners).map(|uid| (uid, 1));
        let first = listing(Turn::default(), files());
        let served: BTreeSet<u32> = first.in_turns().iter().map(|(uid, _)| *uid).collect();
        let last = first.in_turns().back().unwrap().0;
        let second = listing(first.next_turn(Some(last), BTreeMap::new()), files());
        let then: BTreeSet<u32> = second.in_turns().iter().map(|(uid, _)| *uid).collect();
        assert!(served.contains(&0) && then.contains(&0));
        assert_eq!(served.union(&then).count(), owners as usize - 1, "the last one is next");
    }
}
