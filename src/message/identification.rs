//! Message-ID, Date and Subject as the client sent them: whether the world will take them (RFC 5322 sections 3.3, 3.6.4
//! and 3.6.5).
//!
//! Rule: judged once, at acceptance, from what the client sent; the judgement is stored with the message, so
//! that a later program or setting never gives a message another Message-ID. What is valid is `smtp::field_syntax`'s
//! to say. Must not know what is put in the place of a bad one.

use super::{
    encoding::text_of,
    excerpt::{self, VALUE_READ_MAX},
    header::Header,
    mailbox::read_list,
};
use crate::{
    smtp::field_syntax::{self, DateForm},
    text,
};

/// Octets of a subject that are kept: a line of a wide terminal.
const SUBJECT_LENGTH_MAX: usize = 120;
/// Octets of whom a From field names: one address of any length.
const FROM_LENGTH_MAX: usize = 320;

/// What the client sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identification {
    /// Its Message-ID.
    pub(crate) message_id: Standing,
    /// Its Date.
    pub(crate) date: Standing,
    /// The beginning of its Subject, for people: decoded, printable, in one line; empty without one.
    pub(crate) subject: String,
    /// Whom its From field names: the addresses, or its text where there are none; empty without one.
    pub(crate) from: String,
}

/// How a field stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was not seen.
    #[default]
    Absent,
    /// It stays.
    Valid,
    /// It says something, in a form that Gmail replaces; this is the same in the present form.
    Restated(String),
    /// It must be replaced.
    Invalid,
}

impl Identification {
    /// Judges the beginning of a message. `complete` says that there is no more of it.
    #[must_use]
    pub(crate) fn of(message: &[u8], complete: bool, internationalized: bool) -> Self {
        let Some(header) = Header::of_beginning(message, complete) else { return Self::default() };
        let fields = header.fields();
        let named = |name: &'static str| {
            let named = fields.iter().filter(move |field| field.is(name));
            named.map(|field| unfolded(field.value()))
        };
        let mut message_ids = named("Message-ID");
        let message_id = match (message_ids.next(), message_ids.next()) {
            (None, _) => Standing::Absent,
            (Some(only), None) if field_syntax::is_message_id(&only, internationalized) => {
                Standing::Valid
            }
            _ => Standing::Invalid,
        };
        let date = named("Date").next().map_or(Standing::Absent, |date| judge_date(&date));
        let first = fields.iter().find(|field| field.is("Subject"));
        let subject = first.map_or_else(String::new, |field| subject(field.value(), &header));
        let from = fields.iter().find(|field| field.is("From"));
        let from = from.map_or_else(String::new, |field| from_whom(field.value()));
        Self { message_id, date, subject, from }
    }
}

/// The addresses of a From field in small letters; names beside them may be other ones in each message.
fn from_whom(value: &[u8]) -> String {
    let text = text_of(&value[..value.len().min(VALUE_READ_MAX)]);
    let addresses = read_list(&text).map(|list| {
        let addresses = list.iter().map(|one| one.address.as_str().to_ascii_lowercase());
        addresses.collect::<Vec<_>>().join(",")
    });
    let whom = addresses.filter(|addresses| !addresses.is_empty()).unwrap_or(text);
    text::printable_within(whom.trim(), FROM_LENGTH_MAX)
}

/// What a reader sees of a subject, and no more than a line of it.
fn subject(value: &[u8], header: &Header<'_>) -> String {
    text::printable_within(excerpt::words(value, header).trim(), SUBJECT_LENGTH_MAX)
}

/// Whether that is all of a subject, and not the beginning of a longer one: one that was cut is as long as may be, but for
/// a letter of several octets that had no room.
pub(crate) fn is_whole_subject(kept: &str) -> bool {
    !kept.ends_with("...") || kept.len() + 4 <= SUBJECT_LENGTH_MAX
}

/// The value in one line; octets that are no UTF-8 make it invalid wherever it must be ASCII.
fn unfolded(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let mut line = String::with_capacity(text.len());
    line.extend(text.trim().chars().filter(|character| !matches!(character, '\r' | '\n')));
    line
}

