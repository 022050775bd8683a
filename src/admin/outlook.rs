//! The last look through the queue and what it has found, for whoever tells of the queue's state.
//!
//! Rule: a look goes through the digests in memory and reads no more than a few records, however long the queue is; how new
//! one has to be says who asks, and who asks at the same time shares it. Must not know who is told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{sync::Mutex, task::spawn_blocking};

use super::api::{Oldest, RecipientTotals, RefusedRecipient};
use crate::{
    budget::AccountKey,
    clock::{Clock, Moment, Timestamp},
    queue::{
        Queue, QueueError, QueuedMessage,
        digest::Digest,
        forecast::{Forecast, Terms, Waiting},
        id::QueueId,
        listing::Limited,
        situations::NextDue,
    },
};

/// How long one walk serves the pages of a list, and whoever looks again and again.
const AGE_MAX_MS: u64 = 5_000;
/// A walk that took long serves whoever looks again and again for so many times as long: one twentieth of the time is the
/// most that he costs the daemon, however long the queue is.
const REST_AFTER_WALK: u64 = 19;
/// The same for whoever looks all day: one hundredth of the time.
const REST_FOR_RARE: u64 = 99;
/// Refusals kept: what fits a screen.
const REFUSED_MAX: usize = 5;

/// How new a walk has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// It begins after the question.
    New,
    /// At most a few seconds old.
    Recent,
    /// So old that walks cost little of the time: for whoever looks again and again.
    Cheap,
    /// So old that they cost next to nothing of it: for pages that stay open all day.
    Rare,
}

/// What the last walks have found.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    walked: Mutex<Option<Walked>>,
    held: AtomicU64,
    /// Orders of persons that have changed the queue.
    orders: AtomicU64,
}

/// What a walk has found, and when.
#[derive(Debug)]
struct Walked {
    at: Moment,
    took_ms: u64,
    /// How many orders there had been, and whether there was no message at all.
    orders: u64,
    was_empty: bool,
    found: Arc<QueueSummary>,
    forecasts: BTreeMap<AccountKey, Arc<Forecast>>,
}

impl Walked {
    /// `is_outdated`: what a person would look for at once has changed since.
    fn is_of(&self, age: Age, asked: Moment, is_outdated: bool) -> bool {
        let rest_ms = |times: u64| self.took_ms.saturating_mul(1 + times);
        let limit_ms = match age {
            // It may have begun while the question waited for its turn.
            Age::New => {
                return self.at.boot == asked.boot && self.at.since_boot_ms > asked.since_boot_ms;
            }
            Age::Recent => AGE_MAX_MS,
            Age::Cheap => AGE_MAX_MS.max(rest_ms(REST_AFTER_WALK)),
            Age::Rare => AGE_MAX_MS.max(rest_ms(REST_FOR_RARE)),
        };
        let limit_ms = match is_outdated {
            true => limit_ms.min(rest_ms(REST_AFTER_WALK)),
            false => limit_ms,
        };
        is_younger(self.at, asked, limit_ms)
    }
}

/// Whether what was found at `at` is younger than that for who asks now; of another boot nobody knows how old it is.
pub(super) fn is_younger(at: Moment, asked: Moment, limit_ms: u64) -> bool {
    at.boot == asked.boot && asked.since_boot_ms.saturating_sub(at.since_boot_ms) < limit_ms
}

impl Outlook {
    /// What a walk of this age has found, and when it began; walks where the last one is older.
    pub(crate) async fn of(
        &self,
        store: &Queue,
        clock: &dyn Clock,
        age: Age,
    ) -> Result<(Timestamp, Arc<QueueSummary>), QueueError> {
        let asked = clock.now();
        let (orders, is_empty) =
            (self.orders.load(Ordering::Relaxed), store.totals().messages == 0);
        let serves = |walked: &&Walked| {
            let is_outdated = walked.orders != orders || walked.was_empty && !is_empty;
            walked.is_of(age, asked, is_outdated)
        };
        // Held over the walk, so that who comes meanwhile does not begin one more beside it.
        let mut walked = self.walked.lock().await;
        if let Some(walked) = walked.as_ref().filter(serves) {
            return Ok((walked.at.wall, Arc::clone(&walked.found)));
        }
        let at = clock.now();
        let found = QueueSummary::of(store, at).await?;
        let took_ms = clock.now().since_boot_ms.saturating_sub(at.since_boot_ms);
        self.held.store(found.recipients.held, Ordering::Relaxed);
        let found = Arc::new(found);
        *walked = Some(Walked {
            at,
            took_ms,
            orders,
            was_empty: is_empty,
            found: Arc::clone(&found),
            forecasts: BTreeMap::new(),
        });
        Ok((at.wall, found))
    }

