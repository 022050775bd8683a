//! A client's wishes for delivery status notifications (RFC 3461): RET and ENVID of MAIL, NOTIFY and ORCPT
//! of RCPT.
//!
//! Rule: kept with the envelope and honoured by our own notices, never passed to the upstream: Gmail does
//! not offer DSN and refuses the parameters. Must not know how a notice is built.

use std::collections::BTreeMap;

/// What the mail transaction asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Dsn {
    /// RET: how much of the message a notice carries; `None` leaves it to us.
    pub content: Option<Content>,
    /// ENVID, decoded, at most 100 characters.
    pub envelope_id: Option<String>,
    /// What was asked for single recipients, by their position among the forward paths. Who is not here
    /// gets the default of RFC 3461 section 4.1: a notice of failure.
    pub recipients: BTreeMap<usize, RecipientDsn>,
}

/// RET (RFC 3461 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Content {
    /// The whole message.
    Full,
    /// Its header section.
    Headers,
}

/// The parameters of one RCPT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RecipientDsn {
    /// NOTIFY.
    pub notify: Option<Notify>,
    /// ORCPT with its address type, decoded, such as `rfc822;joe@example.org`.
    pub original_recipient: Option<String>,
}

/// NOTIFY (RFC 3461 section 4.1); all false is NEVER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Notify {
    /// SUCCESS.
    pub success: bool,
    /// FAILURE.
    pub failure: bool,
    /// DELAY.
    pub delay: bool,
}

/// Characters of a decoded ENVID (RFC 3461 section 5.4 gives it 100).
pub const ENVELOPE_ID_LENGTH_MAX: usize = 100;

/// Characters of a decoded ORCPT (RFC 3461 section 5.4 gives it 500).
pub const ORIGINAL_RECIPIENT_LENGTH_MAX: usize = 500;

impl Content {
    /// Reads the value of RET.
    #[must_use]
    pub fn read(value: &str) -> Option<Self> {
        match value.to_ascii_uppercase().as_str() {
            "FULL" => Some(Self::Full),
            "HDRS" => Some(Self::Headers),
            _ => None,
        }
    }
}

impl Notify {
    /// Reads the value of NOTIFY: NEVER alone, or a list of the others.
    #[must_use]
    pub fn read(value: &str) -> Option<Self> {
        let mut notify = Self::default();
        if value.eq_ignore_ascii_case("NEVER") {
            return Some(notify);
        }
        for word in value.split(',') {
            match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => notify.success = true,
                "FAILURE" => notify.failure = true,
                "DELAY" => notify.delay = true,
                _ => return None,
            }
        }
        Some(notify)
    }
}

/// Reads the value of ENVID.
#[must_use]
pub fn envelope_id(value: &str) -> Option<String> {
    let decoded = xtext(value)?;
    (!decoded.is_empty() && decoded.len() <= ENVELOPE_ID_LENGTH_MAX).then_some(decoded)
}

/// Reads the value of ORCPT: an address type, a semicolon, an address. `utf-8` is the one type whose
/// address may be other than ASCII (RFC 6533 section 3).
#[must_use]
pub fn original_recipient(value: &str) -> Option<String> {
    let (kind, address) = value.split_once(';')?;
    let is_atom = !kind.is_empty()
        && kind.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    let address = if kind.eq_ignore_ascii_case("utf-8") && !address.is_ascii() {
        (!address.chars().any(char::is_control)).then(|| address.to_owned())?
    } else {
        xtext(address)?
    };
    let decoded = format!("{kind};{address}");
    (is_atom && !address.is_empty() && decoded.len() <= ORIGINAL_RECIPIENT_LENGTH_MAX)
        .then_some(decoded)
}

/// Decodes xtext (RFC 3461 section 4): `+` and two upper-case hexadecimal digits are one octet. What comes
/// out goes into a notice, so it must be printable ASCII.
fn xtext(value: &str) -> Option<String> {
    let (mut decoded, mut octets) = (String::new(), value.bytes());
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b'+' => 16 * hexadecimal(octets.next()?)? + hexadecimal(octets.next()?)?,
            // `=` has no place in xtext, but addresses with one are sent as they are.
            other => other,
        };
        if !matches!(octet, b' '..=b'~') {
            return None;
        }
        decoded.push(char::from(octet));
    }
    Some(decoded)
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_is_decoded_and_never_hides_a_control_character() {
        for (value, expected) in [
            ("QQ314159", Some("QQ314159")),
            ("a+2Bb+3Dc+20d", Some("a+b=c d")),
            ("a+2bb", Some("a+b")),
            ("", None),
            ("a+", None),
            ("a+2", None),
            ("a+XY", None),
            ("a+0D+0ABcc:+20x", None),
            ("ü", None),
        ] {
            assert_eq!(envelope_id(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn values_are_bounded() {
        assert!(envelope_id(&"x".repeat(100)).is_some());
        assert!(envelope_id(&"+2B".repeat(100)).is_some());
        assert!(envelope_id(&"x".repeat(101)).is_none());
        assert!(original_recipient(&format!("rfc822;{}", "x".repeat(493))).is_some());
        assert!(original_recipient(&format!("rfc822;{}", "x".repeat(494))).is_none());
    }

    #[test]
    fn an_original_recipient_has_a_type_and_an_address() {
        for (value, expected) in [
            ("rfc822;Bob@one.example", Some("rfc822;Bob@one.example")),
            ("rfc822;a+2Bb@c.example", Some("rfc822;a+b@c.example")),
            ("X400;/C+3DUS/", Some("X400;/C=US/")),
            ("utf-8;bücher@example.org", Some("utf-8;bücher@example.org")),
            ("rfc822;bücher@example.org", None),
            ("Bob@one.example", None),
            (";Bob@one.example", None),
            ("rfc822;", None),
            ("rf c;x", None),
        ] {
            assert_eq!(original_recipient(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn notify_is_never_alone_or_a_list() {
        let failure = Notify { failure: true, ..Notify::default() };
        assert_eq!(Notify::read("never"), Some(Notify::default()));
        assert_eq!(Notify::read("Failure"), Some(failure));
        assert_eq!(Notify::read("DELAY,FAILURE"), Some(Notify { delay: true, ..failure }));
        for wrong in ["", "NEVER,FAILURE", "FAILURE,", "SOMETIMES"] {
            assert_eq!(Notify::read(wrong), None, "{wrong}");
        }
        assert_eq!((Content::read("hdrs"), Content::read("ALL")), (Some(Content::Headers), None));
    }
}
