//! Limits on what the log hears of the drop directory and on how much is set aside, by time and by owner.
//!
//! Rule: whatever somebody leaves there, the log has room for the others' lines; what is left out is counted and told
//! with the owner's number. Must not know what happens to a file.

use std::collections::BTreeMap;

/// The time for which the limits below are.
const WINDOW_MS: u64 = 60_000;
/// Lines about files of one owner.
const LINES_MAX: u64 = 20;
/// Files of one owner that are set aside.
const SET_ASIDE_MAX: u64 = 100;
/// Owners that are told apart; the others share their limits.
const OWNERS_MAX: usize = 100;
/// Owners whose number is told at the end; of the others how many lines were left out.
const SUMMARIES_MAX: usize = 10;
/// Stands for all owners beyond [`OWNERS_MAX`].
const OTHERS: u32 = u32::MAX;

/// What has been told in the present minute.
#[derive(Debug, Default)]
pub(super) struct Telling {
    since_ms: u64,
    owners: BTreeMap<u32, Told>,
}

#[derive(Debug, Default)]
struct Told {
    lines: u64,
    left_out: u64,
    set_aside: u64,
}

/// Lines that were left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Whose files they were about; nobody's when there are too many owners.
    pub(super) uid: Option<u32>,
    pub(super) lines: u64,
}

impl Telling {
    /// Whether there is a line for a file of this owner.
    pub(super) fn may_tell(&mut self, uid: u32) -> bool {
        let told = self.of(uid);
        let has_room = told.lines < LINES_MAX;
        if has_room {
            told.lines += 1
        } else {
            told.left_out += 1
        }
        has_room
    }

    /// Whether one more file of this owner is set aside now.
    pub(super) fn may_set_aside(&mut self, uid: u32) -> bool {
        let told = self.of(uid);
        told.set_aside += 1;
        told.set_aside <= SET_ASIDE_MAX
    }

    fn of(&mut self, uid: u32) -> &mut Told {
        let is_known = self.owners.contains_key(&uid) || self.owners.len() < OWNERS_MAX;
        self.owners.entry(if is_known { uid } else { OTHERS }).or_default()
    }

    /// Begins a new minute when the last one is over; returns what it had no room for.
    pub(super) fn turn_over(&mut self, now_ms: u64) -> Vec<LeftOut> {
        if now_ms < self.since_ms.saturating_add(WINDOW_MS) {
            return Vec::new();
        }
        self.since_ms = now_ms;
        let told = std::mem::take(&mut self.owners);
        let left_out = told.into_iter().filter(|(_, told)| told.left_out > 0);
        let mut left_out: Vec<LeftOut> = left_out
            .map(|(uid, told)| LeftOut {
                uid: (uid != OTHERS).then_some(uid),
                lines: told.left_out,
            })
            .collect();
        let rest = left_out.split_off(left_out.len().min(SUMMARIES_MAX));
        let lines: u64 = rest.iter().map(|other| other.lines).sum();
        left_out.extend((lines > 0).then_some(LeftOut { uid: None, lines }));
        left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_has_his_lines_and_takes_none_of_the_others() {
        let mut telling = Telling::default();
        assert_eq!(telling.turn_over(WINDOW_MS), []);
        let told = (0..1_000).filter(|_| telling.may_tell(1_000)).count() as u64;
        assert_eq!(told, LINES_MAX);
        assert!(telling.may_tell(1_001) && telling.may_tell(0));
        assert_eq!(telling.turn_over(2 * WINDOW_MS - 1), []);
        let left_out = LeftOut { uid: Some(1_000), lines: 1_000 - LINES_MAX };
        assert_eq!(telling.turn_over(2 * WINDOW_MS), [left_out]);
        assert!(telling.may_tell(1_000));
    }

    #[test]
    fn a_minute_sets_aside_so_many_files_of_an_owner_and_no_more() {
        let mut telling = Telling::default();
        let set_aside = (0..1_000).filter(|_| telling.may_set_aside(1_000)).count() as u64;
        assert_eq!((set_aside, telling.may_set_aside(1_001)), (SET_ASIDE_MAX, true));
    }

    #[test]
    fn a_crowd_of_owners_is_bounded_in_memory_and_in_lines() {
        let mut telling = Telling::default();
        telling.turn_over(WINDOW_MS);
        for uid in 0..10_000 {
            assert!((0..30).filter(|_| telling.may_tell(uid)).count() as u64 <= LINES_MAX);
        }
        assert!(telling.owners.len() <= OWNERS_MAX + 1);
        let left_out = telling.turn_over(2 * WINDOW_MS);
        assert_eq!(left_out.len(), SUMMARIES_MAX + 1);
        let told = LINES_MAX * (OWNERS_MAX as u64 + 1);
        assert_eq!(left_out.iter().map(|other| other.lines).sum::<u64>(), 300_000 - told);
    }
}
