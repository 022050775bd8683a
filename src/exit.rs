//! The end of a command: an exit code, of sysexits.h but for one, and, when it failed, words for whoever reads them.
//!
//! Rule: every failure passes through here, so that a code means the same in every command and to every caller of
//! sendmail; 0 means that the mail is safe. Must not know any command.

use std::{fmt, io, process::ExitCode};

/// The codes of sysexits.h that Pillarbox uses, and the one of `pillarbox health` that supervisors expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The relay runs and is not well, or has not relayed a test message.
    Unhealthy = 1,
    /// The command line makes no sense (EX_USAGE).
    Usage = 64,
    /// What was named does not exist or cannot be used; a message without recipient or too large (EX_DATAERR).
    Data = 65,
    /// A recipient that nobody knows (EX_NOUSER).
    NoUser = 67,
    /// The daemon does not run, or cannot start; the relay refuses for a reason of its own (EX_UNAVAILABLE).
    Unavailable = 69,
    /// There is no room to keep what is read (EX_CANTCREAT).
    CannotCreate = 73,
    /// Reading or writing failed (EX_IOERR).
    Input = 74,
    /// It may work later (EX_TEMPFAIL).
    Temporary = 75,
    /// The caller may not do this (EX_NOPERM).
    Permission = 77,
    /// The configuration is wrong or incomplete (EX_CONFIG).
    Configuration = 78,
}

/// A command that failed, or a message that was not taken, or not for everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What happened, to which thing, what to do now; empty when nothing is left to say.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with its words.
    #[must_use]
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// The code for the shell.
    #[must_use]
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl From<io::Error> for Failure {
    /// Output that cannot be written.
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Temporary, format!("cannot write the output: {error}"))
    }
}
