//! One worker's hold on the upstream: its connection, when that is renewed, and one attempt over it.
//!
//! Rule: a login is noted on disk before it is made, so that a restart cannot make too many. Nothing is
//! charged or settled here. Must not know the queue's claims, nor what an attempt leads to.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tracing::{debug, error, info, warn};

use super::{
    account::Permit,
    answer::{Answer, Fault, Stage, StageCell},
    connection::Connection,
    options::{Limits, Way},
    outcome::{self, AttemptResult, ConnectionFate, Terms, judge},
    parting::Parting,
    plan::Plan,
    seating::Seated,
    shared::Shared,
    status::DepartureReason,
};
use crate::{
    clock::{Moment, Timestamp},
    fleet::Seat,
    message::header::Edits,
    queue::{ClaimedMessage, Outcome, QueueError, spool_file::MessageReader},
    sync::lock,
};

/// How long a message waits at most whose attempts the queue interrupts again and again: the disk may be well again.
const UNREADABLE_STEP_MAX: Duration = Duration::from_secs(15 * 60);

/// What is said of an attempt that another host's connection may be in the way of.
const LOST_ITS_SEAT: &str = "its connection is not this host's any more";

/// A connection with its history.
#[derive(Debug)]
pub(super) struct Warm {
    connection: Box<Connection>,
    /// In a fleet: given back when the connection is closed.
    seat: Option<Seat>,
    wear: Wear,
    /// Since when it has been unused.
    pub(super) idle_since_ms: u64,
}

impl Warm {
    /// How long it may be used without another word of the fleet's books; `None` without a fleet.
    pub(super) fn left(&self) -> Option<Duration> {
        self.seat.as_ref().map(Seat::left)
    }

    /// Whether it may be another host's by now.
    pub(super) fn is_lost(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// Leaves it to be closed.
    pub(super) fn part(self) -> Parting {
        Parting::new(*self.connection, self.seat)
    }

    fn rests(&self, is_idle: bool) {
        if let Some(seat) = &self.seat {
            seat.rests(is_idle);
        }
    }
}

/// How much a connection has been used.
#[derive(Clone, Copy, Debug)]
struct Wear {
    opened_ms: u64,
    messages: u32,
    /// When it is renewed because the credential ends that it was opened with: five minutes before that.
    renew_at: Option<Timestamp>,
}

impl Wear {
    /// Whether a new connection should take its place.
    fn is_worn(self, limits: &Limits, now: Moment) -> bool {
        let age = Duration::from_millis(now.since_boot_ms.saturating_sub(self.opened_ms));
        let expires = self.renew_at.is_some_and(|at| at <= now.wall);
        self.messages >= limits.messages_per_connection || age >= limits.connection_age || expires
    }
}

/// A worker's connection, open or not.
#[derive(Debug)]
pub(super) struct Upstream {
    shared: Arc<Shared>,
    warm: Option<Warm>,
    /// In a fleet: the right to a login that was not made yet.
    seat: Option<Seat>,
    /// The attempt ended because its connection is not this host's any more.
    has_lost_its_seat: bool,
}

impl Upstream {
    pub(super) fn new(shared: Arc<Shared>, warm: Option<Warm>) -> Self {
        if let Some(warm) = &warm {
            warm.rests(false);
        }
        Self { shared, warm, seat: None, has_lost_its_seat: false }
    }

    /// Gives the connection back.
    pub(super) fn into_warm(mut self) -> Option<Warm> {
        if let Some(warm) = &mut self.warm {
            warm.idle_since_ms = self.shared.clock.now().since_boot_ms;
            warm.rests(true);
        }
        self.warm
    }

    /// How long until a message may leave as far as logins go.
    pub(super) fn logins_wait(&self) -> Duration {
        if self.warm.is_some() { Duration::ZERO } else { self.shared.own_login_wait() }
    }

    fn new_login_wait(&self) -> Duration {
        self.shared.login_wait()
    }

    /// Whether a second login for one message may be spent: not the last ones of the hour, which the others need.
    fn may_log_in_again(&self) -> bool {
        self.new_login_wait().is_zero() && self.shared.has_logins_to_spare()
    }

    /// Whether a message may be tried: over the connection that there is, or over one that may be opened.
    pub(super) async fn has_a_seat(&mut self) -> bool {
        self.close_what_is_lost();
        if self.warm.is_some() || self.seat.as_ref().is_some_and(Seat::is_good) {
            return true;
        }
        self.seat = None;
        match self.shared.ask_for_a_seat().await {
            Seated::Alone => true,
            Seated::With(seat) => {
                self.seat = Some(seat);
                true
            }
            Seated::Refused => false,
        }
    }

