//! A terminal that treats keys otherwise for a while.
//!
//! Rule: it treats them as before when this is dropped, also by a panic. Must not know what the keys mean.

use std::io::Stdin;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// While this lives, the terminal is without these modes.
#[derive(Debug)]
pub(super) struct Keyboard<'a> {
    terminal: &'a Stdin,
    before: Termios,
}

impl<'a> Keyboard<'a> {
    pub(super) fn without(
        terminal: &'a Stdin,
        modes: LocalModes,
    ) -> Result<Self, rustix::io::Errno> {
        let before = tcgetattr(terminal)?;
        let mut changed = before.clone();
        changed.local_modes.remove(modes);
        tcsetattr(terminal, OptionalActions::Drain, &changed)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Keyboard<'_> {
    fn drop(&mut self) {
        // A terminal that has gone away needs nothing back.
        tcsetattr(self.terminal, OptionalActions::Now, &self.before).ok();
    }
}
