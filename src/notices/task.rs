//! The task that looks for ends and delays that nobody was told of, and queues notices.
//!
//! Rule: the notice is queued before the recipients are marked, so a crash in between tells twice and never
//! not at all. It leaves through the queue like any mail, in a lane of its own, so that the reserve for notices
//! is there for it when the day's budget is spent. Must not know how a notice looks.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use super::{
    Options,
    collect::{self, Batch, Original, Post},
    remembered,
    spent::{News, Shares, Spent},
};
use crate::{
    clock::{Clock, Steps, Timestamp},
    live::Live,
    message::{
        envelope::{BodyKind, Envelope, Lane, Origin},
        notice::{Announcement, Notice},
    },
    queue::{
        LIST_LENGTH_MAX, Notified, Queue, QueueError, QueuedMessage,
        id::QueueId,
        record::{NoticeKind, NoticeSent},
    },
    smtp::{address::Address, dsn::Dsn},
};

/// How often it looks.
const CHECK: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);
/// How often it walks through the queue for messages that have been waiting for long.
const WALK: Duration = Duration::from_secs(5 * 60);
/// Pages of one walk: ten thousand messages that wait are seen in five minutes, more of them later.
const PAGES_MAX: usize = 10;
/// Messages that one walk finds; the next one finds the others.
const FOUND_MAX: usize = 200;

/// Looks and tells.
#[derive(Debug)]
pub(crate) struct Notifier {
    /// Taken at the beginning of each look.
    options: Arc<Options>,
    given: Live<Options>,
    store: Arc<Queue>,
    clock: Arc<dyn Clock>,
    /// When notices went out in the last hour.
    recent: VecDeque<Timestamp>,
    delays: Delays,
    spent: Spent,
    steps: Steps,
    /// Whether what was told before the start is known.
    remembers: bool,
}

/// A message, what is told of it, and of which recipients.
#[derive(Debug)]
struct Piece<'a> {
    message: &'a QueuedMessage,
    kind: NoticeKind,
    places: Vec<usize>,
}

impl Notifier {
    /// A notifier, which asks the queue at its first look what was told before.
    #[must_use]
    pub(crate) fn new(given: Live<Options>, store: Arc<Queue>, clock: Arc<dyn Clock>) -> Self {
        let steps = Steps::since(clock.now());
        Self {
            options: given.get(),
            given,
            store,
            clock,
            steps,
            recent: VecDeque::new(),
            delays: Delays::default(),
            spent: Spent::default(),
            remembers: false,
        }
    }

    /// The days that other hosts spend as well.
    #[must_use]
    pub(crate) fn sharing(self, shares: Shares) -> Self {
        Self { spent: Spent::sharing(shares), ..self }
    }

