//! A spool file: the format of one message that describes itself, and the reader of it on its way out.
//!
//! ```text
//! "PBXM" version(1) length(u32 LE) envelope      head
//! the original bytes, as the client sent them     body
//! trailer record                                  fields added at acceptance, length of the body
//! length of the trailer(u32 LE) CRC-32 of all before it(u32 LE) "PBXE"
//! ```
//!
//! Rule: the head is complete before the body begins and the trailer is written last, so a file without
//! a valid end was never acknowledged or has been damaged. The bytes are checked against their checksum before the first
//! one is given out, and come out as they came in: the fields added at acceptance, then the original. Whoever relays them
//! may take the header section out and put another one in; the body always passes block by block. Must not know where
//! files lie or where their bytes go.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    error::QueueError,
    fold::Fold,
    record::{self, MessageRecord, RecordError, Stored},
};
use crate::message::{
    envelope::{Envelope, Lane},
    header::{HEADER_BYTES_MAX, HeaderSection, Replaced, end_of_section},
};

/// The end of the name of a file that is not whole yet: one that is left by a crash is nobody's.
pub(super) const PART_SUFFIX: &str = ".part";
/// Octets of a message held in memory while it is written or read.
pub const BUFFER_BYTES: usize = 64 * 1024;
/// Files up to this size are read at once.
const WHOLE_BYTES_MAX: u64 = 128 * 1024;

/// The bytes to relay, in blocks.
#[derive(Debug)]
pub struct MessageReader {
    size_bytes: u64,
    /// What is still to come, last part first.
    parts: Vec<Part>,
    source: Source,
    envelope: Envelope,
    added_bytes: usize,
    replaced: Replaced,
}

#[derive(Debug)]
enum Part {
    Bytes(Vec<u8>),
    /// So many octets of the source.
    Body(u64),
}

#[derive(Debug)]
enum Source {
    Memory { bytes: Vec<u8>, position: usize },
    File(File),
}

/// What a spool file says about itself.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) envelope: Envelope,
    pub(super) trailer: Trailer,
    /// Where the body begins.
    body_at: u64,
}

impl Described {
    /// The record of the message as if it had just been accepted.
    pub(super) fn record(&self) -> MessageRecord {
        let Trailer { body_bytes, subject, rule, lane, fold, route, .. } = &self.trailer;
        let mut record = MessageRecord::new(&self.envelope, *body_bytes, subject);
        record.lane = lane.unwrap_or(record.lane);
        record.rule.clone_from(rule);
        record.fold.clone_from(fold);
        record.route.clone_from(route);
        record
    }
}

/// Why a file cannot be read.
#[derive(Debug, Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl ReadError {
    /// Whether a newer program wrote the file, which is whole.
    pub(super) fn is_newer(&self) -> bool {
        matches!(
            self,
            Self::Frame(FrameError::Version(_) | FrameError::Record(RecordError::Version(_)))
        )
    }

    /// The disk's own failure to read, which says nothing about the file.
    pub(super) fn of_the_disk(&self) -> Option<&io::Error> {
        match self {
            Self::Io(error) if error.kind() != io::ErrorKind::NotFound => Some(error),
            _ => None,
        }
    }
}

impl MessageReader {
    /// Octets that [`MessageReader::next_block`] will return in all.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The envelope as the client gave it.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Takes the header section out; it must be asked for before the first block. `None`, and nothing is
    /// taken, when it is longer than [`HEADER_BYTES_MAX`]. Reads the disk.
    ///
    /// # Errors
    /// `Unavailable` when the file can no longer be read.
    pub fn take_header(&mut self) -> Result<Option<HeaderSection>, QueueError> {
        let (mut bytes, mut line_start, mut end) = (Vec::new(), 0, None);
        while end.is_none() && bytes.len() <= HEADER_BYTES_MAX {
            let Some(block) = self.next_block()? else { break };
            bytes.extend_from_slice(&block);
            end = end_of_section(&bytes, &mut line_start);
        }
        let ended = end.is_some();
        let length = if ended { line_start } else { bytes.len() };
        if length > HEADER_BYTES_MAX {
            self.parts.push(Part::Bytes(bytes));
            return Ok(None);
        }
        let body = bytes.split_off(end.unwrap_or(length));
        let before = bytes.len() as u64;
        bytes.truncate(length);
        self.size_bytes -= before;
        self.parts.push(Part::Bytes(body));
        if ended {
            // Whatever the empty line was made of: this is what every reader takes for one.
            self.put_in_front(b"\r\n".to_vec());
        }
        Ok(Some(HeaderSection { bytes, added_bytes: self.added_bytes, replaced: self.replaced }))
    }

