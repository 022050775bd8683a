//! `pillarbox dead list|show|resend|delete`: what could not be relayed, and what to do about it.
//!
//! Rule: any number of messages is handled page by page, never held in memory. Must not know how the
//! queue stores them.

use clap::{Args, Subcommand};

use super::{
    queue::{self, Chosen, PAGE, State, Verb},
    screen::{Form, Screen, Side, Table, clean, when},
};
use crate::{
    admin::{api::Message, client::Client, listing::Of},
    clock::Timestamp,
    exit::{Exit, Failure},
    queue::{id::QueueId, search::Search},
};

/// What to do with dead letters.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Show messages that could not be relayed, and why.
    List,
    /// Show messages with every recipient, its state and last reply.
    Show {
        /// Ids as `dead list` prints them.
        #[arg(required = true)]
        ids: Vec<QueueId>,
    },
    /// Try dead letters again, or send them to another address.
    ///
    /// With a new lifetime.
    Resend {
        #[command(flatten)]
        which: Which,
        /// Send to this address instead of the recipients that were not reached.
        #[arg(long, value_name = "ADDRESS")]
        to: Option<String>,
    },
    /// Give up dead letters.
    Delete {
        #[command(flatten)]
        which: Which,
        /// Confirms --all.
        #[arg(long)]
        yes: bool,
    },
}

/// Which dead letters.
#[derive(Clone, Debug, Args)]
pub(super) struct Which {
    /// Ids as `dead list` prints them.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<QueueId>,
    /// Every dead letter.
    #[arg(long)]
    all: bool,
}

impl From<Which> for Chosen {
    fn from(which: Which) -> Self {
        match which.all {
            true => Self::Found(Search::of_state(State::Dead.name())),
            false => Self::Ids(which.ids, Some(State::Dead)),
        }
    }
}

/// Runs one command against the daemon.
pub(super) async fn run(
    out: &mut dyn Screen,
    client: &Client,
    command: Command,
    form: Form,
    now: Timestamp,
) -> Result<(), Failure> {
    match command {
        Command::List => list(out, client, form, now).await,
        Command::Show { ids } => {
            queue::show(out, client, queue::Place::Anywhere, &ids, form, now).await
        }
        Command::Resend { which, to: None } => {
            queue::for_each(out, client, which.into(), form, Verb::Retry.into(), now).await
        }
        Command::Resend { which, to: Some(to) } => redirect(out, client, which, &to, form).await,
        Command::Delete { which, yes } => {
            if which.all && !yes {
                let message = "this removes every dead letter for good; add --yes if you mean it";
                return Err(Failure::new(Exit::Usage, message));
            }
            queue::for_each(out, client, which.into(), form, Verb::Delete.into(), now).await
        }
    }
}

async fn list(
    out: &mut dyn Screen,
    client: &Client,
    form: Form,
    now: Timestamp,
) -> Result<(), Failure> {
    let columns =
        [("ID", Side::Left), ("DEAD SINCE", Side::Left), ("TO", Side::Left), ("WHY", Side::Left)];
    let (mut table, mut walk, mut printed) =
        (Table::new(columns), client.walk(Of::DeadLetters, None), 0);
    let mut first = true;
    while let Some(messages) = walk.page(PAGE).await? {
        match form {
            Form::Text => {
                let rows: Vec<_> = messages.iter().flat_map(|message| rows(message, now)).collect();
                table.print(out, &rows)?;
            }
            Form::Json => {
                for message in &messages {
                    out.write_all(if first { b"{\"messages\":[\n" } else { b",\n" })?;
                    write!(out, "{}", serde_json::json!(message))?;
                    first = false;
                }
            }
        }
        printed += messages.len();
    }
    if form == Form::Json {
        // As `queue list --json`; this list is always whole.
        writeln!(out, "{}\n],\"next\":null}}", if first { "{\"messages\":[" } else { "" })?;
    }
    if printed == 0 && form == Form::Text {
        writeln!(out, "There are no dead letters.")?;
    }
    Ok(())
}

/// One line for each dead recipient.
fn rows(message: &Message, now: Timestamp) -> Vec<[String; 4]> {
    let dead = message.recipients.iter().filter(|recipient| recipient.state == "dead");
    dead.map(|recipient| {
        [
            message.id.to_string(),
            recipient.since.map_or_else(|| "-".to_owned(), |since| when(since, now)),
            recipient.address.clone(),
            clean(recipient.reason.as_deref().unwrap_or("-")),
        ]
    })
    .collect()
}

async fn redirect(
    out: &mut dyn Screen,
    client: &Client,
    which: Which,
    to: &str,
    form: Form,
) -> Result<(), Failure> {
    if which.all {
        let message =
            "--to takes ids, so that not every dead letter goes to one address by mistake";
        return Err(Failure::new(Exit::Usage, message));
    }
    for id in which.ids {
        let answer = client.redirect(id, to).await?;
        match form {
            Form::Json => writeln!(out, "{}", serde_json::json!(answer))?,
            Form::Text => writeln!(out, "{id} goes to {} as {}", clean(to), answer.new)?,
        }
    }
    Ok(())
}
