//! The service extensions: what EHLO advertises, and the parameters of MAIL and RCPT they bring.
//!
//! Rule: only what is advertised is understood, and each extension only to whom it works for.
//! Must not know what a parameter leads to.

use super::{
    contract::{MESSAGES_MAX, Options},
    error::CommandError,
    peer::{Authentication, Client},
};
use crate::{
    dsn::{self, Content, Notify, RecipientDsn},
    path::is_keyword,
};

/// Letters and digits of a queue id.
const QUEUE_ID_LENGTH: usize = 26;

/// The lines after the first one of EHLO's reply.
pub(super) fn advertised(options: &Options, client: Client) -> Vec<String> {
    let mut lines = [
        "PIPELINING",
        &format!("SIZE {}", client.policy.max_message_bytes),
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "DSN",
        // RFC 9422: the true numbers, so that a client need not find them out.
        &format!("LIMITS RCPTMAX={} MAILMAX={MESSAGES_MAX}", options.max_recipients),
    ]
    .map(str::to_owned)
    .to_vec();
    if priorities_offered(client) {
        lines.push("MT-PRIORITY".into());
    }
    if starttls_offered(client) {
        lines.push("STARTTLS".into());
    }
    if authentication_offered(client) {
        lines.push("AUTH PLAIN LOGIN".into());
        if client.policy.trusted {
            // Some devices know only the form of a draft of 1997 (Postfix broken_sasl_auth_clients).
            lines.push("AUTH=PLAIN LOGIN".into());
        }
    }
    lines.push("ENHANCEDSTATUSCODES".into());
    lines
}

/// What a client says of the priority of its mail is heard.
#[must_use]
pub(super) fn priorities_offered(client: Client) -> bool {
    client.policy.priorities && client.policy.trusted
}

/// STARTTLS works, and is still to be done.
#[must_use]
pub(super) fn starttls_offered(client: Client) -> bool {
    client.policy.starttls && !client.encrypted
}

/// AUTH is good for something. Where any login will do it proves nothing, so only a network that is
/// trusted anyway gets it.
#[must_use]
pub(super) fn authentication_works(client: Client) -> bool {
    match client.policy.authentication {
        Authentication::Off => false,
        Authentication::Optional | Authentication::Required => true,
        Authentication::AcceptAny => client.policy.trusted,
    }
}

/// AUTH may be used now: a password passes in plaintext only in a network that is trusted (RFC 4954
/// section 4).
#[must_use]
pub(super) fn authentication_offered(client: Client) -> bool {
    authentication_works(client) && (client.encrypted || client.policy.trusted)
}

/// The parameters behind the path of MAIL or RCPT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// SIZE= of MAIL (RFC 1870), 0 when it was not declared. A number beyond `u64` becomes its largest.
    pub declared_bytes: u64,
    /// BODY=8BITMIME of MAIL (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 of MAIL (RFC 6531).
    pub internationalized: bool,
    /// RET of MAIL (RFC 3461).
    pub content: Option<Content>,
    /// ENVID of MAIL (RFC 3461).
    pub envelope_id: Option<String>,
    /// MT-PRIORITY of MAIL (RFC 6710), whoever sends it.
    pub priority: Option<Priority>,
    /// NOTIFY and ORCPT of RCPT (RFC 3461).
    pub recipient: RecipientDsn,
    /// XQUEUEID of MAIL: the id that the client proposes for the message. Our own sendmail sends it and no other
    /// client may; it is never advertised. Kept only when it has the length and the alphabet of an id.
    pub queue_id: Option<String>,
    /// XUID of MAIL: the user of the client, as it says. Like XQUEUEID only from a program of this host.
    pub user_id: Option<u32>,
    /// There was a parameter of an extension that we do not offer.
    pub has_unknown: bool,
}

/// The value of MT-PRIORITY. Whether it is a mistake depends on whether it was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// -9 to 9.
    Of(i8),
    /// Anything else, or more than one.
    Malformed,
}

impl Priority {
    /// The number, where it is one.
    pub(super) fn number(self) -> Option<i8> {
        match self {
            Self::Of(number) => Some(number),
            Self::Malformed => None,
        }
    }

    /// `priority-value = (["-"] NZDIGIT) / "0"` of RFC 6710 section 6.
    fn read(value: &str) -> Self {
        let digits = value.strip_prefix('-').unwrap_or(value);
        match (digits.as_bytes(), value.parse()) {
            ([b'1'..=b'9'], Ok(number)) => Self::Of(number),
            ([b'0'], Ok(number)) if digits == value => Self::Of(number),
            _ => Self::Malformed,
        }
    }
}

