//! Message data: from the octets after 354 to the final dot (RFC 5321 section 4.5.2).
//!
//! Rule: only `CRLF . CRLF` ends the data; a line feed without carriage return is data and is noted.
//! Long runs are copied whole, never octet by octet, because benchmarks relay into this.
//! Must not know what becomes of the message.

/// Message data as it arrives.
#[derive(Debug)]
pub(super) struct Body {
    /// The unstuffed octets, or their beginning when not all are kept.
    kept: Vec<u8>,
    kept_max: usize,
    /// Unstuffed octets in all.
    pub size: u64,
    checksum: crc32fast::Hasher,
    /// Whether a line feed came without a carriage return.
    pub bare_line_feed: bool,
    started: bool,
    at_line_start: bool,
    after_carriage_return: bool,
}

impl Body {
    /// Expects the first line; keeps at most `kept_max` octets.
    pub(super) fn new(kept_max: usize) -> Self {
        Self {
            kept: Vec::new(),
            kept_max,
            size: 0,
            checksum: crc32fast::Hasher::new(),
            bare_line_feed: false,
            started: false,
            at_line_start: true,
            after_carriage_return: false,
        }
    }

    /// True when asked for the first time.
    pub(super) fn starts(&mut self) -> bool {
        !std::mem::replace(&mut self.started, true)
    }

    /// Takes what it can of `input`. Returns how much that was, and whether the data has ended; what
    /// was not taken must be offered again with more behind it.
    pub(super) fn receive(&mut self, input: &[u8]) -> (usize, bool) {
        let (mut run, mut position) = (0, 0);
        loop {
            if self.at_line_start {
                let line = &input[position..];
                if line.starts_with(END) {
                    self.append(&input[run..position]);
                    return (position + END.len(), true);
                }
                if END.starts_with(line) {
                    // Nothing, a dot, or a dot and CR: the next octets decide.
                    self.append(&input[run..position]);
                    return (position, false);
                }
                if line.starts_with(b".") {
                    self.append(&input[run..position]);
                    position += 1;
                    run = position;
                }
                self.at_line_start = false;
                self.after_carriage_return = false;
            }
            let Some(offset) = memchr::memchr(b'\n', &input[position..]) else {
                if let Some(last) = input[position..].last() {
                    self.after_carriage_return = *last == b'\r';
                }
                self.append(&input[run..]);
                return (input.len(), false);
            };
            let after_carriage_return = match offset {
                0 => self.after_carriage_return,
                offset => input[position + offset - 1] == b'\r',
            };
            self.bare_line_feed |= !after_carriage_return;
            self.at_line_start = after_carriage_return;
            self.after_carriage_return = false;
            position += offset + 1;
        }
    }

    /// Takes octets of a chunk, whose end is known from its size and in which no dot is stuffed.
    pub(super) fn receive_counted(&mut self, octets: &[u8]) {
        for position in memchr::memchr_iter(b'\n', octets) {
            let before = if position == 0 {
                self.after_carriage_return
            } else {
                octets[position - 1] == b'\r'
            };
            self.bare_line_feed |= !before;
        }
        if let Some(last) = octets.last() {
            self.after_carriage_return = *last == b'\r';
        }
        self.append(octets);
    }

    /// The CRC-32 of all octets.
    pub(super) fn crc32(&self) -> u32 {
        self.checksum.clone().finalize()
    }

    /// The octets kept; the beginning only, unless all were to be kept.
    pub(super) fn into_kept(self) -> Vec<u8> {
        self.kept
    }

    /// The Message-ID of the header section with its angle brackets, when there is one.
    pub(super) fn message_id(&self) -> Option<String> {
        for line in self.kept.split(|octet| *octet == b'\n') {
            if line.is_empty() || line == b"\r" {
                return None;
            }
            let Some((name, value)) = line.split_at_checked(FIELD.len()) else { continue };
            if name.eq_ignore_ascii_case(FIELD) {
                return Some(String::from_utf8_lossy(value).trim().to_owned());
            }
        }
        None
    }

    fn append(&mut self, run: &[u8]) {
        self.size += run.len() as u64;
        self.checksum.update(run);
        let room = self.kept_max - self.kept.len().min(self.kept_max);
        self.kept.extend_from_slice(&run[..run.len().min(room)]);
    }
}

