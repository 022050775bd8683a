//! Standard input as octets of a message: line ends become CRLF, whatever they were.
//!
//! Rule: 8-bit safe, bounded, one pass. A lone dot ends a message only where a person types it. What an input
//! without end sends is read no further than the session would read it.
//! Must not know what is in a header section.

use std::{io::Read, mem};

use super::message::{MessageBuilder, too_large};
use crate::exit::{Exit, Failure};
use crate::smtp::{
    sanitize::Sanitizer,
    server::{Terms, chunk::Decoder},
};

/// Octets that are read at a time.
const BLOCK_BYTES: usize = 16 * 1024;

/// Reads `input` to its end into `draft`.
pub(crate) fn read(
    input: &mut dyn Read,
    lone_dot_ends: bool,
    draft: &mut MessageBuilder,
    size_bytes_max: u64,
) -> Result<(), Failure> {
    let mut decoder = Cleaner::new(lone_dot_ends);
    let mut block = vec![0; BLOCK_BYTES];
    let mut read_bytes = 0;
    let mut trouble = None;
    loop {
        let count = match input.read(&mut block) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Failure::new(
                    Exit::Input,
                    format!("cannot read standard input: {error}"),
                ));
            }
        };
        if count == 0 {
            break;
        }
        read_bytes += count as u64;
        if trouble.is_none() {
            trouble = draft.write(&decoder.clean(&block[..count])).err();
        }
        // A refused message is read on for a while, because the caller is still writing and would die of it.
        if decoder.ended || read_bytes > Terms::read_bytes_max_of(size_bytes_max) {
            break;
        }
    }
    match trouble {
        Some(trouble) => Err(trouble),
        None if read_bytes > Terms::read_bytes_max_of(size_bytes_max) => {
            Err(too_large(size_bytes_max))
        }
        None => draft.write(&decoder.finish()),
    }
}

/// Makes clean octets of whatever comes.
#[derive(Debug)]
struct Cleaner {
    envelope_line: EnvelopeLine,
    lone_dot: Option<LoneDot>,
    decoder: Decoder,
    sanitizer: Sanitizer,
    ended: bool,
}

/// The `From joe Mon Jan ...` of a mailbox file, which some programs leave in front: it is not a field.
#[derive(Debug)]
enum EnvelopeLine {
    /// The octets so far of a line that may be one.
    Possible(Vec<u8>),
    /// It is one, and goes up to its line end.
    Skipping,
    /// It has passed, or there is none.
    Passed,
}

/// Looks for a line of one dot.
#[derive(Debug, Default)]
struct LoneDot {
    /// Octets of the current line so far, and whether they are `.` or `.\r`.
    line: Vec<u8>,
    within: bool,
}

impl Cleaner {
    fn new(lone_dot_ends: bool) -> Self {
        Self {
            envelope_line: EnvelopeLine::Possible(Vec::new()),
            lone_dot: lone_dot_ends.then(LoneDot::default),
            decoder: Decoder::default(),
            sanitizer: Sanitizer::new(),
            ended: false,
        }
    }

    fn clean(&mut self, bytes: &[u8]) -> Vec<u8> {
        let kept = self.lone_dot.as_mut().map(|lone_dot| lone_dot.take(bytes));
        let bytes = match &kept {
            Some((bytes, ended)) => {
                self.ended |= *ended;
                &bytes[..]
            }
            None => bytes,
        };
        match self.envelope_line {
            EnvelopeLine::Passed => self.sanitizer.sanitize(self.decoder.decode(bytes)),
            _ => {
                let bytes = self.envelope_line.take(bytes);
                self.sanitizer.sanitize(self.decoder.decode(&bytes))
            }
        }
    }

    fn finish(&mut self) -> Vec<u8> {
        let rest = match &mut self.envelope_line {
            EnvelopeLine::Possible(line) => mem::take(line),
            EnvelopeLine::Skipping | EnvelopeLine::Passed => Vec::new(),
        };
        let mut last = self.decoder.decode(&rest);
        last.extend_from_slice(self.decoder.finish());
        self.sanitizer.sanitize(last)
    }
}

