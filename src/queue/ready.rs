//! The mail of one origin that is due, in its order.
//!
//! Rule: pure. Almost all of it comes last and leaves first, so it is a row and no tree; in pages, so that whoever leaves from
//! the middle moves few others, and a long row takes no large block of memory. Must not know whose it is.

use std::collections::VecDeque;

use super::id::QueueId;
use crate::clock::Timestamp;

/// Messages of one page.
const PAGE: usize = 512;

/// A place in the row, and the message.
pub(super) type Spot = (Timestamp, QueueId);

/// A message with its recipients, and what is kept with it.
type Entry<T> = (Spot, u32, T);

/// The row.
#[derive(Clone, Debug)]
pub(super) struct Ready<T> {
    /// The first page. Only when nothing is ready is it empty.
    first: VecDeque<Entry<T>>,
    /// The others, none of them empty.
    behind: VecDeque<VecDeque<Entry<T>>>,
}

impl<T> Default for Ready<T> {
    fn default() -> Self {
        Self { first: VecDeque::new(), behind: VecDeque::new() }
    }
}

impl<T> Ready<T> {
    /// Adds a message, with its recipients.
    pub(super) fn insert(&mut self, spot: Spot, recipients: u32, what: T) {
        let number = self.page_of(spot);
        let is_last = number == self.behind.len();
        let Some(page) = self.page(number) else { return };
        let entry = (spot, recipients, what);
        if page.back().is_none_or(|last| last.0 < spot) {
            if page.len() < PAGE {
                page.push_back(entry);
                return;
            } else if is_last {
                self.behind.push_back(VecDeque::from([entry]));
                return;
            }
        }
        match page.binary_search_by_key(&spot, |one| one.0) {
            Ok(found) => page[found] = entry,
            Err(place) => page.insert(place, entry),
        }
        if page.len() > PAGE {
            let half = page.split_off(PAGE / 2);
            self.behind.insert(number, half);
        }
    }

    /// Takes a message out; false when it was not there.
    pub(super) fn remove(&mut self, spot: Spot) -> bool {
        let number = self.page_of(spot);
        let Some(page) = self.page(number) else { return false };
        let is_first = page.front().is_some_and(|first| first.0 == spot);
        let place = if is_first { Ok(0) } else { page.binary_search_by_key(&spot, |one| one.0) };
        let is_there = place.is_ok_and(|place| page.remove(place).is_some());
        if page.is_empty() {
            match number.checked_sub(1) {
                Some(behind) => drop(self.behind.remove(behind)),
                None => self.first = self.behind.pop_front().unwrap_or_default(),
            }
        }
        is_there
    }

    /// The first message.
    pub(super) fn first(&self) -> Option<&Entry<T>> {
        self.first.front()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The page in which a place is: 0 is the first one.
    fn page_of(&self, spot: Spot) -> usize {
        self.behind.partition_point(|page| page.front().is_some_and(|first| first.0 <= spot))
    }

    fn page(&mut self, number: usize) -> Option<&mut VecDeque<Entry<T>>> {
        match number.checked_sub(1) {
            None => Some(&mut self.first),
            Some(behind) => self.behind.get_mut(behind),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn spot(place: i64, number: u8) -> Spot {
        (Timestamp(place), QueueId::from_bytes([number; 16]))
    }

    #[test]
    fn whatever_comes_and_leaves_the_first_is_the_first_of_all_that_are_there() {
        for seed in 0..30 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut row, mut model) = (Ready::default(), BTreeMap::new());
            // Some rows grow at their end and shrink at their beginning, others anywhere.
            let (is_tidy, mut last) = (seed % 3 == 0, 0);
            for number in 0..6_000_u32 {
                let place = if is_tidy { i64::from(number) } else { random.i64(0..2_000) };
                last = last.max(place);
                let new = spot(place, random.u8(0..3));
                row.insert(new, number, number);
                model.insert(new, number);
                for _ in 0..random.u32(0..=if number < 4_000 { 1 } else { 5 }) {
                    let any = spot(random.i64(0..=last), random.u8(0..3));
                    let first = model.first_key_value().map_or(any, |(first, _)| *first);
                    let gone = if is_tidy || random.bool() { first } else { any };
                    assert_eq!(row.remove(gone), model.remove(&gone).is_some(), "seed {seed}");
                }
                let first = row.first().map(|(spot, recipients, _)| (*spot, *recipients));
                let expected = model.first_key_value().map(|(spot, number)| (*spot, *number));
                assert_eq!((first, row.is_empty()), (expected, model.is_empty()), "seed {seed}");
                assert!(row.behind.iter().all(|page| (1..=PAGE).contains(&page.len())));
            }
        }
    }
}
