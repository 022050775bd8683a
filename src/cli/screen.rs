//! What commands print: aligned columns for people, JSON for programs.
//!
//! Rule: text that came from a client or from the upstream cannot steer the terminal. Must not know
//! what the columns mean.

use std::io::{self, Write};

use serde::Serialize;

/// Between two columns.
const GAP: &str = "  ";

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Which side of a column the text is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table that is printed page by page: columns only ever grow, so that pages line up.
#[derive(Debug)]
pub(super) struct Table<const COLUMNS: usize> {
    columns: [(&'static str, Side); COLUMNS],
    widths: [usize; COLUMNS],
    header_is_due: bool,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table with these column titles.
    #[must_use]
    pub(super) fn new(columns: [(&'static str, Side); COLUMNS]) -> Self {
        let widths = columns.map(|(title, _)| title.chars().count());
        Self { columns, widths, header_is_due: true }
    }

    /// Prints rows; the titles come before the first ones.
    pub(super) fn print(
        &mut self,
        out: &mut dyn Write,
        rows: &[[String; COLUMNS]],
    ) -> io::Result<()> {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if std::mem::take(&mut self.header_is_due) && !rows.is_empty() {
            self.line(out, &self.columns.map(|(title, _)| title.to_owned()))?;
        }
        rows.iter().try_for_each(|row| self.line(out, row))
    }

    fn line(&self, out: &mut dyn Write, cells: &[String; COLUMNS]) -> io::Result<()> {
        let mut line = String::new();
        for ((cell, width), (_, side)) in cells.iter().zip(self.widths).zip(self.columns) {
            let cell = clean(cell);
            match side {
                Side::Left => line += &format!("{cell:<width$}"),
                Side::Right => line += &format!("{cell:>width$}"),
            }
            line += GAP;
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// Prints `label` in a column of its own and `lines` beside it.
pub(super) fn labelled(out: &mut dyn Write, label: &str, lines: &[String]) -> io::Result<()> {
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    labels.zip(lines).try_for_each(|(label, line)| writeln!(out, "{label:<11} {}", clean(line)))
}

/// Prints one JSON document.
pub(super) fn json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// The text with every control character shown as `?`: an upstream's reply must not move the cursor.
#[must_use]
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

/// The text without the full stop that it may end with, to go on with one of our own.
#[must_use]
pub(super) fn phrase(text: &str) -> &str {
    text.trim_end().trim_end_matches('.')
}

/// `1 message`, `2 messages`.
#[must_use]
pub(super) fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// `1.2 MiB`.
#[must_use]
pub(super) fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_also_on_later_pages() {
        let mut table = Table::new([("ID", Side::Left), ("SIZE", Side::Right), ("TO", Side::Left)]);
        let mut out = Vec::new();
        let row = |id: &str, size: &str, to: &str| [id.to_owned(), size.to_owned(), to.to_owned()];
        table.print(&mut out, &[row("abc", "5 B", "x")]).expect("written");
        table.print(&mut out, &[row("a", "12 KiB", "y")]).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "ID   SIZE  TO\nabc   5 B  x\na    12 KiB  y\n");
    }

    #[test]
    fn a_reply_cannot_steer_the_terminal() {
        assert_eq!(clean("550 \u{1b}[2Jno\r\n"), "550 ?[2Jno??");
    }
}
