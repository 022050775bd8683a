//! The recipients of one transaction as To, Cc and Bcc name them, for an upstream that is told them by the header alone.
//!
//! Rule: exactly those who are meant are named, each once, in fields that can be read in one way only. Who was named
//! besides them stays readable under another name. A field that leaves room for doubt is set aside whole, and those in it
//! who are meant become blind copies. Must not know why somebody is meant.

use std::collections::HashSet;

use super::{
    aliases::same_mailbox,
    encoding::{phrase, text_of},
    header::{Edits, Header},
    mailbox::{Mailbox, plain, read_members},
};
use crate::smtp::address::Address;

/// The fields whose members a reader sees, and what the old ones are called.
const VISIBLE: [(&str, &str); 2] = [("To", "X-Original-To"), ("Cc", "X-Original-Cc")];
/// Fields that somebody could take for recipients as well, and what they are called when they leave.
const DOUBTFUL: [(&str, &str); 3] = [
    ("Resent-To", "X-Original-Resent-To"),
    ("Resent-Cc", "X-Original-Resent-Cc"),
    ("Apparently-To", "X-Original-Apparently-To"),
];
/// What a line without a name becomes: nobody may read it as a field, or as the end of the header section.
const NAMELESS: &str = "X-Not-A-Field";
/// Octets of a name that is written again; with the longest address it stays within a line.
const PHRASE_LENGTH_MAX: usize = 400;

/// The header section in which `recipients` are named, and nobody else. `None` when it is larger than what we edit.
#[must_use]
pub fn name_exactly(section: &[u8], recipients: &[Address], edits: &mut Edits) -> Option<Vec<u8>> {
    let mut header = Header::read(section, trace_length(section)?)?;
    let meant = recipients.iter().map(key).collect();
    let mut naming = Naming { meant, named: HashSet::new() };
    for (name, other_name) in VISIBLE {
        if naming.edit(&mut header, name, other_name) {
            edits.note(name);
        }
    }
    let mut unnamed: Vec<&str> = Vec::new();
    for address in recipients {
        if naming.named.insert(key(address)) {
            unnamed.push(address.as_str());
        }
    }
    set_aside(&mut header);
    if !unnamed.is_empty() {
        header.insert("Bcc", &unnamed.join(",\r\n\t"));
        edits.note("Bcc");
    }
    Some(header.finish())
}

/// Octets of the Received fields that the section begins with: they stay in front.
fn trace_length(section: &[u8]) -> Option<usize> {
    let header = Header::read(section, 0)?;
    let trace = header.fields().iter().take_while(|field| field.is("Received"));
    Some(trace.map(|field| field.original().len()).sum())
}

/// What is the same in two spellings of one mailbox.
fn key(address: &Address) -> String {
    same_mailbox(&address.in_ascii().unwrap_or_else(|| address.clone()))
}

/// Who is to be named, and who is already.
struct Naming {
    meant: HashSet<String>,
    named: HashSet<String>,
}

impl Naming {
    /// Leaves in the fields of a name who is meant and has not been named. Returns whether anything changed.
    fn edit(&mut self, header: &mut Header<'_>, name: &str, other_name: &'static str) -> bool {
        let all: Vec<usize> = (0..header.fields().len())
            .filter(|position| header.fields()[*position].is(name))
            .collect();
        let mut members: Vec<String> = Vec::new();
        let mut is_changed = all.len() > 1;
        for position in &all {
            let value = header.fields()[*position].value();
            let text = text_of(value);
            let before = members.len();
            let list = read_members(&text);
            is_changed |= !value.is_ascii() || text.as_bytes() != value || has_marks(&text);
            for mailbox in list.iter().flatten() {
                let address = mailbox.address.in_ascii().filter(|_| self.takes(mailbox));
                members.extend(address.map(|address| written(mailbox, &address)));
                is_changed |= !is_plain(mailbox.phrase);
            }
            let count = list.as_ref().map_or(0, Vec::len);
            is_changed |= count == 0 || members.len() - before != count;
        }
        if !is_changed {
            return false;
        }
        for position in &all {
            let field = &mut header.fields_mut()[*position];
            let is_empty = field.value().trim_ascii().is_empty();
            if is_empty { field.remove() } else { field.rename(other_name) }
        }
        if !members.is_empty() {
            header.insert(name, &members.join(",\r\n\t"));
        }
        !all.is_empty()
    }

    /// Whether somebody is meant, and named for the first time.
    fn takes(&mut self, mailbox: &Mailbox<'_>) -> bool {
        let key = key(&mailbox.address);
        self.meant.contains(&key) && self.named.insert(key)
    }
}

/// Whether a list has more in it than mailboxes: groups, comments, routes, or empty members.
fn has_marks(text: &str) -> bool {
    let blank = |part: &str| part.trim().is_empty();
    text.contains(['(', ')', ':', ';', '[', ']', '\\']) || text.split(',').any(blank)
}

/// Whether a name is made of atoms, or is one string in quotes, so that everybody reads it as we do.
fn is_plain(phrase: &str) -> bool {
    let inside = phrase.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inside {
        Some(inside) => !inside.contains(['"', '<', '>', '\\']),
        None => is_atoms(phrase),
    }
}

fn is_atoms(phrase: &str) -> bool {
    let atom = |octet: u8| {
        octet.is_ascii_alphanumeric() || b" \t\r\n.!#$%&'*+-/=?^_`{|}~".contains(&octet)
    };
    phrase.bytes().all(atom)
}

/// A mailbox that is written again: its name, or the comment that stands for it, when it can be read in one way only.
fn written(mailbox: &Mailbox<'_>, address: &Address) -> String {
    let name = if mailbox.phrase.is_empty() {
        mailbox.comment.unwrap_or_default()
    } else {
        mailbox.phrase
    };
    let words = plain(name);
    let is_usable = !words.is_empty() && !words.contains(['<', '>']);
    let has_encoded_words = words.contains("=?");
    let name = match (is_usable, is_atoms(name)) {
        (false, _) => None,
        (true, true) => Some(words),
        (true, false) if has_encoded_words => None,
        (true, false) => Some(phrase(&words, 1, false)),
    };
    match name.filter(|name| name.len() <= PHRASE_LENGTH_MAX) {
        Some(name) => format!("{name} <{address}>"),
        None => address.to_string(),
    }
}

/// What else could be taken for recipients goes out under another name; blind copies that somebody wrote, not at all.
fn set_aside(header: &mut Header<'_>) {
    for field in header.fields_mut().iter_mut().filter(|field| !field.is_removed()) {
        if field.is("Bcc") || field.is("Resent-Bcc") {
            field.remove();
        } else if field.name().is_empty() {
            let value = format!(" {}", text_of(field.value()));
            field.rename(NAMELESS);
            field.set_value(value);
        } else if let Some((_, other_name)) = DOUBTFUL.iter().find(|(name, _)| field.is(name)) {
            field.rename(other_name);
        }
        if has_stray_end(field.original()) {
            let value = text_of(field.value());
            field.set_value(value);
        }
    }
}

/// Whether a CR stands alone, which somebody could take for the end of a line: before the colon it is in nobody's value.
fn has_stray_end(field: &[u8]) -> bool {
    memchr::memchr_iter(b'\r', field).any(|position| field.get(position + 1) != Some(&b'\n'))
}

#[cfg(test)]
mod tests;
