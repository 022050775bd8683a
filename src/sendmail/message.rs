//! One message on its way in: its header section, which is edited (Bcc out, From in), and its body, which is not.
//!
//! Rule: fed with decoded octets (CRLF, no NUL, no bare CR); every octet but those edits stays. Date and Message-ID are left
//! to the relay, which adds them at acceptance. Must not know where the octets come from.

use std::{io, path::PathBuf};

use super::body::BodyBuffer;
use crate::{
    exit::{Exit, Failure},
    message::{
        address_list::Found,
        encoding::{phrase, text_of},
        header::{Field, HEADER_BYTES_MAX, Header, HeaderScan},
    },
    smtp::address::Address,
};

/// A message that is being read.
#[derive(Debug)]
pub(crate) struct MessageBuilder {
    scan: HeaderScan,
    stage: Stage,
    /// The header section so far, or all of it.
    section: Vec<u8>,
    body: BodyBuffer,
    size_bytes_max: u64,
    eight_bit: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Section,
    Body,
    /// The section is longer than anybody edits: everything is body.
    Unedited,
}

/// A message that is complete.
#[derive(Debug)]
pub(crate) struct Message {
    /// What goes in front of the body: fields and the empty line.
    pub(crate) head: Vec<u8>,
    /// The rest.
    pub(crate) body: BodyBuffer,
    /// Whom the header section names.
    pub(crate) named: Found,
    /// Whether there is an octet above 127.
    pub(crate) eight_bit: bool,
}

impl MessageBuilder {
    /// Nothing was read yet. Long bodies go to a file in one of `directories`.
    #[must_use]
    pub(crate) fn new(directories: Vec<PathBuf>, size_bytes_max: u64) -> Self {
        Self {
            scan: HeaderScan::new(),
            stage: Stage::Section,
            section: Vec::new(),
            body: BodyBuffer::new(directories),
            size_bytes_max,
            eight_bit: false,
        }
    }

    /// Takes the next octets.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.eight_bit |= !bytes.is_ascii();
        let rest = if self.stage == Stage::Section { self.read_section(bytes)? } else { bytes };
        if !rest.is_empty() {
            self.body.write(rest).map_err(|error| cannot_hold(&error))?;
        }
        if self.section.len() as u64 + self.body.length() > self.size_bytes_max {
            return Err(too_large(self.size_bytes_max));
        }
        Ok(())
    }

    fn read_section<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Failure> {
        let rest = self.scan.feed(bytes);
        self.section.extend_from_slice(&bytes[..bytes.len() - rest.len()]);
        if self.section.len() > HEADER_BYTES_MAX {
            self.stage = Stage::Unedited;
            self.body
                .write(&std::mem::take(&mut self.section))
                .map_err(|error| cannot_hold(&error))?;
        } else if !rest.is_empty() {
            self.stage = Stage::Body;
        }
        Ok(rest)
    }

    /// The message has ended.
    pub(crate) fn finish(mut self, author: &Author) -> Message {
        let findings = self.scan.finish();
        let at = findings
            .separator_at
            .and_then(|at| usize::try_from(at).ok())
            .unwrap_or(self.section.len());
        let (fields, rest) = self.section.split_at(at.min(self.section.len()));
        // The empty line is a part of the section, when there is one.
        let fields =
            fields.strip_suffix(b"\r\n\r\n").map_or(fields, |_| &fields[..fields.len() - 2]);
        let fields = if fields == b"\r\n" { b"" } else { fields };
        let edited =
            (self.stage != Stage::Unedited).then(|| Heading::read(fields, author)).flatten();
        let (head, named) = match edited {
            Some(heading) => {
                let mut head = heading.fields;
                head.extend_from_slice(b"\r\n");
                head.extend_from_slice(rest);
                (head, heading.named)
            }
            None => (self.section, Found::default()),
        };
        Message { head, body: self.body, named, eight_bit: self.eight_bit }
    }
}

impl Message {
    /// Octets of all of it.
    #[must_use]
    pub(crate) fn length(&self) -> u64 {
        self.head.len() as u64 + self.body.length()
    }

