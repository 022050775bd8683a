//! What the workers share, and the life of one worker: claim, attempt, settle, until nothing is left.
//!
//! Rule: a message is claimed only when it may leave at once: the account is open, pace and logins allow
//! it. The settlement of one message and the claim of the next go to the queue together, so they share a
//! commit. No lock is held while waiting. Must not know what a reply means, nor who starts workers.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::{
    account::{Account, Entry, Permit, Trouble},
    answer::{Answer, Stage, StageCell},
    attempt::Plan,
    gmail::Connection,
    options::Options,
    pace::{Logins, Pacer},
    schedule::Schedule,
    settlement::{self, Judgement, Terms, judge},
    status::{Counters, DepartureReason, ERRORS_MAX, InFlight, LastError, PoolStatus},
    tls::Trust,
};
use crate::{
    clock::{Clock, Moment},
    queue::{
        id::QueueId,
        reader::MessageReader,
        state::AccountState,
        store::{Claim, ClaimTerms, ClaimedMessage, Outcome, Settlement, Store, StoreError},
    },
    shutdown::{Phase, Watch},
};

/// How often a settlement is offered to a store that does not take it, with waits from 0.1 s to 10 s.
const SETTLE_TRIES_MAX: u32 = 180;
/// How often the account's state is offered to the store.
const PERSIST_TRIES_MAX: u32 = 5;

/// What the pool, its workers and its handles share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) account: Mutex<Account>,
    pub(super) schedule: Mutex<Schedule>,
    /// Tells the pool that there may be work for one more worker, or that a wait has changed.
    pub(super) more: Notify,
    trust: Trust,
    pacer: Pacer,
    logins: Logins,
    /// One writer of the account's state at a time, so that the last one stored is the last one.
    persisting: tokio::sync::Mutex<()>,
    in_flight: Mutex<BTreeMap<u64, (InFlight, Arc<StageCell>)>>,
    attempts: AtomicU64,
    errors: Mutex<VecDeque<LastError>>,
    counters: Mutex<Counters>,
}

/// A connection with its history.
#[derive(Debug)]
pub(super) struct Warm {
    pub(super) connection: Connection,
    opened_ms: u64,
    messages: u32,
    /// Since when it has been unused.
    pub(super) idle_since_ms: u64,
}

/// A claim that has been judged but not yet settled.
type Unsettled = Option<(QueueId, Settlement)>;

