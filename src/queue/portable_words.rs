//! `name=value` words in one line, as the X-Envelope fields hold them.
//!
//! Rule: any value survives: whatever is not a visible ASCII character is written as `+` and two hexadecimal
//! digits for each octet, after the manner of RFC 3461 section 4. Must not know what the words mean.

use std::fmt;

use crate::clock::Timestamp;

/// Words in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words(Vec<(String, String)>);

impl Words {
    /// Adds a word.
    pub(super) fn put(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// The value of the first word of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Reads a line of words; `None` when it is none.
    pub(super) fn read(line: &str) -> Option<Self> {
        let word = |word: &str| {
            let (name, value) = word.split_once('=')?;
            Some((name.to_owned(), decoded(value)?))
        };
        line.split_ascii_whitespace().map(word).collect::<Option<Vec<_>>>().map(Self)
    }
}

impl fmt::Display for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.0.iter().enumerate() {
            let gap = if place == 0 { "" } else { " " };
            write!(formatter, "{gap}{name}=")?;
            for octet in value.bytes() {
                match octet {
                    b'!'..=b'~' if octet != b'+' => write!(formatter, "{}", char::from(octet))?,
                    _ => write!(formatter, "+{octet:02X}")?,
                }
            }
        }
        Ok(())
    }
}

fn decoded(value: &str) -> Option<String> {
    let (mut octets, mut source) = (Vec::new(), value.bytes());
    while let Some(octet) = source.next() {
        octets.push(match octet {
            b'+' => {
                let digits = [source.next()?, source.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(octets).ok()
}

/// A time to the millisecond, in RFC 3339.
pub(super) fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .map_or_else(|_| at.0.to_string(), |time| format!("{time:.3}"))
}

/// Reads what [`time`] wrote.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let far_away = || text.parse().ok().map(Timestamp);
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(|time| Timestamp(time.as_millisecond()))
        .or_else(far_away)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_value_survives_in_one_line_of_ascii() {
        let mut words = Words::default();
        for value in ["", "plain", "a b=c+d", "línea\r\nBcc: x@y", "\u{0}\u{7f}+20", "+"] {
            words.put("value", value);
        }
        let line = words.to_string();
        assert!(line.bytes().all(|octet| matches!(octet, b' '..=b'~')), "{line}");
        assert_eq!(Words::read(&line), Some(words));
        for wrong in ["value", "a=b c", "a=+2", "a=+2X", "a=+FF"] {
            assert_eq!(Words::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_keep_their_milliseconds_wherever_they_lie() {
        for at in [0, 1, 1_800_000_000_123, -5, i64::MAX, i64::MIN] {
            assert_eq!(
                moment(&time(Timestamp(at))),
                Some(Timestamp(at)),
                "{}",
                time(Timestamp(at))
            );
        }
        assert_eq!(time(Timestamp(1_800_000_000_120)), "2027-01-15T08:00:00.120Z");
        assert_eq!(moment("yesterday"), None);
    }
}
