//! Mailboxes in header fields such as From and Reply-To (RFC 5322 section 3.4).
//!
//! Rule: liberal in what is read: names without quotes, comments as names, addresses without a domain.
//! Everything found is a slice of the text, so that an edit can keep the rest. A text that is not a list of
//! mailboxes is `None`, never a guess. Must not know who may send as whom.

use std::ops::Range;

use crate::smtp::address::Address;

/// Mailboxes of one field that we look at: more than a message has recipients.
const MAILBOXES_MAX: usize = 2_000;

/// One mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mailbox<'a> {
    /// The words before the angle bracket, as they are written; empty when there are none.
    pub(crate) phrase: &'a str,
    /// Where they stand.
    pub(crate) phrase_at: Range<usize>,
    /// The inside of the first comment, which older programs use for the name.
    pub(crate) comment: Option<&'a str>,
    /// Where it stands.
    pub(crate) comment_at: Range<usize>,
    /// The address; it may lack a domain.
    pub(crate) address: Address,
    /// Where the address stands.
    pub(crate) address_at: Range<usize>,
}

/// Reads a list of mailboxes: at least one, no groups.
#[must_use]
pub(crate) fn read_list(text: &str) -> Option<Vec<Mailbox<'_>>> {
    let mut mailboxes = Vec::new();
    for range in elements(text)? {
        if text[range.clone()].trim().is_empty() {
            // RFC 5322 section 4.4 knows empty elements.
            continue;
        }
        if mailboxes.len() == MAILBOXES_MAX {
            return None;
        }
        mailboxes.push(read_one(text, range)?);
    }
    (!mailboxes.is_empty()).then_some(mailboxes)
}

/// Reads a list that may have groups (RFC 5322 section 3.4), whose members count like all others; an empty list is one as well.
#[must_use]
pub(crate) fn read_members(text: &str) -> Option<Vec<Mailbox<'_>>> {
    let mut mailboxes = Vec::new();
    for range in members(text)? {
        if text[range.clone()].trim().is_empty() {
            continue;
        }
        if mailboxes.len() == MAILBOXES_MAX {
            return None;
        }
        mailboxes.push(read_one(text, range)?);
    }
    Some(mailboxes)
}

/// An address that stands somewhere in a text that is not a list of mailboxes.
#[must_use]
pub(crate) fn rescued_address(text: &str) -> Option<Address> {
    let separator = |character: char| character.is_whitespace() || "<>(),;:\"".contains(character);
    let address =
        |word: &str| word.parse::<Address>().ok().filter(|found| found.domain().is_some());
    // `App [app@shop.example]`, and brackets that were written for a web page.
    let bracket = |character: char| "[]{}'`*".contains(character);
    let bare = |word: &str| address(word.trim_matches(bracket).trim_end_matches("&gt"));
    text.split(separator).find_map(|word| address(word).or_else(|| bare(word)))
}

/// Whether all quotes, comments and angle brackets that begin in the text end in it.
#[must_use]
pub(crate) fn is_closed(text: &str) -> bool {
    let mut nesting = Nesting::default();
    text.bytes().all(|octet| nesting.step(octet).is_ok()) && !nesting.is_open()
}

/// The text of a phrase or comment without quotes, escapes and folds.
#[must_use]
pub(crate) fn plain(phrase: &str) -> String {
    let mut text = String::with_capacity(phrase.len());
    let mut escaped = false;
    for character in phrase.chars() {
        match character {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '"' if !escaped => {}
            // A fold, or a stray control character.
            character if character.is_control() => text.push(' '),
            character => text.push(character),
        }
        escaped = false;
    }
    let mut words = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        words.push_str(if words.is_empty() { "" } else { " " });
        words.push_str(word);
    }
    words
}

/// Where we are while the text is read from left to right.
#[derive(Default)]
struct Nesting {
    quoted: bool,
    escaped: bool,
    comments: u32,
    angle: bool,
}

impl Nesting {
    /// Steps over an octet. Returns it when it stands outside of quotes and comments, and is not a mark
    /// of their beginning or end; `Err` when brackets do not match.
    fn step(&mut self, octet: u8) -> Result<Option<u8>, ()> {
        if std::mem::take(&mut self.escaped) {
            return Ok(None);
        }
        match octet {
            b'\\' if self.quoted || self.comments > 0 => self.escaped = true,
            b'"' if self.comments == 0 => self.quoted = !self.quoted,
            _ if self.quoted => {}
            b'(' => self.comments += 1,
            b')' => self.comments = self.comments.checked_sub(1).ok_or(())?,
            _ if self.comments > 0 => {}
            b'<' if self.angle => return Err(()),
            b'>' if !self.angle => return Err(()),
            b'<' | b'>' => {
                self.angle = octet == b'<';
                return Ok(Some(octet));
            }
            _ => return Ok(Some(octet)),
        }
        Ok(None)
    }