impl Shared {
    pub(super) fn new(options: Options, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            trust: Trust::new(options.ca_file.clone()),
            pacer: Pacer::new(options.pace_per_minute, Arc::clone(&clock)),
            logins: Logins::new(options.logins_per_hour, Arc::clone(&clock)),
            account: Mutex::new(Account::new(None, clock.wall())),
            schedule: Mutex::default(),
            more: Notify::new(),
            persisting: tokio::sync::Mutex::new(()),
            in_flight: Mutex::default(),
            attempts: AtomicU64::new(0),
            errors: Mutex::default(),
            counters: Mutex::default(),
            options,
            store,
            clock,
        }
    }

    pub(super) fn status(&self) -> PoolStatus {
        let account = lock(&self.account).state().clone();
        let now = self.clock.now();
        let waiting = self.store.totals().messages > 0;
        let next = lock(&self.schedule).departure(now, account.until).filter(|_| waiting);
        let in_flight = lock(&self.in_flight);
        PoolStatus {
            next,
            in_flight: in_flight
                .values()
                .map(|(one, cell)| InFlight { stage: cell.stage(), ..*one })
                .collect(),
            errors: lock(&self.errors).iter().cloned().collect(),
            counters: *lock(&self.counters),
            account,
        }
    }

    pub(super) async fn resume(&self) -> AccountState {
        lock(&self.account).resume(self.clock.wall());
        lock(&self.schedule).clear();
        info!(account = "open", reason = "resumed by a person", "account");
        self.persist().await;
        self.more.notify_one();
        lock(&self.account).state().clone()
    }

    /// Stores the account's state as it is now.
    pub(super) async fn persist(&self) {
        let _one_writer = self.persisting.lock().await;
        for tries in 1..=PERSIST_TRIES_MAX {
            let state = lock(&self.account).state().clone();
            match self.store.set_account_state(state).await {
                Ok(()) => return,
                Err(problem) if tries == PERSIST_TRIES_MAX => {
                    error!(error = %problem, "the account's state could not be stored; it holds until the next restart");
                }
                Err(_) => self.clock.sleep(settle_wait(tries)).await,
            }
        }
    }

    async fn learn(&self, changed: bool) {
        if !changed {
            return;
        }
        let state = lock(&self.account).state().clone();
        let until = state.until.map(|until| until.to_string());
        warn!(
            account = state.condition.name(),
            until = until.as_deref().unwrap_or_default(),
            reason = state.reason.as_str(),
            remedy = state.remedy.as_str(),
            "account"
        );
        self.persist().await;
    }

    async fn settle(&self, id: QueueId, settlement: Settlement) {
        for tries in 1..=SETTLE_TRIES_MAX {
            match self.store.settle(id, settlement.clone()).await {
                Ok(()) => return,
                Err(StoreError::Unavailable(reason)) if tries < SETTLE_TRIES_MAX => {
                    if tries == 1 {
                        error!(%id, error = reason, "the queue does not take a settlement; it is offered again");
                    }
                    self.clock.sleep(settle_wait(tries)).await;
                }
                Err(problem) => {
                    error!(%id, error = %problem, "a settlement was lost; the message is looked at again at the next start");
                    return;
                }
            }
        }
    }

    fn count(&self, edit: impl FnOnce(&mut Counters)) {
        edit(&mut lock(&self.counters));
    }

    fn note_error(&self, id: QueueId, text: String) {
        let mut errors = lock(&self.errors);
        if errors.len() >= ERRORS_MAX {
            errors.pop_front();
        }
        errors.push_back(LastError { at: self.clock.wall(), id, text });
    }
}

/// The life of a worker. It ends when nothing may leave now, and gives its connection back.
pub(super) async fn work(shared: Arc<Shared>, warm: Option<Box<Warm>>, shutdown: Watch) -> Option<Box<Warm>> {
    let mut worker = Worker { shared, warm, shutdown };
    worker.run().await;
    if let Some(warm) = &mut worker.warm {
        warm.idle_since_ms = worker.shared.clock.now().since_boot_ms;
    }
    worker.warm
}

struct Worker {
    shared: Arc<Shared>,
    warm: Option<Box<Warm>>,
    shutdown: Watch,
}

impl Worker {
    async fn run(&mut self) {
        let mut unsettled: Unsettled = None;
        loop {
            let Some(permit) = self.admission().await else { return self.finish(unsettled).await };
            let shared = Arc::clone(&self.shared);
            let settled_now = unsettled.is_some();
            let settle = async {
                if let Some((id, settlement)) = unsettled.take() {
                    shared.settle(id, settlement).await;
                }
            };
            let terms = ClaimTerms {
                limit: shared.options.recipients_per_day,
                recipients_max: shared.options.limits.recipients_per_transaction,
            };
            let asked = shared.clock.now();
            let ((), claim) = tokio::join!(settle, shared.store.claim_due(asked, terms));
            match claim {
                Ok(Claim::Message(claim)) => unsettled = self.deliver(claim, permit).await,
                other => {
                    lock(&shared.account).release(permit);
                    // The claim did not see what the settlement beside it has just put back.
                    if !self.note_nothing(other, asked) && !settled_now {
                        return;
                    }
                }
            }
        }
    }

    async fn finish(&self, unsettled: Unsettled) {
        if let Some((id, settlement)) = unsettled {
            self.shared.settle(id, settlement).await;
            // Whatever went back to the queue is found by the next worker.
            self.shared.more.notify_one();
        }
    }

