//! Message data on its way out: doubled dots, and the end (RFC 5321 section 4.5.2).
//!
//! Rule: what arrives is what was given, but for a line end that is added to a last line without one. A dot is
//! doubled behind a bare LF as well, because servers exist that end a line there. Must not know what is in a message.

use memchr::memchr_iter;

/// Doubles dots, block by block.
#[derive(Debug)]
pub struct DotStuffer {
    /// The last two octets that were given; before the first one, a line has ended.
    last: [u8; 2],
}

impl Default for DotStuffer {
    fn default() -> Self {
        Self { last: *b"\r\n" }
    }
}

impl DotStuffer {
    /// Appends a block to `out`.
    pub fn push(&mut self, block: &[u8], out: &mut Vec<u8>) {
        let mut from = 0;
        for dot in memchr_iter(b'.', block) {
            let before = if dot == 0 { self.last[1] } else { block[dot - 1] };
            if before == b'\n' {
                out.extend_from_slice(&block[from..=dot]);
                from = dot;
            }
        }
        out.extend_from_slice(&block[from..]);
        match block {
            [] => {}
            [only] => self.last = [self.last[1], *only],
            [.., first, second] => self.last = [*first, *second],
        }
    }

    /// What ends the message: the final dot, on a line of its own.
    #[must_use]
    pub fn end(self) -> &'static [u8] {
        if self.last == *b"\r\n" { b".\r\n" } else { b"\r\n.\r\n" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stuffed(blocks: &[&[u8]]) -> Vec<u8> {
        let (mut stuffer, mut out) = (DotStuffer::default(), Vec::new());
        blocks.iter().for_each(|block| stuffer.push(block, &mut out));
        out.extend_from_slice(stuffer.end());
        out
    }

    #[test]
    fn dots_are_doubled_at_the_beginning_of_lines_wherever_the_blocks_end() {
        let text = b".a\r\n..b\r\nc.d\r\n.\r\n\n.e\r\n";
        let expected = b"..a\r\n...b\r\nc.d\r\n..\r\n\n..e\r\n.\r\n";
        assert_eq!(stuffed(&[text]), expected);
        for size in 1..text.len() {
            assert_eq!(
                stuffed(&text.chunks(size).collect::<Vec<_>>()),
                expected,
                "blocks of {size}"
            );
        }
    }

    #[test]
    fn a_message_ends_as_it_was_given_and_with_one_line_end_at_least() {
        for (text, expected) in [
            (&b""[..], &b".\r\n"[..]),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b"a\r\n\r\n", b"a\r\n\r\n.\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b"a\n", b"a\n\r\n.\r\n"),
            (b"a\r", b"a\r\r\n.\r\n"),
        ] {
            assert_eq!(stuffed(&[text]), expected, "{text:?}");
        }
        assert_eq!(stuffed(&[b"a\r", b"\n", b""]), b"a\r\n.\r\n");
    }
}
