//! The ways by which alerts get out: the administrator's webhook and command, and those that wait for them.
//!
//! Rule: bounded in time, number and output; what fails is tried again with growing pauses and logged when that changes,
//! not each time. A webhook's address may be a secret: nothing but the host is ever shown.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use tokio::{io::AsyncWriteExt, process::Command};

use super::{format::Format, watch::Alert};
use crate::{
    careful_file::{self, Links},
    clock::Timestamp,
    delivery::{
        https::{HttpError, Https},
        oauth::{Endpoint, Limits},
    },
    text,
};

/// For one request; the next alert waits meanwhile.
const LIMITS: Limits = Limits { connect: Duration::from_secs(5), answer: Duration::from_secs(20) };
/// Alerts that wait for a way out which fails; the oldest make room.
const WAITING_MAX: usize = 20;
/// The first pause after a failure, doubled up to the longest.
const PAUSE: Duration = Duration::from_secs(60);
/// See [`PAUSE`].
const PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// Octets of a file that holds an address.
const FILE_BYTES_MAX: u64 = 4_096;
/// Readable by everyone, or writable by anyone but the owner.
const OPEN_TO_OTHERS: u32 = 0o026;

/// Where the webhook's address is.
#[derive(Clone)]
pub(crate) enum Address {
    /// In the configuration.
    Written(Endpoint),
    /// On the first line of a file, read each time, so that a new one needs no restart.
    File {
        /// Which.
        path: PathBuf,
        /// Put there by systemd or a container's engine, whose modes are not ours to judge.
        mounted: bool,
    },
}

impl Address {
    /// In words for the administrator: the host, or the file.
    #[must_use]
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Written(endpoint) => format!("the webhook at {}", endpoint.host()),
            Self::File { path, .. } => format!("the webhook in {}", path.display()),
        }
    }

    /// Whether a file that can be read holds something else than an address.
    #[must_use]
    pub(crate) fn holds_none(&self) -> bool {
        match self {
            Self::Written(_) => false,
            Self::File { path, mounted } => {
                matches!(read(path, *mounted), Err(WebhookError::NoAddress(_)))
            }
        }
    }
}

/// Without path and query, which may be a secret.
impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown())
    }
}

