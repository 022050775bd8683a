//! Notices about mail (RFC 3464): that it could not be relayed, that it still waits, or that it was relayed.
//!
//! Rule: built from facts alone, so the same failures always give the same bytes but for the boundary that
//! the caller names; every field that a client or the upstream has influenced is cleaned and cut to its
//! limit. Must not know when a notice is due, who wants one, or how it is queued.

use std::time::{Duration, SystemTime};

use lettre::{
    address::AddressError,
    message::{
        Mailbox, MessageBuilder, MultiPart, SinglePart,
        header::{ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue},
    },
};
use thiserror::Error;

use super::notice_text;
use crate::{clock::Timestamp, smtp::address::Address};

/// Messages that one notice describes; of the others it tells the number.
pub const MESSAGES_MAX: usize = 50;
/// Recipients that are described of one message.
pub const RECIPIENTS_MAX: usize = 100;
/// Octets of the original that are returned: a header section, or a small message that asked for RET=FULL.
pub const RETURNED_BYTES_MAX: usize = 64 * 1024;

/// Who speaks to whom about what.
#[derive(Clone, Debug)]
pub struct Notice<'a> {
    /// The name of this host, as in the greeting and in Received.
    pub hostname: &'a str,
    /// The From address; the upstream account, so that the upstream takes it.
    pub from: &'a Address,
    /// Who gets it.
    pub to: &'a Address,
    /// When it was made.
    pub at: Timestamp,
    /// The text between the parts; must not occur in them.
    pub boundary: &'a str,
    /// What is told of, with one action for all; oldest first, at least one, at most [`MESSAGES_MAX`].
    pub failures: &'a [Failure],
    /// Messages of which the same is to be told, and which are not described.
    pub omitted: usize,
    /// Readers who get no notice, because there were too many in this hour.
    pub left_out: usize,
}

/// One message that could not be relayed, not yet, or that was.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its queue id.
    pub id: String,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// MAIL FROM; `None` is the null reverse path.
    pub reverse_path: Option<Address>,
    /// Who handed it over, such as "printer.lan [192.0.2.7]".
    pub origin: String,
    /// The text of its Subject field, as it stood there.
    pub subject: Option<String>,
    /// Its Message-ID with brackets.
    pub message_id: Option<String>,
    /// ENVID of MAIL (RFC 3461), decoded.
    pub envelope_id: Option<String>,
    /// Whom it is about; at most [`RECIPIENTS_MAX`] are described.
    pub recipients: Vec<FailedRecipient>,
    /// What is returned of it; at most [`RETURNED_BYTES_MAX`].
    pub returned: Returned,
}

/// One recipient and what became of it.
#[derive(Clone, Debug)]
pub struct FailedRecipient {
    /// The address of RCPT TO.
    pub address: Address,
    /// ORCPT (RFC 3461), decoded, with its type.
    pub original_recipient: Option<String>,
    /// What became of it.
    pub action: Action,
    /// Why, in our words.
    pub reason: String,
    /// The upstream's last reply.
    pub reply: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
}

/// The Action field of RFC 3464 section 2.3.3, as far as a relay uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It will not be tried again unless a person says so.
    Failed,
    /// The same, but it may have arrived: no answer came to its final dot.
    Held,
    /// It is still tried.
    Delayed,
    /// The upstream has it, and gives no reports itself (RFC 3461 section 6.2).
    Relayed,
}

/// What of the original goes with the notice.
#[derive(Clone, Debug)]
pub enum Returned {
    /// Its header section (RET=HDRS, and the default).
    Headers(Vec<u8>),
    /// All of it (RET=FULL, when it is small enough).
    Full(Vec<u8>),
}

/// Why a notice cannot be built.
#[derive(Debug, Error)]
pub enum NoticeError {
    /// An address that the builder does not take, such as one with a quoted local part it cannot read.
    #[error("the address {address} cannot stand in a header: {source}")]
    Address {
        /// Which.
        address: Address,
        /// Why.
        source: AddressError,
    },
    /// The builder refused.
    #[error("the notice cannot be built: {0}")]
    Build(#[from] lettre::error::Error),
}

impl Notice<'_> {
    /// The whole message with CRLF line ends; Message-ID is left to the queue.
    ///
    /// # Errors
    /// When From or To cannot be written.
    pub fn build(&self) -> Result<Vec<u8>, NoticeError> {
        let mut builder = lettre::Message::builder()
            .from(mailbox(self.from, Some(format!("Pillarbox on {}", self.hostname)))?)
            .to(mailbox(self.to, None)?)
            .subject(notice_text::subject(self))
            .date(system_time(self.at))
            .header(AutoSubmitted(if self.failures.len() == 1 {
                "auto-replied"
            } else {
                "auto-generated"
            }));
        if let [only] = self.failures {
            builder = with_thread(builder, only);
        }
        Ok(builder.multipart(self.body())?.formatted())
    }

