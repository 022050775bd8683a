//! Decodes the text of DATA: undoes dot-stuffing, finds the end, makes a bare LF a CRLF
//! (RFC 5321 sections 2.3.8 and 4.5.2). A bare CR stays for `sanitize.rs`, which knows what is a header.
//!
//! Rule: only CRLF.CRLF ends a message; [`Decoder::lenient`] has the one exception, after which nothing may be
//! read as a command. Whatever a laxer server would take for an end is data here and
//! is remembered, because a message hidden behind it is how SMTP smuggling works.
//! Must not know limits, headers or who the client is.

use memchr::memchr2;

/// The decoder of one message.
#[derive(Debug)]
pub struct Decoder {
    position: Position,
    lone_dot: bool,
    bare_line_feed: bool,
    /// A line of this message ended with CRLF.
    paired: bool,
    /// LF.LF and LF.CRLF end a message without any CRLF.
    lenient: bool,
}

/// What one call of [`Decoder::decode`] did.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The next bytes of the message.
    pub message: Vec<u8>,
    /// How much of the input was used; all of it unless the message ended.
    pub consumed: usize,
    /// The end of the message was found; what follows in the input are commands.
    pub ended: bool,
}

/// Where the decoder is, as far as the next octet depends on it.
#[derive(Clone, Copy, Debug)]
enum Position {
    /// Before the first octet of a line.
    LineStart(LineEnd),
    /// After a dot that began a line; it is held back.
    Dot(LineEnd),
    /// After a dot and a CR that began a line; both are held back.
    DotCarriageReturn(LineEnd),
    /// In a line.
    Inside,
    /// After a CR, which is held back.
    CarriageReturn,
}

/// How the line before ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    CrLf,
    BareLf,
    BareCr,
}

impl LineEnd {
    /// What is left of it in the message. A bare CR is never followed by LF, so it stays recognisable.
    fn written(self) -> &'static [u8] {
        match self {
            Self::CrLf | Self::BareLf => b"\r\n",
            Self::BareCr => b"\r",
        }
    }
}

impl Decoder {
    /// A decoder right after the CRLF of the DATA command, which counts as the first line end.
    #[must_use]
    pub fn new() -> Self {
        Self {
            position: Position::LineStart(LineEnd::CrLf),
            lone_dot: false,
            bare_line_feed: false,
            paired: false,
            lenient: false,
        }
    }

    /// The same for a client that may end every line with LF alone, such as a script that is piped into a
    /// socket: as long as no line has ended with CRLF, a dot alone behind LF ends the message, too. It counts
    /// as a lone dot nevertheless: the session must end there.
    #[must_use]
    pub fn lenient() -> Self {
        Self { lenient: true, ..Self::new() }
    }

    /// Whether a dot stood alone on a line that was not delimited by CRLF on both sides. No honest
    /// client sends that; behind it there may be commands meant for a laxer server.
    #[must_use]
    pub fn has_lone_dot(&self) -> bool {
        self.lone_dot
    }

    /// Whether a line ended with LF alone.
    #[must_use]
    pub fn has_bare_line_feed(&self) -> bool {
        self.bare_line_feed
    }

