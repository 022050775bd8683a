//! Watches a message's header section as its bytes pass by (RFC 5322 section 2.2).
//!
//! Rule: one pass in arbitrary chunks, bounded memory, nothing is changed. It lives beside the session,
//! which counts Received fields to stop loops; `message::header` offers it to everybody else.
//! Must not know what is added to a message or why.

use memchr::memchr;

use super::field_syntax::{self, DateForm};

/// Octets in which a field name must end; the names in use have fewer than 60.
const LINE_PREFIX_BYTES: usize = 100;

/// Octets of a line, and of the value of Message-ID or Date, that are kept to be looked at: as many as a
/// line may have (RFC 5322 section 2.1.1), so that what is longer is not valid anyway.
const KEPT_BYTES_MAX: usize = LINE_LENGTH_MAX;

/// What a kept line or value has room for at first: most are shorter.
const KEPT_BYTES_START: usize = 128;

/// Octets of a line without its CRLF (RFC 5322 section 2.1.1).
pub const LINE_LENGTH_MAX: usize = 998;

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
    /// A From field is there.
    pub has_from: bool,
    /// A Bcc or Resent-Bcc field is there.
    pub has_bcc: bool,
    /// A Message-ID field is there, and one has a value that is not a message id in ASCII.
    pub invalid_message_id: bool,
    /// The same where SMTPUTF8 allows other characters.
    pub invalid_message_id_in_utf8: bool,
    /// A Date field is there, and one has a value that is not a date.
    pub invalid_date: bool,
    /// There are octets above 127 in the header section.
    pub has_eight_bit: bool,
    /// A line of the header section is longer than 998 octets.
    pub has_long_line: bool,
}

impl HeaderFindings {
    /// Nothing was found: what a message without a header section has.
    pub const NOTHING: Self = Self {
        has_message_id: false,
        has_date: false,
        received_count: 0,
        separator_at: None,
        has_from: false,
        has_bcc: false,
        invalid_message_id: false,
        invalid_message_id_in_utf8: false,
        invalid_date: false,
        has_eight_bit: false,
        has_long_line: false,
    };
}

/// A field whose value is checked.
#[derive(Clone, Copy, Debug)]
enum Checked {
    MessageId,
    Date,
}

