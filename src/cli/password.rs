//! Asks for a password: twice and unseen on a terminal, or once on standard input.
//!
//! Rule: what is typed is wiped from memory, and the terminal gets its echo back. Must not know what the
//! password is for.

use std::io::{self, IsTerminal as _, Read, Stdin, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
use crate::secret::Secret;

/// Octets of a password: far more than any device can store.
const PASSWORD_LENGTH_MAX: usize = 1024;
/// Characters below which a password is weak (NIST SP 800-63B section 3.1.1.2 asks for 8).
const PASSWORD_CHARACTERS_MIN: usize = 8;

/// A password that somebody gave.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) secret: Secret,
    /// What should be said about it.
    pub(super) warning: Option<String>,
}

/// Asks for the new password of `login`.
pub(super) fn ask(login: &str, from_stdin: bool) -> Result<Entered, Failure> {
    let stdin = io::stdin();
    if from_stdin || !stdin.is_terminal() {
        return entered(&read_line(&stdin)?);
    }
    let first = prompt(&stdin, &format!("New password of {login}: "))?;
    let second = prompt(&stdin, "The same once more: ")?;
    if *first != *second {
        return Err(Failure::new(Exit::Data, "the two passwords differ; nothing was changed"));
    }
    entered(&first)
}

fn entered(password: &str) -> Result<Entered, Failure> {
    if password.is_empty() {
        return Err(Failure::new(Exit::Data, "the password is empty; nothing was changed"));
    }
    if password.contains('\0') {
        return Err(Failure::new(Exit::Data, "a password cannot hold a NUL; nothing was changed"));
    }
    let characters = password.chars().count();
    let warning = (characters < PASSWORD_CHARACTERS_MIN).then(|| {
        format!("the password has only {characters} characters; {PASSWORD_CHARACTERS_MIN} or more are better")
    });
    Ok(Entered { secret: Secret::new(password.to_owned()), warning })
}

fn prompt(stdin: &Stdin, words: &str) -> Result<Zeroizing<String>, Failure> {
    let mut screen = io::stderr();
    write!(screen, "{words}").and_then(|()| screen.flush())?;
    let line = {
        let _unseen = Unseen::begin(stdin)?;
        read_line(stdin)
    };
    // The person's own line end was not shown.
    writeln!(screen)?;
    line
}

/// The first line without its end. Read octet by octet, so that nothing behind it is taken.
fn read_line(stdin: &Stdin) -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSWORD_LENGTH_MAX));
    let unreadable = |error: io::Error| {
        Failure::new(Exit::Temporary, format!("the password cannot be read: {error}"))
    };
    for byte in stdin.lock().bytes() {
        match byte.map_err(unreadable)? {
            b'\n' => break,
            _ if bytes.len() == PASSWORD_LENGTH_MAX => {
                let words = format!(
                    "a password has at most {PASSWORD_LENGTH_MAX} octets; nothing was changed"
                );
                return Err(Failure::new(Exit::Data, words));
            }
            byte => bytes.push(byte),
        }
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::new(Exit::Data, "the password is not UTF-8; nothing was changed"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// While this lives, the terminal shows nothing of what is typed.
struct Unseen<'a> {
    terminal: &'a Stdin,
    before: Termios,
}

impl<'a> Unseen<'a> {
    fn begin(terminal: &'a Stdin) -> Result<Self, Failure> {
        let refused = |error: rustix::io::Errno| {
            Failure::new(
                Exit::Temporary,
                format!("the terminal cannot hide the password ({error}); give it with --stdin"),
            )
        };
        let before = tcgetattr(terminal).map_err(refused)?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &unseen).map_err(refused)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        // A terminal that has gone away needs no echo.
        tcsetattr(self.terminal, OptionalActions::Now, &self.before).ok();
    }
}
