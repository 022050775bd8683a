//! `pillarbox sandbox`: the whole daemon against the built-in look-alike of Gmail.
//!
//! Rule: the same daemon as `run`, with its real queue, real TLS and a real login; only the upstream is
//! ours. It says so, and never uses an account of the configuration. Must not know what the look-alike
//! answers.

use std::{
    env,
    fs::{self, File, TryLockError},
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    run::{RUNTIME_STOP, Signals, open_store, runtime},
};
use crate::{
    clock::{Clock, SystemClock},
    daemon::{self, Daemon, DaemonError},
    delivery::{Login, PasswordSource, Tls},
    queue::opening::StoreOpenError,
    sandbox::{self, APP_PASSWORD, Sandbox},
    secret::Secret,
    settings::{self, Settings, Surroundings},
    telemetry,
};

/// The account that the daemon uses at the look-alike.
const USERNAME: &str = "you@gmail.com";
/// The name on the look-alike's certificate that belongs to this machine.
const HOST: &str = "localhost";
/// Where the state of a user's programs lies (XDG Base Directory Specification).
const STATE_DIRECTORY: &str = ".local/state";
/// The file that the daemon on a queue holds locked.
const LOCK: &str = "lock";

/// Options of the sandbox.
#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// Where to take mail.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:2525")]
    listen: SocketAddr,
    /// Where the queue lies, and stays from one run to the next. Default: pillarbox-sandbox in
    /// $XDG_STATE_HOME or ~/.local/state, which is emptied at every start.
    #[arg(long, value_name = "PATH")]
    directory: Option<PathBuf>,
    /// Recipients in 24 hours, to see what happens when the budget is spent.
    #[arg(long, value_name = "RECIPIENTS", value_parser = clap::value_parser!(u32).range(1..))]
    daily_limit: Option<u32>,
    /// Simulated round trip to the look-alike.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    latency_ms: u64,
    /// Append a JSON line about each message that the look-alike takes.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Write the look-alike's certificate authority here.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Port of the look-alike for STARTTLS; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    starttls_port: u16,
    /// Port of the look-alike for implicit TLS; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    implicit_port: u16,
    /// Port of the look-alike without TLS and login; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    plain_port: u16,
    /// Only the look-alike, for measurements: prints its addresses as a line of JSON.
    #[arg(long, hide = true)]
    upstream_only: bool,
    /// No limits of connections, logins and recipients, and no message is kept: for measurements.
    #[arg(long, hide = true)]
    unlimited: bool,
}

/// Runs until a signal stops it.
pub(super) fn run(out: &mut dyn Write, config: Option<&Path>, arguments: &Arguments) -> Result<(), Failure> {
    daemon::harden();
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let signals = Signals::receive()?;
        let sandbox = Sandbox::start(arguments.look_alike()).await;
        let sandbox = sandbox.map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
        if arguments.upstream_only {
            return serve_upstream_only(out, arguments, sandbox, signals).await;
        }
        serve(out, config, arguments, sandbox, signals).await
    });
    runtime.shutdown_timeout(RUNTIME_STOP);
    result
}

impl Arguments {
    fn look_alike(&self) -> sandbox::Options {
        let bind = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let defaults = sandbox::Options::default();
        let measured = sandbox::Options {
            recipients_per_day: u32::MAX,
            logins_per_minute: u32::MAX,
            connections_max: u32::MAX,
            keep_bodies: false,
            messages_kept_max: 0,
            commands_kept_max: 0,
            ..sandbox::Options::default()
        };
        let base = if self.unlimited { measured } else { defaults };
        sandbox::Options {
            recipients_per_day: self.daily_limit.unwrap_or(base.recipients_per_day),
            latency: Duration::from_millis(self.latency_ms),
            journal: self.journal.clone(),
            starttls_bind: bind(self.starttls_port),
            implicit_bind: bind(self.implicit_port),
            plain_bind: bind(self.plain_port),
            ..base
        }
    }

