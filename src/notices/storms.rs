//! The task that tells of storms: it gathers what was folded, and queues one summary for all of it.
//!
//! Rule: the summary is queued before what it tells of is marked, so a crash in between tells twice and never not at all.
//! What is alone leaves as it is, and so does all of a storm of which no summary can be made. Must not know how a summary
//! looks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Options, task::envelope};
use crate::{
    clock::{Clock, Timestamp},
    live::Live,
    message::{
        envelope::{Envelope, Lane},
        header::Header,
        parts::{Keep, PartScan},
        storm_summary::{ATTACHED_BYTES_MAX, Original, Summary, TEXT_MAX, Tally},
    },
    queue::{
        Queue, QueueError, QueuedMessage, id::QueueId, only::Only, spool_file::MessageReader,
        storms::DueStorm,
    },
    smtp::address::Address,
};

/// How often it looks.
const CHECK: Duration = Duration::from_secs(15);
/// Storms of which one look tells; of the others the next one does.
const STORMS_MAX: usize = 100;
/// Folded messages of which one summary tells; of the others the next one does.
const MESSAGES_MAX: usize = 100_000;
/// Octets of an original that are looked at for its text.
const READ_MAX: usize = 512 * 1024;

/// Looks and tells.
#[derive(Debug)]
pub(crate) struct StormTeller {
    given: Live<Options>,
    store: Arc<Queue>,
    clock: Arc<dyn Clock>,
}

/// What of a storm nobody was told of yet.
#[derive(Debug, Default)]
struct Gathered {
    tally: Tally,
    /// In the order of acceptance.
    ids: Vec<QueueId>,
    first: Option<QueuedMessage>,
    last: Option<QueuedMessage>,
}

impl Gathered {
    fn add(&mut self, message: QueuedMessage) {
        if self.ids.len() == MESSAGES_MAX {
            return;
        }
        self.tally.add(&message.record.about.subject, message.record.accepted_at);
        self.ids.push(message.id);
        match self.first {
            None => self.first = Some(message),
            Some(_) => self.last = Some(message),
        }
    }
}

impl StormTeller {
    #[must_use]
    pub(crate) fn new(given: Live<Options>, store: Arc<Queue>, clock: Arc<dyn Clock>) -> Self {
        Self { given, store, clock }
    }

