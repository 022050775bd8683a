//! The parts of a message (RFC 2045, 2046): their types, names and sizes, read as the message passes.
//!
//! Rule: whatever comes in has an outcome, and its memory is bounded: one line, one header section, a list of parts, and
//! of one part its beginning. What is nested deeper than is looked into is a part itself. Must not know who reads it.

use serde::{Deserialize, Serialize};

use super::{
    charset, encoded_word, encoding,
    header::{HEADER_BYTES_MAX, Header},
    parameters,
    transfer::Decoder,
};

/// Parts that are listed; of more the number.
const PARTS_MAX: usize = 100;
/// How deep parts may lie in each other.
const DEPTH_MAX: usize = 12;
/// Octets of a line that are looked at as one; it is longer than any boundary.
const LINE_BYTES_MAX: usize = 1_024;
/// Octets of a boundary; RFC 2046 section 5.1.1 allows 70.
const BOUNDARY_BYTES_MAX: usize = 250;
/// Characters of a type and of a name that are kept.
const TYPE_MAX: usize = 100;
const NAME_MAX: usize = 255;

/// A part that has no parts itself. Its fields are those of the admin API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its place, as IMAP numbers it: `2.1` is the first part of the second.
    pub number: String,
    /// Such as `text/plain`, in small letters.
    pub media_type: String,
    /// The name of its file.
    pub name: Option<String>,
    /// Whether it asks to be a file of its own, and not to be shown.
    pub is_attachment: bool,
    /// Octets of what it holds.
    pub size_bytes: u64,
    /// The charset of its text, which is given out in UTF-8.
    #[serde(skip)]
    charset: Option<String>,
}

/// Of which part the beginning is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The first that is plain text to be shown.
    FirstText,
    /// The one of this number.
    Part(String),
}

/// What was found in a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its parts, in their order.
    pub parts: Vec<Part>,
    /// How many more there are.
    pub more: u64,
    /// The beginning of one of them.
    pub kept: Option<PartText>,
}

/// The beginning of a part, in the same form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartText {
    /// Which.
    pub part: Part,
    /// What it says.
    pub text: String,
    /// Whether there is more of it.
    pub is_cut: bool,
}

/// A reader of a message that passes block by block.
#[derive(Debug)]
pub struct PartScan {
    line: Vec<u8>,
    /// The beginning of the line has been dealt with.
    is_within_line: bool,
    state: State,
    levels: Vec<Level>,
    keep: Keep,
    keep_max: usize,
    kept: Option<(Part, Vec<u8>)>,
    parts: Vec<Part>,
    more: u64,
}

#[derive(Debug)]
enum State {
    Header(Vec<u8>),
    Leaf(Leaf),
    /// Text that belongs to no part.
    Between,
}

/// A part that has parts.
#[derive(Debug)]
struct Level {
    boundary: Vec<u8>,
    number: String,
    children: u64,
}

#[derive(Debug)]
struct Leaf {
    part: Part,
    decoder: Decoder,
    /// The end of its last line, which belongs to the boundary when one follows.
    line_end: Vec<u8>,
    kept: Option<Vec<u8>>,
}

impl PartScan {
    /// Keeps up to so many octets of one part.
    #[must_use]
    pub fn new(keep: Keep, keep_max: usize) -> Self {
        Self {
            line: Vec::new(),
            is_within_line: false,
            state: State::Header(Vec::new()),
            levels: Vec::new(),
            keep,
            keep_max,
            kept: None,
            parts: Vec::new(),
            more: 0,
        }
    }

    /// The next octets of the message.
    pub fn push(&mut self, block: &[u8]) {
        for piece in block.split_inclusive(|octet| *octet == b'\n') {
            for piece in piece.chunks(LINE_BYTES_MAX) {
                self.line.extend_from_slice(piece);
                if self.line.len() >= LINE_BYTES_MAX || piece.ends_with(b"\n") {
                    self.line_is_there();
                }
            }
        }
    }

    /// Takes the octets that were kept so far, so that a part of any length passes through a small room.
    #[must_use]
    pub(crate) fn take_kept(&mut self) -> Vec<u8> {
        let kept = match &mut self.state {
            State::Leaf(Leaf { kept: Some(octets), .. }) => Some(octets),
            _ => self.kept.as_mut().map(|(_, octets)| octets),
        };
        kept.map(std::mem::take).unwrap_or_default()
    }

    /// The same, at the end of the message.
    #[must_use]
    pub fn take_last(mut self) -> Vec<u8> {
        self.end();
        self.take_kept()
    }

