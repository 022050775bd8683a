//! A person at a terminal: prompts with line editing, choices by number, a password that is not shown.
//!
//! Rule: what is typed or was found never steers the terminal; no colours, no hidden cursor that an interruption would
//! leave behind. A person who answers wrongly is told why and asked again, but not for ever.

use std::{
    io::{self, IsTerminal as _, Stderr, Write},
    os::fd::{AsRawFd, RawFd},
};

use dialoguer::{Input, console::Term};

use super::{
    front::{Choice, Front, SecretCheck, TextCheck},
    questions::Question,
};
use crate::{
    cli::{
        fitting::{beside, columns, line_width},
        password,
    },
    exit::{Exit, Failure},
    secret::Secret,
    text::{is_deceptive, printable},
};

/// Before what is wrong with an answer.
const MARGIN: usize = 2;
/// Wrong answers in a row to one question.
const ATTEMPTS_MAX: usize = 20;
/// What a character that could steer the terminal is shown as while it is typed.
const UNSEEN: &str = "\u{fffd}";

/// The terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    term: Term,
    /// `--yes` was given.
    yes: bool,
}

/// Standard error, to which the prompt library writes what is typed and how the cursor moves.
#[derive(Debug)]
struct Screen(Stderr);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The library's own sequences are ASCII, and it takes no control character of ASCII from a keyboard.
        let text = String::from_utf8_lossy(bytes);
        let mut shown = String::with_capacity(text.len());
        for character in text.chars() {
            match character.is_ascii() || !is_deceptive(character) {
                true => shown.push(character),
                false => shown.push_str(UNSEEN),
            }
        }
        self.0.write_all(shown.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl AsRawFd for Screen {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Whether somebody can be asked here.
pub(super) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

impl Terminal {
    pub(super) fn new(yes: bool) -> Self {
        Self { term: Term::read_write_pair(io::stdin(), Screen(io::stderr())), yes }
    }

    /// One line of text that the check takes; beside the answer it says what is shown of it.
    fn line<T>(
        &mut self,
        prompt: &str,
        default: Option<&str>,
        check: impl Fn(&str) -> Result<(T, String), String>,
    ) -> Result<T, Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let mut input =
                Input::<String>::new().with_prompt(prompt).allow_empty(true).report(false);
            if let Some(default) = default {
                input = input.default(printable(default).into_owned());
            }
            let typed = input.interact_text_on(&self.term).map_err(ended)?;
            let typed = match typed.is_empty() {
                true => default.unwrap_or_default().to_owned(),
                false => typed,
            };
            // The library has cleared its line: what counts is shown instead.
            match check(&typed) {
                Ok((answer, shown)) => {
                    self.say(0, &format!("{prompt}: {shown}"))?;
                    return Ok(answer);
                }
                Err(words) => {
                    self.say(0, &format!("{prompt}: {typed}"))?;
                    self.say(MARGIN, &words)?;
                }
            }
        }
        Err(Failure::new(Exit::Data, format!("{prompt}: no answer that can be used")))
    }

    /// Words, so many columns from the left.
    fn say(&mut self, margin: usize, words: &str) -> Result<(), Failure> {
        self.listed(&" ".repeat(margin), words)
    }

    /// Words beside a head.
    fn listed(&mut self, head: &str, words: &str) -> Result<(), Failure> {
        let (width, blanks) = (line_width(), " ".repeat(columns(head)));
        let heads = std::iter::once(head).chain(std::iter::repeat(blanks.as_str()));
        for (head, line) in heads.zip(words.lines()) {
            for line in beside(head, &printable(line), width) {
                self.term.write_line(&line)?;
            }
        }
        Ok(())
    }

    /// An empty line, before something new.
    fn gap(&mut self) -> Result<(), Failure> {
        Ok(self.term.write_line("")?)
    }
}

/// The terminal has gone, or somebody wants to leave.
fn ended(error: dialoguer::Error) -> Failure {
    let dialoguer::Error::IO(error) = error;
    Failure::new(Exit::Temporary, format!("the terminal gives no answer: {error}"))
}

fn number(text: &str, count: usize) -> Result<usize, String> {
    let place = text.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    place
        .filter(|place| *place < count)
        .ok_or_else(|| format!("a number from 1 to {count} is needed"))
}

fn yes_or_no(text: &str) -> Result<(bool, String), String> {
    match text.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok((true, "yes".to_owned())),
        "n" | "no" => Ok((false, "no".to_owned())),
        _ => Err("yes or no is needed".to_owned()),
    }
}

impl Front for Terminal {
    fn answer(
        &mut self,
        question: &Question,
        choices: &[Choice],
        default: Option<&str>,
        check: TextCheck<'_>,
    ) -> Result<String, Failure> {
        self.gap()?;
        self.say(0, question.help)?;
        for (index, (name, whom)) in choices.iter().enumerate() {
            self.listed(&format!("  {:<2} {name:<15}  ", index + 1), whom)?;
        }
        self.line(question.prompt, default, |text| {
            check(text).map(|answer| (answer.clone(), answer))
        })
    }

    fn password(&mut self, question: &Question, check: SecretCheck<'_>) -> Result<Secret, Failure> {
        self.gap()?;
        self.say(0, question.help)?;
        for _ in 0..ATTEMPTS_MAX {
            let typed = password::ask_unseen(&format!("{}: ", question.prompt))?;
            match check(typed) {
                Ok(secret) => return Ok(secret),
                Err(words) => self.say(MARGIN, &words)?,
            }
        }
        Err(Failure::new(Exit::Data, "no password that can be used"))
    }

    fn agree(&mut self, what: &str) -> Result<bool, Failure> {
        if self.yes {
            Ok(true)
        } else {
            self.line(&format!("{what} (yes or no)"), Some("yes"), yes_or_no)
        }
    }

    fn choose(&mut self, what: &str, choices: &[String]) -> Result<Option<usize>, Failure> {
        self.gap()?;
        for (index, choice) in choices.iter().enumerate() {
            self.listed(&format!("  {}  ", index + 1), choice)?;
        }
        let chosen = |text: &str| {
            let place = number(text, choices.len())?;
            Ok((place, choices.get(place).cloned().unwrap_or_default()))
        };
        self.line(what, Some("1"), chosen).map(Some)
    }

    fn tell(&mut self, words: &str) -> Result<(), Failure> {
        self.gap()?;
        self.say(0, words)
    }

    fn is_person(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_a_yes_is_taken_as_people_type_it() {
        assert_eq!(number(" 2 ", 3), Ok(1));
        assert!(["0", "4", "x", ""].iter().all(|text| number(text, 3).is_err()));
        for (text, expected) in [("Y", true), ("yes", true), (" no", false), ("N", false)] {
            assert_eq!(yes_or_no(text).unwrap().0, expected, "{text}");
        }
        assert!(yes_or_no("perhaps").is_err());
    }
}
