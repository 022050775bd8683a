//! `pillarbox run`: the daemon, from the configuration to the last signal.
//!
//! Without an account it refuses and says which two lines to add; it never falls back to the sandbox.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::runtime::Runtime;
use crate::{
    admin::reload::Reloader,
    clock::{Clock, SystemClock, Timestamp},
    daemon::{self, Daemon, DaemonError},
    doctor::{advice, door},
    exit::{Exit, Failure},
    listener::BindError,
    queue::Queue,
    settings::{
        self, Settings, SettingsError, Surroundings,
        host::{self, Machine},
        volume::Kept,
    },
    shutdown::{Phase, Shutdown},
    supervision::{Supervisor, Variables},
    telemetry,
};

/// How long the end of the process waits for the last lines of its log to be read.
const LOG_STOP: Duration = Duration::from_secs(1);

/// Runs until a signal stops it. `skip_without_account`: a daemon that nobody has configured yet is not a failure.
pub(super) fn run(
    out: &mut dyn Write,
    config: Option<&Path>,
    skip_without_account: bool,
) -> Result<(), Failure> {
    daemon::harden();
    let settings = settings::load(config)?;
    match settings.require_account() {
        Err(SettingsError::NoAccount(words)) if skip_without_account => {
            return skip(out, &words, &Supervisor::named(&Variables::of_this_process()));
        }
        account => account?,
    }
    telemetry::init(settings.telemetry, settings.log_output);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let runtime = Runtime::of_a_daemon()?;
    let result = runtime.block_on(serve(settings, config.map(Path::to_owned), clock));
    runtime.stop();
    telemetry::flush(LOG_STOP);
    result
}

/// Ends without having started. Whoever supervises hears that this was meant: an exit code of its own would be lost
/// among those that systemd gives for a user, a directory or a sandbox that it could not set up.
fn skip(out: &mut dyn Write, words: &str, supervisor: &Supervisor) -> Result<(), Failure> {
    writeln!(out, "Pillarbox does not start yet: {words}")?;
    supervisor.skipped("not started: there is no account yet");
    Ok(())
}

async fn serve(
    settings: Settings,
    config: Option<PathBuf>,
    clock: Arc<dyn Clock>,
) -> Result<(), Failure> {
    let signals = Signals::receive()?;
    let supervisor = Supervisor::named(&Variables::of_this_process());
    supervisor.status("opening the queue");
    let listener = daemon::bind(&settings)?;
    warn_of_surroundings(&settings, &listener.addresses(), clock.wall());
    let store = open_store(&settings, &clock)?;
    let daemon = Daemon::start(settings, Arc::clone(&clock), store, listener).await?;
    let daemon = daemon.reading(move |running| {
        running.reloaded(config.as_deref(), &Surroundings::of_this_process())
    });
    signals.run(daemon.supervised(supervisor)).await
}

/// Says what may go wrong with the configuration on this very machine.
fn warn_of_surroundings(settings: &Settings, addresses: &[SocketAddr], now: Timestamp) {
    let files = settings.listener.tls.as_ref();
    for words in files.map(|files| door::certificate_warnings(files, now)).unwrap_or_default() {
        tracing::warn!("{words}");
    }
    let (store, machine) = (host::resolved(&settings.queue.directory), Machine::of_this_process());
    let dropped = settings.listener.local.drop_directory.as_deref().filter(|path| path.exists());
    let dropped =
        dropped.and_then(|path| host::volatile(Kept::Drop, &host::resolved(path), &machine));
    let store = settings.queue.database.is_none().then_some(&*store);
    for warning in
        host::warnings(&settings.listener, addresses, store, &machine).into_iter().chain(dropped)
    {
        tracing::warn!(remedy = warning.remedy, "{}", warning.what);
    }
}

