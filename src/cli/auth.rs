//! `pillarbox auth`: tokens instead of a password: the consent in a browser, how long it lasts, and its end.
//!
//! Rule: the token is stored before anything else can fail, and proved by one refresh before success is told; no secret is
//! printed, and whatever fails says what to do. Must not know the protocol.

mod device;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use clap::{Args, Subcommand};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    runtime::Runtime,
    screen::{self, Screen, clean, labelled, local, relative, span, when},
};
use crate::{
    addressed::addressed,
    admin::client::Client as Daemon,
    budget::MAIN,
    clock::{Clock, SystemClock, Timestamp},
    daemon,
    delivery::{
        self, Login, PasswordSource,
        oauth::{
            ClientSource, Grant, Issuer, Kind, Options, TokenError,
            client_file::{self, Client},
            consent::{self, Consent},
            exchange::Exchange,
            service_account::{self, ServiceAccount},
            token_file::{Stored, TokenFile},
        },
    },
    doctor::{advice, token_warnings},
    exit::{Exit, Failure},
    queue::state::AccountCondition,
    settings::{self, Settings},
};

/// What is done with the tokens.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Have the account's owner consent in a browser.
    ///
    /// Here or on another machine.
    Google(Google),
    /// Have the owner of an account at Microsoft consent with a code.
    ///
    /// It shows an address and a code, to be entered in a browser on any device, and waits until somebody has done so. For
    /// Microsoft 365 and Outlook.com with auth = "oauth"; an application of an organisation needs no consent.
    Microsoft,
    /// Show whose token there is, what it allows and when it ends.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take the token back, at the provider and here.
    Revoke,
}

/// The command, and of which account.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only this account, by its name in relay.toml; without it the main one.
    #[arg(long = "account", global = true, value_name = "NAME")]
    account: Option<String>,
    #[command(subcommand)]
    command: Command,
}

/// Runs the command.
pub(super) fn run(
    out: &mut dyn Screen,
    config: Option<&Path>,
    arguments: &Arguments,
) -> Result<(), Failure> {
    daemon::harden();
    let settings = settings::load(config)?;
    let name = arguments.account.as_deref();
    run_of(out, &settings, name, &arguments.command).map_err(|failure| {
        let message = addressed(&failure.message, name.unwrap_or(MAIN));
        Failure { message, ..failure }
    })
}

/// The same of one account.
fn run_of(
    out: &mut dyn Screen,
    settings: &Settings,
    name: Option<&str>,
    command: &Command,
) -> Result<(), Failure> {
    let account = Account::of(settings, name)?;
    match command {
        Command::Google(arguments) => {
            google(out, &account.consenting_at(Issuer::Google)?, arguments)
        }
        Command::Microsoft => microsoft(out, &account.consenting_at(Issuer::Microsoft)?),
        Command::Status { json } => status(out, &account, *json),
        Command::Revoke => revoke(out, &account.consenting()?),
    }
}

/// Has the owner consent, as the command for the account's provider without a flag does.
pub(super) fn consent(out: &mut dyn Screen, config: Option<&Path>) -> Result<(), Failure> {
    let settings = settings::load(config)?;
    let consenting = Account::of(&settings, None)?.consenting()?;
    match consenting.account.options.issuer {
        Issuer::Microsoft => microsoft(out, &consenting),
        Issuer::Google | Issuer::GoogleApi => {
            let arguments = Google { port: 0, wait: CONSENT_WAIT, testing: false, import: None };
            google(out, &consenting, &arguments)
        }
    }
}

/// What a person runs to consent, for a login with tokens.
pub(super) fn command(login: Option<&Login>) -> Option<&'static str> {
    match &login?.password {
        PasswordSource::Tokens(options) => Some(options.issuer.command()),
        _ => None,
    }
}

/// The way to tokens of an account that has none yet.
const GOOGLE_LINES: &str = "Run: pillarbox setup --again --login oauth\n\n\
                            Or write these lines under [upstream]; docs/oauth.md says where the client file comes from:\n\n\
                            \x20   username = \"you@gmail.com\"\n\
                            \x20   auth = \"oauth\"\n\
                            \x20   oauth_client_file = \"/etc/pillarbox/client.json\"";
