//! The reading of a search: words, keys, quotes, and the place of what cannot be understood.
//!
//! Rule: bounded in length and words before anything is looked at. Must not know messages.

use std::{fmt, ops::Range, time::Duration};

use bytesize::ByteSize;

use super::term::{Clients, KEYS, Sender, Term, Test, Text, Than};
use crate::{
    message::envelope::Lane,
    queue::{about::Client, ending::Ending},
    text,
};

/// Octets of a search: more than anybody types.
pub(super) const LENGTH_MAX: usize = 1_000;
/// Words of a search, each of which is looked for in every message.
pub(super) const TERMS_MAX: usize = 32;
/// Characters of a word that an error repeats; the line below it has the whole search.
const SHOWN_MAX: usize = 60;
/// The names of the states, as screens call them.
pub(super) const STATES: [&str; 8] =
    ["queued", "scheduled", "folded", "uncertain", "reserved", "relayed", "held", "dead"];

/// What people call the end of mail that the upstream does not take.
const REFUSED: [&str; 5] = ["refused", "rejected", "bounced", "failed", "dead"];

/// Why a search cannot be understood: what is wrong, and a mark below the word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SearchError {
    what: String,
    /// The search, and the part of it that is wrong.
    marked: Option<(String, Range<usize>)>,
}

impl std::error::Error for SearchError {}

impl fmt::Display for SearchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the search cannot be understood: {}", self.what)?;
        let Some((search, at)) = &self.marked else { return Ok(()) };
        let width = |part: &str| text::printable(part).chars().count();
        let (before, below) = (width(&search[..at.start]), width(&search[at.clone()]).max(1));
        let (blanks, marks) = (" ".repeat(before), "^".repeat(below));
        write!(formatter, "\n  {}\n  {blanks}{marks}", text::printable(search))
    }
}

impl SearchError {
    /// One of a search that was understood, by the place of the word that does not fit.
    pub(super) fn at(what: String, search: String, word: Range<usize>) -> Self {
        Self { what, marked: Some((search, word)) }
    }
}

/// The words of a search.
pub(super) fn terms(search: &str) -> Result<Vec<Term>, SearchError> {
    let plain = |what: String| SearchError { what, marked: None };
    if search.len() > LENGTH_MAX {
        return Err(plain(format!("it has more than {LENGTH_MAX} octets")));
    }
    let (mut terms, mut at) = (Vec::new(), 0);
    while let Some(start) = search[at..].find(|one: char| !one.is_whitespace()) {
        if terms.len() == TERMS_MAX {
            return Err(plain(format!("it has more than {TERMS_MAX} words")));
        }
        let word = Word::read(search, at + start)?;
        at = word.end;
        terms.push(word.term()?);
    }
    Ok(terms)
}

/// A word as it is written.
struct Word<'a> {
    search: &'a str,
    /// Where it begins, behind the `-` of one that must not be.
    start: usize,
    end: usize,
    is_not: bool,
    /// With the sign behind it.
    key: Option<(&'a str, char)>,
    /// Where its value begins.
    value_at: usize,
    value: String,
    is_quoted: bool,
}

impl<'a> Word<'a> {
    fn read(search: &'a str, at: usize) -> Result<Self, SearchError> {
        let is_not = search[at..].starts_with('-');
        let start = at + usize::from(is_not);
        let rest = &search[start..];
        let letters = rest.find(|one: char| !one.is_ascii_alphabetic()).unwrap_or(rest.len());
        let sign = rest[letters..].chars().next().filter(|sign| matches!(sign, ':' | '<' | '>'));
        let key = sign.filter(|_| letters > 0).map(|sign| (&rest[..letters], sign));
        let value_at = start + key.map_or(0, |(key, _)| key.len() + 1);
        let rest = &search[value_at..];
        let is_quoted = rest.starts_with('"');
        let (value, length) = if is_quoted {
            quoted(rest).map_err(|what| SearchError {
                what: what.to_owned(),
                marked: Some((search.to_owned(), at..search.len())),
            })?
        } else {
            let length = rest.find(char::is_whitespace).unwrap_or(rest.len());
            (rest[..length].to_owned(), length)
        };
        let end = value_at + length;
        let word = Self { search, start, end, is_not, key, value_at, value, is_quoted };
        if word.value.is_empty() {
            return Err(word.error(
                at..end,
                match key {
                    Some((key, sign)) => format!("nothing follows {key}{sign}"),
                    None if is_quoted => "there is nothing between the quotes".to_owned(),
                    None => "nothing follows the -".to_owned(),
                },
            ));
        }
        Ok(word)
    }

    fn term(self) -> Result<Term, SearchError> {
        let is_not = self.is_not;
        self.test().map(|test| Term { is_not, test })
    }