    /// Writes the certificate that clients of the look-alike must trust.
    fn write_authority(&self, path: &Path, sandbox: &Sandbox) -> Result<(), Failure> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let made = directory.map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(path, sandbox.certificate_authority_pem())).map_err(|error| {
            let option = if self.ca_file.is_some() { "--ca-file" } else { "--directory" };
            let message =
                format!("cannot write {}: {error}; choose another place with {option}", path.display());
            Failure::new(Exit::Unavailable, message)
        })
    }

    fn directory(&self) -> Result<PathBuf, Failure> {
        if let Some(directory) = &self.directory {
            return Ok(directory.clone());
        }
        let named = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let state = named("XDG_STATE_HOME").or_else(|| Some(named("HOME")?.join(STATE_DIRECTORY)));
        let message = "neither XDG_STATE_HOME nor HOME is set: say where the queue may lie with --directory";
        let state = state.ok_or_else(|| Failure::new(Exit::Usage, message))?;
        Ok(state.join("pillarbox-sandbox"))
    }

    /// The configuration's listener and queue with our upstream, or the defaults without one.
    fn daemon(
        &self,
        config: Option<&Path>,
        directory: &Path,
        ca_file: &Path,
        upstream: SocketAddr,
    ) -> Result<daemon::Options, Failure> {
        let mut options = daemon::Options::without_account(&settings_or_defaults(config)?);
        options.listener.addresses = vec![self.listen.into()];
        options.queue.directory = directory.join("queue");
        options.admin.socket = directory.join("admin.sock");
        let delivery = &mut options.delivery;
        delivery.host = HOST.to_owned();
        delivery.port = upstream.port();
        delivery.tls = Tls::Starttls;
        delivery.ca_file = Some(ca_file.to_owned());
        let password = PasswordSource::Inline(Secret::new(APP_PASSWORD.to_owned()));
        delivery.login = Some(Login { username: USERNAME.to_owned(), password });
        if let Some(limit) = self.daily_limit {
            delivery.recipients_per_day = limit;
            delivery.urgent_reserve = 0;
            options.owner_reserve = 0;
        }
        Ok(options)
    }
}

/// A configuration is used only when it was named: `./relay.toml` belongs to `pillarbox run`.
fn settings_or_defaults(config: Option<&Path>) -> Result<Settings, Failure> {
    if config.is_some() {
        return Ok(settings::load(config)?);
    }
    let nowhere = Surroundings {
        variables: std::collections::BTreeMap::new(),
        local_file: PathBuf::new(),
        system_file: PathBuf::new(),
        ..Surroundings::of_this_process()
    };
    Ok(settings::load_in(None, &nowhere)?)
}

async fn serve(
    out: &mut dyn Write,
    config: Option<&Path>,
    arguments: &Arguments,
    sandbox: Sandbox,
    signals: Signals,
) -> Result<(), Failure> {
    let directory = arguments.directory()?;
    let ca_file = arguments.ca_file.clone().unwrap_or_else(|| directory.join("look-alike-ca.pem"));
    let options = arguments.daemon(config, &directory, &ca_file, sandbox.starttls_address())?;
    telemetry::init(telemetry::Options { format: telemetry::Format::Text, level: tracing::Level::INFO });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let socket = options.admin.socket.clone();
    let listener = daemon::bind(&options).map_err(|error| explain(error, arguments))?;
    if arguments.directory.is_none() {
        start_fresh(&options.queue.directory)?;
    }
    let store = open_store(&options, &clock).map_err(|error| explain(error, arguments))?;
    // Only now is it certain that no other sandbox lives here, whose daemon reads this file as well.
    arguments.write_authority(&ca_file, &sandbox)?;
    let daemon = Daemon::start(options, clock, store, listener).await;
    let daemon = daemon.map_err(|error| explain(error, arguments))?;
    let listening = daemon.addresses().first().copied().unwrap_or(arguments.listen);
    out.write_all(welcome(listening, sandbox.starttls_address(), &directory, &socket).as_bytes())?;
    out.flush()?;
    let result = signals.run(daemon).await;
    sandbox.stop().await;
    result
}

