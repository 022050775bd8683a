//! The task that looks for dead letters nobody was told of, and queues a notice.
//!
//! Rule: the notice is queued before the recipients are marked, so a crash in between tells twice and never
//! not at all. It leaves through the queue like any mail, in the urgent lane, so that the reserve of that
//! lane is there for it when the day's budget is spent. Must not know how a notice looks.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use super::{
    Options,
    collect::{self, Original},
};
use crate::{
    clock::{Clock, Timestamp},
    message::{
        envelope::{BodyKind, Envelope, Lane, Origin},
        notice::{Failure, MESSAGES_MAX, Notice},
    },
    queue::{
        id::QueueId,
        store::{LIST_LENGTH_MAX, QueuedMessage, Store, StoreError},
    },
    smtp::{address::Address, dsn::Dsn},
};

/// How often it looks.
const CHECK: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);

/// Looks and tells.
#[derive(Debug)]
pub struct Keeper {
    options: Options,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// When notices went out in the last hour.
    recent: VecDeque<Timestamp>,
}

/// What is told to one person.
#[derive(Debug, Default)]
struct Batch {
    failures: Vec<Failure>,
    omitted: usize,
}

impl Keeper {
    /// A keeper that has told nothing in the last hour.
    #[must_use]
    pub fn new(options: Options, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { options, store, clock, recent: VecDeque::new() }
    }

    /// Works until it is dropped.
    pub async fn run(mut self) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "dead letters cannot be looked at; the next look is in half a minute");
            }
            self.clock.sleep(CHECK).await;
        }
    }

    /// One look.
    ///
    /// # Errors
    /// When the queue does not answer.
    pub async fn look(&mut self) -> Result<(), StoreError> {
        let found = self.store.untold(LIST_LENGTH_MAX).await?;
        let now = self.clock.wall();
        if !self.is_time(now, &found) {
            return Ok(());
        }
        let (mut to, mut marks) = (BTreeMap::new(), Vec::new());
        for message in &found {
            let original = self.original(message.id).await;
            let places = collect::wanted(message, &original);
            if !places.is_empty() {
                self.add(&mut to, message, &places, &original);
            }
            marks.push((message.id, message.record.untold().collect::<Vec<_>>()));
        }
        for (address, batch) in to {
            self.tell(&address, &batch, now).await?;
        }
        for (id, places) in marks {
            self.store.told(id, places).await?;
        }
        Ok(())
    }

    /// Whether no more failures are expected to come, and the hour allows another notice.
    fn is_time(&mut self, now: Timestamp, found: &[QueuedMessage]) -> bool {
        let Some((oldest, newest)) = collect::times(found) else { return false };
        while self.recent.front().is_some_and(|at| *at <= now.before(HOUR)) {
            self.recent.pop_front();
        }
        let gathered =
            newest <= now.before(self.options.gather) || oldest <= now.before(self.options.gather_max);
        gathered && self.recent.len() < self.options.per_hour as usize
    }

    async fn original(&self, id: QueueId) -> Original {
        let Ok(mut reader) = self.store.open_message(id).await else { return Original::default() };
        let envelope = Some(reader.envelope().clone());
        // Reads at most one header section.
        let read = tokio::task::spawn_blocking(move || reader.take_header());
        let header = read.await.ok().and_then(Result::ok).flatten();
        Original { envelope, header }
    }

    fn add(
        &self,
        to: &mut BTreeMap<String, Batch>,
        message: &QueuedMessage,
        places: &[usize],
        original: &Original,
    ) {
        let own: Vec<&Address> = self.options.from.iter().chain(&self.options.admin).collect();
        let sender = collect::sender(message, &self.options.hostname, &own).filter(|_| self.options.senders);
        for address in self.options.admin.iter().chain(sender) {
            let batch = to.entry(address.to_string()).or_default();
            if batch.failures.len() < MESSAGES_MAX {
                batch.failures.push(collect::failure(message, places, original));
            } else {
                batch.omitted += 1;
            }
        }
    }

    async fn tell(&mut self, address: &str, batch: &Batch, now: Timestamp) -> Result<(), StoreError> {
        let (Some(from), Ok(to)) = (&self.options.from, address.parse::<Address>()) else { return Ok(()) };
        let boundary = format!("pillarbox-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let notice = Notice {
            hostname: &self.options.hostname,
            from,
            to: &to,
            at: now,
            boundary: &boundary,
            failures: &batch.failures,
            omitted: batch.omitted,
        };
        let bytes = match notice.build() {
            Ok(bytes) => bytes,
            Err(error) => {
                // The dead letters stay to be seen; building it again would fail again.
                tracing::error!(%error, %to, "a notice of dead letters cannot be built; see pillarbox dead list");
                return Ok(());
            }
        };
        let mut draft = self.store.begin(envelope(to.clone(), &self.options.hostname, now))?;
        draft.write(&bytes).await?;
        let id = self.store.enqueue(draft).await?.id();
        self.recent.push_back(now);
        let messages = batch.failures.len() + batch.omitted;
        tracing::warn!(%id, %to, messages, "mail could not be relayed; a notice is queued");
        Ok(())
    }
}

/// The envelope of a notice: the null reverse path says that nobody is to be told about it, and the
/// unspecified origin that nobody handed it over, so that it leaves with both as they are.
fn envelope(to: Address, hostname: &str, now: Timestamp) -> Envelope {
    Envelope {
        reverse_path: None,
        forward_paths: vec![to],
        body: BodyKind::EightBitMime,
        internationalized: false,
        dsn: Dsn::default(),
        lane: Lane::Urgent,
        origin: Origin {
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            helo: hostname.to_owned(),
            protocol: "LOCAL".to_owned(),
            login: None,
            local: None,
        },
        accepted_at: now,
    }
}

#[cfg(test)]
mod tests;
