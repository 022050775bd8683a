//! The words of a search on a command line.

use std::ffi::{OsStr, OsString};

use clap::{
    Arg, Command, Error,
    builder::{PossibleValue, StringValueParser, TypedValueParser},
};

use crate::{
    exit::{Exit, Failure},
    queue::search::{BEGINNINGS, Place, Search},
};

/// The argument, with a blank before a word such as `-state:dead`, so that it is not taken for an option: none has a
/// colon or is compared. A search passes over blanks.
pub(crate) fn as_word(argument: OsString) -> OsString {
    let is_not = argument.to_str().and_then(|text| text.strip_prefix('-'));
    let letters = is_not.map(|word| word.trim_start_matches(|one: char| one.is_ascii_alphabetic()));
    match (is_not, letters) {
        (Some(word), Some(rest))
            if rest.len() < word.len() && rest.starts_with([':', '<', '>']) =>
        {
            format!(" -{word}").into()
        }
        _ => argument,
    }
}

/// Takes any word, and tells shells what one may begin with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words;

impl TypedValueParser for Words {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue>>> {
        Some(Box::new(BEGINNINGS.into_iter().map(PossibleValue::new)))
    }
}

/// The search that the arguments are together, for messages of this place.
pub(crate) fn read(words: impl Iterator<Item = String>, place: Place) -> Result<Search, Failure> {
    let words = words.collect::<Vec<_>>().join(" ");
    Search::read(&words, place).map_err(|error| Failure::new(Exit::Usage, format!("{error}")))
}

/// The search as arguments for a shell, with a blank before it; empty without one.
pub(super) fn for_a_shell(search: &Search) -> String {
    let words = search.to_string();
    let is_plain = |one: char| one.is_ascii_alphanumeric() || "@.:-_/+%, ".contains(one);
    if words.is_empty() {
        words
    } else if words.chars().all(is_plain) {
        format!(" {words}")
    } else {
        format!(" '{}'", words.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_must_not_be_is_no_option() {
        for (argument, word) in [
            ("-state:dead", " -state:dead"),
            ("-age>2h", " -age>2h"),
            ("-older:2h", " -older:2h"),
            ("--all", "--all"),
            ("--socket=a:b", "--socket=a:b"),
            ("-h", "-h"),
            ("-:a", "-:a"),
            ("from:a", "from:a"),
        ] {
            assert_eq!(as_word(argument.into()), word);
        }
    }

    #[test]
    fn a_search_is_given_back_so_that_a_shell_hands_it_on_as_it_is() {
        for (words, shown) in [
            ("", ""),
            ("from:a@b.example -state:dead", " from:a@b.example -state:dead"),
            ("subject:\"it's low\" age>2h", " 'subject:\"it'\\''s low\" older:2h'"),
            ("age>2h size<10k -ended:relayed", " older:2h smaller:10000 -ended:relayed"),
        ] {
            assert_eq!(for_a_shell(&words.parse().expect("a search")), shown);
        }
    }
}
