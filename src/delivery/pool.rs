//! The pool: when a worker is worth starting, which connections stay open, and how all of it stops.
//!
//! Rule: it owns every task of delivery and every wait. Workers come when there is work and end when there
//! is none; an idle pool does nothing until the queue changes, something is due, or a pause or the budget
//! frees. Must not know SMTP.

use std::{
    collections::HashSet,
    future::pending,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
};
use tracing::{Instrument as _, error, info, warn};

use super::{
    account::Account,
    in_flight::Stranded,
    inspection::{self, LoginProof},
    oauth::tokens::LOOK_EVERY,
    options::Options,
    outcome::{self, AttemptLog},
    parting::Parting,
    plan,
    shared::Shared,
    status::{DepartureReason, PoolStatus},
    upstream::Warm,
    worker::{report, work},
};
use crate::{
    addressed::addressed,
    clock::{Clock, Timestamp},
    fleet::{Share, Vault},
    queue::{
        ClaimLimits, Queue, QueueError, Settlement,
        id::QueueId,
        pause::Pause,
        spool_file::MessageReader,
        state::{AccountCondition, AccountState},
    },
    shutdown::{Phase, Watch},
    tasks::{self, Mishaps},
    telemetry::of_account,
};

/// The longest sleep. Due times and pauses end by wall time, which may be set forward while we sleep.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// How old the last login must be before a start tries a password again that only a command knows.
const COMMAND_REST: Duration = Duration::from_secs(10 * 60);
/// The first wait before the stored account state is asked for again; it doubles.
const ACCOUNT_WAIT: Duration = Duration::from_secs(1);

/// Relays what the queue holds.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    tasks: JoinSet<Ended>,
    /// Which of the tasks are workers.
    workers: HashSet<Id>,
    /// Open connections that no worker uses, the longest unused first.
    warm: Vec<Warm>,
    /// There may be work for one more worker.
    wanted: bool,
    /// Whether the account's stored state is known.
    restored: bool,
    mishaps: Mishaps,
    /// Of the queue.
    news: watch::Receiver<()>,
}

/// How a task of the pool ended.
#[derive(Debug)]
enum Ended {
    Worker(Option<Warm>),
    Helper,
}

/// A hold on a running pool, for the status screen and `resume`.
#[derive(Clone, Debug)]
pub struct PoolHandle {
    shared: Arc<Shared>,
}

impl PoolHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Everything at once.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        self.shared.status()
    }

    /// Ends every pause: a person says that the cause is gone. One message is tried first.
    pub async fn resume(&self) -> AccountState {
        self.shared.resume().instrument(self.shared.span.clone()).await
    }

    /// Begins a pause that a person orders: what is in flight ends, nothing else is sent.
    ///
    /// # Errors
    /// It could not be stored; then nothing has changed.
    pub async fn pause(&self, pause: Pause) -> Result<AccountState, QueueError> {
        self.shared.pause(pause).instrument(self.shared.span.clone()).await
    }

    /// Makes the reader of a message give the octets that an attempt of this moment would send, and says what was edited.
    pub(crate) fn rewrite_as_sent(
        &self,
        id: QueueId,
        accepted_at: Timestamp,
        reader: &mut MessageReader,
    ) -> Result<String, QueueError> {
        let Shared { clock, takes_internationalized, .. } = &*self.shared;
        let takes_internationalized = takes_internationalized.load(Ordering::Relaxed);
        plan::rewrite_as_sent(
            id,
            accepted_at,
            reader,
            &self.shared.options(),
            takes_internationalized,
            clock.now(),
        )
    }

    /// On what terms mail is claimed, and at how many recipients a minute; 0 does not pace.
    pub(crate) fn pacing(&self) -> (ClaimLimits, u32) {
        (self.shared.claim_limits(), self.shared.options().pace_per_minute)
    }

    /// This host's share of the account's day, in a fleet.
    pub(crate) fn share(&self) -> Option<Arc<Share>> {
        self.shared.fleet.clone()
    }

    /// Goes on with other options, but for the way to the upstream and the login.
    pub(crate) fn apply(&self, options: Options) {
        self.shared.apply(options);
    }

    /// Logs in once, sends nothing, and says what the upstream made of it.
    pub(crate) async fn prove_login(&self) -> LoginProof {
        inspection::prove(&self.shared).instrument(self.shared.span.clone()).await
    }
}

