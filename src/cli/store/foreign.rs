//! Messages of other programs, which have no envelope: where it comes from when they are imported.
//!
//! Rule: nobody is written to whom the administrator did not name, on the command line or by trusting the
//! fields of the message. Pure. Must not know the queue.

use std::net::{IpAddr, Ipv4Addr};

use crate::{
    clock::Timestamp,
    message::{
        address_list::Found,
        encoding::text_of,
        envelope::{BodyKind, Envelope, Lane, Origin},
        header::{Header, end_of_section},
    },
    smtp::{address::Address, dsn::Dsn},
};

/// Recipients that are taken from the fields of one message; more are a mailing list.
const RECIPIENTS_MAX: usize = 100;

/// Characters of a field that are repeated.
const SHOWN_MAX: usize = 100;

/// Who gets messages without an envelope.
#[derive(Clone, Debug)]
pub(super) enum Recipients {
    /// These.
    Named(Vec<Address>),
    /// Those of To, Cc and Bcc.
    OfTheFields,
}

/// The envelope for a message, with CRLF line ends, or why there is none.
pub(super) fn envelope(
    message: &[u8],
    recipients: &Recipients,
    sender: Option<&Address>,
    now: Timestamp,
) -> Result<Envelope, String> {
    let mut end = 0;
    let ended = end_of_section(message, &mut end).is_some();
    let section = if ended { &message[..end] } else { message };
    let header = Header::read(section, 0).ok_or("its header section is too long")?;
    let forward_paths = match recipients {
        Recipients::Named(named) => named.clone(),
        Recipients::OfTheFields => of_the_fields(&header)?,
    };
    if forward_paths.is_empty() {
        return Err(
            "no address can be read in its fields To, Cc and Bcc; name one with --recipient".into(),
        );
    }
    if forward_paths.len() > RECIPIENTS_MAX {
        return Err(format!("it has more than {RECIPIENTS_MAX} recipients"));
    }
    let reverse_path = sender.cloned().or_else(|| sender_of(&header));
    let internationalized =
        forward_paths.iter().chain(&reverse_path).any(Address::is_internationalized);
    Ok(Envelope {
        reverse_path,
        forward_paths,
        body: if message.is_ascii() { BodyKind::SevenBit } else { BodyKind::EightBitMime },
        internationalized,
        dsn: Dsn::default(),
        lane: Lane::default(),
        origin: Origin {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: String::new(),
            protocol: "local".into(),
            login: None,
            local: None,
        },
        accepted_at: now,
    })
}

/// What all fields of these names say.
fn read(header: &Header<'_>, names: &[&str]) -> Found {
    let mut found = Found::default();
    for field in names.iter().flat_map(|name| header.fields().iter().filter(|one| one.is(name))) {
        found.read(&text_of(field.value()));
    }
    found
}

/// Every address with a domain in To, Cc and Bcc; names of the host that the message comes from mean nothing here.
fn of_the_fields(header: &Header<'_>) -> Result<Vec<Address>, String> {
    let Found { addresses, unreadable, .. } = read(header, &["To", "Cc", "Bcc"]);
    // Somebody would be left out.
    if let Some(text) = unreadable.iter().find(|text| text.contains('@')) {
        let text: String = text.chars().take(SHOWN_MAX).collect();
        return Err(format!(
            "\"{text}\" in its fields To, Cc and Bcc cannot be read as an address; name all recipients with \
             --recipient"
        ));
    }
    Ok(addresses.into_iter().filter(|address| address.domain().is_some()).collect())
}

/// Return-Path, which may be the null one, or else From.
fn sender_of(header: &Header<'_>) -> Option<Address> {
    let path = header.fields().iter().find(|field| field.is("Return-Path"));
    if path.is_some_and(|path| path.value().trim_ascii() == b"<>") {
        return None;
    }
    let has_domain = |found: Found| found.addresses.into_iter().find(|one| one.domain().is_some());
    has_domain(read(header, &["Return-Path"])).or_else(|| has_domain(read(header, &["From"])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_fields(message: &str) -> Result<Envelope, String> {
        envelope(message.as_bytes(), &Recipients::OfTheFields, None, Timestamp(7))
    }

    #[test]
    fn the_envelope_comes_from_the_fields_when_that_was_asked_for() {
        let message = "Return-Path: <bounce@list.example>\r\nFrom: A <a@b.example>\r\nTo: C <c@d.example>,\r\n \
                       root, \"E, F\" <e@f.example>\r\nCc: c@d.example\r\nBcc: g@h.example\r\n\r\nTo: x@y.example\r\n";
        let found = of_fields(message).unwrap();
        let to: Vec<&str> = found.forward_paths.iter().map(Address::as_str).collect();
        assert_eq!(to, ["c@d.example", "e@f.example", "g@h.example"]);
        assert_eq!(found.reverse_path.as_ref().map(Address::as_str), Some("bounce@list.example"));
        assert_eq!(found.body, BodyKind::SevenBit);
        assert!(!found.is_own_notice());
    }

    #[test]
    fn every_address_of_the_fields_is_taken_or_the_message_is_not_imported() {
        let both = ["bob@example.net", "ann@example.net"];
        for to in [
            "Bob <bob@example.net>; Ann <ann@example.net>",
            "bob@example.net;ann@example.net;",
            "Bob <bob@example.net>, <>, Ann <ann@example.net>",
            "\"Bob <bob@example.net>, Ann <ann@example.net>",
            "Bob <bob@example.net> Ann <ann@example.net>",
            "\"B, Bob\" <bob@example.net>,\r\n\tfriends: Ann <ann@example.net>;",
        ] {
            let found = of_fields(&format!("From: a@b.example\r\nTo: {to}\r\n\r\n")).unwrap();
            let to: Vec<&str> = found.forward_paths.iter().map(Address::as_str).collect();
            assert_eq!(to, both);
        }
        for to in ["bob@example.net, ann@@example.net", "bob@example.net, ann@", "a@b.c-d@e.f"] {
            let error = of_fields(&format!("To: {to}\r\n\r\n")).unwrap_err();
            assert!(error.contains("cannot be read as an address"), "{error}");
        }
        let bounce = "Return-Path: <>\r\nFrom: a@b.example\r\nTo: bob@example.net\r\n\r\n";
        assert_eq!(of_fields(bounce).unwrap().reverse_path, None);
    }

    #[test]
    fn a_message_that_names_nobody_is_refused_and_a_named_recipient_is_the_only_one() {
        assert!(
            of_fields("To: undisclosed-recipients:;\r\n\r\n").unwrap_err().contains("--recipient")
        );
        let named = Recipients::Named(vec!["me@x.example".parse().unwrap()]);
        let sender = "s@x.example".parse().unwrap();
        let found = envelope(
            "To: c@d.example\r\n\r\nü\r\n".as_bytes(),
            &named,
            Some(&sender),
            Timestamp(7),
        )
        .unwrap();
        assert_eq!(found.forward_paths[0].as_str(), "me@x.example");
        assert_eq!((found.forward_paths.len(), found.body), (1, BodyKind::EightBitMime));
        assert_eq!(found.reverse_path, Some(sender));
    }
}
