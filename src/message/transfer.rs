//! The transfer encodings of a body part (RFC 2045 section 6), decoded as its lines pass.
//!
//! Rule: every input has an output and none is an error: what is not of an encoding is left out or stays as it is, as
//! mail programs do it. At most three octets are held between two lines.

/// The decoder of one body part.
#[derive(Debug)]
pub(super) enum Decoder {
    /// 7bit, 8bit, binary, and whatever nobody knows.
    Identity,
    Base64 {
        bits: u32,
        number: u32,
    },
    Quoted {
        /// The beginning of an escape whose rest is still to come.
        held: Vec<u8>,
        /// The line goes on with the next one.
        is_soft: bool,
    },
}

impl Decoder {
    /// For a part whose Content-Transfer-Encoding is this.
    pub(super) fn of(encoding: &str) -> Self {
        match encoding.trim().to_ascii_lowercase().as_str() {
            "base64" => Self::Base64 { bits: 0, number: 0 },
            "quoted-printable" => Self::Quoted { held: Vec::new(), is_soft: false },
            _ => Self::Identity,
        }
    }

    /// The end of a line, of which something follows.
    pub(super) fn line_end(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Identity => out.extend_from_slice(octets),
            Self::Base64 { .. } => {}
            Self::Quoted { is_soft, .. } => {
                if !std::mem::take(is_soft) {
                    out.extend_from_slice(octets);
                }
            }
        }
    }

    /// A line, or a piece of a long one, without its end.
    pub(super) fn text(&mut self, octets: &[u8], ends_line: bool, out: &mut Vec<u8>) {
        match self {
            Self::Identity => out.extend_from_slice(octets),
            Self::Base64 { bits, number } => {
                octets.iter().for_each(|octet| base64(*octet, bits, number, out));
            }
            Self::Quoted { held, is_soft } => {
                let mut line = std::mem::take(held);
                line.extend_from_slice(octets);
                if ends_line {
                    let kept = line.trim_ascii_end().len();
                    line.truncate(kept);
                    *is_soft = line.pop_if(|last| *last == b'=').is_some();
                } else if let Some(at) = unfinished(&line) {
                    *held = line.split_off(at);
                }
                quoted(&line, out);
            }
        }
    }
}

fn base64(octet: u8, bits: &mut u32, number: &mut u32, out: &mut Vec<u8>) {
    let value = match octet {
        b'A'..=b'Z' => octet - b'A',
        b'a'..=b'z' => octet - b'a' + 26,
        b'0'..=b'9' => octet - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        b'=' => {
            // Some programs put several encoded texts behind each other.
            (*bits, *number) = (0, 0);
            return;
        }
        _ => return,
    };
    *bits = (*bits << 6 | u32::from(value)) & 0xffff;
    *number += 6;
    if *number >= 8 {
        *number -= 8;
        out.push((*bits >> *number & 0xff) as u8);
    }
}

/// Where an escape begins whose end is missing.
fn unfinished(line: &[u8]) -> Option<usize> {
    let from = line.len().saturating_sub(2);
    line[from..].iter().position(|octet| *octet == b'=').map(|at| from + at)
}

fn quoted(line: &[u8], out: &mut Vec<u8>) {
    let digit = |at: usize| line.get(at).and_then(|octet| char::from(*octet).to_digit(16));
    let mut at = 0;
    while let Some(octet) = line.get(at) {
        match (octet, digit(at + 1), digit(at + 2)) {
            (b'=', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(*octet);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes lines, each in pieces of this length.
    fn decoded(encoding: &str, text: &str, piece: usize) -> String {
        let (mut decoder, mut out) = (Decoder::of(encoding), Vec::new());
        for (number, line) in text.split("\r\n").enumerate() {
            if number > 0 {
                decoder.line_end(b"\r\n", &mut out);
            }
            let mut pieces = line.as_bytes().chunks(piece).peekable();
            if pieces.peek().is_none() {
                decoder.text(b"", true, &mut out);
            }
            while let Some(octets) = pieces.next() {
                decoder.text(octets, pieces.peek().is_none(), &mut out);
            }
        }
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn each_encoding_is_decoded_wherever_its_lines_are_cut() {
        for piece in 1..9 {
            for (encoding, text, expected) in [
                ("7bit", "a=41\r\n\r\nb", "a=41\r\n\r\nb"),
                ("BASE64 ", "aGVs\r\nbG8gd29y\r\nbGQ=", "hello world"),
                ("base64", "aGk=aGk=", "hihi"),
                ("base64", "a-G!k", "hi"),
                ("base64", "a", ""),
                ("Quoted-Printable", "gr=C3=BCn =\r\nund =3D \r\nrot", "gr\u{fc}n und =\r\nrot"),
                ("quoted-printable", "=zz =4", "=zz =4"),
                ("x-unknown", "=41", "=41"),
            ] {
                assert_eq!(decoded(encoding, text, piece), expected, "{text:?} by {piece}");
            }
        }
    }
}