    /// Works until it is dropped.
    pub(crate) async fn run(self) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "folded mail cannot be looked at; the next look is in some seconds");
            }
            self.clock.sleep(CHECK).await;
        }
    }

    /// One look.
    ///
    /// # Errors
    /// When the queue does not answer.
    pub(crate) async fn look(&self) -> Result<(), QueueError> {
        let mut due = self.store.storms_due();
        due.truncate(STORMS_MAX);
        if due.is_empty() {
            return Ok(());
        }
        let mut gathered = self.gather(&due).await?;
        for storm in due {
            let found = gathered.remove(&storm.id).unwrap_or_default();
            let is_told = !found.ids.is_empty();
            if is_told {
                self.tell(storm, found).await?;
            }
            self.store.storm_told(storm, is_told);
        }
        Ok(())
    }

    /// What is untold of these storms, by one walk for all.
    async fn gather(&self, due: &[DueStorm]) -> Result<BTreeMap<QueueId, Gathered>, QueueError> {
        let mut gathered: BTreeMap<QueueId, Gathered> =
            due.iter().map(|storm| (storm.id, Gathered::default())).collect();
        // Nothing of them was accepted before the first of them.
        let (mut after, mut is_begun) = (None, false);
        while !is_begun || after.is_some() {
            let (page, next) = self.store.folded(after).await?;
            for message in page {
                let Some(fold) = &message.record.fold else { continue };
                if let Some(found) = gathered.get_mut(&fold.storm).filter(|_| fold.told.is_none()) {
                    found.add(message);
                }
            }
            (after, is_begun) = (next, true);
        }
        Ok(gathered)
    }

    async fn tell(&self, storm: DueStorm, found: Gathered) -> Result<(), QueueError> {
        let Gathered { tally, ids, first, last } = found;
        let Some(first) = first else { return Ok(()) };
        let Some(last) = last else { return self.let_go(&ids, "it is alone").await };
        let options = self.given.get();
        let now = self.clock.wall();
        let to: Vec<Address> =
            first.record.recipients.iter().map(|one| one.address.clone()).collect();
        let boundary = format!("pillarbox-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let (origin, lane, messages) =
            (first.record.about.client.to_string(), first.record.lane, ids.len());
        let thread = self.message_id(storm.id).await;
        let summary = options.account.as_ref().map(|from| async {
            Summary {
                hostname: &options.hostname,
                from,
                to: &to,
                at: now,
                boundary: &boundary,
                storm: storm.id.to_string(),
                origin,
                tally,
                is_over: storm.is_over,
                thread,
                first: self.original(first).await,
                last: Some(self.original(last).await),
                kept_days: options.folded_kept.as_secs().div_ceil(86_400),
            }
            .build()
        });
        let built = match summary {
            Some(summary) => summary.await.map_err(|error| error.to_string()),
            None => Err("there is no account to send it as".to_owned()),
        };
        match built {
            Ok(bytes) => {
                let id = self.queue(&to, lane, &bytes, now).await?;
                self.store.mark_told(&ids, now).await?;
                tracing::info!(%id, storm = %storm.id, messages, over = storm.is_over, "a summary of folded mail is queued");
                Ok(())
            }
            Err(error) => self.let_go(&ids, &error).await,
        }
    }

    /// They leave as they are.
    async fn let_go(&self, ids: &[QueueId], reason: &str) -> Result<(), QueueError> {
        tracing::info!(messages = ids.len(), reason, "folded mail leaves as it is");
        for id in ids {
            match self.store.release(*id, &Only::with("folded")).await {
                Ok(_)
                | Err(
                    QueueError::NotFound(_) | QueueError::Conflict(_) | QueueError::OtherState(_),
                ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn queue(
        &self,
        to: &[Address],
        lane: Lane,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<QueueId, QueueError> {
        let hostname = &self.given.get().hostname;
        let first = to
            .first()
            .cloned()
            .ok_or_else(|| QueueError::Unavailable("folded mail has no recipients".to_owned()))?;
        let own = envelope(first, hostname, now, lane);
        let mut draft = self.store.begin(Envelope { forward_paths: to.to_vec(), ..own })?;
        draft.write(bytes).await?;
        Ok(self.store.enqueue(draft).await?.id())
    }

    /// The Message-ID of the first message that was folded into a storm; `None` when that is not there any more.
    async fn message_id(&self, storm: QueueId) -> Option<String> {
        let reader = self.store.read_message(storm).await.ok()?;
        tokio::task::spawn_blocking(move || read_message_id(reader)).await.ok()?
    }

    /// What is shown of a message; what cannot be read is shown by its record alone.
    async fn original(&self, message: QueuedMessage) -> Original {
        let known = Original {
            id: message.id.to_string(),
            at: message.record.accepted_at,
            subject: message.record.about.subject,
            ..Original::default()
        };
        let Ok(reader) = self.store.read_message(message.id).await else { return known };
        let read = known.clone();
        tokio::task::spawn_blocking(move || read_original(read, reader)).await.unwrap_or(known)
    }
}

fn read_message_id(mut reader: MessageReader) -> Option<String> {
    let section = reader.take_header().ok()??;
    let header = Header::read(&section.bytes, section.added_bytes)?;
    let mut ids = header.fields().iter().filter(|field| field.is("Message-ID"));
    let id = ids.next().map(|field| String::from_utf8_lossy(field.value()).trim().to_owned());
    id.filter(|id| id.is_ascii() && !id.contains(char::is_whitespace))
}

/// Reads the disk, and no more of it than is shown.
fn read_original(mut known: Original, mut reader: MessageReader) -> Original {
    let is_small = reader.size_bytes() <= ATTACHED_BYTES_MAX;
    let Ok(Some(section)) = reader.take_header() else { return known };
    let (mut scan, mut whole) = (PartScan::new(Keep::FirstText, TEXT_MAX), section.bytes);
    scan.push(&whole);
    let mut read = 0;
    while let Ok(Some(block)) = reader.next_block() {
        read += block.len();
        scan.push(&block);
        if is_small {
            whole.extend_from_slice(&block);
        }
        if read > READ_MAX {
            break;
        }
    }
    if let Some(kept) = scan.finish().kept {
        (known.text, known.is_cut) = (kept.text, kept.is_cut);
    }
    known.whole = is_small.then_some(whole);
    known
}

#[cfg(test)]
mod days;
#[cfg(test)]
mod tests;