    /// Decodes the next bytes. Runs of ordinary lines are copied at once: `run` is where the octets
    /// begin that go out as they are, and it ends only where something must be changed or held back.
    pub fn decode(&mut self, input: &[u8]) -> Decoded {
        let mut message = Vec::with_capacity(input.len() + HELD_BACK_MAX);
        let (mut at, mut run) = (0, 0);
        while at < input.len() {
            match self.position {
                Position::Inside => {
                    at += memchr2(b'\r', b'\n', &input[at..]).unwrap_or(input.len() - at);
                    if input[at..].starts_with(b"\r\n") {
                        at += 2;
                        self.paired = true;
                        self.position = Position::LineStart(LineEnd::CrLf);
                    } else if at < input.len() {
                        message.extend_from_slice(&input[run..at]);
                        self.position = self.after_unpaired(input[at], &mut message);
                        at += 1;
                        run = at;
                    }
                }
                Position::LineStart(end) if input[at] == b'.' => {
                    message.extend_from_slice(&input[run..at]);
                    at += 1;
                    run = at;
                    self.position = Position::Dot(end);
                }
                Position::LineStart(_) => self.position = Position::Inside,
                Position::CarriageReturn => {
                    let end = Self::after_return(input, &mut at);
                    message.extend_from_slice(end.written());
                    self.paired |= end == LineEnd::CrLf;
                    self.position = Position::LineStart(end);
                    run = at;
                }
                Position::Dot(before) if input[at] == b'\n' => {
                    at += 1;
                    run = at;
                    if self.ends_leniently(before) {
                        return Decoded { message, consumed: at, ended: true };
                    }
                    self.keep_lone_dot(LineEnd::BareLf, &mut message);
                }
                Position::Dot(end) if input[at] == b'\r' => {
                    at += 1;
                    run = at;
                    self.position = Position::DotCarriageReturn(end);
                }
                Position::Dot(end) => {
                    // A client that stuffs dots does so after what it takes for a line end; that may
                    // be LF, but nobody takes a bare CR for one.
                    if end == LineEnd::BareCr {
                        message.push(b'.');
                    }
                    self.position = Position::Inside;
                }
                Position::DotCarriageReturn(before) => {
                    let after = Self::after_return(input, &mut at);
                    run = at;
                    if before == LineEnd::CrLf && after == LineEnd::CrLf {
                        return Decoded { message, consumed: at, ended: true };
                    }
                    if after == LineEnd::CrLf && self.ends_leniently(before) {
                        return Decoded { message, consumed: at, ended: true };
                    }
                    self.keep_lone_dot(after, &mut message);
                }
            }
        }
        message.extend_from_slice(&input[run..at]);
        Decoded { message, consumed: at, ended: false }
    }

    /// After a CR or LF that is not seen to be part of CRLF.
    fn after_unpaired(&mut self, octet: u8, message: &mut Vec<u8>) -> Position {
        if octet == b'\r' {
            return Position::CarriageReturn;
        }
        self.bare_line_feed = true;
        message.extend_from_slice(b"\r\n");
        Position::LineStart(LineEnd::BareLf)
    }

    /// What a held back CR turns out to be; a LF that completes it is used up.
    fn after_return(input: &[u8], at: &mut usize) -> LineEnd {
        if input[*at] != b'\n' {
            return LineEnd::BareCr;
        }
        *at += 1;
        LineEnd::CrLf
    }

    /// Whether a dot alone behind such a line end ends a message that has had nothing but LF.
    fn ends_leniently(&mut self, before: LineEnd) -> bool {
        let ends = self.lenient && !self.paired && before == LineEnd::BareLf;
        self.lone_dot |= ends;
        ends
    }