impl Pool {
    /// A pool that does nothing before [`Pool::run`].
    #[must_use]
    pub fn new(options: Options, store: Arc<Queue>, clock: Arc<dyn Clock>) -> Self {
        let news = store.changes();
        let shared = Arc::new(Shared::new(options, store, clock));
        Self {
            shared,
            tasks: JoinSet::new(),
            workers: HashSet::new(),
            warm: Vec::new(),
            wanted: true,
            restored: false,
            mishaps: Mishaps::default(),
            news,
        }
    }

    /// The same, which counts tasks that have failed there.
    #[must_use]
    pub(crate) fn reporting_to(mut self, mishaps: Mishaps) -> Self {
        self.mishaps = mishaps;
        self
    }

    /// The same, one of several: every line of the log about its work has the name of its account.
    #[must_use]
    pub(crate) fn called(mut self, name: &str) -> Self {
        // Nobody holds it before it has been handed out.
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.span = of_account(name);
            name.clone_into(&mut shared.name);
        }
        self
    }

    /// The same, which shares the account's day, and its access token, with other hosts.
    #[must_use]
    pub(crate) fn sharing(mut self, fleet: Option<(Arc<Share>, Arc<Vault>)>) -> Self {
        // Nobody holds it before it has been handed out.
        if let Some(shared) = Arc::get_mut(&mut self.shared)
            && let Some((share, vault)) = fleet
        {
            shared.share_with_the_fleet(share, vault);
        }
        self
    }

    /// A hold for the status screen and for `resume`.
    #[must_use]
    pub fn handle(&self) -> PoolHandle {
        PoolHandle::new(Arc::clone(&self.shared))
    }

    /// Relays until the order to stop. Draining claims nothing more and lets the attempts in flight end
    /// within `Options::drain`; immediate drops them, which loses nothing that was acknowledged.
    pub async fn run(self, shutdown: Watch) {
        let span = self.shared.span.clone();
        self.relay(shutdown).instrument(span).await;
    }

    async fn relay(mut self, shutdown: Watch) {
        let mut stop = shutdown.clone();
        self.check_ehlo_name();
        self.look_after_tokens(&shutdown);
        tokio::select! {
            () = self.restore() => {}
            () = stop.reached(Phase::Draining) => return,
        }
        let shared = Arc::clone(&self.shared);
        while shutdown.phase() == Phase::Running {
            self.quit(shared.take_parting());
            let wait = self.start_workers(&shutdown);
            tokio::select! {
                () = stop.reached(Phase::Draining) => {}
                // Once it is known that there is work, further changes say nothing new.
                Ok(()) = self.news.changed(), if !self.wanted => self.wanted = true,
                () = shared.more.notified() => self.wanted = true,
                () = shared.parted.notified() => {}
                () = shared.news_of_the_fleet() => self.listen(),
                () = shared.news_of_seats() => self.leave_to_others(),
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                () = sleep(shared.clock.as_ref(), wait) => {}
            }
        }
        self.drain(stop).await;
    }

    /// A relay that has no mail for months still has a token when one comes.
    fn look_after_tokens(&mut self, shutdown: &Watch) {
        let Some(tokens) = self.shared.tokens.clone() else { return };
        let (clock, mut stop) = (Arc::clone(&self.shared.clock), shutdown.clone());
        let mishaps = self.mishaps.clone();
        self.spawn(async move {
            let looking = tasks::tend("tokens", mishaps, Arc::clone(&clock), || {
                let (tokens, clock) = (Arc::clone(&tokens), Arc::clone(&clock));
                async move {
                    loop {
                        tokens.look_after().await;
                        clock.sleep(LOOK_EVERY).await;
                    }
                }
            });
            tokio::select! {
                () = looking => {}
                () = stop.reached(Phase::Draining) => {}
            }
            Ended::Helper
        });
    }

    /// Gmail answers a name it does not like as if it were busy, so it is better said beforehand.
    fn check_ehlo_name(&self) {
        let name = &self.shared.options().ehlo_name;
        if name.ends_with(".invalid") {
            let remedy = "set upstream.ehlo_name to a full name such as relay.example.org";
            warn!(
                name,
                remedy, "this host has no full name of its own; a made-up one goes in EHLO"
            );
        }
    }

    /// Reads the account's stored state, so that nobody is told that it is open before that; [`Pool::run`] does it where it
    /// was not done.
    pub async fn restore(&mut self) {
        if !self.restored {
            let span = self.shared.span.clone();
            self.restore_account().instrument(span).await;
            self.restored = true;
        }
    }

    /// Continues a pause that was stored before the restart.
    async fn restore_account(&self) {
        let shared = &self.shared;
        let mut wait = ACCOUNT_WAIT;
        loop {
            match shared.store.account_state(shared.options().account).await {
                Ok(stored) => {
                    let mark = shared.look_at_login().await;
                    let now = shared.now().wall;
                    let of = || (shared.name.as_str(), shared.asks_a_command());
                    let before = stored.as_ref().map(|state| state.condition);
                    let stored = stored.map(|state| continued(state, mark, of(), now));
                    let is_anew = before.is_some_and(|before| {
                        stored.as_ref().is_some_and(|state| state.condition != before)
                    });
                    shared.logins.restore(stored.as_ref().map_or(&[], |state| &state.logins));
                    let state = {
                        let mut held = shared.account();
                        **held = Account::new(stored, held.now().wall);
                        if is_anew {
                            held.begins_anew();
                        }
                        held.state().clone()
                    };
                    if state.condition != AccountCondition::Open {
                        warn_of_pause(&state);
                    }
                    if let Some(pause) = state.pause(now) {
                        warn!("as before the restart: {}", pause.words(|at| at.to_string()));
                    }
                    return;
                }
                Err(problem) => {
                    error!(error = %problem, "the account's state cannot be read; nothing is relayed before it is");
                    shared.clock.sleep(wait).await;
                    wait = (2 * wait).min(SLEEP_MAX);
                }
            }
        }
    }

    /// Hears what other hosts say of the account, and tells them what they have not heard.
    fn listen(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.spawn(async move {
            // It is tried again at the next look.
            drop(shared.catch_up().await);
            Ended::Helper
        });
    }

    /// Closes connections that carry nothing and that other hosts wait for, the longest unused first.
    fn leave_to_others(&mut self) {
        let shared = Arc::clone(&self.shared);
        let Some(seats) = shared.seats() else { return };
        while !self.warm.is_empty() && seats.is_asked_back() {
            let unused = self.warm.remove(0);
            self.quit([unused.part()]);
        }
    }

    /// Starts what is worth starting and returns how long nothing else can happen by itself.
    fn start_workers(&mut self, shutdown: &Watch) -> Option<Duration> {
        let now = self.shared.now();
        let pause = self.shared.account().state().shut_until(now.wall);
        let (blocked, due_in) = {
            let mut schedule = self.shared.schedule();
            self.wanted |= schedule.take_due(now);
            let blocked = schedule.blocked(now, pause);
            self.wanted |= schedule.take_freed();
            (blocked, schedule.due_in(now))
        };
        let idle = self.close_idle(now.since_boot_ms);
        self.shared.mail_waits();
        let wait = match blocked {
            // Without a free login, or another connection, an open one can still carry something.
            Some((wait, reason)) if !is_of_logins(reason) || self.warm.is_empty() => {
                // The end of what blocks is a reason to look, whether something has come or not.
                self.wanted = true;
                Some(wait)
            }
            _ => {
                if self.wanted && !self.is_full() {
                    self.start_worker(shutdown);
                }
                due_in
            }
        };
        [wait, idle].into_iter().flatten().min().map(|wait| wait.min(SLEEP_MAX))
    }

    fn start_worker(&mut self, shutdown: &Watch) {
        self.wanted = false;
        let (shared, warm, shutdown) =
            (Arc::clone(&self.shared), self.warm.pop(), shutdown.clone());
        let task = self.spawn(async move { Ended::Worker(work(shared, warm, shutdown).await) });
        self.workers.insert(task);
        self.shared.full.store(self.is_full(), Ordering::Relaxed);
    }

    /// Starts a task of this pool's account.
    fn spawn(&mut self, task: impl Future<Output = Ended> + Send + 'static) -> Id {
        self.tasks.spawn(task.instrument(self.shared.span.clone())).id()
    }

    fn is_full(&self) -> bool {
        self.workers.len() >= self.shared.workers_max()
    }

    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let task = match &ended {
            Ok((task, _)) => *task,
            Err(problem) => problem.id(),
        };
        let was_worker = self.workers.remove(&task);
        self.shared.full.store(self.is_full(), Ordering::Relaxed);
        match ended {
            Ok((_, Ended::Worker(warm))) => self.warm.extend(warm),
            Ok((_, Ended::Helper)) => {}
            Err(problem) => {
                error!(error = %problem, "a delivery worker ended unexpectedly");
                if problem.is_panic() {
                    self.mishaps.note("delivery");
                }
                if was_worker {
                    self.shared.account().abandon_probe();
                    // One that dies before it has a message must not be followed at once by the next.
                    self.shared.schedule().store_failed(self.shared.clock.now());
                }
                for stranded in self.shared.in_flight.take_stranded() {
                    let shared = Arc::clone(&self.shared);
                    self.spawn(async move { rescue(&shared, stranded).await });
                }
            }
        }
    }

    /// Closes connections that have been unused for long and returns when the next one will be. The last one is kept
    /// while a new one would cost a login that is not there: without it mail would wait for up to an hour.
    fn close_idle(&mut self, now_ms: u64) -> Option<Duration> {
        let limit = self.shared.options().limits.idle;
        let unused = |warm: &Warm| Duration::from_millis(now_ms.saturating_sub(warm.idle_since_ms));
        let all = std::mem::take(&mut self.warm);
        let (lost, ours): (Vec<_>, Vec<_>) = all.into_iter().partition(Warm::is_lost);
        let (mut expired, kept): (Vec<_>, Vec<_>) =
            ours.into_iter().partition(|warm| unused(warm) >= limit);
        self.warm = kept;
        let left = |warm: &Warm| {
            let kept_for = limit.saturating_sub(unused(warm));
            warm.left().map_or(kept_for, |left| left.min(kept_for))
        };
        let next = self.warm.iter().map(left).min();
        let no_login = self.shared.login_wait();
        let is_needed = !no_login.is_zero() && self.warm.is_empty() && self.workers.is_empty();
        // The one that was used last is at the end.
        let last = expired.pop_if(|_| is_needed);
        let kept_for = last.is_some().then_some(no_login);
        self.warm.extend(last);
        self.quit(expired.into_iter().chain(lost).map(Warm::part));
        [next, kept_for].into_iter().flatten().min()
    }

    fn quit(&mut self, connections: impl IntoIterator<Item = Parting>) {
        for parting in connections {
            self.spawn(async move {
                parting.quit().await;
                Ended::Helper
            });
        }
    }

    async fn drain(mut self, mut stop: Watch) {
        let clock = Arc::clone(&self.shared.clock);
        let deadline = clock.sleep(self.shared.options().drain);
        tokio::pin!(deadline);
        loop {
            let unused = std::mem::take(&mut self.warm);
            self.quit(unused.into_iter().map(Warm::part));
            self.quit(self.shared.take_parting());
            tokio::select! {
                // Whoever leaves a connection ends soon, and the loop looks again.
                // Dropping the pool ends its tasks; reserved messages are looked at again at the start.
                () = stop.reached(Phase::Immediate) => return,
                () = &mut deadline => return,
                ended = self.tasks.join_next_with_id() => match ended {
                    Some(ended) => self.ended(ended),
                    None => return,
                },
            }
        }
    }
}

