//! Notices about mail (RFC 3464): that it could not be relayed, that it still waits, or that it was relayed.
//!
//! Rule: built from facts alone, so the same failures always give the same bytes but for the boundary that
//! the caller names; every field that a client or the upstream has influenced is cleaned and cut to its
//! limit. Must not know when a notice is due, who wants one, or how it is queued.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use jiff::tz::TimeZone;
use lettre::{
    address::AddressError,
    message::{
        Body, Mailbox, MessageBuilder, MultiPart, SinglePart,
        header::{
            ContentDisposition, ContentTransferEncoding, ContentType, Header, HeaderName,
            HeaderValue,
        },
    },
};
use thiserror::Error;

use super::{encoded_word, encoding};
use crate::{clock::Timestamp, smtp::address::Address, text};

/// Messages that one notice describes; of the others it tells the number.
pub(crate) const MESSAGES_MAX: usize = 50;
/// Recipients that are described of one message.
pub(crate) const RECIPIENTS_MAX: usize = 100;
/// Octets of the original that are returned: a header section, or a small message that asked for RET=FULL.
pub(crate) const RETURNED_BYTES_MAX: usize = 64 * 1024;
/// Where a line of a report is folded.
const FOLD_COLUMN: usize = 76;
/// Characters of a subject, a reason or a reply that are repeated.
const TEXT_LENGTH_MAX: usize = 300;

/// Who speaks to whom about what.
#[derive(Clone, Debug)]
pub(crate) struct Notice<'a> {
    /// The name of this host, as in the greeting and in Received.
    pub(crate) hostname: &'a str,
    /// The From address; the upstream account, so that the upstream takes it.
    pub(crate) from: &'a Address,
    /// Who gets it.
    pub(crate) to: &'a Address,
    /// When it was made.
    pub(crate) at: Timestamp,
    /// The text between the parts; must not occur in them.
    pub(crate) boundary: &'a str,
    /// What is told of, with one action for all; oldest first, at least one, at most [`MESSAGES_MAX`].
    pub(crate) failures: &'a [Failure],
    /// Messages of which the same is to be told, and which are not described.
    pub(crate) omitted: usize,
    /// Readers who get no notice, because there were too many in this hour.
    pub(crate) left_out: usize,
}

/// One message that could not be relayed, not yet, or that was.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// Its queue id.
    pub(crate) id: String,
    /// When it was accepted.
    pub(crate) accepted_at: Timestamp,
    /// MAIL FROM; `None` is the null reverse path.
    pub(crate) reverse_path: Option<Address>,
    /// Who handed it over, such as "printer.lan [192.0.2.7]".
    pub(crate) origin: String,
    /// The text of its Subject field, as it stood there.
    pub(crate) subject: Option<String>,
    /// Its Message-ID with brackets.
    pub(crate) message_id: Option<String>,
    /// ENVID of MAIL (RFC 3461), decoded.
    pub(crate) envelope_id: Option<String>,
    /// Whom it is about; at most [`RECIPIENTS_MAX`] are described.
    pub(crate) recipients: Vec<FailedRecipient>,
    /// What is returned of it; at most [`RETURNED_BYTES_MAX`].
    pub(crate) returned: Returned,
}

/// One recipient and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct FailedRecipient {
    /// The address of RCPT TO.
    pub(crate) address: Address,
    /// ORCPT (RFC 3461), decoded, with its type.
    pub(crate) original_recipient: Option<String>,
    /// What became of it.
    pub(crate) action: Action,
    /// Why, in our words.
    pub(crate) reason: String,
    /// The upstream's last reply.
    pub(crate) reply: Option<String>,
    /// How often it was tried.
    pub(crate) attempts: u32,
}

/// The Action field of RFC 3464 section 2.3.3, as far as a relay uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
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
pub(crate) enum Returned {
    /// Its header section (RET=HDRS, and the default).
    Headers(Vec<u8>),
    /// All of it (RET=FULL, when it is small enough).
    Full(Vec<u8>),
}

/// Why a notice cannot be built.
#[derive(Debug, Error)]
pub(crate) enum NoticeError {
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
    pub(crate) fn build(&self) -> Result<Vec<u8>, NoticeError> {
        let (why, thread) = match self.failures {
            [only] => ("auto-replied", only.message_id.as_deref()),
            _ => ("auto-generated", None),
        };
        let to = std::slice::from_ref(self.to);
        let builder = own(self.hostname, self.from, to, &subject(self), self.at, why)?;
        let builder = with_thread(builder, thread);
        Ok(builder.multipart(self.body())?.formatted())
    }