    /// Whether there is neither a connection nor anything that could change that just now.
    pub(super) fn waits_for_a_seat(&self) -> bool {
        self.warm.is_none() && self.seat.is_none() && self.shared.waits_for_a_seat()
    }

    /// Whether a message that has cost connections before may cost one more.
    pub(super) fn spares_a_login(&self, has_waited_long: bool) -> bool {
        self.shared.has_logins_to_spare() || has_waited_long && self.shared.logins.spare_one()
    }

    /// Replaces a connection that is old or has carried many messages, unless that would exceed the cap
    /// on logins, which is the firmer rule. One that another host needs, or has by now, is closed.
    pub(super) fn renew(&mut self) {
        self.close_what_is_lost();
        if let Some(seats) = self.shared.seats().filter(|_| self.warm.is_some()).map(Arc::clone)
            && seats.is_asked_back()
        {
            self.hang_up();
            self.shared.is_crowded_out(&seats);
        }
        let now = self.shared.clock.now();
        let worn = self
            .warm
            .as_ref()
            .is_some_and(|warm| warm.wear.is_worn(&self.shared.options().limits, now));
        if worn && self.new_login_wait().is_zero() {
            self.hang_up();
        }
    }

    /// Closes a connection that may be another host's by now.
    fn close_what_is_lost(&mut self) {
        if self.warm.as_ref().is_some_and(Warm::is_lost) {
            self.hang_up();
        }
    }

    fn hang_up(&mut self) {
        if let Some(warm) = self.warm.take() {
            self.shared.part(warm.part());
        }
    }

    /// Tries a claim: a second time when nothing but the connection failed, or the parameters of MAIL.
    /// `None` when the queue has already ended the claim.
    pub(super) async fn attempt(
        &mut self,
        claim: &ClaimedMessage,
        permit: Permit,
        stage: &StageCell,
    ) -> Option<AttemptResult> {
        match self.attempt_twice(claim, permit, stage).await {
            Ok(result) => {
                lock(&self.shared.interrupted).is_over(claim.id);
                Some(result)
            }
            Err(problem) => self.unreadable(claim, problem),
        }
    }

    async fn attempt_twice(
        &mut self,
        claim: &ClaimedMessage,
        permit: Permit,
        stage: &StageCell,
    ) -> Result<AttemptResult, QueueError> {
        let mut result = self.attempt_once(claim, permit, stage, false).await?;
        if result.connection == ConnectionFate::RetryWithoutParameters
            && let Some(warm) = &mut self.warm
        {
            warm.connection.leave_parameters_out(true);
            let again = self.attempt_once(claim, permit, stage, false).await;
            if let Some(warm) = &mut self.warm {
                warm.connection.leave_parameters_out(false);
            }
            result = again?;
        }
        if result.connection == ConnectionFate::RetryFresh && self.may_log_in_again() {
            if !self.has_a_seat().await {
                // Its connection was too old, and other hosts have all others: it waits for one as if it had not been begun.
                return Ok(AttemptResult::untried(Vec::new()));
            }
            result = self.attempt_once(claim, permit, stage, true).await?;
        }
        Ok(result)
    }

    async fn attempt_once(
        &mut self,
        claim: &ClaimedMessage,
        permit: Permit,
        stage: &StageCell,
        again: bool,
    ) -> Result<AttemptResult, QueueError> {
        let shared = Arc::clone(&self.shared);
        self.has_lost_its_seat = false;
        stage.enter(Stage::Connect);
        let reader = shared.store.open_message(claim.id).await?;
        let terms = || Terms { again, ..shared.terms_of(claim) };
        if let Err(answer) = self.connect(permit, stage).await {
            if self.has_lost_its_seat {
                return Err(lost_its_seat());
            }
            return Ok(judge(claim, &vec![answer; claim.recipients.len()], &terms()));
        }
        let (answers, edits) = self.transact(claim, reader, permit, stage).await?;
        // What was accepted meanwhile counts.
        let mut result = judge(claim, &answers, &terms());
        result.log.edits = edits;
        if result.connection.ends() {
            self.hang_up();
        }
        Ok(result)
    }