    /// Whether a message may leave now; if not, the schedule learns what it waits for.
    async fn admission(&mut self) -> Option<Permit> {
        if self.shutdown.phase() >= Phase::Draining {
            return None;
        }
        self.renew().await;
        let shared = &self.shared;
        let now = shared.clock.now();
        let pace = shared.pacer.wait();
        if !pace.is_zero() {
            lock(&shared.schedule).block(DepartureReason::Pace, now, pace);
            return None;
        }
        let logins = if self.warm.is_none() { self.logins_wait() } else { Duration::ZERO };
        if !logins.is_zero() {
            lock(&shared.schedule).block(DepartureReason::Logins, now, logins);
            return None;
        }
        match lock(&shared.account).enter(now.wall) {
            Entry::Go(permit) => Some(permit),
            // The pool knows the end of a pause from the account, and hears of the end of a probe.
            Entry::ProbeIsOut | Entry::Paused(_) => None,
        }
    }

    fn logins_wait(&self) -> Duration {
        match self.shared.options.login {
            Some(_) => self.shared.logins.wait(),
            None => Duration::ZERO,
        }
    }

    /// Replaces a connection that is old or has carried many messages, unless that would exceed the cap
    /// on logins, which is the firmer rule.
    async fn renew(&mut self) {
        let limits = &self.shared.options.limits;
        let now = self.shared.clock.now().since_boot_ms;
        let worn = self.warm.as_ref().is_some_and(|warm| {
            let age = Duration::from_millis(now.saturating_sub(warm.opened_ms));
            warm.messages >= limits.messages_per_connection || age >= limits.connection_age
        });
        if worn && self.logins_wait().is_zero() {
            self.hang_up().await;
        }
    }

    async fn hang_up(&mut self) {
        if let Some(warm) = self.warm.take() {
            warm.connection.quit().await;
        }
    }

    /// Notes why nothing was claimed at `now`, to which the answer's waits refer. Returns whether to ask again at once.
    fn note_nothing(&self, claim: Result<Claim, StoreError>, now: Moment) -> bool {
        let mut schedule = lock(&self.shared.schedule);
        match claim {
            Ok(Claim::Message(_)) => return true,
            Ok(Claim::Idle { next }) => {
                schedule.store_works();
                schedule.due(next);
            }
            Ok(Claim::Exhausted { frees_in }) => {
                let until = frees_in.map(|wait| now.wall.after(wait).to_string());
                if schedule.exhausted(now, frees_in) {
                    warn!(
                        until = until.as_deref().unwrap_or("never: the budget is zero"),
                        reason = "the daily budget is spent",
                        "parked"
                    );
                }
            }
            Err(StoreError::Corrupt { id, reason }) => {
                error!(%id, reason, "a damaged message was set aside");
                return true;
            }
            Err(problem) => {
                if schedule.store_failed(now) {
                    error!(error = %problem, "the queue has failed; deliveries wait for it");
                }
            }
        }
        false
    }

    /// Carries one claimed message, and learns from it.
    async fn deliver(&mut self, claim: ClaimedMessage, permit: Permit) -> Unsettled {
        let shared = Arc::clone(&self.shared);
        let began_ms = shared.clock.now().since_boot_ms;
        lock(&shared.schedule).departed();
        // There may be more where this came from.
        shared.more.notify_one();
        shared.pacer.spend(u32::try_from(claim.recipients.len()).unwrap_or(u32::MAX));
        shared.count(|counters| counters.attempts += 1);
        info!(id = %claim.id, recipients = claim.recipients.len(), size = claim.size_bytes, "claimed");
        let flight = Flight::begin(&shared, &claim);
        let judgement = self.attempt(&claim, &flight.stage).await;
        drop(flight);
        let Some(judgement) = judgement else {
            lock(&shared.account).release(permit);
            return None;
        };
        self.learn(&judgement, permit).await;
        report(&shared, &claim, &judgement, shared.clock.now().since_boot_ms.saturating_sub(began_ms));
        Some((claim.id, Settlement { at: shared.clock.wall(), outcomes: judgement.outcomes }))
    }

