//! `pillarbox store check|export|import`: the queue on disk, while no daemon has it, or in the fleet's database.
//!
//! Rule: nobody is locked in: what is in the queue comes out in formats that every mail program reads, also
//! when the index is damaged. `check` and `export` change nothing. Must not know how the queue is stored.

mod check;
mod export;
mod import;
mod mailbox;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::{
    cli::screen::Screen,
    exit::{Exit, Failure},
    queue::{offline::inspection::InspectionError, options::Options, recovery::QueueOpenError},
    settings,
};

/// Which queue.
#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// The queue's directory; default: queue.directory of the configuration, or its database with backend = "postgres".
    #[arg(long, global = true, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// What is done with it.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Read every file and record, and tell what does not fit.
    ///
    /// Changes nothing.
    Check {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write every message with its envelope to an mbox file or a Maildir.
    ///
    /// Changes nothing in the queue. Of a queue in the fleet's database it writes the mail of all hosts, and no host may run.
    Export(export::Arguments),
    /// Put the messages of an mbox file or a Maildir into the queue.
    ///
    /// With the queue in the fleet's database the relay of this host must be stopped; other hosts may run, and one of them
    /// takes the messages over.
    Import(import::Arguments),
}

/// Does it.
pub(super) fn run(
    out: &mut dyn Screen,
    config: Option<&Path>,
    arguments: Arguments,
    command: Command,
) -> Result<(), Failure> {
    let options = options(config, arguments.directory)?;
    match command {
        Command::Check { json } => check::run(out, &options, json),
        Command::Export(arguments) => export::run(out, &options, &arguments),
        Command::Import(arguments) => import::run(out, options, &arguments),
    }
}

/// The queue of the configuration, or the one that was named, which needs no configuration.
fn options(config: Option<&Path>, directory: Option<PathBuf>) -> Result<Options, Failure> {
    match (settings::load(config), directory) {
        (Ok(settings), None) => Ok(settings.queue),
        (Ok(settings), Some(directory)) => {
            Ok(Options { directory, database: None, ..settings.queue })
        }
        (Err(_), Some(directory)) if config.is_none() => Ok(Options::new(directory)),
        (Err(error), _) => Err(error.into()),
    }
}

impl From<InspectionError> for Failure {
    fn from(error: InspectionError) -> Self {
        match error {
            InspectionError::Closed(error) => error.into(),
            InspectionError::Absent(_) => Self::new(Exit::Data, error.to_string()),
            InspectionError::Away(_) | InspectionError::InUse(_) => {
                Self::new(Exit::Temporary, error.to_string())
            }
            InspectionError::Spool(_) => Self::new(Exit::Permission, error.to_string()),
        }
    }
}

impl From<QueueOpenError> for Failure {
    fn from(error: QueueOpenError) -> Self {
        let exit = match &error {
            QueueOpenError::Locked { .. } | QueueOpenError::Away(_) => Exit::Temporary,
            QueueOpenError::LeftBehind { .. } => Exit::Data,
            QueueOpenError::NotOurs { .. } | QueueOpenError::OpenToOthers { .. } => {
                Exit::Permission
            }
            QueueOpenError::Unusable { .. } | QueueOpenError::Newer { .. } => Exit::Unavailable,
        };
        Self::new(exit, error.to_string())
    }
}
