//! The memory twin: every verb of the queue without a disk.
//!
//! Rule: it keeps the contract of [`Store`] (tests/store_contract.rs) but for durability: what it holds
//! ends with the process. [`MemoryStore::restart`] plays the death of the process. For tests.
//! Must not know sled.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{
    draft::Draft,
    engine::{Claims, Engine, Fate, Unusable},
    id::{QueueId, QueueIds},
    in_transfer::InTransfer,
    only::Only,
    reader::{MessageReader, ReadError},
    receipt::Receipt,
    record::MessageRecord,
    state::AccountState,
    store::{
        self, Claim, ClaimTerms, LedgerView, QueuedMessage, Settlement, Store, StoreError, Told,
        Totals,
    },
    tables::{Changes, DeadKey, DueKey, EndKey, News, TableError, Tables, is_of_the_future},
    times::{Change, Times},
};
use crate::{
    budget::{
        Limit,
        ledger::{Event, Ledger},
    },
    clock::{Clock, Kind, Moment, SETTLED_AFTER, Timestamp},
    message::envelope::{Envelope, Lane},
};

/// A queue in memory.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    ids: QueueIds,
    max_bytes: u64,
    state: Mutex<State>,
    changed: Notify,
    in_transfer: Arc<InTransfer>,
}

#[derive(Debug, Default)]
struct State {
    tables: MemoryTables,
    engine: Engine,
    bodies: HashMap<QueueId, Vec<u8>>,
    /// With what was answered.
    final_dots: HashMap<QueueId, Option<Settlement>>,
    account: Option<AccountState>,
    closed: bool,
}

#[derive(Debug, Default)]
struct MemoryTables {
    messages: BTreeMap<QueueId, MessageRecord>,
    due: BTreeMap<DueKey, ()>,
    ledger: BTreeMap<u64, Event>,
    history: BTreeMap<QueueId, MessageRecord>,
    ended: BTreeMap<EndKey, ()>,
    dead: BTreeMap<DeadKey, ()>,
}

impl Tables for MemoryTables {
    fn message(&self, id: QueueId) -> Result<Option<MessageRecord>, TableError> {
        Ok(self.messages.get(&id).cloned())
    }

    fn first_due(
        &self,
        lane: Lane,
        passed_over: &dyn Fn(&DueKey) -> bool,
    ) -> Result<Option<DueKey>, TableError> {
        let start = DueKey { lane, due: Timestamp(i64::MIN), id: QueueId::from_bytes([0; 16]) };
        let keys = self.due.range(start..).map(|(key, ())| key).take_while(|key| key.lane == lane);
        Ok(keys.copied().find(|key| !passed_over(key)))
    }
}

impl MemoryTables {
    /// The clock was set.
    fn retime(&mut self, change: Change<'_>) {
        let records = self.messages.values_mut().chain(self.history.values_mut());
        records.for_each(|record| record.each_time(change));
        let due = std::mem::take(&mut self.due);
        self.due = due.into_keys().map(|key| (key.with_times(change), ())).collect();
        let ended = std::mem::take(&mut self.ended).into_keys();
        let moved = |end: EndKey| EndKey { at: change(Kind::Past, end.at), ..end };
        self.ended = ended.map(|end| (moved(end), ())).collect();
    }

    fn apply(&mut self, changes: Changes) {
        apply(&mut self.messages, changes.messages);
        apply(&mut self.ledger, changes.ledger);
        apply(&mut self.history, changes.history);
        apply(&mut self.due, changes.due.into_iter().map(|(key, add)| (key, add.then_some(()))));
        apply(
            &mut self.ended,
            changes.ended.into_iter().map(|(key, add)| (key, add.then_some(()))),
        );
        apply(&mut self.dead, changes.dead.into_iter().map(|(key, add)| (key, add.then_some(()))));
    }