const MICROSOFT_LINES: &str = "Run: pillarbox setup --again --login oauth\n\n\
                               Or write these lines under [upstream]; docs/microsoft.md says where the id comes from:\n\n\
                               \x20   username = \"you@example.com\"\n\
                               \x20   auth = \"oauth\"\n\
                               \x20   oauth_client_id = \"66666666-7777-8888-9999-000000000000\"";

/// An account that logs in with tokens.
struct Account<'a> {
    settings: &'a Settings,
    name: &'a str,
    delivery: &'a delivery::Options,
    username: &'a str,
    options: &'a Options,
}

/// An account whose owner consents.
struct Consenting<'a> {
    account: Account<'a>,
    client: &'a ClientSource,
    file: TokenFile,
}

impl<'a> Account<'a> {
    /// The one with this name; the main one without a name.
    fn of(settings: &'a Settings, name: Option<&str>) -> Result<Self, Failure> {
        let wanted = name.unwrap_or(MAIN);
        let found = settings.all_accounts().find(|(name, ..)| *name == wanted);
        let Some((name, delivery, _)) = found else {
            let names: Vec<&str> = settings.all_accounts().map(|(name, ..)| name).collect();
            let words =
                format!("there is no account called {wanted:?}; there is {}", names.join(", "));
            return Err(Failure::new(Exit::Data, words));
        };
        if let Some(login) = &delivery.login
            && let PasswordSource::Tokens(options) = &login.password
        {
            return Ok(Self { settings, name, delivery, username: &login.username, options });
        }
        let lines = match delivery.provider.is_microsoft() {
            true => MICROSOFT_LINES,
            false => GOOGLE_LINES,
        };
        let words =
            format!("the account does not log in with tokens ({})\n\n{lines}", settings.source);
        Err(Failure::new(Exit::Configuration, words))
    }

    /// The same, when its provider is the one that is asked.
    fn consenting_at(self, issuer: Issuer) -> Result<Consenting<'a>, Failure> {
        let settings = self.settings;
        let consenting = self.consenting()?;
        let own = consenting.account.options.issuer;
        if own.command() == issuer.command() {
            return Ok(consenting);
        }
        let words = format!(
            "{} gets its tokens from {}, not from {} ({})\n  Run: {}",
            consenting.account.username,
            own.name(),
            issuer.name(),
            settings.source,
            own.command()
        );
        Err(Failure::new(Exit::Configuration, words))
    }

    /// What its owner runs to consent.
    fn consent_command(&self) -> String {
        addressed(self.options.issuer.command(), self.name)
    }

    fn consenting(self) -> Result<Consenting<'a>, Failure> {
        let (options, account) = (self.options, self);
        match &options.grant {
            Grant::Refresh { client, token_file } => {
                let file = TokenFile::new(token_file.clone(), account.options.issuer);
                Ok(Consenting { client, file, account })
            }
            Grant::ServiceAccount { .. } => Err(Failure::new(
                Exit::Configuration,
                "a service account needs no consent: its key is enough, and it is taken back in the Admin console \
                 (Security, API controls, Domain-wide delegation). `pillarbox auth status` shows it.",
            )),
            Grant::Application { .. } => Err(Failure::new(
                Exit::Configuration,
                "an application needs nobody's consent but its administrator's: its secret or certificate is enough, and it is taken back at \
                 https://entra.microsoft.com (App registrations). `pillarbox auth status` shows it.",
            )),
        }
    }
}

