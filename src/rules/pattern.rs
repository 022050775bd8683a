//! A pattern as a finite automaton, which is built once.
//!
//! Rule: one step for each octet of a text, whatever the pattern; one that would need more memory than a limit is refused
//! when it is read. Must not know what its texts are.

use std::{fmt, sync::Arc};

use regex_automata::{
    Input,
    dfa::{Automaton as _, StartKind, dense},
    nfa::thompson,
    util::syntax,
};

/// Octets of a pattern: more than anybody reads.
pub(crate) const PATTERN_LENGTH_MAX: usize = 256;
/// Octets of an automaton, and of the form it is made from. Ordinary ones have 2 to 10 KiB.
const AUTOMATON_BYTES_MAX: usize = 64 * 1024;
/// Octets of memory while it is made.
const BUILDING_BYTES_MAX: usize = 1024 * 1024;

/// A regular expression of ASCII: `\d`, `\w`, `\s`, `\b` and the case of letters are those of ASCII, and what is
/// not ASCII stands for its octets.
#[derive(Clone)]
pub(crate) struct Pattern {
    text: String,
    automaton: Arc<dense::DFA<Vec<u32>>>,
}

impl Pattern {
    /// Builds the automaton, or says what is wrong with the text.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        if text.len() > PATTERN_LENGTH_MAX {
            return Err(format!("it is longer than {PATTERN_LENGTH_MAX} octets"));
        }
        let of_ascii = syntax::Config::new().unicode(false).utf8(false).case_insensitive(true);
        let form = thompson::Config::new().utf8(false).nfa_size_limit(Some(AUTOMATON_BYTES_MAX));
        let limits = dense::Config::new()
            .start_kind(StartKind::Unanchored)
            .dfa_size_limit(Some(AUTOMATON_BYTES_MAX))
            .determinize_size_limit(Some(BUILDING_BYTES_MAX));
        let parsed =
            syntax::parse_with(text, &of_ascii).map_err(|error| reason(&error.to_string()))?;
        let too_large = || "it needs more memory than a pattern may; make it simpler".to_owned();
        let form = thompson::Compiler::new().configure(form).build_from_hir(&parsed);
        let form = form.map_err(|_| too_large())?;
        let automaton = dense::Builder::new().configure(limits).build_from_nfa(&form);
        let automaton = Arc::new(automaton.map_err(|_| too_large())?);
        Ok(Self { text: text.to_owned(), automaton })
    }

    /// Whether it fits a part of the text.
    pub(crate) fn fits(&self, text: &str) -> bool {
        let input = Input::new(text).earliest(true);
        // It never gives up: it has no octet that ends a search, and needs no anchor.
        matches!(self.automaton.try_search_fwd(&input), Ok(Some(_)))
    }
}

/// The last line of what the parser says, which shows the pattern as well.
fn reason(words: &str) -> String {
    let last = words.lines().last().unwrap_or_default();
    let last = last.strip_prefix("error: ").unwrap_or(last);
    match last {
        "Unicode not allowed here" => {
            "letters beyond ASCII cannot stand in brackets; write (\u{e4}|\u{f6})".to_owned()
        }
        other => other.to_owned(),
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/{}/", self.text)
    }
}

/// Without the automaton: it is long, and all that it says is in the text.
impl fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap().fits(text)
    }

    #[test]
    fn a_pattern_fits_a_part_of_the_text_in_any_case() {
        for (pattern, text, expected) in [
            ("degraded|failed", "RAID array DEGRADED on nas", true),
            ("degraded|failed", "RAID array is well", false),
            ("^backup ok$", "Backup OK", true),
            ("^backup ok$", "Backup OK.", false),
            (r"\bdisk \d{1,2}\b", "disk 7 is hot", true),
            (r"\bdisk \d{1,2}\b", "disk 700 is hot", false),
            ("(st\u{f6}rung|ausfall)", "St\u{f6}rung an Pumpe 2", true),
            ("a.c", "abc", true),
            ("^$", "", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_in_words() {
        for (pattern, words) in [
            ("", "it is empty"),
            ("fo(o", "unclosed group"),
            ("*", "repetition operator missing expression"),
            (
                "[\u{e4}\u{f6}]",
                "letters beyond ASCII cannot stand in brackets; write (\u{e4}|\u{f6})",
            ),
            (r"(a)\1", "backreferences are not supported"),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap_err(), words, "{pattern}");
        }
        let long = "x".repeat(PATTERN_LENGTH_MAX + 1);
        assert!(Pattern::new(&long).unwrap_err().contains("256 octets"));
    }

    #[test]
    fn a_pattern_that_explodes_is_refused_and_not_built() {
        for pattern in ["(a|b)*a(a|b){20}", "(((x{50}){50}){50}){50}", r"\w{200}.*\w{200}.*x"] {
            let words = Pattern::new(pattern).unwrap_err();
            assert!(words.contains("more memory"), "{pattern}: {words}");
        }
        // What makes other engines try for ever is one step for each octet here.
        assert!(!fits("^(a+)+$", &format!("{}!", "a".repeat(100_000))));
    }
}
