//! The commands of a client as they are written (RFC 5321 section 4.1.1).
//!
//! Rule: an address is safe by its type, everything else is a word of ours. Must not know replies.

use std::fmt::{self, Write as _};

use super::capabilities::Capabilities;
use crate::address::Address;

/// Octets of MAIL besides its reverse path, with every parameter that there is.
const MAIL_BYTES: usize = 64;

/// One mail transaction up to DATA.
#[derive(Debug)]
pub struct Envelope {
    /// `None` is the null reverse path.
    pub reverse_path: Option<Address>,
    /// At least one.
    pub recipients: Vec<Address>,
    /// SMTPUTF8 is needed.
    pub internationalized: bool,
}

/// A parameter of MAIL. It is displayed as it is written behind the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailParameter {
    /// SIZE: the message's octets as they will be sent, before dots are stuffed (RFC 1870).
    Size(u64),
    /// BODY=8BITMIME (RFC 6152).
    EightBitMime,
    /// SMTPUTF8 (RFC 6531).
    Internationalized,
}

impl fmt::Display for MailParameter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(octets) => write!(formatter, "SIZE={octets}"),
            Self::EightBitMime => formatter.write_str("BODY=8BITMIME"),
            Self::Internationalized => formatter.write_str("SMTPUTF8"),
        }
    }
}

impl Envelope {
    /// The parameters of MAIL that the server offers to take.
    #[must_use]
    pub fn parameters(&self, offered: &Capabilities, size_bytes: u64) -> Vec<MailParameter> {
        let all = [
            (offered.size, MailParameter::Size(size_bytes)),
            // A message that claims 7 bits may hold 8 all the same; the declaration harms nobody.
            (offered.eight_bit_mime, MailParameter::EightBitMime),
            (self.internationalized && offered.internationalized, MailParameter::Internationalized),
        ];
        all.into_iter().filter(|(is_sent, _)| *is_sent).map(|(_, parameter)| parameter).collect()
    }

    /// MAIL.
    #[must_use]
    pub fn mail(&self, parameters: &[MailParameter]) -> String {
        let reverse_path = self.reverse_path.as_ref().map_or("", Address::as_str);
        let mut line = String::with_capacity(reverse_path.len() + MAIL_BYTES);
        line.push_str("MAIL FROM:<");
        line.push_str(reverse_path);
        line.push('>');
        for parameter in parameters {
            // Writing to a String cannot fail.
            let _: fmt::Result = write!(line, " {parameter}");
        }
        line.push_str("\r\n");
        line
    }
}

/// RCPT.
#[must_use]
pub fn rcpt(to: &Address) -> String {
    ["RCPT TO:<", to.as_str(), ">\r\n"].concat()
}

/// EHLO. `name` is a full name, never an address literal.
#[must_use]
pub fn ehlo(name: &str) -> String {
    format!("EHLO {name}\r\n")
}

/// STARTTLS.
pub const STARTTLS: &str = "STARTTLS\r\n";

/// DATA.
pub const DATA: &str = "DATA\r\n";

/// RSET.
pub const RSET: &str = "RSET\r\n";

/// QUIT.
pub const QUIT: &str = "QUIT\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_has_what_the_server_offers_and_no_more() {
        let envelope = Envelope {
            reverse_path: Some("root".parse().unwrap()),
            recipients: vec!["\u{fc}@example.net".parse().unwrap()],
            internationalized: true,
        };
        let mail = |offered| envelope.mail(&envelope.parameters(&offered, 7));
        assert_eq!(mail(Capabilities::default()), "MAIL FROM:<root>\r\n");
        let all = Capabilities {
            size: true,
            eight_bit_mime: true,
            internationalized: true,
            ..Capabilities::default()
        };
        assert_eq!(mail(all), "MAIL FROM:<root> SIZE=7 BODY=8BITMIME SMTPUTF8\r\n");
        let null = Envelope { reverse_path: None, internationalized: false, ..envelope };
        assert_eq!(null.mail(&[]), "MAIL FROM:<>\r\n");
        assert_eq!(null.parameters(&all, 7).len(), 2);
        assert_eq!(rcpt(&null.recipients[0]), "RCPT TO:<\u{fc}@example.net>\r\n");
        assert_eq!(
            [ehlo("relay.example.org"), STARTTLS.into(), DATA.into(), RSET.into(), QUIT.into()]
                .concat(),
            "EHLO relay.example.org\r\nSTARTTLS\r\nDATA\r\nRSET\r\nQUIT\r\n"
        );
    }
}
