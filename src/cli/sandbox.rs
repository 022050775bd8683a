//! `pillarbox sandbox`: the whole daemon against the built-in look-alike of Gmail.
//!
//! Rule: the same daemon as `run`, with its real queue, real TLS and a real login; only the upstream is
//! ours. It says so, and never uses an account of the configuration. Must not know what the look-alike
//! answers.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use serde_json::json;

use super::{
    fitting::{self, beside, line_width},
    run::{Signals, open_store},
    runtime::Runtime,
    screen::Screen,
    send,
};
use crate::{
    admin::place,
    clock::{Clock, SystemClock, Timestamp},
    daemon::{self, Daemon, DaemonError},
    delivery::{
        IpFamily, Login, PasswordSource, Provider, Tls, Transport,
        oauth::{
            ClientSource, Endpoint, Endpoints, Grant, Issuer, Limits, Options, SecretSource,
            token_file::{Stored, TokenFile},
        },
    },
    exit::{Exit, Failure},
    listener,
    page::Rehearsal,
    queue::recovery::QueueOpenError,
    sandbox::{
        self, APP_PASSWORD, HOST, OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET, SCENARIOS, Sandbox,
        Scenario, USERNAME,
    },
    secret::Secret,
    settings::{self, Settings, Surroundings, special_networks},
    telemetry,
};

/// Where the page of a sandbox is.
const PAGE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8025);
/// Whom the mail of a scenario is for that a visitor of the page plays: two, since some of them are about one of several.
const REHEARSED: [&str; 2] = ["ok@example.org", "you@example.org"];
/// The variable by which commands are told where the admin socket is.
const ADMIN_SOCKET_VARIABLE: &str = "PILLARBOX__ADMIN__SOCKET";
/// Where the state of a user's programs lies (XDG Base Directory Specification).
const STATE_DIRECTORY: &str = ".local/state";

/// Options of the sandbox.
#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// Where to take mail.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:2525")]
    listen: SocketAddr,
    /// Where the page for a browser is, or "off". Default: 127.0.0.1:8025, or another port when that is taken
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = page)]
    page: Option<PageAddress>,
    /// Where the queue lies, and stays from one run to the next. Default: pillarbox-sandbox in
    /// $XDG_STATE_HOME or ~/.local/state, which is emptied at every start.
    #[arg(long, value_name = "PATH")]
    directory: Option<PathBuf>,
    /// Recipients in 24 hours, to see what happens when the budget is spent.
    #[arg(long, value_name = "RECIPIENTS", value_parser = clap::value_parser!(u32).range(1..))]
    daily_limit: Option<u32>,
    /// Play a kind of trouble, to watch what the relay does; "list" shows all of them.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["daily_limit", "unlimited"])]
    scenario: Option<String>,
    /// Simulated round trip to the look-alike.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    latency_ms: u64,
    /// Append a JSON line about each message that the look-alike takes.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Write each message that the look-alike takes to a file of its own in this directory.
    #[arg(long, value_name = "PATH")]
    mailbox: Option<PathBuf>,
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
pub(super) fn run(
    out: &mut dyn Screen,
    config: Option<&Path>,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let scenario = match arguments.scenario.as_deref() {
        Some("list") => return Ok(out.write_all(list().as_bytes())?),
        Some(name) => Some(find(name)?),
        None => None,
    };
    daemon::harden();
    let runtime = Runtime::of_a_daemon()?;
    let result = runtime.block_on(async {
        let signals = Signals::receive()?;
        let sandbox = Sandbox::start(arguments.look_alike(scenario)).await;
        let sandbox =
            sandbox.map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
        if arguments.upstream_only {
            return serve_upstream_only(out, arguments, scenario, sandbox, signals).await;
        }
        serve(out, config, arguments, scenario, sandbox, signals).await
    });
    runtime.stop();
    result
}

impl Arguments {
    fn look_alike(&self, scenario: Option<&Scenario>) -> sandbox::Options {
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
        let mut options = sandbox::Options {
            recipients_per_day: self.daily_limit.unwrap_or(base.recipients_per_day),
            latency: Duration::from_millis(self.latency_ms),
            journal: self.journal.clone(),
            mailbox: self.mailbox.clone(),
            starttls_bind: bind(self.starttls_port),
            implicit_bind: bind(self.implicit_port),
            plain_bind: bind(self.plain_port),
            ..base
        };
        if let Some(scenario) = scenario {
            scenario.prepare(&mut options);
        }
        options
    }