    fn end(&mut self) {
        if !self.line.is_empty() {
            self.line_is_there();
        }
        if let State::Header(_) = &self.state {
            self.begin_body();
        }
        self.end_leaf(true);
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> Found {
        self.end();
        let kept = self.kept.map(|(part, mut octets)| {
            let is_cut = octets.len() > self.keep_max;
            octets.truncate(self.keep_max);
            PartText { text: text(part.charset.as_deref(), &octets), part, is_cut }
        });
        Found { parts: self.parts, more: self.more, kept }
    }

    fn line_is_there(&mut self) {
        let line = std::mem::take(&mut self.line);
        let ends = line.ends_with(b"\n");
        let begins = !std::mem::replace(&mut self.is_within_line, !ends);
        if begins && let Some((level, is_last)) = self.boundary(&line) {
            if let State::Header(_) = &self.state {
                self.begin_body();
            }
            self.end_leaf(false);
            self.levels.truncate(level + usize::from(!is_last));
            self.state = if is_last { State::Between } else { State::Header(Vec::new()) };
            if let Some(level) = self.levels.last_mut().filter(|_| !is_last) {
                level.children += 1;
            }
        } else {
            self.pass(&line, begins, ends);
        }
        // The buffer serves for the next line.
        self.line = line;
        self.line.clear();
    }

    fn pass(&mut self, line: &[u8], begins: bool, ends: bool) {
        match &mut self.state {
            State::Header(_)
                if begins && ends && line.iter().all(|octet| b"\r\n".contains(octet)) =>
            {
                self.begin_body();
            }
            State::Header(header) => {
                if header.len() + line.len() <= HEADER_BYTES_MAX {
                    header.extend_from_slice(line);
                }
            }
            State::Leaf(leaf) => leaf.push(line, ends, self.keep_max),
            State::Between => {}
        }
    }

    /// Which of the open parts goes on or ends with this line.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let line = line.strip_prefix(b"--")?.trim_ascii_end();
        let levels = self.levels.iter().enumerate().rev();
        let found = levels.filter_map(|(number, level)| {
            let rest = line.strip_prefix(level.boundary.as_slice())?;
            match rest {
                b"" => Some((number, false)),
                b"--" => Some((number, true)),
                _ => None,
            }
        });
        found.into_iter().next()
    }

    fn begin_body(&mut self) {
        let State::Header(header) = std::mem::replace(&mut self.state, State::Between) else {
            return;
        };
        let number = match self.levels.last() {
            None => String::new(),
            Some(level) if level.number.is_empty() => level.children.to_string(),
            Some(level) => format!("{}.{}", level.number, level.children),
        };
        let described = Described::read(&header);
        let is_whole = self.levels.is_empty();
        if let Some(boundary) = described.boundary.filter(|_| self.levels.len() < DEPTH_MAX) {
            self.levels.push(Level { boundary, number, children: 0 });
            return;
        }
        if self.parts.len() >= PARTS_MAX {
            self.more += 1;
            return;
        }
        let number = if is_whole { "1".to_owned() } else { number };
        let part = Part { number, ..described.part };
        let is_wanted = self.kept.is_none()
            && match &self.keep {
                Keep::FirstText => part.media_type == "text/plain" && !part.is_attachment,
                Keep::Part(number) => part.number == *number,
            };
        let kept = is_wanted.then(Vec::new);
        let decoder = Decoder::of(&described.encoding);
        self.state = State::Leaf(Leaf { part, decoder, line_end: Vec::new(), kept });
    }

    fn end_leaf(&mut self, is_end: bool) {
        match std::mem::replace(&mut self.state, State::Between) {
            State::Leaf(mut leaf) => {
                if is_end {
                    leaf.push(b"", false, self.keep_max);
                }
                self.kept = self.kept.take().or_else(|| Some((leaf.part.clone(), leaf.kept?)));
                self.parts.push(leaf.part);
            }
            other => self.state = other,
        }
    }
}

impl Leaf {
    fn push(&mut self, line: &[u8], ends: bool, keep_max: usize) {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        let content = if ends { content.strip_suffix(b"\r").unwrap_or(content) } else { content };
        let mut out = Vec::with_capacity(line.len() + 2);
        self.decoder.line_end(&self.line_end, &mut out);
        self.decoder.text(content, ends, &mut out);
        self.line_end = line[content.len()..].to_vec();
        self.part.size_bytes += out.len() as u64;
        if let Some(kept) = &mut self.kept {
            // One octet more than is kept says that there is more.
            let room = (keep_max + 1).saturating_sub(kept.len());
            kept.extend_from_slice(&out[..out.len().min(room)]);
        }
    }
}