/// Opens the durable queue.
pub(super) fn open_store(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Queue>, DaemonError> {
    let (queue, clock) = (settings.queue.clone(), Arc::clone(clock));
    Ok(Arc::new(tokio::task::block_in_place(|| Queue::open(queue, clock))?))
}

/// The signals that a daemon obeys, received from the moment this exists.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user_1: Signal,
    user_2: Signal,
}

/// What else would end the process, though nobody means to stop it: timers, limits on processor time and on the size of a
/// file (the write then fails, and that is answered), and a pipe that nobody reads.
const IGNORED: [rustix::process::Signal; 6] = [
    rustix::process::Signal::ALARM,
    rustix::process::Signal::VTALARM,
    rustix::process::Signal::PROF,
    rustix::process::Signal::XCPU,
    rustix::process::Signal::XFSZ,
    rustix::process::Signal::PIPE,
];

impl Signals {
    /// From here on no signal ends the process by itself.
    pub(super) fn receive() -> Result<Self, Failure> {
        let receive = || {
            for ignored in IGNORED {
                // Whoever receives a signal is not ended by it any more, whether he listens or not.
                drop(signal(SignalKind::from_raw(ignored.as_raw()))?);
            }
            Ok::<_, io::Error>(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hang_up: signal(SignalKind::hangup())?,
                user_1: signal(SignalKind::user_defined1())?,
                user_2: signal(SignalKind::user_defined2())?,
            })
        };
        receive().map_err(|error| {
            Failure::new(Exit::Temporary, format!("cannot receive signals: {error}"))
        })
    }

    /// Runs the daemon; the first SIGTERM or SIGINT drains it, the second stops it at once. Both end
    /// with exit code 0, for nothing that was acknowledged is lost either way.
    pub(super) async fn run(self, daemon: Daemon) -> Result<(), Failure> {
        let (shutdown, reloader) = (daemon.shutdown(), daemon.reloader());
        let obey = async {
            self.obey(&shutdown, &reloader).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = daemon.run() => Ok(result?),
            () = obey => Ok(()),
        }
    }

    /// Returns at the first order to stop, for what has nothing to finish.
    pub(super) async fn wait_for_stop(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Returns when no further signal would change anything.
    async fn obey(mut self, shutdown: &Shutdown, reloader: &Reloader) {
        let mut stops = 0;
        while stops < 2 {
            tokio::select! {
                _ = self.terminate.recv() => stops += 1,
                _ = self.interrupt.recv() => stops += 1,
                _ = self.hang_up.recv() => {
                    // What became of it is in the log; nobody waits for an answer.
                    drop(reloader.order().await);
                }
                _ = self.user_1.recv() => tracing::info!("SIGUSR1 ignored: it means nothing here"),
                _ = self.user_2.recv() => tracing::info!("SIGUSR2 ignored: it means nothing here"),
            }
            match stops {
                0 => {}
                1 => shutdown.advance(Phase::Draining),
                _ => shutdown.advance(Phase::Immediate),
            }
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::new(Exit::Configuration, error.to_string())
    }
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        let exit = match &error {
            DaemonError::Listener(BindError::NotPermitted { .. }) => Exit::Permission,
            DaemonError::Door(_) => Exit::Configuration,
            DaemonError::Listener(_)
            | DaemonError::Store(_)
            | DaemonError::Admin(_)
            | DaemonError::Http(_) => Exit::Unavailable,
            DaemonError::Ended(_) | DaemonError::Queue(_) => Exit::Temporary,
        };
        let check = match &error {
            DaemonError::Listener(_) => "listening-addresses",
            DaemonError::Door(_) => "listener-certificate",
            DaemonError::Store(_) | DaemonError::Admin(_) => "store-directory",
            DaemonError::Queue(_) => "store-space",
            DaemonError::Http(_) | DaemonError::Ended(_) => {
                return Self::new(exit, error.to_string());
            }
        };
        Self::new(exit, format!("{error}\n  {}", advice(&[check])))
    }
}
