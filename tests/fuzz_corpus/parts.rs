//! The fuzz target of the parts of a message: the same list however its octets come, and nothing in it that was not there.
//!
//! The first octet of the input is the size of the blocks, the rest is the message.

use std::collections::HashSet;

use pillarbox::message::parts::{Found, Keep, PartScan};

/// Octets that are kept of a part.
const KEPT_MAX: usize = 200;

/// Runs one input. Panics when something does not hold.
pub(crate) fn run(input: &[u8]) {
    let Some((size, message)) = input.split_first() else { return };
    let whole = found(message, Keep::FirstText, message.len().max(1));
    assert_eq!(found(message, Keep::FirstText, usize::from(*size) + 1), whole);
    assert!(
        !whole.parts.is_empty() || message.len() > 20,
        "a message without any structure is one part"
    );
    let sizes: u64 = whole.parts.iter().map(|part| part.size_bytes).sum();
    assert!(sizes <= message.len() as u64, "{sizes} octets of {}", message.len());
    let numbers: HashSet<&str> = whole.parts.iter().map(|part| part.number.as_str()).collect();
    assert_eq!(numbers.len(), whole.parts.len(), "each part has a number of its own");
    for part in &whole.parts {
        let is_plain = |text: &str| text.bytes().all(|octet| octet.is_ascii_graphic());
        assert!(is_plain(&part.media_type) && is_plain(&part.number), "{part:?}");
        assert!(part.name.as_ref().is_none_or(|name| name.chars().count() <= 255), "{part:?}");
        let kept = found(message, Keep::Part(part.number.clone()), 50).kept.expect("the part");
        assert_eq!(kept.part, *part);
        assert_eq!(kept.is_cut, part.size_bytes > KEPT_MAX as u64, "{part:?}");
    }
}

fn found(message: &[u8], keep: Keep, size: usize) -> Found {
    let mut scan = PartScan::new(keep, KEPT_MAX);
    message.chunks(size).for_each(|block| scan.push(block));
    scan.finish()
}