/// What the header section of a part says of it.
struct Described {
    part: Part,
    encoding: String,
    boundary: Option<Vec<u8>>,
}

impl Described {
    fn read(header: &[u8]) -> Self {
        let header = Header::read(header, 0);
        let value = |name: &str| {
            let field = header.iter().flat_map(Header::fields).find(|field| field.is(name));
            field.map_or_else(String::new, |field| encoding::text_of(field.value()))
        };
        let (content_type, disposition) = (value("Content-Type"), value("Content-Disposition"));
        let media_type = media_type(&content_type);
        let name = parameters::value_of(&disposition, "filename")
            .or_else(|| parameters::value_of(&content_type, "name"));
        let name = name.map(|name| encoded_word::decoded(&name).chars().take(NAME_MAX).collect());
        let boundary = parameters::value_of(&content_type, "boundary");
        let boundary = boundary.map(|boundary| boundary.trim_end().as_bytes().to_vec());
        let boundary = boundary.filter(|boundary| {
            media_type.starts_with("multipart/")
                && (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len())
        });
        let part = Part {
            name,
            is_attachment: kind(&disposition) == "attachment",
            charset: parameters::value_of(&content_type, "charset"),
            media_type,
            ..Part::default()
        };
        Self { part, encoding: kind(&value("Content-Transfer-Encoding")), boundary }
    }
}

/// What stands before the parameters, without comments.
fn kind(value: &str) -> String {
    let kind = value.split([';', '(']).next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

/// What nobody understands is plain text (RFC 2045 section 5.2).
fn media_type(value: &str) -> String {
    let kind = kind(value);
    let is_token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&octet))
    };
    let parts = kind.split_once('/');
    let is_type = parts.is_some_and(|(one, other)| is_token(one) && is_token(other));
    if is_type && kind.len() <= TYPE_MAX { kind } else { "text/plain".to_owned() }
}