    fn is_open(&self) -> bool {
        self.quoted || self.escaped || self.comments > 0 || self.angle
    }
}

/// Splits at the commas of the list; `None` for groups and for quotes or brackets that do not match.
fn elements(text: &str) -> Option<Vec<Range<usize>>> {
    let (mut found, mut start, mut nesting) = (Vec::new(), 0, Nesting::default());
    // Within an address literal colons are no group: user@[IPv6:::1].
    let mut literal = false;
    for (position, octet) in text.bytes().enumerate() {
        match nesting.step(octet).ok()? {
            Some(b',') if !nesting.angle => {
                found.push(start..position);
                (start, literal) = (position + 1, false);
            }
            Some(bracket @ (b'[' | b']')) => literal = bracket == b'[',
            Some(b':') if !nesting.angle && !literal => return None,
            Some(b';') if !nesting.angle => return None,
            _ => {}
        }
    }
    found.push(start..text.len());
    (!nesting.is_open()).then_some(found)
}

/// Splits at the commas of the list and of its groups, whose names are nobody's; `None` for what does not match.
fn members(text: &str) -> Option<Vec<Range<usize>>> {
    let (mut found, mut start, mut nesting) = (Vec::new(), 0, Nesting::default());
    let (mut literal, mut group) = (false, false);
    for (position, octet) in text.bytes().enumerate() {
        let Some(mark) = nesting.step(octet).ok()? else { continue };
        match mark {
            b'[' | b']' => literal = mark == b'[',
            b',' | b';' if !nesting.angle => {
                // Behind a group a comma or the end must follow; an empty member does no harm.
                if mark == b';' && !std::mem::take(&mut group) {
                    return None;
                }
                found.push(start..position);
                (start, literal) = (position + 1, false);
            }
            b':' if !nesting.angle && !literal => {
                let is_address = text[start..position].contains(['@', '<']);
                if std::mem::replace(&mut group, true) || is_address {
                    return None;
                }
                start = position + 1;
            }
            _ => {}
        }
    }
    found.push(start..text.len());
    (!nesting.is_open() && !group).then_some(found)
}

fn read_one(text: &str, element: Range<usize>) -> Option<Mailbox<'_>> {
    let marks = Marks::of(text, element.clone())?;
    let (first, last) = (marks.first?, marks.last?);
    let (phrase_at, address_at) = match marks.angle {
        // Behind the angle brackets only comments may stand.
        Some(angle) if last > angle.end => return None,
        Some(angle) if first < angle.start - 1 => (element.start..angle.start - 1, angle),
        Some(angle) => (element.start..element.start, angle),
        None => (element.start..element.start, first..last + 1),
    };
    let (phrase_at, address_at) = (trimmed(text, phrase_at), trimmed(text, address_at));
    let comment_at = marks.comment.clone().unwrap_or(element.start..element.start);
    let comment = marks.comment.map(|range| &text[range]);
    let address = text[address_at.clone()].parse().ok()?;
    Some(Mailbox {
        phrase: &text[phrase_at.clone()],
        phrase_at,
        comment,
        comment_at,
        address,
        address_at,
    })
}

/// What stands where in one element of the list.
struct Marks {
    /// The inside of the angle brackets.
    angle: Option<Range<usize>>,
    /// The inside of the first comment.
    comment: Option<Range<usize>>,
    /// The first and last octets outside of comments that are not blanks.
    first: Option<usize>,
    last: Option<usize>,
}

impl Marks {
    fn of(text: &str, element: Range<usize>) -> Option<Self> {
        let mut marks = Self { angle: None, comment: None, first: None, last: None };
        let (mut nesting, mut comment_start, mut angle_start) = (Nesting::default(), None, None);
        for position in element {
            let octet = text.as_bytes()[position];
            let (comments_before, quoted_before) = (nesting.comments, nesting.quoted);
            match nesting.step(octet).ok()? {
                Some(b'<') => angle_start = Some(position + 1),
                // Two addresses in one element are no mailbox.
                Some(b'>') if marks.angle.is_some() => return None,
                Some(b'>') => marks.angle = angle_start.map(|start| start..position),
                _ => {}
            }
            match (comments_before, nesting.comments) {
                (0, 1) => comment_start = Some(position + 1),
                (1, 0) if marks.comment.is_none() => {
                    marks.comment = comment_start.map(|start| start..position);
                }
                _ => {}
            }
            let outside = comments_before == 0 && nesting.comments == 0;
            if outside && (quoted_before || !octet.is_ascii_whitespace()) {
                marks.first = marks.first.or(Some(position));
                marks.last = Some(position);
            }
        }
        Some(marks)
    }
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    start..(start + part.trim().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(String, String, String)>> {
        let list = read_list(text)?;
        let parts = |mailbox: &Mailbox<'_>| {
            assert_eq!(&text[mailbox.address_at.clone()], mailbox.address.as_str());
            assert_eq!(&text[mailbox.phrase_at.clone()], mailbox.phrase);
            let comment = mailbox.comment.unwrap_or_default().to_owned();
            (mailbox.phrase.to_owned(), mailbox.address.to_string(), comment)
        };
        Some(list.iter().map(parts).collect())
    }

