//! `pillarbox send`: a test message through the running daemon and, with `--wait`, what becomes of it.
//!
//! Rule: it goes the way of any program's mail, through the daemon's own socket and nowhere else, and costs one
//! recipient of the budget like any other. Must not know how a message is handed over or relayed.

use std::{
    io::{self, Cursor},
    path::Path,
    time::Duration,
};

use clap::Args;

use super::{
    remote,
    runtime::Runtime,
    screen::{Screen, clean, json, span, tenths},
};
use crate::{
    admin::{
        api::{Message, Recipient},
        client::Client,
    },
    clock::{Clock as _, Stopwatch, SystemClock, Timestamp},
    doctor::advice,
    exit::{Exit, Failure},
    findings::Outcome,
    queue::id::QueueId,
    sendmail::{
        Call,
        caller::Caller,
        configured::{Environment, Source},
        flags::{Flags, Role, Spelling},
    },
    wording::message::long,
};

/// Between two looks at the message.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Seconds that a message is waited for.
const WAIT_SECONDS: u64 = 120;
/// The socket for mail lies beside the admin socket, under this name, unless the configuration says otherwise.
const MAIL_SOCKET: &str = "submit.sock";
/// Who gets it when nobody is named: whoever reads the mail of this host.
const DEFAULT_RECIPIENT: &str = "root";

#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// Who gets it; default: root, whose mail goes where the aliases and identity.admin say.
    #[arg(value_name = "ADDRESS")]
    to: Vec<String>,
    /// The sender; default: the user who calls.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// Show each stage until the upstream has taken or refused it: exit code 0 when everybody's copy is relayed, 1 when one
    /// is not, 75 when it still waits.
    #[arg(long)]
    wait: bool,
    /// Seconds that --wait waits; the message stays queued after them.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = WAIT_SECONDS,
        requires = "wait",
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    timeout: u64,
    #[command(flatten)]
    remote: remote::Arguments,
}

pub(super) fn run(
    out: &mut dyn Screen,
    config: Option<&Path>,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let id = hand_over(config, arguments)?;
    let runtime = Runtime::of_a_question()?;
    if !arguments.wait {
        let written = match arguments.remote.json {
            true => json(out, &serde_json::json!({ "id": id })),
            false => writeln!(out, "Queued as {id}. See: pillarbox queue show {id}"),
        };
        return Ok(written?);
    }
    remote::with_client(config, &arguments.remote, |client| {
        runtime.block_on(follow(out, &client, arguments, id))
    })
}

impl Arguments {
    /// A message to these, which is waited for.
    fn to(to: Vec<String>, remote: remote::Arguments) -> Self {
        Self { to, from: None, wait: true, timeout: WAIT_SECONDS, remote }
    }
}

/// Hands a test message for root to the daemon.
pub(super) fn hand_over_to_root(
    config: Option<&Path>,
    remote: &remote::Arguments,
) -> Result<QueueId, Failure> {
    hand_over(config, &Arguments::to(Vec::new(), remote.clone()))
}

/// Hands one for somebody to the daemon of this configuration.
pub(super) fn hand_over_to(config: Option<&Path>, to: &str) -> Result<QueueId, Failure> {
    hand_over(config, &Arguments::to(vec![to.to_owned()], remote::Arguments::default()))
}

/// Hands one for these to the daemon behind a socket for mail.
pub(super) fn hand_over_at(socket: &Path, to: &[&str]) -> Result<QueueId, Failure> {
    let beside = socket.with_file_name("admin.sock");
    let remote = remote::Arguments { json: false, socket: Some(beside) };
    hand_over(None, &Arguments::to(to.iter().map(|one| (*one).to_owned()).collect(), remote))
}