    /// The octets that the client sent, and nothing else.
    #[must_use]
    pub(crate) fn into_original(self) -> Self {
        let bodies = self.parts.iter().map(|part| match part {
            Part::Body(octets) => *octets,
            Part::Bytes(_) => 0,
        });
        let size_bytes = bodies.sum();
        Self { size_bytes, parts: vec![Part::Body(size_bytes)], ..self }
    }

    /// Puts bytes in front of what is still to come, such as an edited header section.
    pub fn put_in_front(&mut self, bytes: Vec<u8>) {
        self.size_bytes += bytes.len() as u64;
        self.parts.push(Part::Bytes(bytes));
    }

    /// The next block, at most [`BUFFER_BYTES`]; `None` at the end. Reads the disk, and so may block
    /// for as long as one read of that size takes.
    ///
    /// # Errors
    /// `Unavailable` when the file can no longer be read.
    pub fn next_block(&mut self) -> Result<Option<Vec<u8>>, QueueError> {
        let mut block = Vec::new();
        while block.len() < BUFFER_BYTES {
            match self.parts.pop() {
                None => break,
                Some(Part::Bytes(mut bytes)) => {
                    let room = BUFFER_BYTES - block.len();
                    if bytes.len() > room {
                        self.parts.push(Part::Bytes(bytes.split_off(room)));
                    }
                    block.extend_from_slice(&bytes);
                }
                Some(Part::Body(left)) => {
                    let take = left.min((BUFFER_BYTES - block.len()) as u64);
                    self.source.read(&mut block, take).map_err(|error| unreadable(&error))?;
                    if take < left {
                        self.parts.push(Part::Body(left - take));
                    }
                }
            }
        }
        Ok(if block.is_empty() { None } else { Some(block) })
    }

    /// Opens the frame in `bytes`.
    pub(super) fn of_bytes(bytes: Vec<u8>) -> Result<Self, ReadError> {
        let described = describe_bytes(&bytes)?;
        let position = usize::try_from(described.body_at).unwrap_or(usize::MAX);
        Ok(Self::new(described, Source::Memory { bytes, position }))
    }

    /// Opens a spool file: small ones are read at once, long ones are checked first and read again.
    pub(super) fn of_file(mut file: File) -> Result<Self, ReadError> {
        let length = file.metadata()?.len();
        if length <= WHOLE_BYTES_MAX {
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
            file.read_to_end(&mut bytes)?;
            return Self::of_bytes(bytes);
        }
        let described = describe_file(&mut file)?;
        file.seek(SeekFrom::Start(described.body_at))?;
        Ok(Self::new(described, Source::File(file)))
    }

    fn new(described: Described, source: Source) -> Self {
        let Described { envelope, trailer, .. } = described;
        let added_bytes = trailer.added.len();
        let mut parts = Vec::with_capacity(6);
        let mut size_bytes = added_bytes as u64 + trailer.body_bytes;
        match trailer.separator_at.filter(|at| *at <= trailer.body_bytes) {
            None => parts.push(Part::Body(trailer.body_bytes)),
            Some(at) => {
                size_bytes += 2;
                parts.push(Part::Body(trailer.body_bytes - at));
                parts.push(Part::Bytes(b"\r\n".to_vec()));
                parts.push(Part::Body(at));
            }
        }
        parts.push(Part::Bytes(trailer.added));
        Self { size_bytes, parts, source, envelope, added_bytes, replaced: trailer.replaced }
    }
}

