//! The octets of a file that a person has written with whatever editor was there, as UTF-8.
//!
//! Rule: one look at the encoding, for every such file: the mark that some editors put in front goes, UTF-16 becomes
//! UTF-8, and everything else stays as it is, valid or not. A secret is not converted. The caller limits the octets; what
//! comes out is at most half as long again. Must not know what the file says.

use std::borrow::Cow;

// The filter of what is shown lies beside the replies of servers, which are shown as well.
pub(crate) use crate::smtp::text::*;

/// The byte order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// What a file is written in.
enum Encoding<'a> {
    /// Or another one that contains ASCII; without its mark.
    Utf8(&'a [u8]),
    /// With the order of the octets of a unit.
    Utf16(fn([u8; 2]) -> u16),
}

impl<'a> Encoding<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        match bytes {
            [0xff, 0xfe, ..] => Self::Utf16(u16::from_le_bytes),
            [0xfe, 0xff, ..] => Self::Utf16(u16::from_be_bytes),
            // Without a mark: no text of ours begins with a NUL, or has one behind its first letter.
            [first, 0, second, 0, ..] if *first != 0 && *second != 0 => {
                Self::Utf16(u16::from_le_bytes)
            }
            [0, first, 0, second, ..] if *first != 0 && *second != 0 => {
                Self::Utf16(u16::from_be_bytes)
            }
            _ => Self::Utf8(bytes.strip_prefix(MARK).unwrap_or(bytes)),
        }
    }
}

/// The octets of a text as UTF-8, without a byte order mark.
#[must_use]
pub(crate) fn as_utf8(bytes: &[u8]) -> Cow<'_, [u8]> {
    let unit = match Encoding::of(bytes) {
        Encoding::Utf8(bytes) => return Cow::Borrowed(bytes),
        Encoding::Utf16(unit) => unit,
    };
    let (units, odd) = bytes.as_chunks::<2>();
    let text = char::decode_utf16(units.iter().map(|pair| unit(*pair)));
    let text: String = text.map(|one| one.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    let cut = if odd.is_empty() { "" } else { "\u{fffd}" };
    Cow::Owned((text.trim_start_matches('\u{feff}').to_owned() + cut).into_bytes())
}

/// The octets of a file with a secret (a password, a key, a token), without a byte order mark.
///
/// Another encoding is told, not converted: a text that was guessed wrong shows its fault in the line where it stands, but
/// a wrong password is sent, and each that is refused brings the account nearer to being locked. Nor does a secret get
/// copies that nobody wipes. The person who saves the file anew is done with it.
///
/// # Errors
/// In words that go behind the name of the file, when it is of another encoding.
pub(crate) fn only_utf8(bytes: &[u8]) -> Result<&[u8], &'static str> {
    match Encoding::of(bytes) {
        Encoding::Utf16(_) => Err(
            "is not plain text but UTF-16, which some editors call \"Unicode\"; save it as UTF-8",
        ),
        Encoding::Utf8(bytes) if bytes.contains(&0) => {
            Err("is not plain text: it has a NUL in it; save it as text in UTF-8")
        }
        Encoding::Utf8(bytes) => Ok(bytes),
    }
}

/// With a capital at its beginning.
pub(crate) fn capitalized(words: &str) -> String {
    let mut rest = words.chars();
    let first = rest.next().map(|first| first.to_uppercase().collect::<String>());
    first.unwrap_or_default() + rest.as_str()
}

/// Whether it is a name that a person gives to one of several: letters (a to z), digits and `-`.
#[must_use]
pub(crate) fn is_plain_name(name: &str, length_max: usize) -> bool {
    let is_plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    name.len() <= length_max && !name.starts_with('-') && name.chars().all(is_plain)
}

