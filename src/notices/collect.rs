//! The notices of one look: the recipients they tell of, to whom, what is said of each message, and how many there are.
//!
//! Rule: pure but for reading a message that is already open. There are never more notices than there is room for: the
//! administrator's come first, and of the senders for whom no room is left the administrator is told the number. NOTIFY and RET are honoured (RFC 3461 sections 4.1
//! and 4.3), and a message with a null reverse path is never told of: it is a notice itself (RFC 5321 section
//! 4.5.5). Must not know when a notice goes out.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    clock::Timestamp,
    message::{
        encoding,
        envelope::Envelope,
        header::{Header, HeaderSection},
        notice::{Action, FailedRecipient, Failure, MESSAGES_MAX, RETURNED_BYTES_MAX, Returned},
    },
    queue::{
        QueuedMessage,
        id::QueueId,
        record::NoticeKind,
        spool_file::MessageReader,
        state::{Recipient, RecipientState},
    },
    smtp::{
        address::Address,
        dsn::{Content, Notify},
    },
};

/// What is known of a message beside its record; a damaged one has nothing.
#[derive(Debug, Default)]
pub(super) struct Original {
    envelope: Option<Envelope>,
    header: Option<HeaderSection>,
    /// The whole message, when RET=FULL asks for it and it is small enough.
    whole: Option<Vec<u8>>,
}

impl Original {
    /// Reads what a notice may need. Reads the disk.
    pub(super) fn read(mut reader: MessageReader) -> Self {
        let envelope = reader.envelope().clone();
        let is_small = reader.size_bytes() <= RETURNED_BYTES_MAX as u64;
        let is_wanted = envelope.dsn.content == Some(Content::Full) && is_small;
        let header = reader.take_header().ok().flatten();
        let whole = header.as_ref().filter(|_| is_wanted).and_then(|header| {
            let mut whole = header.bytes.clone();
            while let Some(block) = reader.next_block().ok()? {
                whole.extend_from_slice(&block);
            }
            Some(whole)
        });
        Self { envelope: Some(envelope), header, whole }
    }

    fn notify(&self, place: usize) -> Option<Notify> {
        self.envelope.as_ref()?.dsn.recipients.get(&place)?.notify
    }
}

/// The recipients to tell of that are dead, or held because no answer came; empty when nobody wants to know.
pub(super) fn failed(message: &QueuedMessage, original: &Original) -> Vec<usize> {
    if message.record.reverse_path.is_none() {
        return Vec::new();
    }
    let wants = |place: &usize| original.notify(*place).is_none_or(|notify| notify.failure);
    message.record.untold().filter(wants).collect()
}

/// The recipients to tell of that still wait: those that were refused for the time being, and, where the client has
/// asked to hear of a delay, all.
pub(super) fn delayed(message: &QueuedMessage) -> Vec<usize> {
    let record = &message.record;
    if record.reverse_path.is_none() || record.delay_told || record.fold.is_some() {
        return Vec::new();
    }
    let is_delayed = |(place, recipient): (usize, &Recipient)| {
        let wants = match record.notify.get(&place) {
            Some(notify) => notify.delay,
            None => recipient.attempts > 0,
        };
        (wants && matches!(recipient.state, RecipientState::Queued { .. })).then_some(place)
    };
    record.recipients.iter().enumerate().filter_map(is_delayed).collect()
}

/// When the newest and the oldest of the untold recipients ended.
pub(super) fn times(messages: &[QueuedMessage]) -> Option<(Timestamp, Timestamp)> {
    let ends = messages.iter().flat_map(|message| {
        let places = message.record.untold().chain(message.record.untold_success());
        places.filter_map(|place| match message.recipients()[place].state {
            RecipientState::Dead { since, .. } | RecipientState::Held { since, .. } => Some(since),
            RecipientState::Relayed { at } => Some(at),
            _ => None,
        })
    });
    ends.fold(None, |found, at| match found {
        None => Some((at, at)),
        Some((oldest, newest)) => Some((at.min(oldest), at.max(newest))),
    })
}