    fn test(&self) -> Result<Test, SearchError> {
        let text = Text::new(&self.value);
        let Some((written, sign)) = self.key else { return Ok(Test::Anywhere(text)) };
        let key = written.to_ascii_lowercase();
        let than = match sign {
            '<' => Some(Than::Less),
            '>' => Some(Than::More),
            _ => None,
        };
        match (key.as_str(), than) {
            ("age", Some(than)) => Ok(Test::Age(than, self.age()?)),
            ("older", None) => Ok(Test::Age(Than::More, self.age()?)),
            ("newer", None) => Ok(Test::Age(Than::Less, self.age()?)),
            ("size", Some(than)) => Ok(Test::Size(than, self.size()?)),
            ("larger", None) => Ok(Test::Size(Than::More, self.size()?)),
            ("smaller", None) => Ok(Test::Size(Than::Less, self.size()?)),
            ("age", None) => Err(self.key_error(
                "age is compared, such as age>2h, which is older:2h, or newer:1d".to_owned(),
            )),
            ("size", None) => Err(self.key_error(
                "size is compared, such as size>1MB, which is larger:1MB, or smaller:10k"
                    .to_owned(),
            )),
            ("from", None) if self.value == "<>" && !self.is_quoted => Ok(Test::From(Sender::Null)),
            ("from", None) => Ok(Test::From(Sender::Some(text))),
            ("to", None) => Ok(Test::To(text)),
            ("subject", None) => Ok(Test::Subject(text)),
            ("id", None) => Ok(Test::Id(text)),
            ("storm", None) => Ok(Test::Storm(text)),
            ("user", None) => Ok(Test::User(text)),
            ("rule", None) => Ok(Test::Rule(text)),
            ("reply", None) => Ok(Test::Reply(text)),
            ("client", None) => Ok(Test::Client(self.clients()?)),
            ("lane", None) => {
                let name = self.one_of("a lane", &Lane::ALL.map(Lane::name))?;
                Ok(Test::Lane(Lane::named(name).unwrap_or_default()))
            }
            ("state", None) => Ok(Test::State(self.one_of("a state", &STATES)?)),
            ("ended", None) => self.ending().map(Test::Ended),
            (known, Some(_)) if KEYS.contains(&format!("{known}:").as_str()) => Err(self
                .key_error(format!(
                    "only age and size are compared; write {known}:{}",
                    text::printable(&self.value)
                ))),
            _ => Err(self.unknown_key(&key)),
        }
    }

    fn unknown_key(&self, key: &str) -> SearchError {
        let nearest = text::nearest(key, KEYS.map(|known| known.trim_end_matches([':', '>'])));
        let hint = match nearest.and_then(|name| KEYS.iter().find(|key| key.starts_with(name))) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("the keys are {}.", KEYS.join(" ")),
        };
        let word = text::shorten(&self.search[self.start..self.end], SHOWN_MAX);
        self.key_error(format!(
            "\"{key}\" is not a key: {hint} A word with a colon of its own stands in quotes: '\"{word}\"'"
        ))
    }

    fn age(&self) -> Result<Duration, SearchError> {
        let age = humantime::parse_duration(&self.value);
        age.map(|age| Duration::from_secs(age.as_secs())).map_err(|_| {
            self.value_error("is not a time, such as 90s, 30min, 2h, 5d or 1w".to_owned())
        })
    }

    fn size(&self) -> Result<u64, SearchError> {
        let size: Result<ByteSize, _> = self.value.parse();
        size.map(|size| size.as_u64())
            .map_err(|_| self.value_error("is not a size, such as 500k, 1MB or 2GiB".to_owned()))
    }

    fn clients(&self) -> Result<Clients, SearchError> {
        let own = [Client::Local, Client::Relay].into_iter();
        let mut own = own.filter(|client| client.to_string().eq_ignore_ascii_case(&self.value));
        own.next().map(Clients::Exactly).or_else(|| Clients::of(&self.value)).ok_or_else(|| {
            self.value_error(
                "is not an address or a network, such as 192.0.2.7 or 192.0.2.0/24, and neither \"local\" (programs of \
                 this host) nor \"relay\" (notices of this relay)"
                    .to_owned(),
            )
        })
    }

    fn ending(&self) -> Result<&'static str, SearchError> {
        if REFUSED.iter().any(|word| word.eq_ignore_ascii_case(&self.value)) {
            let names = Ending::NAMES.join(", ");
            return Err(self.value_error(format!(
                "is not an end: it is one of {names}; what was refused for good is state:dead, and leaves as expired or \
                 deleted"
            )));
        }
        self.one_of("an end", &Ending::NAMES)
    }

    fn one_of(&self, what: &str, names: &[&'static str]) -> Result<&'static str, SearchError> {
        let wanted = self.value.to_ascii_lowercase();
        names.iter().find(|name| **name == wanted).copied().ok_or_else(|| {
            let hint = text::nearest(&wanted, names.iter().copied()).map_or_else(
                || format!("it is one of {}", names.join(", ")),
                |name| format!("did you mean \"{name}\"?"),
            );
            self.value_error(format!("is not {what}: {hint}"))
        })
    }

    fn value_error(&self, what: String) -> SearchError {
        let value = text::shorten(&self.value, SHOWN_MAX);
        self.error(self.value_at..self.end, format!("\"{value}\" {what}"))
    }

    fn key_error(&self, what: String) -> SearchError {
        let length = self.key.map_or(0, |(key, _)| key.len());
        self.error(self.start..self.start + length, what)
    }

    fn error(&self, at: Range<usize>, what: String) -> SearchError {
        SearchError { what, marked: Some((self.search.to_owned(), at)) }
    }
}

/// The text between quotes, and the octets with them. A backslash stands before a quote or itself.
fn quoted(rest: &str) -> Result<(String, usize), &'static str> {
    let (mut value, mut characters) = (String::new(), rest.char_indices().skip(1));
    while let Some((at, one)) = characters.next() {
        match one {
            '\\' => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => break,
            },
            '"' => {
                let end = at + 1;
                let is_alone = rest[end..].chars().next().is_none_or(char::is_whitespace);
                return if is_alone {
                    Ok((value, end))
                } else {
                    Err("a blank is missing behind the quote")
                };
            }
            _ => value.push(one),
        }
    }
    Err("the quote is not closed")
}
