//! The life of one worker: claim, attempt, settle, until nothing is left that may leave now.
//!
//! Rule: a message is claimed only when it may leave at once: the account is open, pace and logins allow
//! it. The settlement of one message and the claim of the next go to the queue together, so they share a
//! commit. Must not know what a reply means, nor who starts workers.

use std::sync::{Arc, atomic::Ordering};

use tracing::{error, info, warn};

use super::{
    account::{Account, Entry, Permit, Trouble},
    carrier::{Carrier, Warm},
    flight::Flight,
    report::report,
    settlement::{self, Judgement},
    shared::{Shared, lock},
    status::DepartureReason,
};
use crate::{
    clock::{Moment, Timestamp},
    queue::store::{Claim, ClaimTerms, ClaimedMessage, Settlement, StoreError},
    shutdown::{Phase, Watch},
};

/// A claim that has been judged but not yet settled.
type Unsettled = Option<Flight>;

/// The life of a worker. It ends when nothing may leave now, and gives its connection back.
pub(super) async fn work(shared: Arc<Shared>, warm: Option<Warm>, shutdown: Watch) -> Option<Warm> {
    let carrier = Carrier::new(Arc::clone(&shared), warm);
    let mut worker = Worker { shared, carrier, shutdown };
    worker.run().await;
    worker.carrier.into_warm()
}

struct Worker {
    shared: Arc<Shared>,
    carrier: Carrier,
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
                notice_reserve: shared.options.notice_reserve,
                urgent_reserve: shared.options.urgent_reserve,
                recipients_max: match permit.is_single() {
                    true => 1,
                    false => shared.options.limits.recipients_per_transaction,
                },
            };
            let asked = shared.now();
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
        self.carrier.renew();
        let shared = &self.shared;
        let now = shared.now();
        if lock(&shared.schedule).waits_for_the_store(now) {
            return None;
        }
        let pace = shared.pacer.wait();
        if !pace.is_zero() {
            lock(&shared.schedule).block(DepartureReason::Pace, now, pace);
            return None;
        }
        let logins = self.carrier.logins_wait();
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

    /// Notes why nothing was claimed at `now`, to which the answer's waits refer. Returns whether to ask again at once.
    fn note_nothing(&self, claim: Result<Claim, StoreError>, now: Moment) -> bool {
        let mut schedule = lock(&self.shared.schedule);
        match claim {
            Ok(Claim::Message(_)) => return true,
            Ok(Claim::Idle { next }) => {
                schedule.store_works();
                schedule.due(next);
            }
            Ok(Claim::Exhausted { frees_in, reserved_room }) => {
                let until = frees_in.map(|wait| now.wall.after(wait).to_string());
                if schedule.exhausted(now, frees_in, reserved_room > 0) {
                    warn!(
                        reserved_room,
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
    async fn deliver(&mut self, mut claim: ClaimedMessage, permit: Permit) -> Unsettled {
        let shared = Arc::clone(&self.shared);
        lock(&shared.splits).apply(&mut claim);
        let began = shared.now();
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
        let Some(mut judgement) = self.carrier.attempt(&claim, permit, &stage).await else {
            flight.land();
            shared.give_back(permit);
            return None;
        };
        let ended = shared.now();
        let outcomes = std::mem::take(&mut judgement.outcomes);
        let settlement =
            Arc::new(Settlement { reservation: claim.reservation, at: ended.wall, outcomes });
        // From here on a kill sends nothing again; before it there is nothing that waits.
        if let Err(problem) = shared.store.answered(claim.id, &settlement) {
            warn!(id = %claim.id, error = %problem, "the answer could not be noted; a kill before it is settled may send the message again");
        }
        flight.decide(Arc::clone(&settlement));
        if let Some(splitting) = judgement.split {
            lock(&shared.splits).note(claim.id, splitting);
        }
        shared.note_unknown(claim.id, &judgement.unknown);
        let is_to_be_stored = self.learn(&judgement, permit);
        let took_ms = ended.since_boot_ms.saturating_sub(began.since_boot_ms);
        report(&shared, &claim, &settlement.outcomes, judgement.complaint, took_ms);
        if is_to_be_stored {
            // The settlement goes first: it must not wait for what is known of the account.
            tokio::join!(settle(&shared, flight), shared.persist());
            shared.more.notify_one();
            return None;
        }
        Some(flight)
    }

    /// What the attempt says about the account. Returns whether that is to be stored.
    fn learn(&self, judgement: &Judgement, permit: Permit) -> bool {
        let shared = &self.shared;
        let changed = {
            let now = shared.now().wall;
            let mut account = lock(&shared.account);
            let mut trouble = judgement.trouble.clone();
            if judgement.uncertain && account.lost_after_dot(permit) {
                let reason = judgement.complaint.clone().unwrap_or_default();
                trouble = trouble.or_else(|| Some(settlement::connection_trouble(reason)));
            }
            if judgement.spam && account.spam(now) {
                let reason = judgement.complaint.as_deref().unwrap_or_default();
                trouble = trouble.or_else(|| Some(settlement::spam_trouble(reason)));
            }
            learn(&mut account, permit, trouble, judgement, now)
        };
        if changed {
            shared.announce();
        }
        // Others may now do what they may not do before.
        if changed || permit.is_probe() {
            shared.more.notify_one();
        }
        changed || judgement.spam
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
