//! The header section of a message that is handed over: Bcc out, From in, recipients found.
//!
//! Rule: every other octet stays. Date and Message-ID are left to the relay, which adds them at acceptance.
//! Must not know how the section was read or where it goes.

use crate::{
    message::{
        address_list::Found,
        encoding::{phrase, text_of},
        header::{Field, Header},
    },
    smtp::address::Address,
};

/// Where a name begins in a From line.
const NAME_COLUMN: usize = "From: ".len();
/// Characters of a name that are taken.
const NAME_LENGTH_MAX: usize = 200;
/// Where recipients stand, and where those of a message that is sent on.
const RECIPIENT_FIELDS: [&str; 3] = ["To", "Cc", "Bcc"];
const RESENT_FIELDS: [&str; 3] = ["Resent-To", "Resent-Cc", "Resent-Bcc"];

/// Who a message is from when it does not say so itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The name; empty when there is none.
    pub name: String,
    /// The address, which may lack a domain: the relay knows which one.
    pub address: Address,
}

/// A header section that may leave.
#[derive(Debug, PartialEq, Eq)]
pub struct Heading {
    /// The fields. No empty line.
    pub fields: Vec<u8>,
    /// Whom it names.
    pub named: Found,
}

impl Heading {
    /// Reads the fields of a section (CRLF line ends, no empty line) and edits them. `None` when there are
    /// more than anybody edits.
    #[must_use]
    pub fn read(section: &[u8], author: &Author) -> Option<Self> {
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