const END: &[u8] = b".\r\n";
const FIELD: &[u8] = b"message-id:";

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `wire` in pieces of every size; returns the body, the octets after the end and the note
    /// about line feeds, or `None` when the data never ends.
    fn read(wire: &[u8]) -> Option<(Vec<u8>, Vec<u8>, bool)> {
        let mut results: Vec<_> = (1..=wire.len()).map(|piece| read_pieces(wire, piece)).collect();
        results.dedup();
        assert_eq!(results.len(), 1, "the size of the pieces makes a difference: {results:?}");
        results.remove(0)
    }

    fn read_pieces(wire: &[u8], piece: usize) -> Option<(Vec<u8>, Vec<u8>, bool)> {
        let mut body = Body::new(usize::MAX);
        let mut pending: Vec<u8> = Vec::new();
        let mut chunks = wire.chunks(piece);
        while let Some(chunk) = chunks.next() {
            pending.extend_from_slice(chunk);
            let (taken, ended) = body.receive(&pending);
            pending.drain(..taken);
            if ended {
                pending.extend(chunks.flatten());
                let noted = body.bare_line_feed;
                assert_eq!(body.size as usize, body.kept.len());
                assert_eq!(body.crc32(), crc32fast::hash(&body.kept));
                return Some((body.into_kept(), pending, noted));
            }
        }
        None
    }

    #[test]
    fn data_is_unstuffed_and_ends_only_at_crlf_dot_crlf() {
        type Outcome<'a> = (&'a [u8], &'a [u8], bool);
        let cases: &[(&[u8], Option<Outcome<'_>>)] = &[
            (b".\r\n", Some((b"", b"", false))),
            (b"a\r\n.\r\nQUIT\r\n", Some((b"a\r\n", b"QUIT\r\n", false))),
            (b"..\r\n...x\r\n.\r\n", Some((b".\r\n..x\r\n", b"", false))),
            (b".a\r\n.\r\n", Some((b"a\r\n", b"", false))),
            // What other servers took for the end (SMTP smuggling) is data here.
            (b"a\n.\nb\r\n.\r\n", Some((b"a\n.\nb\r\n", b"", true))),
            (b"a\n.\r\nb\r\n.\r\n", Some((b"a\n.\r\nb\r\n", b"", true))),
            (b"a\r.\r\nb\r\n.\r\n", Some((b"a\r.\r\nb\r\n", b"", false))),
            (b"a\r\n.\rb\r\n.\r\n", Some((b"a\r\n\rb\r\n", b"", false))),
            (b"a\r\n.\nb\r\n.\r\n", Some((b"a\r\n\nb\r\n", b"", true))),
            (b"a\r\n.", None),
            (b"a\n.\n", None),
        ];
        for (wire, expected) in cases {
            let expected = expected.map(|(body, rest, bare)| (body.to_vec(), rest.to_vec(), bare));
            assert_eq!(read(wire), expected, "{:?}", String::from_utf8_lossy(wire));
        }
    }

    #[test]
    fn chunks_are_taken_as_they_are_and_their_line_ends_are_looked_at_across_borders() {
        let read = |chunks: &[&[u8]]| {
            let mut body = Body::new(usize::MAX);
            chunks.iter().for_each(|chunk| body.receive_counted(chunk));
            (body.bare_line_feed, body.into_kept())
        };
        assert_eq!(read(&[b"..a\r\n.\r\n", b"", b"b"]), (false, b"..a\r\n.\r\nb".to_vec()));
        assert_eq!(read(&[b"a\r", b"\nb"]), (false, b"a\r\nb".to_vec()));
        assert_eq!(read(&[b"a", b"\nb"]), (true, b"a\nb".to_vec()));
    }

    #[test]
    fn the_message_id_is_read_from_the_header_section_only() {
        let id = |wire: &[u8]| {
            let mut body = Body::new(usize::MAX);
            body.receive(wire);
            body.message_id()
        };
        assert_eq!(id(b"To: a\r\nMESSAGE-ID: <1@x>\r\n\r\n.\r\n").as_deref(), Some("<1@x>"));
        assert_eq!(id(b"To: a\r\n\r\nMessage-ID: <1@x>\r\n.\r\n"), None);
    }

    #[test]
    fn only_the_beginning_is_kept_when_bodies_are_not_wanted() {
        let mut body = Body::new(4);
        assert_eq!(body.receive(b"abcdef\r\n.\r\n"), (11, true));
        assert_eq!((body.size, body.into_kept()), (8, b"abcd".to_vec()));
    }
}