/// Whether an open connection can carry something meanwhile.
fn is_of_logins(reason: DepartureReason) -> bool {
    matches!(reason, DepartureReason::Logins | DepartureReason::Connections)
}

/// The stored state as a start goes on with it: a pause for a login or for settings that have changed since is over.
/// Of a password that only a command knows nobody can say whether it has changed: a start tries it, but not often.
fn continued(
    stored: AccountState,
    mark: Option<u16>,
    (name, asks_a_command): (&str, bool),
    now: Timestamp,
) -> AccountState {
    let has_rested = stored.logins.last().is_none_or(|at| now.since(*at) >= COMMAND_REST);
    let may_be_another =
        asks_a_command && has_rested && stored.condition == AccountCondition::PausedCredentials;
    if !stored.is_of_another_login(mark) && !may_be_another {
        return stored;
    }
    let reason = "the password or the settings of [upstream] differ, or may differ, from those that were refused";
    let reason = addressed(reason, name);
    info!(account = "open", before = stored.condition.name(), reason, "account");
    AccountState {
        day_full_since: stored.day_full_since,
        alone_until: stored.alone_until,
        spam: stored.spam,
        logins: stored.logins,
        login_mark: mark,
        pause: stored.pause,
        early: stored.early,
        ..AccountState::open(now)
    }
}