    /// Writes the certificate that clients of the look-alike must trust.
    fn write_authority(&self, path: &Path, sandbox: &Sandbox) -> Result<(), Failure> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let made = directory.map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(path, sandbox.certificate_authority_pem())).map_err(|error| {
            let option = if self.ca_file.is_some() { "--ca-file" } else { "--directory" };
            let message = format!(
                "cannot write {}: {error}; choose another place with {option}",
                path.display()
            );
            Failure::new(Exit::Unavailable, message)
        })
    }

    fn directory(&self) -> Result<PathBuf, Failure> {
        if let Some(directory) = &self.directory {
            return Ok(directory.clone());
        }
        let named = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let state = named("XDG_STATE_HOME").or_else(|| Some(named("HOME")?.join(STATE_DIRECTORY)));
        let message =
            "neither XDG_STATE_HOME nor HOME is set: say where the queue may lie with --directory";
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
        password: &str,
    ) -> Result<Settings, Failure> {
        let mut settings = settings_or_defaults(config)?;
        settings.is_of_sandbox = true;
        // What is spent of a look-alike concerns nobody else.
        (settings.fleet, settings.queue.database) = (None, None);
        settings.listener.addresses = vec![self.listen.into()];
        if !self.listen.ip().is_loopback() {
            trust_private_networks(&mut settings.listener);
        }
        settings.queue.directory = directory.join("queue");
        settings.admin.socket = admin_socket(env::var_os(ADMIN_SOCKET_VARIABLE), directory);
        // The port of the configuration belongs to its daemon.
        settings.admin.http = None;
        let page = self.page.map_or(Some(PAGE), |PageAddress(address)| address);
        let may_move = self.page.is_none();
        // Who may see the relay of the named configuration may see this one.
        let users_file = settings.admin.page.take().and_then(|configured| configured.users_file);
        settings.admin.page = page.map(|address| place::Options {
            address,
            url: None,
            may_move,
            tls: None,
            users_file,
        });
        settings.listener.local.socket = Some(directory.join("submit.sock"));
        settings.listener.local.drop_directory = Some(directory.join("drop"));
        // Nothing leaves the look-alike.
        settings.accounts.clear();
        let delivery = &mut settings.delivery;
        delivery.provider = Provider::Gmail;
        delivery.host = HOST.to_owned();
        delivery.port = upstream.port();
        delivery.transport = Transport::Smtp;
        delivery.tls = Tls::Starttls;
        delivery.ca_file = Some(ca_file.to_owned());
        let password = PasswordSource::Inline(Secret::new(password.to_owned()));
        delivery.other_way = None;
        delivery.ip_family = IpFamily::Any;
        delivery.login = Some(Login { username: USERNAME.to_owned(), password });
        // As with a real account, which reads root's mail unless somebody else is named.
        delivery.admin = delivery.admin.take().or_else(|| USERNAME.parse().ok());
        settings.queue.storms.admin.clone_from(&delivery.admin);
        let account = settings.notices.account.take();
        settings.notices.account = account.or_else(|| USERNAME.parse().ok());
        delivery.recipients = Arc::new(delivery.recipients.with_admin(delivery.admin.clone()));
        settings.listener.recipients = Arc::clone(&delivery.recipients);
        settings.listener.session.local_recipients = delivery.admin.is_some();
        if let Some(limit) = self.daily_limit {
            delivery.recipients_per_day = limit.into();
            (delivery.urgent_reserve, delivery.notice_reserve) = (0, 0);
            settings.owner_reserve = 0;
        }
        Ok(settings)
    }
}

/// Who asks for another address than loopback wants to send from another machine, or through a published port of a
/// container. Nothing leaves the look-alike, so no private network needs to be named for it.
fn trust_private_networks(listener: &mut listener::Options) {
    let trusted = listener.networks.iter_mut().find(|network| network.policy.trusted);
    if let Some(trusted) = trusted {
        trusted.networks.extend(special_networks::local());
    }
}

