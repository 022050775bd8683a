//! The pool: when a worker is worth starting, which connections stay open, and how all of it stops.
//!
//! Rule: it owns every task of delivery and every wait. Workers come when there is work and end when there
//! is none; an idle pool does nothing until the queue changes, something is due, or a pause or the budget
//! frees. Must not know SMTP.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::task::{JoinError, JoinSet};
use tracing::error;

use super::{
    account::Account,
    options::Options,
    status::{DepartureReason, PoolHandle},
    worker::{Shared, Warm, lock, work},
};
use crate::{
    clock::Clock,
    queue::store::Store,
    shutdown::{Phase, Watch},
};

/// The longest sleep. Due times and pauses end by wall time, which may be set forward while we sleep.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// The first wait before the stored account state is asked for again; it doubles.
const ACCOUNT_WAIT: Duration = Duration::from_secs(1);

/// Relays what the queue holds.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: JoinSet<Ended>,
    running: usize,
    /// Open connections that no worker uses, the longest unused first.
    warm: Vec<Box<Warm>>,
    /// There may be work for one more worker.
    wanted: bool,
}

/// How a task of the pool ended.
#[derive(Debug)]
enum Ended {
    Worker(Option<Box<Warm>>),
    Quit,
}

impl Pool {
    /// A pool that does nothing before [`Pool::run`].
    #[must_use]
    pub fn new(options: Options, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::new(Shared::new(options, store, clock));
        Self { shared, workers: JoinSet::new(), running: 0, warm: Vec::new(), wanted: true }
    }

    /// A hold for the status screen and for `resume`.
    #[must_use]
    pub fn handle(&self) -> PoolHandle {
        PoolHandle::new(Arc::clone(&self.shared))
    }

    /// Relays until the order to stop. Draining claims nothing more and lets the attempts in flight end
    /// within `Options::drain`; immediate drops them, which loses nothing that was acknowledged.
    pub async fn run(mut self, shutdown: Watch) {
        let mut stop = shutdown.clone();
        tokio::select! {
            () = self.restore_account() => {}
            () = stop.reached(Phase::Draining) => return,
        }
        let shared = Arc::clone(&self.shared);
        while shutdown.phase() == Phase::Running {
            let wait = self.start_workers(&shutdown);
            tokio::select! {
                () = stop.reached(Phase::Draining) => {}
                () = shared.store.changed() => self.wanted = true,
                () = shared.more.notified() => self.wanted = true,
                Some(ended) = self.workers.join_next() => self.ended(ended),
                () = sleep(shared.clock.as_ref(), wait) => {}
            }
        }
        self.drain(stop).await;
    }

    /// Continues a pause that was stored before the restart.
    async fn restore_account(&self) {
        let shared = &self.shared;
        let mut wait = ACCOUNT_WAIT;
        loop {
            match shared.store.account_state().await {
                Ok(stored) => {
                    *lock(&shared.account) = Account::new(stored, shared.clock.wall());
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

    /// Starts what is worth starting and returns how long nothing else can happen by itself.
    fn start_workers(&mut self, shutdown: &Watch) -> Option<Duration> {
        let now = self.shared.clock.now();
        let pause = lock(&self.shared.account).state().until;
        let (blocked, due_in) = {
            let mut schedule = lock(&self.shared.schedule);
            self.wanted |= schedule.take_due(now);
            let blocked = schedule.blocked(now, pause);
            self.wanted |= schedule.take_freed();
            (blocked, schedule.due_in(now))
        };
        let idle = self.close_idle(now.since_boot_ms);
        let wait = match blocked {
            // Without a free login, an open connection can still carry something.
            Some((wait, reason)) if reason != DepartureReason::Logins || self.warm.is_empty() => {
                // The end of what blocks is a reason to look, whether something has come or not.
                self.wanted = true;
                Some(wait)
            }
            _ => {
                if self.wanted && self.running < self.shared.options.connections.max(1) {
                    self.start_worker(shutdown);
                }
                due_in
            }
        };
        [wait, idle].into_iter().flatten().min().map(|wait| wait.min(SLEEP_MAX))
    }

    fn start_worker(&mut self, shutdown: &Watch) {
        self.wanted = false;
        self.running += 1;
        let (shared, warm, shutdown) = (Arc::clone(&self.shared), self.warm.pop(), shutdown.clone());
        self.workers.spawn(async move { Ended::Worker(work(shared, warm, shutdown).await) });
    }

    fn ended(&mut self, ended: Result<Ended, JoinError>) {
        match ended {
            Ok(Ended::Quit) => {}
            Ok(Ended::Worker(warm)) => {
                self.running -= 1;
                self.warm.extend(warm);
            }
            Err(problem) => {
                self.running = self.running.saturating_sub(1);
                lock(&self.shared.account).abandon_probe();
                error!(error = %problem, "a delivery worker died; its message is looked at again at the next start");
            }
        }
    }

    /// Closes connections that have been unused for long and returns when the next one will be.
    fn close_idle(&mut self, now_ms: u64) -> Option<Duration> {
        let limit = self.shared.options.limits.idle;
        let unused = |warm: &Warm| Duration::from_millis(now_ms.saturating_sub(warm.idle_since_ms));
        let (expired, kept) =
            std::mem::take(&mut self.warm).into_iter().partition(|warm| unused(warm) >= limit);
        self.warm = kept;
        self.quit(expired);
        self.warm.iter().map(|warm| limit.saturating_sub(unused(warm))).min()
    }

    fn quit(&mut self, connections: Vec<Box<Warm>>) {
        for warm in connections {
            self.workers.spawn(async move {
                warm.connection.quit().await;
                Ended::Quit
            });
        }
    }

    async fn drain(mut self, mut stop: Watch) {
        let clock = Arc::clone(&self.shared.clock);
        let deadline = clock.sleep(self.shared.options.drain);
        tokio::pin!(deadline);
        loop {
            let unused = std::mem::take(&mut self.warm);
            self.quit(unused);
            tokio::select! {
                // Dropping the pool ends its tasks; reserved messages are looked at again at the start.
                () = stop.reached(Phase::Immediate) => return,
                () = &mut deadline => return,
                ended = self.workers.join_next() => match ended {
                    Some(ended) => self.ended(ended),
                    None => return,
                },
            }
        }
    }
}

async fn sleep(clock: &dyn Clock, wait: Option<Duration>) {
    match wait {
        Some(wait) => clock.sleep(wait).await,
        None => pending().await,
    }
}
