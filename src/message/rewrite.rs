//! The header section as it leaves for the upstream: every edit that is made at send time, in their order.
//!
//! Rule: pure, and the same bytes for the same message and configuration, so that a second attempt sends the
//! same mail. docs/identity.md names every edit made here and its reason. The body is none of our business.
//! Must not know the upstream, nor which attempt it is.

use super::{
    author, encoding,
    envelope::Envelope,
    header::{Edits, Header, HeaderSection},
    identity::Terms,
    mailbox, recipients,
};

/// Fields of which a message has one (RFC 5322 section 3.6, RFC 2045 section 3), and what the others are
/// called when they leave: Gmail refuses mail with two. From is not here: [`super::author`] looks for the best.
const SINGLE_FIELDS: [(&str, &str); 13] = [
    ("Date", "X-Duplicate-Date"),
    ("Sender", "X-Duplicate-Sender"),
    ("Reply-To", "X-Duplicate-Reply-To"),
    ("To", "X-Duplicate-To"),
    ("Cc", "X-Duplicate-Cc"),
    ("Message-ID", "X-Duplicate-Message-ID"),
    ("In-Reply-To", "X-Duplicate-In-Reply-To"),
    ("References", "X-Duplicate-References"),
    ("Subject", "X-Duplicate-Subject"),
    ("MIME-Version", "X-Duplicate-MIME-Version"),
    ("Content-Type", "X-Duplicate-Content-Type"),
    ("Content-Transfer-Encoding", "X-Duplicate-Content-Transfer-Encoding"),
    ("Content-Disposition", "X-Duplicate-Content-Disposition"),
];
/// Those of them that hold a list, and what stands between its members: several make one.
const LIST_FIELDS: [(&str, &str); 5] = [
    ("Reply-To", ",\r\n\t"),
    ("To", ",\r\n\t"),
    ("Cc", ",\r\n\t"),
    ("In-Reply-To", "\r\n\t"),
    ("References", "\r\n\t"),
];

/// A header section that is ready to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Its octets, without the empty line.
    pub header: Vec<u8>,
    /// It holds addresses in 8-bit characters, which only SMTPUTF8 carries.
    pub internationalized: bool,
    /// What was edited, for the log.
    pub edits: Edits,
}

/// Makes all edits. `None` when the header section is larger than what we edit: it leaves as it is.
#[must_use]
pub fn rewrite(
    section: &HeaderSection,
    envelope: &Envelope,
    terms: &Terms<'_>,
) -> Option<Rewritten> {
    let mut header = Header::read(&section.bytes, section.added_bytes)?;
    let mut edits = Edits::default();
    if encoding::read_charsets(&mut header) {
        edits.note("encoding");
    }
    remove_blind_copies(&mut header, &mut edits);
    if section.replaced.message_id {
        rename_all_but_the_first(&mut header, "Message-ID", "X-Original-Message-ID");
        edits.note("Message-ID");
    }
    if section.replaced.date {
        rename_all_but_the_first(&mut header, "Date", "X-Original-Date");
        edits.note("Date");
    }
    author::edit(&mut header, envelope, terms, &mut edits);
    for (name, between) in LIST_FIELDS {
        if join(&mut header, name, between) {
            edits.note("duplicates");
        }
    }
    for (name, other_name) in SINGLE_FIELDS {
        if rename_all_but_the_first(&mut header, name, other_name) {
            edits.note("duplicates");
        }
    }
    recipients::edit(&mut header, terms.recipients, &mut edits);
    let keeps_utf8 = terms.keeps_utf8(envelope);
    fit_to_leave(&mut header, keeps_utf8, &mut edits);
    let header = header.finish();
    let internationalized = !keeps_utf8 && !header.is_ascii();
    Some(Rewritten { header, internationalized, edits })
}

/// Who gets a blind copy is known from the envelope; the field would tell everybody.
fn remove_blind_copies(header: &mut Header<'_>, edits: &mut Edits) {
    for field in header.fields_mut() {
        if field.is("Bcc") || field.is("Resent-Bcc") {
            field.remove();
            edits.note("Bcc");
        }
    }
}

/// Makes one field of several lists. One that does not end what it begins (a quote, a bracket) would swallow its
/// neighbours: it stays by itself, as long as another one can take the place.
fn join(header: &mut Header<'_>, name: &str, between: &str) -> bool {
    let all: Vec<usize> =
        (0..header.fields().len()).filter(|position| header.fields()[*position].is(name)).collect();
    if all.len() < 2 {
        return false;
    }
    let (mut members, mut taken): (Vec<String>, Vec<usize>) = (Vec::new(), Vec::new());
    for position in all {
        let text = encoding::text_of(header.fields()[position].value());
        let text = text.trim_matches(|letter: char| letter.is_ascii_whitespace() || letter == ',');
        if text.is_empty() {
            taken.push(position);
        } else if mailbox::is_closed(text) {
            taken.push(position);
            if !members.iter().any(|known| known == text) {
                members.push(text.to_owned());
            }
        }
    }
    let Some((first, others)) = taken.split_first().filter(|_| !members.is_empty()) else {
        return false;
    };
    // Where an unfinished one comes first, it would be the one that stays.
    for position in 0..*first {
        let field = &mut header.fields_mut()[position];
        if field.is(name) {
            field.rename(duplicate_of(name));
        }
    }
    header.fields_mut()[*first].set_value(format!(" {}", members.join(between)));
    others.iter().for_each(|position| header.fields_mut()[*position].remove());
    true
}

/// What a second field of this name is called.
fn duplicate_of(name: &str) -> &'static str {
    let found = SINGLE_FIELDS.iter().find(|(single, _)| *single == name);
    found.map_or("X-Duplicate", |(_, other_name)| other_name)
}

fn rename_all_but_the_first(header: &mut Header<'_>, name: &str, other_name: &'static str) -> bool {
    let mut renamed = false;
    for field in header.fields_mut().iter_mut().filter(|field| field.is(name)).skip(1) {
        field.rename(other_name);
        renamed = true;
    }
    renamed
}

fn fit_to_leave(header: &mut Header<'_>, internationalized: bool, edits: &mut Edits) {
    for field in header.fields_mut().iter_mut().filter(|field| !field.is_removed()) {
        let fitted = encoding::fit_to_leave(&field.name(), field.value(), internationalized);
        let bare_line_end =
            field.original().ends_with(b"\n") && !field.original().ends_with(b"\r\n");
        let fitted = fitted.or_else(|| bare_line_end.then(|| field.value().to_vec()));
        if let Some(value) = fitted {
            field.set_value(value);
            edits.note("encoding");
        }
    }
}
