//! Messages of other programs, which have no envelope: where it comes from when they are imported.
//!
//! Rule: nobody is written to whom the administrator did not name, on the command line or by trusting the
//! fields of the message. Pure. Must not know the queue.

use std::net::{IpAddr, Ipv4Addr};

use crate::{
    clock::Timestamp,
    message::{
        envelope::{BodyKind, Envelope, Lane, Origin},
        header::{Header, end_of_section},
        mailbox,
    },
    smtp::{address::Address, dsn::Dsn},
};

/// Recipients that are taken from the fields of one message; more are a mailing list.
const RECIPIENTS_MAX: usize = 100;

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
    let addresses = |name: &str| -> Vec<Address> {
        let values = header.fields().iter().filter(|field| field.is(name));
        let values = values.map(|field| String::from_utf8_lossy(field.value()).into_owned());
        values.flat_map(|value| addresses_of(&value)).collect()
    };
    let forward_paths = match recipients {
        Recipients::Named(named) => named.clone(),
        Recipients::OfTheFields => {
            let mut found: Vec<Address> = Vec::new();
            for address in ["To", "Cc", "Bcc"].into_iter().flat_map(addresses) {
                if !found.contains(&address) {
                    found.push(address);
                }
            }
            found
        }
    };
    if forward_paths.is_empty() {
        return Err(
            "no address can be read in its fields To, Cc and Bcc; name one with --recipient".into(),
        );
    }
    if forward_paths.len() > RECIPIENTS_MAX {
        return Err(format!("it has more than {RECIPIENTS_MAX} recipients"));
    }
    let reverse_path =
        sender.cloned().or_else(|| ["Return-Path", "From"].into_iter().flat_map(addresses).next());
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

/// The addresses of a field that have a domain.
fn addresses_of(value: &str) -> Vec<Address> {
    let list =
        mailbox::read_list(value).map(|list| list.into_iter().map(|one| one.address).collect());
    let found: Vec<Address> =
        list.unwrap_or_else(|| mailbox::rescued_address(value).into_iter().collect());
    found.into_iter().filter(|address| address.domain().is_some()).collect()
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
