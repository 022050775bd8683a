//! The command line of sendmail(1), as twenty years of callers write it.
//!
//! Rule: no flag ever loses mail. One that nobody knows is told and passed over, one with a value takes its
//! value with it (or it would become a recipient), and those that could name a file to read or to write are
//! consumed and forgotten, because web programs hand through what strangers typed.
//! Must not know how mail is sent.

use std::{collections::VecDeque, path::PathBuf};

use crate::smtp::dsn::{Content, ENVELOPE_ID_LENGTH_MAX, Notify};

/// Letters that have a value, glued to them or as the next argument. `C`, `X`, `O` and `o` are among them: what
/// they name is never opened.
const WITH_VALUE: &str = "ABCFLMNOPRVXbefhopr";
/// Letters that stand alone and mean something to other programs only.
const WITHOUT_MEANING: &str = "EGTUacmnsx";
/// Letters whose value can only be glued to them; nothing of it concerns us.
const WITH_GLUED_VALUE: &str = "Qd";

/// As what the program was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `sendmail`.
    Sendmail,
    /// `mailq`.
    Mailq,
    /// `newaliases`.
    Newaliases,
}

/// How it was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// By the name of the role, as programs do that know nothing of us.
    Name,
    /// As `pillarbox ROLE`, by somebody who means us: only then `--config` and `--host` count.
    Subcommand,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Send the message on standard input (`-bm`).
    Send,
    /// Speak SMTP on standard input and output (`-bs`).
    Dialogue,
    /// Show the queue (`-bp`).
    Queue,
    /// Check the aliases (`-bi`).
    Aliases,
    /// Explain where an address would go (`-bv`, `-bt`).
    Explain,
    /// Try again (`-q`): one message, or all of them.
    Retry(Option<String>),
    /// Not for us, with the flag that asked for it (`-bd`, `-bl`, `-D`).
    Daemon(String),
    /// Show how it is used.
    Help,
}

/// A command line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flags {
    /// What is to be done.
    pub(crate) mode: Mode,
    /// Recipients, as they were written.
    pub(crate) recipients: Vec<String>,
    /// `-t`: take recipients from the header section as well.
    pub(crate) from_header: bool,
    /// `-i`: a lone dot is a part of the message.
    pub(crate) ignore_dots: bool,
    /// `-f`: the reverse path that is wished for; empty is the null one.
    pub(crate) sender: Option<String>,
    /// `-F`: the name for a From that is missing.
    pub(crate) full_name: Option<String>,
    /// `-N`.
    pub(crate) notify: Option<Notify>,
    /// `-R`.
    pub(crate) content: Option<Content>,
    /// `-V`.
    pub(crate) envelope_id: Option<String>,
    /// `-v`: say the queue id.
    pub(crate) verbose: bool,
    /// `--host`: where to submit.
    pub(crate) destination: Option<String>,
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// What was passed over, in words.
    pub(crate) warnings: Vec<String>,
}

impl Flags {
    /// Reads the arguments, without the program's name.
    pub(crate) fn parse(
        role: Role,
        spelling: Spelling,
        arguments: impl IntoIterator<Item = String>,
    ) -> Self {
        let mode = match role {
            Role::Sendmail => Mode::Send,
            Role::Mailq => Mode::Queue,
            Role::Newaliases => Mode::Aliases,
        };
        let flags = Self {
            mode,
            recipients: Vec::new(),
            from_header: false,
            ignore_dots: false,
            sender: None,
            full_name: None,
            notify: None,
            content: None,
            envelope_id: None,
            verbose: false,
            destination: None,
            config: None,
            warnings: Vec::new(),
        };
        let mut parser = Parser { arguments: arguments.into_iter().collect(), spelling, flags };
        parser.run();
        parser.flags
    }
}

struct Parser {
    arguments: VecDeque<String>,
    spelling: Spelling,
    flags: Flags,
}

impl Parser {
    fn run(&mut self) {
        while let Some(argument) = self.arguments.pop_front() {
            if argument == "--" {
                self.flags.recipients.extend(self.arguments.drain(..));
            } else if let Some(word) = argument.strip_prefix("--") {
                self.word(word);
            } else if let Some(letters) =
                argument.strip_prefix('-').filter(|letters| !letters.is_empty())
            {
                self.letters(letters, &argument);
            } else {
                self.flags.recipients.push(argument);
            }
        }
        // Asking for a retry and giving a message: the message counts.
        let has_mail = self.flags.from_header || !self.flags.recipients.is_empty();
        if has_mail && self.flags.mode == Mode::Retry(None) {
            self.flags.mode = Mode::Send;
        }
    }

