//! Addresses out of what people and their programs write: a To field, an argument of sendmail.
//!
//! Rule: each address that can be made out is found, whatever stands beside it; what may be one and cannot be read is
//! handed back, so that somebody is told. Nothing with an @ is passed over in silence, but in comments and quoted names.
//! One pass over the text. Must not know where the text stood.

mod tokens;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use self::tokens::{Token, Tokens};
use super::aliases::same_mailbox;
use crate::smtp::address::Address;

/// Words that stand between two addresses and are none.
const CONNECTING: [&str; 20] = [
    "and", "und", "et", "y", "e", "og", "och", "en", "or", "oder", "ou", "plus", "cc", "bcc", "to",
    "an", "mit", "with", "via", "at",
];
/// Characters of a login name.
const LOGIN_LENGTH_MAX: usize = 32;
/// Punctuation that people put around an address.
const WRAPPING: &[char] = &['\'', '`', '*', '!', '?', '{', '}', '[', ']', '.', '|', '/', '&', '\\'];
/// What may stand between two addresses without a blank.
const GLUE: &[char] = &['/', '|', '&', '\\', '*', '\u{2022}', '\u{b7}'];

/// What a text names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Addresses, in order, each once.
    pub addresses: Vec<Address>,
    /// Pieces that may be an address and cannot be read as one.
    pub unreadable: Vec<String>,
    /// What the addresses have in common with other spellings of them.
    known: HashSet<String>,
}

impl Found {
    /// Adds the addresses of a text: a list with commas, with names, comments and groups, or what people write instead.
    pub fn read(&mut self, text: &str) {
        let text = tokens::legible(text);
        let tokens = Tokens::of(&text);
        let mut quoted = Vec::new();
        for element in tokens.list.split(|token| *token == Token::Separator) {
            self.element(element, tokens.is_broken, &mut quoted);
        }
        // A quote that was forgotten makes a name of somebody's address.
        for inside in quoted {
            let mut hidden = Self::default();
            hidden.element(&Tokens::of(inside).list, true, &mut Vec::new());
            if hidden.addresses.iter().any(|address| !self.known.contains(&same_mailbox(address))) {
                self.unreadable.push(inside.to_owned());
            }
        }
    }

    /// Adds one that is known.
    pub(crate) fn add(&mut self, address: Address) {
        if self.known.insert(same_mailbox(&address)) {
            self.addresses.push(address);
        }
    }

    /// What stands between two separators.
    fn element<'a>(
        &mut self,
        mut tokens: &[Token<'a>],
        is_broken: bool,
        quoted: &mut Vec<&'a str>,
    ) {
        if let Some(Token::Colon) = tokens.first() {
            // `:include:` of an aliases file is not a group.
            return self.unreadable.push(written(tokens));
        }
        // The name of a group is nobody's.
        while let Some(colon) = tokens.iter().position(|token| *token == Token::Colon)
            && !tokens[..colon].iter().any(Token::may_be_address)
        {
            tokens = &tokens[colon + 1..];
        }
        let mut reading = Element::default();
        let mut position = 0;
        while position < tokens.len() {
            position += reading.take(tokens, position);
        }
        quoted.extend(tokens.iter().filter_map(|token| match token {
            Token::Quoted(text) if text.contains('<') && text.contains('@') => {
                Some(text.trim_matches('"'))
            }
            _ => None,
        }));
        reading.end();
        let Element { addresses, unreadable, beside, empty, .. } = reading;
        if addresses.is_empty() && unreadable.is_empty() {
            return self.without_domain(tokens, is_broken, empty);
        }
        let names: HashSet<String> =
            addresses.iter().map(|address| address.local_part().to_ascii_lowercase()).collect();
        let beside = beside.into_iter().filter(|word| !names.contains(&word.to_ascii_lowercase()));
        self.unreadable.extend(unreadable.into_iter().chain(beside.filter(|word| is_login(word))));
        addresses.into_iter().for_each(|address| self.add(address));
    }

    /// An element without a whole address: a name of this host, or nothing that anybody could use.
    fn without_domain(&mut self, tokens: &[Token<'_>], is_broken: bool, empty_brackets: bool) {
        let text = written(tokens);
        let words: Vec<&str> = tokens.iter().filter_map(Token::word).collect();
        let plain: String =
            text.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_lowercase();
        match (&words[..], text.is_empty()) {
            (_, true) | ([], false) if !empty_brackets && !text.contains('@') => {}
            _ if plain == "undisclosedrecipients" => {}
            // A mark that stands alone.
            ([mark], _)
                if !mark.contains(|part: char| part.is_alphanumeric()) && !mark.contains('@') => {}
            ([name], _) if !is_broken && !empty_brackets && !name.starts_with("=?") => {
                match name.parse::<Address>() {
                    Ok(address) if address.domain().is_none() => self.add(address),
                    _ => self.unreadable.push(text),
                }
            }
            _ => self.unreadable.push(text),
        }
    }
}

/// The addresses of one element, while it is read from left to right.
#[derive(Default)]
struct Element<'a> {
    addresses: Vec<Address>,
    unreadable: Vec<String>,
    /// Words beside an address that belong to no angle brackets.
    beside: Vec<String>,
    /// Words that belong to the next angle brackets, when there are some.
    waiting: Vec<&'a str>,
    /// Whether there are brackets with nothing between them.
    empty: bool,
}