/// Shows each of its stages, as `--wait` does.
pub(super) fn watch(
    out: &mut dyn Screen,
    config: Option<&Path>,
    id: QueueId,
) -> Result<(), Failure> {
    let arguments = Arguments::to(Vec::new(), remote::Arguments::default());
    let runtime = Runtime::of_a_question()?;
    remote::with_client(config, &arguments.remote, |client| {
        runtime.block_on(follow(out, &client, &arguments, id))
    })
}

/// What has become of it after so long at most.
pub(super) async fn outcome(client: &Client, id: QueueId, limit: Duration) -> Outcome {
    let (message, over) = match watched(client, id, limit, |_, _| Ok(())).await {
        Ok(watched) => watched,
        Err(failure) => return Outcome::fail(failure.message, "Run: pillarbox status"),
    };
    let stages = stages(&message, SystemClock::new().wall());
    let words: Vec<String> = stages.into_iter().map(|stage| stage.words).collect();
    let words = format!("{id}: {}", words.join(", "));
    match verdict(&message, over, limit) {
        Ok(()) => Outcome::pass(words),
        Err(_) if over => Outcome::fail(words, "The reply says why; see docs/gmail.md"),
        Err(_) => Outcome::warn(words, format!("Run: pillarbox queue show {id}")),
    }
}

/// Looks again and again, and shows each look, until everybody's copy has come to an end, which the answer tells, or
/// for so long.
async fn watched(
    client: &Client,
    id: QueueId,
    limit: Duration,
    mut show: impl FnMut(&Message, Duration) -> io::Result<()>,
) -> Result<(Message, bool), Failure> {
    let (clock, watch) = (SystemClock::new(), Stopwatch::start());
    loop {
        let message = client.message(id).await?;
        show(&message, watch.elapsed())?;
        let over = message.recipients.iter().all(is_final);
        if over || watch.elapsed() >= limit {
            return Ok((message, over));
        }
        clock.sleep(LOOK_INTERVAL).await;
    }
}

/// Hands it to the daemon. Nothing is left in the drop directory: who tests wants to know that there is no daemon.
fn hand_over(config: Option<&Path>, arguments: &Arguments) -> Result<QueueId, Failure> {
    let environment = Environment::of_this_process();
    let source = Source::read(config, &environment);
    let (caller, mut configured) = (Caller::of_this_process(&environment), source.configured());
    let socket = match &arguments.remote.socket {
        Some(admin_socket) => Some(admin_socket.with_file_name(MAIL_SOCKET)),
        None => configured.socket.clone(),
    };
    let Some(socket) = socket else {
        let words = "the daemon has no socket for mail: set [sendmail] socket in relay.toml";
        return Err(Failure::new(Exit::Configuration, words));
    };
    configured.drop_directory = None;
    let recipients = match arguments.to.is_empty() {
        true => vec![DEFAULT_RECIPIENT.to_owned()],
        false => arguments.to.clone(),
    };
    let text = message(&caller.host, &recipients);
    let mut flags = Flags::parse(Role::Sendmail, Spelling::Subcommand, vec!["-i".to_owned()]);
    flags.recipients = recipients;
    flags.sender.clone_from(&arguments.from);
    flags.destination = Some(socket.display().to_string());
    let call = Call { flags, environment, configured, caller };
    let sent = call.send(&mut Cursor::new(text), false).map_err(|failure| match failure.exit {
        Exit::Temporary => {
            let words = format!("{failure}\n{}", advice(&["daemon", "local-socket"]));
            Failure::new(Exit::Unavailable, words)
        }
        _ => failure,
    })?;
    match (sent.trouble, sent.report.id) {
        (Some(trouble), _) => Err(trouble),
        (None, Some(id)) => Ok(id),
        (None, None) => Err(Failure::new(Exit::Temporary, "the daemon has not named a queue id")),
    }
}

/// What is sent. The other fields are those that sendmail adds for any program.
fn message(host: &str, recipients: &[String]) -> String {
    format!(
        "To: {}\nSubject: Test message of Pillarbox on {host}\nAuto-Submitted: auto-generated\n\n\
         Somebody ran `pillarbox send` on {host} to see whether mail of that host arrives.\nIt does.\n",
        recipients.join(", ")
    )
}

