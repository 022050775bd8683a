//! The question before much is done at once, which grows with what would be lost or spent.
//!
//! Rule: nothing is asked where nobody can answer; there `--yes` is the answer.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::query;
use crate::{
    cli::screen::count,
    exit::{Exit, Failure},
    queue::search::Search,
    text,
};

/// Octets of an answer that are read.
const ANSWER_LENGTH_MAX: u64 = 100;

/// Whether somebody sits at a terminal who can be asked.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A deed in the words of the question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    /// `remove`
    pub(super) order: &'static str,
    /// `removes`
    pub(super) does: &'static str,
    /// `removed`
    pub(super) done: &'static str,
    /// What is said behind it, such as ` for good`.
    pub(super) consequence: &'static str,
}

/// What a program that did not say `--yes` hears.
pub(super) fn missing(words: Words, search: &Search) -> Failure {
    let which = match query::for_a_shell(search) {
        search if search.is_empty() => String::new(),
        search => match search.strip_prefix(" state:").filter(|state| !state.contains(' ')) {
            Some(state) => format!(" with a {state} recipient"),
            None => format!(" that is found by{search}"),
        },
    };
    let Words { does, consequence, .. } = words;
    let message = format!(
        "this {does} every message{which} in the queue{consequence}; add --yes if you mean it, or --dry-run to see them"
    );
    Failure::new(Exit::Usage, message)
}

/// Asks; an answer that is no yes is an error, and nothing was done.
pub(super) fn ask(words: Words, messages: u64, recipients: u64) -> Result<(), Failure> {
    let (mut screen, mut answer) = (io::stderr(), String::new());
    write!(screen, "{}", question(words, messages, recipients)).and_then(|()| screen.flush())?;
    io::Read::take(io::stdin().lock(), ANSWER_LENGTH_MAX).read_line(&mut answer)?;
    if is_yes(messages, &answer) {
        return Ok(());
    }
    let Words { does, done, .. } = words;
    let words = format!("that is not the answer that {does} them; nothing was {done}");
    Err(Failure::new(Exit::Data, words))
}

fn question(words: Words, messages: u64, recipients: u64) -> String {
    let recipients = count(recipients, "recipient");
    let Words { order, does, consequence, .. } = words;
    match messages {
        0 | 1 => {
            let order = text::capitalized(order);
            format!("This {does} one message to {recipients}{consequence}. {order} it? [y/N] ")
        }
        _ => format!(
            "This {does} {messages} messages to {recipients}{consequence}. Type the number of messages to {order} them: "
        ),
    }
}

fn is_yes(messages: u64, answer: &str) -> bool {
    let answer = answer.trim();
    match messages {
        0 | 1 => ["y", "yes"].iter().any(|yes| answer.eq_ignore_ascii_case(yes)),
        _ => answer == messages.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_takes_a_yes_and_many_their_number() {
        for (messages, answer, is_meant) in [
            (1, "y\n", true),
            (1, "YES\n", true),
            (1, "\n", false),
            (1, "1\n", false),
            (2, "y\n", false),
            (120, "120\n", true),
            (120, "12\n", false),
            (120, "", false),
        ] {
            assert_eq!(is_yes(messages, answer), is_meant, "{messages}: {answer:?}");
        }
        let words =
            Words { order: "remove", does: "removes", done: "removed", consequence: " for good" };
        assert_eq!(
            question(words, 1, 3),
            "This removes one message to 3 recipients for good. Remove it? [y/N] "
        );
        assert_eq!(
            question(words, 120, 1),
            "This removes 120 messages to 1 recipient for good. Type the number of messages to remove them: "
        );
    }
}
