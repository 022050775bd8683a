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

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::record::{self, RecordError, Stored};
use crate::{
    clock::Timestamp,
    message::{
        envelope::{BodyKind, Envelope, Lane, Origin},
        identification::Replaced,
    },
    smtp::{address::Address, dsn::Dsn},
};

const HEAD_MAGIC: &[u8; 4] = b"PBXM";
const END_MAGIC: &[u8; 4] = b"PBXE";
/// What this program writes. Version 2 had no local user in the envelope. Version 1 had no DSN, no lane and no
/// login there either, and its trailer did not say which fields were replaced. Both are still read.
const VERSION: u8 = 3;
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
    version: u8,
    /// The length of the envelope record.
    pub(super) envelope_length: usize,
}

/// Reads the first [`PREAMBLE_LENGTH`] octets.
pub(super) fn preamble(preamble: &[u8]) -> Result<Preamble, FrameError> {
    if preamble.len() < PREAMBLE_LENGTH || &preamble[..4] != HEAD_MAGIC {
        return Err(FrameError::Incomplete);
    }
    let version = preamble[4];
    if !(1..=VERSION).contains(&version) {
        return Err(FrameError::Version(version));
    }
    Ok(Preamble { version, envelope_length: bounded(&preamble[5..9])? })
}

/// Reads the last [`END_LENGTH`] octets: the length of the trailer and the checksum.
pub(super) fn end(end: &[u8]) -> Result<(usize, u32), FrameError> {
    if end.len() != END_LENGTH || &end[8..] != END_MAGIC {
        return Err(FrameError::Incomplete);
    }
    Ok((bounded(&end[..4])?, u32::from_le_bytes([end[4], end[5], end[6], end[7]])))
}

/// The envelope record.
pub(super) fn envelope(preamble: Preamble, bytes: &[u8]) -> Result<Envelope, FrameError> {
    Ok(match preamble.version {
        1 => record::decode::<EnvelopeOfVersion1>(bytes)?.into(),
        2 => record::decode::<EnvelopeOfVersion2>(bytes)?.into(),
        _ => record::decode(bytes)?,
    })
}

/// The envelope as version 2 wrote it; the order of the fields is the format.
#[derive(Serialize, Deserialize)]
struct EnvelopeOfVersion2 {
    reverse_path: Option<Address>,
    forward_paths: Vec<Address>,
    body: BodyKind,
    internationalized: bool,
    dsn: Dsn,
    lane: Lane,
    origin: OriginOfVersion2,
    accepted_at: Timestamp,
}

impl Stored for EnvelopeOfVersion2 {}

#[derive(Serialize, Deserialize)]
struct OriginOfVersion2 {
    address: IpAddr,
    helo: String,
    protocol: String,
    login: Option<String>,
}

impl From<EnvelopeOfVersion2> for Envelope {
    fn from(old: EnvelopeOfVersion2) -> Self {
        let OriginOfVersion2 { address, helo, protocol, login } = old.origin;
        Self {
            reverse_path: old.reverse_path,
            forward_paths: old.forward_paths,
            body: old.body,
            internationalized: old.internationalized,
            dsn: old.dsn,
            lane: old.lane,
            origin: Origin { address, helo, protocol, login, local: None },
            accepted_at: old.accepted_at,
        }
    }
}

/// The envelope as version 1 wrote it; the order of the fields is the format.
#[derive(Serialize, Deserialize)]
struct EnvelopeOfVersion1 {
    reverse_path: Option<Address>,
    forward_paths: Vec<Address>,
    body: BodyKind,
    internationalized: bool,
    origin: OriginOfVersion1,
    accepted_at: Timestamp,
}

impl Stored for EnvelopeOfVersion1 {}

#[derive(Serialize, Deserialize)]
struct OriginOfVersion1 {
    address: IpAddr,
    helo: String,
    protocol: String,
}