    /// Tries a claim, a second time on a new connection when nothing but the connection failed. `None`
    /// when the queue has already ended the claim.
    async fn attempt(&mut self, claim: &ClaimedMessage, stage: &StageCell) -> Option<Judgement> {
        let mut judgement = match self.attempt_once(claim, stage).await {
            Ok(judgement) => judgement,
            Err(problem) => return self.unreadable(claim, problem),
        };
        if judgement.try_again && self.logins_wait().is_zero() {
            judgement = match self.attempt_once(claim, stage).await {
                Ok(judgement) => judgement,
                Err(problem) => return self.unreadable(claim, problem),
            };
            if judgement.try_again {
                let reason = judgement.complaint.clone().unwrap_or_default();
                judgement.trouble = Some(settlement::connection_trouble(reason));
            }
        }
        Some(judgement)
    }

    async fn attempt_once(
        &mut self,
        claim: &ClaimedMessage,
        stage: &StageCell,
    ) -> Result<Judgement, StoreError> {
        let shared = Arc::clone(&self.shared);
        let reader = shared.store.open_message(claim.id).await?;
        let terms = Terms {
            now: shared.clock.wall(),
            lifetime: shared.options.lifetime,
            uncertain: shared.options.uncertain,
            resend_after: shared.options.limits.resend_after,
            random: fastrand::f64(),
        };
        if let Err(answer) = self.connect(stage).await {
            return Ok(judge(claim, &vec![answer; claim.recipients.len()], &terms));
        }
        let answers = self.transact(claim, reader, stage).await?;
        let judgement = judge(claim, &answers, &terms);
        if judgement.disconnected {
            self.hang_up().await;
        }
        Ok(judgement)
    }

    async fn connect(&mut self, stage: &StageCell) -> Result<(), Answer> {
        if self.warm.is_some() {
            return Ok(());
        }
        let shared = &self.shared;
        if shared.options.login.is_some() {
            shared.logins.take();
        }
        shared.count(|counters| counters.connections += 1);
        let connection = Connection::open(&shared.options, &shared.trust, stage).await?;
        let now = shared.clock.now().since_boot_ms;
        self.warm = Some(Box::new(Warm { connection, opened_ms: now, messages: 0, idle_since_ms: now }));
        Ok(())
    }

    async fn transact(
        &mut self,
        claim: &ClaimedMessage,
        reader: MessageReader,
        stage: &StageCell,
    ) -> Result<Vec<Answer>, StoreError> {
        // The caller has connected.
        let Some(warm) = &mut self.warm else { return Ok(Vec::new()) };
        let plan = Plan::new(claim, &self.shared.options, warm.connection.takes_internationalized());
        if plan.envelope.recipients.is_empty() {
            return Ok(plan.answers(&[]));
        }
        warm.messages += 1;
        let store = &self.shared.store;
        let before_final_dot = || store.final_dot(claim.id);
        let transacted = warm.connection.transact(&plan.envelope, reader, before_final_dot, stage).await;
        if transacted.broken {
            self.warm = None;
        }
        match transacted.store_error {
            Some(problem) => Err(problem),
            None => Ok(plan.answers(&transacted.answers)),
        }
    }

    /// The queue could not give the message's bytes, or could not note the final dot: nothing was sent.
    fn unreadable(&self, claim: &ClaimedMessage, problem: StoreError) -> Option<Judgement> {
        error!(id = %claim.id, error = %problem, "the message could not be read from the queue");
        self.shared.note_error(claim.id, problem.to_string());
        if let StoreError::Corrupt { .. } | StoreError::NotFound(_) = problem {
            return None;
        }
        lock(&self.shared.schedule).store_failed(self.shared.clock.now());
        let again = Outcome::NotTried { until: None };
        let outcomes = claim.recipients.iter().map(|recipient| (recipient.index, again.clone()));
        Some(Judgement::nothing_happened(outcomes.collect()))
    }

