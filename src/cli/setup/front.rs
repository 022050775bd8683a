//! Whoever answers: a person at a terminal, or the flags and the JSON of a program, behind one trait.
//!
//! Rule: the flow does not know which it is, but for what it says at the end. Whoever cannot be asked gets the safe default
//! or the name of the missing flag, never a guess.

use super::questions::{NOBODY, Name, Question};
use crate::{
    exit::{Exit, Failure},
    secret::Secret,
};

/// Says what is kept of an answer, or what is wrong with it.
pub(super) type TextCheck<'c> = &'c dyn Fn(&str) -> Result<String, String>;
/// One of several answers: its name, and for whom it is.
pub(super) type Choice = (&'static str, &'static str);
/// The same of a password.
pub(super) type SecretCheck<'c> = &'c dyn Fn(Secret) -> Result<Secret, String>;

/// Somebody who answers.
pub(super) trait Front {
    /// The answer to a question, checked.
    fn answer(
        &mut self,
        question: &Question,
        choices: &[Choice],
        default: Option<&str>,
        check: TextCheck<'_>,
    ) -> Result<String, Failure>;

    /// The password, checked.
    fn password(&mut self, question: &Question, check: SecretCheck<'_>) -> Result<Secret, Failure>;

    /// Whether it may be done. `--yes` says so for all of it.
    fn agree(&mut self, what: &str) -> Result<bool, Failure>;

    /// One of these, by its place; `None` when nobody can be asked.
    fn choose(&mut self, what: &str, choices: &[String]) -> Result<Option<usize>, Failure>;

    /// Says something before a question.
    fn tell(&mut self, words: &str) -> Result<(), Failure>;

    /// Whether it is a person, who can be asked again.
    fn is_person(&self) -> bool;
}

/// Nobody is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silent {
    /// `--yes` was given.
    pub(super) yes: bool,
}

/// A flag that would have been needed.
pub(super) fn missing(flag: &str) -> Failure {
    Failure::new(Exit::Usage, format!("{flag} is needed: nobody is asked here"))
}

impl Front for Silent {
    fn answer(
        &mut self,
        question: &Question,
        _: &[Choice],
        default: Option<&str>,
        check: TextCheck<'_>,
    ) -> Result<String, Failure> {
        // A file that nobody has named is not looked for, and mail that nobody has asked for is not sent.
        let default = match question.name {
            Name::SendTo => Some(NOBODY),
            Name::ClientFile | Name::KeyFile => None,
            _ => default,
        };
        let default = default.ok_or_else(|| missing(question.flag))?;
        check(default)
            .map_err(|words| Failure::new(Exit::Usage, format!("{}: {words}", question.flag)))
    }

    fn password(&mut self, question: &Question, _: SecretCheck<'_>) -> Result<Secret, Failure> {
        Err(missing(question.flag))
    }

    fn agree(&mut self, what: &str) -> Result<bool, Failure> {
        if self.yes { Ok(true) } else { Err(missing(&format!("--yes ({what})"))) }
    }

    fn choose(&mut self, _: &str, _: &[String]) -> Result<Option<usize>, Failure> {
        Ok(None)
    }

    fn tell(&mut self, _: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn is_person(&self) -> bool {
        false
    }
}

/// Whether a text is the JSON of a client or of a key, as `name` asks for it.
pub(super) fn expect_json(name: Name, bytes: &[u8]) -> Result<(), String> {
    let document: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|_| "it is not JSON".to_owned())?;
    let (is_meant, wanted) = match name {
        Name::ClientFile => (
            document.get("installed").or_else(|| document.get("web")).is_some(),
            "it is not the JSON of an OAuth client, which has \"installed\" in it",
        ),
        _ => (
            document.get("type").and_then(serde_json::Value::as_str) == Some("service_account"),
            "it is not the JSON key of a service account, which has \"service_account\" in it",
        ),
    };
    if is_meant { Ok(()) } else { Err(wanted.to_owned()) }
}