/// Where commands look for it (the variable that an image sets), else below the sandbox's own directory.
fn admin_socket(named: Option<OsString>, directory: &Path) -> PathBuf {
    let named = named.filter(|path| !path.is_empty()).map(PathBuf::from);
    named.unwrap_or_else(|| directory.join("admin.sock"))
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
    out: &mut dyn Screen,
    config: Option<&Path>,
    arguments: &Arguments,
    scenario: Option<&Scenario>,
    sandbox: Sandbox,
    signals: Signals,
) -> Result<(), Failure> {
    let directory = arguments.directory()?;
    let ca_file = arguments.ca_file.clone().unwrap_or_else(|| directory.join("look-alike-ca.pem"));
    let upstream = sandbox.starttls_address();
    let mut settings =
        arguments.daemon(config, &directory, &ca_file, upstream, password(scenario))?;
    let log = telemetry::Options { format: telemetry::Format::Text, level: tracing::Level::INFO };
    telemetry::init(log, telemetry::Output::Stderr);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (socket, submit) = (settings.admin.socket.clone(), directory.join("submit.sock"));
    let listener = daemon::bind(&settings).map_err(|error| explain(error, arguments))?;
    if arguments.directory.is_none() {
        start_fresh(&settings.queue.directory)?;
    }
    if let Some(scenario) = scenario.filter(|scenario| scenario.uses_tokens()) {
        let service = sandbox.oauth_url();
        let login =
            token_login(USERNAME, scenario.password, &service, &directory, clock.now().wall)?;
        settings.delivery.login = Some(login);
    }
    let store = open_store(&settings, &clock).map_err(|error| explain(error, arguments))?;
    // Only now is it certain that no other sandbox lives here, whose daemon reads this file as well.
    arguments.write_authority(&ca_file, &sandbox)?;
    let daemon = Daemon::start(settings, clock, store, listener).await;
    let daemon = daemon.map_err(|error| explain(error, arguments))?;
    let listening = daemon.addresses().first().copied().unwrap_or(arguments.listen);
    let page = daemon.page_link("whoever started the sandbox");
    // A login that was chosen for one scenario cannot be changed for another.
    if scenario.is_none() {
        daemon.rehearse(rehearsal(&sandbox, &submit));
    }
    let places = Places {
        listening,
        upstream,
        directory: &directory,
        socket: &socket,
        submit: &submit,
        page: page.as_deref(),
    };
    out.write_all(welcome(&places, scenario).as_bytes())?;
    out.flush()?;
    let result = signals.run(daemon).await;
    sandbox.stop().await;
    result
}

/// What a visitor of the page may play, and the mail that shows it.
fn rehearsal(sandbox: &Sandbox, submit: &Path) -> Rehearsal {
    let submit = submit.to_owned();
    let send = move || {
        let sent = send::hand_over_at(&submit, &REHEARSED);
        sent.map(drop).map_err(|failure| failure.message)
    };
    Rehearsal { director: sandbox.director(), send: Box::new(send) }
}

fn password(scenario: Option<&Scenario>) -> &'static str {
    scenario.map_or(APP_PASSWORD, |scenario| scenario.password)
}

/// Prints the addresses and serves until a signal comes.
async fn serve_upstream_only(
    out: &mut dyn Screen,
    arguments: &Arguments,
    scenario: Option<&Scenario>,
    sandbox: Sandbox,
    signals: Signals,
) -> Result<(), Failure> {
    if let Some(file) = &arguments.ca_file {
        arguments.write_authority(file, &sandbox)?;
    }
    let mut line = sandbox.description(scenario);
    line["ca_file"] = json!(arguments.ca_file);
    writeln!(out, "{line}")?;
    out.flush()?;
    signals.wait_for_stop().await;
    sandbox.stop().await;
    Ok(())
}

/// A taken port is the likely trouble here, and its remedy is another one than for `pillarbox run`.
fn explain(error: DaemonError, arguments: &Arguments) -> Failure {
    let hint = match error {
        DaemonError::Listener(_) => {
            let other = SocketAddr::new(arguments.listen.ip(), arguments.listen.port().wrapping_add(1));
            format!("\nChoose another address for the sandbox: pillarbox sandbox --listen {other}")
        }
        DaemonError::Store(QueueOpenError::Locked { .. }) => {
            "\nFor a second sandbox, name a directory of its own: pillarbox sandbox --directory PATH"
                .to_owned()
        }
        DaemonError::Door(_)
        | DaemonError::Store(_)
        | DaemonError::Admin(_)
        | DaemonError::Http(_)
        | DaemonError::Ended(_)
        | DaemonError::Queue(_) => String::new(),
    };
    let mut failure = Failure::from(error);
    failure.message += &hint;
    failure
}