    async fn connect(&mut self, permit: Permit, stage: &StageCell) -> Result<(), Answer> {
        if self.warm.is_some() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        // Dropped on the way it is given back, and its login does not count.
        let seat = self.seat.take();
        let login = Connection::credential(&shared.options(), shared.tokens.as_ref()).await?;
        let counts = shared.options().counts_logins();
        if counts {
            shared.logins.take();
        }
        let opened = self.open_any(stage).await;
        if opened.is_err() && counts {
            // It did not come to a login.
            shared.logins.untake();
            // Whoever waits for a login may have this one.
            shared.schedule().unblock(DepartureReason::Logins);
            shared.more.notify_one();
        }
        let (way, mut connection) = opened?;
        let mut renew_at = None;
        if seat.as_ref().is_some_and(|seat| !seat.may_log_in()) {
            shared.part(Parting::new(connection, seat));
            self.has_lost_its_seat = true;
            return Err(Answer::Unsendable { reason: LOST_ITS_SEAT.into() });
        }
        if let Some(credential) = login {
            if counts {
                self.store_logins().await;
            }
            match connection.log_in(&credential, &shared.options(), way, stage).await {
                Ok(end) => renew_at = end,
                Err(answer) => {
                    let refused = matches!(answer, Answer::Broken { fault: Fault::NoToken(_), .. });
                    if refused || matches!(answer, Answer::Replied { .. }) {
                        shared.part(Parting::new(connection, seat));
                    }
                    return Err(answer.at(&shared.options().host, way.port));
                }
            }
        }
        let now = shared.clock.now().since_boot_ms;
        let connection = Box::new(connection);
        let wear = Wear { opened_ms: now, messages: 0, renew_at };
        self.warm = Some(Warm { connection, seat, wear, idle_since_ms: now });
        if !shared.options().is_api() {
            shared.logged_in(permit);
        }
        Ok(())
    }

    /// Opens a connection on the configured port or, when that cannot be reached again and again, the other.
    async fn open_any(&self, stage: &StageCell) -> Result<(Way, Connection), Answer> {
        let shared = &self.shared;
        let ways = lock(&shared.port_fallback).next(shared.clock.now().since_boot_ms);
        let mut failure = None;
        for way in ways {
            shared.count(|counters| counters.connections += 1);
            let opened = Connection::open(&shared.options(), way, &shared.trust, stage).await;
            match opened {
                Ok(connection) => {
                    if lock(&shared.port_fallback).reached(way, shared.clock.now().since_boot_ms) {
                        info!(
                            host = shared.options().host,
                            port = way.port,
                            "mail goes through this port now"
                        );
                    }
                    return Ok((way, connection));
                }
                Err(answer) => {
                    if is_unreachable(&answer) {
                        lock(&shared.port_fallback).unreachable(way);
                    }
                    let answer = answer.at(&shared.options().host, way.port);
                    if failure.is_some() {
                        warn!(reason = %answer, "the other port does not work either");
                    }
                    // What is wrong with the configured way is what a person must know.
                    failure.get_or_insert(answer);
                }
            }
        }
        Err(failure
            .unwrap_or_else(|| Answer::Unsendable { reason: "there is no way to try".into() }))
    }

    /// Stores when the logins of this hour were. A store that cannot take it now has taken no claim either.
    async fn store_logins(&self) {
        if let Err(problem) = self.shared.persist_once().await {
            debug!(error = %problem, "the login was not noted");
        }
    }

    async fn transact(
        &mut self,
        claim: &ClaimedMessage,
        mut reader: MessageReader,
        permit: Permit,
        stage: &StageCell,
    ) -> Result<(Vec<Answer>, Edits), QueueError> {
        // The caller has connected.
        let Some(warm) = &mut self.warm else { return Ok(Default::default()) };
        let takes_internationalized = warm.connection.takes_internationalized();
        self.shared.takes_internationalized.store(takes_internationalized, Ordering::Relaxed);
        let (options, now) = (&self.shared.options(), self.shared.clock.now());
        let plan = Plan::new(claim, &mut reader, options, takes_internationalized, now)?;
        if plan.envelope.recipients.is_empty() {
            return Ok((plan.answers(&[]), plan.edits));
        }
        warm.wear.messages += 1;
        let shared = &self.shared;
        let (seat, has_lost_its_seat) = (warm.seat.as_ref(), AtomicBool::new(false));
        let may_be_out = AtomicBool::new(false);
        let before_final_dot = async {
            if !shared.may_send(claim) {
                return Err(QueueError::Unavailable("its reservation is over".to_owned()));
            }
            if seat.is_some_and(|seat| !seat.is_good()) {
                has_lost_its_seat.store(true, Ordering::Relaxed);
                return Err(lost_its_seat());
            }
            may_be_out.store(true, Ordering::Relaxed);
            shared.store.final_dot(claim.id).await?;
            shared.schedule().store_works();
            // A connection that was open already has proved its login only now; to the API each message is a login.
            if !options.is_api() {
                shared.logged_in(permit);
            }
            Ok(())
        };
        let transacted = tokio::select! {
            biased;
            // Another host may have its place by now: what was sent so far is not taken without a final dot.
            () = is_over(seat, &may_be_out) => None,
            transacted = warm.connection.transact(&plan.envelope, reader, before_final_dot, stage) => {
                Some(transacted)
            }
        };
        let Some(transacted) = transacted else {
            (self.warm, self.has_lost_its_seat) = (None, true);
            return Err(lost_its_seat());
        };
        self.has_lost_its_seat = has_lost_its_seat.into_inner();
        if transacted.broken {
            self.warm = None;
        }
        match transacted.store_error {
            Some(problem) => Err(problem),
            None => Ok((plan.answers(&transacted.answers), plan.edits)),
        }
    }