/// Prints the addresses and serves until a signal comes.
async fn serve_upstream_only(
    out: &mut dyn Write,
    arguments: &Arguments,
    sandbox: Sandbox,
    signals: Signals,
) -> Result<(), Failure> {
    if let Some(file) = &arguments.ca_file {
        arguments.write_authority(file, &sandbox)?;
    }
    let line = json!({
        "starttls": sandbox.starttls_address(),
        "implicit": sandbox.implicit_address(),
        "plain": sandbox.plain_address(),
        "host": HOST,
        "username": USERNAME,
        "password": APP_PASSWORD,
        "ca_file": arguments.ca_file,
    });
    writeln!(out, "{line}")?;
    out.flush()?;
    signals.wait_for_stop().await;
    sandbox.stop().await;
    Ok(())
}

/// Empties the queue of an earlier run: its spent budget and its paused account would puzzle whoever
/// starts anew. A queue that another process holds is left alone; opening it says who that is.
fn start_fresh(queue: &Path) -> Result<(), Failure> {
    empty_unless_locked(queue).map_err(|error| {
        let message = format!(
            "cannot empty the queue of an earlier sandbox in {}: {error}; choose another place with --directory",
            queue.display()
        );
        Failure::new(Exit::Unavailable, message)
    })
}

fn empty_unless_locked(queue: &Path) -> io::Result<()> {
    let lock = match File::options().write(true).open(queue.join(LOCK)) {
        Ok(lock) => lock,
        // Nobody was here before.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    for entry in fs::read_dir(queue)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_name() != LOCK {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A taken port is the likely trouble here, and its remedy is another one than for `pillarbox run`.
fn explain(error: DaemonError, arguments: &Arguments) -> Failure {
    let hint = match error {
        DaemonError::Listener(_) => {
            let other = SocketAddr::new(arguments.listen.ip(), arguments.listen.port().wrapping_add(1));
            format!("\nChoose another address for the sandbox: pillarbox sandbox --listen {other}")
        }
        DaemonError::Store(StoreOpenError::Locked { .. }) => {
            "\nFor a second sandbox, name a directory of its own: pillarbox sandbox --directory PATH"
                .to_owned()
        }
        DaemonError::Door(_)
        | DaemonError::Store(_)
        | DaemonError::Admin(_)
        | DaemonError::Ended(_)
        | DaemonError::Queue(_) => String::new(),
    };
    let mut failure = Failure::from(error);
    failure.message += &hint;
    failure
}

/// What a person needs to try it.
fn welcome(listening: SocketAddr, upstream: SocketAddr, directory: &Path, socket: &Path) -> String {
    let (address, port) = (listening.ip(), listening.port());
    format!(
        r#"
Pillarbox sandbox: the whole relay against a built-in look-alike of Gmail.
Nothing leaves this machine. The real thing, with your account, is `pillarbox run`.

  takes mail on   {listening} (SMTP, no password)
  relays to       {HOST}:{upstream_port} (the look-alike, over TLS, logged in as {USERNAME})
  queue           {directory}
  admin socket    {socket}

Send a mail in any of these ways:

  swaks --server {listening} --from me@example.org --to you@example.org

  printf 'Subject: Hello\r\n\r\nIt works.\r\n' | curl --upload-file - --mail-from me@example.org --mail-rcpt you@example.org smtp://{listening}

  python3 -c 'import smtplib; s = smtplib.SMTP("{address}", {port}); s.sendmail("me@example.org", ["you@example.org"], "Subject: Hello\n\nIt works.\n"); s.quit()'

Some recipients make the look-alike refuse as Gmail does: nosuch@, full@, tmp@, spam@, quota@. The last one says
that the day's limit is reached: the account pauses and all mail waits until the look-alike is started anew.

See what waits, and why:  pillarbox status --socket {socket}
End a pause, try now:     pillarbox resume --socket {socket}
Stop:                     Ctrl-C

From here on, one line for each stage of each message.

"#,
        upstream_port = upstream.port(),
        directory = directory.display(),
        socket = socket.display(),
    )
}