/// Why an alert did not get out.
#[derive(Debug, Error)]
enum WebhookError {
    #[error("{0}")]
    Http(#[from] HttpError),
    #[error("its file cannot be read: {0}")]
    File(#[from] io::Error),
    #[error("its file is open to others (mode {0:04o}); run: chmod g-w,o-rw on it")]
    OpenToOthers(u32),
    #[error("the first line of its file is not an address: {0}")]
    NoAddress(String),
}

/// How alerts get out.
#[derive(Debug)]
enum Way {
    Webhook { address: Address, format: Format, client: Box<Https> },
    Command(Vec<String>),
}

impl Way {
    fn shown(&self) -> String {
        match self {
            Self::Webhook { address, .. } => address.shown(),
            Self::Command(words) => {
                format!("the command {}", words.first().map_or("", String::as_str))
            }
        }
    }

    /// Hands one over, or says why not.
    async fn hand_over(&self, alert: &Alert) -> Result<(), String> {
        match self {
            Self::Webhook { address, format, client } => {
                post(client, address, *format, alert).await.map_err(|error| error.to_string())
            }
            Self::Command(words) => {
                run_command(words, alert).await.map_err(|error| error.to_string())
            }
        }
    }
}

/// One way out and what waits for it.
#[derive(Debug)]
pub(crate) struct Outbox {
    way: Way,
    waiting: VecDeque<Alert>,
    /// Failures in a row.
    failures: u32,
    not_before: Timestamp,
    /// What was logged last.
    trouble: Option<String>,
}

impl Outbox {
    /// `ca_file` holds one more trusted root.
    #[must_use]
    pub(crate) fn new(address: Address, format: Format, ca_file: Option<PathBuf>) -> Self {
        Self::empty(Way::Webhook { address, format, client: Box::new(Https::new(ca_file, LIMITS)) })
    }

    /// For a program and its arguments.
    #[must_use]
    pub(crate) fn of_command(words: Vec<String>) -> Self {
        Self::empty(Way::Command(words))
    }

    fn empty(way: Way) -> Self {
        Self { way, waiting: VecDeque::new(), failures: 0, not_before: Timestamp(0), trouble: None }
    }

    /// Hands one over at once, whatever waits, or says which way failed and why.
    pub(super) async fn try_once(&self, alert: &Alert) -> Result<(), String> {
        let handed = self.way.hand_over(alert).await;
        handed.map_err(|error| format!("{}: {error}", self.way.shown()))
    }

    /// Adds an alert.
    pub(crate) fn push(&mut self, alert: Alert) {
        if self.waiting.len() == WAITING_MAX
            && let Some(dropped) = self.waiting.pop_front()
        {
            tracing::error!(
                subject = dropped.subject,
                "an alert is dropped: it could not be sent for a long time"
            );
        }
        self.waiting.push_back(alert);
    }

    /// Hands over what waits, in order, unless the last failure was a moment ago.
    pub(crate) async fn send(&mut self, now: Timestamp) {
        while now >= self.not_before
            && let Some(alert) = self.waiting.front()
        {
            match self.way.hand_over(alert).await {
                Ok(()) => {
                    self.waiting.pop_front();
                    self.failures = 0;
                    if self.trouble.take().is_some() {
                        tracing::info!(way = self.way.shown(), "alerts are sent again");
                    }
                }
                Err(error) => self.failed(now, &error),
            }
        }
    }

    fn failed(&mut self, now: Timestamp, error: &str) {
        let pause = PAUSE.saturating_mul(1 << self.failures.min(6)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.after(pause);
        if self.trouble.as_deref() != Some(error) {
            let waiting = self.waiting.len();
            tracing::error!(
                way = self.way.shown(),
                error,
                waiting,
                "an alert could not be sent; it will be tried again"
            );
            self.trouble = Some(error.to_owned());
        }
    }
}

async fn post(
    client: &Https,
    address: &Address,
    format: Format,
    alert: &Alert,
) -> Result<(), WebhookError> {
    let endpoint = match address {
        Address::Written(endpoint) => endpoint.clone(),
        Address::File { path, mounted } => {
            let (path, mounted) = (path.clone(), *mounted);
            let read = tokio::task::spawn_blocking(move || read(&path, mounted));
            read.await.map_err(io::Error::other)??
        }
    };
    let (endpoint, body) = format.request(endpoint, alert).map_err(WebhookError::NoAddress)?;
    let body = text::printable_json(&body).into_owned().into_bytes();
    Ok(client.post_json(&endpoint, body).await?)
}

fn read(path: &Path, mounted: bool) -> Result<Endpoint, WebhookError> {
    let file = careful_file::open(path, Links::Followed)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if !mounted && mode & OPEN_TO_OTHERS != 0 {
        return Err(WebhookError::OpenToOthers(mode));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let invalid =
        |words: String| WebhookError::from(io::Error::new(io::ErrorKind::InvalidData, words));
    let plain = text::only_utf8(&bytes).map_err(|words| invalid(format!("the file {words}")))?;
    let address =
        std::str::from_utf8(plain).map_err(|_| invalid("the file is not UTF-8".to_owned()))?;
    let line = address.lines().next().unwrap_or_default().trim();
    Endpoint::new(line).map_err(WebhookError::NoAddress)
}

/// How long the command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// Why an alert did not get out.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    /// The command cannot be started.
    #[error("the alert command {program} cannot be started: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended badly.
    #[error("the alert command {program} failed: {status}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
    },
    /// It took too long and was ended.
    #[error("the alert command {program} gave no answer within {} s and was ended", .limit.as_secs_f32())]
    TooSlow {
        /// The program.
        program: String,
        /// What it had.
        limit: Duration,
    },
}

/// Runs the command with the alert as one line of JSON on its standard input.
///
/// # Errors
/// When it cannot be started, fails or takes too long.
async fn run_command(command: &[String], alert: &Alert) -> Result<(), CommandError> {
    run_command_within(command, alert, COMMAND_TIMEOUT).await
}

async fn run_command_within(
    command: &[String],
    alert: &Alert,
    limit: Duration,
) -> Result<(), CommandError> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let named = || program.clone();
    // A process group of its own, so that a time-out reaches what the command has started.
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|source| CommandError::Start { program: named(), source })?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let json = serde_json::to_string(alert).unwrap_or_default();
    let line = text::printable_json(&json).into_owned() + "\n";
    let stdin = child.stdin.take();
    let work = async move {
        if let Some(mut stdin) = stdin {
            // A command that does not read its input is fine.
            drop(stdin.write_all(line.as_bytes()).await);
        }
        child.wait().await
    };
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => {
            Err(CommandError::Failed { program: named(), status: status.to_string() })
        }
        Ok(Err(source)) => Err(CommandError::Start { program: named(), source }),
        Err(_) => {
            if let Some(group) = group {
                // The group may have ended by itself in this moment: then there is nothing to do.
                kill_process_group(group, Signal::KILL).ok();
            }
            Err(CommandError::TooSlow { program: named(), limit })
        }
    }
}

#[cfg(test)]
mod tests;