    /// Hands every octet to `take`, in order.
    pub(crate) fn replay<E: From<io::Error>>(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        take(&self.head)?;
        self.body.replay(take)
    }
}

/// RFC 1870 section 6, as an exit code.
#[must_use]
pub(crate) fn too_large(limit: u64) -> Failure {
    Failure::new(
        Exit::Data,
        format!(
            "the message is larger than the limit of {limit} octets ([listener] max_message_bytes)"
        ),
    )
}

fn cannot_hold(error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::Temporary,
        _ => Exit::CannotCreate,
    };
    Failure::new(code, format!("no room to keep a large message while it is read: {error}"))
}

/// Where a name begins in a From line.
const NAME_COLUMN: usize = "From: ".len();
/// Characters of a name that are taken.
const NAME_LENGTH_MAX: usize = 200;
/// Where recipients stand, and where those of a message that is sent on.
const RECIPIENT_FIELDS: [&str; 3] = ["To", "Cc", "Bcc"];
const RESENT_FIELDS: [&str; 3] = ["Resent-To", "Resent-Cc", "Resent-Bcc"];

/// Who a message is from when it does not say so itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Author {
    /// The name; empty when there is none.
    pub(crate) name: String,
    /// The address, which may lack a domain: the relay knows which one.
    pub(crate) address: Address,
}

/// A header section that may leave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Heading {
    /// The fields. No empty line.
    pub(crate) fields: Vec<u8>,
    /// Whom it names.
    pub(crate) named: Found,
}

impl Heading {
    /// Reads the fields of a section (CRLF line ends, no empty line) and edits them. `None` when there are
    /// more than anybody edits.
    #[must_use]
    pub(crate) fn read(section: &[u8], author: &Author) -> Option<Self> {
        let mut header = Header::read(section, 0)?;
        let named = named(&header);
        for field in header.fields_mut() {
            if field.is("Bcc") || field.is("Resent-Bcc") {
                field.remove();
            }
        }
        if !header.has("From") {
            header.insert("From", &author.field());
        }
        Some(Self { fields: header.finish(), named })
    }
}

impl Author {
    fn field(&self) -> String {
        // Encoded words, not raw UTF-8: whether SMTPUTF8 will be spoken is not known here.
        let name: String = self
            .name
            .chars()
            .filter(|character| !character.is_control())
            .take(NAME_LENGTH_MAX)
            .collect();
        match name.trim() {
            "" => self.address.to_string(),
            name => format!("{} <{}>", phrase(name, NAME_COLUMN, false), self.address),
        }
    }
}