    /// When what waits for an account leaves; worked out once for each walk, of what `gather` finds.
    pub(super) async fn forecast<
        F: Future<Output = Result<(Vec<Vec<Waiting>>, Terms), QueueError>>,
    >(
        &self,
        account: AccountKey,
        gather: impl FnOnce() -> F,
    ) -> Result<Arc<Forecast>, QueueError> {
        let mut walked = self.walked.lock().await;
        let Some(walked) = walked.as_mut() else { return Ok(Arc::default()) };
        if let Some(known) = walked.forecasts.get(&account) {
            return Ok(Arc::clone(known));
        }
        let (waiting, terms) = gather().await?;
        let work = spawn_blocking(move || Forecast::new(waiting, terms));
        let forecast = Arc::new(work.await.unwrap_or_default());
        walked.forecasts.insert(account, Arc::clone(&forecast));
        Ok(forecast)
    }

    /// A person has changed something of the queue, and looks for it: what was found before serves for a shorter time.
    pub(crate) fn outdate(&self) {
        self.orders.fetch_add(1, Ordering::Relaxed);
    }

    /// Recipients that wait for a person.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

/// What the walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueSummary {
    /// Recipients by state.
    pub(crate) recipients: RecipientTotals,
    /// The message that waits for longest, or is being sent; dead, held, folded and scheduled ones do not count.
    pub(crate) oldest: Option<Oldest>,
    /// The earliest time at which a recipient of each account and lane is due.
    pub(crate) next_due: NextDue,
    /// Recipients that are due, by the account that has them.
    due: BTreeMap<AccountKey, u64>,
    /// The refusals of the newest messages that have any, newest first.
    pub(crate) refused: Vec<RefusedRecipient>,
    /// Whether the queue is longer than what is known of it.
    pub(crate) partial: bool,
    /// The newest messages that have any, until their records are read.
    with_refusals: VecDeque<QueueId>,
}

impl QueueSummary {
    /// Looks through the queue.
    async fn of(store: &Queue, at: Moment) -> Result<Self, QueueError> {
        let (now, limited) = (at.wall, store.limited_origins(at).await?);
        let served_by = store.served_by(at).await?;
        let look = move |summary: &mut Self, digest: Digest| {
            summary.add(&digest, served_by.account_of(digest.rare().way), now, &limited);
        };
        let (mut summary, is_whole) = store.look_through(Self::default(), look).await?;
        summary.partial = !is_whole;
        let newest = std::mem::take(&mut summary.with_refusals).into_iter().rev();
        let messages = store.messages(&newest.collect::<Vec<_>>()).await?;
        summary.refused = messages.iter().filter_map(|message| refused(message, now)).collect();
        Ok(summary)
    }

    /// Recipients of an account that are due.
    pub(super) fn due_of(&self, account: AccountKey) -> u64 {
        self.due.get(&account).copied().unwrap_or(0)
    }

    fn add(&mut self, digest: &Digest, account: AccountKey, now: Timestamp, limited: &Limited) {
        let limit = if limited.is_empty() { None } else { limited.get(&digest.origin) };
        let (rare, queued) = (digest.rare(), u64::from(digest.queued()));
        let is_scheduled = digest.is_scheduled(now);
        let waits = digest.reserved > 0 || queued > 0 && !is_scheduled && !rare.is_folded;
        let waits_since = Some(digest.waits_since());
        if waits && self.oldest.is_none_or(|oldest| waits_since < oldest.waits_since) {
            let (id, accepted_at) = (digest.id, digest.accepted_at);
            self.oldest = Some(Oldest { id, accepted_at, waits_since });
        }
        for (mut due, recipients) in digest.dues() {
            due.at = limit.map_or(due.at, |origin| due.at.max(origin.until));
            let is_due = due.at <= now;
            *self.due.entry(account).or_default() += if is_due { recipients.into() } else { 0 };
            let next = self.next_due.entry((account, digest.lane)).or_insert(due);
            *next = (*next).min(due);
        }
        let totals = &mut self.recipients;
        match () {
            () if rare.is_folded => totals.folded += queued,
            () if is_scheduled => totals.scheduled += queued,
            () => {
                totals.uncertain += u64::from(rare.uncertain);
                totals.queued += queued.saturating_sub(rare.uncertain.into());
            }
        }
        totals.reserved += u64::from(digest.reserved);
        totals.relayed += u64::from(rare.relayed);
        totals.held += u64::from(rare.held);
        totals.dead += u64::from(rare.dead);
        if digest.is_refused {
            self.with_refusals.push_back(digest.id);
            if self.with_refusals.len() > REFUSED_MAX {
                self.with_refusals.pop_front();
            }
        }
    }
}