/// Whether the text has `wanted`, which is in lower case, in it, whatever the case of its letters.
#[must_use]
pub(crate) fn has_in_any_case(text: &str, wanted: &str) -> bool {
    // Nearly everything is ASCII, and a long queue is looked through without an allocation for each text.
    if !text.is_ascii() {
        return text.to_lowercase().contains(wanted);
    }
    let (wanted, text) = (wanted.as_bytes(), text.as_bytes());
    wanted.is_empty() || text.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted))
}

/// The text with blanks for what only looks like one, and without what nobody sees.
#[must_use]
pub(crate) fn without_hidden(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let seen = |character: char| match character {
        _ if character.is_ascii() => Some(character),
        _ if is_hidden(character) => None,
        _ if character.is_whitespace() => Some(' '),
        _ => Some(character),
    };
    Cow::Owned(text.chars().filter_map(seen).collect())
}

/// The program of a command as it may be shown: without its arguments, any of which may be a secret. A first word that has
/// more in it than a program is not shown either.
#[must_use]
pub(crate) fn program(words: &[String]) -> &str {
    let first = words.first().map_or("", String::as_str);
    let is_more = first.contains(|letter: char| letter.is_whitespace() || letter == '=')
        || first.contains("://");
    if is_more { "(not shown)" } else { first }
}

/// The word that `text` was probably meant to be: at most a third of its letters differ.
pub(crate) fn nearest<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |word: &str| strsim::damerau_levenshtein(&text.to_lowercase(), word);
    let best = words.into_iter().min_by_key(|word| distance(word))?;
    (distance(best) <= (text.len().max(best.len()) / 3).max(1)).then_some(best)
}

/// Characters without a shape that may stand within a word: soft hyphen, zero width, directions, tags.
#[must_use]
pub(crate) fn is_hidden(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_command_its_program_is_shown_and_nothing_else() {
        let shown = |words: &[&str]| {
            program(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).to_owned()
        };
        assert_eq!(shown(&["/usr/bin/pass", "show", "hunter2"]), "/usr/bin/pass");
        assert_eq!(shown(&[]), "");
        for words in
            [["echo hunter2"], ["TOKEN=hunter2"], ["https://me:hunter2@x"], ["echo\thunter2"]]
        {
            assert_eq!(shown(&words), "(not shown)");
        }
    }

    #[test]
    fn a_file_is_read_however_the_editor_has_written_it() {
        let text = "root: b\u{f6}b@example.net\r\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [
            text.as_bytes().to_vec(),
            [MARK, text.as_bytes()].concat(),
            [b"\xff\xfe", &little[..]].concat(),
            [b"\xfe\xff", &big[..]].concat(),
            little.clone(),
            big,
        ] {
            assert_eq!(as_utf8(&bytes), text.as_bytes());
        }
        assert_eq!(as_utf8(&little[..little.len() - 1]).last(), Some(&0xbd), "what is cut is seen");
        assert_eq!(as_utf8(b"\xff\x00\x80"), &b"\xff\x00\x80"[..]);
        assert_eq!(as_utf8(b""), &b""[..]);
    }

    #[test]
    fn a_secret_loses_its_mark_and_another_encoding_is_named() {
        assert_eq!(only_utf8(b"\xef\xbb\xbfabc"), Ok(&b"abc"[..]));
        assert_eq!(only_utf8(b"abc"), Ok(&b"abc"[..]));
        for utf_16 in [&b"\xff\xfea\0"[..], b"\xfe\xff\0a", b"a\0b\0", b"\0a\0b"] {
            assert!(only_utf8(utf_16).unwrap_err().contains("UTF-16"));
        }
        assert!(only_utf8(b"abc\0").unwrap_err().contains("NUL"));
    }

    #[test]
    fn what_nobody_sees_is_not_there_and_every_blank_is_one() {
        assert_eq!(without_hidden("ro\u{200b}ot:\u{a0}a@b\u{feff}"), "root: a@b");
        assert_eq!(without_hidden("b\u{f6}b"), "b\u{f6}b");
    }
}