impl Consenting<'_> {
    fn exchange(&self) -> Exchange {
        let ca_file = self.account.delivery.ca_file.clone();
        Exchange::new(self.account.options.clone(), ca_file, clock())
    }

    fn store(&self, stored: &Stored) -> Result<(), Failure> {
        Ok(self.file.replace(stored)?)
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn revoke(out: &mut dyn Screen, consenting: &Consenting<'_>) -> Result<(), Failure> {
    let stored = consenting.file.read()?;
    let exchange = consenting.exchange();
    let issuer = exchange.issuer();
    let command = consenting.account.consent_command();
    let revoked = Runtime::of_a_question()?.block_on(exchange.revoke(&stored.refresh_token));
    let Some(revoked) = revoked else {
        consenting.file.remove()?;
        writeln!(
            out,
            "The token file of {} was removed. {} takes no token back from a program: end the access itself \
             ({}). A running relay can log in until the access token ends, within the hour or so, and then waits for `{}`.",
            stored.username,
            issuer.name(),
            issuer.permissions_page(),
            command
        )?;
        return Ok(());
    };
    // A token that may still be good is kept: without it nobody could take it back.
    revoked.map_err(|error| {
        let advice = format!(
            "The token file {} was kept. Try again, or remove the access by hand ({}) and then the file.",
            consenting.file.path().display(),
            issuer.permissions_page()
        );
        Failure::new(Exit::Temporary, format!("the token was not taken back: {error}\n  {advice}"))
    })?;
    consenting.file.remove()?;
    writeln!(
        out,
        "The token of {} was taken back and its file removed. A running relay can log in until the access token \
         ends, within the hour, and then waits for `{}`.",
        stored.username, command
    )?;
    Ok(())
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        let exit = match error.kind {
            Kind::Local => Exit::Configuration,
            Kind::Dead | Kind::Refused => Exit::Permission,
            Kind::Temporary => Exit::Temporary,
        };
        let more = advice(&["secret-files", "tokens"]);
        Self::new(exit, format!("{}\n  {}\n  {more}", error.reason, error.remedy))
    }
}

/// How long a consent is waited for.
const CONSENT_WAIT: Duration = Duration::from_secs(10 * 60);
/// Octets of a line that is read from the terminal; more cannot be an address.
const LINE_LENGTH_MAX: usize = 16 * 1024;
/// How often a reader of lines looks whether they are still wanted.
const LOOK_AT_TERMINAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// Lines that wait to be looked at.
const LINES_MAX: usize = 4;

/// How the first token is had.
#[derive(Debug, Args)]
pub(crate) struct Google {
    /// The port of 127.0.0.1 to which the browser comes back; default: any free one.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// How long to wait for the consent.
    #[arg(long, default_value = "10min", value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// The consent screen's publishing status is "Testing": its tokens end after 7 days.
    #[arg(long)]
    testing: bool,
    /// Take an existing refresh token from this file instead: JSON of gcloud or google-auth, the output of
    /// Google's oauth2.py, or the token alone.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["port", "wait"])]
    import: Option<PathBuf>,
}

/// Runs it.
fn google(
    out: &mut dyn Screen,
    consenting: &Consenting<'_>,
    arguments: &Google,
) -> Result<(), Failure> {
    let client = client_file::client(consenting.client)?;
    let exchange = consenting.exchange();
    let runtime = Runtime::of_a_question()?;
    let stored = runtime.block_on(async {
        match &arguments.import {
            Some(path) => import_token(consenting, &client, path, arguments.testing),
            None => ask(out, consenting, &exchange, &client, arguments).await,
        }
    })?;
    let imported = arguments.import.is_some();
    if !imported {
        // A consent is not asked for twice: stored first, proved then.
        consenting.store(&stored)?;
    }
    finish(out, consenting, &exchange, &client, &runtime, (stored, !imported))
}

/// Proves the first token, and tells of it. The flag: whether it is stored already.
fn finish(
    out: &mut dyn Screen,
    consenting: &Consenting<'_>,
    exchange: &Exchange,
    client: &Client,
    runtime: &Runtime,
    (stored, is_stored): (Stored, bool),
) -> Result<(), Failure> {
    let proved = runtime.block_on(consent::prove(exchange, client, stored)).map_err(|error| {
        let mut failure = Failure::from(error);
        let place = consenting.file.path().display();
        let kept = if is_stored {
            format!("It is stored in {place}.")
        } else {
            "Nothing was stored.".to_owned()
        };
        failure.message = format!("the token could not be used: {}\n  {kept}", failure.message);
        failure
    })?;
    consenting.store(&proved)?;
    report(out, consenting, &proved)?;
    runtime.block_on(tell_daemon(out, consenting))
}