/// Whom the section names: when it was sent on, those to whom, and nobody else.
fn named(header: &Header<'_>) -> Found {
    let is_one_of = |field: &Field<'_>, names: &[&str]| names.iter().any(|name| field.is(name));
    let resent = header.fields().iter().any(|field| is_one_of(field, &RESENT_FIELDS));
    let names = if resent { RESENT_FIELDS } else { RECIPIENT_FIELDS };
    let mut found = Found::default();
    for field in header.fields().iter().filter(|field| is_one_of(field, &names)) {
        found.read(&text_of(field.value()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &str, piece: usize) -> (String, Vec<String>, bool) {
        let mut draft = MessageBuilder::new(Vec::new(), 1_000_000);
        for piece in message.as_bytes().chunks(piece) {
            draft.write(piece).unwrap();
        }
        let author = Author { name: String::new(), address: "root".parse().unwrap() };
        let mut message = draft.finish(&author);
        let mut all = Vec::new();
        message
            .replay(|block| {
                all.extend_from_slice(block);
                Ok::<_, io::Error>(())
            })
            .unwrap();
        assert_eq!(message.length(), all.len() as u64);
        let named = message.named.addresses.iter().map(ToString::to_string).collect();
        (String::from_utf8(all).unwrap(), named, message.eight_bit)
    }

    #[test]
    fn header_and_body_are_told_apart_however_the_octets_come() {
        for (message, expected) in [
            ("From: a\r\nBcc: b@c\r\n\r\nbody\r\n", "From: a\r\n\r\nbody\r\n"),
            ("From: a\r\n\r\n", "From: a\r\n\r\n"),
            ("From: a\r\n", "From: a\r\n\r\n"),
            ("Bcc: b@c\r\n\r\nBcc: body\r\n", "From: root\r\n\r\nBcc: body\r\n"),
            // No header section at all, or no empty line behind it.
            ("just text\r\nFrom: body\r\n", "From: root\r\n\r\njust text\r\nFrom: body\r\n"),
            ("From: a\r\njust text\r\n", "From: a\r\n\r\njust text\r\n"),
            ("\r\nbody\r\n", "From: root\r\n\r\nbody\r\n"),
            ("", "From: root\r\n\r\n"),
            ("From: a\r\nTo: b\r\n  c\r\n\r\n\r\n", "From: a\r\nTo: b\r\n  c\r\n\r\n\r\n"),
        ] {
            for piece in [1, 2, 7, 1_000] {
                assert_eq!(read(message, piece).0, expected, "{message:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn octets_above_127_are_seen_wherever_they_are() {
        assert!(!read("From: a\r\n\r\nb\r\n", 100).2);
        assert!(read("From: a\r\n\r\n\u{e9}\r\n", 100).2);
        assert!(read("From: \u{e9}\r\n\r\nb\r\n", 1_000).2);
    }

    #[test]
    fn a_section_that_nobody_edits_stays_as_it_is() {
        let message = format!("To: a@b\r\nX: {}\r\n\r\nbody\r\n", "x".repeat(HEADER_BYTES_MAX));
        assert_eq!(read(&message, 10_000), (message, Vec::new(), false));
    }

    #[test]
    fn what_is_too_large_is_data_in_error() {
        let mut draft = MessageBuilder::new(Vec::new(), 10);
        draft.write(b"From: a\r\n").unwrap();
        assert_eq!(draft.write(b"\r\n").unwrap_err().exit, Exit::Data);
    }

    fn edited(section: &str, name: &str) -> (String, Vec<String>) {
        let author = Author { name: name.into(), address: "root".parse().unwrap() };
        let heading = Heading::read(section.as_bytes(), &author).unwrap();
        assert_eq!(heading.named.unreadable, Vec::<String>::new());
        let named = heading.named.addresses.iter().map(ToString::to_string).collect();
        (String::from_utf8(heading.fields).unwrap(), named)
    }

    #[test]
    fn bcc_is_read_and_goes_whatever_its_case_and_folds() {
        let (fields, named) = edited(
            "From: a@b\r\nbcc: c@d,\r\n e@f\r\nTo: g@h\r\nRESENT-BCC: i@j\r\nBCC : k@l\r\nX: y\r\n",
            "",
        );
        assert_eq!(fields, "From: a@b\r\nTo: g@h\r\nX: y\r\n");
        assert_eq!(named, ["i@j"], "the message was sent on");
        let (fields, named) = edited("From: a@b\r\nBcc: c@d\r\nTo: g@h\r\nCc: c@D\r\n", "");
        assert_eq!(
            (fields.as_str(), named),
            ("From: a@b\r\nTo: g@h\r\nCc: c@D\r\n", vec!["c@d".into(), "g@h".into()])
        );
    }

    #[test]
    fn a_from_that_is_missing_is_added_and_one_that_is_there_stays() {
        assert_eq!(edited("To: a@b\r\n", "").0, "From: root\r\nTo: a@b\r\n");
        assert_eq!(
            edited("To: a@b\r\n", "Cron\r\n \"Daemon\"").0,
            "From: \"Cron \\\"Daemon\\\"\" <root>\r\nTo: a@b\r\n"
        );
        assert_eq!(
            edited("To: a@b\r\n", "J\u{f6}rg").0,
            "From: =?utf-8?b?SsO2cmc=?= <root>\r\nTo: a@b\r\n"
        );
        let cron = "From: root (Cron Daemon)\r\nTo: root\r\n";
        assert_eq!(edited(cron, "CronDaemon"), (cron.into(), vec!["root".into()]));
        assert_eq!(edited("", "").0, "From: root\r\n");
    }
}