    /// One failure makes a delivery report as programs read it. Several make a list for people, with the
    /// report of each attached, because a report describes one message only (RFC 3464 section 2.1).
    fn body(&self) -> MultiPart {
        let text = text_part("text/plain; charset=utf-8", for_people(self));
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
        let report = delivery_status(self.hostname, failure);
        // Nothing else is allowed here (RFC 3464 section 2.1), and the builder would choose for itself.
        bytes_part("message/delivery-status", report.as_bytes())
    }
}

/// A few words to one person that are about no message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announcement<'a> {
    /// The name of this host.
    pub(crate) hostname: &'a str,
    /// The From address, as of a notice.
    pub(crate) from: &'a Address,
    /// Who gets it.
    pub(crate) to: &'a Address,
    /// When it was made.
    pub(crate) at: Timestamp,
    /// One line of our own words.
    pub(crate) subject: &'a str,
    /// The text, with CRLF line ends.
    pub(crate) text: &'a str,
}

impl Announcement<'_> {
    /// The whole message with CRLF line ends; Message-ID is left to the queue.
    ///
    /// # Errors
    /// When From or To cannot be written.
    pub(crate) fn build(&self) -> Result<Vec<u8>, NoticeError> {
        let to = std::slice::from_ref(self.to);
        let message = own(self.hostname, self.from, to, self.subject, self.at, "auto-generated")?
            .singlepart(text_part("text/plain; charset=utf-8", self.text.to_owned()))?;
        Ok(message.formatted())
    }
}

/// Words in text and in HTML, and messages beside them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letter<'a> {
    /// The name of this host.
    pub(super) hostname: &'a str,
    /// The From address, as of a notice.
    pub(super) from: &'a Address,
    /// Who gets it.
    pub(super) to: &'a [Address],
    /// When it was made.
    pub(super) at: Timestamp,
    /// The text between the parts; must not occur in them.
    pub(super) boundary: &'a str,
    /// One line.
    pub(super) subject: &'a str,
    /// The Message-ID, with brackets, of the message that it is shown with.
    pub(super) thread: Option<&'a str>,
    /// The text.
    pub(super) text: &'a str,
    /// The same as a document.
    pub(super) html: &'a str,
    /// Messages with the names of their files.
    pub(super) attached: &'a [(&'static str, &'a [u8])],
}

impl Letter<'_> {
    /// The whole message with CRLF line ends; Message-ID is left to the queue.
    ///
    /// # Errors
    /// When From or To cannot be written.
    pub(super) fn build(&self) -> Result<Vec<u8>, NoticeError> {
        let builder =
            own(self.hostname, self.from, self.to, self.subject, self.at, "auto-generated")?;
        let builder = with_thread(builder, self.thread);
        let words = multipart("alternative", &format!("{}-words", self.boundary))
            .singlepart(text_part("text/plain; charset=utf-8", self.text.to_owned()))
            .singlepart(text_part("text/html; charset=utf-8", self.html.to_owned()));
        let all = multipart("mixed", self.boundary).multipart(words);
        let attach = |all: MultiPart, (name, message): &(&'static str, &[u8])| {
            let kind = format!("message/rfc822; name=\"{name}\"");
            let kind = ContentType::parse(&kind).unwrap_or(ContentType::TEXT_PLAIN);
            let encoding = match message.is_ascii() {
                true => ContentTransferEncoding::SevenBit,
                false => ContentTransferEncoding::EightBit,
            };
            let body = Body::dangerous_pre_encoded(message.to_vec(), encoding);
            let part = SinglePart::builder().header(kind);
            all.singlepart(part.header(ContentDisposition::attachment(name)).body(body))
        };
        Ok(builder.multipart(self.attached.iter().fold(all, attach))?.formatted())
    }
}

fn mailbox(address: &Address, name: Option<String>) -> Result<Mailbox, NoticeError> {
    let parsed = address.as_str().parse();
    let email =
        parsed.map_err(|source| NoticeError::Address { address: address.clone(), source })?;
    Ok(Mailbox { name, email })
}