    /// The lone dot is content: the next server gets it stuffed.
    fn keep_lone_dot(&mut self, end: LineEnd, message: &mut Vec<u8>) {
        self.lone_dot = true;
        self.bare_line_feed |= end == LineEnd::BareLf;
        self.paired |= end == LineEnd::CrLf;
        message.push(b'.');
        message.extend_from_slice(end.written());
        self.position = Position::LineStart(end);
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Octets that may go out beyond the length of an input: held back ones of the input before, and the
/// CR that a bare LF gains. Only a hint: the vector grows where there are many bare line ends.
const HELD_BACK_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes whole, byte by byte and in random pieces; all must agree. Returns the message, the rest
    /// behind its end when it ended, and whether a lone dot was seen.
    fn decode(input: &[u8]) -> (Vec<u8>, Option<Vec<u8>>, bool) {
        let whole = decode_pieces(input, usize::MAX);
        for largest in [1, 2, 3, 50] {
            assert_eq!(decode_pieces(input, largest), whole, "in pieces of up to {largest}");
        }
        whole
    }

    fn decode_pieces(input: &[u8], largest: usize) -> (Vec<u8>, Option<Vec<u8>>, bool) {
        let (mut decoder, mut message, mut at) = (Decoder::new(), Vec::new(), 0);
        while at < input.len() {
            let length = fastrand::usize(1..=largest).min(input.len() - at);
            let decoded = decoder.decode(&input[at..at + length]);
            at += decoded.consumed;
            message.extend(decoded.message);
            if decoded.ended {
                return (message, Some(input[at..].to_vec()), decoder.has_lone_dot());
            }
            assert_eq!(decoded.consumed, length, "everything is used until the end");
        }
        (message, None, decoder.has_lone_dot())
    }

    #[test]
    fn only_crlf_dot_crlf_ends_a_message() {
        for (input, message, rest) in [
            // The plain case, and commands behind it.
            ("a\r\n.\r\n", "a\r\n", Some("")),
            ("a\r\n.\r\nQUIT\r\n", "a\r\n", Some("QUIT\r\n")),
            // An empty message: the CRLF of DATA itself counts.
            (".\r\n", "", Some("")),
            ("\r\n.\r\n", "\r\n", Some("")),
            // Not yet an end.
            ("a\r\n.\r", "a\r\n", None),
            ("a\r\n.", "a\r\n", None),
            // A dot inside a line, or followed by something.
            ("a.\r\n.\r\n", "a.\r\n", Some("")),
            ("a\r\n. \r\n.\r\n", "a\r\n \r\n", Some("")),
            // Octets that no text has.
            ("a\0b\x7f\r\n.\r\n", "a\0b\x7f\r\n", Some("")),
        ] {
            let expected =
                (message.as_bytes().to_vec(), rest.map(|rest| rest.as_bytes().to_vec()), false);
            assert_eq!(decode(input.as_bytes()), expected, "{input:?}");
        }
    }

    #[test]
    fn dots_are_unstuffed_at_the_start_of_a_line() {
        for (input, message) in [
            ("..\r\n.\r\n", ".\r\n"),
            ("...a\r\n.\r\n", "..a\r\n"),
            // A client that forgets to stuff loses its dot (RFC 5321 section 4.5.2 says delete it).
            (".a\r\n.\r\n", "a\r\n"),
            // After a bare LF a client believes to be at the start of a line, too.
            ("a\n..b\r\n.\r\n", "a\r\n.b\r\n"),
            // After a bare CR nobody does.
            ("a\r.b\r\n.\r\n", "a\r.b\r\n"),
        ] {
            assert_eq!(
                decode(input.as_bytes()),
                (message.as_bytes().to_vec(), Some(Vec::new()), false),
                "{input:?}"
            );
        }
    }

    #[test]
    fn a_bare_lf_becomes_crlf_and_a_bare_cr_stays() {
        for (input, message) in [
            ("a\nb\n\r\n.\r\n", "a\r\nb\r\n\r\n"),
            ("a\rb\r\n.\r\n", "a\rb\r\n"),
            ("a\r\r\n.\r\n", "a\r\r\n"),
            ("\n\r\r\n.\r\n", "\r\n\r\r\n"),
        ] {
            assert_eq!(
                decode(input.as_bytes()),
                (message.as_bytes().to_vec(), Some(Vec::new()), false),
                "{input:?}"
            );
        }
    }

    #[test]
    fn a_lone_dot_between_other_line_ends_is_data_and_is_remembered() {
        for (input, message) in [
            // What laxer servers take for an end (SMTP smuggling, CVE-2023-51764 and its relatives).
            ("a\n.\nMAIL\r\n.\r\n", "a\r\n.\r\nMAIL\r\n"),
            ("a\n.\r\nMAIL\r\n.\r\n", "a\r\n.\r\nMAIL\r\n"),
            ("a\r\n.\nMAIL\r\n.\r\n", "a\r\n.\r\nMAIL\r\n"),
            ("a\r.\rMAIL\r\n.\r\n", "a\r.\rMAIL\r\n"),
            ("a\r\n.\rMAIL\r\n.\r\n", "a\r\n.\rMAIL\r\n"),
            ("a\r.\r\nMAIL\r\n.\r\n", "a\r.\r\nMAIL\r\n"),
            // The line end of the lone dot may be half of the real end.
            ("a\n.\r\n.\r\n", "a\r\n.\r\n"),
        ] {
            assert_eq!(
                decode(input.as_bytes()),
                (message.as_bytes().to_vec(), Some(Vec::new()), true),
                "{input:?}"
            );
        }
    }

    #[test]
    fn a_lenient_decoder_takes_lf_dot_for_the_end_while_no_line_had_crlf() {
        for (input, message, consumed) in [
            ("a\nb\n.\nQUIT\n", "a\r\nb\r\n", Some(6)),
            ("a\n.\r\nQUIT\r\n", "a\r\n", Some(5)),
            ("\n.\n", "\r\n", Some(3)),
            ("a\n..\n.\n", "a\r\n.\r\n", Some(7)),
            // A CRLF before it, of whatever line: nothing but CRLF.CRLF will do.
            ("a\r\nb\n.\nc", "a\r\nb\r\n.\r\nc", None),
            ("\r\nb\n.\r\nc", "\r\nb\r\n.\r\nc", None),
            ("a\r\n.\nc", "a\r\n.\r\nc", None),
            (".\r.\nc", ".\r.\r\nc", None),
            // A bare CR begins no line, and ends none.
            ("a\r.\nb\n.\rc", "a\r.\r\nb\r\n.\rc", None),
        ] {
            for largest in [1, 2, 3, usize::MAX] {
                let (mut decoder, mut decoded, mut used, mut ended) =
                    (Decoder::lenient(), Vec::new(), 0, false);
                for piece in input.as_bytes().chunks(largest) {
                    let part = decoder.decode(piece);
                    decoded.extend(part.message);
                    used += part.consumed;
                    ended = part.ended;
                    if ended {
                        break;
                    }
                }
                assert_eq!(String::from_utf8(decoded).unwrap(), message, "{input:?}");
                assert_eq!(ended.then_some(used), consumed, "{input:?}");
                assert!(decoder.has_lone_dot(), "the session ends: {input:?}");
            }
        }
    }

    #[test]
    fn any_message_survives_stuffing_and_decoding() {
        for _ in 0..2_000 {
            let mut message = Vec::new();
            for _ in 0..fastrand::usize(0..6) {
                let length = fastrand::usize(0..5);
                message.extend((0..length).map(|_| *fastrand::choice(b".a\0\xff ").unwrap()));
                message.extend(b"\r\n");
            }
            let mut stuffed = Vec::new();
            for line in message.split_inclusive(|octet| *octet == b'\n') {
                stuffed.extend(line.starts_with(b".").then_some(b'.'));
                stuffed.extend(line);
            }
            stuffed.extend(b".\r\nQUIT\r\n");
            assert_eq!(decode(&stuffed), (message, Some(b"QUIT\r\n".to_vec()), false));
        }
    }

    #[test]
    fn whatever_comes_in_there_is_no_bare_lf_in_the_output_and_it_never_depends_on_the_split() {
        for _ in 0..5_000 {
            let length = fastrand::usize(0..12);
            let input: Vec<u8> =
                (0..length).map(|_| *fastrand::choice(b"..\r\r\n\na").unwrap()).collect();
            let (message, ..) = decode(&input);
            let text = String::from_utf8(message).unwrap().replace("\r\n", "");
            assert!(!text.contains('\n'), "{input:?}");
        }
    }
}