/// Octets as text; without a known charset UTF-8 where they are that, and otherwise what most others are.
fn text(charset: Option<&str>, octets: &[u8]) -> String {
    let is_utf8 = || match std::str::from_utf8(octets) {
        Ok(_) => true,
        // What was cut off may have ended within a character.
        Err(error) => error.error_len().is_none(),
    };
    let known = charset.and_then(|name| charset::known(name.as_bytes()));
    let usual = || if is_utf8() { encoding_rs::UTF_8 } else { encoding_rs::WINDOWS_1252 };
    charset::decoded(known.unwrap_or_else(usual), octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(message: &str, keep: Keep) -> Found {
        let whole = read(message.as_bytes(), keep.clone(), usize::MAX);
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(read(message.as_bytes(), keep.clone(), size), whole, "in blocks of {size}");
        }
        whole
    }

    fn read(message: &[u8], keep: Keep, block: usize) -> Found {
        let mut scan = PartScan::new(keep, 1_000);
        message.chunks(block).for_each(|block| scan.push(block));
        scan.finish()
    }

    fn told(found: &Found) -> Vec<String> {
        let line = |part: &Part| {
            let name = part.name.as_deref().unwrap_or("-");
            let kind = if part.is_attachment { " attached" } else { "" };
            format!("{} {} {name} {}{kind}", part.number, part.media_type, part.size_bytes)
        };
        found.parts.iter().map(line).collect()
    }

    const LETTER: &str = "From: a@b.example\r\nContent-Type: multipart/mixed; boundary=\"out er\"\r\n\r\n\
        not shown\r\n--out er  \r\nContent-Type: multipart/alternative;\r\n boundary=in\r\n\r\n\
        --in\r\nContent-Type: TEXT/Plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        gr=FCn =\r\nund rot\r\n--in\r\nContent-Type: text/html\r\n\r\n<b>x</b>\r\n\r\n--in--\r\nnot shown\r\n\
        --out er\r\nContent-Type: application/pdf; name=old.pdf\r\nContent-Transfer-Encoding: base64\r\n\
        Content-Disposition: attachment; filename*=utf-8''Gr%C3%B6%C3%9Fe.pdf\r\n\r\naGVsbG8=\r\n\
        --out er\r\nContent-Disposition: attachment;\r\n\tfilename=\"=?utf-8?q?n=C3=B6tes?=.txt\"\r\n\r\nx\
        \r\n--out er--\r\n--out er\r\n\r\nnot a part";

    #[test]
    fn every_part_has_its_place_its_type_its_name_and_its_size() {
        let found = found(LETTER, Keep::FirstText);
        assert_eq!(
            told(&found),
            [
                "1.1 text/plain - 12",
                "1.2 text/html - 10",
                "2 application/pdf Gr\u{f6}\u{df}e.pdf 5 attached",
                "3 text/plain n\u{f6}tes.txt 1 attached",
            ]
        );
        let kept = found.kept.expect("a text");
        assert_eq!((kept.text.as_str(), kept.is_cut), ("gr\u{fc}n und rot", false));
        let html = self::found(LETTER, Keep::Part("1.2".to_owned())).kept.expect("the part");
        assert_eq!(html.text, "<b>x</b>\r\n");
        assert_eq!(self::found(LETTER, Keep::Part("9".to_owned())).kept, None);
    }

    #[test]
    fn a_part_goes_out_in_the_form_of_version_1_of_the_api() {
        let kept = found(LETTER, Keep::Part("1.1".to_owned())).kept.expect("the part");
        assert_eq!(
            serde_json::to_string(&kept).expect("plain data"),
            "{\"part\":{\"number\":\"1.1\",\"media_type\":\"text/plain\",\"name\":null,\"is_attachment\":false,\
             \"size_bytes\":12},\"text\":\"gr\u{fc}n und rot\",\"is_cut\":false}"
        );
    }

    #[test]
    fn a_part_passes_octet_by_octet_in_blocks_of_any_size() {
        let octets: Vec<u8> = (0..=255_u8).cycle().take(3_000).collect();
        let encoded: String = octets.iter().map(|octet| format!("={octet:02X}")).collect();
        let lines: Vec<&str> =
            encoded.as_bytes().chunks(60).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let message = format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n\
             Content-Type: application/pdf\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}\r\n--b--\r\n",
            lines.join("=\r\n")
        );
        for block in [1, 7, 64, 100_000] {
            let mut scan = PartScan::new(Keep::Part("2".into()), 200_000);
            let mut passed = Vec::new();
            for block in message.as_bytes().chunks(block) {
                scan.push(block);
                passed.extend(scan.take_kept());
            }
            passed.extend(scan.take_last());
            assert!(passed == octets, "in blocks of {block}: {} octets", passed.len());
        }
    }

    #[test]
    fn a_message_without_any_structure_is_a_text() {
        for (message, size, text) in [
            ("Subject: x\r\n\r\nhello\r\n", 7, "hello\r\n"),
            ("Subject: x\n\nhello", 5, "hello"),
            ("Subject: x", 0, ""),
            ("", 0, ""),
            ("\r\n", 0, ""),
            ("Content-Type: nonsense\r\n\r\n--\r\n", 4, "--\r\n"),
            ("Content-Type: text/plain\r\n\r\nb\u{f6}se", 5, "b\u{f6}se"),
        ] {
            let found = found(message, Keep::FirstText);
            assert_eq!(told(&found), [format!("1 text/plain - {size}")], "{message:?}");
            assert_eq!(found.kept.expect("a text").text, text, "{message:?}");
        }
        let latin = read(b"Subject: x\r\n\r\nb\xf6se", Keep::FirstText, 3);
        assert_eq!(latin.kept.expect("a text").text, "b\u{f6}se");
        let long = read("Subject: x\r\n\r\n".to_owned().as_bytes(), Keep::FirstText, 9);
        assert!(!long.kept.expect("a text").is_cut);
    }

    #[test]
    fn hostile_structures_cost_a_bounded_list() {
        let deep: String = (0..1_000)
            .map(|level| {
                format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n")
            })
            .collect();
        let found = read(deep.as_bytes(), Keep::FirstText, 64);
        assert!((1..=DEPTH_MAX).contains(&found.parts.len()), "{:?}", told(&found));
        assert!(found.parts.iter().all(|part| part.number.len() < 40));

        let many = format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}",
            "--b\r\n\r\nx\r\n".repeat(50_000)
        );
        let found = read(many.as_bytes(), Keep::FirstText, 64 * 1024);
        assert_eq!((found.parts.len(), found.more), (PARTS_MAX, 50_000 - PARTS_MAX as u64));

        let name = format!(
            "Content-Type: text/plain; name=\"{}\"\r\n\r\n{}",
            "n".repeat(100_000),
            "y".repeat(5_000)
        );
        let found = read(name.as_bytes(), Keep::FirstText, 1_000);
        assert_eq!(found.parts[0].name.as_ref().map(String::len), Some(NAME_MAX));
        let kept = found.kept.expect("a text");
        assert_eq!((kept.text.len(), kept.is_cut, found.parts[0].size_bytes), (1_000, true, 5_000));
    }
}
