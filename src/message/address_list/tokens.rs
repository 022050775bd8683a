//! The pieces of a text with addresses: words, quoted strings, comments, angle brackets, separators.
//!
//! Rule: linear in the length of the text. Marks that do not match are blanks; when a quote or a comment does not end, all
//! of them are, because nobody knows which one is missing. Must not know what an address is.

use crate::text::is_hidden;

/// A piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Up to a blank or a mark, with a quoted string in it when that belongs to an address.
    Word(&'a str),
    /// With its quotes.
    Quoted(&'a str),
    /// The inside.
    Comment(&'a str),
    /// The inside.
    Angle(&'a str),
    /// A comma or a semicolon.
    Separator,
    /// Behind the name of a group.
    Colon,
}

impl<'a> Token<'a> {
    /// A word, or what stands for one: a quoted local part.
    pub(super) fn word(&self) -> Option<&'a str> {
        match self {
            Self::Word(text) | Self::Quoted(text) => Some(text),
            Self::Angle(text) if !text.trim().is_empty() => Some(text.trim()),
            Self::Angle(_) | Self::Comment(_) | Self::Separator | Self::Colon => None,
        }
    }

    pub(super) fn plain_word(&self) -> Option<&'a str> {
        match self {
            Self::Word(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn may_be_address(&self) -> bool {
        match self {
            Self::Word(text) => text.contains('@'),
            Self::Angle(_) => true,
            _ => false,
        }
    }

    /// What stands before, within and behind it.
    pub(super) fn parts(&self) -> (&'a str, &'a str, &'a str) {
        match self {
            Self::Word(text) | Self::Quoted(text) => ("", text, ""),
            Self::Comment(text) => ("(", text, ")"),
            Self::Angle(text) => ("<", text, ">"),
            Self::Separator => ("", ",", ""),
            Self::Colon => ("", ":", ""),
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Tokens<'a> {
    pub(super) list: Vec<Token<'a>>,
    /// A quote or a comment does not end.
    pub(super) is_broken: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let whole = Reader { text, at: 0, marks_count: true }.all();
        let is_broken = whole.is_none();
        // Without marks every text can be read.
        let plain = || Reader { text, at: 0, marks_count: false }.all().unwrap_or_default();
        Self { list: whole.unwrap_or_else(plain), is_broken }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Quotes and parentheses mean something.
    marks_count: bool,
}

impl<'a> Reader<'a> {
    /// `None` when a quote or a comment does not end.
    fn all(mut self) -> Option<Vec<Token<'a>>> {
        let mut list = Vec::new();
        while let Some(octet) = self.text.as_bytes().get(self.at) {
            let start = self.at;
            let token = match octet {
                b',' | b';' => Some(Token::Separator),
                b':' => Some(Token::Colon),
                b'"' if self.marks_count => {
                    let end = self.quoted_end(start)?;
                    if self.text.as_bytes().get(end) == Some(&b'@') {
                        self.word(end);
                        list.push(Token::Word(&self.text[start..self.at]));
                        continue;
                    }
                    self.at = end;
                    list.push(Token::Quoted(&self.text[start..end]));
                    continue;
                }
                b'(' if self.marks_count => {
                    let end = self.comment_end(start)?;
                    self.at = end;
                    list.push(Token::Comment(&self.text[start + 1..end - 1]));
                    continue;
                }
                b'<' => match self.angle_end(start) {
                    Some(end) => {
                        self.at = end;
                        list.push(Token::Angle(&self.text[start + 1..end - 1]));
                        continue;
                    }
                    None => None,
                },
                b'>' | b')' | b'(' | b'"' | b'[' | b']' => None,
                octet if octet.is_ascii_whitespace() => None,
                _ => {
                    self.word(start);
                    list.push(Token::Word(&self.text[start..self.at]));
                    continue;
                }
            };
            self.at += 1;
            list.extend(token);
        }
        Some(list)
    }

    /// Steps to the end of a word that is read from `from` on; an address literal belongs to it.
    fn word(&mut self, from: usize) {
        let bytes = self.text.as_bytes();
        self.at = from;
        while let Some(octet) = bytes.get(self.at) {
            match octet {
                b'[' if self.at > 0 && bytes[self.at - 1] == b'@' => {
                    match literal_end(bytes, self.at) {
                        Some(end) => self.at = end,
                        None => return,
                    }
                }
                b',' | b';' | b':' | b'<' | b'>' | b'(' | b')' | b'"' | b'[' | b']' => return,
                octet if octet.is_ascii_whitespace() => return,
                _ => self.at += 1,
            }
        }
    }

    /// Behind the quote that ends a string.
    fn quoted_end(&self, start: usize) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let mut at = start + 1;
        loop {
            match bytes.get(at)? {
                b'\\' => at += 2,
                b'"' => return Some(at + 1),
                _ => at += 1,
            }
        }
    }

    fn comment_end(&self, start: usize) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let (mut at, mut depth) = (start, 0_u32);
        loop {
            match bytes.get(at)? {
                b'\\' => at += 1,
                b'(' => depth += 1,
                b')' if depth == 1 => return Some(at + 1),
                b')' => depth -= 1,
                _ => {}
            }
            at += 1;
        }
    }

    /// Behind the bracket that ends; `None` when another one begins before, or none ends.
    fn angle_end(&self, start: usize) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let mut at = start + 1;
        loop {
            match bytes.get(at)? {
                b'<' => return None,
                b'>' => return Some(at + 1),
                // A quoted local part may have brackets in it.
                b'"' if self.marks_count && at == start + 1 => at = self.quoted_end(at)?,
                _ => at += 1,
            }
        }
    }
}

/// Behind an address literal (RFC 5321 section 4.1.3); nothing else counts as one, for it could hold an address.
fn literal_end(bytes: &[u8], start: usize) -> Option<usize> {
    let in_literal = |octet: &u8| octet.is_ascii_alphanumeric() || b".:-".contains(octet);
    let inside = bytes[start + 1..].iter().take_while(|octet| in_literal(octet)).count();
    let end = start + 1 + inside;
    (bytes.get(end) == Some(&b']')).then_some(end + 1)
}

/// A text in which what looks like a blank, a quote or a separator is one, and what cannot be seen is not there.
pub(super) fn legible(text: &str) -> String {
    let seen = |character: char| match character {
        _ if is_hidden(character) => None,
        '\u{201c}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{ff02}' => Some('"'),
        '\u{2018}'..='\u{201b}' => Some('\''),
        '\u{ff0c}' | '\u{3001}' | '\u{60c}' => Some(','),
        '\u{ff1b}' | '\u{61b}' => Some(';'),
        '\u{ff1a}' => Some(':'),
        '\u{ff1c}' => Some('<'),
        '\u{ff1e}' => Some('>'),
        '\u{ff20}' => Some('@'),
        character if character.is_whitespace() || character.is_control() => Some(' '),
        character => Some(character),
    };
    text.chars().filter_map(seen).collect()
}
