//! The fields put in front of a message at acceptance: Received (RFC 5321 section 4.4), and Message-ID
//! and Date when the client left them out or sent what nobody takes (Gmail refuses mail without them, and
//! replaces bad ones by its own, anew at each attempt).
//!
//! Rule: everything comes from the envelope and the findings, so the same message always gets the same
//! fields. Must not know where they are stored.

use std::net::IpAddr;

use jiff::{Timestamp, tz::TimeZone};

use super::{
    envelope::{Envelope, Origin},
    header::HeaderFindings,
    header::Replaced,
    identification::{Identification, Standing},
};
use crate::{clock, smtp::address::Address};

/// Octets of the HELO argument that are repeated in Received: a line stays far below the 998 octets of
/// RFC 5322 section 2.1.1.
const HELO_LENGTH_MAX: usize = 255;
/// Recipients that X-Original-To names; of more the number.
const ORIGINAL_RECIPIENTS_MAX: usize = 100;
/// Characters of a sender that is not an address; each may take ten octets, and the line stays below 998.
const SENDER_LENGTH_MAX: usize = 80;
/// What is between the clauses of Received and its date; no clause has it.
const DATE: &[u8] = b";\r\n\t";

/// What is added to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Added {
    /// The bytes that go in front of the original message; they end with CRLF.
    pub(crate) fields: Vec<u8>,
    /// Which of them stand in the place of the client's.
    pub(crate) replaced: Replaced,
}

/// The fields for a message. What the scanner saw counts as valid when the judge did not see it: it stands
/// further back than anybody looks.
#[must_use]
pub(crate) fn added_fields(
    envelope: &Envelope,
    id: &str,
    hostname: &str,
    findings: &HeaderFindings,
    identification: &Identification,
) -> Added {
    let now = date(envelope.accepted_at);
    let mut fields = received(envelope, id, hostname, &now);
    let standing = &identification.message_id;
    let replaced_id = *standing == Standing::Invalid;
    if replaced_id || !(findings.has_message_id || *standing == Standing::Valid) {
        fields.push_str(&format!("Message-ID: <{id}@{hostname}>\r\n"));
    }
    let date = match &identification.date {
        Standing::Restated(date) => Some(date),
        Standing::Invalid => Some(&now),
        Standing::Absent if !findings.has_date => Some(&now),
        Standing::Absent | Standing::Valid => None,
    };
    if let Some(date) = date {
        fields.push_str(&format!("Date: {date}\r\n"));
    }
    let replaced_date = matches!(identification.date, Standing::Restated(_) | Standing::Invalid);
    let replaced = Replaced { message_id: replaced_id, date: replaced_date };
    Added { fields: fields.into_bytes(), replaced }
}

/// X-Original-To, which other servers write when they redirect mail; empty without recipients.
#[must_use]
pub(crate) fn original_recipients(recipients: &[Address]) -> String {
    if recipients.is_empty() {
        return String::new();
    }
    let shown = recipients.iter().take(ORIGINAL_RECIPIENTS_MAX).map(Address::as_str);
    let mut text = shown.collect::<Vec<_>>().join(",\r\n\t");
    if let Some(more @ 1..) = recipients.len().checked_sub(ORIGINAL_RECIPIENTS_MAX) {
        text.push_str(&format!("\r\n\t(and {more} more)"));
    }
    format!("X-Original-To: {text}\r\n")
}

/// The fields of a message whose sender is not an address: Received tells what the client said, after Exim's manner. It
/// chose that, so it is shown in ASCII, without the characters that mean something in a comment, and not in full.
#[must_use]
pub(crate) fn with_unusable_sender(mut fields: Vec<u8>, unusable: &str) -> Vec<u8> {
    let plain = |character: char| match character {
        '(' | ')' | '\\' => "?".to_owned(),
        ' '..='~' => character.to_string(),
        other => format!("[U+{:04X}]", u32::from(other)),
    };
    let shown: String = unusable.chars().take(SENDER_LENGTH_MAX).map(plain).collect();
    let shown = if shown.trim().is_empty() { "nothing" } else { shown.trim() };
    let date = fields.windows(DATE.len()).position(|window| window == DATE).unwrap_or(0);
    fields.splice(date..date, format!("\r\n\t(envelope-from {shown})").into_bytes());
    fields
}

/// The recipient is named only when there is one: several would tell each of them about the others.
fn received(envelope: &Envelope, id: &str, hostname: &str, date: &str) -> String {
    let origin = &envelope.origin;
    let recipient = match envelope.forward_paths.as_slice() {
        [only] => format!("\r\n\tfor <{only}>"),
        _ => String::new(),
    };
    if let Some(user) = &origin.local {
        // After Postfix's manner. A name has no character that means anything here.
        let name = user.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
        let from = if user.claimed { "by its own account from" } else { "from" };
        return format!(
            "Received: by {hostname} (Pillarbox, {from} userid {}{name})\r\n\twith {} id {id}{recipient};\r\n\t{date}\r\n",
            user.uid, origin.protocol
        );
    }
    if origin.address.is_unspecified() {
        // Our own notice came from nowhere.
        return format!(
            "Received: by {hostname} with {} id {id}{recipient};\r\n\t{date}\r\n",
            origin.protocol
        );
    }
    format!(
        "Received: from {} ({})\r\n\tby {hostname} with {} id {id}{recipient};\r\n\t{date}\r\n",
        helo(origin),
        address_literal(origin.address),
        origin.protocol,
    )
}