    /// Messages with news of these kinds after `after`, in the order of acceptance.
    fn with_news(
        &self,
        is_wanted: fn(News) -> bool,
        after: Option<QueueId>,
        limit: usize,
    ) -> Vec<QueuedMessage> {
        let keys = self.dead.keys().filter(|key| is_wanted(key.news) && Some(key.id) > after);
        let mut keys: Vec<&DeadKey> = keys.collect();
        keys.sort_unstable_by_key(|key| key.id);
        self.with_keys(keys.into_iter(), limit)
    }

    /// Messages with these keys.
    fn with_keys<'a>(
        &self,
        keys: impl Iterator<Item = &'a DeadKey>,
        limit: usize,
    ) -> Vec<QueuedMessage> {
        let record = |key: &DeadKey| {
            Some(QueuedMessage { id: key.id, record: self.messages.get(&key.id)?.clone() })
        };
        page_of(keys.filter_map(record), limit)
    }
}

fn page_of(messages: impl Iterator<Item = QueuedMessage>, limit: usize) -> Vec<QueuedMessage> {
    let Ok(page) = store::page(messages.map(Ok::<_, std::convert::Infallible>), limit);
    page
}

fn apply<K: Ord, V>(table: &mut BTreeMap<K, V>, changes: impl IntoIterator<Item = (K, Option<V>)>) {
    for (key, value) in changes {
        match value {
            Some(value) => table.insert(key, value),
            None => table.remove(&key),
        };
    }
}