/// Prints what has changed at each look.
async fn follow(
    out: &mut dyn Screen,
    client: &Client,
    arguments: &Arguments,
    id: QueueId,
) -> Result<(), Failure> {
    let limit = Duration::from_secs(arguments.timeout);
    if arguments.remote.json {
        let (message, over) = watched(client, id, limit, |_, _| Ok(())).await?;
        json(out, &message)?;
        return verdict(&message, over, limit);
    }
    let mut told = Told::begin(out, id)?;
    let show =
        |message: &Message, elapsed| told.look(out, message, elapsed, SystemClock::new().wall());
    let (message, over) = watched(client, id, limit, show).await?;
    verdict(&message, over, limit)
}

/// What was printed so far.
#[derive(Debug)]
struct Told(Vec<String>);

impl Told {
    fn begin(out: &mut dyn Screen, id: QueueId) -> io::Result<Self> {
        writeln!(out, "{:>8}  queued as {id}", "")?;
        out.flush()?;
        Ok(Self(Vec::new()))
    }

    /// Prints what this look has that the last one had not.
    fn look(
        &mut self,
        out: &mut dyn Screen,
        message: &Message,
        elapsed: Duration,
        now: Timestamp,
    ) -> io::Result<()> {
        let stages = stages(message, now);
        for stage in stages.iter().filter(|stage| !self.0.contains(&stage.what)) {
            let since = format!("+{}", tenths(elapsed));
            writeln!(out, "{since:>8}  {}", clean(&stage.words))?;
        }
        self.0 = stages.into_iter().map(|stage| stage.what).collect();
        out.flush()
    }
}

/// One recipient's stage.
struct Stage {
    /// What must change for it to be news; a time that moves is none.
    what: String,
    words: String,
}

fn stages(message: &Message, now: Timestamp) -> Vec<Stage> {
    let stage = |recipient: &Recipient| {
        let Recipient { address, state, attempts, .. } = recipient;
        let reply = recipient.last_reply.as_deref();
        let said = reply.map_or_else(String::new, |reply| format!(": {reply}"));
        let why = message.departure.as_ref();
        let words = match state.as_str() {
            "relayed" => format!("relayed to {address}{said}"),
            "reserved" => format!("being sent to {address}"),
            "dead" | "held" => {
                // The reply is often the reason.
                let reason = recipient.reason.as_deref().filter(|reason| Some(*reason) != reply);
                let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                format!("{state}, not relayed to {address}{reason}{said}")
            }
            _ => {
                let leaves = why.map_or_else(
                    || "waits".to_owned(),
                    |departure| format!("waits, leaves {}", long(departure, now)),
                );
                format!("{address} {leaves}{said}")
            }
        };
        let because = why.map(|departure| departure.because);
        Stage { what: format!("{address} {state} {attempts} {because:?} {said}"), words }
    };
    message.recipients.iter().map(stage).collect()
}

fn is_final(recipient: &Recipient) -> bool {
    matches!(recipient.state.as_str(), "relayed" | "dead" | "held")
}

fn verdict(message: &Message, over: bool, limit: Duration) -> Result<(), Failure> {
    let id = message.id;
    let relayed = message.recipients.iter().all(|recipient| recipient.state == "relayed");
    if relayed {
        return Ok(());
    }
    if over {
        let words = format!(
            "the message {id} was not relayed to everybody. The reply says why; see docs/gmail.md. {}",
            advice(&["account", "login", "sender"])
        );
        return Err(Failure::new(Exit::Unhealthy, words));
    }
    let words = format!(
        "the message {id} still waits after {}. It stays queued and leaves by itself. {}",
        span(limit),
        advice(&["account", "budget", "login"])
    );
    Err(Failure::new(Exit::Temporary, words))
}

#[cfg(test)]
mod tests;