/// What the client called itself, with everything replaced that has a meaning in a structured field.
fn helo(origin: &Origin) -> String {
    let safe = |character: char| match character {
        _ if character.is_ascii_alphanumeric() || "-._:[]".contains(character) => character,
        _ => '?',
    };
    if origin.helo.is_empty() {
        return address_literal(origin.address);
    }
    let mut helo = String::with_capacity(origin.helo.len().min(HELO_LENGTH_MAX));
    helo.extend(origin.helo.chars().take(HELO_LENGTH_MAX).map(safe));
    helo
}

/// RFC 5321 section 4.1.3.
fn address_literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// Corrects the dates in the added fields of a message that was accepted by a wrong clock: `accepted_at` is what is known
/// of that time now. Neither was before this program existed. A date always has the same length.
pub(crate) fn correct_dates(added: &mut [u8], envelope: &Envelope, accepted_at: clock::Timestamp) {
    let wrong = date(envelope.accepted_at).into_bytes();
    let right = date(accepted_at.max(clock::EARLIEST)).into_bytes();
    if wrong == right || wrong.len() != right.len() {
        return;
    }
    let mut place = 0;
    while let Some(window) = added.get_mut(place..place + wrong.len()) {
        if *window == *wrong {
            window.copy_from_slice(&right);
        }
        place += 1;
    }
}

