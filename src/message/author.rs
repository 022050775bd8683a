//! From, Sender and Reply-To on the way out: who a message says it is from, and who gets the answers.
//!
//! Rule: the old From is never lost: it goes out as X-Original-From, and answers still reach its author where
//! they can. Resent fields and those of mailing lists are the affair of who set them: they are left alone.
//! Must not know the other fields.

use super::{
    encoding::{phrase, text_of},
    envelope::Envelope,
    header::{Edits, Header},
    identity::{Terms, is_reachable},
    mailbox::{Mailbox, plain, read_list, rescued_address},
};
use crate::smtp::address::Address;

/// Characters of a name that we make.
const NAME_LENGTH_MAX: usize = 200;
/// Octets of a name that is kept as it was written, in one line.
const PHRASE_LENGTH_MAX: usize = 800;
/// Addresses in a Reply-To that we make: two From addresses are rare.
const REPLY_TO_MAX: usize = 10;
/// What programs put around an address that they do not know how to write.
const BRACKETS: [(&str, &str); 5] =
    [("[", "]"), ("{", "}"), ("(", ")"), ("&lt;", "&gt;"), ("[mailto:", "]")];
/// Where a name begins in a From line.
const NAME_COLUMN: usize = "From: ".len();
/// Who sends what nobody says he sent.
const NOBODY: &str = "MAILER-DAEMON";

/// What becomes of the From field.
enum Decision {
    Keep,
    /// Only the addresses in it change.
    Respell(String),
    Replace {
        from: String,
        /// Where answers went until now.
        authors: Vec<Address>,
    },
}

/// Edits the three fields.
pub(super) fn edit(
    header: &mut Header<'_>,
    envelope: &Envelope,
    terms: &Terms<'_>,
    edits: &mut Edits,
) {
    let (chosen, others) = choose_from(header, edits);
    let old =
        chosen.map_or_else(String::new, |position| text_of(header.fields()[position].value()));
    let author = Author { envelope, terms, host: terms.host(&envelope.origin) };
    match author.decide(&old) {
        Decision::Keep => {}
        Decision::Respell(value) => {
            if let Some(position) = chosen {
                header.fields_mut()[position].set_value(value);
                edits.note("From");
            }
        }
        Decision::Replace { from, authors } => {
            if let Some(position) = chosen {
                set_aside(header, position, "X-Original-From", &old);
            }
            header.insert("From", &from);
            edits.note("From");
            let said = |field: &super::header::Field<'_>| !field.value().trim_ascii().is_empty();
            let answered = header.fields().iter().any(|field| field.is("Reply-To") && said(field));
            let authors = authors.into_iter().chain(author.others_elsewhere(&others));
            let mut to: Vec<Address> = Vec::new();
            for address in authors {
                if to.len() < REPLY_TO_MAX && !to.contains(&address) {
                    to.push(address);
                }
            }
            let authors: Vec<&str> = to.iter().map(Address::as_str).collect();
            if !answered && !authors.is_empty() {
                // An empty one would be the second.
                header
                    .fields_mut()
                    .iter_mut()
                    .filter(|field| field.is("Reply-To"))
                    .for_each(|field| field.remove());
                header.insert("Reply-To", &authors.join(",\r\n\t"));
                edits.note("Reply-To");
            }
        }
    }
    edit_sender(header, terms, edits);
    qualify(header, "Reply-To", terms, edits);
}

/// The From field that says most: the first that names somebody, else the first. Others go out as
/// X-Duplicate-From, because Gmail refuses mail with two, and with two authors in one; whom they name is returned.
fn choose_from(header: &mut Header<'_>, edits: &mut Edits) -> (Option<usize>, Vec<Address>) {
    let all: Vec<usize> = (0..header.fields().len())
        .filter(|position| header.fields()[*position].is("From"))
        .collect();
    let names_somebody = |position: &&usize| {
        let text = text_of(header.fields()[**position].value());
        read_list(&text)
            .is_some_and(|list| list.iter().all(|mailbox| mailbox.address.domain().is_some()))
    };
    let chosen = all.iter().find(names_somebody).or_else(|| all.first()).copied();
    let mut others = Vec::new();
    for position in all.iter().filter(|position| Some(**position) != chosen) {
        let text = text_of(header.fields()[*position].value());
        others.extend(read_list(&text).as_deref().map_or_else(Vec::new, addresses));
        header.fields_mut()[*position].rename("X-Duplicate-From");
        edits.note("duplicates");
    }
    (chosen, others)
}

/// Keeps an old value under another name; one that says nothing is not worth a field.
fn set_aside(header: &mut Header<'_>, position: usize, name: &'static str, text: &str) {
    let field = &mut header.fields_mut()[position];
    if text.trim().is_empty() { field.remove() } else { field.rename(name) }
}

