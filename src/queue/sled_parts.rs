//! Records in sled, each in as many values as it takes.
//!
//! Rule: no page of any tree ever becomes a file of sled's `blobs/`, which sled never syncs: a page has at most
//! `PAGE_VALUES_MAX` values of at most [`PART_BYTES`]. Must not know what the records mean.

use std::io;

use sled::{Batch, IVec, Tree};

use super::index::IndexError;
use crate::reasons;

/// Octets of a record in one value. A leaf is written whole, so it is the sum of its values that must stay
/// below sled's limit for a page.
pub(super) const PART_BYTES: usize = 4 * 1024;
/// sled splits a leaf of more than 16 values when it is next visited, and merges one of fewer than 4 into its
/// neighbour before; a few more are for two threads that do so at the same time.
#[cfg(test)]
const PAGE_VALUES_MAX: usize = 28;
/// Octets before a part: how many parts there are.
const COUNT_BYTES: usize = 2;
/// Octets behind the key of a record: the number of the part.
pub(super) const NUMBER_BYTES: usize = 2;

/// Octets of a key that sled keeps in place.
const SHORT_KEY_BYTES: usize = 22;

/// The key of a part. Those of messages are short, and ask for no memory.
pub(super) fn key(record: &[u8], number: u16) -> IVec {
    let mut short = [0; SHORT_KEY_BYTES];
    match short.get_mut(..record.len() + NUMBER_BYTES) {
        Some(key) => {
            key[..record.len()].copy_from_slice(record);
            key[record.len()..].copy_from_slice(&number.to_be_bytes());
            IVec::from(&*key)
        }
        None => IVec::from([record, &number.to_be_bytes()].concat()),
    }
}

/// The key of the record, when this is that of its first part.
pub(super) fn first_of(key: &[u8]) -> Option<&[u8]> {
    key.strip_suffix(&[0; NUMBER_BYTES])
}

/// Puts a record in the place of the one that is there, or removes that.
pub(super) fn put(
    tree: &Tree,
    batch: &mut Batch,
    record: &[u8],
    bytes: Option<&[u8]>,
) -> Result<(), IndexError> {
    let chunks = bytes.unwrap_or_default().chunks(PART_BYTES);
    let parts = u16::try_from(chunks.len())
        .map_err(|_| IndexError::Failed("a record is too long for the queue's index".into()))?;
    for (number, chunk) in (0..).zip(chunks) {
        batch.insert(key(record, number), [&parts.to_be_bytes(), chunk].concat());
    }
    // Whatever else is there, also behind a first part that cannot be read; a longer key is that of another record.
    for old in tree.range(key(record, parts)..=key(record, u16::MAX)).keys() {
        let old = old.map_err(failed)?;
        if old.len() == record.len() + NUMBER_BYTES {
            batch.remove(old);
        }
    }
    Ok(())
}

/// The record whose first part this is, when it has no others.
pub(super) fn only_part(first: &[u8]) -> Option<&[u8]> {
    first.strip_prefix(&1_u16.to_be_bytes())
}

/// Reads a record back; `None` when there is none. What is left of a damaged one does not fit its checksum.
pub(super) fn get(tree: &Tree, record: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
    let Some(first) = tree.get(key(record, 0)).map_err(failed)? else { return Ok(None) };
    let Some((count, chunk)) = first.split_first_chunk::<COUNT_BYTES>() else {
        return Ok(Some(Vec::new()));
    };
    let mut bytes = chunk.to_vec();
    for number in 1..u16::from_be_bytes(*count) {
        let part = tree.get(key(record, number)).map_err(failed)?;
        let chunk = part.as_ref().and_then(|part| part.get(COUNT_BYTES..));
        bytes.extend_from_slice(chunk.unwrap_or_default());
    }
    Ok(Some(bytes))
}

pub(super) fn failed(error: sled::Error) -> IndexError {
    let words = format!("the queue's index cannot be read or written: {}", words_of(&error));
    if is_damage(&error) { IndexError::Broken(words) } else { IndexError::Failed(words) }
}

