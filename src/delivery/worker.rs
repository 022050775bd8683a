//! The life of one worker: claim, attempt, settle, until nothing is left that may leave now.
//!
//! Rule: a message is claimed only when it may leave at once: the account is open, pace and logins allow
//! it. The settlement of one message and the claim of the next are one verb of the queue, and so one commit.
//! Must not know what a reply means, nor who starts workers.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tracing::{debug, error, info, warn};

use super::{
    account::{Account, Entry, Permit, Stops},
    account_failure::{self, AccountFailure},
    blame::{Suspects, Turn},
    in_flight::InFlight,
    outcome::{self, AccountEffect, AttemptLog, AttemptResult, ConnectionFate},
    shared::Shared,
    status::DepartureReason,
    upstream::{Upstream, Warm},
};
use crate::{
    clock::{Moment, Timestamp},
    queue::{
        Claim, ClaimLimits, ClaimedMessage, ClaimedRecipient, Outcome, QueueError, Settlement,
        id::QueueId,
    },
    shutdown::{Phase, Watch},
    sync::lock,
};

/// How long a message waits that has cost connections before, while the hour's logins are scarce.
const LOGIN_WAIT: Duration = Duration::from_secs(15 * 60);

/// How long one waits while another one of its kind is on its way.
const ONE_AT_A_TIME: Duration = Duration::from_secs(60);

/// A claim that has been judged but not yet settled.
type Unsettled = Option<InFlight>;

/// The life of a worker. It ends when nothing may leave now, and gives its connection back.
pub(super) async fn work(shared: Arc<Shared>, warm: Option<Warm>, shutdown: Watch) -> Option<Warm> {
    let upstream = Upstream::new(Arc::clone(&shared), warm);
    let mut worker = Worker { shared, upstream, shutdown };
    worker.run().await;
    worker.upstream.into_warm()
}

struct Worker {
    shared: Arc<Shared>,
    upstream: Upstream,
    shutdown: Watch,
}

impl Worker {
    async fn run(&mut self) {
        let mut unsettled: Unsettled = None;
        loop {
            let Some(permit) = self.admission().await else { return self.finish(unsettled).await };
            let shared = Arc::clone(&self.shared);
            // What the last message has given back counts for what the others are asked.
            if shared.share().is_some()
                && let Some(message) = unsettled.take()
            {
                settle(&shared, message).await;
            }
            // What waits for a connection need not be claimed before there is one.
            if shared.wants_a_seat.load(Ordering::Relaxed) && !self.upstream.has_a_seat().await {
                shared.give_back(permit);
                return self.finish(unsettled).await;
            }
            let (terms, asked) = (shared.claim_limits_of(permit), shared.now());
            let Some(terms) = shared.among_the_fleet(terms, permit, asked).await else {
                shared.give_back(permit);
                return;
            };
            let claim = match unsettled.take() {
                Some(message) => settle_and_claim(&shared, message, asked, terms).await,
                None => shared.store.claim_due(asked, terms).await,
            };
            match claim {
                Ok(Claim::Message(claim)) => unsettled = self.deliver(claim, permit).await,
                other => {
                    shared.give_back(permit);
                    if !self.note_nothing(other, asked) {
                        return;
                    }
                }
            }
        }
    }

    async fn finish(&self, unsettled: Unsettled) {
        if let Some(message) = unsettled {
            settle(&self.shared, message).await;
            // Whatever went back to the queue is found by the next worker.
            self.shared.more.notify_one();
        }
    }

    /// Whether a message may leave now; if not, the schedule learns what it waits for.
    async fn admission(&mut self) -> Option<Permit> {
        if self.shutdown.phase() >= Phase::Draining {
            return None;
        }
        self.upstream.renew();
        let shared = &self.shared;
        let now = shared.now();
        if shared.schedule().waits_for_the_store(now) {
            return None;
        }
        let pace = shared.pacer.wait();
        if !pace.is_zero() {
            shared.schedule().block(DepartureReason::Pace, now, pace);
            return None;
        }
        let logins = self.upstream.logins_wait();
        if !logins.is_zero() {
            shared.schedule().block(DepartureReason::Logins, now, logins);
            return None;
        }
        if self.upstream.waits_for_a_seat() {
            return None;
        }
        let mut account = shared.account();
        let now = account.now().wall;
        match account.enter(now) {
            Entry::Go(permit) => Some(permit),
            // The pool knows the end of a pause from the account, and hears of the end of a probe.
            Entry::ProbeIsOut | Entry::Paused(_) => None,
        }
    }

