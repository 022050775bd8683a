//! Lines that fit the terminal they are printed on.
//!
//! Rule: off a terminal nothing is cut or broken. A word is broken only where it is longer than the terminal: what is copied
//! from there is whole. Must not know what a line says.

use std::{
    borrow::Cow,
    io::{self, IsTerminal as _},
    os::fd::AsFd,
    time::Duration,
};

use unicode_width::UnicodeWidthChar as _;

/// Columns and rows of a terminal that does not say how many it has.
const COLUMNS_USUAL: usize = 80;
const ROWS_USUAL: usize = 24;
/// Columns of a line where no terminal says how many it has, and the fewest that make sense.
const WIDTH: usize = 100;
const WIDTH_MIN: usize = 50;
/// Columns beside a head below which words go under it.
const ROOM_MIN: usize = 20;
/// How far under it.
const UNDER_HEAD: usize = 4;
/// Before a line that goes on.
const HANGING: usize = 2;

/// Columns of the terminal that standard output is; `None` when it is none, and nothing is cut.
#[must_use]
pub(super) fn width() -> Option<usize> {
    io::stdout().is_terminal().then(|| terminal_columns().unwrap_or(COLUMNS_USUAL))
}

/// The same of standard error.
#[must_use]
pub(super) fn width_of_stderr() -> Option<usize> {
    let stderr = io::stderr();
    stderr.is_terminal().then(|| columns_of_terminal(&stderr).unwrap_or(COLUMNS_USUAL))
}

/// How much a terminal shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// The size of the terminal that standard output is.
#[must_use]
pub(super) fn size() -> Size {
    let rows = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_row);
    let rows = if rows == 0 { ROWS_USUAL } else { rows.into() };
    Size { columns: terminal_columns().unwrap_or(COLUMNS_USUAL), rows }
}

/// Columns that the terminal of standard output says it has.
fn terminal_columns() -> Option<usize> {
    columns_of_terminal(&io::stdout())
}

fn columns_of_terminal(terminal: &impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Columns of a text on a terminal: two for a character of East Asian scripts and for a picture, none for a mark over others.
#[must_use]
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(character: char) -> usize {
    character.width().unwrap_or(0)
}

/// A line that is no wider than `width`; dots say that it was.
#[must_use]
pub(super) fn fitted(line: &str, width: usize) -> Cow<'_, str> {
    let mut used = 0;
    let mut kept = 0;
    for (at, character) in line.char_indices() {
        used += columns_of(character);
        if used > width {
            let dots = &"..."[..width.min(3)];
            return Cow::Owned(format!("{}{dots}", line[..kept].trim_end()));
        }
        // Room for the dots.
        if used + 3 <= width {
            kept = at + character.len_utf8();
        }
    }
    Cow::Borrowed(line)
}

/// Columns of a line: the terminal's, or what COLUMNS says.
#[must_use]
pub(super) fn line_width() -> usize {
    let of_variable = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal_columns().or_else(of_variable).unwrap_or(WIDTH).max(WIDTH_MIN)
}

/// Lines of at most so many columns: the head, and beside it the text, broken between words. A word that is too long for its
/// place begins further to the left. It is broken where it is longer than a line; what follows stays beside the head, so
/// that nobody's words pass for a head of ours.
#[must_use]
pub(super) fn beside(head: &str, text: &str, width: usize) -> Vec<String> {
    broken(head, columns(head), text, width)
}

/// Lines of at most so many columns, broken between words; all but the first begin with blanks, so that each is seen to
/// go on.
#[must_use]
pub(super) fn hanging(line: &str, width: usize) -> Vec<String> {
    let text = line.trim_start_matches(' ');
    if !text.contains(' ') && text.contains("://") {
        // A link alone: the terminal breaks it where it likes, and gives it back whole to who copies it.
        return vec![line.to_owned()];
    }
    let (blanks, text) = line.split_at(line.len() - text.len());
    broken(blanks, blanks.len() + HANGING, text, width)
}

/// Help, or the words of a failure, in lines that fit: what is explained stays in its column.
#[must_use]
pub(super) fn explained(text: &str, width: Option<usize>) -> Cow<'_, str> {
    let Some(width) = width else { return Cow::Borrowed(text) };
    let line = |line: &str| {
        let words = line.trim_start_matches(' ');
        let indent = line.len() - words.len();
        // Such as an option, two blanks, and what it does.
        let column = words.rfind("  ").map(|at| indent + at + 2);
        match column.filter(|_| indent > 0) {
            Some(column) => beside(&line[..column], &line[column..], width),
            None => broken(&line[..indent], indent, words, width),
        }
        .join("\n")
    };
    let mut lines: String = text.lines().map(line).collect::<Vec<_>>().join("\n");
    if text.ends_with('\n') {
        lines.push('\n');
    }
    Cow::Owned(lines)
}

