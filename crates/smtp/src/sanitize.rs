//! The last pass over decoded message data: no NUL and no bare CR gets beyond it (RFC 5321 section 2.3.8).
//!
//! Rule: whoever comes later (the store, the upstream) never sees an octet that another server could take
//! for a line end or swallow: that is how a header field or a second message is smuggled.
//! Must not know who the client is; it tells what it found, and others decide.

use memchr::{memchr2, memrchr};

use super::{
    header_scan::{HeaderFindings, HeaderScan, LINE_LENGTH_MAX},
    quirk::{Quirk, Quirks},
};

/// Scrubs one message. Feed it what `data.rs` or `chunk.rs` decoded: CRLF is never cut there.
#[derive(Debug)]
pub struct Sanitizer {
    header: HeaderScan,
    /// Octets of the current line.
    line_length: usize,
    nul: bool,
    bare_return: bool,
    return_in_field: bool,
    long_line: bool,
    /// Octets above 127 came after the header section had ended.
    eight_bit_body: bool,
}

impl Default for Sanitizer {
    fn default() -> Self {
        Self::new()
    }
}

impl Sanitizer {
    /// Before the first octet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            header: HeaderScan::new(),
            line_length: 0,
            nul: false,
            bare_return: false,
            return_in_field: false,
            long_line: false,
            eight_bit_body: false,
        }
    }

    /// NULs are dropped. A bare CR becomes a blank within a header field, so that it cannot begin another
    /// field, and CRLF everywhere else.
    pub fn sanitize(&mut self, decoded: Vec<u8>) -> Vec<u8> {
        let message = if Self::is_clean(&decoded) {
            self.pass(&decoded);
            decoded
        } else {
            self.rewrite(&decoded)
        };
        self.measure(&message);
        message
    }

    /// The Received fields seen so far.
    #[must_use]
    pub fn received_count(&self) -> u32 {
        self.header.received_count()
    }

    /// Whether there was a NUL, or a bare CR within a header field: nothing that an honest program sends.
    #[must_use]
    pub fn has_forbidden_octets(&self) -> bool {
        self.nul || self.return_in_field
    }

    /// What was unusual about its octets so far.
    #[must_use]
    pub fn octet_quirks(&self) -> Quirks {
        let mut quirks = Quirks::default();
        quirks.insert_if(self.nul, Quirk::Nul);
        quirks.insert_if(self.bare_return, Quirk::BareCr);
        quirks
    }

    /// The message has ended: what was unusual about it, given what MAIL declared.
    pub fn finish(&mut self, eight_bit_declared: bool, internationalized: bool) -> Quirks {
        let HeaderFindings {
            has_message_id,
            has_date,
            separator_at,
            has_from,
            has_bcc,
            invalid_message_id,
            invalid_message_id_in_utf8,
            invalid_date,
            has_eight_bit,
            has_long_line,
            received_count: _,
        } = self.header.finish();
        let eight_bit_body = self.eight_bit_body || self.header.is_ended_by_eight_bit_line();
        let mut quirks = self.octet_quirks();
        for (condition, quirk) in [
            (self.long_line || has_long_line, Quirk::LongLine),
            (eight_bit_body && !eight_bit_declared, Quirk::EightBitUndeclared),
            (has_eight_bit && !internationalized, Quirk::EightBitHeader),
            (!has_message_id, Quirk::NoMessageId),
            (
                if internationalized { invalid_message_id_in_utf8 } else { invalid_message_id },
                Quirk::BadMessageId,
            ),
            (!has_date, Quirk::NoDate),
            (invalid_date, Quirk::BadDate),
            (!has_from, Quirk::NoFrom),
            (has_bcc, Quirk::Bcc),
            (separator_at.is_some(), Quirk::NoHeaderEnd),
        ] {
            quirks.insert_if(condition, quirk);
        }
        quirks
    }

    /// Whether the octets may stay as they are; the usual case, found without looking at each of them.
    fn is_clean(decoded: &[u8]) -> bool {
        let mut rest = decoded;
        while let Some(found) = memchr2(b'\r', 0, rest) {
            if !rest[found..].starts_with(b"\r\n") {
                return false;
            }
            rest = &rest[found + 2..];
        }
        true
    }

    fn rewrite(&mut self, decoded: &[u8]) -> Vec<u8> {
        let (mut message, mut rest) = (Vec::with_capacity(decoded.len()), decoded);
        while let Some(found) = memchr2(b'\r', 0, rest) {
            let (before, after) = rest.split_at(found);
            self.pass(before);
            message.extend_from_slice(before);
            let (replacement, used): (&[u8], _) = if after.starts_with(b"\r\n") {
                (b"\r\n", 2)
            } else if after[0] == 0 {
                self.nul = true;
                (b"", 1)
            } else {
                self.bare_return = true;
                let in_field = self.header.is_within_field();
                self.return_in_field |= in_field;
                (if in_field { b" " } else { b"\r\n" }, 1)
            };
            self.pass(replacement);
            message.extend_from_slice(replacement);
            rest = &after[used..];
        }
        self.pass(rest);
        message.extend_from_slice(rest);
        message
    }

    /// Shows clean octets to the header scan, and looks for 8-bit octets behind the header.
    fn pass(&mut self, octets: &[u8]) {
        let body = self.header.feed(octets);
        self.eight_bit_body = self.eight_bit_body || !body.is_ascii();
    }

    /// Looks for a line that is too long, a thousand octets at a step.
    fn measure(&mut self, mut message: &[u8]) {
        while !self.long_line && !message.is_empty() {
            let allowed = (LINE_LENGTH_MAX + b"\r\n".len()).saturating_sub(self.line_length);
            let window = &message[..message.len().min(allowed)];
            match memrchr(b'\n', window) {
                Some(end) => {
                    self.line_length = 0;
                    message = &message[end + 1..];
                }
                None if message.len() > allowed => self.long_line = true,
                None => {
                    self.line_length += message.len();
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sanitize(decoded: &[u8]) -> (Vec<u8>, Sanitizer) {
        let mut sanitizer = Sanitizer::new();
        (sanitizer.sanitize(decoded.to_vec()), sanitizer)
    }

    #[test]
    fn nul_is_dropped_and_a_bare_cr_is_a_blank_in_a_field_and_a_line_end_elsewhere() {
        for (decoded, message, forbidden) in [
            ("Subject: x\r\n\r\nbody\r\n", "Subject: x\r\n\r\nbody\r\n", false),
            // In a field nothing may begin another one.
            ("Subject: x\rBcc: y\r\n\r\n", "Subject: x Bcc: y\r\n\r\n", true),
            ("Subject: x\r\n y\rBcc: z\r\n\r\n", "Subject: x\r\n y Bcc: z\r\n\r\n", true),
            ("Subject: x\r\r\n\r\n", "Subject: x \r\n\r\n", true),
            // What is not a field yet no longer belongs to the header.
            ("Sub\rject: x\r\n", "Sub\r\nject: x\r\n", false),
            ("Subject: x\r\n\rBcc: y\r\n", "Subject: x\r\n\r\nBcc: y\r\n", false),
            // In the body.
            ("A: b\r\n\r\none\rtwo\r\r\n", "A: b\r\n\r\none\r\ntwo\r\n\r\n", false),
            ("A: b\r\n\r\n\0.\r\n", "A: b\r\n\r\n.\r\n", true),
            ("Sub\0ject: x\r\n\0\r\n", "Subject: x\r\n\r\n", true),
            ("\0", "", true),
        ] {
            let (sanitized, sanitizer) = sanitize(decoded.as_bytes());
            assert_eq!(String::from_utf8(sanitized).unwrap(), message, "{decoded:?}");
            assert_eq!(sanitizer.has_forbidden_octets(), forbidden, "{decoded:?}");
        }
    }

    #[test]
    fn oddities_are_found_however_the_message_is_cut() {
        let longest = "x".repeat(LINE_LENGTH_MAX);
        let complete = "Message-ID: <a@b>\r\nDate: 22 Nov 2026 01:52 GMT\r\nFrom: a@b\r\n";
        for (message, expected) in [
            (format!("{complete}\r\nbody\r\n"), vec![]),
            (format!("{complete}\r\n{longest}\r\n"), vec![]),
            (format!("{complete}\r\n{longest}x\r\n"), vec![Quirk::LongLine]),
            (format!("{complete}\r\ngr\u{fc}n\r\n"), vec![Quirk::EightBitUndeclared]),
            (
                format!("{complete}gr\u{fc}n\r\n"),
                vec![Quirk::EightBitUndeclared, Quirk::NoHeaderEnd],
            ),
            (format!("{complete}Subject: gr\u{fc}n\r\n"), vec![Quirk::EightBitHeader]),
            (
                format!("{complete}Bcc: c@d\r\n\r\na\0b\rc"),
                vec![Quirk::BareCr, Quirk::Nul, Quirk::Bcc],
            ),
            ("A: b\r\n\r\n".into(), vec![Quirk::NoMessageId, Quirk::NoDate, Quirk::NoFrom]),
        ] {
            for largest in [1, 10, 2_000, usize::MAX] {
                let (mut sanitizer, mut rest) = (Sanitizer::new(), message.as_bytes());
                while !rest.is_empty() {
                    let mut length = fastrand::usize(1..=largest).min(rest.len());
                    length += usize::from(rest[..length].ends_with(b"\r") && rest.len() > length);
                    sanitizer.sanitize(rest[..length].to_vec());
                    rest = &rest[length..];
                }
                let found: Vec<_> = sanitizer.finish(false, false).iter().collect();
                assert_eq!(found, expected, "{message:?} in pieces of {largest}");
            }
        }
    }
}
