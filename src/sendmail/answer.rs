//! The replies of a server, as a client reads them (RFC 5321 section 4.2).
//!
//! Rule: bounded in lines and octets, and nothing in them reaches a terminal but printable text.
//! Must not know what was asked.

use std::fmt;

/// Octets of a line of a reply; RFC 5321 section 4.5.3.1.5 asks for 512.
pub const LINE_BYTES_MAX: usize = 4_096;
/// Lines of a reply: more than any EHLO has.
pub const LINES_MAX: usize = 100;
/// Characters of a reply that are repeated.
const SHOWN_MAX: usize = 300;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The three digits.
    pub code: u16,
    /// The lines behind them.
    pub lines: Vec<String>,
}

impl Answer {
    /// The reply that one line makes; mostly for tests and for what was never said aloud.
    #[must_use]
    pub fn of(line: &str) -> Option<Self> {
        let (code, _, text) = split(line)?;
        Some(Self { code, lines: vec![text.to_owned()] })
    }

    /// Takes one line; says whether it was the last. `None` when it is no line of a reply.
    pub fn take(&mut self, line: &[u8]) -> Option<bool> {
        let text = String::from_utf8_lossy(line);
        let (code, more, text) = split(text.trim_end_matches(['\r', '\n']))?;
        if self.lines.len() == LINES_MAX {
            return None;
        }
        self.code = code;
        self.lines.push(text.to_owned());
        Some(!more)
    }

    /// Before the first line.
    #[must_use]
    pub fn begin() -> Self {
        Self { code: 0, lines: Vec::new() }
    }

    /// 2yz, or 354.
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
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.lines.join(" ");
        let printable = |character: char| if character.is_control() { '?' } else { character };
        let text: String = text.chars().map(printable).take(SHOWN_MAX).collect();
        write!(formatter, "{} {text}", self.code)
    }
}

/// Code, whether more lines follow, text.
fn split(line: &str) -> Option<(u16, bool, &str)> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code =
        digits.bytes().all(|octet| octet.is_ascii_digit()).then(|| digits.parse().ok())??;
    match rest.as_bytes().first() {
        None => Some((code, false, "")),
        Some(b' ') => Some((code, false, &rest[1..])),
        Some(b'-') => Some((code, true, &rest[1..])),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_ends_with_the_line_that_has_a_blank() {
        let mut answer = Answer::begin();
        assert_eq!(answer.take(b"250-relay\r\n"), Some(false));
        assert_eq!(answer.take(b"250 SIZE 5\r\n"), Some(true));
        assert_eq!((answer.code, answer.lines.len()), (250, 2));
        assert_eq!(Answer::begin().take(b"250\n"), Some(true));
        for line in [&b"hello\r\n"[..], b"25", b"", b"250x"] {
            assert_eq!(Answer::begin().take(line), None);
        }
        let mut endless = Answer::begin();
        assert!((0..=LINES_MAX).any(|_| endless.take(b"250-x\r\n").is_none()));
    }

    #[test]
    fn what_a_server_says_cannot_steer_a_terminal() {
        assert_eq!(Answer::of("550 5.1.1 \u{1b}[2Jno").unwrap().to_string(), "550 5.1.1 ?[2Jno");
        assert_eq!(Answer::of("550 5.1.1 no").unwrap().enhanced(), Some((1, 1)));
        assert_eq!(Answer::of("550 4.1.1 no").unwrap().enhanced(), None);
    }
}
