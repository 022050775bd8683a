//! The end of a command: an exit code, of sysexits.h but for one, and, when it failed, words for the administrator.
//!
//! Rule: every failure passes through here, so that a code means the same in every command.
//! Must not know any command.

use std::{fmt, io, process::ExitCode};

use crate::admin::{api::Kind, client::ClientError};

/// The codes of sysexits.h that Pillarbox uses, and the one of `pillarbox health` that supervisors expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// The relay runs and is not well.
    Unhealthy = 1,
    /// The command line makes no sense (EX_USAGE).
    Usage = 64,
    /// What was named does not exist or cannot be used (EX_DATAERR).
    Data = 65,
    /// The daemon does not run, or cannot start (EX_UNAVAILABLE).
    Unavailable = 69,
    /// It may work later (EX_TEMPFAIL).
    Temporary = 75,
    /// The caller may not do this (EX_NOPERM).
    Permission = 77,
    /// The configuration is wrong or incomplete (EX_CONFIG).
    Configuration = 78,
}

/// A command that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// The exit code.
    pub(super) exit: Exit,
    /// What happened, to which thing, what to do now; empty when nothing is left to say.
    pub(super) message: String,
}

impl Failure {
    /// A failure with its words.
    #[must_use]
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// The code for the shell.
    #[must_use]
    pub(super) fn code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::NoDaemon(_) | ClientError::Answer { .. } => Exit::Unavailable,
            ClientError::Permission(_) => Exit::Permission,
            ClientError::Silent(_) => Exit::Temporary,
            ClientError::Refused(refused) => match refused.error {
                Kind::BadRequest | Kind::NotFound | Kind::Corrupt => Exit::Data,
                Kind::Conflict | Kind::OtherState | Kind::Unavailable => Exit::Temporary,
            },
        };
        Self::new(exit, error.to_string())
    }
}

impl From<io::Error> for Failure {
    /// Output that cannot be written.
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Temporary, format!("cannot write the output: {error}"))
    }
}