    /// Notes why nothing was claimed at `now`, to which the answer's waits refer. Returns whether to ask again at once.
    fn note_nothing(&self, claim: Result<Claim, QueueError>, now: Moment) -> bool {
        let mut schedule = self.shared.schedule();
        match claim {
            Ok(Claim::Message(_)) => return true,
            Ok(Claim::Idle { next }) => {
                schedule.store_works();
                schedule.due(next);
            }
            Ok(Claim::Exhausted { frees_in, reserved_room }) => {
                let frees_in = self.shared.frees_in(frees_in, now.wall);
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
            Err(QueueError::Corrupt { id, reason }) => {
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
        if let Some(until) = self.later(&mut claim, permit) {
            return Some(self.put_back(claim, permit, Some(until)));
        }
        if !(self.upstream.has_a_seat().await
            && shared.reserve_in_the_fleet(&mut claim, permit).await)
        {
            return Some(self.put_back(claim, permit, None));
        }
        let mut message = InFlight::begin(&shared.in_flight, claim, began.wall);
        let (claim, stage) = (Arc::clone(&message.claim), Arc::clone(&message.stage));
        if shared.is_costly(&claim) {
            message.is_costly();
        }
        shared.schedule().departed();
        // There may be more where this came from.
        if !shared.full.load(Ordering::Relaxed) {
            shared.more.notify_one();
        }
        shared.pacer.spend(u32::try_from(claim.recipients.len()).unwrap_or(u32::MAX));
        shared.count(|counters| counters.attempts += 1);
        debug!(id = %claim.id, recipients = claim.recipients.len(), size = claim.size_bytes, "claimed");
        let Some(mut result) = self.upstream.attempt(&claim, permit, &stage).await else {
            message.land();
            shared.give_back_in_the_fleet(claim.reservation).await;
            shared.give_back(permit);
            return None;
        };
        let ended = shared.now();
        let mut outcomes = std::mem::take(&mut result.outcomes);
        let changed = self.learn(&claim, &result, &outcomes, permit);
        // Where another account takes over, nothing has to wait for the end of this one's pause.
        if !(claim.has_stand_in && result.finds_the_day_full()) {
            let pause = shared.account().state().until.map(|until| until.since(ended.wall));
            outcome::behind(&mut outcomes, pause.unwrap_or_default());
        }
        let settlement =
            Arc::new(Settlement { reservation: claim.reservation, at: ended.wall, outcomes });
        // From here on a kill sends nothing again; before it there is nothing that waits.
        if let Err(problem) = shared.store.answered(claim.id, &settlement) {
            warn!(id = %claim.id, error = %problem, "the answer could not be noted; a kill before it is settled may send the message again");
        }
        message.decide(Arc::clone(&settlement));
        if let Some(groups) = result.split {
            lock(&shared.splits).note(claim.id, groups);
        }
        shared.note_unknown(claim.id, &result.log.unknown);
        shared.tell_what_was_found(changed).await;
        // Others may now do what they may not do before.
        if changed || permit.is_probe() {
            shared.more.notify_one();
        }
        let took_ms = ended.since_boot_ms.saturating_sub(began.since_boot_ms);
        report(&shared, &claim, &settlement.outcomes, result.log, took_ms);
        let stored = changed || matches!(result.account, AccountEffect::TakenForSpam);
        if shared.wants_count() {
            // What is counted is what is settled.
            shared.settle(claim.id, &settlement).await;
            let accepted = matches!(result.account, AccountEffect::Accepted);
            if shared.count_spent(&message, permit, accepted).await || stored {
                shared.persist().await;
            }
            shared.tell_the_fleet().await;
            message.land();
        } else if stored {
            // The settlement goes first: it must not wait for what is known of the account.
            tokio::join!(settle(&shared, message), shared.persist());
        } else {
            return Some(message);
        }
        shared.more.notify_one();
        None
    }

    /// Until when a claimed message is not tried, because of what it or its like have cost before.
    fn later(&self, claim: &mut ClaimedMessage, permit: Permit) -> Option<Timestamp> {
        let shared = &self.shared;
        let now = shared.now().wall;
        // Ordered since this attempt was admitted.
        if shared.account().state().pause(now).is_some() {
            return Some(now);
        }
        if let Turn::Later(until) = shared.turn(claim, permit) {
            return Some(until);
        }
        if !shared.is_costly(claim) {
            return None;
        }
        if shared.in_flight.has_costly() {
            return Some(now.after(ONE_AT_A_TIME));
        }
        // The open connection, too, would be missed by the others.
        let goes = self.upstream.spares_a_login(!shared.is_costly_of_late(claim));
        (!goes).then(|| now.after(LOGIN_WAIT))
    }

    /// Leaves a claimed message to a later time. Nobody was asked, so nothing is charged.
    fn put_back(
        &self,
        claim: ClaimedMessage,
        permit: Permit,
        until: Option<Timestamp>,
    ) -> InFlight {
        let shared = &self.shared;
        let now = shared.now().wall;
        let outcome = |one: &ClaimedRecipient| (one.index, Outcome::NotTried { until });
        let outcomes = claim.recipients.iter().map(outcome).collect();
        let reservation = claim.reservation;
        let mut message = InFlight::begin(&shared.in_flight, claim, now);
        message.decide(Arc::new(Settlement { reservation, at: now, outcomes }));
        shared.give_back(permit);
        message
    }

    /// What the attempt says about the account, and about what was sent. Returns whether the account has changed.
    fn learn(
        &self,
        claim: &ClaimedMessage,
        result: &AttemptResult,
        outcomes: &[(usize, Outcome)],
        permit: Permit,
    ) -> bool {
        let shared = &self.shared;
        let mut account = shared.account();
        let now = account.now();
        if account.is_from_before_resume(permit) {
            return false;
        }
        let mut suspects = lock(&shared.suspects);
        let complaint = result.log.complaint.as_deref().unwrap_or_default();
        let is_lost =
            result.connection == ConnectionFate::Uncertain && account.lost_after_dot(permit);
        let mut failure = match &result.account {
            AccountEffect::Failed(failure) => Some(failure.clone()),
            _ if is_lost => Some(account_failure::of_lost_connections(complaint.to_owned())),
            AccountEffect::TakenForSpam => {
                match account.spam(suspects.spam(claim, now), now.wall) {
                    Some(Stops::Sender) => {
                        stop_sender(&mut suspects, claim, complaint, now);
                        None
                    }
                    Some(Stops::Everybody) => Some(account_failure::of_spam(complaint)),
                    None => None,
                }
            }
            AccountEffect::Accepted | AccountEffect::Answered | AccountEffect::Nothing => None,
        };
        if result.connection.ends() && result.is_the_messages_own() {
            suspects.cost_a_connection(claim.id, now);
        }
        let is_set_back = outcomes.iter().any(|(_, one)| matches!(one, Outcome::SetBack { .. }));
        if let Some(failure) = failure.as_mut().filter(|_| is_set_back) {
            failure.says_nothing_new |= suspects.is_like_a_refused_one(claim);
        }
        let accepted = |(index, outcome): &(usize, Outcome)| {
            matches!(outcome, Outcome::Relayed { .. }).then_some(*index)
        };
        let accepted: Vec<usize> = outcomes.iter().filter_map(accepted).collect();
        if failure.is_some() && is_set_back {
            suspects.accuse(claim, now);
        } else if !accepted.is_empty() && account.is_current(permit) {
            suspects.accepted(claim, &accepted);
        }
        if result.charged {
            suspects.charge(claim, now);
        }
        let failure = failure.map(|failure| failure.addressed(&shared.name));
        learn(&mut account, permit, failure, result, claim.id, now.wall)
    }
}

/// The mail of a sender waits whose messages were taken for spam; that of others goes on.
fn stop_sender(suspects: &mut Suspects, claim: &ClaimedMessage, reason: &str, now: Moment) {
    let (is_news, until) = suspects.stop_sender(claim, now);
    if is_news {
        let sender = claim.reverse_path.as_ref().map(ToString::to_string).unwrap_or_default();
        let remedy = "Look at what writes this sender's messages, and stop it: more of them endanger the account. The \
                      others' mail goes on; `pillarbox resume` lets this sender's go, too.";
        warn!(sender, %until, reason, remedy, "the mail of a sender waits: three of it within an hour were taken for spam");
    }
}

async fn settle(shared: &Shared, message: InFlight) {
    if let Some(settlement) = message.settlement() {
        shared.settle(message.claim.id, settlement).await;
    }
    message.land();
}

async fn settle_and_claim(
    shared: &Shared,
    message: InFlight,
    now: Moment,
    terms: ClaimLimits,
) -> Result<Claim, QueueError> {
    let claim = match message.settlement() {
        Some(settlement) => shared.settle_and_claim(message.claim.id, settlement, now, terms).await,
        None => shared.store.claim_due(now, terms).await,
    };
    message.land();
    claim
}

fn learn(
    account: &mut Account,
    permit: Permit,
    failure: Option<AccountFailure>,
    result: &AttemptResult,
    id: QueueId,
    now: Timestamp,
) -> bool {
    if let Some(failure) = failure {
        return account.failed(permit, failure, now);
    }
    match result.account {
        AccountEffect::Accepted => account.accepted(permit, now),
        _ if result.charged => {
            account.charge(permit, id);
            false
        }
        AccountEffect::Answered | AccountEffect::TakenForSpam => account.answered(permit, now),
        AccountEffect::Nothing | AccountEffect::Failed(_) => {
            account.release(permit);
            false
        }
    }
}

/// One line for each recipient.
pub(super) fn report(
    shared: &Shared,
    claim: &ClaimedMessage,
    outcomes: &[(usize, Outcome)],
    log: AttemptLog,
    took_ms: u64,
) {
    let edits = (!log.edits.is_empty()).then(|| log.edits.to_string());
    for (recipient, (_, outcome)) in claim.recipients.iter().zip(outcomes) {
        let (id, to, attempt) = (claim.id, &recipient.address, recipient.attempts + 1);
        match outcome {
            Outcome::Relayed { reply } => {
                shared.count(|counters| counters.relayed += 1);
                info!(%id, %to, reply, attempt, took_ms, edits, "relayed");
                if recipient.resend {
                    warn!(%id, %to, "possible duplicate: the answer to an earlier attempt was lost");
                }
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
            Outcome::SetBack { until, reply } => {
                info!(%id, %to, reply, %until, "queued");
            }
            Outcome::NotTried { .. } => {
                let reason = log.complaint.as_deref().unwrap_or_default();
                info!(%id, %to, reason, "queued");
            }
        }
    }
    if let Some(complaint) = log.complaint {
        shared.note_error(claim.id, complaint);
    }
}
