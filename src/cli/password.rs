//! Asks for a password: twice and unseen on a terminal, or once on standard input.
//!
//! Rule: what is typed is wiped from memory, and the terminal gets its echo back. Must not know what the
//! password is for.

use std::io::{self, IsTerminal as _, Read, Stdin, Write as _};

use rustix::termios::LocalModes;
use zeroize::Zeroizing;

use super::keyboard::Keyboard;
use crate::exit::{Exit, Failure};
use crate::secret::Secret;

/// Octets of a password: far more than any device can store.
const PASSWORD_LENGTH_MAX: usize = 1024;
/// Characters below which a password is weak (NIST SP 800-63B section 3.1.1.2 asks for 8).
const PASSWORD_CHARACTERS_MIN: usize = 8;
/// Keys with a meaning of their own: Enter, Ctrl-C, Ctrl-D, the two of Backspace, Ctrl-U.
const ENTER: u8 = b'\n';
const INTERRUPT: u8 = 3;
const END: u8 = 4;
const ERASE: u8 = 0x7f;
const BACKSPACE: u8 = 8;
const KILL: u8 = 21;

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

/// Asks for a secret that exists already, at a terminal.
pub(super) fn ask_unseen(words: &str) -> Result<Secret, Failure> {
    Ok(Secret::new(prompt(&io::stdin(), words)?.to_string()))
}

fn prompt(stdin: &Stdin, words: &str) -> Result<Zeroizing<String>, Failure> {
    let mut screen = io::stderr();
    let line = {
        // Before the words: whoever answers at once is not shown either.
        let _unseen = unseen(stdin)?;
        write!(screen, "{words}").and_then(|()| screen.flush())?;
        read_keys(stdin)
    };
    // The person's own line end was not shown.
    writeln!(screen)?;
    line
}

/// What is typed until Enter, key by key: an interruption comes as a key, too, so that it cannot end the process before the
/// terminal has its echo back.
fn read_keys(stdin: &Stdin) -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSWORD_LENGTH_MAX));
    for byte in stdin.lock().bytes() {
        match byte.map_err(unreadable)? {
            ENTER | b'\r' => return text(&bytes),
            INTERRUPT | END => break,
            ERASE | BACKSPACE => {
                // All octets of the last character.
                while bytes.pop().is_some_and(|octet| octet & 0xc0 == 0x80) {}
            }
            KILL => bytes.clear(),
            _ if bytes.len() == PASSWORD_LENGTH_MAX => return Err(too_long()),
            byte => bytes.push(byte),
        }
    }
    Err(Failure::new(Exit::Temporary, "interrupted; nothing was changed"))
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(Exit::Temporary, format!("the password cannot be read: {error}"))
}

fn too_long() -> Failure {
    let words = format!("a password has at most {PASSWORD_LENGTH_MAX} octets; nothing was changed");
    Failure::new(Exit::Data, words)
}

fn text(bytes: &[u8]) -> Result<Zeroizing<String>, Failure> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Failure::new(Exit::Data, "the password is not UTF-8; nothing was changed"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The first line without its end. Read octet by octet, so that nothing behind it is taken.
fn read_line(stdin: &Stdin) -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSWORD_LENGTH_MAX));
    for byte in stdin.lock().bytes() {
        match byte.map_err(unreadable)? {
            b'\n' => break,
            _ if bytes.len() == PASSWORD_LENGTH_MAX => return Err(too_long()),
            byte => bytes.push(byte),
        }
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    text(&bytes)
}

/// While it lives, the terminal shows nothing of what is typed, and hands over every key.
fn unseen(terminal: &Stdin) -> Result<Keyboard<'_>, Failure> {
    let modes = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
    Keyboard::without(terminal, modes).map_err(|error| {
        Failure::new(
            Exit::Temporary,
            format!("the terminal cannot hide the password ({error}); give it with --stdin"),
        )
    })
}
