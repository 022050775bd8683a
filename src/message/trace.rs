//! The fields put in front of a message at acceptance: Received (RFC 5321 section 4.4), and Message-ID
//! and Date when the client left them out (Gmail refuses mail without them).
//!
//! Rule: everything comes from the envelope and the findings, so the same message always gets the same
//! fields. Must not know where they are stored.

use super::{envelope::Envelope, header::HeaderFindings};

/// The bytes that go in front of the original message; they end with CRLF.
#[must_use]
pub fn added_fields(envelope: &Envelope, id: &str, hostname: &str, findings: &HeaderFindings) -> Vec<u8> {
    let _ = (envelope, id, hostname, findings);
    Vec::new()
}