impl Source {
    fn read(&mut self, block: &mut Vec<u8>, take: u64) -> io::Result<()> {
        match self {
            Self::Memory { bytes, position } => {
                let end = *position + usize::try_from(take).unwrap_or(0);
                let part = bytes.get(*position..end).ok_or(io::ErrorKind::UnexpectedEof)?;
                block.extend_from_slice(part);
                *position = end;
            }
            Self::File(file) => {
                if file.take(take).read_to_end(block)? as u64 != take {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        Ok(())
    }
}

/// The envelope, the record as if it had just been accepted, outside of any storm, and the octets that the client sent, of a
/// whole frame in memory.
pub(super) fn original(
    mut bytes: Vec<u8>,
) -> Result<(Envelope, MessageRecord, Vec<u8>), ReadError> {
    let described = describe_bytes(&bytes)?;
    let record = MessageRecord { fold: None, ..described.record() };
    let Described { envelope, trailer, body_at } = described;
    let position = usize::try_from(body_at).unwrap_or(usize::MAX);
    let length = usize::try_from(trailer.body_bytes).unwrap_or(usize::MAX);
    // Both lie within the file, or it would not have been described.
    bytes.truncate(position.saturating_add(length));
    bytes.drain(..position.min(bytes.len()));
    Ok((envelope, record, bytes))
}

/// Checks a whole frame in memory.
pub(super) fn describe_bytes(bytes: &[u8]) -> Result<Described, ReadError> {
    let end_at = bytes.len().checked_sub(END_LENGTH).ok_or(FrameError::Incomplete)?;
    let (trailer_length, checksum) = end(&bytes[end_at..])?;
    if crc32fast::hash(&bytes[..end_at + 4]) != checksum {
        return Err(FrameError::Checksum.into());
    }
    let preamble = preamble(bytes)?;
    let body_at = PREAMBLE_LENGTH + preamble.envelope_length;
    let trailer_at = end_at.checked_sub(trailer_length).ok_or(FrameError::Incomplete)?;
    let envelope = bytes.get(PREAMBLE_LENGTH..body_at).ok_or(FrameError::Incomplete)?;
    checked(
        decode_envelope(envelope)?,
        decode_trailer(&bytes[trailer_at..end_at])?,
        body_at,
        trailer_at,
    )
}

/// Checks a file with flat memory: one pass for the checksum, then its ends.
pub(super) fn describe_file(file: &mut File) -> Result<Described, ReadError> {
    let length = file.metadata()?.len();
    if length <= WHOLE_BYTES_MAX {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        return describe_bytes(&bytes);
    }
    let (trailer_length, checksum) = end(&read_at(file, length - END_LENGTH as u64, END_LENGTH)?)?;
    let end_at = length - END_LENGTH as u64;
    let trailer_at = end_at.checked_sub(trailer_length as u64).ok_or(FrameError::Incomplete)?;
    if checksum_of(file, end_at + 4)? != checksum {
        return Err(FrameError::Checksum.into());
    }
    let preamble = preamble(&read_at(file, 0, PREAMBLE_LENGTH)?)?;
    let envelope = read_at(file, PREAMBLE_LENGTH as u64, preamble.envelope_length)?;
    let envelope = decode_envelope(&envelope)?;
    let trailer = decode_trailer(&read_at(file, trailer_at, trailer_length)?)?;
    let trailer_at = usize::try_from(trailer_at).unwrap_or(usize::MAX);
    checked(envelope, trailer, PREAMBLE_LENGTH + preamble.envelope_length, trailer_at)
}

/// The lengths must agree with each other, or `body_at` means nothing.
fn checked(
    envelope: Envelope,
    trailer: Trailer,
    body_at: usize,
    trailer_at: usize,
) -> Result<Described, ReadError> {
    if body_at as u64 + trailer.body_bytes != trailer_at as u64 {
        return Err(FrameError::Incomplete.into());
    }
    Ok(Described { envelope, trailer, body_at: body_at as u64 })
}

fn read_at(file: &mut File, position: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(position))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn checksum_of(file: &mut File, length: u64) -> io::Result<u32> {
    file.seek(SeekFrom::Start(0))?;
    let mut checksum = crc32fast::Hasher::new();
    let mut block = vec![0; BUFFER_BYTES];
    let mut left = length;
    while left > 0 {
        let take = usize::try_from(left.min(BUFFER_BYTES as u64)).unwrap_or(BUFFER_BYTES);
        file.read_exact(&mut block[..take])?;
        checksum.update(&block[..take]);
        left -= take as u64;
    }
    Ok(checksum.finalize())
}

fn unreadable(error: &io::Error) -> QueueError {
    QueueError::Unavailable(format!("a queued message cannot be read: {error}"))
}

const HEAD_MAGIC: &[u8; 4] = b"PBXM";
const END_MAGIC: &[u8; 4] = b"PBXE";
/// What this program writes and reads.
const VERSION: u8 = 1;
/// Octets before the envelope.
const PREAMBLE_LENGTH: usize = 9;
/// Octets after the trailer.
const END_LENGTH: usize = 12;
/// Largest envelope or trailer we read back: 1,000 recipients with the longest addresses fit.
pub(super) const PART_LENGTH_MAX: usize = 1024 * 1024;

/// What is known only when the message has been received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trailer {
    /// The fields put in front of the original when it is relayed.
    pub(super) added: Vec<u8>,
    /// Where an empty line is missing between header and body (see `smtp::header_scan`).
    pub(super) separator_at: Option<u64>,
    /// Octets of the body part.
    pub(super) body_bytes: u64,
    /// Which of the client's fields those in `added` replace.
    pub(super) replaced: Replaced,
    /// The beginning of the subject, for the record.
    pub(super) subject: String,
    /// The name of the rule that struck.
    pub(super) rule: Option<String>,
    /// The lane that the rule has given it instead of the envelope's.
    pub(super) lane: Option<Lane>,
    /// The storm into which it was folded when it was accepted; what became of it since, the record says.
    pub(super) fold: Option<Fold>,
    /// The name of the route that was found for it.
    pub(super) route: Option<String>,
}

impl Stored for Trailer {
    // Neither rule nor lane nor storm; no route.
    const ADDED: &'static [&'static [u8]] = &[&[0, 0, 0], &[0]];
}

/// Why a file is not a whole message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum FrameError {
    /// Too short, or the marks at its ends are missing.
    #[error("the file is not a complete message")]
    Incomplete,
    /// The checksum does not fit.
    #[error("the checksum does not match")]
    Checksum,
    /// Written by a newer program.
    #[error("the file has the format version {0}, which this program does not know")]
    Version(u8),
    /// It could be written but not read back.
    #[error("the {part} has {octets} octets, and at most {PART_LENGTH_MAX} can be read back")]
    TooLong {
        /// Which part of the file.
        part: &'static str,
        /// How long it is.
        octets: usize,
    },
    /// Envelope or trailer cannot be read.
    #[error("{0}")]
    Record(#[from] RecordError),
}

/// The bytes before the body.
pub(super) fn head(envelope: &Envelope) -> Result<Vec<u8>, FrameError> {
    let envelope = record::encode(envelope)?;
    let length = readable("envelope", &envelope)?;
    let mut head = Vec::with_capacity(PREAMBLE_LENGTH + envelope.len());
    head.extend_from_slice(HEAD_MAGIC);
    head.push(VERSION);
    head.extend_from_slice(&length);
    head.extend_from_slice(&envelope);
    Ok(head)
}

/// The bytes after the body. `checksum` has seen head and body.
pub(super) fn tail(trailer: &Trailer, checksum: &crc32fast::Hasher) -> Result<Vec<u8>, FrameError> {
    let mut tail = record::encode(trailer)?;
    let length = readable("trailer", &tail)?;
    tail.extend_from_slice(&length);
    let mut checksum = checksum.clone();
    checksum.update(&tail);
    tail.extend_from_slice(&checksum.finalize().to_le_bytes());
    tail.extend_from_slice(END_MAGIC);
    Ok(tail)
}

/// The length of a part, as it is stored. Whoever reads the file refuses a longer one, so it is never written.
fn readable(part: &'static str, bytes: &[u8]) -> Result<[u8; 4], FrameError> {
    let octets = bytes.len();
    match u32::try_from(octets) {
        Ok(length) if octets <= PART_LENGTH_MAX => Ok(length.to_le_bytes()),
        _ => Err(FrameError::TooLong { part, octets }),
    }
}

/// What stands before the envelope record.
#[derive(Clone, Copy, Debug)]
struct Preamble {
    /// The length of the envelope record.
    pub(super) envelope_length: usize,
}

/// Reads the first [`PREAMBLE_LENGTH`] octets.
fn preamble(preamble: &[u8]) -> Result<Preamble, FrameError> {
    if preamble.len() < PREAMBLE_LENGTH || &preamble[..4] != HEAD_MAGIC {
        return Err(FrameError::Incomplete);
    }
    let version = preamble[4];
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    Ok(Preamble { envelope_length: bounded(&preamble[5..9])? })
}

/// Reads the last [`END_LENGTH`] octets: the length of the trailer and the checksum.
fn end(end: &[u8]) -> Result<(usize, u32), FrameError> {
    if end.len() != END_LENGTH || &end[8..] != END_MAGIC {
        return Err(FrameError::Incomplete);
    }
    Ok((bounded(&end[..4])?, u32::from_le_bytes([end[4], end[5], end[6], end[7]])))
}

/// The envelope record.
fn decode_envelope(bytes: &[u8]) -> Result<Envelope, FrameError> {
    Ok(record::decode(bytes)?)
}

/// The trailer record.
fn decode_trailer(bytes: &[u8]) -> Result<Trailer, FrameError> {
    Ok(record::decode(bytes)?)
}

fn bounded(length: &[u8]) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    if length > PART_LENGTH_MAX { Err(FrameError::Incomplete) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Timestamp,
        message::envelope::{BodyKind, Lane, LocalUser, Origin},
        smtp::{
            address::{Address, DOMAIN_LENGTH_MAX, LOCAL_PART_LENGTH_MAX},
            dsn::{
                Dsn, ENVELOPE_ID_LENGTH_MAX, Notify, ORIGINAL_RECIPIENT_LENGTH_MAX, RecipientDsn,
            },
            server::HELLO_LENGTH_MAX,
            server::LOGIN_BYTES_MAX,
        },
    };

