//! Addresses out of what people write: a To field, or an argument.
//!
//! Rule: each address that can be made out is found, whatever stands beside it; what cannot is handed back, so
//! that somebody is told. Must not know where the text stood.

use crate::{
    message::mailbox::{read_list, rescued_address},
    smtp::address::Address,
};

/// What a text names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Addresses, in order, each once.
    pub addresses: Vec<Address>,
    /// Pieces that are no address.
    pub unreadable: Vec<String>,
}

impl Found {
    /// Adds the addresses of a text: a list with commas, with names, comments and groups.
    pub fn read(&mut self, text: &str) {
        for element in elements(text) {
            let element = element.trim();
            if !element.is_empty() {
                self.element(element);
            }
        }
    }

    /// Adds one that is known.
    pub fn add(&mut self, address: Address) {
        let same = |known: &Address| {
            let domains = (known.domain(), address.domain());
            known.local_part() == address.local_part()
                && match domains {
                    (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
                    (one, other) => one == other,
                }
        };
        if !self.addresses.iter().any(same) {
            self.addresses.push(address);
        }
    }

    fn element(&mut self, element: &str) {
        let mailbox = read_list(element).and_then(|list| match <[_; 1]>::try_from(list) {
            Ok([only]) => Some(only.address),
            Err(_) => None,
        });
        if let Some(address) = mailbox {
            return self.add(address);
        }
        // `a@b c@d` of somebody who has never heard of commas.
        let words: Result<Vec<Address>, _> = element.split_whitespace().map(str::parse).collect();
        if let Ok(words) = words
            && words.iter().all(|address| address.domain().is_some())
        {
            return words.into_iter().for_each(|address| self.add(address));
        }
        match rescued_address(element) {
            Some(address) => self.add(address),
            None => self.unreadable.push(element.to_owned()),
        }
    }
}

/// The pieces between commas and semicolons; the name of a group is none.
fn elements(text: &str) -> Vec<&str> {
    let (mut found, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped, mut comments, mut angle, mut literal) =
        (false, false, 0_u32, false, false);
    for (position, octet) in text.bytes().enumerate() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match octet {
            b'\\' if quoted || comments > 0 => escaped = true,
            b'"' if comments == 0 => quoted = !quoted,
            _ if quoted => {}
            b'(' => comments += 1,
            b')' => comments = comments.saturating_sub(1),
            _ if comments > 0 => {}
            b'<' | b'>' => angle = octet == b'<',
            b'[' | b']' => literal = octet == b'[',
            _ if angle || literal => {}
            b',' | b';' => {
                found.push(&text[start..position]);
                start = position + 1;
            }
            b':' if is_group_name(&text[start..position]) => start = position + 1,
            _ => {}
        }
    }
    if quoted || comments > 0 || angle || literal {
        // Brackets that do not match: then commas are all there is.
        return text.split([',', ';']).collect();
    }
    found.push(&text[start..]);
    found
}

fn is_group_name(text: &str) -> bool {
    // `:include:` of an alias file is no group.
    !text.trim().is_empty() && !text.trim().starts_with(':') && !text.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, addresses: &[&str], unreadable: &[&str]) {
        let mut found = Found::default();
        found.read(text);
        let read: Vec<&str> = found.addresses.iter().map(Address::as_str).collect();
        assert_eq!(
            (&read[..], &found.unreadable[..]),
            (addresses, &unreadable.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()[..]),
            "{text}"
        );
    }

    #[test]
    fn every_address_of_a_list_is_found() {
        check("root", &["root"], &[]);
        check(
            " a@b, \"C, D\" <c@d>,, e@f (the (other) one, too)\r\n\t, g@[IPv6:::1]",
            &["a@b", "c@d", "e@f", "g@[IPv6:::1]"],
            &[],
        );
        check("a@b;c@d; ", &["a@b", "c@d"], &[]);
        check("a@b c@d", &["a@b", "c@d"], &[]);
        check("A@b, A@B, a@b", &["A@b", "a@b"], &[]);
        check("", &[], &[]);
    }

    #[test]
    fn a_group_is_its_members() {
        check("undisclosed-recipients:;", &[], &[]);
        check("friends: a@b, C <c@d>;, e@f", &["a@b", "c@d", "e@f"], &[]);
        check("\"my, friends\": a@b;", &["a@b"], &[]);
    }

    #[test]
    fn one_broken_address_takes_no_other_with_it() {
        check("Joe joe@b, c@d", &["joe@b", "c@d"], &[]);
        check("Joe Public, c@d", &["c@d"], &["Joe Public"]);
        check("\"Joe <joe@b>, c@d", &["joe@b", "c@d"], &[]);
        check("<>, a@b", &["a@b"], &["<>"]);
        check(":include:/etc/passwd", &[], &[":include:/etc/passwd"]);
    }

    #[test]
    fn no_text_makes_the_reader_panic() {
        let mut random = fastrand::Rng::with_seed(17);
        let alphabet: Vec<char> = "ab@.<>(),;:\"\\[] \t\r\n\u{e9}".chars().collect();
        for _ in 0..20_000 {
            let text: String = (0..random.usize(0..30))
                .map(|_| alphabet[random.usize(..alphabet.len())])
                .collect();
            Found::default().read(&text);
        }
    }
}