/// What is said of one message.
pub(super) fn failure(
    message: &QueuedMessage,
    kind: NoticeKind,
    places: &[usize],
    original: &Original,
) -> Failure {
    let envelope = original.envelope.as_ref();
    let section = original.header.as_ref();
    let mut header = section.and_then(|section| Header::read(&section.bytes, section.added_bytes));
    if let Some(header) = &mut header {
        encoding::read_charsets(header);
    }
    let text = |name: &str| header.as_ref().and_then(|header| field(header, name));
    let recipients = places.iter().filter_map(|place| {
        let asked = envelope.and_then(|envelope| envelope.dsn.recipients.get(place));
        let original_recipient = asked.and_then(|asked| asked.original_recipient.clone());
        Some(described(message.recipients().get(*place)?, kind, original_recipient))
    });
    let headers = || Returned::Headers(section.map(returned).unwrap_or_default());
    Failure {
        id: message.id.to_string(),
        accepted_at: message.record.accepted_at,
        reverse_path: message.record.reverse_path.clone(),
        origin: envelope.map_or_else(|| "(unknown)".to_owned(), origin),
        subject: text("Subject"),
        message_id: text("Message-ID"),
        envelope_id: envelope.and_then(|envelope| envelope.dsn.envelope_id.clone()),
        recipients: recipients.collect(),
        // RET is about reports of failure; the others carry the header section (RFC 3461 section 4.3).
        returned: match &original.whole {
            Some(whole) if kind == NoticeKind::Failed => Returned::Full(whole.clone()),
            _ => headers(),
        },
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

fn described(
    recipient: &Recipient,
    kind: NoticeKind,
    original_recipient: Option<String>,
) -> FailedRecipient {
    let last_reply = || recipient.last_reply.clone();
    let (action, reason) = match (kind, &recipient.state) {
        (NoticeKind::Failed, RecipientState::Dead { reason, .. }) => {
            (Action::Failed, reason.clone())
        }
        (NoticeKind::Failed, RecipientState::Held { reason, .. }) => (Action::Held, reason.clone()),
        (NoticeKind::Failed, _) => (Action::Failed, String::new()),
        (NoticeKind::Delayed, _) => {
            let waits = "it waits for the account or for the day's budget";
            (Action::Delayed, last_reply().unwrap_or_else(|| waits.to_owned()))
        }
        (NoticeKind::Relayed, _) => (Action::Relayed, last_reply().unwrap_or_default()),
    };
    FailedRecipient {
        address: recipient.address.clone(),
        original_recipient,
        action,
        reply: last_reply(),
        reason,
        attempts: recipient.attempts,
    }
}

fn origin(envelope: &Envelope) -> String {
    let origin = &envelope.origin;
    if let Some(user) = &origin.local {
        let name = user.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        return format!("a program of userid {}{name} on this host", user.uid);
    }
    let login =
        origin.login.as_ref().map(|login| format!(", logged in as {login}")).unwrap_or_default();
    match origin.helo.as_str() {
        "" => format!("[{}]{login}", origin.address),
        // A client that calls itself by its address literal is named once.
        helo if helo == format!("[{}]", origin.address) => format!("{helo}{login}"),
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

/// What is told to one person.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) failures: Vec<Failure>,
    /// Messages that are not described.
    pub(super) omitted: usize,
    /// Every message it is about.
    pub(super) messages: Vec<QueueId>,
}

/// The notices of one look.
#[derive(Debug)]
pub(super) struct Post {
    /// Notices that senders may still get.
    room_for_senders: usize,
    room: usize,
    admin: BTreeMap<NoticeKind, Batch>,
    senders: BTreeMap<(Address, NoticeKind), Batch>,
    left_out: BTreeSet<(Address, NoticeKind)>,
}

impl Post {
    /// `for_admin` are the kinds that the administrator will get.
    pub(super) fn new(room: usize, for_admin: &BTreeSet<NoticeKind>) -> Self {
        Self {
            room_for_senders: room.saturating_sub(for_admin.len()),
            room,
            admin: BTreeMap::new(),
            senders: BTreeMap::new(),
            left_out: BTreeSet::new(),
        }
    }

    /// Whether the administrator can be told of that kind now.
    pub(super) fn has_room_for_admin(&self, kind: NoticeKind) -> bool {
        self.admin.contains_key(&kind) || self.admin.len() < self.room
    }

    pub(super) fn add_for_admin(&mut self, id: QueueId, kind: NoticeKind, failure: Failure) {
        self.admin.entry(kind).or_default().add(id, failure);
    }

    pub(super) fn add_for_sender(
        &mut self,
        sender: &Address,
        id: QueueId,
        kind: NoticeKind,
        failure: Failure,
    ) {
        let key = (sender.clone(), kind);
        if self.senders.len() >= self.room_for_senders && !self.senders.contains_key(&key) {
            self.left_out.insert(key);
            return;
        }
        self.senders.entry(key).or_default().add(id, failure);
    }

    /// How many notices to senders there is no room for.
    pub(super) fn left_out(&self) -> usize {
        self.left_out.len()
    }

    /// Every notice, the administrator's first.
    pub(super) fn into_notices(self, admin: Option<&Address>) -> Vec<(Address, NoticeKind, Batch)> {
        let for_admin =
            self.admin.into_iter().filter_map(|(kind, batch)| Some((admin?.clone(), kind, batch)));
        let for_senders =
            self.senders.into_iter().map(|((sender, kind), batch)| (sender, kind, batch));
        for_admin.chain(for_senders).collect()
    }
}

impl Batch {
    fn add(&mut self, id: QueueId, mut failure: Failure) {
        self.messages.push(id);
        // Only a notice about one message returns something of it; the others need not hold it in memory.
        if let [first, ..] = self.failures.as_mut_slice() {
            first.returned = Returned::Headers(Vec::new());
            failure.returned = Returned::Headers(Vec::new());
        }
        if self.failures.len() < MESSAGES_MAX {
            self.failures.push(failure);
        } else {
            self.omitted += 1;
        }
    }
}