impl Parameters {
    /// Reads what follows the path of MAIL.
    ///
    /// # Errors
    /// A known parameter with a wrong value, or text that is no parameter (RFC 5321 section 4.1.2). One that is merely
    /// unknown is no error; it is noted.
    pub fn of_mail(text: &str) -> Result<Self, CommandError> {
        let mut read = Self::default();
        for parameter in text.split_ascii_whitespace() {
            let (keyword, value) = split(parameter);
            match (keyword.as_str(), value) {
                ("SIZE", Some(value)) => read.declared_bytes = size(value)?,
                ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => {
                    read.eight_bit = true
                }
                ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => {
                    read.eight_bit = false
                }
                ("SMTPUTF8", None) => read.internationalized = true,
                ("RET", value) => once(&mut read.content, value.and_then(Content::read), "RET")?,
                ("ENVID", value) => {
                    once(&mut read.envelope_id, value.and_then(dsn::envelope_id), "ENVID")?
                }
                ("MT-PRIORITY", value) => {
                    read.priority = Some(match read.priority {
                        None => Priority::read(value.unwrap_or_default()),
                        Some(_) => Priority::Malformed,
                    });
                }
                // RFC 4954 section 5: who submitted it first; nobody here would believe it.
                ("AUTH", Some(_)) => {}
                ("XQUEUEID", Some(value)) if read.queue_id.is_none() && is_queue_id(value) => {
                    read.queue_id = Some(value.to_owned());
                }
                ("XUID", Some(value)) if read.user_id.is_none() && value.parse::<u32>().is_ok() => {
                    read.user_id = value.parse().ok();
                }
                ("SIZE", None) => return Err(CommandError::Parameter("SIZE")),
                ("BODY", _) => return Err(CommandError::Parameter("BODY")),
                ("SMTPUTF8", Some(_)) => return Err(CommandError::Parameter("SMTPUTF8")),
                _ if is_parameter(parameter) => read.has_unknown = true,
                _ => return Err(CommandError::BehindSender),
            }
        }
        Ok(read)
    }

    /// Reads what follows the path of RCPT.
    ///
    /// # Errors
    /// The same; of NOTIFY and ORCPT what RFC 3461 section 4 does not allow, such as one of them twice.
    pub fn of_recipient(text: &str) -> Result<Self, CommandError> {
        let mut read = Self::default();
        for parameter in text.split_ascii_whitespace() {
            let (keyword, value) = split(parameter);
            match keyword.as_str() {
                "NOTIFY" => {
                    once(&mut read.recipient.notify, value.and_then(Notify::read), "NOTIFY")?
                }
                "ORCPT" => {
                    let value = value.and_then(dsn::original_recipient);
                    once(&mut read.recipient.original_recipient, value, "ORCPT")?;
                }
                _ if is_parameter(parameter) => read.has_unknown = true,
                _ => return Err(CommandError::BehindRecipient),
            }
        }
        Ok(read)
    }
}

/// Whether a word is a parameter in form, though nobody offered it: a keyword, and perhaps a value (RFC 5321 section
/// 4.1.2). Anything else may be a second address.
fn is_parameter(word: &str) -> bool {
    let (keyword, value) = word.split_once('=').unwrap_or((word, ""));
    is_keyword(keyword) && !value.contains(char::is_control)
}

/// Whether it may be a queue id; the queue knows better.
fn is_queue_id(value: &str) -> bool {
    value.len() == QUEUE_ID_LENGTH && value.bytes().all(|octet| octet.is_ascii_alphanumeric())
}

fn split(parameter: &str) -> (String, Option<&str>) {
    match parameter.split_once('=') {
        Some((keyword, value)) => (keyword.to_ascii_uppercase(), Some(value)),
        None => (parameter.to_ascii_uppercase(), None),
    }
}

/// Takes a value that must make sense and may be there only once (RFC 3461 section 4).
fn once<T>(
    place: &mut Option<T>,
    value: Option<T>,
    keyword: &'static str,
) -> Result<(), CommandError> {
    if place.is_some() || value.is_none() {
        return Err(CommandError::Parameter(keyword));
    }
    *place = value;
    Ok(())
}