    /// What the attempt says about the account.
    async fn learn(&mut self, judgement: &Judgement, permit: Permit) {
        let shared = Arc::clone(&self.shared);
        let changed = {
            let now = shared.clock.wall();
            let mut account = lock(&shared.account);
            let mut trouble = judgement.trouble.clone();
            if judgement.uncertain && account.lost_after_dot(permit) {
                let reason = judgement.complaint.clone().unwrap_or_default();
                trouble = trouble.or_else(|| Some(settlement::connection_trouble(reason)));
            }
            learn(&mut account, permit, trouble, judgement, now)
        };
        shared.learn(changed).await;
        shared.more.notify_one();
    }
}

fn learn(
    account: &mut Account,
    permit: Permit,
    trouble: Option<Trouble>,
    judgement: &Judgement,
    now: crate::clock::Timestamp,
) -> bool {
    match trouble {
        Some(trouble) => account.trouble(permit, trouble, now),
        None if judgement.accepted => account.accepted(permit, now),
        None if judgement.answered => account.answered(permit, now),
        None => {
            account.release(permit);
            false
        }
    }
}

/// A message in the list of those in flight, for as long as this lives.
struct Flight<'a> {
    shared: &'a Shared,
    number: u64,
    stage: Arc<StageCell>,
}

impl<'a> Flight<'a> {
    fn begin(shared: &'a Shared, claim: &ClaimedMessage) -> Self {
        let number = shared.attempts.fetch_add(1, Ordering::Relaxed);
        let stage = Arc::new(StageCell::new());
        let entry = InFlight {
            id: claim.id,
            since: shared.clock.wall(),
            recipients: claim.recipients.len(),
            stage: Stage::Connect,
        };
        lock(&shared.in_flight).insert(number, (entry, Arc::clone(&stage)));
        Self { shared, number, stage }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        lock(&self.shared.in_flight).remove(&self.number);
    }
}

/// One line for each recipient.
fn report(shared: &Shared, claim: &ClaimedMessage, judgement: &Judgement, took_ms: u64) {
    if let Some(complaint) = &judgement.complaint {
        shared.note_error(claim.id, complaint.clone());
    }
    for (recipient, (_, outcome)) in claim.recipients.iter().zip(&judgement.outcomes) {
        let (id, to, attempt) = (claim.id, &recipient.address, recipient.attempts + 1);
        match outcome {
            Outcome::Relayed { reply } => {
                shared.count(|counters| counters.relayed += 1);
                info!(%id, %to, reply, attempt, took_ms, "relayed");
            }
            Outcome::Deferred { until, reply } => {
                shared.count(|counters| counters.deferred += 1);
                warn!(%id, %to, reply, attempt, %until, "deferred");
            }
            Outcome::Dead { reply } => {
                shared.count(|counters| counters.dead += 1);
                warn!(%id, %to, reply, attempt, "dead");
            }
            Outcome::Uncertain { resend_at: Some(until), reason } => {
                shared.count(|counters| counters.uncertain += 1);
                warn!(%id, %to, reason, attempt, %until, "uncertain");
            }
            Outcome::Uncertain { resend_at: None, reason } => {
                shared.count(|counters| counters.uncertain += 1);
                warn!(%id, %to, reason, attempt, "held");
            }
            Outcome::NotTried { .. } => {
                let reason = judgement.complaint.as_deref().unwrap_or_default();
                info!(%id, %to, reason, "queued");
            }
        }
    }
}

fn settle_wait(tries: u32) -> Duration {
    Duration::from_millis(100 << tries.min(7)).min(Duration::from_secs(10))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