    /// The queue could not give the message's bytes, or could not note the final dot: nothing was sent, and nothing is wrong with
    /// the message, until that has been so several times in a row.
    fn unreadable(&self, claim: &ClaimedMessage, problem: QueueError) -> Option<AttemptResult> {
        if self.has_lost_its_seat {
            warn!(id = %claim.id, "the message was not sent: the fleet's database did not answer for so long that its connection may be another host's");
            return Some(AttemptResult::untried(Vec::new()));
        }
        if !self.shared.may_send(claim) {
            return Some(AttemptResult::untried(Vec::new()));
        }
        if let QueueError::Corrupt { .. } | QueueError::NotFound(_) = problem {
            error!(id = %claim.id, error = %problem, "the message could not be read from the queue");
            self.shared.note_error(claim.id, problem.to_string());
            return None;
        }
        // Everything waits for the queue, so that it is not asked without a pause.
        let is_news = self.shared.schedule().store_failed(self.shared.clock.now());
        if lock(&self.shared.interrupted).once_more(claim.id) {
            if is_news {
                warn!(id = %claim.id, error = %problem, "the message was not sent: its queue failed in the middle of the attempt; it goes on as if that had not been begun");
                self.shared.note_error(claim.id, problem.to_string());
            }
            return Some(AttemptResult::untried(Vec::new()));
        }
        error!(id = %claim.id, error = %problem, "the queue fails again and again in the attempts of this message; others go first");
        self.shared.note_error(claim.id, problem.to_string());
        // Later and later, so that one message that cannot be read does not stand before all others.
        let until = self.shared.now().wall.after(outcome::step(claim).min(UNREADABLE_STEP_MAX));
        let again = Outcome::SetBack { until, reply: problem.to_string() };
        let outcomes = claim.recipients.iter().map(|recipient| (recipient.index, again.clone()));
        Some(AttemptResult::untried(outcomes.collect()))
    }
}

/// Waits until the connection is not this host's any more, unless the final dot may be out: then its answer is waited for.
async fn is_over(seat: Option<&Seat>, may_be_out: &AtomicBool) {
    match seat {
        Some(seat) => seat.is_over().await,
        None => pending().await,
    }
    if may_be_out.load(Ordering::Relaxed) {
        pending::<()>().await;
    }
}

fn lost_its_seat() -> QueueError {
    QueueError::Unavailable(LOST_ITS_SEAT.to_owned())
}

/// Whether the port itself seems closed: no connection, or nothing said on it.
fn is_unreachable(answer: &Answer) -> bool {
    match answer {
        Answer::Broken { stage, fault, .. } if *stage <= Stage::Greeting => {
            matches!(fault.itself(), Fault::Unreachable(_) | Fault::Lost(_))
        }
        Answer::Broken { .. } | Answer::Replied { .. } | Answer::Unsendable { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    #[test]
    fn a_connection_is_renewed_after_its_messages_its_time_or_before_its_credential_ends() {
        let clock = ManualClock::new(Timestamp(1_000_000_000));
        let (limits, start) = (Limits::default(), clock.now());
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let new = Wear { opened_ms: start.since_boot_ms, messages: 0, renew_at: None };
        assert!(!new.is_worn(&limits, start));
        assert!(!Wear { messages: 99, ..new }.is_worn(&limits, start));
        assert!(Wear { messages: 100, ..new }.is_worn(&limits, start));
        let renewed =
            |in_minutes| Wear { renew_at: Some(start.wall.after(minutes(in_minutes))), ..new };
        assert!(!renewed(1).is_worn(&limits, start));
        assert!(renewed(0).is_worn(&limits, start));
        clock.advance(minutes(10));
        assert!(new.is_worn(&limits, clock.now()));
    }
}
