//! Watches a message's header section as its bytes pass by (RFC 5322 section 2.2).
//!
//! Rule: one pass in arbitrary chunks, bounded memory, nothing is changed. It lives beside the session,
//! which counts Received fields to stop loops; `message::header` offers it to everybody else.
//! Must not know what is added to a message or why.

use memchr::memchr;

/// Octets of a line that are looked at. A field name must end within them; the names in use have
/// fewer than 60.
const LINE_PREFIX_BYTES: usize = 100;

/// What a header section has, and where it must be ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderFindings {
    /// A Message-ID field is there.
    pub has_message_id: bool,
    /// A Date field is there.
    pub has_date: bool,
    /// How many Received fields there are: the hops so far.
    pub received_count: u32,
    /// Where an empty line must be inserted when relaying: the octet at which the first line starts
    /// that is neither a field nor a continuation (0 when there is no header at all). `None` when the
    /// header ends properly, with an empty line or with the message.
    pub separator_at: Option<u64>,
}

/// The scanner. Feed it decoded message bytes (CRLF line ends).
#[derive(Debug)]
pub struct HeaderScan {
    findings: HeaderFindings,
    /// The header section has ended: nothing is looked at any more.
    ended: bool,
    /// A field came before the current line, so that it may be continued.
    field_seen: bool,
    /// The first octets of the current line.
    prefix: [u8; LINE_PREFIX_BYTES],
    prefix_length: usize,
    /// Octets before the current line.
    line_start: u64,
    /// Octets of the current line so far.
    line_length: u64,
}

impl Default for HeaderScan {
    fn default() -> Self {
        Self::new()
    }
}

impl HeaderScan {
    /// A scanner before the first byte of a message.
    #[must_use]
    pub fn new() -> Self {
        Self {
            findings: HeaderFindings::default(),
            ended: false,
            field_seen: false,
            prefix: [0; LINE_PREFIX_BYTES],
            prefix_length: 0,
            line_start: 0,
            line_length: 0,
        }
    }

    /// Looks at the next bytes; costs nothing once the header section has ended.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !self.ended && !bytes.is_empty() {
            let line_end = memchr(b'\n', bytes);
            let (part, rest) = bytes.split_at(line_end.map_or(bytes.len(), |position| position + 1));
            self.keep(part);
            if line_end.is_some() {
                self.finish_line();
            }
            bytes = rest;
        }
    }

    /// The Received fields seen so far, for a session that wants to stop a loop early.
    #[must_use]
    pub fn received_count(&self) -> u32 {
        self.findings.received_count
    }

    /// The message has ended: a last line without a line end is looked at as well.
    pub fn finish(&mut self) -> HeaderFindings {
        if !self.ended && self.line_length > 0 {
            self.finish_line();
        }
        self.ended = true;
        self.findings
    }

    fn keep(&mut self, part: &[u8]) {
        let count = part.len().min(LINE_PREFIX_BYTES - self.prefix_length);
        self.prefix[self.prefix_length..self.prefix_length + count].copy_from_slice(&part[..count]);
        self.prefix_length += count;
        self.line_length += part.len() as u64;
    }

    fn finish_line(&mut self) {
        match Line::read(&self.prefix[..self.prefix_length], self.field_seen) {
            Line::Empty => self.ended = true,
            Line::Continuation => {}
            Line::Field(name) => {
                self.findings.has_message_id |= name.eq_ignore_ascii_case(b"Message-ID");
                self.findings.has_date |= name.eq_ignore_ascii_case(b"Date");
                self.findings.received_count += u32::from(name.eq_ignore_ascii_case(b"Received"));
                self.field_seen = true;
            }
            Line::Other => {
                self.findings.separator_at = Some(self.line_start);
                self.ended = true;
            }
        }
        self.line_start += self.line_length;
        self.line_length = 0;
        self.prefix_length = 0;
    }
}

/// What a line of the header section is, judged by its first octets.
enum Line<'a> {
    Empty,
    Continuation,
    Field(&'a [u8]),
    Other,
}

impl<'a> Line<'a> {
    fn read(line: &'a [u8], field_seen: bool) -> Self {
        let Some(first) = line.iter().find(|octet| !matches!(octet, b'\r' | b'\n')) else {
            return Self::Empty;
        };
        if matches!(first, b' ' | b'\t') {
            return if field_seen { Self::Continuation } else { Self::Other };
        }
        let Some(colon) = memchr(b':', line) else {
            return Self::Other;
        };
        // Blanks before the colon are the obsolete syntax of RFC 5322 section 4.5.
        let name = line[..colon].trim_ascii_end();
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            return Self::Other;
        }
        Self::Field(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans whole, byte by byte and in random pieces: all must agree.
    fn scan(message: &[u8]) -> HeaderFindings {
        let mut whole = HeaderScan::new();
        whole.feed(message);
        let findings = whole.finish();
        for largest in [1, 2, 7, 150] {
            let (mut pieces, mut rest) = (HeaderScan::new(), message);
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(fastrand::usize(1..=largest).min(rest.len()));
                pieces.feed(piece);
                rest = after;
            }
            assert_eq!(pieces.finish(), findings, "in pieces of up to {largest}");
        }
        findings
    }

    #[test]
    fn the_separator_goes_before_the_first_line_that_is_no_field() {
        for (message, expected) in [
            // A proper header, with and without a body.
            ("Subject: x\r\n\r\nbody\r\n", None),
            ("Subject: x\r\n", None),
            ("Subject: x", None),
            ("", None),
            ("\r\nbody\r\n", None),
            // A folded field, also by a line of blanks only after the field.
            ("Subject: x\r\n y: not a field\r\n\tz\r\nTo: a\r\n\r\n", None),
            ("Subject: x\r\n \r\nnobody:\r\nsays this", Some(24)),
            // The obsolete blank before the colon.
            ("Subject : x\r\n\r\n", None),
            // No header at all.
            ("hello\r\n", Some(0)),
            ("hello", Some(0)),
            (" hello: x\r\n", Some(0)),
            (": x\r\n", Some(0)),
            // An mbox line; its colons are in the time.
            ("From a@b.example Sat Nov 21 10:00:00 2026\r\nSubject: x\r\n\r\n", Some(0)),
            // A header that the client forgot to end.
            ("Subject: x\r\nhello there: you\r\n\r\n", Some(12)),
            // A field name is ASCII.
            ("Sübject: x\r\n", Some(0)),
        ] {
            assert_eq!(scan(message.as_bytes()).separator_at, expected, "{message:?}");
        }
    }

    #[test]
    fn fields_are_found_in_any_case_and_only_in_the_header() {
        let findings =
            scan(b"RECEIVED: a\r\nReceived: b\r\n c\r\nmessage-id: <x@y>\r\n\r\nDate: in the body\r\n");
        assert_eq!(
            findings,
            HeaderFindings { has_message_id: true, has_date: false, received_count: 2, separator_at: None }
        );
    }

    #[test]
    fn a_line_without_end_and_without_a_colon_is_no_field() {
        let long = "x".repeat(10_000);
        assert_eq!(scan(format!("Date: now\r\n{long}\r\n").as_bytes()).separator_at, Some(11));
        assert_eq!(scan(format!("Subject: {long}\r\nDate: now\r\n\r\n").as_bytes()).separator_at, None);
    }
}
