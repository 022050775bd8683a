//! The input of a session: bytes that came and are not used yet, and the command lines in them.
//!
//! Rule: bounded, whatever the client sends: what is fed at a time is bounded by the driver, and of a
//! line without an end no more than the limit is kept ([`COMMAND_LINE_BYTES_MAX`], or
//! [`AUTHENTICATION_LINE_BYTES_MAX`] while a client logs in).
//! Must not know what a command is.

use std::fmt;

use memchr::memchr;
use zeroize::Zeroize as _;

/// Octets of a command line with its line end. RFC 5321 section 4.5.3.1.4 asks for 512 and the
/// extensions that we offer for less than 100 more; source routes and long parameters find room, too.
pub(super) const COMMAND_LINE_BYTES_MAX: usize = 2048;

/// Octets of a client's response in an AUTH exchange, with its line end (RFC 4954 section 4).
pub(super) const AUTHENTICATION_LINE_BYTES_MAX: usize = 12_288;

/// Octets of a line that are swallowed before its end is not waited for any more. A line has one reply, however long
/// it is, so one that never ends must end the session.
pub(super) const SWALLOWED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Octets of buffer that an idle session keeps; a larger one, from a long pipeline, is given back.
const KEPT_CAPACITY_BYTES: usize = 4 * 1024;

/// The unused input. It prints only its size, because there may be a password in it.
#[derive(Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    used: usize,
    /// Octets swallowed of a line that is too long and whose end has not come.
    swallowing: Option<Swallowed>,
}

/// What is known of a line that is too long.
#[derive(Clone, Copy, Debug, Default)]
struct Swallowed {
    bytes: usize,
    verb: Verb,
}

/// The first octets of a line behind its blanks: as many as a verb has, so that it is known what was meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verb {
    octets: [u8; 4],
    length: usize,
}

impl Verb {
    /// Whether it is this one, in any case.
    #[must_use]
    pub(super) fn is(self, verb: &[u8; 4]) -> bool {
        self.octets.eq_ignore_ascii_case(verb)
    }

    fn extend(&mut self, line: &[u8]) {
        for octet in line {
            let is_leading_blank = self.length == 0 && octet.is_ascii_whitespace();
            if self.length == self.octets.len() {
                return;
            }
            if !is_leading_blank {
                self.octets[self.length] = *octet;
                self.length += 1;
            }
        }
    }
}

/// What [`Input::take_line`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its line end.
    Complete(Vec<u8>),
    /// The same, but it ended with LF alone.
    CompleteBareLf(Vec<u8>),
    /// A line longer than the limit; it is gone but for its beginning.
    TooLong(Verb),
    /// A line whose end does not come.
    Endless,
    /// No line end yet.
    Incomplete,
}

