//! One mail transaction as its commands (RFC 5321 section 3.3): over a socket and in a file alike.
//!
//! Rule: pure, and only what the server offers is used, but for our own daemon, which offers everything. Addresses
//! are safe by their type, everything else is encoded. Must not know how commands travel.

use crate::{
    queue::{dropped::Head, id::QueueId},
    smtp::{
        address::Address,
        client::capabilities::Capabilities,
        dsn::{Content, Notify, RecipientDsn},
    },
};

/// Who gets a message, and what was asked about him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipient {
    /// RCPT TO.
    pub address: Address,
    /// NOTIFY and ORCPT.
    pub(crate) dsn: RecipientDsn,
}

/// What is the same for all recipients of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MailParameters {
    /// MAIL FROM; `None` is the null reverse path.
    pub(crate) sender: Option<Address>,
    /// RET.
    pub(crate) content: Option<Content>,
    /// ENVID.
    pub(crate) envelope_id: Option<String>,
    /// One recipient who is refused keeps the message from all, because there is one reply for it.
    pub(crate) all_or_none: bool,
}

/// One transaction.
#[derive(Clone, Debug)]
pub(crate) struct Transaction<'a> {
    /// The id under which the message may be handed over twice.
    pub(crate) id: QueueId,
    /// Whose program hands it over: told to our daemon, which asks the kernel first.
    pub(crate) user_id: u32,
    /// What is the same for all.
    pub(crate) parameters: &'a MailParameters,
    /// At least one.
    pub(crate) recipients: Vec<Recipient>,
    /// Octets of the message.
    pub(crate) size_bytes: u64,
    /// Whether there is one above 127.
    pub(crate) eight_bit: bool,
}

/// What our daemon understands in a file.
fn ours() -> Capabilities {
    Capabilities {
        size: true,
        eight_bit_mime: true,
        internationalized: true,
        dsn: true,
        ..Capabilities::default()
    }
}

impl Transaction<'_> {
    /// Whether an address is not ASCII, so that SMTPUTF8 is needed.
    #[must_use]
    pub(crate) fn is_internationalized(&self) -> bool {
        let recipients = self.recipients.iter().map(|recipient| &recipient.address);
        self.parameters.sender.iter().chain(recipients).any(Address::is_internationalized)
    }

    /// MAIL, without its line end.
    #[must_use]
    pub(crate) fn mail(&self, offer: Capabilities) -> String {
        let mut line =
            format!("MAIL FROM:<{}>", self.parameters.sender.as_ref().map_or("", Address::as_str));
        if offer.size {
            line += &format!(" SIZE={}", self.size_bytes);
        }
        if offer.eight_bit_mime && self.eight_bit {
            line += " BODY=8BITMIME";
        }
        if offer.internationalized && self.is_internationalized() {
            line += " SMTPUTF8";
        }
        if offer.dsn {
            match self.parameters.content {
                Some(Content::Full) => line += " RET=FULL",
                Some(Content::Headers) => line += " RET=HDRS",
                None => {}
            }
            if let Some(id) = &self.parameters.envelope_id {
                line += &format!(" ENVID={}", xtext(id));
            }
        }
        line
    }

    /// The same for our daemon behind its own socket, which takes our queue id without offering to.
    #[must_use]
    pub(crate) fn mail_with_id(&self, offer: Capabilities) -> String {
        format!("{} XQUEUEID={} XUID={}", self.mail(offer), self.id, self.user_id)
    }

    /// The RCPT of each recipient, without its line end.
    pub(crate) fn recipients(&self, offer: Capabilities) -> impl Iterator<Item = String> {
        self.recipients.iter().map(move |recipient| recipient.command(offer))
    }

    /// The same for a file.
    #[must_use]
    pub(crate) fn head(&self) -> Head {
        Head {
            mail: format!("{} XUID={}", self.mail(ours()), self.user_id),
            recipients: self.recipients(ours()).collect(),
            message_bytes: self.size_bytes,
        }
    }
}

impl Recipient {
    fn command(&self, offer: Capabilities) -> String {
        let mut line = format!("RCPT TO:<{}>", self.address);
        if !offer.dsn {
            return line;
        }
        if let Some(notify) = self.dsn.notify {
            line += &format!(" NOTIFY={}", words(notify));
        }
        if let Some((kind, address)) =
            self.dsn.original_recipient.as_deref().and_then(|original| original.split_once(';'))
        {
            let address = if address.is_ascii() { xtext(address) } else { address.to_owned() };
            line += &format!(" ORCPT={kind};{address}");
        }
        line
    }
}

fn words(notify: Notify) -> String {
    let all = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let words: Vec<&str> =
        all.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word).collect();
    if words.is_empty() { "NEVER".into() } else { words.join(",") }
}

/// RFC 3461 section 4.
fn xtext(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'!'..=b'~' if !b"+=".contains(&octet) => encoded.push(char::from(octet)),
            _ => encoded += &format!("+{octet:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::server::Parameters;

    #[test]
    fn a_command_has_what_the_server_offers_and_no_more() {
        let parameters = MailParameters {
            sender: Some("a@b".parse().unwrap()),
            content: Some(Content::Headers),
            envelope_id: Some("x y+1".into()),
            all_or_none: false,
        };
        let dsn = RecipientDsn {
            notify: Some(Notify { failure: true, delay: true, ..Notify::default() }),
            original_recipient: Some("rfc822;c+1@d".into()),
        };
        let recipients = vec![
            Recipient { address: "c@d".parse().unwrap(), dsn },
            Recipient {
                address: "\u{e9}@d".parse().unwrap(),
                dsn: RecipientDsn { notify: Some(Notify::default()), original_recipient: None },
            },
        ];
        let id = QueueId::from_bytes([0; 16]);
        let transaction = Transaction {
            id,
            user_id: 1_000,
            parameters: &parameters,
            recipients,
            size_bytes: 7,
            eight_bit: true,
        };
        assert_eq!(transaction.mail(Capabilities::default()), "MAIL FROM:<a@b>");
        let head = transaction.head();
        assert_eq!(
            head.mail,
            "MAIL FROM:<a@b> SIZE=7 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x+20y+2B1 XUID=1000"
        );
        assert_eq!(
            head.recipients,
            [
                "RCPT TO:<c@d> NOTIFY=FAILURE,DELAY ORCPT=rfc822;c+2B1@d",
                "RCPT TO:<\u{e9}@d> NOTIFY=NEVER"
            ]
        );
        let with_id = transaction.mail_with_id(Capabilities::default());
        assert_eq!(with_id, format!("MAIL FROM:<a@b> XQUEUEID={id} XUID=1000"));
        let read = Parameters::of_mail(head.mail.split_once('>').unwrap().1).unwrap();
        assert_eq!(read.envelope_id, parameters.envelope_id);
    }
}
