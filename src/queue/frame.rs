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
use crate::message::{envelope::Envelope, header::Replaced};

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
    /// The beginning of the subject, for the record.
    pub(super) subject: String,
}

impl Stored for Trailer {}

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
        assert_eq!(envelope(&head[PREAMBLE_LENGTH..]).unwrap(), written);
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
            assert_eq!(envelope(&head[PREAMBLE_LENGTH..]).unwrap(), written);
        }
    }
}
