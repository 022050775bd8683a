//! Standard input with a limit to the waiting, for `sendmail -bs`.
//!
//! Rule: a caller that is silent for too long is not waited for. Must not know what is read.

use std::{io, os::fd::AsFd as _, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::sendmail::dialogue::Input;

/// Standard input, without a buffer of its own: what the session has not asked for stays in the pipe.
#[derive(Debug)]
pub(super) struct StandardInput(io::Stdin);

impl StandardInput {
    /// That of this process.
    pub(super) fn new() -> Self {
        Self(io::stdin())
    }
}

impl Input for StandardInput {
    fn receive(&mut self, buffer: &mut [u8], limit: Duration) -> io::Result<usize> {
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        let ready = poll(&mut [PollFd::new(&self.0.as_fd(), PollFlags::IN)], Some(&limit))?;
        if ready == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(rustix::io::read(self.0.as_fd(), buffer)?)
    }
}