/// The scanner. Feed it decoded message bytes (CRLF line ends).
#[derive(Debug)]
pub struct HeaderScan {
    findings: HeaderFindings,
    /// The header section has ended: nothing is looked at any more.
    ended: bool,
    /// A field came before the current line, so that it may be continued.
    field_seen: bool,
    /// The current line, as much of it as is kept.
    line: Vec<u8>,
    /// A field whose value is checked.
    checked: Option<Checked>,
    /// Its value so far.
    value: Vec<u8>,
    /// Octets before the current line.
    line_start: u64,
    /// Octets of the current line so far.
    line_length: u64,
    line_has_eight_bit: bool,
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
            line: Vec::with_capacity(KEPT_BYTES_START),
            checked: None,
            value: Vec::with_capacity(KEPT_BYTES_START),
            line_start: 0,
            line_length: 0,
            line_has_eight_bit: false,
        }
    }

    /// Looks at the next bytes; costs nothing once the header section has ended. Returns those behind it.
    pub fn feed<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while !self.ended && !bytes.is_empty() {
            let line_end = memchr(b'\n', bytes);
            let (part, rest) =
                bytes.split_at(line_end.map_or(bytes.len(), |position| position + 1));
            self.keep(part);
            if line_end.is_some() {
                self.finish_line();
            }
            bytes = rest;
        }
        bytes
    }

    /// The Received fields seen so far, for a session that wants to stop a loop early.
    #[must_use]
    pub fn received_count(&self) -> u32 {
        self.findings.received_count
    }

    /// Whether the octets so far of a line that has not ended are part of a header field.
    #[must_use]
    pub fn is_within_field(&self) -> bool {
        !self.ended
            && matches!(
                Line::read(self.line_prefix(), self.field_seen),
                Line::Continuation | Line::Field(_)
            )
    }

    /// Whether a line that is not a field has ended the header section, and has octets above 127. It is the
    /// first of the body, and [`HeaderScan::feed`] does not return it.
    #[must_use]
    pub fn is_ended_by_eight_bit_line(&self) -> bool {
        self.ended && self.findings.separator_at.is_some() && self.line_has_eight_bit
    }

    /// The message has ended: a last line without a line end is looked at as well.
    pub fn finish(&mut self) -> HeaderFindings {
        if !self.ended && self.line_length > 0 {
            self.finish_line();
        }
        self.end();
        self.findings
    }

    fn line_prefix(&self) -> &[u8] {
        &self.line[..self.line.len().min(LINE_PREFIX_BYTES)]
    }

    fn keep(&mut self, part: &[u8]) {
        let count = part.len().min(KEPT_BYTES_MAX - self.line.len());
        self.line.extend_from_slice(&part[..count]);
        self.line_length += part.len() as u64;
        self.line_has_eight_bit |= !part.is_ascii();
    }

    fn finish_line(&mut self) {
        match Line::read(self.line_prefix(), self.field_seen) {
            Line::Empty => self.end(),
            Line::Continuation => {
                self.judge_line();
                self.keep_value(0);
            }
            Line::Field(name) => {
                let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
                let (message_id, date, from) = (is("Message-ID"), is("Date"), is("From"));
                let (bcc, received) = (is("Bcc") || is("Resent-Bcc"), is("Received"));
                let after_colon = memchr(b':', &self.line).map_or(0, |colon| colon + 1);
                self.findings.has_message_id |= message_id;
                self.findings.has_date |= date;
                self.findings.has_from |= from;
                self.findings.has_bcc |= bcc;
                self.findings.received_count += u32::from(received);
                self.field_seen = true;
                self.check_value();
                self.checked = match (message_id, date) {
                    (true, _) => Some(Checked::MessageId),
                    (_, true) => Some(Checked::Date),
                    _ => None,
                };
                self.judge_line();
                self.keep_value(after_colon);
            }
            Line::Other => {
                self.findings.separator_at = Some(self.line_start);
                return self.end();
            }
        }
        self.line_start += self.line_length;
        self.line_length = 0;
        self.line_has_eight_bit = false;
        self.line.clear();
    }

    /// A line that is part of the header section, with its line end.
    fn judge_line(&mut self) {
        self.findings.has_eight_bit |= self.line_has_eight_bit;
        self.findings.has_long_line |= self.line_length > (LINE_LENGTH_MAX + b"\r\n".len()) as u64;
    }

    /// Adds the current line from `start` on to the value that is checked.
    fn keep_value(&mut self, start: usize) {
        if self.checked.is_none() {
            return;
        }
        let part = &self.line[start..];
        let count = part.len().min(KEPT_BYTES_MAX.saturating_sub(self.value.len()));
        self.value.extend(part[..count].iter().filter(|octet| !matches!(octet, b'\r' | b'\n')));
    }

    fn check_value(&mut self) {
        let value = String::from_utf8_lossy(&self.value);
        let value = value.trim();
        match self.checked.take() {
            Some(Checked::MessageId) => {
                self.findings.invalid_message_id |= !field_syntax::is_message_id(value, false);
                self.findings.invalid_message_id_in_utf8 |=
                    !field_syntax::is_message_id(value, true);
            }
            Some(Checked::Date) => {
                self.findings.invalid_date |= field_syntax::date_form(value) == DateForm::Invalid;
            }
            None => {}
        }
        self.value.clear();
    }

    /// The header section has ended; nothing more is kept.
    fn end(&mut self) {
        self.check_value();
        self.ended = true;
        self.line = Vec::new();
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
        let findings = scan(
            b"RECEIVED: a\r\nReceived: b\r\n c\r\nmessage-id: <x@y>\r\n\r\nDate: in the body\r\n",
        );
        assert_eq!(
            findings,
            HeaderFindings { has_message_id: true, received_count: 2, ..HeaderFindings::NOTHING }
        );
    }

    #[test]
    fn a_line_without_end_and_without_a_colon_is_no_field() {
        let long = "x".repeat(10_000);
        assert_eq!(scan(format!("Date: now\r\n{long}\r\n").as_bytes()).separator_at, Some(11));
        assert_eq!(
            scan(format!("Subject: {long}\r\nDate: now\r\n\r\n").as_bytes()).separator_at,
            None
        );
    }

    #[test]
    fn values_of_message_id_and_date_are_checked_also_when_they_are_folded() {
        for (header, invalid) in [
            ("Message-ID: <a@b>\r\nDate: 22 Nov 2026 01:52 GMT", (false, false)),
            ("Message-ID:\r\n <a@b>\r\nDate: Sun, 22 Nov 2026\r\n 01:52:00 +0000", (false, false)),
            ("Message-ID: a@b\r\nDate: today", (true, true)),
            ("Message-ID:\r\nDate:", (true, true)),
            ("Date: today\r\nDate: 22 Nov 2026 01:52 GMT", (false, true)),
            ("Subject: x", (false, false)),
        ] {
            for message in
                [header.to_owned(), format!("{header}\r\n\r\n"), format!("{header}\r\nbody")]
            {
                let findings = scan(message.as_bytes());
                assert_eq!(
                    (findings.invalid_message_id, findings.invalid_date),
                    invalid,
                    "{message:?}"
                );
            }
        }
        let long = format!("Message-ID: <{}@b>\r\n\r\n", "a".repeat(2_000));
        assert!(scan(long.as_bytes()).invalid_message_id, "longer than a line may be");
    }

    #[test]
    fn other_oddities_are_found_in_the_header_only() {
        let long = "x".repeat(990);
        for (message, expected) in [
            (
                "From: a@b\r\nBCC: c@d\r\n\r\n".to_owned(),
                HeaderFindings { has_from: true, has_bcc: true, ..NOTHING },
            ),
            ("resent-bcc: c@d".into(), HeaderFindings { has_bcc: true, ..NOTHING }),
            (
                "Subject: gr\u{fc}n\r\n\r\n".into(),
                HeaderFindings { has_eight_bit: true, ..NOTHING },
            ),
            ("Subject:\r\n gr\u{fc}n".into(), HeaderFindings { has_eight_bit: true, ..NOTHING }),
            (format!("A: {long}12345\r\n\r\n"), NOTHING),
            (format!("A: {long}123456\r\n\r\n"), HeaderFindings { has_long_line: true, ..NOTHING }),
            (format!("A: b\r\n\r\nBcc: c\r\ngr\u{fc}n {long}{long}"), NOTHING),
            (
                format!("A: b\r\ngr\u{fc}n {long}{long}"),
                HeaderFindings { separator_at: Some(6), ..NOTHING },
            ),
        ] {
            assert_eq!(scan(message.as_bytes()), expected, "{message:?}");
        }
    }

    const NOTHING: HeaderFindings = HeaderFindings::NOTHING;

    #[test]
    fn it_is_known_whether_a_line_is_part_of_a_field() {
        for (start, within) in [
            ("", false),
            ("Subject", false),
            ("Subject:", true),
            ("Subject: x\r\n", false),
            ("Subject: x\r\n y", true),
            ("hello", false),
            ("Subject: x\r\n\r\na: b", false),
            ("hello\r\na: b", false),
        ] {
            let mut scan = HeaderScan::new();
            scan.feed(start.as_bytes());
            assert_eq!(scan.is_within_field(), within, "{start:?}");
        }
    }
}