/// Runs `auth microsoft`.
fn microsoft(out: &mut dyn Screen, consenting: &Consenting<'_>) -> Result<(), Failure> {
    let client = client_file::client(consenting.client)?;
    let exchange = consenting.exchange();
    let runtime = Runtime::of_a_question()?;
    let username = consenting.account.username;
    let stored = runtime.block_on(device::ask(out, username, &exchange, &client))?;
    // A consent is not asked for twice: stored first, proved then.
    consenting.store(&stored)?;
    finish(out, consenting, &exchange, &client, &runtime, (stored, true))
}

fn import_token(
    consenting: &Consenting<'_>,
    client: &Client,
    path: &Path,
    testing: bool,
) -> Result<Stored, Failure> {
    let imported = client_file::import(path)?;
    if let Some(id) = imported.client_id.filter(|id| *id != client.id) {
        let words = format!(
            "{} was made for the client {}, but {} is configured\n  A refresh token works with its own client \
             only: set upstream.oauth_client_file to that client's file; this one may do.",
            path.display(),
            clean(&id),
            clean(&client.id)
        );
        return Err(Failure::new(Exit::Data, words));
    }
    let now = clock().wall();
    Ok(Stored {
        username: consenting.account.username.to_owned(),
        client_id: client.id.clone(),
        refresh_token: imported.refresh_token,
        granted_at: now,
        refresh_token_expires_at: testing.then(|| now.after(consent::TESTING_LIFETIME)),
        scope: None,
        access: None,
        stored_at: now,
    })
}

async fn ask(
    out: &mut dyn Screen,
    consenting: &Consenting<'_>,
    exchange: &Exchange,
    client: &Client,
    arguments: &Google,
) -> Result<Stored, Failure> {
    let username = consenting.account.username;
    let consent = Consent::begin(exchange, client.clone(), username, arguments.port).await?;
    let back = consent.redirect_address().to_owned();
    let port = back.rsplit(':').next().unwrap_or_default();
    writeln!(
        out,
        "Open this address in a browser, log in as {username} and consent:\n\n  {}\n\n\
         The browser is sent to {back} afterwards. On another machine that page does not load; then \
         copy the whole address of that page from the browser, paste it here and press Enter. (Or make the \
         way free before: ssh -L {port}:127.0.0.1:{port} to this host.)\n\n\
         Waiting for {} ...",
        consent.address(),
        span(arguments.wait)
    )?;
    out.flush()?;
    let mut told = Ok(());
    let tell = |words: &str| {
        if told.is_ok() {
            told = writeln!(out, "{words}").and_then(|()| out.flush());
        }
    };
    let granted = consent.granted(exchange, pasted_lines(), arguments.wait, tell).await?;
    told?;
    let (issuer, now) = (exchange.issuer(), clock().wall());
    Ok(consent::first(granted, issuer, client, username, arguments.testing, now)?)
}

/// What is typed into the terminal, as long as somebody wants it: what is typed later is for the next question.
fn pasted_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    let read = move || {
        let mut line = Vec::new();
        while let Some(octet) = next_octet(&sender) {
            line.push(octet);
            if octet == b'\n' || line.len() == LINE_LENGTH_MAX {
                let typed = String::from_utf8_lossy(&line).into_owned();
                line.clear();
                if sender.blocking_send(typed).is_err() {
                    return;
                }
            }
        }
    };
    // Without the thread the browser is the only way, which is told by nothing happening.
    drop(thread::Builder::new().name("pasted-address".into()).spawn(read));
    receiver
}

/// The next octet of standard input; `None` at its end, and when nobody wants it any more. One by one: of what a buffer had
/// taken beyond the line no poll would tell, and the next question would not get it.
fn next_octet(wanted: &mpsc::Sender<String>) -> Option<u8> {
    let stdin = io::stdin();
    while !wanted.is_closed() {
        let mut typed = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut typed, Some(&LOOK_AT_TERMINAL)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) if wanted.is_closed() => return None,
            Ok(_) => {}
            Err(_) => return None,
        }
        let mut octet = [0];
        match rustix::io::read(&stdin, &mut octet) {
            Ok(1) => return Some(octet[0]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(_) | Err(_) => return None,
        }
    }
    None
}

