//! To and Cc on the way out: names of this host become the addresses that get the mail.
//!
//! Rule: only names of this host change; the words beside them stay, and the old field goes out as
//! X-Original-To or X-Original-Cc. A field that is not a list of mailboxes, or would become too long, stays as it
//! is. Who gets the mail is the envelope's affair: nothing here changes that.

use super::{
    aliases::Routes,
    encoding::text_of,
    header::{Edits, Header},
    mailbox::{Mailbox, read_list},
};
use crate::smtp::address::Address;

/// The fields, and what the old ones are called.
const FIELDS: [(&str, &str); 2] = [("To", "X-Original-To"), ("Cc", "X-Original-Cc")];
/// Addresses in a field that we write: a reader wants to know who else got the mail, not the membership of
/// a long list.
const ADDRESSES_MAX: usize = 50;

/// Edits both fields.
pub(super) fn edit(header: &mut Header<'_>, routes: &Routes, edits: &mut Edits) {
    for (name, old_name) in FIELDS {
        let Some(position) = header.fields().iter().position(|field| field.is(name)) else {
            continue;
        };
        let text = text_of(header.fields()[position].value());
        let Some(new) = read_list(&text).and_then(|list| replaced(&text, &list, routes)) else {
            continue;
        };
        header.fields_mut()[position].rename(old_name);
        header.insert(name, new.trim());
        edits.note(name);
    }
}

/// The text with addresses in the places of local names; `None` when nothing changes.
fn replaced(text: &str, list: &[Mailbox<'_>], routes: &Routes) -> Option<String> {
    let (mut result, mut copied, mut count) = (String::with_capacity(text.len() + 64), 0, 0);
    for mailbox in list {
        let Some(addresses) = addresses(mailbox, routes) else {
            count += 1;
            continue;
        };
        count += addresses.len();
        let before = &text[copied..mailbox.address_at.start];
        result.push_str(before);
        let in_brackets = text[..mailbox.address_at.start].trim_end().ends_with('<');
        let between = match (in_brackets, mailbox.phrase) {
            (false, _) => ",\r\n\t".to_owned(),
            (true, "") => ">,\r\n\t<".to_owned(),
            (true, phrase) => format!(">,\r\n\t{phrase} <"),
        };
        result.push_str(&addresses.iter().map(Address::as_str).collect::<Vec<_>>().join(&between));
        copied = mailbox.address_at.end;
    }
    result.push_str(&text[copied..]);
    (copied > 0 && count <= ADDRESSES_MAX).then_some(result)
}

/// Whom a name of this host stands for.
fn addresses(mailbox: &Mailbox<'_>, routes: &Routes) -> Option<Vec<Address>> {
    routes.local.name_of(&mailbox.address)?;
    let found = routes.of(&mailbox.address).ok()?;
    Some(found.into_iter().map(|route| route.address).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::aliases::LocalNames;

    fn edited(to: &str) -> String {
        let list =
            (0..=ADDRESSES_MAX).map(|number| format!("r{number}@x.example")).collect::<Vec<_>>();
        let file = format!("root: a@x.example, b@x.example\nops: root\nall: {}\n", list.join(","));
        let local = LocalNames { domains: vec!["web01".into()], ..LocalNames::default() };
        let routes = Routes::read(file.as_bytes(), local);
        let section = format!("To:{to}\r\nSubject: x\r\n");
        let mut header = Header::read(section.as_bytes(), 0).unwrap();
        let mut edits = Edits::default();
        edit(&mut header, &routes, &mut edits);
        String::from_utf8(header.finish()).unwrap().replace("Subject: x\r\n", "")
    }

    #[test]
    fn names_of_this_host_become_addresses_and_the_old_field_is_kept() {
        for (old, new) in [
            ("root", "a@x.example,\r\n\tb@x.example"),
            ("ROOT@web01, joe@y.example", "a@x.example,\r\n\tb@x.example, joe@y.example"),
            (
                "Joe <joe@y.example>, \"Root, the\" <root@localhost>",
                "Joe <joe@y.example>, \"Root, the\" <a@x.example>,\r\n\t\"Root, the\" <b@x.example>",
            ),
            ("<ops>", "<a@x.example>,\r\n\t<b@x.example>"),
            ("root (Super User)", "a@x.example,\r\n\tb@x.example (Super User)"),
        ] {
            assert_eq!(
                edited(&format!(" {old}")),
                format!("To: {new}\r\nX-Original-To: {old}\r\n"),
                "{old}"
            );
        }
    }

    #[test]
    fn everything_else_stays() {
        for to in [
            " joe@y.example",
            " nobody",
            " undisclosed-recipients:;",
            " root and others",
            " Joe <root",
            " all",
            " root@elsewhere.example",
            "",
        ] {
            assert_eq!(edited(to), format!("To:{to}\r\n"), "{to}");
        }
    }
}
