//! Which dead recipients are told of, to whom, and what is said of each message.
//!
//! Rule: pure but for reading the header section of a message that is already open. NOTIFY is honoured
//! (RFC 3461 section 4.1), and a message with a null reverse path is never told of: it is a notice itself
//! (RFC 5321 section 4.5.5). Must not know when a notice goes out.

use crate::{
    clock::Timestamp,
    message::{
        envelope::Envelope,
        header::{Header, HeaderSection},
        notice::{Action, FailedRecipient, Failure, RETURNED_BYTES_MAX, Returned},
    },
    queue::{
        state::{Recipient, RecipientState},
        store::QueuedMessage,
    },
    smtp::address::Address,
};

/// What is known of a message beside its record; a damaged one has nothing.
#[derive(Debug, Default)]
pub(super) struct Original {
    pub(super) envelope: Option<Envelope>,
    pub(super) header: Option<HeaderSection>,
}

/// The places of the record that are to be told of; empty when nobody wants to know.
pub(super) fn wanted(message: &QueuedMessage, original: &Original) -> Vec<usize> {
    if message.record.reverse_path.is_none() {
        return Vec::new();
    }
    let dsn = original.envelope.as_ref().map(|envelope| &envelope.dsn);
    let wants = |place: &usize| {
        let asked = dsn.and_then(|dsn| dsn.recipients.get(place)).and_then(|recipient| recipient.notify);
        asked.is_none_or(|notify| notify.failure)
    };
    message.record.untold().filter(wants).collect()
}

/// When the newest and the oldest of the untold recipients died.
pub(super) fn times(messages: &[QueuedMessage]) -> Option<(Timestamp, Timestamp)> {
    let deaths = messages.iter().flat_map(|message| {
        message.record.untold().filter_map(|place| match message.recipients()[place].state {
            RecipientState::Dead { since, .. } => Some(since),
            _ => None,
        })
    });
    deaths.fold(None, |found, at| match found {
        None => Some((at, at)),
        Some((oldest, newest)) => Some((at.min(oldest), at.max(newest))),
    })
}

/// What is said of one message.
pub(super) fn failure(message: &QueuedMessage, places: &[usize], original: &Original) -> Failure {
    let envelope = original.envelope.as_ref();
    let section = original.header.as_ref();
    let header = section.and_then(|section| Header::read(&section.bytes, section.added_bytes));
    let text = |name: &str| header.as_ref().and_then(|header| field(header, name));
    let recipients = places.iter().filter_map(|place| {
        let asked = envelope.and_then(|envelope| envelope.dsn.recipients.get(place));
        let original_recipient = asked.and_then(|asked| asked.original_recipient.clone());
        Some(failed(message.recipients().get(*place)?, original_recipient))
    });
    Failure {
        id: message.id.to_string(),
        accepted_at: message.record.accepted_at,
        reverse_path: message.record.reverse_path.clone(),
        origin: envelope.map_or_else(|| "(unknown)".to_owned(), origin),
        subject: text("Subject"),
        message_id: text("Message-ID"),
        envelope_id: envelope.and_then(|envelope| envelope.dsn.envelope_id.clone()),
        recipients: recipients.collect(),
        returned: Returned::Headers(section.map(returned).unwrap_or_default()),
    }
}

/// The address of a sender who can be told: somebody elsewhere, and not the account itself.
pub(super) fn sender<'a>(
    message: &'a QueuedMessage,
    hostname: &str,
    own: &[&Address],
) -> Option<&'a Address> {
    let sender = message.record.reverse_path.as_ref()?;
    let domain = sender.domain()?;
    let here = ["localhost", hostname].iter().any(|name| domain.eq_ignore_ascii_case(name));
    let ours = own.iter().any(|address| address.as_str().eq_ignore_ascii_case(sender.as_str()));
    (!here && !ours && domain.contains('.')).then_some(sender)
}

fn failed(recipient: &Recipient, original_recipient: Option<String>) -> FailedRecipient {
    let reason = match &recipient.state {
        RecipientState::Dead { reason, .. } => reason.clone(),
        _ => String::new(),
    };
    FailedRecipient {
        address: recipient.address.clone(),
        original_recipient,
        action: Action::Failed,
        reply: recipient.last_reply.clone(),
        reason,
        attempts: recipient.attempts,
    }
}

fn origin(envelope: &Envelope) -> String {
    let origin = &envelope.origin;
    let login = origin.login.as_ref().map(|login| format!(", logged in as {login}")).unwrap_or_default();
    match origin.helo.as_str() {
        "" => format!("[{}]{login}", origin.address),
        helo => format!("{helo} [{}]{login}", origin.address),
    }
}

/// The value of the first field of that name, unfolded.
fn field(header: &Header<'_>, name: &str) -> Option<String> {
    let field = header.fields().iter().find(|field| field.is(name))?;
    let value = String::from_utf8_lossy(field.value());
    Some(value.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

fn returned(section: &HeaderSection) -> Vec<u8> {
    section.bytes[..section.bytes.len().min(RETURNED_BYTES_MAX)].to_vec()
}