    /// Works until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            self.options = self.given.get();
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "mail cannot be looked at for notices; the next look is in half a minute");
            }
            self.clock.sleep(CHECK).await;
        }
    }

    /// Wall time. What is to be told in an hour stays so when the clock was set.
    fn now(&mut self) -> Timestamp {
        let now = self.clock.now();
        if let Some(step_ms) = self.steps.look(now) {
            self.recent.iter_mut().for_each(|at| *at = at.moved(step_ms));
            self.delays.clock_was_set(step_ms);
        }
        now.wall
    }

    /// One look.
    ///
    /// # Errors
    /// When the queue does not answer.
    pub(crate) async fn look(&mut self) -> Result<(), QueueError> {
        let now = self.now();
        if !self.remembers {
            self.remember(now).await?;
        }
        let (quiet, ended) = self.ended().await?;
        for (id, places) in quiet {
            self.store.mark_notified(id, places.into()).await?;
        }
        let mut room = self.room(now);
        if room > 0 && self.tell_of_spent_day().await? {
            room -= 1;
        }
        let ended = if room > 0 && self.is_gathered(now, &ended) { ended } else { Vec::new() };
        let delayed =
            match self.options.delay_after.filter(|_| room > 0 && self.options.from.is_some()) {
                Some(patience) => self.delays.find(self.store.as_ref(), now, patience).await?,
                None => Vec::new(),
            };
        if ended.is_empty() && delayed.is_empty() {
            return Ok(());
        }
        self.tell(now, room, &ended, &delayed).await
    }

    /// Restarts make no notice come again, and no hour have more of them.
    async fn remember(&mut self, now: Timestamp) -> Result<(), QueueError> {
        let told = remembered::told(&self.store, now).await?;
        self.spent.remember(&self.options.days, &told);
        let of_hour = told.iter().map(|told| told.at).filter(|at| *at > now.before(HOUR));
        self.recent = of_hour.collect();
        self.remembers = true;
        Ok(())
    }

    /// Tells the administrator that mail waits for the budget, when it is time for that; returns whether it did.
    async fn tell_of_spent_day(&mut self) -> Result<bool, QueueError> {
        let options = Arc::clone(&self.options);
        let (Some(from), Some(to)) = (&options.from, &options.admin) else {
            return Ok(false);
        };
        let (now, hostname) = (self.clock.now(), &options.hostname);
        let found = self.spent.look(self.store.as_ref(), now, hostname, &options.days).await?;
        let Some(News { account, subject, text }) = found else { return Ok(false) };
        if !self.spent.is_ours(account, now.wall).await {
            return Ok(false);
        }
        let announcement =
            Announcement { hostname, from, to, at: now.wall, subject: &subject, text: &text };
        let bytes = match announcement.build() {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, %to, "a notice cannot be built; see pillarbox budget");
                self.spent.told(account, now.wall).await;
                return Ok(false);
            }
        };
        let to = to.clone();
        let id = self.store_notice(to.clone(), &bytes, now.wall).await?;
        self.spent.told(account, now.wall).await;
        tracing::warn!(%id, %to, subject, kind = "spent", "a notice is queued");
        Ok(true)
    }

    async fn store_notice(
        &mut self,
        to: Address,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<QueueId, QueueError> {
        let mut draft =
            self.store.begin(envelope(to, &self.options.hostname, now, Lane::Notice))?;
        draft.write(bytes).await?;
        let id = self.store.enqueue(draft).await?.id();
        self.recent.push_back(now);
        Ok(id)
    }

    /// Messages with an end that nobody was told of; first those of which nobody is to be told, with the places.
    async fn ended(&self) -> Result<(Vec<(QueueId, Vec<usize>)>, Vec<QueuedMessage>), QueueError> {
        let found = self.store.unnotified(LIST_LENGTH_MAX).await?;
        let (quiet, loud): (Vec<_>, Vec<_>) = found.into_iter().partition(|message| {
            let has_failure =
                message.record.untold().next().is_some() && message.record.reverse_path.is_some();
            !has_failure && self.sender(message).is_none()
        });
        let places = |message: QueuedMessage| (message.id, untold(&message));
        Ok((quiet.into_iter().map(places).collect(), loud))
    }

    /// How many notices this hour still allows.
    fn room(&mut self, now: Timestamp) -> usize {
        while self.recent.front().is_some_and(|at| *at <= now.before(HOUR)) {
            self.recent.pop_front();
        }
        (self.options.per_hour as usize).saturating_sub(self.recent.len())
    }

    /// Whether no more ends are expected to come soon.
    fn is_gathered(&self, now: Timestamp, found: &[QueuedMessage]) -> bool {
        collect::times(found).is_some_and(|(oldest, newest)| {
            newest <= now.before(self.options.gather)
                || oldest <= now.before(self.options.gather_max)
        })
    }

    /// The sender, when it is to be told of its own mail.
    fn sender<'a>(&self, message: &'a QueuedMessage) -> Option<&'a Address> {
        let own: Vec<&Address> = self.options.from.iter().chain(&self.options.admin).collect();
        collect::sender(message, &self.options.hostname, &own).filter(|_| self.options.senders)
    }

    async fn tell(
        &mut self,
        now: Timestamp,
        room: usize,
        ended: &[QueuedMessage],
        delayed: &[QueuedMessage],
    ) -> Result<(), QueueError> {
        let has_failures = ended.iter().any(|message| message.record.untold().next().is_some());
        let kinds =
            [(NoticeKind::Failed, has_failures), (NoticeKind::Delayed, !delayed.is_empty())];
        let for_admin: BTreeSet<NoticeKind> =
            kinds.into_iter().filter(|(_, is_there)| *is_there).map(|(kind, _)| kind).collect();
        let mut post = Post::new(room, &for_admin);
        let mut marks: BTreeMap<QueueId, Notified> = BTreeMap::new();
        for message in ended {
            let original = self.original(message.id).await;
            let failed = collect::failed(message, &original);
            self.add(
                &mut post,
                &Piece { message, kind: NoticeKind::Failed, places: failed },
                &original,
            );
            let relayed = message.record.untold_success().collect();
            self.add(
                &mut post,
                &Piece { message, kind: NoticeKind::Relayed, places: relayed },
                &original,
            );
            marks.insert(message.id, untold(message).into());
        }
        if post.has_room_for_admin(NoticeKind::Delayed) {
            for message in delayed {
                let original = self.original(message.id).await;
                let places = collect::delayed(message);
                self.add(
                    &mut post,
                    &Piece { message, kind: NoticeKind::Delayed, places },
                    &original,
                );
                marks.entry(message.id).or_default().delayed = true;
            }
        }
        self.send(now, post, &mut marks).await?;
        for (id, told) in marks {
            self.store.mark_notified(id, told).await?;
        }
        Ok(())
    }

    async fn original(&self, id: QueueId) -> Original {
        let Ok(reader) = self.store.read_message(id).await else { return Original::default() };
        // Reads at most one header section and one small message.
        tokio::task::spawn_blocking(move || Original::read(reader)).await.unwrap_or_default()
    }

    fn add(&self, post: &mut Post, piece: &Piece<'_>, original: &Original) {
        let Piece { message, kind, places } = piece;
        if places.is_empty() || self.options.from.is_none() {
            return;
        }
        let failure = || collect::failure(message, *kind, places, original);
        // That all is well only the one who has asked wants to know.
        if self.options.admin.is_some() && *kind != NoticeKind::Relayed {
            post.add_for_admin(message.id, *kind, failure());
        }
        if let Some(sender) = self.sender(message) {
            post.add_for_sender(sender, message.id, *kind, failure());
        }
    }

    /// Queues the notices, and notes each with the messages it is about.
    async fn send(
        &mut self,
        now: Timestamp,
        post: Post,
        marks: &mut BTreeMap<QueueId, Notified>,
    ) -> Result<(), QueueError> {
        let mut left_out = post.left_out();
        if left_out > 0 {
            tracing::warn!(
                senders = left_out,
                limit = self.options.per_hour,
                "senders are not told: too many notices in this hour"
            );
        }
        for (to, kind, batch) in post.into_notices(self.options.admin.as_ref()) {
            // The administrator's come first; it is for them alone.
            let told_of = if self.options.admin.as_ref() == Some(&to) {
                std::mem::take(&mut left_out)
            } else {
                0
            };
            let Some(id) = self.queue(&to, &batch, told_of, now).await? else { continue };
            for message in &batch.messages {
                let sent = NoticeSent { at: now, kind, to: to.clone(), id };
                marks.entry(*message).or_default().notices.push(sent);
            }
            let messages = batch.messages.len();
            tracing::warn!(%id, %to, messages, kind = kind.name(), "a notice is queued");
        }
        Ok(())
    }

    async fn queue(
        &mut self,
        to: &Address,
        batch: &Batch,
        left_out: usize,
        now: Timestamp,
    ) -> Result<Option<QueueId>, QueueError> {
        let Some(from) = &self.options.from else { return Ok(None) };
        let boundary = format!("pillarbox-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let notice = Notice {
            hostname: &self.options.hostname,
            from,
            to,
            at: now,
            boundary: &boundary,
            failures: &batch.failures,
            omitted: batch.omitted,
            left_out,
        };
        let bytes = match notice.build() {
            Ok(bytes) => bytes,
            Err(error) => {
                // The messages stay to be seen; building it again would fail again.
                tracing::error!(%error, %to, "a notice cannot be built; see pillarbox dead list and queue list");
                return Ok(None);
            }
        };
        Ok(Some(self.store_notice(to.clone(), &bytes, now).await?))
    }
}

