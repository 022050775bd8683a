//! The life of one worker: claim, attempt, settle, until nothing is left that may leave now.
//!
//! Rule: a message is claimed only when it may leave at once: the account is open, pace and logins allow
//! it. The settlement of one message and the claim of the next go to the queue together, so they share a
//! commit. Must not know what a reply means, nor who starts workers.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tracing::{error, info, warn};

use super::{
    account::{Account, Entry, Permit, Trouble},
    answer::{Answer, Stage, StageCell},
    attempt::Plan,
    flight::Flight,
    gmail::Connection,
    report::report,
    settlement::{self, Judgement, judge},
    shared::{Shared, lock},
    status::DepartureReason,
};
use crate::{
    clock::{Moment, Timestamp},
    queue::{
        reader::MessageReader,
        store::{Claim, ClaimTerms, ClaimedMessage, Outcome, Settlement, StoreError},
    },
    shutdown::{Phase, Watch},
};

/// A connection with its history.
#[derive(Debug)]
pub(super) struct Warm {
    pub(super) connection: Box<Connection>,
    opened_ms: u64,
    messages: u32,
    /// Since when it has been unused.
    pub(super) idle_since_ms: u64,
}

/// A claim that has been judged but not yet settled.
type Unsettled = Option<Flight>;

/// The life of a worker. It ends when nothing may leave now, and gives its connection back.
pub(super) async fn work(shared: Arc<Shared>, warm: Option<Warm>, shutdown: Watch) -> Option<Warm> {
    let mut worker = Worker { shared, warm, shutdown };
    worker.run().await;
    if let Some(warm) = &mut worker.warm {
        warm.idle_since_ms = worker.shared.clock.now().since_boot_ms;
    }
    worker.warm
}

struct Worker {
    shared: Arc<Shared>,
    warm: Option<Warm>,
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
                if let Some(flight) = unsettled.take() {
                    settle(&shared, flight).await;
                }
            };
            let terms = ClaimTerms {
                limit: shared.options.recipients_per_day,
                urgent_reserve: shared.options.urgent_reserve,
                recipients_max: shared.options.limits.recipients_per_transaction,
            };
            let asked = shared.clock.now();
            let ((), claim) = tokio::join!(settle, shared.store.claim_due(asked, terms));
            match claim {
                Ok(Claim::Message(claim)) => unsettled = self.deliver(claim, permit).await,
                other => {
                    shared.give_back(permit);
                    // The claim did not see what the settlement beside it has just put back.
                    if !self.note_nothing(other, asked) && !settled_now {
                        return;
                    }
                }
            }
        }
    }

    async fn finish(&self, unsettled: Unsettled) {
        if let Some(flight) = unsettled {
            settle(&self.shared, flight).await;
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
        if lock(&shared.schedule).waits_for_the_store(now) {
            return None;
        }
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
            Ok(Claim::Exhausted { frees_in, urgent_room }) => {
                let until = frees_in.map(|wait| now.wall.after(wait).to_string());
                if schedule.exhausted(now, frees_in, urgent_room > 0) {
                    warn!(
                        urgent_room,
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
        let began = shared.clock.now();
        let mut flight = Flight::begin(&shared.flights, claim, began.wall);
        let (claim, stage) = (Arc::clone(&flight.claim), Arc::clone(&flight.stage));
        lock(&shared.schedule).departed();
        // There may be more where this came from.
        if !shared.full.load(Ordering::Relaxed) {
            shared.more.notify_one();
        }
        shared.pacer.spend(u32::try_from(claim.recipients.len()).unwrap_or(u32::MAX));
        shared.count(|counters| counters.attempts += 1);
        info!(id = %claim.id, recipients = claim.recipients.len(), size = claim.size_bytes, "claimed");
        let Some(mut judgement) = self.attempt(&claim, &stage).await else {
            flight.land();
            shared.give_back(permit);
            return None;
        };
        let ended = shared.clock.now();
        let outcomes = std::mem::take(&mut judgement.outcomes);
        let settlement = Arc::new(Settlement { at: ended.wall, outcomes });
        flight.decide(Arc::clone(&settlement));
        self.learn(&judgement, permit).await;
        let took_ms = ended.since_boot_ms.saturating_sub(began.since_boot_ms);
        report(&shared, &claim, &settlement.outcomes, judgement.complaint, took_ms);
        Some(flight)
    }

    /// Tries a claim, a second time on a new connection when nothing but the connection failed. `None`
    /// when the queue has already ended the claim.
    async fn attempt(&mut self, claim: &ClaimedMessage, stage: &StageCell) -> Option<Judgement> {
        let mut judgement = match self.attempt_once(claim, stage).await {
            Ok(judgement) => judgement,
            Err(problem) => return self.unreadable(claim, problem),
        };
        if judgement.try_again.is_some() && self.logins_wait().is_zero() {
            judgement = match self.attempt_once(claim, stage).await {
                Ok(judgement) => judgement,
                Err(problem) => return self.unreadable(claim, problem),
            };
            judgement.trouble = judgement.trouble.or_else(|| judgement.try_again.take());
        }
        Some(judgement)
    }

    async fn attempt_once(
        &mut self,
        claim: &ClaimedMessage,
        stage: &StageCell,
    ) -> Result<Judgement, StoreError> {
        let shared = Arc::clone(&self.shared);
        stage.enter(Stage::Connect);
        let reader = shared.store.open_message(claim.id).await?;
        let terms = shared.terms();
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
        let login = Connection::password(&shared.options).await?;
        if login.is_some() {
            shared.logins.take();
        }
        shared.count(|counters| counters.connections += 1);
        let connection = Connection::open(&shared.options, &shared.trust, login, stage).await?;
        let now = shared.clock.now().since_boot_ms;
        self.warm =
            Some(Warm { connection: Box::new(connection), opened_ms: now, messages: 0, idle_since_ms: now });
        Ok(())
    }

    async fn transact(
        &mut self,
        claim: &ClaimedMessage,
        mut reader: MessageReader,
        stage: &StageCell,
    ) -> Result<Vec<Answer>, StoreError> {
        // The caller has connected.
        let Some(warm) = &mut self.warm else { return Ok(Vec::new()) };
        let takes_internationalized = warm.connection.takes_internationalized();
        let plan = Plan::new(claim, &mut reader, &self.shared.options, takes_internationalized)?;
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
        // Later, so that one message that cannot be read does not stand before all others.
        let until = Some(self.shared.clock.wall().after(settlement::STEP_BACK));
        let again = Outcome::NotTried { until };
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
        // Others may now do what they may not do before.
        if changed || permit.is_probe() {
            shared.more.notify_one();
        }
    }
}

async fn settle(shared: &Shared, flight: Flight) {
    if let Some(settlement) = flight.settlement() {
        shared.settle(flight.claim.id, settlement).await;
    }
    flight.land();
}

fn learn(
    account: &mut Account,
    permit: Permit,
    trouble: Option<Trouble>,
    judgement: &Judgement,
    now: Timestamp,
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
