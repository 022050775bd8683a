//! Text that somebody else wrote, as it may be shown: the one filter for log, screen, notices and JSON.
//!
//! Rule: what could end a line, drive a terminal, hide, or turn round what stands beside it is written out
//! (`\u{202e}`), never dropped and never passed on. Everything else stays. Must not know who shows it.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

/// What ends a text that was cut.
const CUT: &str = "...";

/// Characters that nobody sees, or that change how a reader sees their neighbours: the control characters
/// (C0, DEL, C1), the format characters of Unicode (bidirectional controls, zero width, soft hyphen, tags), the
/// separators of lines and paragraphs, variation selectors, and letters and blanks without a shape.
const DECEPTIVE: [(char, char); 33] = [
    ('\u{0}', '\u{1f}'),
    ('\u{7f}', '\u{9f}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{fffe}', '\u{ffff}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1345f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{1fffe}', '\u{1ffff}'),
    ('\u{2fffe}', '\u{2ffff}'),
    ('\u{e0000}', '\u{e0fff}'),
    ('\u{efffe}', '\u{effff}'),
    ('\u{ffffe}', '\u{10ffff}'),
];

/// Whether the character must not reach a reader as it is.
#[must_use]
pub fn is_deceptive(character: char) -> bool {
    // Nearly every text is printable ASCII.
    if matches!(character, ' '..='~') {
        return false;
    }
    let after = DECEPTIVE.partition_point(|(_, last)| *last < character);
    DECEPTIVE.get(after).is_some_and(|(first, _)| *first <= character)
}

/// The text with its deceptive characters written out, in one line whatever it was.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    text.chars().for_each(|character| push_printable(&mut shown, character));
    Cow::Owned(shown)
}

/// The first `limit` characters of the text, printable; dots say that it was longer.
#[must_use]
pub fn shorten(text: &str, limit: usize) -> Cow<'_, str> {
    match text.char_indices().nth(limit) {
        None => printable(text),
        Some((end, _)) => Cow::Owned(format!("{}{CUT}", printable(&text[..end]))),
    }
}

/// As much of the text as is printable in `limit` octets, never half of a character that is written out; dots within the
/// limit say that it was longer.
#[must_use]
pub fn printable_within(text: &str, limit: usize) -> String {
    let room = limit.saturating_sub(CUT.len());
    let mut shown = String::with_capacity(text.len().min(limit));
    let mut end = 0;
    for character in text.chars() {
        push_printable(&mut shown, character);
        if shown.len() <= room {
            end = shown.len();
        }
        if shown.len() > limit {
            shown.truncate(end);
            shown.push_str(CUT);
            break;
        }
    }
    shown
}

/// Several lines, each printable: for what is meant to have lines, such as a list on a screen.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|character| character != '\n' && is_deceptive(character)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => shown.push('\n'),
            other => push_printable(&mut shown, other),
        }
    }
    Cow::Owned(shown)
}

/// Appends one character, written out where it is deceptive.
pub fn push_printable(target: &mut String, character: char) {
    if is_deceptive(character) {
        // Writing to a String cannot fail.
        let _: fmt::Result = write!(target, "\\u{{{:x}}}", u32::from(character));
    } else {
        target.push(character);
    }
}

/// Appends one character of a JSON string (RFC 8259 section 7): escaped where it must be, or is deceptive.
pub fn push_json(target: &mut String, character: char) {
    if matches!(character, '"' | '\\') {
        target.push('\\');
        target.push(character);
    } else if is_deceptive(character) {
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _: fmt::Result = write!(target, "\\u{unit:04x}");
        }
    } else {
        target.push(character);
    }
}

/// JSON that says the same without deceptive characters. What is outside of its strings is ASCII; line ends and
/// tabs stay, because within strings the writer has escaped them.
#[must_use]
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let stays =
        |character: char| matches!(character, '\n' | '\r' | '\t') || !is_deceptive(character);
    // Most of it is ASCII, and looking at octets costs a fraction of looking at characters.
    let is_plain = |octet: u8| matches!(octet, b' '..=b'~' | b'\n' | b'\r' | b'\t');
    if json.bytes().all(is_plain) || json.chars().all(stays) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 64);
    for character in json.chars() {
        if stays(character) { shown.push(character) } else { push_json(&mut shown, character) }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_a_reader_is_written_out_and_everything_else_stays() {
        for (text, shown) in [
            (
                "plain, M\u{fc}ller, \u{4f60}\u{597d}, \u{1f600}",
                "plain, M\u{fc}ller, \u{4f60}\u{597d}, \u{1f600}",
            ),
            ("a\u{1b}[2J\r\nb\t\u{7f}\u{9b}", "a\\u{1b}[2J\\u{d}\\u{a}b\\u{9}\\u{7f}\\u{9b}"),
            (
                "\u{202e}gpj.exe\u{2066}\u{2069}\u{61c}\u{200e}",
                "\\u{202e}gpj.exe\\u{2066}\\u{2069}\\u{61c}\\u{200e}",
            ),
            (
                "a\u{200b}b\u{200d}\u{2060}\u{feff}\u{ad}",
                "a\\u{200b}b\\u{200d}\\u{2060}\\u{feff}\\u{ad}",
            ),
            (
                "\u{e0041}\u{e007f}\u{e0100}\u{2028}\u{2029}",
                "\\u{e0041}\\u{e007f}\\u{e0100}\\u{2028}\\u{2029}",
            ),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert!(DECEPTIVE.windows(2).all(|pair| pair[0].1 < pair[1].0), "the ranges are in order");
        assert!(DECEPTIVE.iter().all(|(first, last)| is_deceptive(*first) && is_deceptive(*last)));
        assert_eq!(printable_lines("a\r\n\u{202e}b\n"), "a\\u{d}\n\\u{202e}b\n");
    }

    #[test]
    fn a_text_is_cut_at_a_character_and_says_so() {
        assert_eq!(shorten("M\u{fc}ller", 6), "M\u{fc}ller");
        assert_eq!(shorten("M\u{fc}ller", 2), "M\u{fc}...");
        assert_eq!(shorten("\u{202e}abc", 2), "\\u{202e}a...");
    }

    #[test]
    fn a_text_is_cut_to_octets_between_two_characters_as_they_are_shown() {
        assert_eq!(printable_within("abc", 3), "abc");
        assert_eq!(printable_within("abcdefg", 6), "abc...");
        assert_eq!(printable_within("\u{1b}[2J", 9), "\\u{1b}[2J");
        for limit in 4..40 {
            let shown = printable_within(&"\u{fc}\u{1b}".repeat(9), limit);
            let whole = shown.strip_suffix(CUT).unwrap();
            assert!(shown.len() <= limit, "{limit}");
            assert!(printable(&"\u{fc}\u{1b}".repeat(9)).starts_with(whole), "{shown}");
            assert!(whole.is_empty() || whole.ends_with(['\u{fc}', '}']), "{shown}");
        }
    }

    #[test]
    fn json_says_the_same_without_a_deceptive_character() {
        let value =
            serde_json::json!({ "a\u{202e}": ["\u{e0041}\u{9b}\u{ad}", "M\u{fc}ller\n\"\\"] });
        let written = serde_json::to_string_pretty(&value).unwrap();
        let shown = printable_json(&written);
        assert!(
            shown.chars().all(|character| character == '\n' || !is_deceptive(character)),
            "{shown}"
        );
        assert!(shown.contains("\\udb40\\udc41"), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