impl From<EnvelopeOfVersion1> for Envelope {
    fn from(old: EnvelopeOfVersion1) -> Self {
        let OriginOfVersion1 { address, helo, protocol } = old.origin;
        Self {
            reverse_path: old.reverse_path,
            forward_paths: old.forward_paths,
            body: old.body,
            internationalized: old.internationalized,
            dsn: Dsn::default(),
            lane: Lane::default(),
            origin: Origin { address, helo, protocol, login: None, local: None },
            accepted_at: old.accepted_at,
        }
    }
}

/// The trailer record.
pub(super) fn trailer(preamble: Preamble, bytes: &[u8]) -> Result<Trailer, FrameError> {
    Ok(match preamble.version {
        1 => record::decode::<TrailerOfVersion1>(bytes)?.into(),
        _ => record::decode(bytes)?,
    })
}

/// The trailer as version 1 wrote it.
#[derive(Serialize, Deserialize)]
struct TrailerOfVersion1 {
    added: Vec<u8>,
    separator_at: Option<u64>,
    body_bytes: u64,
}

impl Stored for TrailerOfVersion1 {}

impl From<TrailerOfVersion1> for Trailer {
    fn from(old: TrailerOfVersion1) -> Self {
        let TrailerOfVersion1 { added, separator_at, body_bytes } = old;
        Self { added, separator_at, body_bytes, replaced: Replaced::default() }
    }
}

fn bounded(length: &[u8]) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    if length > PART_LENGTH_MAX { Err(FrameError::Incomplete) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::envelope::LocalUser;

    #[test]
    fn an_envelope_of_version_1_is_still_read() {
        let old = EnvelopeOfVersion1 {
            reverse_path: "a@b.example".parse().ok(),
            forward_paths: vec!["c@d.example".parse().unwrap()],
            body: BodyKind::EightBitMime,
            internationalized: true,
            origin: OriginOfVersion1 {
                address: [192, 0, 2, 7].into(),
                helo: "printer".into(),
                protocol: "ESMTP".into(),
            },
            accepted_at: Timestamp(7),
        };
        let bytes = record::encode(&old).unwrap();
        let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let head = [b"PBXM\x01".as_slice(), &length].concat();
        let found = preamble(&head).unwrap();
        assert_eq!(found.envelope_length, bytes.len());
        assert_eq!(envelope(found, &bytes).unwrap(), old.into());
        let old = || TrailerOfVersion1 {
            added: b"A: b\r\n".to_vec(),
            separator_at: Some(3),
            body_bytes: 9,
        };
        assert_eq!(trailer(found, &record::encode(&old()).unwrap()).unwrap(), old().into());
        assert_eq!(preamble(b"PBXM\x04\0\0\0\0").unwrap_err(), FrameError::Version(4));
        assert_eq!(preamble(b"PBXM\0\0\0\0\0").unwrap_err(), FrameError::Version(0));
    }

    #[test]
    fn an_envelope_of_version_2_is_still_read_and_came_from_no_local_user() {
        let old = EnvelopeOfVersion2 {
            reverse_path: "a@b.example".parse().ok(),
            forward_paths: vec!["c@d.example".parse().unwrap()],
            body: BodyKind::EightBitMime,
            internationalized: true,
            dsn: Dsn { envelope_id: Some("x".into()), ..Dsn::default() },
            lane: Lane::Urgent,
            origin: OriginOfVersion2 {
                address: [192, 0, 2, 7].into(),
                helo: "printer".into(),
                protocol: "ESMTPA".into(),
                login: Some("scanner".into()),
            },
            accepted_at: Timestamp(7),
        };
        let bytes = record::encode(&old).unwrap();
        let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let found = preamble(&[b"PBXM\x02".as_slice(), &length].concat()).unwrap();
        let read = envelope(found, &bytes).unwrap();
        assert_eq!((read.lane, read.origin.login.as_deref()), (Lane::Urgent, Some("scanner")));
        assert_eq!(read.origin.local, None);
        assert_eq!(read, old.into());
    }

    #[test]
    fn what_is_written_is_of_version_3_and_names_the_local_user() {
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
            assert_eq!(found.version, 3);
            assert_eq!(envelope(found, &head[PREAMBLE_LENGTH..]).unwrap(), written);
        }
    }
}