impl EnvelopeLine {
    const MARK: &[u8] = b"From ";

    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        if let Self::Possible(line) = self {
            line.extend_from_slice(bytes);
            let mark = line.strip_prefix(b">").unwrap_or(line);
            if mark.len() < Self::MARK.len() && Self::MARK.starts_with(mark) {
                return Vec::new();
            }
            let line = mem::take(line);
            let mark = line.strip_prefix(b">").unwrap_or(&line);
            if !mark.starts_with(Self::MARK) {
                *self = Self::Passed;
                return line;
            }
            *self = Self::Skipping;
            return self.take(&line);
        }
        if matches!(self, Self::Passed) {
            return bytes.to_vec();
        }
        let Some(end) = memchr::memchr(b'\n', bytes) else { return Vec::new() };
        *self = Self::Passed;
        bytes[end + 1..].to_vec()
    }
}

impl LoneDot {
    /// The octets that belong to the message, and whether the dot has come.
    fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut kept = Vec::with_capacity(bytes.len());
        for octet in bytes {
            match octet {
                b'\n' if !self.within && matches!(&self.line[..], b"." | b".\r") => {
                    return (kept, true);
                }
                b'\n' => {
                    kept.append(&mut self.line);
                    kept.push(b'\n');
                    self.within = false;
                }
                _ if self.within => kept.push(*octet),
                _ => {
                    self.line.push(*octet);
                    if !matches!(&self.line[..], b"." | b".\r") {
                        self.within = true;
                        kept.append(&mut self.line);
                    }
                }
            }
        }
        (kept, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cleans whole and in pieces; all must agree.
    fn clean(input: &[u8], lone_dot_ends: bool) -> Vec<u8> {
        let pieces = |length| {
            let (mut cleaner, mut all) = (Cleaner::new(lone_dot_ends), Vec::new());
            for piece in input.chunks(length) {
                if !cleaner.ended {
                    all.extend(cleaner.clean(piece));
                }
            }
            all.extend(cleaner.finish());
            all
        };
        let whole = pieces(input.len().max(1));
        for length in [1, 2, 3] {
            assert_eq!(pieces(length), whole, "in pieces of {length}");
        }
        whole
    }

    #[track_caller]
    fn check(input: &[u8], expected: &[u8]) {
        assert_eq!(
            clean(input, false).escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }

    #[test]
    fn every_kind_of_line_end_becomes_crlf() {
        check(b"a\nb\n", b"a\r\nb\r\n");
        check(b"a\r\nb\r\n", b"a\r\nb\r\n");
        // PHP: a header with CRLF, a body as it was written, CRLF at the end.
        check(b"To: a\r\n\r\nline1\nline2\r\n", b"To: a\r\n\r\nline1\r\nline2\r\n");
        check(b"a", b"a\r\n");
        check(b"", b"");
        // A bare CR within a field cannot begin another one.
        check(b"A: b\rc\n\nd\re\n", b"A: b c\r\n\r\nd\r\ne\r\n");
        check(b"A: \xff\xfe\n\n\x80\0\n", b"A: \xff\xfe\r\n\r\n\x80\r\n");
    }

    #[test]
    fn a_lone_dot_is_text_unless_a_person_types_it() {
        check(b"A: b\n\n.\nc\n", b"A: b\r\n\r\n.\r\nc\r\n");
        for input in [&b"a\n.\nb\n"[..], b"a\n.\r\nb\n"] {
            assert_eq!(clean(input, true), b"a\r\n");
        }
        assert_eq!(clean(b"..\n.a\n. \n", true), b"..\r\n.a\r\n. \r\n");
    }

    #[test]
    fn the_line_of_a_mailbox_file_is_no_field() {
        check(b"From joe Mon Jan  1 00:00:00 2027\nTo: a\n\nFrom b\n", b"To: a\r\n\r\nFrom b\r\n");
        check(b">From joe\r\nTo: a\n", b"To: a\r\n");
        check(b"From: joe\n", b"From: joe\r\n");
        check(b"From", b"From\r\n");
        check(b"From joe", b"");
    }

    #[test]
    fn an_input_without_end_is_not_read_for_ever() {
        struct Endless(u64);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                self.0 += buffer.len() as u64;
                buffer.fill(b'x');
                Ok(buffer.len())
            }
        }
        let (mut input, mut draft) = (Endless(0), MessageBuilder::new(Vec::new(), 1_000));
        assert_eq!(read(&mut input, false, &mut draft, 1_000).unwrap_err().exit, Exit::Data);
        assert!(input.0 <= Terms::read_bytes_max_of(1_000) + 2 * BLOCK_BYTES as u64);
    }
}