/// The standing of a date, see [`field_syntax`].
fn judge_date(text: &str) -> Standing {
    match field_syntax::date_form(text) {
        DateForm::Present => Standing::Valid,
        DateForm::Obsolete(restated) => Standing::Restated(restated),
        DateForm::Invalid => Standing::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(message: &str) -> Identification {
        Identification::of(message.as_bytes(), true, false)
    }

    #[test]
    fn message_ids_of_real_programs_are_valid() {
        for id in [
            "<20210126135511.10989-1-dong.menglong@zte.com.cn>",
            "<CAF=x+y/z_1$2@mail.gmail.com>",
            "<1.a..b@host>",
            "<\"quoted left\"@host.example>",
            "<1@[192.168.1.4]>",
            "\r\n <folded@host.example>",
            "<1@host.example> (added by the sender)",
        ] {
            assert_eq!(
                judge(&format!("Message-ID: {id}\r\n\r\n")).message_id,
                Standing::Valid,
                "{id}"
            );
        }
    }

    #[test]
    fn message_ids_that_gmail_would_replace_are_invalid() {
        for id in [
            "",
            "1@host.example",
            "<>",
            "<1>",
            "<@host>",
            "<1@>",
            "<1@host.>",
            "<1@a b>",
            "<a b@host>",
            "<1@2@host>",
            "<1@host",
            "<<1@host>>",
            "<1@host> <2@host>",
            "x <1@host>",
            "<\u{fc}@host>",
            "<1@[192.168.1.4>",
        ] {
            assert_eq!(
                judge(&format!("Message-ID: {id}\r\n\r\n")).message_id,
                Standing::Invalid,
                "{id}"
            );
        }
        let long = "x".repeat(field_syntax::MESSAGE_ID_LENGTH_MAX);
        assert_eq!(
            judge(&format!("Message-ID: <{long}@host>\r\n\r\n")).message_id,
            Standing::Invalid
        );
        let twice = judge("Message-ID: <1@host>\r\nSubject: x\r\nmessage-id: <2@host>\r\n\r\n");
        assert_eq!(twice.message_id, Standing::Invalid);
    }

    #[test]
    fn an_internationalized_message_may_have_an_internationalized_message_id() {
        let message = "Message-ID: <\u{fc}@b\u{fc}cher.example>\r\n\r\n".as_bytes();
        assert_eq!(Identification::of(message, true, true).message_id, Standing::Valid);
    }

    #[test]
    fn dates_are_valid_restated_or_invalid() {
        for (date, expected) in [
            ("Fri, 15 Jan 2027 09:00:00 +0100", Standing::Valid),
            ("15 Jan 2027 09:00 -0000", Standing::Valid),
            ("Fri, 15 Jan 2027 09:00:00 +0100 (CET)", Standing::Valid),
            // The wrong day of the week.
            ("Mon, 15 Jan 2027 09:00:00 +0100", Standing::Valid),
            (
                "Fri, 15 Jan 2027 08:00:00 GMT",
                Standing::Restated("Fri, 15 Jan 2027 08:00:00 +0000".into()),
            ),
            (
                "15 Jan 27 03:00:00 EST",
                Standing::Restated("Fri, 15 Jan 2027 03:00:00 -0500".into()),
            ),
            ("", Standing::Invalid),
            ("2027-01-15T08:00:00Z", Standing::Invalid),
            ("Fri Jan 15 08:00:00 2027", Standing::Invalid),
            ("Fri, 32 Jan 2027 08:00:00 +0000", Standing::Invalid),
            ("Freitag, 15. Januar 2027", Standing::Invalid),
        ] {
            assert_eq!(judge(&format!("Date: {date}\r\n\r\n")).date, expected, "{date}");
        }
    }

    #[test]
    fn a_subject_is_kept_as_a_reader_sees_it_and_no_longer_than_a_line() {
        let long = "\u{e9}".repeat(200);
        for (written, shown) in [
            ("toner low", "toner low"),
            ("=?utf-8?q?B=C3=BCro?= 7", "B\u{fc}ro 7"),
            ("=?utf-8?q?a?=\r\n =?utf-8?q?b?=", "ab"),
            ("folded\r\n\tonce", "folded once"),
            ("=?utf-8?q?=1B=5B2J?=gone", "\\u{1b}[2Jgone"),
            ("B\u{fc}ro", "B\u{fc}ro"),
            ("", ""),
        ] {
            assert_eq!(judge(&format!("Subject: {written}\r\n\r\n")).subject, shown, "{written}");
        }
        let kept = judge(&format!("Subject: {long}\r\n\r\n")).subject;
        assert!(kept.len() <= SUBJECT_LENGTH_MAX && kept.ends_with("\u{e9}..."), "{kept}");
        let latin = Identification::of(b"Subject: B\xfcro\r\n\r\n", true, false);
        assert_eq!(latin.subject, "B\u{fc}ro");
    }

    #[test]
    fn only_the_header_section_is_judged() {
        for message in [
            "Subject: x\r\n\r\nMessage-ID: bad\r\nDate: bad\r\n",
            "Subject: x\r\nthe client forgot the empty line\r\nMessage-ID: bad\r\nDate: bad\r\n",
        ] {
            let subject = "x".to_owned();
            let expected = Identification { subject, ..Identification::default() };
            assert_eq!(judge(message), expected, "{message}");
        }
    }

    #[test]
    fn a_field_that_is_not_complete_yet_is_not_judged() {
        let beginning = b"Date: Fri, 15 Jan 2027 09:00:00 +0100\r\nMessage-ID:\r\n";
        let judged = Identification::of(beginning, false, false);
        assert_eq!((judged.message_id, judged.date), (Standing::Absent, Standing::Valid));
        assert_eq!(Identification::of(beginning, true, false).message_id, Standing::Invalid);
    }

    #[test]
    fn no_beginning_makes_the_judge_panic() {
        let mut random = fastrand::Rng::with_seed(13);
        let alphabet = b"<>@.()\"\\ \r\n:15Jan2027+0\xc3\xa9\xff";
        for _ in 0..20_000 {
            let value: Vec<u8> = (0..random.usize(0..40))
                .map(|_| alphabet[random.usize(..alphabet.len())])
                .collect();
            let message = [b"Message-ID: ", &value[..], b"\r\nDate: ", &value, b"\r\n"].concat();
            let message = [&message[..], b"Subject: ", &value, b"\r\n"].concat();
            let found = Identification::of(&message, random.bool(), random.bool());
            assert!(found.subject.len() <= SUBJECT_LENGTH_MAX, "{found:?}");
        }
    }
}
