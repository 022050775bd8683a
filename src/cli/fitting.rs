//! Lines that fit the terminal they are printed on.
//!
//! Rule: off a terminal nothing is cut. Must not know what a line says.

use std::{
    borrow::Cow,
    io::{self, IsTerminal as _},
    time::Duration,
};

/// Columns of a terminal that does not say how many it has.
const COLUMNS_USUAL: usize = 80;
/// Columns of a line where no terminal says how many it has, and the fewest that make sense.
const WIDTH: usize = 100;
const WIDTH_MIN: usize = 50;

/// Columns of the terminal that standard output is; `None` when it is none, and nothing is cut.
#[must_use]
pub(super) fn width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    Some(terminal_columns().unwrap_or(COLUMNS_USUAL))
}

/// Columns that the terminal of standard output says it has.
#[must_use]
pub(super) fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// A line that is no wider than `width`; dots say that it was.
#[must_use]
pub(super) fn fitted(line: &str, width: usize) -> Cow<'_, str> {
    let mut used = 0;
    let mut kept = 0;
    for (at, character) in line.char_indices() {
        used += columns(character);
        if used > width {
            return Cow::Owned(format!("{}...", line[..kept].trim_end()));
        }
        // Room for the dots.
        if used + 3 <= width {
            kept = at + character.len_utf8();
        }
    }
    Cow::Borrowed(line)
}

/// Columns of a character on a terminal: two in East Asian scripts and for pictures, none for marks over others.
fn columns(character: char) -> usize {
    match u32::from(character) {
        0x300..=0x36f | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// Columns of a line: the terminal's, or what COLUMNS says.
#[must_use]
pub(super) fn line_width() -> usize {
    let of_variable = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal_columns().or_else(of_variable).unwrap_or(WIDTH).max(WIDTH_MIN)
}

/// Lines of at most so many characters, broken between words where there are any.
#[must_use]
pub(super) fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut length = 0;
    for word in text.split(' ') {
        let characters: Vec<char> = word.chars().collect();
        if length > 0 && length + 1 + characters.len() > room {
            lines.push(String::new());
            length = 0;
        }
        if length > 0 {
            lines.last_mut().into_iter().for_each(|line| line.push(' '));
            length += 1;
        }
        for character in characters {
            if length == room {
                lines.push(String::new());
                length = 0;
            }
            lines.last_mut().into_iter().for_each(|line| line.push(character));
            length += 1;
        }
    }
    lines
}

/// `45 s`, `12 min`, `3 h`, `2 d`: the largest unit, for a column.
#[must_use]
pub(super) fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let unit = units.into_iter().find(|(length, _)| seconds >= *length);
    unit.map_or_else(
        || format!("{seconds} s"),
        |(length, unit)| format!("{} {unit}", seconds / length),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_the_columns_that_its_characters_take() {
        for (line, width, shown) in [
            ("toner low", 9, "toner low"),
            ("toner low", 8, "toner..."),
            ("\u{4e2d}\u{6587}\u{4e2d}\u{6587}", 8, "\u{4e2d}\u{6587}\u{4e2d}\u{6587}"),
            ("\u{4e2d}\u{6587}\u{4e2d}\u{6587}", 7, "\u{4e2d}\u{6587}..."),
            ("e\u{301}e\u{301}e\u{301}", 3, "e\u{301}e\u{301}e\u{301}"),
            ("", 1, ""),
        ] {
            assert_eq!(fitted(line, width), shown);
        }
    }

    #[test]
    fn an_age_has_its_largest_unit() {
        let ages = [5, 90, 7_300, 200_000].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(ages, ["5 s", "1 min", "2 h", "2 d"]);
    }
}
