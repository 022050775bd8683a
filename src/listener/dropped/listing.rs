//! The content of the drop directory, sorted by owner, so that each owner has a turn.
//!
//! Rule: bounded, however many names there are, and no owner's names take the place of another's; what has no place in
//! one look has it in a later one. Must not know what is done to a file.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::OsString,
};

use crate::queue::id::QueueId;

/// Whole files of one owner that one look takes; those that are there after it are for the next one, which follows at
/// once.
const FILES_MAX: usize = 500;
/// Owners of one look: more than a host has people, and not as many as a user may have numbers in his namespaces.
const OWNERS_MAX: usize = 500;
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
        if files.len() > FILES_MAX {
            files.pop_last();
            self.has_more = true;
        }
        if self.new.len() > OWNERS_MAX {
            self.new.pop_last();
            self.has_more = true;
        }
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
                files.len() == FILES_MAX || files.last().map(|(_, id)| id) != tried.get(uid)
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
