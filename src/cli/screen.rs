//! Text for people: tables, and standard output that may be read to its end or not.
//!
//! Rule: what others have written is shown without what deceives a terminal; a reader who has gone away ends no command.

use std::io::{self, Stdout, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::fitting::{beside, columns, hanging};
pub(super) use crate::quantities::{
    count, local, local_as_mailq, local_in_full, local_to_the_millisecond, relative, size, span,
    tenths, when,
};
use crate::text;

/// Between two columns.
const GAP: &str = "  ";
/// Before the further lines of a row that does not fit into one.
const FURTHER: &str = "    ";
/// Octets of a line that are held until its end is known.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Where text for people goes.
pub(super) trait Screen: Write {
    /// Columns of the terminal; `None` where it is none, and nothing is broken or cut.
    fn width(&self) -> Option<usize>;
}

/// Off a terminal.
impl Screen for Vec<u8> {
    fn width(&self) -> Option<usize> {
        None
    }
}

/// Anything that is written to, with the columns that it has.
#[derive(Debug)]
pub(super) struct Sheet<W> {
    pub(super) out: W,
    pub(super) width: Option<usize>,
}

impl<W: Write> Write for Sheet<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Screen for Sheet<W> {
    fn width(&self) -> Option<usize> {
        self.width
    }
}

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

/// A table that is printed page by page: columns only ever grow, so that pages line up. On a terminal that is too narrow for
/// all of its columns a row goes on below, where the other columns line up.
#[derive(Debug)]
pub(super) struct Table<const COLUMNS: usize> {
    columns: [(&'static str, Side); COLUMNS],
    widths: [usize; COLUMNS],
    /// The first column of each line of a row, as the titles were printed last.
    begins: Vec<usize>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table with these column titles.
    #[must_use]
    pub(super) fn new(columns: [(&'static str, Side); COLUMNS]) -> Self {
        let widths = columns.map(|(title, _)| title.chars().count());
        Self { columns, widths, begins: Vec::new() }
    }

    /// Prints rows; the titles come before the first ones, and again where the columns stand in other lines than before.
    pub(super) fn print(
        &mut self,
        out: &mut dyn Screen,
        rows: &[[String; COLUMNS]],
    ) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(columns(&clean(cell)));
            }
        }
        let begins = self.divided(out.width().unwrap_or(usize::MAX));
        if begins != self.begins {
            self.begins = begins;
            self.row(out, &self.columns.map(|(title, _)| title.to_owned()))?;
        }
        rows.iter().try_for_each(|row| self.row(out, row))
    }

    /// The first column of each line, so that a line has as many as fit.
    fn divided(&self, width: usize) -> Vec<usize> {
        let (mut begins, mut used) = (vec![0], 0);
        for (at, column) in self.widths.iter().enumerate() {
            let gap = if used == 0 { 0 } else { GAP.len() };
            if at > 0 && used + gap + column > width {
                begins.push(at);
                used = FURTHER.len() + column;
            } else {
                used += gap + column;
            }
        }
        begins
    }

    fn row(&self, out: &mut dyn Screen, cells: &[String; COLUMNS]) -> io::Result<()> {
        let ends = self.begins.iter().skip(1).copied().chain([COLUMNS]);
        for (begin, end) in self.begins.iter().copied().zip(ends) {
            let mut line = String::new();
            let cells = cells.iter().zip(self.widths).zip(self.columns);
            for ((cell, width), (_, side)) in cells.skip(begin).take(end - begin) {
                let cell = clean(cell);
                let blanks = " ".repeat(width.saturating_sub(columns(&cell)));
                match side {
                    Side::Left => line += &(cell + &blanks),
                    Side::Right => line += &(blanks + &cell),
                }
                line += GAP;
            }
            match line.trim_end() {
                "" if begin > 0 => {}
                line => {
                    let indent = if begin == 0 { "" } else { FURTHER };
                    paragraph(out, indent, line)?;
                }
            }
        }
        Ok(())
    }
}

/// Prints `label` in a column of its own and `lines` beside it.
pub(super) fn labelled(out: &mut dyn Screen, label: &str, lines: &[String]) -> io::Result<()> {
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    labels
        .zip(lines)
        .try_for_each(|(label, line)| paragraph(out, &format!("{label:<11} "), &clean(line)))
}

/// Prints every label that has lines.
pub(super) fn labelled_all(out: &mut dyn Screen, all: &[(&str, Vec<String>)]) -> io::Result<()> {
    all.iter().try_for_each(|(label, lines)| labelled(out, label, lines))
}

/// Prints a head and a line beside it, which is broken where the terminal is narrower.
fn paragraph(out: &mut dyn Screen, head: &str, line: &str) -> io::Result<()> {
    match out.width() {
        None => writeln!(out, "{head}{line}"),
        Some(width) => {
            beside(head, line, width).iter().try_for_each(|line| writeln!(out, "{line}"))
        }
    }
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

/// Lines for a terminal, whoever has written them: what [`text::printable`] writes out never passes, and a line that is
/// wider than the terminal is broken between words.
#[derive(Debug)]
pub(super) struct Lines<W: Write> {
    out: W,
    width: Option<usize>,
    /// The beginning of a character.
    begun: Vec<u8>,
    /// The beginning of a line, where there is a width.
    line: String,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(out: W, width: Option<usize>) -> Self {
        Self { out, width, begun: Vec::new(), line: String::new() }
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        let text = text::printable_lines(text);
        let Some(width) = self.width else { return self.out.write_all(text.as_bytes()) };
        for piece in text.split_inclusive('\n') {
            self.line += piece;
            if let Some(line) = self.line.strip_suffix('\n') {
                for line in hanging(line, width) {
                    writeln!(self.out, "{line}")?;
                }
                self.line.clear();
            } else if self.line.len() > LINE_BYTES_MAX {
                self.rest()?;
            }
        }
        Ok(())
    }

    /// What has no end yet.
    fn rest(&mut self) -> io::Result<()> {
        self.out.write_all(self.line.as_bytes())?;
        self.line.clear();
        Ok(())
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
                    self.text(text)?;
                    return Ok(bytes.len());
                }
                Err(error) => {
                    let (text, behind) = rest.split_at(error.valid_up_to());
                    self.text(&String::from_utf8_lossy(text))?;
                    let Some(wrong) = error.error_len() else {
                        self.begun = behind.to_vec();
                        return Ok(bytes.len());
                    };
                    self.text("\u{fffd}")?;
                    rest = &behind[wrong..];
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.rest()?;
        self.out.flush()
    }
}

/// Whether anybody still reads what is printed: a pipe whose reader has gone says so.
pub(super) fn is_read() -> bool {
    let stdout = io::stdout();
    let mut end = [PollFd::new(&stdout, PollFlags::empty())];
    let polled = poll(&mut end, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_err() || !end[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
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
        let mut out = Lines::new(Vec::new(), None);
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
