//! The fuzz target of stored bytes: message records and spool files of a disk that may be damaged.
//!
//! The first octet chooses between the two, and whether the checksums are put right: random damage hardly ever
//! gets past a checksum, and what is behind it must not trust it.

use pillarbox::queue::fuzzing;

/// The preamble of a spool file and what stands behind its trailer; see `queue::frame`.
const PREAMBLE: usize = 9;
const END: usize = 12;

/// Runs one input. Panics when something does not hold.
pub(crate) fn run(input: &[u8]) {
    let Some((choice, input)) = input.split_first() else { return };
    let bytes = match choice & 3 {
        0 | 1 => input.to_vec(),
        2 => sealed(input),
        _ => framed(input),
    };
    if choice & 1 == 0 { record(&bytes) } else { spool_file(&bytes) }
}

/// What is read is what would be written again.
fn record(bytes: &[u8]) {
    let Some((record, again)) = fuzzing::record(bytes) else { return };
    let (read, written) = fuzzing::record(&again).expect("what was written is read");
    assert_eq!((&read, &written), (&record, &again));
    for recipient in &record.recipients {
        super::address::check_safe(&recipient.address);
    }
}

/// A message comes out as long as it says, or not at all.
fn spool_file(bytes: &[u8]) {
    let Some((envelope, announced, message)) = fuzzing::spool_file(bytes) else { return };
    assert_eq!(announced, message.len() as u64);
    for address in envelope.forward_paths.iter().chain(&envelope.reverse_path) {
        super::address::check_safe(address);
    }
}

/// The checksum of a record behind its content.
fn sealed(content: &[u8]) -> Vec<u8> {
    [content, &crc32fast::hash(content).to_le_bytes()].concat()
}

/// A spool file whose checksums fit, of four parts with a length octet each: version, envelope, body and
/// trailer. The lengths that the frame announces are true but for the octet behind them.
fn framed(input: &[u8]) -> Vec<u8> {
    let mut rest = input;
    let mut part = || {
        let Some((length, after)) = rest.split_first() else { return Vec::new() };
        let (part, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        part.to_vec()
    };
    let (head, envelope, body, trailer) = (part(), sealed(&part()), part(), sealed(&part()));
    let wrong = u32::from(head.get(1).copied().unwrap_or(0));
    let length = |part: &[u8]| (part.len() as u32).wrapping_add(wrong).to_le_bytes();
    let mut bytes = Vec::with_capacity(PREAMBLE + input.len() + END);
    bytes.extend(b"PBXM");
    bytes.push(head.first().copied().unwrap_or(1));
    bytes.extend(length(&envelope));
    bytes.extend(&envelope);
    bytes.extend(&body);
    bytes.extend(&trailer);
    bytes.extend(length(&trailer));
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend(b"PBXE");
    bytes
}
