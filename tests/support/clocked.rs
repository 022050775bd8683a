//! The whole daemon before a look-alike, in the process of the test, which moves its clock; the administrator's commands
//! are the real binary.

use std::{process::Output, sync::Arc, time::Duration};

use pillarbox::{
    clock::{Clock, ManualClock, SystemClock},
    daemon::{self, Daemon, DaemonError},
    queue::Queue,
    sandbox::{Options as SandboxOptions, Sandbox},
    settings::{self, Surroundings, host::Host},
    shutdown::{Phase, Shutdown},
};
use tokio::task::JoinSet;

use super::daemon::{Home, Upstream, within};

/// Longer than any step takes, for a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a step of the clock is given to show an effect.
const STEP_PATIENCE: Duration = Duration::from_secs(2);
/// Who is told of trouble.
pub(crate) const ADMIN: &str = "admin@example.com";

/// A daemon before a look-alike, and its clock.
pub(crate) struct Scene {
    pub(crate) home: Home,
    pub(crate) clock: ManualClock,
    pub(crate) sandbox: Sandbox,
    shutdown: Shutdown,
    running: JoinSet<Result<(), DaemonError>>,
    _authority: tempfile::TempDir,
}

impl Scene {
    pub(crate) async fn start() -> Self {
        let authority = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
        let upstream = Upstream::of(&sandbox, authority.path());
        let sections = format!("[budget]\npace_per_minute = 0\n\n[identity]\nadmin = {ADMIN:?}\n");
        let home = Home::with_sections(&upstream, &sections);
        let clock = ManualClock::new(SystemClock::new().wall());
        let (daemon, _) = daemon_of(&home, &clock).await;
        let shutdown = daemon.shutdown();
        let mut running = JoinSet::new();
        running.spawn(daemon.run());
        Self { home, clock, sandbox, shutdown, running, _authority: authority }
    }

    /// Runs a command that must succeed and returns what it printed.
    pub(crate) fn say(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.home.output(arguments);
        let (stdout, stderr) =
            (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        assert!(status.success(), "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    /// Moves the clock until the look-alike has so many messages.
    pub(crate) fn advance_until_accepted(&self, number: usize) {
        let came = (0..10).any(|_| {
            self.clock.advance(Duration::from_secs(30));
            within(STEP_PATIENCE, || self.sandbox.mailbox().count() >= number)
        });
        assert!(came, "{:?}", self.sandbox.mailbox().last_commands());
    }

    /// Moves the clock by minutes until this is so.
    pub(crate) fn advance_until(&self, is_so: impl Fn() -> bool) {
        let came = (0..60).any(|_| {
            self.clock.advance(Duration::from_secs(300));
            within(STEP_PATIENCE, &is_so)
        });
        assert!(came, "{:?}", self.sandbox.mailbox().last_commands());
    }

    pub(crate) async fn stop(mut self) {
        self.shutdown.advance(Phase::Draining);
        let ended = tokio::time::timeout(PATIENCE, self.running.join_next()).await.unwrap();
        ended.unwrap().unwrap().unwrap();
    }
}

/// The daemon of a home, by this clock, and its queue.
pub(crate) async fn daemon_of(home: &Home, clock: &ManualClock) -> (Daemon, Arc<Queue>) {
    let settings = settings::load_in(Some(&home.config()), &surroundings(home)).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let listener = daemon::bind(&settings).unwrap();
    let (queue, of_store) = (settings.queue.clone(), Arc::clone(&clock));
    let opening = tokio::task::spawn_blocking(|| Queue::open(queue, of_store));
    let store = Arc::new(opening.await.unwrap().unwrap());
    let daemon = Daemon::start(settings, clock, Arc::clone(&store), listener).await.unwrap();
    (daemon, store)
}

/// Nothing but the variables of its home.
fn surroundings(home: &Home) -> Surroundings {
    Surroundings {
        variables: home.variables(),
        local_file: "/nowhere/relay.toml".into(),
        system_file: "/nowhere/else.toml".into(),
        host: Host { nodename: "relay.example.org".into(), ..Host::default() },
        secret_directories: Vec::new(),
    }
}
