//! The fields of a message's beginning that somebody wants to judge it by, as a reader sees them.
//!
//! Rule: only what is wanted is copied, and no more of a field than a limit; a field that is not whole is not there. Must
//! not know who judges.

use std::borrow::Cow;

use super::{encoded_word, header::Header, raw_octets::Charset};

/// Octets of a value that are looked at: encoded words are several times as long as what they say.
pub(super) const VALUE_READ_MAX: usize = 2_000;
/// Fields that are kept of one message; only a hostile one has more of those that a person judges by.
const FIELDS_MAX: usize = 64;

/// Which fields are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Their names, in lower case.
    pub(crate) names: Vec<String>,
}

impl Wanted {
    /// Wants one more.
    pub(crate) fn add(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        if !self.names.contains(&name) {
            self.names.push(name);
        }
    }
}

/// The wanted fields of a message, in their order: the name in lower case, and the value in one line, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Excerpt(Vec<(String, String)>);

impl Excerpt {
    /// Takes them from the beginning of a message. `complete` says that there is no more of it.
    #[must_use]
    pub(crate) fn of(message: &[u8], complete: bool, wanted: &Wanted) -> Self {
        if wanted.names.is_empty() {
            return Self::default();
        }
        let Some(header) = Header::of_beginning(message, complete) else { return Self::default() };
        let fields = header.fields().iter().filter_map(|field| {
            let name = wanted.names.iter().find(|name| field.is(name))?;
            Some((name.clone(), words(field.value(), &header).trim().to_owned()))
        });
        Self(fields.take(FIELDS_MAX).collect())
    }

    /// That of a message of which only the subject is known, as a reader sees it.
    #[must_use]
    pub(crate) fn of_subject(subject: &str) -> Self {
        let field = (!subject.is_empty()).then(|| ("subject".to_owned(), subject.to_owned()));
        Self(field.into_iter().collect())
    }

    /// The values of a field, whose name is in lower case.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(of, _)| of == name).map(|(_, value)| value.as_str())
    }
}

/// What a reader sees of a value, in one line.
pub(super) fn words<'a>(value: &'a [u8], header: &Header<'_>) -> Cow<'a, str> {
    let value = value[..value.len().min(VALUE_READ_MAX)].trim_ascii();
    // Most are plain words.
    let is_plain = value.iter().all(|octet| matches!(octet, b' '..=b'~'));
    let raw = if is_plain { None } else { Charset::declared(header).text(value) };
    let raw = raw.map_or_else(|| String::from_utf8_lossy(value), Cow::Owned);
    let decoded = match encoded_word::decoded(&raw) {
        Cow::Owned(decoded) => Some(decoded),
        Cow::Borrowed(_) => None,
    };
    let shown = decoded.map_or(raw, Cow::Owned);
    if is_plain { shown } else { Cow::Owned(shown.replace(['\r', '\n'], "").replace('\t', " ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(names: &[&str]) -> Wanted {
        let mut wanted = Wanted::default();
        names.iter().for_each(|name| wanted.add(name));
        wanted
    }

    fn values(message: &[u8], complete: bool, name: &str) -> Vec<String> {
        let excerpt = Excerpt::of(message, complete, &wanted(&[name]));
        excerpt.values(&name.to_lowercase()).map(str::to_owned).collect()
    }

    #[test]
    fn a_field_is_read_whatever_its_case_its_folds_and_its_encoding() {
        let message =
            b"SUBJECT: =?utf-8?q?B=C3=BCro?=\r\n 7\r\nsubject:\r\nTo: x\r\n\r\nSubject: body\r\n";
        assert_eq!(values(message, true, "Subject"), ["B\u{fc}ro 7", ""]);
        assert_eq!(values(b"Subject: B\xfcro\n", true, "subject"), ["B\u{fc}ro"]);
        assert!(values(message, true, "Cc").is_empty());
    }

    #[test]
    fn a_field_that_may_go_on_is_not_there() {
        let beginning = b"To: x\r\nSubject: half\r\n";
        assert!(values(beginning, false, "subject").is_empty());
        assert_eq!(values(beginning, true, "subject"), ["half"]);
    }

    #[test]
    fn no_beginning_makes_it_panic_or_grow() {
        let mut random = fastrand::Rng::with_seed(17);
        let alphabet = b"X:x \r\n\t=?utf-8?q?=C3?=b\xc3\xa9\xff\x1b";
        let wanted = wanted(&["x", "xx"]);
        for _ in 0..20_000 {
            let message: Vec<u8> = (0..random.usize(0..80))
                .map(|_| alphabet[random.usize(..alphabet.len())])
                .collect();
            let excerpt = Excerpt::of(&message, random.bool(), &wanted);
            let values: Vec<&str> = excerpt.values("x").chain(excerpt.values("xx")).collect();
            assert!(values.iter().all(|value| !value.contains('\n')), "{}", message.escape_ascii());
        }
    }

    #[test]
    fn neither_a_long_field_nor_many_of_them_make_it_grow() {
        let message = format!("X: {}\r\n", "x".repeat(2_500)).repeat(100);
        let found = values(message.as_bytes(), true, "x");
        assert_eq!(found.len(), FIELDS_MAX);
        assert!(found.iter().all(|value| value.len() <= VALUE_READ_MAX));
    }
}