fn report(out: &mut dyn Screen, consenting: &Consenting<'_>, stored: &Stored) -> io::Result<()> {
    writeln!(
        out,
        "\nThe token works. It is stored in {}, readable by the relay's user alone.",
        consenting.file.path().display()
    )?;
    let issuer = consenting.account.options.issuer;
    match stored.refresh_token_expires_at {
        Some(end) if issuer == Issuer::Microsoft => {
            writeln!(out, "It ends {}.", when(end, clock().wall()))
        }
        None if issuer == Issuer::Microsoft => writeln!(
            out,
            "The relay renews it. It ends when the account's password is changed, or after {} without use; the relay says so then.",
            issuer.unused()
        ),
        Some(end) => writeln!(
            out,
            "It ends {}. If that is because the consent screen is in \"Testing\": set its publishing status to \
             \"In production\" (https://console.cloud.google.com/auth/audience) and run this command once more.",
            when(end, clock().wall())
        ),
        None => writeln!(
            out,
            "If the consent screen's publishing status is \"Testing\", Google ends the token after 7 days: set it to \
             \"In production\" (https://console.cloud.google.com/auth/audience) and run this command once more."
        ),
    }
}

/// A relay that waits for this token is told to look. Any other pause has other reasons and stays.
async fn tell_daemon(out: &mut dyn Screen, consenting: &Consenting<'_>) -> Result<(), Failure> {
    let daemon = Daemon::new(consenting.account.settings.admin.socket.clone());
    let Ok(status) = daemon.status().await else { return Ok(()) };
    let waiting = [AccountCondition::PausedCredentials, AccountCondition::PausedConfiguration];
    let name = consenting.account.name;
    let other = status.others.iter().find(|other| other.name == name);
    let account = other.map_or(&status.account, |other| &other.account);
    if !waiting.iter().any(|condition| condition.name() == account.condition) {
        return Ok(());
    }
    if account.pause.is_some() {
        // That is a person's order, which this command has no say in.
        let words =
            "The relay is paused by the administrator and stays so; pillarbox resume ends that.";
        writeln!(out, "{}", addressed(words, name))?;
        return Ok(());
    }
    // A daemon with one account knows no names.
    if daemon.resume(other.map(|_| name)).await.is_ok() {
        writeln!(out, "The running relay has been asked to try again.")?;
    } else {
        writeln!(out, "{}", addressed("Now run: pillarbox resume", name))?;
    }
    Ok(())
}

/// Prints it.
fn status(out: &mut dyn Screen, account: &Account<'_>, as_json: bool) -> Result<(), Failure> {
    match &account.options.grant {
        Grant::Refresh { token_file, .. } => {
            let issuer = account.options.issuer;
            let file = TokenFile::new(token_file.clone(), issuer);
            let (stored, now) = (file.read()?, clock().wall());
            if as_json {
                screen::json(out, &document(&stored, (account.name, issuer), &file, now))?;
            } else {
                print_stored(out, &stored, (account.name, issuer), &file, now)?;
            }
        }
        Grant::ServiceAccount { key_file } => {
            let key = service_account::describe(key_file)?;
            if as_json {
                screen::json(
                    out,
                    &key_document(account.username, &key, (key_file, account.options.issuer)),
                )?;
            } else {
                print_key(out, account.username, &key, (key_file, account.options.issuer))?;
            }
        }
        Grant::Application { client, .. } => {
            let id = client_file::client(client)?.id;
            if as_json {
                let username = account.username;
                let document =
                    json!({ "auth": "client-credentials", "username": username, "client_id": id });
                screen::json(out, &document)?;
            } else {
                let lines = [account.username.to_owned(), format!("through the application {id}")];
                labelled(out, "account", &lines)?;
            }
        }
    }
    Ok(())
}

