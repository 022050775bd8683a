//! A stored message on its way out.
//!
//! Rule: the bytes are checked against their checksum before the first one is given out, and come out as
//! they came in: the fields added at acceptance, then the original. Whoever relays them may take the header
//! section out and put another one in; the body always passes block by block. Must not know where they go.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use super::{
    error::QueueError,
    frame::{self, FrameError, Trailer},
    record::{MessageRecord, RecordError},
};
use crate::message::{
    envelope::Envelope,
    header::Replaced,
    header::{HEADER_BYTES_MAX, HeaderSection, end_of_section},
};

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
        MessageRecord::new(&self.envelope, self.trailer.body_bytes, &self.trailer.subject)
    }
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
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

/// The envelope and the octets that the client sent, of a whole frame in memory.
pub(super) fn original(mut bytes: Vec<u8>) -> Result<(Envelope, Vec<u8>), ReadError> {
    let Described { envelope, trailer, body_at } = describe_bytes(&bytes)?;
    let position = usize::try_from(body_at).unwrap_or(usize::MAX);
    let length = usize::try_from(trailer.body_bytes).unwrap_or(usize::MAX);
    // Both lie within the file, or it would not have been described.
    bytes.truncate(position.saturating_add(length));
    bytes.drain(..position.min(bytes.len()));
    Ok((envelope, bytes))
}

/// Checks a whole frame in memory.
pub(super) fn describe_bytes(bytes: &[u8]) -> Result<Described, ReadError> {
    let end_at = bytes.len().checked_sub(frame::END_LENGTH).ok_or(FrameError::Incomplete)?;
    let (trailer_length, checksum) = frame::end(&bytes[end_at..])?;
    if crc32fast::hash(&bytes[..end_at + 4]) != checksum {
        return Err(FrameError::Checksum.into());
    }
    let preamble = frame::preamble(bytes)?;
    let body_at = frame::PREAMBLE_LENGTH + preamble.envelope_length;
    let trailer_at = end_at.checked_sub(trailer_length).ok_or(FrameError::Incomplete)?;
    let envelope = bytes.get(frame::PREAMBLE_LENGTH..body_at).ok_or(FrameError::Incomplete)?;
    checked(
        frame::envelope(envelope)?,
        frame::trailer(&bytes[trailer_at..end_at])?,
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
    let (trailer_length, checksum) =
        frame::end(&read_at(file, length - frame::END_LENGTH as u64, frame::END_LENGTH)?)?;
    let end_at = length - frame::END_LENGTH as u64;
    let trailer_at = end_at.checked_sub(trailer_length as u64).ok_or(FrameError::Incomplete)?;
    if checksum_of(file, end_at + 4)? != checksum {
        return Err(FrameError::Checksum.into());
    }
    let preamble = frame::preamble(&read_at(file, 0, frame::PREAMBLE_LENGTH)?)?;
    let envelope = read_at(file, frame::PREAMBLE_LENGTH as u64, preamble.envelope_length)?;
    let envelope = frame::envelope(&envelope)?;
    let trailer = frame::trailer(&read_at(file, trailer_at, trailer_length)?)?;
    let trailer_at = usize::try_from(trailer_at).unwrap_or(usize::MAX);
    checked(envelope, trailer, frame::PREAMBLE_LENGTH + preamble.envelope_length, trailer_at)
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
