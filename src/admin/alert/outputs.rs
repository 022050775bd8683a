//! The ways by which alerts get out: the administrator's webhooks and commands.
//!
//! Rule: bounded in time and output. A webhook's address and a command's arguments may be secrets: nothing but the host or
//! the program is ever shown. Must not know what waits, nor what is tried again.

use std::{
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

use super::{
    format::Format,
    watch::{self, Alert, Kind},
};
use crate::{
    careful_file::{self, Links},
    delivery::{
        https::{HttpError, Https},
        oauth::{Endpoint, Limits},
    },
    text,
};

/// For one request; the next alert waits meanwhile.
pub(in crate::admin) const LIMITS: Limits =
    Limits { connect: Duration::from_secs(5), answer: Duration::from_secs(20) };
/// Octets of a file that holds an address.
const FILE_BYTES_MAX: u64 = 4_096;
/// Readable by everyone, or writable by anyone but the owner.
const OPEN_TO_OTHERS: u32 = 0o026;

/// Where the webhook's address is.
#[derive(Clone, PartialEq)]
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
        format!("the webhook {}", self.place())
    }

    /// The same without saying what it is.
    #[must_use]
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Written(endpoint) => format!("at {}", endpoint.host()),
            Self::File { path, .. } => format!("in {}", path.display()),
        }
    }

    /// The address itself, or why there is none.
    pub(in crate::admin) async fn endpoint(&self) -> Result<Endpoint, String> {
        self.read().await.map_err(|error| error.to_string())
    }

    async fn read(&self) -> Result<Endpoint, WebhookError> {
        match self {
            Self::Written(endpoint) => Ok(endpoint.clone()),
            Self::File { path, mounted } => {
                let (path, mounted) = (path.clone(), *mounted);
                let read = tokio::task::spawn_blocking(move || read(&path, mounted));
                read.await.map_err(io::Error::other)?
            }
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
#[derive(Clone, PartialEq)]
pub(crate) enum Way {
    /// A web address that gets each alert as the body of a POST, in this form.
    Webhook {
        /// Where.
        address: Address,
        /// In whose form.
        format: Format,
    },
    /// A program and its arguments; it gets the alert as JSON on its standard input. No shell is involved.
    Command(Vec<String>),
}

impl Way {
    /// In words for the administrator: the host, the file or the program.
    #[must_use]
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Webhook { address, .. } => address.shown(),
            Self::Command(words) => {
                format!("the command {}", text::program(words))
            }
        }
    }
}

/// Without path, query and arguments, which may be secrets.
impl fmt::Debug for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown())
    }
}

/// Somebody who is told, by a way of his own.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// What people call it.
    pub(crate) name: String,
    /// How it is told.
    pub(crate) way: Way,
    /// Of what; empty means of everything.
    pub(crate) only: Vec<Kind>,
}

impl Target {
    /// Whether it is told of such a thing.
    pub(super) fn wants(&self, kind: Kind) -> bool {
        self.only.is_empty() || self.only.contains(&kind) || kind == Kind::Test
    }
}

/// Where alerts go, and when.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Who is told.
    pub(crate) targets: Vec<Target>,
    /// One more trusted root for webhooks.
    pub ca_file: Option<PathBuf>,
    /// What is an alert.
    pub(crate) watch: watch::Options,
    /// Who raises the alarm when this relay is not heard of.
    pub(crate) heartbeat: Option<Heartbeat>,
}

/// A web address that is asked as long as mail leaves.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeat {
    /// Which.
    pub(crate) address: Address,
    /// How often.
    pub(crate) every: Duration,
}

/// Brings alerts to one target.
#[derive(Debug)]
pub(super) struct Courier {
    pub(super) target: Target,
    client: Https,
}

impl Courier {
    /// `ca_file` holds one more trusted root.
    pub(super) fn new(target: Target, ca_file: Option<PathBuf>) -> Self {
        Self { target, client: Https::new(ca_file, LIMITS) }
    }

    /// Hands one over; says what was answered, or why it did not get there.
    pub(super) async fn hand_over(&self, alert: &Alert) -> Result<String, String> {
        match &self.target.way {
            Way::Webhook { address, format } => {
                let status = post(&self.client, address, *format, alert).await;
                status
                    .map(|status| format!("HTTP status {status}"))
                    .map_err(|error| error.to_string())
            }
            Way::Command(words) => {
                let status = run_command(words, alert).await;
                status.map(|()| "exit status 0".to_owned()).map_err(|error| error.to_string())
            }
        }
    }
}

async fn post(
    client: &Https,
    address: &Address,
    format: Format,
    alert: &Alert,
) -> Result<u16, WebhookError> {
    let endpoint = address.read().await?;
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
    let named = || text::program(command).to_owned();
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
