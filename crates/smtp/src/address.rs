//! Mail addresses: the reverse path of MAIL and the forward path of RCPT (RFC 5321 section 4.1.2).
//!
//! Rule: an [`Address`] that exists is safe to write into an SMTP command: no control character,
//! no bare angle bracket, bounded in length. Must not know what is local or who may be written to.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// Octets of a local part we accept; RFC 5321 section 4.5.3.1.1 asks for at least 64.
pub const LOCAL_PART_LENGTH_MAX: usize = 256;
/// Octets of a domain we accept; RFC 5321 section 4.5.3.1.2 asks for at least 255.
pub const DOMAIN_LENGTH_MAX: usize = 255;

/// A mailbox: a local part and, unless it names somebody on this host, a domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Shared: an address is copied at each step of a message's life.
    text: Arc<str>,
    /// Byte position of the `@`, when there is a domain.
    at: Option<usize>,
}

impl Address {
    /// The part before the `@`, as it was written (quotes kept).
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.text[..self.at.unwrap_or(self.text.len())]
    }

    /// The part after the `@`; `None` for a bare name such as `root`.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.at.map(|at| &self.text[at + 1..])
    }

    /// The address as it goes between angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads an address of a client, whose domain may end with the dot that host names have in resolvers
    /// (`a@b.example.`): it means the same name, and is dropped.
    ///
    /// # Errors
    /// As for any other text.
    pub fn rooted(text: &str) -> Result<Self, AddressError> {
        let without_dot = text.strip_suffix('.').map(str::parse::<Self>);
        match without_dot {
            Some(Ok(address))
                if address.domain().is_some_and(|domain| !domain.starts_with('[')) =>
            {
                Ok(address)
            }
            _ => text.parse(),
        }
    }

    /// The same address with its domain in ASCII (A-labels, RFC 5890), which every server takes; `None` when the local
    /// part has other characters, or the domain cannot be one.
    #[must_use]
    pub fn in_ascii(&self) -> Option<Self> {
        if !self.is_internationalized() {
            return Some(self.clone());
        }
        let (local, domain) = (self.local_part(), self.domain()?);
        if !local.is_ascii() {
            return None;
        }
        let domain = idna::domain_to_ascii(domain).ok()?;
        format!("{local}@{domain}").parse().ok()
    }

    /// Whether it needs SMTPUTF8 (RFC 6531).
    #[must_use]
    pub fn is_internationalized(&self) -> bool {
        !self.text.is_ascii()
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(AddressError::Character);
        }
        let at = split_position(text)?;
        let (local, domain) = match at {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        if local.len() > LOCAL_PART_LENGTH_MAX
            || domain.is_some_and(|domain| domain.len() > DOMAIN_LENGTH_MAX)
        {
            return Err(AddressError::TooLong);
        }
        check_local_part(local)?;
        domain.map_or(Ok(()), check_domain)?;
        Ok(Self { text: text.into(), at })
    }
}

/// The `@` that separates local part and domain: the last one outside quotes.
fn split_position(text: &str) -> Result<Option<usize>, AddressError> {
    let (mut quoted, mut escaped, mut at) = (false, false, None);
    for (position, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '@' if !quoted => at = Some(position),
            _ => {}
        }
    }
    if quoted || escaped { Err(AddressError::Quote) } else { Ok(at) }
}

fn check_local_part(local: &str) -> Result<(), AddressError> {
    if local.is_empty() {
        return Err(AddressError::Empty);
    }
    let forbidden = |character: char| character == ' ' || "()<>[]:;@\\,\"".contains(character);
    if !is_quoted_string(local) && local.chars().any(forbidden) {
        return Err(AddressError::Character);
    }
    Ok(())
}

/// Whether the text is one quoted string from end to end: `"a"> SIZE="b"` begins and ends with a quote, too,
/// but what is between its strings would end the path and begin a parameter.
fn is_quoted_string(text: &str) -> bool {
    let Some(inside) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return false;
    };
    let mut escaped = false;
    let is_plain = |character: char| {
        let ends_the_string = character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        !ends_the_string
    };
    inside.chars().all(is_plain)
}

fn check_domain(domain: &str) -> Result<(), AddressError> {
    if domain.is_empty() {
        return Err(AddressError::Empty);
    }
    let literal = domain.starts_with('[') && domain.ends_with(']') && domain.len() > 2;
    let inner = if literal { &domain[1..domain.len() - 1] } else { domain };
    let allowed = |character: char| {
        character.is_alphanumeric()
            || !character.is_ascii()
            || "-._".contains(character)
            || (literal && character == ':')
    };
    if !inner.chars().all(allowed) || (!literal && domain.split('.').any(str::is_empty)) {
        return Err(AddressError::Character);
    }
    Ok(())
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.as_str().to_owned()
    }
}

/// From a text that need not be copied first.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl serde::de::Visitor<'_> for Text {
            type Value = Address;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Address, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// Why a text is not an address. The words are for an SMTP reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Local part, domain or everything is missing.
    #[error("a part of the address is empty")]
    Empty,
    /// A character that an address may not contain there.
    #[error("the address contains a character that is not allowed")]
    Character,
    /// A quoted string does not end.
    #[error("a quoted part of the address does not end")]
    Quote,
    /// Longer than the limits above.
    #[error("the address is too long")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_real_clients_are_accepted() {
        for text in [
            "root",
            "user@example.org",
            "\"q q@\"@example.org",
            "u@[127.0.0.1]",
            "u@[IPv6:::1]",
            "printer_1@host_name",
            "ü@bücher.example",
        ] {
            assert_eq!(text.parse::<Address>().map(String::from).as_deref(), Ok(text));
        }
    }

    #[test]
    fn one_final_dot_of_a_domain_is_dropped_where_clients_write_it() {
        for (text, read) in [
            ("a@b.example.", "a@b.example"),
            ("root@localhost.", "root@localhost"),
            ("a@b.example", "a@b.example"),
            ("a.", "a."),
            ("\"a@b.\"@c.", "\"a@b.\"@c"),
        ] {
            assert_eq!(Address::rooted(text).map(String::from).as_deref(), Ok(read));
        }
        for text in ["a@b..", "a@.", "a@[192.0.2.1].", "@.", "a@b .", "a@b@c."] {
            assert!(Address::rooted(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn texts_that_could_break_a_command_are_refused() {
        for text in [
            "", "@", "a@", "@b", "a b@c", "a@b..c", "a@b.", "a<b@c", "a@b>", "a\r\nb@c", "\"a@b",
            "a@b c",
        ]
        .into_iter()
        .chain(["\"a\"> SIZE=\"b\"@c", "\"a\"b\"c\"@d", "\"a\\\"@b", "\"\"\"@b"])
        {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }
}
