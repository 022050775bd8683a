//! The header section of a message: its fields by byte range, and edits that keep every other byte.
//!
//! Rule: reading never fails and never changes anything; what is not edited comes out as it came in, octet by
//! octet. The scanner that watches a message pass by lives in the layer below, because the session counts
//! Received fields with it; this is its name for everybody who works on messages.
//! Must not know which field should be edited, or why: that is [`super::rewrite`].

use std::borrow::Cow;

use memchr::memchr;
use serde::{Deserialize, Serialize};

pub(crate) use crate::smtp::header_scan::{HeaderFindings, HeaderScan};

/// Octets of a header section that we edit. The longest seen in practice (hundreds of addresses, many
/// hops) have 100 KiB; one section is in memory for each upstream connection.
pub const HEADER_BYTES_MAX: usize = 256 * 1024;
/// Fields of a header section that we edit: each costs about 100 octets of memory.
pub(crate) const FIELDS_MAX: usize = 4_096;

/// Which fields of the client were replaced at acceptance: they go out under another name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Message-ID, as X-Original-Message-ID.
    pub message_id: bool,
    /// Date, as X-Original-Date.
    pub date: bool,
}

/// The header section of a stored message, without the empty line behind it.
#[derive(Clone, Debug, Default)]
pub struct HeaderSection {
    /// Its octets: the fields added at acceptance, then the client's.
    pub bytes: Vec<u8>,
    /// How many of them were added at acceptance.
    pub added_bytes: usize,
    /// Which of the client's fields those added replace.
    pub replaced: Replaced,
}

/// A header section with the edits that were asked for.
#[derive(Debug)]
pub struct Header<'a> {
    fields: Vec<Field<'a>>,
    /// New fields, and before which field they go.
    inserted: Vec<u8>,
    insert_at: usize,
}

/// One field, with its continuation lines. A line that is not a field (only a damaged header section has one)
/// has an empty name and passes unchanged.
#[derive(Debug)]
pub struct Field<'a> {
    /// All of it, with its last line end.
    original: &'a [u8],
    name: &'a [u8],
    /// What follows the colon, without the last line end.
    value: &'a [u8],
    removed: bool,
    new_name: Option<&'static str>,
    new_value: Option<Vec<u8>>,
}

impl<'a> Header<'a> {
    /// Reads the lines before the empty line. New fields will go behind the first `added_bytes` octets.
    /// `None` when there is more than we edit.
    #[must_use]
    pub fn read(bytes: &'a [u8], added_bytes: usize) -> Option<Self> {
        if bytes.len() > HEADER_BYTES_MAX {
            return None;
        }
        let (mut fields, mut insert_at): (Vec<Field<'a>>, usize) = (Vec::new(), 0);
        let (mut start, mut end) = (0, 0);
        while end < bytes.len() {
            end += memchr(b'\n', &bytes[end..]).map_or(bytes.len() - end, |position| position + 1);
            let continued = bytes.get(end).is_some_and(|octet| matches!(octet, b' ' | b'\t'));
            if continued {
                continue;
            }
            if fields.len() == FIELDS_MAX {
                return None;
            }
            fields.push(Field::read(&bytes[start..end]));
            if end <= added_bytes {
                insert_at = fields.len();
            }
            start = end;
        }
        Some(Self { fields, inserted: Vec::new(), insert_at })
    }

    /// Reads the fields with which a message begins, each of them whole. `complete` says that there is no more of the
    /// message. The header section ends where a line is not a field, whether or not an empty line says so.
    #[must_use]
    pub(crate) fn of_beginning(message: &'a [u8], complete: bool) -> Option<Self> {
        let beginning = &message[..message.len().min(HEADER_BYTES_MAX)];
        let mut line_start = 0;
        let ended = end_of_section(beginning, &mut line_start).is_some();
        let section = if ended { &beginning[..line_start] } else { beginning };
        let mut header = Self::read(section, 0)?;
        let lines = header.fields.len();
        let broken_at = header.fields.iter().position(|field| field.name.is_empty());
        header.fields.truncate(broken_at.unwrap_or(lines));
        if !ended && !complete && broken_at.is_none() {
            // The last one may go on.
            header.fields.pop();
        }
        Some(header)
    }

    /// The fields in their order.
    #[must_use]
    pub fn fields(&self) -> &[Field<'a>] {
        &self.fields
    }

    /// The same, to edit them.
    pub fn fields_mut(&mut self) -> &mut [Field<'a>] {
        &mut self.fields
    }

    /// Whether a field of this name goes out.
    #[must_use]
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.is(name))
    }

    /// Adds a field behind those that were added at acceptance, and behind what was inserted before. The
    /// value must hold no line end but folds.
    pub fn insert(&mut self, name: &str, value: &str) {
        self.inserted.extend_from_slice(name.as_bytes());
        self.inserted.extend_from_slice(b": ");
        self.inserted.extend_from_slice(value.as_bytes());
        self.inserted.extend_from_slice(b"\r\n");
    }

    /// The header section with all edits. It ends with CRLF unless it is empty.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let length: usize = self.fields.iter().map(|field| field.original.len()).sum();
        let mut bytes = Vec::with_capacity(length + self.inserted.len() + 2);
        for (position, field) in self.fields.iter().enumerate() {
            if position == self.insert_at {
                bytes.extend_from_slice(&self.inserted);
            }
            field.write(&mut bytes);
        }
        if self.insert_at >= self.fields.len() {
            bytes.extend_from_slice(&self.inserted);
        }
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }
}