fn size(value: &str) -> Result<u64, CommandError> {
    if value.is_empty() || !value.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(CommandError::Parameter("SIZE"));
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_in_any_case_and_order() {
        assert_eq!(
            Parameters::of_mail(" smtputf8  Size=42 BODY=8bitmime "),
            Ok(Parameters {
                declared_bytes: 42,
                eight_bit: true,
                internationalized: true,
                ..Parameters::default()
            })
        );
        assert_eq!(
            Parameters::of_mail("SIZE=99999999999999999999999").unwrap().declared_bytes,
            u64::MAX
        );
        assert!(Parameters::of_mail("HOLDFOR=3").unwrap().has_unknown);
        assert!(Parameters::of_recipient("X=1").unwrap().has_unknown);
        assert_eq!(Parameters::of_mail("AUTH=<>"), Ok(Parameters::default()));
        let read = Parameters::of_mail("ret=hdrs envid=a+2Bb").unwrap();
        assert_eq!(
            (read.content, read.envelope_id.as_deref()),
            (Some(Content::Headers), Some("a+b"))
        );
        let read = Parameters::of_recipient("notify=never ORCPT=rfc822;a@b").unwrap().recipient;
        assert_eq!(read.notify, Some(Notify::default()));
        assert_eq!(read.original_recipient.as_deref(), Some("rfc822;a@b"));
    }

    #[test]
    fn a_priority_is_a_digit_with_or_without_a_sign() {
        let priority = |text: &str| Parameters::of_mail(text).unwrap().priority;
        for number in -9_i8..=9 {
            let read = priority(&format!("mt-priority={number}"));
            assert_eq!(read, Some(Priority::Of(number)));
        }
        for odd in ["", "=", "=10", "=-10", "=+3", "=-0", "=00", "=x", "=3.5", "=3 MT-PRIORITY=3"] {
            let read = priority(&format!("MT-PRIORITY{odd}"));
            assert_eq!(read, Some(Priority::Malformed), "{odd}");
        }
        assert_eq!(priority("SIZE=3"), None);
    }

    #[test]
    fn a_proposed_queue_id_is_kept_when_it_looks_like_one_and_is_unknown_otherwise() {
        let id = "01k9e5mxkr0000000f3v2hq7cg";
        let read = Parameters::of_mail(&format!("xqueueid={id}")).unwrap();
        assert_eq!((read.queue_id.as_deref(), read.has_unknown), (Some(id), false));
        for odd in
            ["XQUEUEID", "XQUEUEID=", "XQUEUEID=../../etc/passwd", &format!("XQUEUEID={id}0")]
        {
            let read = Parameters::of_mail(odd).unwrap();
            assert_eq!((read.queue_id, read.has_unknown), (None, true), "{odd}");
        }
        let twice = Parameters::of_mail(&format!("XQUEUEID={id} XQUEUEID={id}")).unwrap();
        assert!(twice.has_unknown, "the second one");
        assert!(Parameters::of_recipient(&format!("XQUEUEID={id}")).unwrap().has_unknown);
    }

    #[test]
    fn values_that_make_no_sense_are_named() {
        for (text, keyword) in [
            ("SIZE", "SIZE"),
            ("SIZE=", "SIZE"),
            ("SIZE=-1", "SIZE"),
            ("SIZE=1k", "SIZE"),
            ("BODY", "BODY"),
            // BINARYMIME is not offered: message data has lines.
            ("BODY=BINARYMIME", "BODY"),
            ("SMTPUTF8=yes", "SMTPUTF8"),
            ("RET", "RET"),
            ("RET=SOME", "RET"),
            ("RET=FULL RET=FULL", "RET"),
            ("ENVID=", "ENVID"),
            ("ENVID=a+0Ab", "ENVID"),
        ] {
            assert_eq!(Parameters::of_mail(text), Err(CommandError::Parameter(keyword)), "{text}");
        }
    }

    #[test]
    fn values_of_recipients_that_make_no_sense_are_named() {
        for (text, keyword) in [
            ("NOTIFY", "NOTIFY"),
            ("NOTIFY=", "NOTIFY"),
            ("NOTIFY=NEVER,DELAY", "NOTIFY"),
            ("NOTIFY=DELAY NOTIFY=DELAY", "NOTIFY"),
            ("ORCPT=a@b", "ORCPT"),
        ] {
            assert_eq!(
                Parameters::of_recipient(text),
                Err(CommandError::Parameter(keyword)),
                "{text}"
            );
        }
    }
}