impl Input {
    /// Appends bytes from the client.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.used);
        self.used = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// What is not used yet.
    #[must_use]
    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    /// Marks the first `count` pending bytes as used.
    pub(super) fn consume(&mut self, count: usize) {
        self.used = (self.used + count).min(self.bytes.len());
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gives memory back while there is nothing to do.
    pub(super) fn shrink(&mut self) {
        if self.pending().is_empty() && self.bytes.capacity() > KEPT_CAPACITY_BYTES {
            self.bytes = Vec::new();
            self.used = 0;
        }
    }

    /// Takes the next line, of at most `bytes_max` octets with its line end. It ends with LF; a CR before that belongs to the line end, because scripts
    /// that end their commands with LF alone do no harm here (they would inside DATA).
    pub(super) fn take_line(&mut self, bytes_max: usize) -> Line {
        let pending = self.pending();
        let end = memchr(b'\n', pending).map(|position| position + 1);
        if self.swallowing.is_some() || end.unwrap_or(pending.len()) > bytes_max {
            return self.swallow(end);
        }
        let Some(end) = end else {
            return Line::Incomplete;
        };
        let line = match pending[..end - 1].strip_suffix(b"\r") {
            Some(line) => Line::Complete(line.to_vec()),
            None => Line::CompleteBareLf(pending[..end - 1].to_vec()),
        };
        self.consume(end);
        line
    }

    /// Overwrites what was used already: there was a password in it.
    pub(super) fn wipe_used(&mut self) {
        self.bytes[..self.used].zeroize();
    }

    /// Swallows up to the end of the line; how the input was cut makes no difference.
    fn swallow(&mut self, end: Option<usize>) -> Line {
        let Swallowed { bytes: before, mut verb } = self.swallowing.unwrap_or_default();
        let count = end.unwrap_or_else(|| self.pending().len());
        verb.extend(&self.pending()[..count]);
        self.consume(count);
        let bytes = before + count;
        self.swallowing = end.is_none().then_some(Swallowed { bytes, verb });
        match end {
            Some(_) => Line::TooLong(verb),
            None if bytes > SWALLOWED_BYTES_MAX => Line::Endless,
            None => Line::Incomplete,
        }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Input")
            .field("pending_bytes", &self.pending().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Input {
    /// Everything that is still in memory, also what was used.
    pub(super) fn memory(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(bytes: &[u8]) -> Input {
        let mut input = Input::default();
        input.receive(bytes);
        input
    }

    #[test]
    fn lines_end_with_lf_and_a_cr_before_it_is_dropped() {
        let mut input = input(b"one\r\ntwo\n\r\nthr");
        assert_eq!(input.take_line(COMMAND_LINE_BYTES_MAX), Line::Complete(b"one".to_vec()));
        assert_eq!(input.take_line(COMMAND_LINE_BYTES_MAX), Line::CompleteBareLf(b"two".to_vec()));
        assert_eq!(input.take_line(COMMAND_LINE_BYTES_MAX), Line::Complete(Vec::new()));
        assert_eq!(input.take_line(COMMAND_LINE_BYTES_MAX), Line::Incomplete);
        input.receive(b"ee\r\n");
        assert_eq!(input.take_line(COMMAND_LINE_BYTES_MAX), Line::Complete(b"three".to_vec()));
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_accepted_and_a_longer_one_swallowed_to_its_end() {
        let longest = [vec![b'x'; COMMAND_LINE_BYTES_MAX - 2], b"\r\n".to_vec()].concat();
        assert_eq!(
            input(&longest).take_line(COMMAND_LINE_BYTES_MAX),
            Line::Complete(vec![b'x'; COMMAND_LINE_BYTES_MAX - 2])
        );

        let mut input = input(&[b"x".as_slice(), &longest, b"NOOP\r\n"].concat());
        let Line::TooLong(verb) = input.take_line(COMMAND_LINE_BYTES_MAX) else {
            panic!("too long");
        };
        assert!(verb.is(b"XXXX") && !verb.is(b"BDAT"));
        assert_eq!(input.take_line(COMMAND_LINE_BYTES_MAX), Line::Complete(b"NOOP".to_vec()));
    }

    #[test]
    fn a_line_is_too_long_once_however_long_it_is_and_keeps_nothing() {
        for octets in [COMMAND_LINE_BYTES_MAX, 100_000, 1_000_000] {
            let mut input = Input::default();
            for _ in 0..octets / 1_000 + 1 {
                input.receive(&[b'x'; 1_000]);
                assert_eq!(input.take_line(COMMAND_LINE_BYTES_MAX), Line::Incomplete);
                assert!(input.pending().len() <= COMMAND_LINE_BYTES_MAX);
            }
            input.receive(b"\r\nNOOP\r\n");
            assert!(matches!(input.take_line(COMMAND_LINE_BYTES_MAX), Line::TooLong(_)));
            assert_eq!(input.take_line(COMMAND_LINE_BYTES_MAX), Line::Complete(b"NOOP".to_vec()));
        }
    }

    #[test]
    fn the_end_of_a_line_is_not_waited_for_for_ever() {
        let (mut input, piece) = (Input::default(), vec![b'x'; 1 << 20]);
        let mut lines = (0..=SWALLOWED_BYTES_MAX >> 20).map(|_| {
            input.receive(&piece);
            input.take_line(COMMAND_LINE_BYTES_MAX)
        });
        assert_eq!(lines.position(|line| line == Line::Endless), Some(SWALLOWED_BYTES_MAX >> 20));
    }

    #[test]
    fn a_used_line_can_be_wiped() {
        let mut input = input(b"secret\r\nNOOP\r\n");
        assert_eq!(
            input.take_line(AUTHENTICATION_LINE_BYTES_MAX),
            Line::Complete(b"secret".to_vec())
        );
        input.wipe_used();
        assert!(!input.bytes.windows(6).any(|window| window == b"secret"));
        assert_eq!(input.pending(), b"NOOP\r\n");
    }
}
