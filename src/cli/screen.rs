//! Text for people: tables, and standard output that may be read to its end or not.
//!
//! Rule: what others have written is shown without what deceives a terminal; a reader who has gone away ends no command.

use std::io::{self, Stdout, Write};

use serde::Serialize;

pub(super) use crate::quantities::{
    count, local, local_as_mailq, local_in_full, relative, size, span, when,
};
use crate::text;
pub(super) use crate::wording::phrase;

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
                *width = (*width).max(clean(cell).chars().count());
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

/// Prints every label that has lines.
pub(super) fn labelled_all(out: &mut dyn Write, all: &[(&str, Vec<String>)]) -> io::Result<()> {
    all.iter().try_for_each(|(label, lines)| labelled(out, label, lines))
}

/// Prints one JSON document.
pub(super) fn json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_string_pretty(value)?;
    writeln!(out, "{}", text::printable_json(&json))
}

/// The text as a terminal may have it: an upstream's reply must not move the cursor.
#[must_use]
pub(super) fn clean(text: &str) -> String {
    text::printable(text).into_owned()
}

/// Lines for a terminal, whoever has written them: what [`text::printable`] writes out never passes.
#[derive(Debug)]
pub(super) struct Lines<W: Write> {
    out: W,
    /// The beginning of a character.
    begun: Vec<u8>,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, begun: Vec::new() }
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.begun);
        let mut rest = all.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.out.write_all(text::printable_lines(text).as_bytes())?;
                    return Ok(bytes.len());
                }
                Err(error) => {
                    let (text, behind) = rest.split_at(error.valid_up_to());
                    let text = String::from_utf8_lossy(text);
                    self.out.write_all(text::printable_lines(&text).as_bytes())?;
                    let Some(wrong) = error.error_len() else {
                        self.begun = behind.to_vec();
                        return Ok(bytes.len());
                    };
                    self.out.write_all("\u{fffd}".as_bytes())?;
                    rest = &behind[wrong..];
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Where a command prints.
#[derive(Debug)]
pub(super) struct Output<W = Stdout> {
    target: W,
    /// Nobody reads any more.
    is_idle: bool,
}

impl Output {
    /// That of this process.
    pub(super) fn standard() -> Self {
        Self { target: io::stdout(), is_idle: false }
    }
}

impl<W> Output<W> {
    fn unless_nobody_reads<T>(&mut self, result: io::Result<T>, otherwise: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_idle = true;
                Ok(otherwise)
            }
            result => result,
        }
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_idle {
            return Ok(bytes.len());
        }
        let written = self.target.write(bytes);
        self.unless_nobody_reads(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_idle {
            return Ok(());
        }
        let flushed = self.target.flush();
        self.unless_nobody_reads(flushed, ())
    }
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
        assert_eq!(clean("550 \u{1b}[2Jno\r\n"), "550 \\u{1b}[2Jno\\u{d}\\u{a}");
        let mut out = Lines::new(Vec::new());
        for part in
            ["550 \u{202e}no".as_bytes(), b"\n\xc3", b"\xbc \xff\x1b[2J", "\u{e0041}".as_bytes()]
        {
            out.write_all(part).expect("written");
        }
        let text = String::from_utf8(out.out).expect("text");
        assert_eq!(text, "550 \\u{202e}no\n\u{fc} \u{fffd}\\u{1b}[2J\\u{e0041}");
    }

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_who_has_gone_is_no_failure_and_a_full_disk_is() {
        let mut gone = Output { target: Failing(io::ErrorKind::BrokenPipe), is_idle: false };
        assert!(gone.write_all(b"one").is_ok() && gone.flush().is_ok());
        let mut full = Output { target: Failing(io::ErrorKind::StorageFull), is_idle: false };
        assert!(full.write_all(b"one").is_err());
    }
}
