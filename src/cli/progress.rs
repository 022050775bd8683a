//! The line of a terminal that says how far long work has come and renews itself; nothing anywhere else.
//!
//! Rule: it is written to standard error, so that what is piped stays as it is; a terminal that cannot take a line back
//! (TERM=dumb) gets none. No colour is used, so NO_COLOR changes nothing. Must not know what the work is.

use std::{
    cell::Cell,
    env,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use crate::clock::Stopwatch;

/// Work that is done sooner shows nothing, and the line is not renewed more often.
const EVERY: Duration = Duration::from_millis(200);

/// The line.
#[derive(Debug)]
pub(super) struct Progress {
    verb: &'static str,
    /// How many there are, where that is known.
    total: Option<u64>,
    done: Cell<u64>,
    is_on: bool,
    /// Since it was last renewed.
    renewed: Cell<Stopwatch>,
    is_shown: Cell<bool>,
}

impl Progress {
    /// For work in words such as "checked".
    pub(super) fn new(verb: &'static str, total: Option<u64>) -> Self {
        let is_dumb = env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        Self {
            verb,
            total,
            done: Cell::new(0),
            is_on: io::stderr().is_terminal() && !is_dumb,
            renewed: Cell::new(Stopwatch::start()),
            is_shown: Cell::new(false),
        }
    }

    /// The same where the work itself prints nothing to the terminal.
    pub(super) fn of_silent_work(verb: &'static str, total: Option<u64>) -> Self {
        let mut progress = Self::new(verb, total);
        progress.is_on &= !io::stdout().is_terminal();
        progress
    }

    /// One more is done.
    pub(super) fn step(&self) {
        self.done.set(self.done.get() + 1);
        if self.is_on && self.renewed.get().elapsed() >= EVERY {
            self.renewed.set(Stopwatch::start());
            self.is_shown.set(true);
            // Nobody is left to tell when this fails.
            drop(write!(io::stderr(), "\r\x1b[K{}", self.line()));
        }
    }

    /// Makes room for another line.
    pub(super) fn clear(&self) {
        if self.is_shown.take() {
            drop(write!(io::stderr(), "\r\x1b[K"));
        }
    }

    fn line(&self) -> String {
        let (verb, done) = (self.verb, self.done.get());
        match self.total {
            Some(total) if total > 0 => {
                format!("{done} of {total} {verb} ({} %)", done.min(total) * 100 / total)
            }
            _ => format!("{done} {verb}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_many_of_how_many_where_that_is_known() {
        let lines = [(None, 3), (Some(0), 3), (Some(200), 3), (Some(2), 3)].map(|(total, done)| {
            let progress = Progress::new("checked", total);
            (0..done).for_each(|_| progress.step());
            progress.line()
        });
        let expected =
            ["3 checked", "3 checked", "3 of 200 checked (1 %)", "3 of 2 checked (100 %)"];
        assert_eq!(lines, expected);
    }
}