/// The file that the daemon on a queue holds locked.
const LOCK: &str = "lock";

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

/// Stores `refresh_token` below `directory` and returns the login that uses it. `service` is the address of the
/// look-alike's account service.
pub(super) fn token_login(
    username: &str,
    refresh_token: &str,
    service: &str,
    directory: &Path,
    now: Timestamp,
) -> Result<Login, Failure> {
    let failed = |reason: String| Failure::new(Exit::Unavailable, reason);
    let token_file = directory.join("oauth-token.json");
    let stored = Stored {
        username: username.to_owned(),
        client_id: OAUTH_CLIENT_ID.to_owned(),
        refresh_token: Secret::new(refresh_token.to_owned()),
        granted_at: now,
        refresh_token_expires_at: None,
        scope: None,
        access: None,
        stored_at: now,
    };
    TokenFile::new(token_file.clone(), Issuer::Google)
        .replace(&stored)
        .map_err(|error| failed(error.to_string()))?;
    let endpoint = |path: &str| Endpoint::new(&format!("{service}{path}")).map_err(failed);
    let secret = SecretSource::Inline(Secret::new(OAUTH_CLIENT_SECRET.to_owned()));
    let tokens = Options {
        grant: Grant::Refresh {
            client: ClientSource::Named { id: OAUTH_CLIENT_ID.to_owned(), secret: Some(secret) },
            token_file,
        },
        endpoints: Endpoints {
            authorization: endpoint("/authorize")?,
            token: endpoint("/token")?,
            revocation: Some(endpoint("/revoke")?),
        },
        issuer: Issuer::Google,
        limits: Limits::default(),
    };
    Ok(Login { username: username.to_owned(), password: PasswordSource::Tokens(Box::new(tokens)) })
}

/// Where a page is to be, if there is to be one.
#[derive(Clone, Copy, Debug)]
struct PageAddress(Option<SocketAddr>);

fn page(text: &str) -> Result<PageAddress, String> {
    if text == "off" {
        return Ok(PageAddress(None));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(PageAddress(Some(address))),
        Ok(_) => {
            Err("only this host may see it: write an address such as 127.0.0.1:8025".to_owned())
        }
        Err(_) => Err("write an address with a port such as 127.0.0.1:8025, or off".to_owned()),
    }
}

/// Where everything is.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) listening: SocketAddr,
    pub(super) upstream: SocketAddr,
    pub(super) directory: &'a Path,
    pub(super) socket: &'a Path,
    pub(super) submit: &'a Path,
    /// A link to the page.
    pub(super) page: Option<&'a str>,
}

/// What a person needs to try it.
fn welcome(places: &Places<'_>, scenario: Option<&Scenario>) -> String {
    let Places { listening, upstream, directory, socket, submit, page } = *places;
    let (address, port) = (listening.ip(), listening.port());
    let scenario = scenario.map_or_else(String::new, announcement);
    let program = program(env::args_os().next());
    let page = page.map_or_else(String::new, |link| {
        format!("\nSee it all in a browser (the link works once; `{program} page --socket {}` makes another):\n\n  {link}\n", socket.display())
    });
    let trusted = if address.is_loopback() { "" } else { " of private networks" };
    format!(
        r#"
Pillarbox sandbox: the whole relay against a built-in look-alike of Gmail.
Nothing leaves this machine. The real thing, with your account, is `{program} run`.

  takes mail on   {listening} (SMTP{trusted}, no password)
  relays to       {HOST}:{upstream_port} (the look-alike, over TLS, logged in as {USERNAME})
  queue           {directory}
  admin socket    {socket}
{page}{scenario}
Send a mail in any of these ways:

  swaks --server {listening} --from me@example.org --to you@example.org

  printf 'Subject: Hello\r\n\r\nIt works.\r\n' | curl -sS --upload-file - --mail-from me@example.org --mail-rcpt you@example.org smtp://{listening}

  python3 -c 'import smtplib; s = smtplib.SMTP("{address}", {port}); s.sendmail("me@example.org", ["you@example.org"], "Subject: Hello\n\nIt works.\n"); s.quit()'

  printf 'Subject: Hello\n\nIt works.\n' | PILLARBOX_SUBMIT={submit} {program} sendmail you@example.org

Some recipients make the look-alike refuse as Gmail does: nosuch@, full@, tmp@, spam@, quota@. The last one says
that the day's limit is reached: the account pauses and all mail waits until the look-alike is started anew.
`{program} sandbox --scenario list` shows more kinds of trouble.

See what waits, and why:  {program} status --socket {socket}
End a pause, try now:     {program} resume --socket {socket}
Stop:                     Ctrl-C

From here on, one line for each stage of each message.

"#,
        upstream_port = upstream.port(),
        directory = directory.display(),
        socket = socket.display(),
        submit = submit.display(),
    )
}