/// Gmail knows one sender of the account's mail: the account. A Sender field that says otherwise would make
/// two of them.
fn edit_sender(header: &mut Header<'_>, terms: &Terms<'_>, edits: &mut Edits) {
    if terms.stand_in().is_none() {
        return qualify(header, "Sender", terms, edits);
    }
    for position in 0..header.fields().len() {
        if !header.fields()[position].is("Sender") {
            continue;
        }
        let text = text_of(header.fields()[position].value());
        match read_list(&text).map(|list| respelled(&text, &list, terms)) {
            Some(Some(Decision::Keep)) => {}
            Some(Some(Decision::Respell(value))) => {
                header.fields_mut()[position].set_value(value);
                edits.note("Sender");
            }
            _ => {
                set_aside(header, position, "X-Original-Sender", &text);
                edits.note("Sender");
            }
        }
    }
}

/// Gives local names in a field our domain.
fn qualify(header: &mut Header<'_>, name: &str, terms: &Terms<'_>, edits: &mut Edits) {
    for field in header.fields_mut().iter_mut().filter(|field| field.is(name)) {
        let text = text_of(field.value());
        let Some(list) = read_list(&text) else { continue };
        if let Some(value) = qualified(&text, &list, terms) {
            field.set_value(value);
            edits.note(if name == "Sender" { "Sender" } else { "Reply-To" });
        }
    }
}