/// A message of the relay itself; `why` is its Auto-Submitted field (RFC 3834).
fn own(
    hostname: &str,
    from: &Address,
    to: &[Address],
    subject: &str,
    at: Timestamp,
    why: &'static str,
) -> Result<MessageBuilder, NoticeError> {
    let mut builder =
        lettre::Message::builder().from(mailbox(from, Some(format!("Pillarbox on {hostname}")))?);
    for to in to {
        builder = builder.to(mailbox(to, None)?);
    }
    Ok(builder.subject(subject).date(system_time(at)).header(AutoSubmitted(why)))
}

/// A reply to the message with this Message-ID, so that mail programs show both together.
fn with_thread(builder: MessageBuilder, message_id: Option<&str>) -> MessageBuilder {
    match message_id {
        Some(id) => builder.in_reply_to(id.to_owned()).references(id.to_owned()),
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
    let kept = cut(bytes, RETURNED_BYTES_MAX).to_vec();
    let encoding = if kept.is_ascii() {
        ContentTransferEncoding::SevenBit
    } else {
        ContentTransferEncoding::EightBit
    };
    let body = Body::dangerous_pre_encoded(kept, encoding);
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

/// The words for each action.
struct Words {
    /// Of one message, in the subject.
    subject: &'static str,
    /// Of several, behind their number.
    subject_of_several: &'static str,
    /// Behind "A message" or "2 messages".
    fate: &'static str,
    /// Which command shows what is not described.
    list: &'static str,
    /// What a person may do.
    advice: &'static str,
}

const FAILED: Words = Words {
    subject: "Mail could not be relayed",
    subject_of_several: "messages could not be relayed",
    fate: "could not be delivered",
    list: "pillarbox dead list",
    advice: "\nNothing is lost: the relay keeps these messages for a time. On its host:\n\
             \n  pillarbox dead list              what is kept, and why\
             \n  pillarbox dead resend ID         tries again\
             \n  pillarbox dead resend ID --to A  sends it to another address\
             \n  pillarbox dead delete ID         gives it up\n",
};

const HELD: Words = Words {
    subject: "Mail may not have arrived",
    subject_of_several: "messages may not have arrived",
    fate: "may have arrived, or may not: no answer came to the final dot",
    list: "pillarbox queue list --state held",
    advice: "\nWhere no answer came to the final dot twice, or once if [queue] uncertain\n\
             is \"hold\", the mail may have arrived. It is not sent again by itself, and\n\
             is kept for a time. Ask whether it has arrived; on the relay's host:\n\
             \n  pillarbox queue list --state held  what is kept, and why\
             \n  pillarbox queue retry ID           sends it again; it may arrive twice\
             \n  pillarbox queue delete ID          gives it up\n",
};

const DELAYED: Words = Words {
    subject: "Mail is waiting",
    subject_of_several: "messages are waiting",
    fate: "could not be delivered yet",
    list: "pillarbox queue list",
    advice: "\nNothing has to be done: the relay goes on trying, and tells of it when it gives up. On its host:\n\
             \n  pillarbox queue show ID    what is tried, and when next\
             \n  pillarbox queue retry ID   tries at once\
             \n  pillarbox queue delete ID  gives it up\n",
};

const RELAYED: Words = Words {
    subject: "Mail was relayed",
    subject_of_several: "messages were relayed",
    fate: "was handed on to a server that gives no reports, as its sender had asked to be told",
    list: "pillarbox queue show ID",
    advice: "\nWhether it has reached the mailbox is not known; you would be told of a failure.\n",
};

/// The words for what the notice tells of.
fn words(notice: &Notice<'_>) -> &'static Words {
    let mut actions =
        notice.failures.iter().flat_map(|failure| &failure.recipients).map(|one| one.action);
    let first = actions.next().unwrap_or(Action::Failed);
    match first {
        _ if actions.any(|action| action != first) => &FAILED,
        Action::Failed => &FAILED,
        Action::Held => &HELD,
        Action::Delayed => &DELAYED,
        Action::Relayed => &RELAYED,
    }
}

/// What the notice is called.
fn subject(notice: &Notice<'_>) -> String {
    let (host, words) = (notice.hostname, words(notice));
    if let [only] = notice.failures {
        let about = match (&only.subject, only.recipients.first()) {
            (Some(subject), _) if !subject.trim().is_empty() => clean(subject),
            (_, Some(recipient)) => format!("to {}", recipient.address),
            (_, None) => only.id.clone(),
        };
        return format!("[{host}] {}: {about}", words.subject);
    }
    format!("[{host}] {} {}", notice.failures.len() + notice.omitted, words.subject_of_several)
}

/// The part that people read.
fn for_people(notice: &Notice<'_>) -> String {
    let (host, words) = (notice.hostname, words(notice));
    let what = match notice.failures {
        [_] => "A message".to_owned(),
        failures => format!("{} messages", failures.len() + notice.omitted),
    };
    let mut text = format!("This is the mail relay on {host}. {what} {}.\n", words.fate);
    for failure in notice.failures.iter().take(MESSAGES_MAX) {
        text.push('\n');
        one(&mut text, failure);
    }
    if notice.omitted > 0 {
        let _written = writeln!(text, "\nand {} more; {} shows them.", notice.omitted, words.list);
    }
    if notice.left_out > 0 {
        let _written = writeln!(
            text,
            "\nNot told: {} of the senders, because of the limit of notices in an hour ([notices] per_hour).",
            notice.left_out
        );
    }
    text.push_str(words.advice);
    let is_held = |recipient: &FailedRecipient| recipient.action == Action::Held;
    let is_mixed = !std::ptr::eq(words, &HELD);
    if is_mixed && notice.failures.iter().flat_map(|failure| &failure.recipients).any(is_held) {
        text.push_str(HELD.advice);
    }
    text
}

fn one(text: &mut String, failure: &Failure) {
    let sender = failure.reverse_path.as_ref().map_or("<>", |path| path.as_str());
    let subject = failure.subject.as_deref().map_or_else(|| "(none)".to_owned(), clean);
    let _written = write!(
        text,
        "Message    {}\n  subject  {subject}\n  from     {sender}, handed over by {}\n  accepted {}\n",
        failure.id,
        clean(&failure.origin),
        time(failure.accepted_at),
    );
    for recipient in failure.recipients.iter().take(RECIPIENTS_MAX) {
        let fate = fate(recipient);
        let _written =
            writeln!(text, "  to       {}{fate}: {}", recipient.address, clean(&recipient.reason));
        // A refusal is its own reason; saying it twice would only make the notice longer.
        if let Some(reply) = recipient.reply.as_ref().filter(|reply| **reply != recipient.reason) {
            let _written = writeln!(text, "           the upstream said: {}", clean(reply));
        }
    }
    if let more @ 1.. = failure.recipients.len().saturating_sub(RECIPIENTS_MAX) {
        let _written = writeln!(text, "           and {more} more recipients");
    }
}

/// What has become of a recipient and what was tried, in brackets behind the address.
fn fate(recipient: &FailedRecipient) -> String {
    let tried = (recipient.attempts > 1).then(|| format!("tried {} times", recipient.attempts));
    let fate = match recipient.action {
        Action::Failed => None,
        Action::Held => Some("may have arrived"),
        Action::Delayed => Some("still being tried"),
        Action::Relayed => Some("relayed"),
    };
    let words: Vec<&str> = tried.as_deref().into_iter().chain(fate).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

/// The fields for programs (RFC 3464 section 2), in 7-bit lines with CRLF.
fn delivery_status(hostname: &str, failure: &Failure) -> String {
    let mut report = String::new();
    if let Some(id) = &failure.envelope_id {
        field(&mut report, "Original-Envelope-Id", &clean(id));
    }
    field(&mut report, "Reporting-MTA", &format!("dns; {}", clean(hostname)));
    field(&mut report, "X-Pillarbox-Queue-ID", &failure.id);
    field(&mut report, "Arrival-Date", &time(failure.accepted_at));
    for recipient in failure.recipients.iter().take(RECIPIENTS_MAX) {
        report.push_str("\r\n");
        recipient_fields(&mut report, recipient);
    }
    report
}

fn recipient_fields(report: &mut String, recipient: &FailedRecipient) {
    if let Some(original) = &recipient.original_recipient {
        let original = clean(original);
        let separated = original.split_once(';');
        let written = match separated {
            Some((kind, address)) if address.is_ascii() => format!("{kind}; {address}"),
            Some((_, address)) => typed_address(address),
            None => typed_address(&original),
        };
        field(report, "Original-Recipient", &written);
    }
    let (action, default_status) = match recipient.action {
        Action::Failed => ("failed", "5.0.0"),
        // Of its kind the nearest: the message transaction could not be completed (RFC 3463 section 3.5).
        Action::Held => ("failed", "5.4.2"),
        Action::Delayed => ("delayed", "4.0.0"),
        Action::Relayed => ("relayed", "2.0.0"),
    };
    let class = &default_status[..1];
    // The upstream's own status counts only when it says the same as we do: a lifetime that is over is a
    // failure although every single reply was temporary.
    let reported =
        recipient.reply.as_deref().and_then(status_of).filter(|status| status.starts_with(class));
    field(report, "Final-Recipient", &typed_address(recipient.address.as_str()));
    field(report, "Action", action);
    field(report, "Status", reported.unwrap_or(default_status));
    // Our own words are no reply of the upstream.
    let is_reply = |reply: &&String| begins_with_code(reply) && !reply.starts_with('2');
    if let Some(reply) = recipient.reply.as_ref().filter(is_reply) {
        field(report, "Diagnostic-Code", &format!("smtp; {}", clean(reply)));
    }
}

fn begins_with_code(reply: &str) -> bool {
    let code = reply.as_bytes().get(..3);
    code.is_some_and(|code| {
        matches!(code[0], b'2' | b'4' | b'5') && code.iter().all(u8::is_ascii_digit)
    })
}

/// The enhanced status code in a reply such as "550 5.1.1 no such user" or "550-5.1.1 ...", or at the beginning of our own
/// words.
fn status_of(reply: &str) -> Option<&str> {
    let rest = if begins_with_code(reply) { reply.get(4..)? } else { reply };
    let status = rest.split_ascii_whitespace().next()?;
    let mut parts = status.split('.');
    let class = parts.next()?;
    let numbers = [parts.next()?, parts.next()?];
    let is_number = |text: &str| {
        (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let sound = ["2", "4", "5"].contains(&class) && numbers.into_iter().all(is_number);
    (sound && parts.next().is_none()).then_some(status)
}

/// One line of at most [`TEXT_LENGTH_MAX`] characters, as a person may see it: encoded words are decoded, and what
/// deceives the eye is written out.
pub(super) fn clean(text: &str) -> String {
    let start: String = text.chars().take(TEXT_LENGTH_MAX * 4).collect();
    let decoded = encoded_word::decoded(&start);
    let blank = |character: char| matches!(character, ' ' | '\t' | '\r' | '\n' | '\0');
    let words: Vec<&str> = decoded.split(blank).filter(|word| !word.is_empty()).collect();
    text::shorten(&words.join(" "), TEXT_LENGTH_MAX).into_owned()
}

/// A field of a report: 7-bit text in lines that a report may have (RFC 3464 section 2.1, RFC 5322 section 2.1.1).
fn field(report: &mut String, name: &str, value: &str) {
    let value = format!(" {value}");
    let fitted = encoding::fit_to_leave(name, value.as_bytes(), false);
    let fitted = fitted.map_or(value, |octets| String::from_utf8_lossy(&octets).into_owned());
    report.push_str(name);
    report.push(':');
    let mut column = name.len() + 1;
    for word in fitted.split_inclusive(' ') {
        let length = word.trim_end().len();
        // A fold goes in front of the blank that is there, and that stands at the end of the word before.
        if column + length > FOLD_COLUMN && report.ends_with(' ') && column > name.len() + 2 {
            report.pop();
            report.push_str("\r\n ");
            column = 1;
        }
        report.push_str(word);
        column = word.rfind('\n').map_or(column + word.len(), |fold| word.len() - fold - 1);
    }
    report.push_str("\r\n");
}

/// An address in a report: `\x{fc}` for what is not ASCII (RFC 6533 section 3).
fn typed_address(address: &str) -> String {
    if address.is_ascii() {
        return format!("rfc822; {address}");
    }
    let written = address.chars().map(|character| match character {
        '\\' | '+' | '=' => format!("\\x{{{:X}}}", u32::from(character)),
        ' '..='~' => character.to_string(),
        other => format!("\\x{{{:X}}}", u32::from(other)),
    });
    format!("utf-8; {}", written.collect::<String>())
}

/// The first octets, ended after a whole line where there is one.
fn cut(bytes: &[u8], limit: usize) -> &[u8] {
    if bytes.len() <= limit {
        return bytes;
    }
    let start = &bytes[..limit];
    start.iter().rposition(|byte| *byte == b'\n').map_or(start, |end| &start[..=end])
}

pub(super) fn time(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

#[cfg(test)]
#[path = "notice/tests.rs"]
mod tests;
