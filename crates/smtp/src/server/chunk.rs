//! Decodes the octets of BDAT: makes a bare LF a CRLF and ends the last line (RFC 3030).
//!
//! Rule: a chunk has a length and no end mark, so a dot means nothing here; but BINARYMIME is not offered,
//! so the message is lines. A bare CR stays for `sanitize.rs`, as in `data.rs`.
//! Must not know how long a chunk is.

use memchr::memchr2;

/// The decoder of one message, in however many chunks.
#[derive(Debug, Default)]
pub struct Decoder {
    /// A CR was the last octet; it is held back.
    carriage_return: bool,
    /// Something came after the last line end.
    within_line: bool,
    bare_line_feed: bool,
}

impl Decoder {
    /// Whether a line ended with LF alone.
    #[must_use]
    pub fn has_bare_line_feed(&self) -> bool {
        self.bare_line_feed
    }

    /// Decodes the next octets.
    pub fn decode(&mut self, input: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(input.len() + 1);
        let (mut at, mut run) = (0, 0);
        if self.carriage_return && !input.is_empty() {
            self.carriage_return = false;
            let completed = input[0] == b'\n';
            message.extend_from_slice(if completed { b"\r\n" } else { b"\r" });
            self.within_line = !completed;
            at = usize::from(completed);
            run = at;
        }
        while let Some(found) = memchr2(b'\r', b'\n', &input[at..]) {
            at += found;
            if input[at..].starts_with(b"\r\n") {
                at += 2;
                self.within_line = false;
            } else if input[at] == b'\n' {
                message.extend_from_slice(&input[run..at]);
                message.extend_from_slice(b"\r\n");
                at += 1;
                run = at;
                (self.within_line, self.bare_line_feed) = (false, true);
            } else if at + 1 == input.len() {
                message.extend_from_slice(&input[run..at]);
                self.carriage_return = true;
                return message;
            } else {
                at += 1;
            }
        }
        self.within_line |= at < input.len();
        message.extend_from_slice(&input[run..]);
        message
    }

    /// The message has ended: what its last line lacks.
    pub fn finish(&mut self) -> &'static [u8] {
        let unfinished = self.carriage_return || self.within_line;
        *self = Self { bare_line_feed: self.bare_line_feed, ..Self::default() };
        if unfinished { b"\r\n" } else { b"" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes whole and in random pieces; all must agree.
    fn decode(input: &[u8]) -> (Vec<u8>, bool) {
        let whole = decode_pieces(input, usize::MAX);
        for largest in [1, 2, 3, 50] {
            assert_eq!(decode_pieces(input, largest), whole, "in pieces of up to {largest}");
        }
        whole
    }

    fn decode_pieces(input: &[u8], largest: usize) -> (Vec<u8>, bool) {
        let (mut decoder, mut message, mut rest) = (Decoder::default(), Vec::new(), input);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(fastrand::usize(1..=largest).min(rest.len()));
            message.extend(decoder.decode(piece));
            rest = after;
        }
        message.extend(decoder.finish());
        (message, decoder.has_bare_line_feed())
    }

    #[test]
    fn a_message_of_chunks_has_lines_and_dots_mean_nothing() {
        for (input, message, bare_line_feed) in [
            ("", "", false),
            ("a\r\n", "a\r\n", false),
            // The last line gets its end.
            ("a", "a\r\n", false),
            ("a\r\nb", "a\r\nb\r\n", false),
            ("a\r", "a\r\n", false),
            ("\r", "\r\n", false),
            // Bare line ends.
            ("a\nb\n", "a\r\nb\r\n", true),
            ("a\rb", "a\rb\r\n", false),
            ("a\r\r\n", "a\r\r\n", false),
            ("\r\r\r\n\n", "\r\r\r\n\r\n", true),
            // Dots.
            (".\r\n", ".\r\n", false),
            ("a\r\n.\r\n..\r\nb\r\n", "a\r\n.\r\n..\r\nb\r\n", false),
        ] {
            assert_eq!(
                decode(input.as_bytes()),
                (message.as_bytes().to_vec(), bare_line_feed),
                "{input:?}"
            );
        }
    }

    #[test]
    fn whatever_comes_in_there_is_no_bare_lf_in_the_output_and_it_ends_with_crlf() {
        for _ in 0..5_000 {
            let length = fastrand::usize(0..12);
            let input: Vec<u8> =
                (0..length).map(|_| *fastrand::choice(b".\r\r\n\na\0").unwrap()).collect();
            let (message, _) = decode(&input);
            assert!(message.is_empty() || message.ends_with(b"\r\n"), "{input:?}");
            let text = String::from_utf8(message).unwrap().replace("\r\n", "");
            assert!(!text.contains('\n'), "{input:?}");
        }
    }
}