/// The program as it was called here, so that the commands work when they are copied: it is seldom in the PATH yet.
fn program(called: Option<OsString>) -> String {
    let called = called.and_then(|name| name.into_string().ok());
    called.filter(|name| !name.is_empty()).unwrap_or_else(|| "pillarbox".to_owned())
}

/// What will happen, and what to look at.
fn announcement(scenario: &Scenario) -> String {
    let width = line_width().min(WIDTH);
    let block = |head: &str, text: &str| beside(head, text, width).join("\n");
    format!(
        "\n{}\n\n{}\n{}\n",
        block("", &format!("Scenario {}: {}", scenario.name, scenario.shows)),
        block("  what happens    ", scenario.happens),
        block("  watch for       ", scenario.watch)
    )
}

/// Every scenario in a line.
pub(super) fn list() -> String {
    let longest = SCENARIOS.iter().map(|scenario| scenario.name.len()).max().unwrap_or(0);
    let width = fitting::width().unwrap_or(usize::MAX);
    let line = |scenario: &Scenario| {
        let head = format!("  {:<longest$}  ", scenario.name);
        beside(&head, scenario.shows, width).join("\n") + "\n"
    };
    let lines: String = SCENARIOS.iter().map(line).collect();
    format!("Scenarios of the sandbox (pillarbox sandbox --scenario NAME):\n\n{lines}")
}

/// The scenario of that name; otherwise the list helps.
pub(super) fn find(name: &str) -> Result<&'static Scenario, Failure> {
    Scenario::find(name).ok_or_else(|| {
        let near =
            |scenario: &&Scenario| strsim::damerau_levenshtein(scenario.name, name) <= TYPOS_MAX;
        let hint = SCENARIOS
            .iter()
            .find(near)
            .map(|scenario| format!("; did you mean {}?", scenario.name));
        let hint = hint.unwrap_or_else(|| ".".to_owned());
        Failure::new(
            Exit::Usage,
            format!("there is no scenario \"{name}\"{hint}\n\n{}", list().trim_end()),
        )
    })
}

/// Columns beyond which a line of several sentences is hard to read.
const WIDTH: usize = 110;
/// Letters that may be wrong in a name for a suggestion.
const TYPOS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn listener() -> listener::Options {
        settings_or_defaults(None).unwrap().listener
    }

    #[test]
    fn a_sandbox_for_other_machines_trusts_private_networks_and_no_public_one() {
        let mut options = listener();
        let trusts = |options: &listener::Options, address: &str| {
            options.policy_of(address.parse().unwrap()).trusted
        };
        assert!(trusts(&options, "127.0.0.1") && !trusts(&options, "172.17.0.1"));
        trust_private_networks(&mut options);
        for address in ["127.0.0.1", "172.17.0.1", "192.168.1.2", "10.0.0.9", "fd00::1"] {
            assert!(trusts(&options, address), "{address}");
        }
        for address in ["8.8.8.8", "172.32.0.1", "2001:4860:4860::8888"] {
            assert!(!trusts(&options, address), "{address}");
        }
    }

    #[test]
    fn commands_find_the_sandbox_where_the_image_tells_them_to_look() {
        let directory = Path::new("/sandbox");
        let named = OsString::from("/run/admin.sock");
        assert_eq!(admin_socket(Some(named), directory), Path::new("/run/admin.sock"));
        assert_eq!(admin_socket(Some(OsString::new()), directory), directory.join("admin.sock"));
        assert_eq!(admin_socket(None, directory), directory.join("admin.sock"));
    }

    #[test]
    fn a_scenario_with_a_typing_error_is_suggested_and_all_are_listed() {
        let failure = find("dayly-limit").expect_err("there is no such scenario");
        assert!(failure.message.contains("did you mean daily-limit?"), "{}", failure.message);
        for scenario in SCENARIOS {
            assert!(failure.message.contains(scenario.shows));
            assert_eq!(find(scenario.name).expect("it exists").name, scenario.name);
        }
    }
}