impl MemoryStore {
    /// An empty queue that takes messages of at most `max_bytes` in all.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, max_bytes: u64) -> Self {
        let ids = QueueIds::new(Timestamp(0));
        Self {
            clock,
            ids,
            max_bytes,
            state: Mutex::default(),
            changed: Notify::new(),
            in_transfer: Arc::default(),
        }
    }

    /// The same queue after the process died: nothing is claimed any more, and claims whose final dot
    /// may be out are uncertain.
    pub fn restart(&self) {
        let now = self.clock.now();
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut ledger = Ledger::default();
        state.tables.ledger.iter().for_each(|(sequence, event)| ledger.insert(*sequence, *event));
        let timeline = state.engine.timeline().cloned();
        state.engine = Engine::new(ledger, Claims::default(), timeline);
        let mut changes = Changes::default();
        for (id, record) in &state.tables.messages {
            if record.is_reserved() {
                let fate = match state.final_dots.remove(id) {
                    Some(Some(settlement)) => Fate::Answered(settlement.not_after(now.wall)),
                    Some(None) => Fate::MaybeSent { resend_at: Some(now.wall) },
                    None => Fate::NotSent,
                };
                state.engine.recover(&mut changes, *id, record, &fate, now);
            }
        }
        state.tables.apply(changes);
        state.final_dots.clear();
        state.closed = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let now = self.clock.now();
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { tables, engine, account, .. } = &mut *guard;
        let before = engine.timeline().cloned();
        if let (Some((_, timeline)), Some(before)) = (engine.look(now), before) {
            let change = |kind, at| timeline.wall(kind, before.stored(kind, at));
            tables.retime(&change);
            account.iter_mut().for_each(|account| account.each_time(&change));
            self.changed.notify_one();
        }
        guard
    }

    /// Runs one verb and applies its changes at once.
    fn change<T>(
        &self,
        verb: impl FnOnce(&mut Engine, &MemoryTables, &mut Changes) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return Err(StoreError::Unavailable("the queue is closed".into()));
        }
        let mut changes = Changes::default();
        let answer = verb(&mut state.engine, &state.tables, &mut changes)?;
        let news = changes.adds_work();
        state.account = changes.account.take().or_else(|| state.account.take());
        for (id, _) in &changes.removed {
            state.bodies.remove(id);
        }
        state.tables.apply(changes);
        if news {
            self.changed.notify_one();
        }
        Ok(answer)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn admission(&self, size_bytes: u64) -> Result<(), StoreError> {
        if self.totals().bytes + size_bytes > self.max_bytes {
            return Err(StoreError::Full(format!("the queue may hold {} bytes", self.max_bytes)));
        }
        Ok(())
    }

    fn begin(&self, envelope: Envelope) -> Result<Draft, StoreError> {
        Draft::new(self.ids.next(envelope.accepted_at), envelope, "memory.test".into(), None)
    }

    async fn begin_as(&self, id: QueueId, envelope: Envelope) -> Result<Draft, StoreError> {
        let taken = self.in_transfer.take(id)?;
        if self.show(id).await?.is_some() {
            return Err(StoreError::AlreadyKnown(id));
        }
        Ok(Draft::new(id, envelope, "memory.test".into(), None)?.holding(taken))
    }

    async fn enqueue(&self, draft: Draft) -> Result<Receipt, StoreError> {
        self.admission(draft.size_bytes())?;
        let finished = draft.finish()?;
        let id = finished.id;
        self.lock().bodies.insert(id, finished.buffer);
        let now = finished.is_new.then(|| self.clock.wall());
        self.change(|_, tables, changes| {
            Engine::enqueue(tables, changes, id, finished.record, now)
        })?;
        Ok(Receipt::new(id))
    }

    async fn claim_due(&self, now: Moment, terms: ClaimTerms) -> Result<Claim, StoreError> {
        self.change(|engine, tables, changes| engine.claim(tables, changes, now, terms))
    }

    fn final_dot(&self, id: QueueId) -> Result<(), StoreError> {
        self.lock().final_dots.insert(id, None);
        Ok(())
    }

    fn answered(&self, id: QueueId, settlement: &Settlement) -> Result<(), StoreError> {
        if let Some(known) = self.lock().final_dots.get_mut(&id) {
            *known = Some(settlement.clone());
        }
        Ok(())
    }

    async fn settle(&self, id: QueueId, settlement: Settlement) -> Result<(), StoreError> {
        self.lock().final_dots.remove(&id);
        let now = self.clock.now();
        self.change(|engine, tables, changes| engine.settle(tables, changes, id, &settlement, now))
    }

    async fn settle_and_claim(
        &self,
        id: QueueId,
        settlement: Settlement,
        now: Moment,
        terms: ClaimTerms,
    ) -> (Result<(), StoreError>, Result<Claim, StoreError>) {
        self.lock().final_dots.remove(&id);
        let settled_at = self.clock.now();
        let both = self.change(|engine, tables, changes| {
            let settled = engine.settle(tables, changes, id, &settlement, settled_at);
            Ok((settled, engine.claim(tables, changes, now, terms)))
        });
        both.unwrap_or_else(|error| (Err(error.clone()), Err(error)))
    }

    async fn open_message(&self, id: QueueId) -> Result<MessageReader, StoreError> {
        let bytes = self.lock().bodies.get(&id).cloned().ok_or(StoreError::NotFound(id))?;
        MessageReader::of_bytes(bytes).or_else(|error| {
            let (now, reason) = (self.clock.wall(), error.to_string());
            self.change(|engine, tables, changes| {
                engine.set_aside(tables, changes, id, now, Unusable::Damaged, &reason)
            })?;
            Err(StoreError::Corrupt { id, reason })
        })
    }

    async fn read_message(&self, id: QueueId) -> Result<MessageReader, StoreError> {
        let bytes = self.lock().bodies.get(&id).cloned().ok_or(StoreError::NotFound(id))?;
        let corrupt = |error: ReadError| StoreError::Corrupt { id, reason: error.to_string() };
        MessageReader::of_bytes(bytes).map_err(corrupt)
    }

    async fn retry_only(
        &self,
        id: QueueId,
        now: Timestamp,
        only: &Only,
    ) -> Result<u32, StoreError> {
        self.change(|engine, tables, changes| engine.retry(tables, changes, id, now, only))
    }

    async fn hold(&self, id: QueueId, now: Timestamp, reason: String) -> Result<u32, StoreError> {
        self.change(|engine, tables, changes| engine.hold(tables, changes, id, now, &reason))
    }

    async fn delete_only(&self, id: QueueId, only: &Only) -> Result<(), StoreError> {
        let now = self.clock.wall();
        self.change(|engine, tables, changes| engine.delete_only(tables, changes, id, now, only))
    }

    async fn newest(&self) -> Result<Option<QueueId>, StoreError> {
        Ok(self.lock().tables.messages.keys().next_back().copied())
    }

    async fn expire(&self, id: QueueId, keep_after: Timestamp) -> Result<(), StoreError> {
        let now = self.clock.wall();
        self.change(|engine, tables, changes| engine.expire(tables, changes, id, keep_after, now))
    }

    fn doubt(&self) -> Duration {
        self.lock().engine.doubt(self.clock.now(), SETTLED_AFTER)
    }

    async fn list(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let guard = self.lock();
        let messages = guard.tables.messages.range((from, Bound::Unbounded));
        let messages =
            messages.map(|(id, record)| QueuedMessage { id: *id, record: record.clone() });
        Ok(page_of(messages, limit))
    }

    async fn dead(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        Ok(self.lock().tables.with_news(News::is_dead, after, limit))
    }

    async fn given_up(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        Ok(self.lock().tables.with_news(|_| true, after, limit))
    }

    async fn untold(&self, limit: usize) -> Result<Vec<QueuedMessage>, StoreError> {
        let guard = self.lock();
        let keys = guard.tables.dead.keys().filter(|key| key.news.is_untold());
        Ok(guard.tables.with_keys(keys, limit))
    }

    async fn told(&self, id: QueueId, told: Told) -> Result<(), StoreError> {
        let now = self.clock.wall();
        self.change(|_, tables, changes| Engine::told(tables, changes, id, told, now))
    }

    async fn show(&self, id: QueueId) -> Result<Option<QueuedMessage>, StoreError> {
        let guard = self.lock();
        let record = guard.tables.messages.get(&id).or_else(|| guard.tables.history.get(&id));
        Ok(record.map(|record| QueuedMessage { id, record: record.clone() }))
    }

    async fn history(
        &self,
        before: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        let to = before.map_or(Bound::Unbounded, Bound::Excluded);
        let guard = self.lock();
        let messages = guard.tables.history.range((Bound::Unbounded, to)).rev();
        let messages =
            messages.map(|(id, record)| QueuedMessage { id: *id, record: record.clone() });
        Ok(messages.take(limit.min(store::LIST_LENGTH_MAX)).collect())
    }

    async fn prune_history(&self, keep_after: Timestamp) -> Result<u32, StoreError> {
        let now = self.clock.wall();
        let keep_after = keep_after.before(self.doubt());
        self.change(|_, tables, changes| {
            let ends = tables.ended.keys().copied();
            ends.clone()
                .filter(|end| is_of_the_future(end.at, now))
                .for_each(|end| changes.move_end(end, now));
            ends.filter(|end| end.at < keep_after).for_each(|end| changes.forget_end(end));
            Ok(u32::try_from(changes.history.len()).unwrap_or(u32::MAX))
        })
    }

    async fn ledger(&self, now: Moment, limit: Limit) -> Result<LedgerView, StoreError> {
        Ok(self.lock().engine.view(now, limit))
    }

    async fn account_state(&self) -> Result<Option<AccountState>, StoreError> {
        Ok(self.lock().account.clone())
    }

    async fn set_account_state(&self, account: AccountState) -> Result<(), StoreError> {
        self.change(|_, _, changes| {
            changes.account = Some(account);
            Ok(())
        })
    }

    fn totals(&self) -> Totals {
        let guard = self.lock();
        let records = guard.tables.messages.values();
        let bytes = records.map(|record| record.size_bytes).sum();
        Totals { messages: guard.tables.messages.len() as u64, bytes, set_aside: 0 }
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn close(&self) {
        self.lock().closed = true;
    }
}