fn print_stored(
    out: &mut dyn Screen,
    stored: &Stored,
    (account, issuer): (&str, Issuer),
    file: &TokenFile,
    now: Timestamp,
) -> io::Result<()> {
    labelled(out, "account", &[stored.username.clone(), format!("client {}", stored.client_id)])?;
    labelled(
        out,
        "scope",
        &[stored.scope.clone().unwrap_or_else(|| "not said by the provider".into())],
    )?;
    let end = match stored.refresh_token_expires_at {
        Some(end) => format!("ends {}", when(end, now)),
        None => format!(
            "no end is known; it ends when it is revoked, unused for {}, or the password is changed",
            issuer.unused()
        ),
    };
    let granted =
        format!("given {} ({})", local(stored.granted_at, now), relative(stored.granted_at, now));
    labelled(out, "consent", &[granted, end])?;
    let access = stored.access.as_ref().map(|access| access.expires_at);
    let access = access.map_or_else(|| "none yet".into(), |end| format!("ends {}", when(end, now)));
    labelled(out, "access", &[access])?;
    labelled(out, "file", &[file.path().display().to_string()])?;
    labelled(out, "warning", &warnings(stored, (account, issuer), now))
}

fn warnings(stored: &Stored, (account, issuer): (&str, Issuer), now: Timestamp) -> Vec<String> {
    let warnings = token_warnings(stored, issuer, now);
    warnings.iter().map(|warning| addressed(warning, account)).collect()
}

fn document(stored: &Stored, whose: (&str, Issuer), file: &TokenFile, now: Timestamp) -> Value {
    json!({
        "auth": "oauth",
        "username": stored.username,
        "client_id": stored.client_id,
        "scope": stored.scope,
        "granted_at": stored.granted_at,
        "refresh_token_expires_at": stored.refresh_token_expires_at,
        "access_token_expires_at": stored.access.as_ref().map(|access| access.expires_at),
        "file": file.path(),
        "warnings": warnings(stored, whose, now),
    })
}

fn print_key(
    out: &mut dyn Screen,
    username: &str,
    key: &ServiceAccount,
    (key_file, issuer): (&Path, Issuer),
) -> io::Result<()> {
    labelled(
        out,
        "account",
        &[username.to_owned(), format!("through the service account {}", key.email)],
    )?;
    let id = key.client_id.as_deref().unwrap_or("(\"client_id\" of the key file)");
    labelled(out, "delegation", &[format!("client id {id} with the scope {}", issuer.asked())])?;
    labelled(out, "file", &[key_file.display().to_string()])
}

fn key_document(
    username: &str,
    key: &ServiceAccount,
    (key_file, issuer): (&Path, Issuer),
) -> Value {
    json!({
        "auth": "service-account",
        "username": username,
        "service_account": key.email,
        "client_id": key.client_id,
        "scope": issuer.asked(),
        "file": key_file,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::secret::Secret;

    #[test]
    fn the_end_of_a_testing_token_is_warned_of_before_it_comes() {
        let now = Timestamp(1_700_000_000_000);
        let stored = |end| Stored {
            username: "me@gmail.com".into(),
            client_id: "1.apps".into(),
            refresh_token: Secret::new("1//word".into()),
            granted_at: now,
            refresh_token_expires_at: end,
            scope: Some(Issuer::Google.asked().into()),
            access: None,
            stored_at: now,
        };
        let day = Duration::from_secs(86_400);
        let token_warnings = |stored: &Stored, now| token_warnings(stored, Issuer::Google, now);
        assert!(token_warnings(&stored(None), now).is_empty());
        assert!(token_warnings(&stored(Some(now.after(5 * day))), now).is_empty());
        let soon = token_warnings(&stored(Some(now.after(day))), now);
        assert!(soon[0].contains("in 1 d") && soon[0].contains("In production"), "{soon:?}");
        let over = token_warnings(&stored(Some(now.before(day))), now);
        assert!(
            over[0].contains("has ended") && over[0].contains("pillarbox auth google"),
            "{over:?}"
        );
        let mut out = Vec::new();
        let file = TokenFile::new("/var/lib/pillarbox/oauth-token.json".into(), Issuer::Google);
        print_stored(&mut out, &stored(Some(now.after(day))), (MAIN, Issuer::Google), &file, now)
            .unwrap();
        let text = String::from_utf8(out).unwrap()
            + &document(&stored(None), (MAIN, Issuer::Google), &file, now).to_string();
        assert!(text.contains("me@gmail.com") && !text.contains("1//word"), "{text}");
    }
}