impl<'a> Field<'a> {
    fn read(original: &'a [u8]) -> Self {
        let line_end =
            if original.ends_with(b"\r\n") { 2 } else { usize::from(original.ends_with(b"\n")) };
        let content = &original[..original.len() - line_end];
        let mut field = Self {
            original,
            name: b"",
            value: content,
            removed: false,
            new_name: None,
            new_value: None,
        };
        if let Some(colon) = memchr(b':', content) {
            // Blanks before the colon are the obsolete syntax of RFC 5322 section 4.5.
            let name = content[..colon].trim_ascii_end();
            if !name.is_empty() && name.iter().all(u8::is_ascii_graphic) {
                field.name = name;
                field.value = &content[colon + 1..];
            }
        }
        field
    }

    /// Whether it still goes out under this name, whatever the case.
    #[must_use]
    pub(crate) fn is(&self, name: &str) -> bool {
        !self.removed && self.name().eq_ignore_ascii_case(name)
    }

    /// Its name; empty for a line that is not a field.
    #[must_use]
    pub fn name(&self) -> Cow<'a, str> {
        self.new_name.map_or_else(|| String::from_utf8_lossy(self.name), Cow::Borrowed)
    }

    /// What follows the colon, blanks and folds included, without the last line end.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.new_value.as_deref().unwrap_or(self.value)
    }

    /// All its octets as they came, with the last line end.
    #[must_use]
    pub fn original(&self) -> &'a [u8] {
        self.original
    }

    /// Whether it does not go out.
    #[must_use]
    pub(crate) fn is_removed(&self) -> bool {
        self.removed
    }

    /// Leaves it out.
    pub fn remove(&mut self) {
        self.removed = true;
    }

    /// Gives it another name; its value stays.
    pub fn rename(&mut self, name: &'static str) {
        self.new_name = Some(name);
    }

    /// Gives it another value, which begins with the blank after the colon and has no line end but folds.
    pub fn set_value(&mut self, value: impl Into<Vec<u8>>) {
        self.new_value = Some(value.into());
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match (self.removed, self.new_name, &self.new_value) {
            (true, _, _) => {}
            (false, None, None) => bytes.extend_from_slice(self.original),
            (false, _, _) => {
                let name = self.new_name.map_or(self.name, str::as_bytes);
                bytes.extend_from_slice(name);
                if !name.is_empty() {
                    bytes.push(b':');
                }
                bytes.extend_from_slice(self.value());
                bytes.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// What was edited: each word once, in the order of the edits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits(Vec<&'static str>);

impl Edits {
    /// Notes an edit.
    pub(super) fn note(&mut self, word: &'static str) {
        if !self.0.contains(&word) {
            self.0.push(word);
        }
    }

    /// Whether there were none.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Edits {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0.join(", "))
    }
}

/// Looks for the empty line that ends a header section. `line_start` is where a line begins and is moved
/// on, so that the search can go on when more bytes have come. Returns the octet behind the empty line,
/// which then begins at `line_start`.
#[must_use]
pub(crate) fn end_of_section(bytes: &[u8], line_start: &mut usize) -> Option<usize> {
    while let Some(length) = memchr(b'\n', &bytes[*line_start..]) {
        let end = *line_start + length + 1;
        if bytes[*line_start..end].iter().all(|octet| matches!(octet, b'\r' | b'\n')) {
            return Some(end);
        }
        *line_start = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTION: &[u8] =
        b"Received: x\r\n\tby y\r\nSubject : a\r\n b\r\nTo:c\r\nno field\r\nX-Empty:\r\nLast: z";

    fn names(header: &Header<'_>) -> Vec<String> {
        header.fields().iter().map(|field| field.name().into_owned()).collect()
    }

    #[test]
    fn fields_are_read_with_their_folds_and_obsolete_blanks() {
        let header = Header::read(SECTION, 0).unwrap();
        assert_eq!(names(&header), ["Received", "Subject", "To", "", "X-Empty", "Last"]);
        let values: Vec<&[u8]> = header.fields().iter().map(Field::value).collect();
        let expected: [&[u8]; 6] = [b" x\r\n\tby y", b" a\r\n b", b"c", b"no field", b"", b" z"];
        assert_eq!(values, expected);
    }

    #[test]
    fn each_edit_changes_its_own_field_and_nothing_else() {
        let mut header = Header::read(SECTION, 0).unwrap();
        header.insert("From", "<a@b>");
        header.fields_mut()[1].set_value(" new");
        header.fields_mut()[2].rename("X-Original-To");
        header.fields_mut()[4].remove();
        assert_eq!(
            header.finish().escape_ascii().to_string(),
            r"From: <a@b>\r\nReceived: x\r\n\tby y\r\nSubject: new\r\nX-Original-To:c\r\nno field\r\nLast: z\r\n"
        );
    }

    #[test]
    fn what_is_inserted_goes_behind_the_fields_of_the_relay() {
        for (added_bytes, expected) in
            [(0, "N: 1\r\nA: 1\r\nB: 2\r\n"), (6, "A: 1\r\nN: 1\r\nB: 2\r\n")]
        {
            let mut header = Header::read(b"A: 1\r\nB: 2\r\n", added_bytes).unwrap();
            header.insert("N", "1");
            assert_eq!(String::from_utf8(header.finish()).unwrap(), expected);
        }
        let mut header = Header::read(b"A: 1\r\n", 6).unwrap();
        header.insert("N", "1");
        assert_eq!(header.finish(), b"A: 1\r\nN: 1\r\n");
    }

    #[test]
    fn more_than_the_limits_is_left_alone() {
        assert!(Header::read(&vec![b'x'; HEADER_BYTES_MAX + 1], 0).is_none());
        assert!(Header::read(&b"a:\r\n".repeat(FIELDS_MAX), 0).is_some());
        assert!(Header::read(&b"a:\r\n".repeat(FIELDS_MAX + 1), 0).is_none());
    }

    /// Bytes that are rich in what separates fields, lines and words.
    fn noise(random: &mut fastrand::Rng) -> Vec<u8> {
        const ALPHABET: &[u8] = b"\r\r\n\n\n: \t\0ab<>@,\";()\\=?\xc3\xa9\xff";
        (0..random.usize(0..120)).map(|_| ALPHABET[random.usize(..ALPHABET.len())]).collect()
    }

    #[test]
    fn edits_keep_every_other_byte_of_whatever_is_read() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let bytes = noise(&mut random);
            let untouched = Header::read(&bytes, random.usize(0..=bytes.len())).unwrap();
            let whole: Vec<u8> =
                untouched.fields().iter().flat_map(|field| field.original().to_vec()).collect();
            assert_eq!(whole, bytes, "the fields are the section");
            let finished = untouched.finish();
            assert!(finished.starts_with(&bytes) && finished.len() <= bytes.len() + 2);

            let mut edited = Header::read(&bytes, 0).unwrap();
            let count = edited.fields().len();
            if count == 0 {
                continue;
            }
            let chosen = random.usize(..count);
            let others = |header: &Header<'_>, range: std::ops::Range<usize>| -> Vec<u8> {
                header.fields()[range].iter().flat_map(|field| field.original().to_vec()).collect()
            };
            let (before, after) = (others(&edited, 0..chosen), others(&edited, chosen + 1..count));
            match random.u8(..3) {
                0 => edited.fields_mut()[chosen].remove(),
                1 => edited.fields_mut()[chosen].rename("X-New"),
                _ => edited.fields_mut()[chosen].set_value(" new"),
            }
            let finished = edited.finish();
            assert!(finished.starts_with(&before), "{}", bytes.escape_ascii());
            let end = finished.strip_suffix(b"\r\n").unwrap_or(&finished);
            assert!(
                finished.ends_with(&after) || end.ends_with(&after),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn the_empty_line_is_found_however_the_bytes_come() {
        for (bytes, expected) in [
            (&b"a: b\r\n c\r\n\r\nbody"[..], Some((10, 12))),
            (b"\r\nbody", Some((0, 2))),
            (b"a: b\r\n\r\r\nbody", Some((6, 9))),
            (b"a: b\r\n \r\nc: d\r\n", None),
        ] {
            let mut line_start = 0;
            let found = (0..=bytes.len()).find_map(|length| {
                end_of_section(&bytes[..length], &mut line_start).map(|end| (line_start, end))
            });
            assert_eq!(found, expected, "{}", bytes.escape_ascii());
        }
    }
}