impl<'a> Element<'a> {
    /// Reads one token, or those that people have torn apart; returns how many.
    fn take(&mut self, tokens: &[Token<'a>], position: usize) -> usize {
        match &tokens[position] {
            Token::Angle(inside) => self.angle(inside),
            Token::Word(word) => {
                if let Some((address, count)) = torn_apart(tokens, position) {
                    // A name goes with it, another address does not.
                    self.waiting.retain(|word| word.contains('@'));
                    self.end();
                    self.addresses.push(address);
                    return count;
                }
                self.waiting.push(word);
            }
            Token::Quoted(_) | Token::Comment(_) | Token::Colon | Token::Separator => {}
        }
        1
    }

    fn angle(&mut self, inside: &'a str) {
        for word in std::mem::take(&mut self.waiting) {
            // Only a whole address is more than a name here: `News @ Work <news@example.org>`.
            let address = addresses_of(word).unwrap_or_default().into_iter();
            self.addresses.extend(address.filter(has_dot));
        }
        match bracketed(inside) {
            Ok(addresses) if addresses.is_empty() => self.empty = true,
            Ok(mut addresses) => self.addresses.append(&mut addresses),
            Err(()) => self.unreadable.push(format!("<{inside}>")),
        }
    }

    /// No angle brackets follow: the words stand for themselves.
    fn end(&mut self) {
        for word in std::mem::take(&mut self.waiting) {
            match addresses_of(word) {
                Some(mut addresses) => self.addresses.append(&mut addresses),
                None if word.contains('@') => self.unreadable.push(word.to_owned()),
                None => self.beside.push(word.to_owned()),
            }
        }
    }
}

/// What stands between angle brackets; a local name may stand there, too.
fn bracketed(inside: &str) -> Result<Vec<Address>, ()> {
    let text = inside.trim();
    // A route (RFC 5321 appendix C) leads to its last part.
    let text = match text.split_once(':') {
        Some((route, last)) if is_route(route) => last.trim(),
        _ => text,
    };
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if let Ok(address) = without_final_dot(without_marks(text)).parse() {
        return Ok(vec![address]);
    }
    let mut found = Found::default();
    let tokens = Tokens::of(text);
    tokens
        .list
        .split(|token| *token == Token::Separator)
        .for_each(|element| found.element(element, true, &mut Vec::new()));
    if found.unreadable.is_empty() { Ok(found.addresses) } else { Err(()) }
}

/// `@one,@two`: hosts and nobody's address.
fn is_route(text: &str) -> bool {
    let host = |part: &str| part.trim().strip_prefix('@').is_some_and(|host| !host.contains('@'));
    text.split(',').all(|part| part.trim().is_empty() || host(part))
}

/// `joe @ example.org`, which RFC 5322 section 4.4 knows, from its first word on; and how many tokens it has.
fn torn_apart(tokens: &[Token<'_>], position: usize) -> Option<(Address, usize)> {
    let word = |at: usize| tokens.get(at).and_then(Token::plain_word);
    let first = word(position).filter(|first| !first.starts_with('@'))?;
    let second = word(position + 1)?;
    let (text, count) = match (first.contains('@'), second) {
        (false, "@") => (format!("{first}@{}", word(position + 2)?), 3),
        (false, second) if second.starts_with('@') => (format!("{first}{second}"), 2),
        (true, second) if first.ends_with('@') && !second.contains('@') => {
            (format!("{first}{second}"), 2)
        }
        _ => return None,
    };
    let [address] = <[Address; 1]>::try_from(addresses_of(&text)?).ok()?;
    has_dot(&address).then_some((address, count))
}

/// The addresses that one word is, mostly one; `None` when it is none.
fn addresses_of(word: &str) -> Option<Vec<Address>> {
    if !word.contains('@') {
        return None;
    }
    let bare = without_marks(word);
    let whole = |text: &str| {
        let address: Option<Address> = without_final_dot(text).parse().ok();
        address.filter(|address| address.domain().is_some())
    };
    if let Some(address) = whole(bare).or_else(|| whole(bare.trim_matches(WRAPPING))) {
        return Some(vec![address]);
    }
    let parts = bare.split(GLUE).filter(|part| !part.is_empty());
    parts.map(|part| whole(part.trim_matches(WRAPPING))).collect()
}

/// Without what people put around an address and what could be a part of it. `/A=x/B=y@z` is one of X.400.
fn without_marks(word: &str) -> &str {
    let leading: &[char] =
        if word.contains('=') { &['\'', '`'] } else { &['\'', '`', '/', '|', '&'] };
    word.trim_start_matches(leading).trim_end_matches(['\'', '`'])
}

/// A name of the domain name system may end with a dot; in an address it must not (RFC 5321 section 2.3.5).
fn without_final_dot(text: &str) -> &str {
    text.strip_suffix('.').filter(|rest| rest.contains('@')).unwrap_or(text)
}

fn has_dot(address: &Address) -> bool {
    address.domain().is_some_and(|domain| domain.contains('.') || domain.starts_with('['))
}

/// Whether somebody may have meant a user of this host.
fn is_login(word: &str) -> bool {
    let is_letter =
        |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"_.-".contains(&octet);
    word.len() <= LOGIN_LENGTH_MAX
        && word.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && word.bytes().all(is_letter)
        && !CONNECTING.contains(&word)
}

/// Tokens as they were written, for a message.
fn written(tokens: &[Token<'_>]) -> String {
    let mut text = String::new();
    for token in tokens {
        let (before, inside, behind) = token.parts();
        let is_tight = *token == Token::Colon || text.ends_with(':') || text.is_empty();
        if !is_tight {
            text.push(' ');
        }
        text.extend([before, inside, behind]);
    }
    text
}
