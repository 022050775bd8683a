//! A message on its way in.
//!
//! Rule: memory stays flat: at most [`BUFFER_BYTES`] of a message at a time, however long it is; a draft
//! that is dropped leaves nothing behind. Must not know SMTP.

use std::sync::Arc;

use super::{
    error::QueueError,
    fold::Fold,
    id::QueueId,
    record::MessageRecord,
    reserved_ids::ReservedId,
    ruled::Ruled,
    schedule::Schedule,
    spool::{Finished, PartFile},
    spool_file::{self, BUFFER_BYTES, FrameError, Trailer},
    state::Recipient,
};
use crate::{
    clock::Timestamp,
    message::{
        envelope::Envelope,
        excerpt::{Excerpt, Wanted},
        header::HeaderScan,
        identification::Identification,
        trace,
    },
    smtp::address::Address,
};

/// What an empty buffer holds room for: most messages of printers and cron jobs.
const BUFFER_BYTES_START: usize = 6 * 1024;

/// A message in transfer from a client. Dropping it discards the message.
#[derive(Debug)]
pub struct IncomingMessage {
    id: QueueId,
    envelope: Envelope,
    hostname: Arc<str>,
    /// Those that it was for before all mail was redirected, as a field.
    original_recipients: String,
    /// What the client said for its sender, where that is not an address.
    unusable_sender: Option<String>,
    scan: HeaderScan,
    /// Judged when the first bytes leave the buffer, or at the end.
    identification: Option<Identification>,
    /// The fields that a judge wants to see, and what they say, taken when the first bytes leave the buffer.
    wanted: Option<Arc<Wanted>>,
    excerpt: Option<Excerpt>,
    /// The rule that has struck.
    ruled: Option<Ruled>,
    /// Where in the first buffer the message begins.
    message_at: usize,
    body_bytes: u64,
    checksum: crc32fast::Hasher,
    /// Bytes of the frame that are not yet in the file.
    buffer: Vec<u8>,
    /// Where they go when the buffer is full; none after a write that has failed.
    part: Option<PartFile>,
    /// Where the recipients stand, when the message comes from another queue.
    restored: Option<Restored>,
    /// The relayed message that it is once more.
    resend_of: Option<QueueId>,
    /// Its id, when the client has proposed it.
    reserved_id: Option<Arc<ReservedId>>,
}

/// What a message from another queue brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Restored {
    /// Its recipients, in the order of the envelope.
    pub(super) recipients: Vec<Recipient>,
    /// From when its lifetime counts.
    pub(super) lifetime_from: Timestamp,
    /// When a person has it leave.
    pub(super) not_before: Option<Timestamp>,
    /// The account that has tried it last, where that is not the main one: what it may have sent no other one sends.
    pub(super) account: Option<String>,
}

impl IncomingMessage {
    pub(super) fn new(
        id: QueueId,
        envelope: Envelope,
        hostname: Arc<str>,
        part: PartFile,
    ) -> Result<Self, QueueError> {
        let head = spool_file::head(&envelope).map_err(unwritable)?;
        let mut draft = Self {
            id,
            envelope,
            hostname,
            original_recipients: String::new(),
            unusable_sender: None,
            scan: HeaderScan::new(),
            identification: None,
            wanted: None,
            excerpt: None,
            ruled: None,
            message_at: head.len(),
            body_bytes: 0,
            checksum: crc32fast::Hasher::new(),
            buffer: Vec::with_capacity(BUFFER_BYTES_START),
            part: Some(part),
            restored: None,
            resend_of: None,
            reserved_id: None,
        };
        draft.push(&head);
        Ok(draft)
    }

    /// Keeps the id taken for as long as the draft lives.
    pub(super) fn holding(mut self, reserved_id: ReservedId) -> Self {
        self.reserved_id = Some(Arc::new(reserved_id));
        self
    }

    /// The id the message will have.
    #[must_use]
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// The message comes from another queue: its recipients stand where they stood there. States that are
    /// not those of the envelope's recipients are left out.
    pub(crate) fn restore(&mut self, restored: Restored) {
        let fits = restored.recipients.len() == self.envelope.forward_paths.len();
        let addresses = restored.recipients.iter().map(|recipient| &recipient.address);
        if fits && addresses.eq(&self.envelope.forward_paths) {
            self.restored = Some(restored);
        }
    }

    /// A person sends this relayed message once more.
    pub(crate) fn resend(&mut self, of: QueueId) {
        self.resend_of = Some(of);
    }

    /// Tells the one who gets all mail whom it was for; nothing when it was not redirected.
    pub(crate) fn redirected_from(&mut self, recipients: &[Address]) {
        self.original_recipients = trace::original_recipients(recipients);
    }

