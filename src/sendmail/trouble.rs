//! A failure to submit, as an exit code of sysexits.h and one line for whoever reads standard error.
//!
//! Rule: the code says whose fault it is and whether to try again; callers decide by it. 0 means that the mail
//! is safe. Must not know what led here.

use std::fmt;

use crate::smtp::client::reply::Reply;

/// The codes of sysexits.h that a submission may end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The command line (EX_USAGE).
    Usage = 64,
    /// The message: no recipient, too large (EX_DATAERR).
    Data = 65,
    /// A recipient that nobody knows (EX_NOUSER).
    NoUser = 67,
    /// The relay refuses for a reason of its own (EX_UNAVAILABLE).
    Unavailable = 69,
    /// There is no room to keep what is read (EX_CANTCREAT).
    CannotCreate = 73,
    /// Reading or writing failed (EX_IOERR).
    Input = 74,
    /// It may work later (EX_TEMPFAIL).
    Temporary = 75,
    /// The caller may not do this (EX_NOPERM).
    Permission = 77,
    /// The configuration is wrong (EX_CONFIG).
    Configuration = 78,
}

/// A message that was not taken, or not for everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// For programs.
    pub code: Code,
    /// For people: one line.
    pub words: String,
}

impl Trouble {
    /// Trouble with its words.
    #[must_use]
    pub fn new(code: Code, words: impl Into<String>) -> Self {
        Self { code, words: words.into() }
    }

    /// What a final refusal of the relay means.
    #[must_use]
    pub fn refused(answer: &Reply, what: &str) -> Self {
        Self::new(code_of(answer), format!("{what}: {answer}"))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.words)
    }
}

/// The enhanced code (RFC 3463) says more than the three digits, where there is one.
fn code_of(answer: &Reply) -> Code {
    let (subject, detail) = answer.enhanced().unwrap_or_default();
    match (subject, detail, answer.code) {
        _ if answer.is_temporary() => Code::Temporary,
        // Bad addresses; 5.1.7 and 5.1.8 are about the sender.
        (1, 7 | 8, _) => Code::Data,
        (1, ..) => Code::NoUser,
        (3, 4, _) | (6, ..) | (2, 3, _) | (4, 6, _) => Code::Data,
        (7, ..) => Code::Permission,
        (_, _, 552 | 554) => Code::Data,
        (_, _, 530 | 535 | 538) => Code::Permission,
        (0, _, 550 | 551 | 553) => Code::NoUser,
        _ => Code::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_code() {
        for (line, code) in [
            ("552 5.3.4 too large", Code::Data),
            ("554 5.4.6 loop", Code::Data),
            ("554 no", Code::Data),
            ("550 5.1.3 nobody reads mail to this host", Code::NoUser),
            ("550 no such user", Code::NoUser),
            ("553 5.1.3 bad address", Code::NoUser),
            ("553 5.1.7 bad sender", Code::Data),
            ("550 5.7.1 relaying denied", Code::Permission),
            ("530 5.7.0 log in first", Code::Permission),
            ("530 log in first", Code::Permission),
            ("501 5.5.4 bad parameter", Code::Unavailable),
            ("451 4.3.0 later", Code::Temporary),
        ] {
            let answer = Reply::of(line).unwrap();
            assert_eq!(Trouble::refused(&answer, "x").code, code, "{line}");
        }
    }
}