    #[track_caller]
    fn check(text: &str, phrase: &str, address: &str, comment: &str) {
        assert_eq!(
            read(text),
            Some(vec![(phrase.into(), address.into(), comment.into())]),
            "{text:?}"
        );
    }

    #[test]
    fn mailboxes_of_real_clients_are_read() {
        check("joe@x.example", "", "joe@x.example", "");
        check(" <joe@x.example>", "", "joe@x.example", "");
        check("Joe Q. Public <joe@x.example>", "Joe Q. Public", "joe@x.example", "");
        check(
            "\"Public, Joe (sales)\"\r\n <joe@x.example>",
            "\"Public, Joe (sales)\"",
            "joe@x.example",
            "",
        );
        check("=?utf-8?q?J=C3=B6rg?= <j@x>", "=?utf-8?q?J=C3=B6rg?=", "j@x", "");
        check("J\u{f6}rg <j@x>", "J\u{f6}rg", "j@x", "");
        check("root (Cron Daemon)", "", "root", "Cron Daemon");
        check("Anacron <root>", "Anacron", "root", "");
        check("joe@x.example (Joe \\) (the) Public)", "", "joe@x.example", "Joe \\) (the) Public");
        check("Joe <joe@x.example> (at home)", "Joe", "joe@x.example", "at home");
        check("\"a b\"@x.example", "", "\"a b\"@x.example", "");
        check("printer@[IPv6:fe80::1]", "", "printer@[IPv6:fe80::1]", "");
        let two = read("a@x, , B <b@x>").unwrap();
        assert_eq!(two.len(), 2);
    }

    #[test]
    fn what_is_no_list_of_mailboxes_is_not_guessed() {
        for text in [
            "",
            " \r\n ",
            "()",
            ",",
            "<>",
            "Joe",
            "Joe joe@x.example",
            "Joe <joe@x",
            "\"Joe <joe@x>",
            "a@x> b",
            "undisclosed-recipients:;",
            "friends: a@x, b@x;",
            "a@x <b@x>, <c@x> d",
            "(a",
            "a)",
            "<a@x><b@x>",
            "a@b c@d",
        ] {
            // A single word is a local name.
            let expected =
                (text == "Joe").then(|| vec![(String::new(), "Joe".into(), String::new())]);
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_address_is_rescued_from_a_broken_text() {
        let rescued = |text| rescued_address(text).map(String::from);
        assert_eq!(rescued("Joe joe@x.example"), Some("joe@x.example".into()));
        assert_eq!(rescued("\"Joe <joe@x.example>"), Some("joe@x.example".into()));
        assert_eq!(rescued("root at home"), None);
    }

    #[test]
    fn quotes_escapes_and_folds_are_no_part_of_a_name() {
        assert_eq!(
            plain("\"Public, \\\"Joe\\\"\"\r\n  the\t\u{7}second "),
            "Public, \"Joe\" the second"
        );
    }

    #[test]
    fn the_longest_fields_are_read_in_one_pass() {
        for unit in ["[:", ":", "<", "(", "\"", ",", "a,", "a@b,", "\\", "a <b@c>"] {
            let text = unit.repeat(256 * 1024 / unit.len());
            drop((read_list(&text), rescued_address(&text), plain(&text)));
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic() {
        let mut random = fastrand::Rng::with_seed(11);
        let alphabet: Vec<char> = "ab@.<>(),;:\"\\[] \t\r\n\u{e9}=?".chars().collect();
        for _ in 0..50_000 {
            let text: String = (0..random.usize(0..30))
                .map(|_| alphabet[random.usize(..alphabet.len())])
                .collect();
            if let Some(list) = read_list(&text) {
                assert!(
                    list.iter().all(
                        |mailbox| &text[mailbox.address_at.clone()] == mailbox.address.as_str()
                    )
                );
            }
            drop((rescued_address(&text), plain(&text)));
        }
    }
}