/// The first refusal of a message; `None` when it has none any more.
fn refused(message: &QueuedMessage, now: Timestamp) -> Option<RefusedRecipient> {
    let record = &message.record;
    record.first_refusal().map(|(recipient, reply)| RefusedRecipient {
        id: message.id,
        recipient: recipient.address.to_string(),
        state: record.state_name(&recipient.state, now).to_owned(),
        reply: reply.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        clock::{BootId, ManualClock},
        message::envelope::{BodyKind, Lane},
        queue::{
            fixtures::accept,
            record::MessageRecord,
            schedule::{Due, Schedule},
            state::{Recipient, RecipientState},
        },
    };

    const NOW: Timestamp = Timestamp(60);

    fn message(number: u8, states: Vec<(RecipientState, Option<&str>)>) -> MessageRecord {
        let recipients = states.into_iter().map(|(state, reply)| Recipient {
            address: format!("r{number}@example.org").parse().expect("an address"),
            state,
            attempts: 0,
            last_reply: reply.map(str::to_owned),
        });
        MessageRecord {
            accepted_at: Timestamp(i64::from(number)),
            reverse_path: None,
            body: BodyKind::SevenBit,
            internationalized: false,
            size_bytes: 1,
            lane: Lane::Normal,
            lifetime_from: Timestamp(0),
            schedule: None,
            told: Vec::new(),
            delay_told: false,
            notify: BTreeMap::new(),
            about: crate::queue::about::About::unknown(),
            attempts: Vec::new(),
            notices: Vec::new(),
            setbacks: crate::queue::record::Setbacks::default(),
            end: None,
            resend_of: None,
            rule: None,
            fold: None,
            keeps_place: false,
            route: None,
            account: None,
            attempts_by: Vec::new(),
            recipients: recipients.collect(),
        }
    }

    /// Has the summary know a message with this number.
    fn add(summary: &mut QueueSummary, number: u8, record: &MessageRecord, at: Timestamp) {
        let digest = Digest::of(QueueId::from_bytes([number; 16]), record);
        summary.add(&digest, AccountKey::MAIN, at, &Limited::new());
    }

    fn at(since_boot_ms: u64) -> Moment {
        Moment { wall: Timestamp(0), boot: BootId(1), since_boot_ms }
    }

    #[test]
    fn a_walk_serves_so_long_that_watching_a_long_queue_costs_a_twentieth_of_the_time() {
        let walked = |took_ms| Walked {
            at: at(100_000),
            took_ms,
            orders: 0,
            was_empty: false,
            found: Arc::default(),
            forecasts: BTreeMap::new(),
        };
        for (took_ms, age, asked_ms, serves) in [
            (10, Age::New, 99_999, true),
            (10, Age::New, 100_000, false),
            (10, Age::Recent, 104_999, true),
            (10, Age::Recent, 105_000, false),
            (2_000, Age::Recent, 105_000, false),
            (10, Age::Cheap, 104_999, true),
            (10, Age::Cheap, 105_000, false),
            (2_000, Age::Cheap, 139_999, true),
            (2_000, Age::Cheap, 140_000, false),
        ] {
            let walked = walked(took_ms);
            assert_eq!(walked.is_of(age, at(asked_ms), false), serves, "{age:?} at {asked_ms}");
        }
        for (took_ms, asked_ms, serves) in [
            (10, 100_199, true),
            (10, 100_200, false),
            (2_000, 104_999, true),
            (2_000, 105_000, false),
        ] {
            let serves_after_an_order = walked(took_ms).is_of(Age::Recent, at(asked_ms), true);
            assert_eq!(serves_after_an_order, serves, "{took_ms} at {asked_ms}");
        }
        let rebooted = Moment { boot: BootId(2), ..at(99_999) };
        for age in [Age::New, Age::Cheap] {
            assert!(!walked(10).is_of(age, rebooted, false));
        }
    }

    #[tokio::test]
    async fn looks_again_share_a_walk_and_a_question_has_its_own() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let (store, outlook) =
            (Queue::in_memory(Arc::new(clock.clone()), 1 << 20), Outlook::default());
        let look = |age| {
            let (outlook, store, clock) = (&outlook, &store, &clock);
            async move { outlook.of(store, clock, age).await.expect("a queue").1 }
        };
        let first = look(Age::Cheap).await;
        clock.advance(Duration::from_millis(4_900));
        assert!(Arc::ptr_eq(&first, &look(Age::Cheap).await));
        let new = look(Age::New).await;
        assert!(!Arc::ptr_eq(&first, &new));
        assert!(!Arc::ptr_eq(&new, &look(Age::New).await), "also at the same moment");
    }

    #[tokio::test]
    async fn what_a_person_has_changed_is_looked_at_at_once_and_then_not_again() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let (store, outlook) =
            (Queue::in_memory(Arc::new(clock.clone()), 1 << 20), Outlook::default());
        let look = async || outlook.of(&store, &clock, Age::Rare).await.expect("a queue").1;
        let first = look().await;
        outlook.outdate();
        let second = look().await;
        assert!(!Arc::ptr_eq(&first, &second), "after an order");
        assert!(Arc::ptr_eq(&second, &look().await), "and then not again");
    }

    #[test]
    fn totals_the_oldest_that_waits_and_the_next_due_time_come_from_every_recipient() {
        let queued = |due| RecipientState::Queued { due: Timestamp(due), resend: false };
        let reserved =
            RecipientState::Reserved { reservation: 1, since: Timestamp(1), resend: false };
        let mut summary = QueueSummary::default();
        let dead = RecipientState::Dead { since: Timestamp(1), reason: "550".into() };
        let both = vec![(queued(70), None), (queued(50), Some("451 later"))];
        let claimed = vec![(reserved.clone(), None), (reserved, None)];
        for (number, states) in (0..).zip([vec![(dead, None)], both, claimed]) {
            add(&mut summary, number, &message(number, states), NOW);
        }
        assert_eq!((summary.recipients.queued, summary.recipients.reserved), (2, 2));
        assert_eq!(
            summary.next_due,
            BTreeMap::from([((AccountKey::MAIN, Lane::Normal), Timestamp(50).into())])
        );
        assert_eq!(summary.due_of(AccountKey::MAIN), 1, "the one that is due at 50");
        assert_eq!(
            summary.oldest.map(|oldest| oldest.accepted_at),
            Some(Timestamp(1)),
            "a dead letter does not wait"
        );
    }

    #[test]
    fn what_is_scheduled_waits_for_nobody_and_from_its_time_on_when_that_has_come() {
        let queued = RecipientState::Queued { due: Timestamp(50), resend: true };
        let mut scheduled = message(1, vec![(queued, None)]);
        let of = |record: &MessageRecord, at| {
            let mut summary = QueueSummary::default();
            add(&mut summary, 1, record, at);
            let totals = (
                summary.recipients.scheduled,
                summary.recipients.uncertain,
                summary.due_of(AccountKey::MAIN),
            );
            (totals, summary.oldest.and_then(|oldest| oldest.waits_since), summary.next_due)
        };
        let (totals, oldest, _) = of(&scheduled, NOW);
        assert_eq!((totals, oldest), ((0, 1, 1), Some(Timestamp(1))));
        scheduled.schedule = Some(Schedule::new(Timestamp(90)));
        let due = Due { at: Timestamp(90), is_scheduled: true };
        let next = BTreeMap::from([((AccountKey::MAIN, Lane::Normal), due)]);
        assert_eq!(of(&scheduled, NOW), ((1, 0, 0), None, next.clone()));
        assert_eq!(of(&scheduled, Timestamp(90)), ((0, 1, 1), Some(Timestamp(90)), next));
    }

    #[tokio::test]
    async fn a_look_at_a_long_queue_reads_the_records_of_the_newest_refusals_and_no_others() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let store = Queue::in_memory(Arc::new(clock.clone()), 1 << 30);
        for number in 0..300 {
            let id = accept(&store, clock.wall()).await;
            if number % 10 == 0 {
                let reason = format!("550 number {number}");
                store.hold(id, clock.wall(), reason).await.expect("it waits");
            }
        }
        // What was accepted last is written with it.
        store.list(None, 1).await.expect("a queue");
        let (outlook, before) = (Outlook::default(), store.records_read());
        let (_, summary) = outlook.of(&store, &clock, Age::New).await.expect("a queue");
        assert_eq!(store.records_read() - before, REFUSED_MAX as u64);
        assert_eq!((summary.recipients.queued, summary.recipients.held), (270, 30));
        assert_eq!(summary.due_of(AccountKey::MAIN), 270);
        let replies: Vec<&str> = summary.refused.iter().map(|error| error.reply.as_str()).collect();
        assert_eq!(replies, [290, 280, 270, 260, 250].map(|number| format!("550 number {number}")));
        let waiting = store.waiting_for(AccountKey::MAIN, clock.now()).await.expect("a queue");
        assert_eq!(waiting.concat().len(), 270);
        assert_eq!(store.records_read() - before, REFUSED_MAX as u64, "a forecast reads none");
    }
}