/// The same with a margin of the further lines.
fn broken(head: &str, margin: usize, text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut margin = margin;
    let mut lines = vec![Line { text: head.to_owned(), columns: columns(head), is_begun: false }];
    if margin > 0 && margin + ROOM_MIN > width {
        margin = UNDER_HEAD.min(width / 4);
        if !head.trim().is_empty() {
            lines.push(Line::indented(margin));
        }
    }
    for word in text.split(' ') {
        let length = columns(word);
        // Where it is whole: beside the head, or further to the left, but not where a line of ours begins.
        let indent = match width.checked_sub(length) {
            Some(indent) if margin == 0 || indent > 0 => margin.min(indent),
            _ => margin,
        };
        let last = lines.last().map_or(width, |line| line.columns + usize::from(line.is_begun));
        let is_on_its_way = lines.last().is_some_and(|line| line.is_begun || line.columns > indent);
        if last + length > width && is_on_its_way {
            lines.push(Line::indented(indent));
        } else if let Some(line) = lines.last_mut().filter(|line| line.is_begun) {
            line.push(' ');
        }
        for character in word.chars() {
            if lines.last().is_some_and(|line| line.columns + columns_of(character) > width) {
                lines.push(Line::indented(margin));
            }
            lines.last_mut().into_iter().for_each(|line| line.push(character));
        }
        // An empty word is a blank that somebody has written.
        lines.last_mut().into_iter().for_each(|line| line.is_begun = true);
    }
    let mut shown: Vec<String> = lines.iter().map(|line| line.text.trim_end().to_owned()).collect();
    shown.retain(|line| !line.is_empty());
    if shown.is_empty() { vec![String::new()] } else { shown }
}

/// A line that grows.
#[derive(Debug, Default)]
struct Line {
    text: String,
    columns: usize,
    /// It has a word already.
    is_begun: bool,
}

impl Line {
    fn indented(margin: usize) -> Self {
        Self { text: " ".repeat(margin), columns: margin, is_begun: false }
    }

    fn push(&mut self, character: char) {
        self.text.push(character);
        self.is_begun = true;
        self.columns += columns_of(character);
    }
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
    fn words_stand_beside_their_head_and_what_is_too_long_for_there_is_whole_further_left() {
        for (head, text, width, lines) in [
            ("queue  ", "one two three four", 30, &["queue  one two three four"][..]),
            (
                "queue  ",
                "one two three four five",
                28,
                &["queue  one two three four", "       five"],
            ),
            ("", "one two three", 7, &["one two", "three"]),
            ("  ", "one two three", 30, &["  one two three"]),
            ("", "", 7, &[""]),
            ("queue  ", "", 28, &["queue"]),
            ("", "two  blanks", 20, &["two  blanks"]),
            ("", "incomprehensible", 7, &["incompr", "ehensib", "le"]),
            (
                "the head  ",
                "a long.address@example.net b",
                31,
                &["the head  a", "       long.address@example.net", "          b"],
            ),
            (
                "the head  ",
                "long.address@example.net",
                30,
                &["the head", "      long.address@example.net"],
            ),
            (
                "a head that leaves no room ",
                "for words",
                30,
                &["a head that leaves no room", "    for words"],
            ),
            (
                "",
                "\u{4e2d}\u{6587}\u{4e2d} e\u{301}e\u{301}",
                6,
                &["\u{4e2d}\u{6587}\u{4e2d}", "e\u{301}e\u{301}"],
            ),
        ] {
            assert_eq!(beside(head, text, width), lines);
        }
    }

    #[test]
    fn help_keeps_its_columns() {
        let help = "Does it.\n\nOptions:\n      --all  The whole queue, however long it is\n  -h         Print help\n";
        let fitted = "Does it.\n\nOptions:\n      --all  The whole queue,\n             however long it is\n  -h         Print help\n";
        assert_eq!(explained(help, Some(34)), fitted);
        assert_eq!(explained(help, None), help);
    }

    #[test]
    fn a_word_longer_than_a_line_begins_no_line_as_a_head_of_ours_does() {
        let long = "x".repeat(70) + "account     open";
        let lines = beside("queue       ", &long, 60);
        assert!(lines[1..].iter().all(|line| line.starts_with("            ")), "{lines:#?}");
        let lines = beside("queue       ", &("y".repeat(60) + " account     open"), 60);
        assert!(lines[1..].iter().all(|line| line.starts_with(' ')), "{lines:#?}");
        let link = "  https://accounts.example.org/".to_owned() + &"a1".repeat(100);
        assert_eq!(hanging(&link, 60), [link], "a link alone can be copied");
        let lines = hanging(&("12:00 S: ".to_owned() + &long), 60);
        assert!(lines[1..].iter().all(|line| line.starts_with(' ')), "{lines:#?}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_whatever_is_printed_and_nothing_is_lost() {
        let words = [
            "a",
            "\u{4e2d}\u{6587}",
            "e\u{301}",
            "\u{1f600}\u{1f600}",
            "long.address@example.net",
            "",
        ];
        let text: String =
            (0..40).map(|at| words[at * 7 % words.len()]).collect::<Vec<_>>().join(" ");
        let letters = |text: &str| text.replace(' ', "");
        for width in 2..60 {
            for head in ["", "  ", "the head  ", "\u{4e2d}  "] {
                let lines = beside(head, &text, width);
                let widest = lines
                    .iter()
                    .skip(usize::from(columns(head) > width))
                    .map(|line| columns(line))
                    .max();
                assert!(widest <= Some(width), "{width} {head:?}: {lines:#?}");
                assert_eq!(letters(&lines.concat()), letters(&(head.to_owned() + &text)));
            }
        }
    }

    #[test]
    fn an_age_has_its_largest_unit() {
        let ages = [5, 90, 7_300, 200_000].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(ages, ["5 s", "1 min", "2 h", "2 d"]);
    }
}