    /// An address as long as any.
    fn longest(number: usize) -> Address {
        let label = "d".repeat(63);
        let domain = format!("{label}.{label}.{label}.{label}");
        assert_eq!(domain.len(), DOMAIN_LENGTH_MAX);
        format!("{number:0>LOCAL_PART_LENGTH_MAX$}@{domain}").parse().unwrap()
    }

    /// The largest envelope: what clients, aliases and other queues can make of `recipients`.
    fn largest(recipients: usize, original: usize) -> Envelope {
        let wish = RecipientDsn {
            notify: Some(Notify { success: true, failure: true, delay: true }),
            original_recipient: Some("o".repeat(original)),
        };
        Envelope {
            reverse_path: Some(longest(0)),
            forward_paths: (0..recipients).map(longest).collect(),
            body: BodyKind::EightBitMime,
            internationalized: true,
            dsn: Dsn {
                content: Some(crate::smtp::dsn::Content::Full),
                envelope_id: Some("\u{10ffff}".repeat(ENVELOPE_ID_LENGTH_MAX)),
                recipients: (0..recipients).map(|place| (place, wish.clone())).collect(),
            },
            lane: Lane::Bulk,
            origin: Origin {
                address: [u16::MAX; 8].into(),
                helo: "\u{10ffff}".repeat(HELLO_LENGTH_MAX),
                protocol: "UTF8SMTPSA".into(),
                login: Some("l".repeat(LOGIN_BYTES_MAX)),
                local: Some(LocalUser {
                    uid: u32::MAX,
                    name: Some("n".repeat(256)),
                    claimed: true,
                }),
            },
            accepted_at: Timestamp(i64::MAX),
        }
    }