/// What an error of sled means, in words.
pub(super) fn words_of(error: &sled::Error) -> String {
    match error {
        sled::Error::Io(error) => reasons::of_file(error),
        sled::Error::Corruption { .. } => "its file is damaged".into(),
        sled::Error::CollectionNotFound(_) => "a part of it is missing".into(),
        sled::Error::Unsupported(what) => format!("it cannot be read by this program: {what}"),
        sled::Error::ReportableBug(what) => {
            format!("the storage library has met a fault of its own: {what}")
        }
    }
}

/// Which errors mean damaged files, and not only that now is a bad time.
pub(super) fn is_damage(error: &sled::Error) -> bool {
    use io::ErrorKind;
    match error {
        sled::Error::Io(cause) => {
            matches!(
                cause.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput
            )
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest key of a tree with values: a message's id and the number of a part.
    const KEY_BYTES: usize = 16 + NUMBER_BYTES;

    #[test]
    fn a_page_full_of_the_largest_values_is_below_what_sled_takes_for_a_blob() {
        // `segment_size / MINIMUM_ITEMS_PER_SEGMENT - SEG_HEADER_LEN` of sled 0.34.7, less its longest header.
        let page_bytes_max = 512 * 1024 / 4 - 20 - 32;
        // Lengths of key and value, and the node's own bounds.
        let value_bytes = COUNT_BYTES + PART_BYTES + KEY_BYTES + 2 * 9;
        assert!(PAGE_VALUES_MAX * value_bytes + 3 * KEY_BYTES + 64 < page_bytes_max);
    }

    #[test]
    fn a_key_is_the_record_s_and_the_number_however_long_it_is() {
        for length in 0..2 * SHORT_KEY_BYTES {
            let record: Vec<u8> = (0..).take(length).collect();
            let expected = [&record[..], &[1, 2]].concat();
            assert_eq!(key(&record, 0x0102).to_vec(), expected, "{length}");
        }
    }

    #[test]
    fn no_order_of_writing_and_removing_makes_a_blob() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let directory = tempfile::tempdir().unwrap();
        let database =
            sled::Config::new().path(directory.path()).flush_every_ms(None).open().unwrap();
        let tree = database.open_tree("t").unwrap();
        let record = vec![7; 20 * PART_BYTES];
        let blobs = || std::fs::read_dir(directory.path().join("blobs")).unwrap().count();
        for round in 0..300 {
            let mut batch = Batch::default();
            let forward = random.bool();
            for step in 0..random.u8(1..8) {
                let id = if forward { (round as u8).wrapping_add(step) } else { random.u8(..) };
                let bytes = random.bool().then(|| &record[..random.usize(1..record.len())]);
                put(&tree, &mut batch, &[id; 16], bytes).unwrap();
            }
            tree.apply_batch(batch).unwrap();
            assert_eq!(blobs(), 0, "round {round}, seed {seed}");
        }
        for id in 0..=u8::MAX {
            let mut batch = Batch::default();
            put(&tree, &mut batch, &[id; 16], None).unwrap();
            tree.apply_batch(batch).unwrap();
            assert_eq!(blobs(), 0, "removing {id}, seed {seed}");
        }
        assert!(tree.is_empty());
    }

    #[test]
    fn a_record_comes_back_at_every_length_and_a_shorter_one_leaves_nothing_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let database = sled::open(directory.path()).unwrap();
        let tree = database.open_tree("t").unwrap();
        for length in [0, 1, PART_BYTES, PART_BYTES + 1, 300 * PART_BYTES, 2 * PART_BYTES, 5] {
            let record: Vec<u8> = (0..length).map(|place| place as u8).collect();
            let mut batch = Batch::default();
            put(&tree, &mut batch, b"record", Some(&record)).unwrap();
            tree.apply_batch(batch).unwrap();
            let first = tree.get(key(b"record", 0)).unwrap().unwrap_or_default();
            let is_small = (1..=PART_BYTES).contains(&length);
            assert_eq!(only_part(&first), is_small.then_some(&record[..]), "{length}");
            let expected = (length > 0).then_some(record);
            assert_eq!(get(&tree, b"record").unwrap(), expected, "{length}");
            assert_eq!(tree.len(), length.div_ceil(PART_BYTES), "{length}");
        }
    }
}