/// A pause outlives restarts, which surprises whoever restarted because of it.
fn warn_of_pause(state: &AccountState) {
    let until = state.until.map(|until| until.to_string());
    warn!(
        account = state.condition.name(),
        until = until.as_deref().unwrap_or_default(),
        reason = state.reason,
        remedy = state.remedy,
        "the account is not open, as before the restart, and the login is the same; once a cause elsewhere is mended: pillarbox resume"
    );
}

/// Ends the claim of a worker that died: with what it had decided, else with what its stage allows.
async fn rescue(shared: &Shared, stranded: Stranded) -> Ended {
    let Stranded { claim, stage, settlement } = stranded;
    let settlement = settlement.unwrap_or_else(|| {
        let outcomes = outcome::abandoned(&claim, stage, &shared.terms());
        let complaint = Some("the relay's own worker failed".to_owned());
        report(shared, &claim, &outcomes, AttemptLog { complaint, ..AttemptLog::default() }, 0);
        Arc::new(Settlement { reservation: claim.reservation, at: shared.now().wall, outcomes })
    });
    shared.settle(claim.id, &settlement).await;
    shared.more.notify_one();
    Ended::Helper
}

async fn sleep(clock: &dyn Clock, wait: Option<Duration>) {
    match wait {
        Some(wait) => clock.sleep(wait).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn paused(condition: AccountCondition, login_mark: Option<u16>) -> AccountState {
        AccountState {
            condition,
            until: Some(NOW.after(Duration::from_secs(6 * 3600))),
            logins: vec![NOW.before(Duration::from_secs(60))],
            login_mark,
            ..AccountState::open(NOW)
        }
    }

    #[test]
    fn only_a_pause_for_a_login_that_has_changed_since_is_over_at_a_start() {
        use AccountCondition::{
            BackingOff, PausedConfiguration, PausedCredentials, PausedLogin, PausedQuota,
        };
        let opens = |condition, before, mark| {
            let state = continued(paused(condition, before), mark, ("main", false), NOW);
            assert_eq!(state.logins.len(), 1, "the cap on logins holds");
            state.condition == AccountCondition::Open
        };
        for condition in [PausedCredentials, PausedConfiguration] {
            assert!(opens(condition, Some(1), Some(2)));
            assert!(opens(condition, None, Some(2)), "it could not be read before");
            assert!(!opens(condition, Some(1), Some(1)));
            assert!(!opens(condition, Some(1), None), "it cannot be read now");
        }
        for condition in [BackingOff, PausedLogin, PausedQuota] {
            assert!(!opens(condition, Some(1), Some(2)));
        }
    }

    #[test]
    fn a_password_of_a_command_is_tried_at_a_start_but_not_at_every_one() {
        let opens = |now| {
            let stored = paused(AccountCondition::PausedCredentials, Some(1));
            continued(stored, Some(1), ("main", true), now).condition == AccountCondition::Open
        };
        assert!(!opens(NOW), "a login a minute ago");
        assert!(opens(NOW.after(Duration::from_secs(600))));
    }
}
