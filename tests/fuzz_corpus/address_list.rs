//! The fuzz target of lists of addresses: whoever is named gets the message, or somebody is told that the list was not
//! understood.

use pillarbox::{message::address_list::Found, smtp::address::Address};

/// Runs one input. Panics when something does not hold.
pub(crate) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut found = Found::default();
    found.read(&text);
    found.addresses.iter().for_each(super::address::check_safe);
    check_bounds(&text, &found);
    if text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
        for address in &found.addresses {
            let parts = [Some(address.local_part()), address.domain()];
            assert!(
                parts.into_iter().flatten().all(|part| text.contains(part)),
                "{address} is nobody's"
            );
        }
    }
    for address in plain(&text) {
        let named = address.to_ascii_lowercase();
        let is_found =
            found.addresses.iter().any(|known| known.as_str().to_ascii_lowercase() == named);
        assert!(is_found || !found.unreadable.is_empty(), "{address} is passed over");
    }
    let before = found.addresses.clone();
    found.read(&text);
    assert_eq!(found.addresses, before, "each is there once");
}

/// What is found is not more than what was written, but for a blank between two pieces.
fn check_bounds(text: &str, found: &Found) {
    let addresses = found.addresses.iter().map(|address| address.as_str().len());
    let octets: usize = addresses.chain(found.unreadable.iter().map(String::len)).sum();
    assert!(octets <= 3 * text.len() + 16, "{octets} octets out of {}", text.len());
}

/// Everything that can only be an address: between blanks, separators and brackets, and in no comment and no quotes.
fn plain(text: &str) -> Vec<&str> {
    let is_bound = |character: char| {
        character.is_whitespace() || character.is_control() || ",;<>".contains(character)
    };
    let is_quote = |character: char| {
        matches!(character, '"' | '\u{201c}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{ff02}')
    };
    let looks_like_one = |word: &str| {
        let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"@._-".contains(&octet);
        word.bytes().all(is_plain)
            && word.split_once('@').is_some_and(|(_, domain)| domain.contains('.'))
            && word.parse::<Address>().is_ok()
    };
    let opening = [text.find('('), text.find(is_quote)].map(|at| at.unwrap_or(usize::MAX));
    let closing = [text.rfind(')'), text.rfind(is_quote)].map(|at| at.unwrap_or(0));
    let mut at = 0;
    let mut words = Vec::new();
    for word in text.split(is_bound) {
        let start = at;
        at += word.len() + text[at + word.len()..].chars().next().map_or(0, char::len_utf8);
        let is_hidden = (0..2).any(|mark| opening[mark] < start && start < closing[mark]);
        if !is_hidden && looks_like_one(word) {
            words.push(word);
        }
    }
    words
}