fn qualified(text: &str, list: &[Mailbox<'_>], terms: &Terms<'_>) -> Option<String> {
    let local = list.iter().filter(|mailbox| mailbox.address.domain().is_none());
    let new: Vec<_> = local.map(|mailbox| (mailbox, terms.qualified(&mailbox.address))).collect();
    (!new.is_empty())
        .then(|| with_addresses(text, new.iter().map(|(mailbox, new)| (*mailbox, new))))
}

/// A list of which every member is permitted, in the spelling that is.
fn respelled(text: &str, list: &[Mailbox<'_>], terms: &Terms<'_>) -> Option<Decision> {
    let mut all: Vec<(&Mailbox<'_>, &Address)> = Vec::with_capacity(list.len());
    for mailbox in list {
        all.push((mailbox, terms.permitted(&mailbox.address)?));
    }
    if all.iter().all(|(mailbox, address)| mailbox.address == **address) {
        return Some(Decision::Keep);
    }
    Some(Decision::Respell(with_addresses(text, all.into_iter())))
}

/// The text with other addresses in the places of these.
fn with_addresses<'a>(
    text: &str,
    new: impl Iterator<Item = (&'a Mailbox<'a>, &'a Address)>,
) -> String {
    let (mut result, mut copied) = (String::with_capacity(text.len() + 64), 0);
    for (mailbox, address) in new {
        result.push_str(&text[copied..mailbox.address_at.start]);
        result.push_str(address.as_str());
        copied = mailbox.address_at.end;
    }
    result.push_str(&text[copied..]);
    result
}

/// What is known about who wrote a message.
struct Author<'a> {
    envelope: &'a Envelope,
    terms: &'a Terms<'a>,
    host: String,
}

impl Author<'_> {
    fn decide(&self, old: &str) -> Decision {
        // `Public, Joe <joe@example.org>` lacks quotes; it is not a list of a local name and a mailbox.
        let bare_word =
            |mailbox: &Mailbox<'_>| mailbox.phrase.is_empty() && mailbox.address.domain().is_none();
        let list = read_list(old).filter(|list| list.len() == 1 || !list.iter().any(bare_word));
        let authors = list.as_deref().map_or_else(Vec::new, addresses);
        match (list, self.stand_in(&authors)) {
            (Some(list), Some(stand_in)) => respelled(old, &list, self.terms)
                .unwrap_or_else(|| self.replaced(self.name_of(&list[0]), stand_in, &authors)),
            (Some(list), None) => {
                qualified(old, &list, self.terms).map_or(Decision::Keep, Decision::Respell)
            }
            (None, _) if old.trim().is_empty() => self.made_from_the_envelope(),
            (None, _) => self.rebuilt(old),
        }
    }

    /// The address for authors who may not send as themselves.
    fn stand_in(&self, authors: &[Address]) -> Option<&Address> {
        self.terms.stand_in_for(self.envelope, authors)
    }

    /// A From for a message that has none.
    fn made_from_the_envelope(&self) -> Decision {
        let Some(sender) = &self.envelope.reverse_path else {
            let name = self.phrase(&format!("{NOBODY} on {}", self.host));
            return self.replaced_by_the_sender(name);
        };
        if let Some(permitted) = self.terms.permitted(sender) {
            return self.replaced(String::new(), permitted, &[]);
        }
        match self.stand_in(&[]) {
            Some(stand_in) => {
                self.replaced(self.name_of_address(sender), stand_in, std::slice::from_ref(sender))
            }
            None if sender.domain().is_some() => self.replaced_by_the_sender(String::new()),
            None => self.replaced_by_the_sender(self.name_of_address(sender)),
        }
    }

    /// For a message that nobody else signs.
    fn replaced_by_the_sender(&self, name: String) -> Decision {
        let nobody = || format!("{NOBODY}@{}", self.terms.identity.domain).parse().ok();
        let sender =
            self.envelope.reverse_path.as_ref().map(|address| self.terms.qualified(address));
        let address = sender.or_else(|| self.terms.account.cloned()).or_else(nobody);
        address.map_or(Decision::Keep, |address| self.replaced(name, &address, &[]))
    }

    /// A From for a message whose own is not a list of mailboxes, such as `Joe joe@example.org`.
    fn rebuilt(&self, old: &str) -> Decision {
        let rescued = rescued_address(old);
        let words = old.split('<').next().unwrap_or_default();
        let words = rescued
            .as_ref()
            .map_or_else(|| words.to_owned(), |found| without_address(words, found.as_str()));
        let words = plain(&words);
        let name = match (&rescued, words.trim_matches([' ', ',', ';', ':'])) {
            (Some(address), "") => self.name_of_address(address),
            (Some(_), words) => self.phrase(words),
            (None, words) => self.phrase(format!("{words} on {}", self.host).trim_start()),
        };
        let permitted = rescued.as_ref().and_then(|address| self.terms.permitted(address));
        match permitted.or_else(|| self.stand_in(rescued.as_slice())).or(rescued.as_ref()) {
            Some(address) => self.replaced(name, address, rescued.as_slice()),
            None => self.replaced_by_the_sender(name),
        }
    }

    fn replaced(&self, name: String, address: &Address, authors: &[Address]) -> Decision {
        let blank = if name.is_empty() { "" } else { " " };
        let mut authors = self.others_elsewhere(authors);
        authors.retain(|author| author != address);
        Decision::Replace { from: format!("{name}{blank}<{address}>"), authors }
    }

    /// Those of them whom answers to the account would not reach.
    fn others_elsewhere(&self, authors: &[Address]) -> Vec<Address> {
        let elsewhere =
            |author: &&Address| is_reachable(author) && self.terms.permitted(author).is_none();
        authors.iter().filter(elsewhere).cloned().collect()
    }

    /// The name that a mailbox has, or one that says who and where. An address with a domain says where;
    /// a bare `root` could be on any host.
    fn name_of(&self, mailbox: &Mailbox<'_>) -> String {
        let address = &mailbox.address;
        let local = place_of(address).is_none();
        let (words, is_phrase) = match (mailbox.phrase, mailbox.comment) {
            ("", None) => return self.name_of_address(address),
            ("", Some(comment)) => (comment, false),
            (phrase, _) => (phrase, true),
        };
        // Encoded words must stand alone: within quotes they would mean nothing.
        let encoded = words.contains("=?").then(|| written_as_it_is(words)).flatten();
        match (encoded, local, is_phrase) {
            (Some(words), false, _) => words,
            (Some(words), true, true) => format!("{words} \"on {}\"", self.host),
            (Some(words), true, false) => {
                format!("{words} \"({}) on {}\"", address.local_part(), self.host)
            }
            (None, false, true) => {
                written_as_it_is(words).unwrap_or_else(|| self.phrase(&plain(words)))
            }
            (None, false, false) => self.phrase(&plain(words)),
            (None, true, true) => self.phrase(&format!("{} on {}", plain(words), self.host)),
            (None, true, false) => self.phrase(&format!(
                "{} ({}) on {}",
                address.local_part(),
                plain(words),
                self.host
            )),
        }
    }

    fn name_of_address(&self, address: &Address) -> String {
        let place = place_of(address).unwrap_or(&self.host);
        self.phrase(&format!("{} on {place}", plain(address.local_part())))
    }

    fn phrase(&self, text: &str) -> String {
        let end = text.char_indices().nth(NAME_LENGTH_MAX).map_or(text.len(), |(end, _)| end);
        phrase(&text[..end], NAME_COLUMN, self.terms.keeps_utf8(self.envelope))
    }
}

/// The words beside an address, without the brackets that some programs put around it.
fn without_address(words: &str, address: &str) -> String {
    let mut words = words.to_owned();
    for (open, close) in BRACKETS {
        words = words.replace(&format!("{open}{address}{close}"), "");
    }
    words.replace(&format!("mailto:{address}"), "").replace(address, "")
}

fn addresses(list: &[Mailbox<'_>]) -> Vec<Address> {
    list.iter().map(|mailbox| mailbox.address.clone()).collect()
}

/// The domain, when it tells one host from another.
fn place_of(address: &Address) -> Option<&str> {
    let names_every_host = |domain: &str| {
        domain.split('.').next().is_some_and(|first| first.eq_ignore_ascii_case("localhost"))
    };
    address.domain().filter(|domain| !names_every_host(domain))
}

/// A phrase that may be written again as it is, in one line: words, quoted strings and encoded words.
fn written_as_it_is(words: &str) -> Option<String> {
    let line: String =
        words.chars().filter(|character| !matches!(character, '\r' | '\n')).collect();
    let mut quoted = false;
    let mut escaped = false;
    let fits = line.chars().all(|character| {
        if std::mem::take(&mut escaped) {
            return !character.is_control();
        }
        match character {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        let word =
            character.is_ascii_alphanumeric() || " \t\"!#$%&'*+-/=?^_`{|}~.".contains(character);
        character.is_ascii() && (word || (quoted && !character.is_control()))
    });
    (fits && !quoted && line.len() <= PHRASE_LENGTH_MAX).then_some(line)
}
