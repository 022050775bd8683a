//! The commands of a client as they are written, in lettre's words.
//!
//! Rule: an address is safe by its type, everything else is a word of ours. Addresses are written here and not by
//! lettre, whose own have always a domain. Must not know replies.

use lettre::transport::smtp::{
    commands::{Data, Ehlo, Quit, Rset, Starttls},
    extension::{ClientId, MailBodyParameter, MailParameter},
};

use super::capabilities::Capabilities;
use crate::smtp::address::Address;

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

impl Envelope {
    /// The parameters of MAIL that the server offers to take.
    #[must_use]
    pub fn parameters(&self, offered: &Capabilities, size_bytes: u64) -> Vec<MailParameter> {
        let size = usize::try_from(size_bytes).unwrap_or(usize::MAX);
        let all = [
            (offered.size, MailParameter::Size(size)),
            // A message that claims 7 bits may hold 8 all the same; the declaration harms nobody.
            (offered.eight_bit_mime, MailParameter::Body(MailBodyParameter::EightBitMime)),
            (self.internationalized && offered.internationalized, MailParameter::SmtpUtfEight),
        ];
        all.into_iter().filter(|(is_sent, _)| *is_sent).map(|(_, parameter)| parameter).collect()
    }

    /// MAIL.
    #[must_use]
    pub fn mail(&self, parameters: &[MailParameter]) -> String {
        let reverse_path = self.reverse_path.as_ref().map_or("", Address::as_str);
        let parameters: String =
            parameters.iter().map(|parameter| format!(" {parameter}")).collect();
        format!("MAIL FROM:<{reverse_path}>{parameters}\r\n")
    }
}

/// RCPT.
#[must_use]
pub fn rcpt(to: &Address) -> String {
    format!("RCPT TO:<{to}>\r\n")
}

/// EHLO. `name` is a full name, never an address literal.
#[must_use]
pub fn ehlo(name: &str) -> String {
    Ehlo::new(ClientId::Domain(name.to_owned())).to_string()
}

/// STARTTLS.
#[must_use]
pub fn starttls() -> String {
    Starttls.to_string()
}

/// DATA.
#[must_use]
pub fn data() -> String {
    Data.to_string()
}

/// RSET.
#[must_use]
pub fn rset() -> String {
    Rset.to_string()
}

/// QUIT.
#[must_use]
pub fn quit() -> String {
    Quit.to_string()
}

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
            [ehlo("relay.example.org"), starttls(), data(), rset(), quit()].concat(),
            "EHLO relay.example.org\r\nSTARTTLS\r\nDATA\r\nRSET\r\nQUIT\r\n"
        );
    }
}
