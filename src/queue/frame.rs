//! The format of a spool file: one message that describes itself.
//!
//! ```text
//! "PBXM" version(1) length(u32 LE) envelope      head
//! the original bytes, as the client sent them     body
//! trailer record                                  fields added at acceptance, length of the body
//! length of the trailer(u32 LE) CRC-32 of all before it(u32 LE) "PBXE"
//! ```
//!
//! Rule: the head is complete before the body begins and the trailer is written last, so a file without
//! a valid end was never acknowledged or has been damaged. Must not know where files lie.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::record::{self, RecordError, Stored};
use crate::message::{envelope::Envelope, identification::Replaced};

const HEAD_MAGIC: &[u8; 4] = b"PBXM";
const END_MAGIC: &[u8; 4] = b"PBXE";
/// What this program writes and reads.
const VERSION: u8 = 1;
/// Octets before the envelope.
pub(super) const PREAMBLE_LENGTH: usize = 9;
/// Octets after the trailer.
pub(super) const END_LENGTH: usize = 12;
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
}

impl Stored for Trailer {}

/// Why a file is no whole message.
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
    /// Envelope or trailer cannot be read.
    #[error("{0}")]
    Record(#[from] RecordError),
}

/// The bytes before the body.
pub(super) fn head(envelope: &Envelope) -> Result<Vec<u8>, FrameError> {
    let envelope = record::encode(envelope)?;
    let mut head = Vec::with_capacity(PREAMBLE_LENGTH + envelope.len());
    head.extend_from_slice(HEAD_MAGIC);
    head.push(VERSION);
    head.extend_from_slice(&u32::try_from(envelope.len()).unwrap_or(u32::MAX).to_le_bytes());
    head.extend_from_slice(&envelope);
    Ok(head)
}

/// The bytes after the body. `checksum` has seen head and body.
pub(super) fn tail(trailer: &Trailer, checksum: &crc32fast::Hasher) -> Result<Vec<u8>, FrameError> {
    let mut tail = record::encode(trailer)?;
    let length = u32::try_from(tail.len()).unwrap_or(u32::MAX);
    tail.extend_from_slice(&length.to_le_bytes());
    let mut checksum = checksum.clone();
    checksum.update(&tail);
    tail.extend_from_slice(&checksum.finalize().to_le_bytes());
    tail.extend_from_slice(END_MAGIC);
    Ok(tail)
}

/// What stands before the envelope record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Preamble {
    /// The length of the envelope record.
    pub(super) envelope_length: usize,
}

/// Reads the first [`PREAMBLE_LENGTH`] octets.
pub(super) fn preamble(preamble: &[u8]) -> Result<Preamble, FrameError> {
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
pub(super) fn end(end: &[u8]) -> Result<(usize, u32), FrameError> {
    if end.len() != END_LENGTH || &end[8..] != END_MAGIC {
        return Err(FrameError::Incomplete);
    }
    Ok((bounded(&end[..4])?, u32::from_le_bytes([end[4], end[5], end[6], end[7]])))
}

/// The envelope record.
pub(super) fn envelope(bytes: &[u8]) -> Result<Envelope, FrameError> {
    Ok(record::decode(bytes)?)
}

/// The trailer record.
pub(super) fn trailer(bytes: &[u8]) -> Result<Trailer, FrameError> {
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
        smtp::dsn::Dsn,
    };

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
            assert_eq!(envelope(&head[PREAMBLE_LENGTH..]).unwrap(), written);
        }
    }
}
