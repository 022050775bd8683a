//! Replies of a server, and the one parser of them (RFC 5321 section 4.2): octets in, replies out.
//!
//! Rule: bounded in octets and lines however the octets come, and the code counts: no text makes a reply unreadable.
//! lettre's `Response` is not used, because it has no room for codes such as 571 and for text that is not
//! UTF-8, both of which servers send. Must not know what was asked.

use std::{borrow::Cow, fmt};

use memchr::memchr;
use thiserror::Error;

use crate::text;

/// Octets of a line that are kept; RFC 5321 section 4.5.3.1.5 asks for 512. The rest of a line is passed over.
pub const LINE_OCTETS_MAX: usize = 4 * 1024;
/// Lines of a reply: more than any EHLO has.
pub const LINES_MAX: usize = 128;
/// Octets of a reply, with what was passed over.
pub const REPLY_OCTETS_MAX: usize = 32 * 1024;
/// Characters of a reply that are repeated to a person.
const SHOWN_MAX: usize = 300;
/// Octets of something else that are shown.
const STRANGE_SHOWN_MAX: usize = 60;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// The text of each line. Octets that are not UTF-8 are written as `\xe4`.
    pub lines: Vec<String>,
}

/// Why octets are not a reply.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// A line without a code.
    #[error("\"{0}\"")]
    NoCode(String),
    /// Lines that contradict each other.
    #[error("a reply whose lines say both {0} and {1}")]
    Contradiction(u16, u16),
    /// More lines than a reply has.
    #[error("a reply of more than {LINES_MAX} lines")]
    Lines,
    /// More octets than a reply has.
    #[error("more than {REPLY_OCTETS_MAX} octets without the end of a reply")]
    Octets,
}

/// Takes replies out of octets. After an error nothing that follows can be trusted.
#[derive(Debug, Default)]
pub struct ReplyParser {
    /// The beginning of the present line.
    line: Vec<u8>,
    /// Octets of the present reply so far.
    octets: usize,
    code: Option<u16>,
    lines: Vec<String>,
}

impl ReplyParser {
    /// Takes octets off `input` up to the end of one reply, or all of them when the reply goes on.
    ///
    /// # Errors
    /// When they are not a reply, or more than one may have.
    pub fn push(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, ReplyError> {
        while !input.is_empty() {
            let end = memchr(b'\n', input);
            let (part, rest) = input.split_at(end.map_or(input.len(), |end| end + 1));
            self.octets += part.len();
            if self.octets > REPLY_OCTETS_MAX {
                return Err(ReplyError::Octets);
            }
            *input = rest;
            let room = LINE_OCTETS_MAX - self.line.len();
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if end.is_some()
                && let Some(reply) = self.end_line()?
            {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Whether no reply has begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.octets == 0
    }

    /// The present line is whole. CRLF ends it, and LF alone as well.
    fn end_line(&mut self) -> Result<Option<Reply>, ReplyError> {
        let line = self.line.trim_ascii_end();
        let strange = || ReplyError::NoCode(shown(line));
        let (code, more, text) = split(line).ok_or_else(strange)?;
        // Some servers vary the last digit; only the class decides about mail.
        if let Some(before) = self.code.filter(|before| before / 100 != code / 100) {
            return Err(ReplyError::Contradiction(before, code));
        }
        if self.lines.len() == LINES_MAX {
            return Err(ReplyError::Lines);
        }
        self.lines.push(legible(text));
        self.line.clear();
        if more {
            self.code = Some(code);
            return Ok(None);
        }
        let Self { lines, line, .. } = std::mem::take(self);
        // The next reply is read into the same room.
        self.line = line;
        Ok(Some(Reply { code, lines }))
    }
}

/// Octets read at a time: more than most replies have.
const READ_OCTETS: usize = 4 * 1024;

/// What was received of a server, and the replies in it.
#[derive(Debug)]
pub struct ReplyBuffer {
    /// From `start` to `end` it is not used yet.
    received: Box<[u8; READ_OCTETS]>,
    start: usize,
    end: usize,
    parser: ReplyParser,
}

impl Default for ReplyBuffer {
    fn default() -> Self {
        let parser = ReplyParser::default();
        Self { received: Box::new([0; READ_OCTETS]), start: 0, end: 0, parser }
    }
}

impl ReplyBuffer {
    /// The next reply; `None` when more must be received for it, into [`Self::space`].
    ///
    /// # Errors
    /// As [`ReplyParser::push`].
    pub fn reply(&mut self) -> Result<Option<Reply>, ReplyError> {
        let mut unused = &self.received[self.start..self.end];
        let parsed = self.parser.push(&mut unused);
        self.start = self.end - unused.len();
        parsed
    }

    /// Where to read to. What is not used yet would be lost: first [`Self::reply`] must have found nothing.
    pub fn space(&mut self) -> &mut [u8] {
        (self.start, self.end) = (0, 0);
        &mut self.received[..]
    }

    /// So many octets were read to [`Self::space`].
    pub fn received(&mut self, count: usize) {
        (self.start, self.end) = (0, count.min(READ_OCTETS));
    }

    /// What was received and is not used yet.
    #[must_use]
    pub fn unused(&self) -> &[u8] {
        &self.received[self.start..self.end]
    }

    /// Whether a reply has begun and is not whole.
    #[must_use]
    pub fn is_within_a_reply(&self) -> bool {
        !self.parser.is_empty()
    }

    /// Whether everything that was received was used for whole replies.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unused().is_empty() && !self.is_within_a_reply()
    }
}

impl Reply {
    /// The reply that one line makes: for tests, and for what was never said aloud.
    #[must_use]
    pub fn of(line: &str) -> Option<Self> {
        let (code, _, text) = split(line.as_bytes())?;
        Some(Self { code, lines: vec![legible(text)] })
    }

    /// 2yz or 3yz.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }

    /// 4yz.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// Subject and detail of the enhanced status code (RFC 3463).
    #[must_use]
    pub fn enhanced(&self) -> Option<(u16, u16)> {
        let word = self.lines.first()?.split_whitespace().next()?;
        let mut parts = word.split('.');
        let class: u16 = parts.next()?.parse().ok()?;
        let (subject, detail) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        (parts.next().is_none() && class == self.code / 100).then_some((subject, detail))
    }

    /// The lines in one; an enhanced code that each of them repeats is kept once.
    #[must_use]
    pub fn joined(&self) -> Cow<'_, str> {
        if let [only] = &self.lines[..] {
            return Cow::Borrowed(only);
        }
        let first =
            self.lines.first().and_then(|line| line.split_whitespace().next()).unwrap_or_default();
        let mut joined = String::with_capacity(self.lines.iter().map(|line| line.len() + 1).sum());
        for (position, line) in self.lines.iter().enumerate() {
            let is_repeated = position > 0 && first.contains('.');
            let rest = line.strip_prefix(first).and_then(|rest| rest.strip_prefix(' '));
            if position > 0 {
                joined.push(' ');
            }
            joined.push_str(rest.filter(|_| is_repeated).unwrap_or(line));
        }
        Cow::Owned(joined)
    }
}

/// One line for a person. Nothing in it can steer a terminal.
impl fmt::Display for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.lines.join(" ");
        let shown = format!("{} {}", self.code, text::shorten(&text, SHOWN_MAX));
        formatter.write_str(shown.trim_end())
    }
}