    /// Keeps what the client said for its sender, where that is not an address.
    pub(crate) fn sent_as(&mut self, unusable: &str) {
        self.unusable_sender = Some(unusable.to_owned());
    }

    /// Whoever judges the message wants to see these fields of it.
    pub(crate) fn look_for(&mut self, wanted: &Arc<Wanted>) {
        self.wanted = Some(Arc::clone(wanted));
    }

    /// The envelope that it came with.
    pub(crate) fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The wanted fields of the message, all of which is here; once.
    pub(crate) fn excerpt(&mut self) -> Excerpt {
        self.take_excerpt(true);
        self.excerpt.take().unwrap_or_default()
    }

    /// A rule has struck.
    pub(crate) fn ruled(&mut self, ruled: Ruled) {
        self.ruled = Some(ruled);
    }

    /// Octets of the message written so far.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Adds decoded message bytes (CRLF line ends, dots unstuffed).
    ///
    /// # Errors
    /// `Full` when the disk is, `Unavailable` for any other trouble with the file. The draft is of no
    /// use any more then.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), QueueError> {
        self.scan.feed(bytes);
        self.body_bytes += bytes.len() as u64;
        self.push(bytes);
        if self.buffer.len() < BUFFER_BYTES {
            return Ok(());
        }
        let Some(part) = self.part.take() else { return Ok(()) };
        self.identify(false);
        self.take_excerpt(false);
        let buffer = std::mem::take(&mut self.buffer);
        let (part, mut buffer) = part.append(buffer).await?;
        buffer.clear();
        self.buffer = buffer;
        self.part = Some(part);
        Ok(())
    }

    /// Adds the trailer.
    ///
    /// `folds` says into which storm a message with this record and this From goes, of which a rule has said whether it may.
    pub(super) fn finish(
        mut self,
        folds: impl FnOnce(QueueId, &MessageRecord, &str, Option<bool>) -> Option<Fold>,
    ) -> Result<Finished, QueueError> {
        let findings = self.scan.finish();
        let id = self.id.to_string();
        let identification = self.identify(true).clone();
        let added =
            trace::added_fields(&self.envelope, &id, &self.hostname, &findings, &identification);
        let fields = match &self.unusable_sender {
            Some(unusable) => trace::with_unusable_sender(added.fields, unusable),
            None => added.fields,
        };
        let mut record =
            MessageRecord::new(&self.envelope, self.body_bytes, &identification.subject);
        record.resend_of = self.resend_of;
        let is_new = self.restored.is_none();
        let ruled = self.ruled.take().unwrap_or_default();
        ruled.apply(&mut record);
        if is_new && self.resend_of.is_none() && !ruled.hold {
            record.fold = folds(self.id, &record, &identification.from, ruled.storm);
        }
        let trailer = Trailer {
            added: [fields, self.original_recipients.into_bytes()].concat(),
            separator_at: findings.separator_at,
            body_bytes: self.body_bytes,
            replaced: added.replaced,
            subject: identification.subject,
            rule: ruled.rule,
            lane: ruled.lane,
            route: ruled.route,
            fold: record.fold.clone(),
        };
        let tail = spool_file::tail(&trailer, &self.checksum).map_err(unwritable)?;
        self.buffer.extend_from_slice(&tail);
        if let Some(restored) = self.restored {
            record.recipients = restored.recipients;
            record.lifetime_from = restored.lifetime_from;
            record.schedule = restored.not_before.map(Schedule::new);
            record.account = restored.account;
        }
        Ok(Finished {
            id: self.id,
            record,
            is_new,
            buffer: self.buffer,
            part: self.part,
            reserved_id: self.reserved_id,
        })
    }

    /// Looks at the beginning of the message while it is still in the buffer: no memory of its own.
    fn identify(&mut self, complete: bool) -> &Identification {
        let internationalized = self.envelope.internationalized;
        self.identification.get_or_insert_with(|| {
            let message = self.buffer.get(self.message_at..).unwrap_or_default();
            Identification::of(message, complete, internationalized)
        })
    }

    /// The same for the fields that somebody wants to see.
    fn take_excerpt(&mut self, complete: bool) {
        if let (Some(wanted), None) = (&self.wanted, &self.excerpt) {
            let message = self.buffer.get(self.message_at..).unwrap_or_default();
            self.excerpt = Some(Excerpt::of(message, complete, wanted));
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.checksum.update(bytes);
        self.buffer.extend_from_slice(bytes);
    }
}

/// Cannot happen for an envelope that a session made; if it does, the client must keep the message.
fn unwritable(error: FrameError) -> QueueError {
    QueueError::Unavailable(format!("the envelope cannot be written: {error}"))
}
