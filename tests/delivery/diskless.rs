//! The whole daemon with its queue in the fleet's database, in the process of a test, which moves its clock and the books.
//!
//! Rule: the same hands as those of a pool alone, so that a test is written once.

use std::{sync::Arc, time::Duration};

use pillarbox::{
    budget::AccountKey,
    clock::{ManualClock, Timestamp},
    daemon::DaemonError,
    queue::{Queue, state::AccountCondition},
    sandbox::{self, Sandbox},
    shutdown::{Phase, Shutdown},
};
use tokio::task::JoinSet;

use super::{
    relay::{LIFETIME, Relay},
    scene::PATIENCE,
};
use crate::support::{
    books::Books,
    clocked::daemon_of,
    daemon::{Home, Upstream},
    fleet::without_a_disk,
    lookalike_clock::lookalike_clock,
    outage::{NOTHING_OF_ITS_OWN, budget},
};

/// A host without a disk, its upstream and its database.
pub(super) struct Diskless {
    sandbox: Sandbox,
    clock: ManualClock,
    home: Home,
    books: Books,
    running: Option<Running>,
    _authority: tempfile::TempDir,
}

/// One life of its daemon.
struct Running {
    store: Arc<Queue>,
    shutdown: Shutdown,
    tasks: JoinSet<Result<(), DaemonError>>,
}

impl Running {
    async fn start(home: &Home, clock: &ManualClock) -> Self {
        let (daemon, store) = daemon_of(home, clock).await;
        let (shutdown, mut tasks) = (daemon.shutdown(), JoinSet::new());
        tasks.spawn(daemon.run());
        Self { store, shutdown, tasks }
    }
}

impl Diskless {
    /// With these limits a day and an hour. Gmail's own guard of logins is far away: what must hold is the relay's.
    pub(super) async fn limited(recipients_per_day: u32, logins_per_hour: u32) -> Self {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let sandbox = Sandbox::start(sandbox::Options {
            clock: lookalike_clock(&clock),
            recipients_per_day,
            logins_per_minute: 1_000,
            ..sandbox::Options::default()
        });
        let (sandbox, authority) = (sandbox.await.unwrap(), tempfile::tempdir().unwrap());
        let upstream = Upstream::of(&sandbox, authority.path());
        // Nothing is sent but what the test hands in, and nobody else logs in.
        let sections = budget(recipients_per_day) + NOTHING_OF_ITS_OWN;
        let lifetime = format!("{}d", LIFETIME.as_secs() / (24 * 3_600));
        let home = Home::with_sections(&upstream, &sections)
            .environment("PILLARBOX__UPSTREAM__PROVIDER", "gmail")
            .environment("PILLARBOX__UPSTREAM__LOGINS_PER_HOUR", &logins_per_hour.to_string())
            .environment("PILLARBOX__QUEUE__LIFETIME", &lifetime)
            .environment("PILLARBOX__QUEUE__DEAD_LETTER_LIFETIME", &lifetime)
            .environment("PILLARBOX__QUEUE__HISTORY_LIFETIME", &lifetime)
            .environment("PILLARBOX__QUEUE__MIN_FREE_BYTES", "8MiB");
        let books = Books::new();
        let home = without_a_disk(home, "a", (books.server.port, &books.database));
        let running = Some(Running::start(&home, &clock).await);
        Self { sandbox, clock, home, books, running, _authority: authority }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }
}

impl Relay for Diskless {
    const LOGIN: &'static str = "you@gmail.com";

    fn upstream(&self) -> &Sandbox {
        &self.sandbox
    }

    fn queue(&self) -> &Queue {
        &self.running().store
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn restart(&mut self, phase: Phase, reboots: bool) {
        let mut running = self.running.take().unwrap();
        running.shutdown.advance(phase);
        let end = tokio::time::timeout(PATIENCE, running.tasks.join_next()).await;
        end.expect("the daemon does not stop").unwrap().unwrap().unwrap();
        running.store.close().await;
        drop(running);
        if reboots {
            self.clock.reboot();
        }
        self.books.everybody_is_gone();
        self.running = Some(Running::start(&self.home, &self.clock).await);
    }

    async fn condition(&self) -> AccountCondition {
        let state = self.queue().account_state(AccountKey::MAIN).await.unwrap();
        state.map_or(AccountCondition::Open, |state| state.condition)
    }

    async fn resume(&self) {
        let mut command = self.home.command(["resume"]);
        // The daemon that answers is in this thread.
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    async fn until_quiet(&mut self) {
        let mailbox = self.sandbox.mailbox();
        self.books.until_still(|| mailbox.counters()).await;
    }

    async fn pass(&mut self, time: Duration) {
        self.books.pass(&self.clock, time).await;
    }
}