    #[test]
    fn a_thousand_of_the_longest_recipients_can_be_read_back() {
        let written = largest(1_000, ORIGINAL_RECIPIENT_LENGTH_MAX);
        let head = head(&written).unwrap();
        assert!(preamble(&head).unwrap().envelope_length > 1_000_000, "nearly at the limit");
        assert_eq!(decode_envelope(&head[PREAMBLE_LENGTH..]).unwrap(), written);
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        let refused = head(&largest(1_000, ORIGINAL_RECIPIENT_LENGTH_MAX + 100)).unwrap_err();
        assert!(matches!(refused, FrameError::TooLong { part: "envelope", .. }), "{refused}");
        let with = |octets| Trailer {
            added: vec![b'a'; octets],
            separator_at: None,
            body_bytes: 0,
            replaced: Replaced::default(),
            subject: String::new(),
            rule: None,
            route: None,
            lane: None,
            fold: None,
        };
        let checksum = crc32fast::Hasher::new();
        let refused = tail(&with(PART_LENGTH_MAX), &checksum).unwrap_err();
        assert!(matches!(refused, FrameError::TooLong { part: "trailer", .. }), "{refused}");
        let most = tail(&with(PART_LENGTH_MAX - 100), &checksum).unwrap();
        assert!(end(&most[most.len() - END_LENGTH..]).is_ok());
    }

    #[test]
    fn a_frame_of_a_newer_version_is_refused_and_not_guessed_at() {
        for version in [0, 2, 9] {
            let head = [b"PBXM".as_slice(), &[version, 0, 0, 0, 0]].concat();
            assert_eq!(preamble(&head).unwrap_err(), FrameError::Version(version));
        }
    }

    #[test]
    fn what_is_written_is_of_version_1_and_names_the_local_user() {
        let local = |name: Option<&str>| LocalUser {
            uid: 1_000,
            name: name.map(str::to_owned),
            claimed: name.is_some(),
        };
        for local in [None, Some(local(None)), Some(local(Some("alice")))] {
            let written = Envelope {
                reverse_path: None,
                forward_paths: vec!["c@d.example".parse().unwrap()],
                body: BodyKind::SevenBit,
                internationalized: false,
                dsn: Dsn::default(),
                lane: Lane::Normal,
                origin: Origin {
                    address: [127, 0, 0, 1].into(),
                    helo: "localhost".into(),
                    protocol: "local".into(),
                    login: None,
                    local,
                },
                accepted_at: Timestamp(7),
            };
            let head = head(&written).unwrap();
            let found = preamble(&head).unwrap();
            assert_eq!((head[4], found.envelope_length), (1, head.len() - PREAMBLE_LENGTH));
            assert_eq!(decode_envelope(&head[PREAMBLE_LENGTH..]).unwrap(), written);
        }
    }
}