/// Code, whether more lines follow, text. A code stands alone, or before a blank, or before a hyphen.
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_first_chunk::<3>()?;
    if !matches!(digits, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']) {
        return None;
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.split_first() {
        None => Some((code, false, &[])),
        Some((b' ' | b'\t', text)) => Some((code, false, text)),
        Some((b'-', text)) => Some((code, true, text)),
        Some(_) => None,
    }
}

/// The text, with what is not UTF-8 as its octets: they may be letters of another charset, which a person can guess.
fn legible(text: &[u8]) -> String {
    let mut legible = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        legible.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|octet| legible.push_str(&format!("\\x{octet:02x}")));
    }
    legible
}

fn shown(line: &[u8]) -> String {
    line[..line.len().min(STRANGE_SHOWN_MAX)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(mut input: &[u8]) -> Result<Vec<Reply>, ReplyError> {
        let (mut parser, mut replies) = (ReplyParser::default(), Vec::new());
        while !input.is_empty() {
            replies.extend(parser.push(&mut input)?);
        }
        assert!(parser.is_empty(), "a reply has no end");
        Ok(replies)
    }

    fn one(input: &[u8]) -> (u16, Vec<String>) {
        let mut replies = replies(input).unwrap();
        assert_eq!(replies.len(), 1);
        let Reply { code, lines } = replies.remove(0);
        (code, lines)
    }

    fn lines(code: u16, lines: &[&str]) -> (u16, Vec<String>) {
        (code, lines.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_reply_ends_with_the_line_that_has_no_hyphen() {
        assert_eq!(one(b"250-relay\r\n250 SIZE 5\r\n"), lines(250, &["relay", "SIZE 5"]));
        assert_eq!(replies(b"250 a\r\n354 b\r\n").unwrap().len(), 2, "pipelined");
    }

    #[test]
    fn replies_of_real_servers_are_read_though_they_are_not_as_the_document_has_them() {
        for (input, expected) in [
            (&b"220\r\n"[..], lines(220, &[""])),
            (b"250 \r\n", lines(250, &[""])),
            (b"250\n", lines(250, &[""])),
            (b"250-a\n250 b\n", lines(250, &["a", "b"])),
            (b"250-\r\n250\r\n", lines(250, &["", ""])),
            (b"250\tOK\r\n", lines(250, &["OK"])),
            (b"250 OK \r\r\n", lines(250, &["OK"])),
            (b"250-2.1.0 a\r\n251 2.1.5 b\r\n", lines(251, &["2.1.0 a", "2.1.5 b"])),
            (b"571 5.7.1 no\r\n", lines(571, &["5.7.1 no"])),
            (b"250 2.1.5 O\0K\r\n", lines(250, &["2.1.5 O\0K"])),
            (b"550 5.1.1 Empf\xe4nger\r\n", lines(550, &["5.1.1 Empf\\xe4nger"])),
            (b"250 Danke f\xfcr \xc3\xbc\r\n", lines(250, &["Danke f\\xfcr \u{fc}"])),
            (b"535 \xb5\xc7\xc2\xbc\r\n", lines(535, &["\\xb5\\xc7\u{bc}"])),
        ] {
            assert_eq!(one(input), expected, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn what_has_no_code_is_not_a_reply_and_is_shown_escaped() {
        for input in
            [&b"hello\r\n"[..], b"25\r\n", b"\r\n", b"250x\r\n", b"2500 a\r\n", b"150 a\r\n"]
        {
            assert!(matches!(replies(input), Err(ReplyError::NoCode(_))), "{input:?}");
        }
        let error = replies(b"\x16\x03\x01 \xff\n").unwrap_err();
        assert_eq!(error.to_string(), "\"\\x16\\x03\\x01 \\xff\"");
        let mixed = replies(b"250-2.1.5 OK\r\n550 5.1.1 OK\r\n").unwrap_err();
        assert_eq!(mixed, ReplyError::Contradiction(250, 550));
    }

    #[test]
    fn nothing_makes_a_reply_longer_than_its_limits() {
        let endless = b"220-".repeat(REPLY_OCTETS_MAX);
        assert_eq!(replies(&endless), Err(ReplyError::Octets));
        let many = b"250-x\r\n".repeat(LINES_MAX + 1);
        assert_eq!(replies(&many), Err(ReplyError::Lines));
        // Octet by octet as well, and without keeping more than a line.
        let mut parser = ReplyParser::default();
        let ended = (0..=REPLY_OCTETS_MAX).find(|_| parser.push(&mut &b"2"[..]).is_err());
        assert_eq!((ended, parser.line.len()), (Some(REPLY_OCTETS_MAX), LINE_OCTETS_MAX));
        // A line that is merely long keeps its code.
        let long = [&b"250 "[..], &b"x".repeat(20_000), b"\r\n"].concat();
        let (code, lines) = one(&long);
        assert_eq!((code, lines[0].len()), (250, LINE_OCTETS_MAX - 4));
    }

    #[test]
    fn the_octets_may_come_in_any_pieces() {
        let input = b"250-first\r\n250-\r\n250 last\r\n354 go\n";
        let whole = replies(input).unwrap();
        for size in 1..input.len() {
            let (mut parser, mut found) = (ReplyParser::default(), Vec::new());
            for mut piece in input.chunks(size) {
                while !piece.is_empty() {
                    found.extend(parser.push(&mut piece).unwrap());
                }
            }
            assert_eq!(found, whole, "pieces of {size}");
        }
    }

    #[test]
    fn a_buffer_gives_one_reply_after_the_other_and_keeps_what_is_behind_it() {
        let mut buffer = ReplyBuffer::default();
        let receive = |buffer: &mut ReplyBuffer, octets: &[u8]| {
            buffer.space()[..octets.len()].copy_from_slice(octets);
            buffer.received(octets.len());
        };
        assert!(buffer.reply().unwrap().is_none() && buffer.is_empty());
        receive(&mut buffer, b"250 a\r\n250-b");
        assert_eq!(buffer.reply().unwrap().unwrap().lines, ["a"]);
        assert_eq!((buffer.unused(), buffer.is_empty()), (&b"250-b"[..], false));
        assert!(buffer.reply().unwrap().is_none() && buffer.is_within_a_reply());
        receive(&mut buffer, b"\r\n250 c\r\n");
        assert_eq!(buffer.reply().unwrap().unwrap().lines, ["b", "c"]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn the_lines_are_joined_with_the_enhanced_code_once() {
        let reply = |text: &[u8]| replies(text).unwrap().remove(0);
        assert_eq!(
            reply(b"550-5.7.1 one\r\n550-5.7.1 two\r\n550 5.7.1 three\r\n").joined(),
            "5.7.1 one two three"
        );
        assert_eq!(reply(b"550-no no\r\n550 no\r\n").joined(), "no no no");
        assert_eq!(reply(b"550\r\n").joined(), "");
    }

    #[test]
    fn what_a_server_says_cannot_steer_a_terminal() {
        let reply = |line| Reply::of(line).unwrap();
        // Everything that text.rs makes visible, and in its words.
        let steering = reply("550 5.1.1 \u{1b}[2J\u{202e}\u{200b}no\u{e0041}").to_string();
        assert_eq!(
            steering,
            format!("550 {}", text::printable("5.1.1 \u{1b}[2J\u{202e}\u{200b}no\u{e0041}"))
        );
        assert!(
            steering.chars().all(|character| ('\u{20}'..'\u{7f}').contains(&character)),
            "{steering}"
        );
        assert_eq!(reply("550 5.1.1 no").enhanced(), Some((1, 1)));
        assert_eq!(reply("550 4.1.1 no").enhanced(), None);
        assert_eq!(reply("250").to_string(), "250");
    }
}