    /// `--word`: ours, not sendmail's.
    fn word(&mut self, word: &str) {
        let (name, glued) =
            word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        match name {
            "help" => self.flags.mode = Mode::Help,
            "config" | "host" => {
                let Some(value) = self.value_of(&format!("--{name}"), glued.unwrap_or_default())
                else {
                    return;
                };
                if self.spelling == Spelling::Name {
                    let words = "counts only in `pillarbox sendmail`; see PILLARBOX_SUBMIT and PILLARBOX_CONFIG";
                    return self.warn(format!("--{name} is ignored: it {words}"));
                }
                // The first one counts: an administrator writes it, others can only add.
                match name {
                    "config" => {
                        self.flags.config = self.flags.config.take().or_else(|| Some(value.into()))
                    }
                    _ => self.flags.destination = self.flags.destination.take().or(Some(value)),
                }
            }
            _ => self.warn(format!("--{name} is not known here and was ignored")),
        }
    }

    /// `-ti`, `-fname`, `-f name`.
    fn letters(&mut self, letters: &str, argument: &str) {
        let mut rest = letters;
        while let Some(letter) = rest.chars().next() {
            rest = &rest[letter.len_utf8()..];
            match letter {
                't' => self.flags.from_header = true,
                'i' => self.flags.ignore_dots = true,
                'v' => self.flags.verbose = true,
                'I' => self.flags.mode = Mode::Aliases,
                'D' => return self.flags.mode = Mode::Daemon(argument.to_owned()),
                'q' => return self.retry(rest),
                _ if WITH_VALUE.contains(letter) => {
                    if let Some(value) = self.value_of(&format!("-{letter}"), rest) {
                        self.with_value(letter, value);
                    }
                    return;
                }
                _ if WITH_GLUED_VALUE.contains(letter) => return,
                _ if WITHOUT_MEANING.contains(letter) => {}
                // What follows may belong to it.
                _ => return self.warn(format!("{argument} is not known here and was ignored")),
            }
        }
    }

    fn value_of(&mut self, flag: &str, glued: &str) -> Option<String> {
        if !glued.is_empty() {
            return Some(glued.to_owned());
        }
        let value = self.arguments.pop_front();
        if value.is_none() {
            self.warn(format!("{flag} lacks its value and was ignored"));
        }
        value
    }

    fn with_value(&mut self, letter: char, value: String) {
        match letter {
            'f' | 'r' => self.flags.sender = Some(sender_of(&value)),
            'F' => self.flags.full_name = Some(value),
            'b' => self.mode(&value),
            'o' => self.flags.ignore_dots |= value == "i",
            'N' => match Notify::read(&value) {
                Some(notify) => self.flags.notify = Some(notify),
                None => {
                    self.senseless("-N", &value, "never, or a list of success, failure and delay")
                }
            },
            'R' => match Content::read(&value) {
                Some(content) => self.flags.content = Some(content),
                None => self.senseless("-R", &value, "full or hdrs"),
            },
            'V' => {
                let printable = value.bytes().all(|octet| matches!(octet, b' '..=b'~'));
                if printable && !value.is_empty() && value.len() <= ENVELOPE_ID_LENGTH_MAX {
                    self.flags.envelope_id = Some(value);
                } else {
                    self.senseless("-V", &value, "up to 100 printable characters");
                }
            }
            // All others: for other programs, or on purpose.
            _ => {}
        }
    }

    fn mode(&mut self, value: &str) {
        self.flags.mode = match value {
            "m" | "a" => Mode::Send,
            "s" => Mode::Dialogue,
            "p" | "P" => Mode::Queue,
            "i" => Mode::Aliases,
            "v" | "t" => Mode::Explain,
            "d" | "D" | "l" => Mode::Daemon(format!("-b{value}")),
            _ => {
                return self
                    .warn(format!("-b{} is not known here and was ignored", value.escape_debug()));
            }
        };
    }

    /// `-q`, `-q15m`, `-qI id`, `-qIid`. An interval is for a daemon.
    fn retry(&mut self, rest: &str) {
        match rest.chars().next() {
            None | Some('f' | 'p') => self.flags.mode = Mode::Retry(None),
            Some('I') => {
                let id = self.value_of("-qI", &rest[1..]);
                self.flags.mode = Mode::Retry(id);
            }
            // By recipient or sender: a run of the whole queue does not leave them out.
            Some('R' | 'S') => {
                drop(self.value_of("-q", &rest[1..]));
                self.flags.mode = Mode::Retry(None);
            }
            Some(_) => {}
        }
    }

    fn senseless(&mut self, flag: &str, value: &str, expected: &str) {
        let shown: String = value.chars().take(60).collect();
        self.warn(format!("{flag} {} is ignored: its value is {expected}", shown.escape_debug()));
    }

    fn warn(&mut self, words: String) {
        self.flags.warnings.push(words);
    }
}

/// `-f ""` and `-f "<>"` are the null reverse path; brackets around an address belong to nobody.
fn sender_of(value: &str) -> String {
    let value = value.trim();
    let inside = value.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    inside.unwrap_or(value).to_owned()
}

#[cfg(test)]
mod tests;