    /// One failure makes a delivery report as programs read it. Several make a list for people, with the
    /// report of each attached, because a report describes one message only (RFC 3464 section 2.1).
    fn body(&self) -> MultiPart {
        let text = text_part("text/plain; charset=utf-8", notice_text::for_people(self));
        let [only] = self.failures else {
            let start = multipart("mixed", self.boundary).singlepart(text);
            return self
                .failures
                .iter()
                .fold(start, |parts, failure| parts.singlepart(self.status(failure)));
        };
        let returned = match &only.returned {
            Returned::Headers(bytes) => bytes_part("text/rfc822-headers", bytes),
            Returned::Full(bytes) => bytes_part("message/rfc822", bytes),
        };
        multipart("report; report-type=delivery-status", self.boundary)
            .singlepart(text)
            .singlepart(self.status(only))
            .singlepart(returned)
    }

    fn status(&self, failure: &Failure) -> SinglePart {
        let report = notice_text::delivery_status(self.hostname, failure);
        // Nothing else is allowed here (RFC 3464 section 2.1), and the builder would choose for itself.
        bytes_part("message/delivery-status", report.as_bytes())
    }
}

/// A few words to one person that are about no message.
#[derive(Clone, Copy, Debug)]
pub struct Announcement<'a> {
    /// The name of this host.
    pub hostname: &'a str,
    /// The From address, as of a notice.
    pub from: &'a Address,
    /// Who gets it.
    pub to: &'a Address,
    /// When it was made.
    pub at: Timestamp,
    /// One line of our own words.
    pub subject: &'a str,
    /// The text, with CRLF line ends.
    pub text: &'a str,
}

impl Announcement<'_> {
    /// The whole message with CRLF line ends; Message-ID is left to the queue.
    ///
    /// # Errors
    /// When From or To cannot be written.
    pub fn build(&self) -> Result<Vec<u8>, NoticeError> {
        let message = lettre::Message::builder()
            .from(mailbox(self.from, Some(format!("Pillarbox on {}", self.hostname)))?)
            .to(mailbox(self.to, None)?)
            .subject(self.subject)
            .date(system_time(self.at))
            .header(AutoSubmitted("auto-generated"))
            .singlepart(text_part("text/plain; charset=utf-8", self.text.to_owned()))?;
        Ok(message.formatted())
    }
}

fn mailbox(address: &Address, name: Option<String>) -> Result<Mailbox, NoticeError> {
    let parsed = address.as_str().parse();
    let email =
        parsed.map_err(|source| NoticeError::Address { address: address.clone(), source })?;
    Ok(Mailbox { name, email })
}

/// A reply to the message that failed, so that mail programs show both together.
fn with_thread(builder: MessageBuilder, failure: &Failure) -> MessageBuilder {
    match &failure.message_id {
        Some(id) => builder.in_reply_to(id.clone()).references(id.clone()),
        None => builder,
    }
}

fn multipart(subtype: &str, boundary: &str) -> MultiPart {
    let text = format!("multipart/{subtype}; boundary=\"{boundary}\"");
    let kind = ContentType::parse(&text).unwrap_or(ContentType::TEXT_PLAIN);
    MultiPart::builder().header(kind).build()
}

fn text_part(content_type: &str, text: String) -> SinglePart {
    let kind = ContentType::parse(content_type).unwrap_or(ContentType::TEXT_PLAIN);
    SinglePart::builder().header(kind).body(text)
}

/// Bytes of the original, as they are: nothing in them is encoded again, so 8-bit text stays readable.
fn bytes_part(content_type: &str, bytes: &[u8]) -> SinglePart {
    let kind = ContentType::parse(content_type).unwrap_or(ContentType::TEXT_PLAIN);
    let kept = notice_text::cut(bytes, RETURNED_BYTES_MAX).to_vec();
    let encoding = if kept.is_ascii() {
        ContentTransferEncoding::SevenBit
    } else {
        ContentTransferEncoding::EightBit
    };
    let body = lettre::message::Body::dangerous_pre_encoded(kept, encoding);
    SinglePart::builder().header(kind).body(body)
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or(0))
}

/// Auto-Submitted (RFC 3834): no vacation program answers, and no relay sends a notice about this one.
#[derive(Clone, Copy, Debug)]
struct AutoSubmitted(&'static str);

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self("auto-generated"))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.to_owned())
    }
}

#[cfg(test)]
#[path = "notice/tests.rs"]
mod tests;