/// The time of acceptance as RFC 5322 section 3.3 writes it, in UTC: what the machine's time zone is
/// today must not change a message that was accepted before.
fn date(accepted_at: clock::Timestamp) -> String {
    // Only a time thousands of years away is out of range.
    let accepted = Timestamp::from_millisecond(accepted_at.0).unwrap_or(Timestamp::UNIX_EPOCH);
    accepted.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::envelope::{BodyKind, LocalUser};

    fn envelope(helo: &str, address: &str, forward_paths: &[&str]) -> Envelope {
        Envelope {
            reverse_path: None,
            forward_paths: forward_paths.iter().map(|path| path.parse().unwrap()).collect(),
            body: BodyKind::SevenBit,
            internationalized: false,
            dsn: crate::smtp::dsn::Dsn::default(),
            lane: crate::message::envelope::Lane::Normal,
            origin: Origin {
                address: address.parse().unwrap(),
                helo: helo.to_owned(),
                protocol: "ESMTP".to_owned(),
                login: None,
                local: None,
            },
            accepted_at: clock::Timestamp(1_800_000_000_123),
        }
    }

    fn check(envelope: &Envelope, findings: HeaderFindings, expected: &str) {
        let added =
            added_fields(envelope, "01abc", "relay.example", &findings, &Identification::default());
        assert_eq!(String::from_utf8(added.fields).unwrap(), expected);
        assert_eq!(added.replaced, Replaced::default());
    }

    const COMPLETE: HeaderFindings =
        HeaderFindings { has_message_id: true, has_date: true, ..HeaderFindings::NOTHING };

    #[test]
    fn a_message_with_one_recipient_names_it_in_received() {
        check(
            &envelope("printer.lan", "192.0.2.7", &["a@b.example"]),
            COMPLETE,
            "Received: from printer.lan ([192.0.2.7])\r\n\tby relay.example with ESMTP id 01abc\r\n\
             \tfor <a@b.example>;\r\n\tFri, 15 Jan 2027 08:00:00 +0000\r\n",
        );
    }

    #[test]
    fn what_the_relay_itself_has_written_came_from_nowhere() {
        check(
            &envelope("", "0.0.0.0", &["a@b.example", "c@d.example"]),
            COMPLETE,
            "Received: by relay.example with ESMTP id 01abc;\r\n\tFri, 15 Jan 2027 08:00:00 +0000\r\n",
        );
    }

    #[test]
    fn what_a_program_of_this_host_handed_over_names_its_user() {
        for (name, claimed, shown) in [
            (Some("alice"), false, "from userid 1000 (alice)"),
            (None, false, "from userid 1000"),
            (Some("alice"), true, "by its own account from userid 1000 (alice)"),
        ] {
            let mut envelope = envelope("localhost", "127.0.0.1", &["a@b.example"]);
            envelope.origin.protocol = "local".to_owned();
            envelope.origin.local =
                Some(LocalUser { uid: 1_000, name: name.map(str::to_owned), claimed });
            let expected = format!(
                "Received: by relay.example (Pillarbox, {shown})\r\n\twith local id 01abc\r\n\
                 \tfor <a@b.example>;\r\n\tFri, 15 Jan 2027 08:00:00 +0000\r\n"
            );
            check(&envelope, COMPLETE, &expected);
        }
    }

    #[test]
    fn the_dates_of_a_clock_that_was_wrong_are_corrected_and_never_before_this_program() {
        let mut envelope = envelope("printer.lan", "192.0.2.7", &["a@b.example"]);
        envelope.accepted_at = clock::Timestamp(40_000);
        let findings = HeaderFindings::default();
        let added = added_fields(
            &envelope,
            "01abc",
            "relay.example",
            &findings,
            &Identification::default(),
        );
        for (known, shown) in [
            (clock::Timestamp(1_800_000_000_123), "Fri, 15 Jan 2027 08:00:00 +0000"),
            (clock::Timestamp(40_000), "Fri, 27 Nov 2026 00:00:00 +0000"),
        ] {
            let mut fields = added.fields.clone();
            correct_dates(&mut fields, &envelope, known);
            let text = String::from_utf8(fields).unwrap();
            assert_eq!(text.matches(shown).count(), 2, "{text}");
            assert!(!text.contains("1970"), "{text}");
        }
    }

    #[test]
    fn several_recipients_are_not_told_about_each_other() {
        check(
            &envelope("printer.lan", "::1", &["a@b.example", "c@d.example"]),
            COMPLETE,
            "Received: from printer.lan ([IPv6:::1])\r\n\tby relay.example with ESMTP id 01abc;\r\n\
             \tFri, 15 Jan 2027 08:00:00 +0000\r\n",
        );
    }

    #[test]
    fn message_id_and_date_are_added_when_the_client_left_them_out() {
        check(
            &envelope("", "::ffff:192.0.2.7", &["a@b.example", "c@d.example"]),
            HeaderFindings::default(),
            "Received: from [192.0.2.7] ([192.0.2.7])\r\n\tby relay.example with ESMTP id 01abc;\r\n\
             \tFri, 15 Jan 2027 08:00:00 +0000\r\n\
             Message-ID: <01abc@relay.example>\r\nDate: Fri, 15 Jan 2027 08:00:00 +0000\r\n",
        );
    }

    #[test]
    fn a_bad_message_id_is_replaced_and_an_old_fashioned_date_restated() {
        let identification = Identification {
            message_id: Standing::Invalid,
            date: Standing::Restated("Thu, 14 Jan 2027 00:00:00 +0000".into()),
            ..Identification::default()
        };
        let envelope = envelope("", "192.0.2.7", &["a@b.example"]);
        let added = added_fields(&envelope, "01abc", "relay.example", &COMPLETE, &identification);
        let text = String::from_utf8(added.fields).unwrap();
        let new = "Message-ID: <01abc@relay.example>\r\nDate: Thu, 14 Jan 2027 00:00:00 +0000\r\n";
        assert!(text.ends_with(new), "{text}");
        assert_eq!(added.replaced, Replaced { message_id: true, date: true });
        let identification =
            Identification { date: Standing::Invalid, ..Identification::default() };
        let added = added_fields(&envelope, "01abc", "relay.example", &COMPLETE, &identification);
        let text = String::from_utf8(added.fields).unwrap();
        assert!(text.ends_with("\r\nDate: Fri, 15 Jan 2027 08:00:00 +0000\r\n"), "{text}");
    }

    #[test]
    fn a_sender_that_is_no_address_is_kept_in_received_and_cannot_break_it() {
        let added = || {
            let identification = Identification::default();
            let envelope = envelope("", "192.0.2.7", &["a@b.example"]);
            added_fields(&envelope, "01abc", "relay.example", &COMPLETE, &identification).fields
        };
        for (said, written) in [
            ("<My Printer@office>", "<My Printer@office>"),
            ("<B\u{fc}ro@b.example>", "<B[U+00FC]ro@b.example>"),
            ("a)\r\nBcc: b@c", "a?[U+000D][U+000A]Bcc: b@c"),
            (" ", "nothing"),
        ] {
            let text = String::from_utf8(with_unusable_sender(added(), said)).unwrap();
            let expected =
                format!("for <a@b.example>\r\n\t(envelope-from {written});\r\n\tFri, 15 Jan 2027");
            assert!(text.contains(&expected), "{text}");
        }
        let long = with_unusable_sender(added(), &"\u{10ffff}".repeat(2_000));
        assert!(String::from_utf8(long).unwrap().lines().all(|line| line.len() < 998));
    }

    #[test]
    fn what_a_client_calls_itself_cannot_break_the_field() {
        for (said, written) in [
            ("a b;(c)\r\nX: \"y\"\\", "a?b??c???X:??y??"),
            ("hôte", "h?te"),
            ("[192.168.1.4]", "[192.168.1.4]"),
            (&"x".repeat(5_000), &"x".repeat(HELO_LENGTH_MAX)),
        ] {
            let identification = Identification::default();
            let envelope = envelope(said, "192.0.2.7", &["a@b"]);
            let fields = added_fields(&envelope, "1", "r", &COMPLETE, &identification).fields;
            let expected = format!("Received: from {written} ([192.0.2.7])\r\n");
            assert!(
                fields.starts_with(expected.as_bytes()),
                "{}",
                String::from_utf8_lossy(&fields)
            );
        }
    }
}
