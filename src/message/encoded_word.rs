//! Encoded words (RFC 2047): where they stand in a text, and what they say.
//!
//! Rule: liberal in what counts as one, for readers are; a word that cannot be read stays as it is. Must not know who
//! reads.

use std::{borrow::Cow, ops::Range};

use data_encoding::{BASE64_MIME_PERMISSIVE, HEXUPPER_PERMISSIVE};

use super::charset;

/// Octets of an encoded word; RFC 2047 section 2 allows 75, and some programs write a whole subject.
const LENGTH_MAX: usize = 2_000;

/// One encoded word.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word<'a> {
    at: Range<usize>,
    charset: &'a str,
    encoding: u8,
    text: &'a str,
}

/// Where the encoded words of a text stand.
pub(super) fn places(text: &str) -> Vec<Range<usize>> {
    words(text).map(|word| word.at).collect()
}

/// The charsets that encoded words in a value name.
pub(super) fn charsets(value: &[u8]) -> Vec<&[u8]> {
    let text = str_prefix(value);
    words(text).map(|word| word.charset.as_bytes()).collect()
}

/// The part before the first octet that is not ASCII.
fn str_prefix(value: &[u8]) -> &str {
    let end = value.iter().position(|octet| !octet.is_ascii()).unwrap_or(value.len());
    std::str::from_utf8(&value[..end]).unwrap_or("")
}

/// What the text says to a reader. Blanks between encoded words vanish, and octets of neighbours in one charset are read
/// together: some programs cut within a character.
#[must_use]
pub(crate) fn decoded(text: &str) -> Cow<'_, str> {
    let all: Vec<Word<'_>> = words(text).collect();
    if all.is_empty() {
        return Cow::Borrowed(text);
    }
    let (mut result, mut copied, mut next) = (String::with_capacity(text.len()), 0, 0);
    let mut after_word = false;
    while let Some(first) = all.get(next) {
        let (mut octets, mut end) = (Vec::new(), next);
        let encoding = charset::known(first.charset.as_bytes());
        while let (Some(word), Some(_)) = (all.get(end), encoding) {
            let follows = end == next
                || (word.charset.eq_ignore_ascii_case(first.charset)
                    && is_blank(&text[all[end - 1].at.end..word.at.start]));
            let Some(more) = word.octets().filter(|_| follows) else { break };
            octets.extend(more);
            end += 1;
        }
        let between = &text[copied..first.at.start];
        if !(after_word && is_blank(between)) || end == next {
            result.push_str(between);
        }
        match encoding {
            Some(encoding) if end > next => {
                result.push_str(&charset::decoded(encoding, &octets));
                (copied, next, after_word) = (all[end - 1].at.end, end, true);
            }
            _ => {
                result.push_str(&text[first.at.clone()]);
                (copied, next, after_word) = (first.at.end, next + 1, false);
            }
        }
    }
    result.push_str(&text[copied..]);
    Cow::Owned(result)
}

fn is_blank(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_whitespace())
}

fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + text[from..].find("=?")?;
            match Word::at(text, start) {
                Some(word) => {
                    from = word.at.end;
                    return Some(word);
                }
                None => from = start + 2,
            }
        }
    })
}

impl<'a> Word<'a> {
    fn at(text: &'a str, start: usize) -> Option<Self> {
        let mut limit = text.len().min(start + LENGTH_MAX);
        while !text.is_char_boundary(limit) {
            limit -= 1;
        }
        let inside = &text[start + 2..limit];
        let (charset, rest) = inside.split_once('?')?;
        let (encoding, rest) = rest.split_once('?')?;
        let encoding = match encoding {
            "q" | "Q" => b'q',
            "b" | "B" => b'b',
            _ => return None,
        };
        // A `?` of its own is forbidden in either encoding, but some programs leave it in Q.
        let end = rest.find("?=")?;
        let words = &rest[..end];
        let is_token = |letter: u8| letter.is_ascii_alphanumeric() || b"-_.:+*".contains(&letter);
        let fits = !charset.is_empty()
            && charset.bytes().all(is_token)
            && words.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ');
        let whole = inside.len() - rest.len() + end + 2;
        let charset = charset.split('*').next().unwrap_or(charset);
        fits.then_some(Self { at: start..start + 2 + whole, charset, encoding, text: words })
    }

    fn octets(&self) -> Option<Vec<u8>> {
        if self.encoding == b'b' {
            let padded = self.text.trim_end_matches('=');
            let missing = (4 - padded.len() % 4) % 4;
            return BASE64_MIME_PERMISSIVE
                .decode(format!("{padded}{}", "=".repeat(missing)).as_bytes())
                .ok();
        }
        let (mut octets, mut rest) = (Vec::with_capacity(self.text.len()), self.text.as_bytes());
        while let Some((first, more)) = rest.split_first() {
            let escaped = more.get(..2).filter(|_| *first == b'=');
            match escaped.and_then(|digits| HEXUPPER_PERMISSIVE.decode(digits).ok()) {
                Some(octet) => {
                    octets.extend(octet);
                    rest = &more[2..];
                }
                None => {
                    octets.push(if *first == b'_' { b' ' } else { *first });
                    rest = more;
                }
            }
        }
        Some(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_what_was_encoded() {
        for (text, shown) in [
            ("=?utf-8?q?B=C3=BCro?= 7", "B\u{fc}ro 7"),
            ("Re: =?UTF-8?B?QsO8cm8=?=", "Re: B\u{fc}ro"),
            ("=?utf-8?b?QsO8cm8?=", "B\u{fc}ro"),
            ("=?iso-8859-1*de?Q?B=fcro_=287=29?=", "B\u{fc}ro (7)"),
            ("=?utf-8?q?a?= \r\n =?utf-8?q?b?=", "ab"),
            ("=?utf-8?b?w?= =?utf-8?q?=C3?= =?utf-8?q?=BC?= x", "=?utf-8?b?w?= \u{fc} x"),
            ("=?gb2312?B?1tDOxA==?=", "\u{4e2d}\u{6587}"),
            ("=?iso-2022-jp?B?GyRCRnxLXDhsGyhC?=", "\u{65e5}\u{672c}\u{8a9e}"),
            ("=?x-unknown?q?a?= =?utf-8?q?b?=", "=?x-unknown?q?a?= b"),
            ("[=?utf-8?q?x?=]", "[x]"),
            ("=?", "=?"),
            ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
            ("plain = ?= text", "plain = ?= text"),
        ] {
            assert_eq!(decoded(text), shown, "{text}");
        }
    }
}