/// The places of whose end nobody was told.
fn untold(message: &QueuedMessage) -> Vec<usize> {
    message.record.untold().chain(message.record.untold_success()).collect()
}

/// The envelope of a notice: the null reverse path says that nobody is to be told about it, and the
/// unspecified origin that nobody handed it over, so that it leaves with both as they are.
pub(crate) fn envelope(to: Address, hostname: &str, now: Timestamp, lane: Lane) -> Envelope {
    Envelope {
        reverse_path: None,
        forward_paths: vec![to],
        body: BodyKind::EightBitMime,
        internationalized: false,
        dsn: Dsn::default(),
        lane,
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

/// Where the walks are: every few minutes a stretch of the queue, in the order of acceptance, from where the last one
/// ended.
#[derive(Debug, Default)]
struct Delays {
    next_walk: Timestamp,
    after: Option<QueueId>,
}

impl Delays {
    /// The wall clock was set forward by `step_ms` (back, when negative).
    fn clock_was_set(&mut self, step_ms: i64) {
        self.next_walk = self.next_walk.moved(step_ms);
    }

    /// Messages that have waited for `patience` and of which somebody may want to hear; none between two walks.
    async fn find(
        &mut self,
        store: &Queue,
        now: Timestamp,
        patience: Duration,
    ) -> Result<Vec<QueuedMessage>, QueueError> {
        // A next walk that is far ahead was planned by a clock that was wrong.
        if now < self.next_walk && self.next_walk <= now.after(WALK) {
            return Ok(Vec::new());
        }
        self.next_walk = now.after(WALK);
        let (latest, mut found) = (now.before(patience), Vec::new());
        for _ in 0..PAGES_MAX {
            let page = store.list(self.after, LIST_LENGTH_MAX).await?;
            for message in &page {
                if message.record.accepted_at > latest {
                    self.after = None;
                    return Ok(found);
                }
                if found.len() == FOUND_MAX {
                    return Ok(found);
                }
                self.after = Some(message.id);
                let record = &message.record;
                if record.not_before_schedule(record.lifetime_from) <= latest
                    && !collect::delayed(message).is_empty()
                {
                    found.push(message.clone());
                }
            }
            if page.is_empty() {
                self.after = None;
                break;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
