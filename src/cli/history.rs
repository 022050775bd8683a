//! `pillarbox history`: what has left the queue, how, and who ended it.
//!
//! Rule: printed page by page, as the queue is. Must not know how long the history is kept.

use clap::{Args, Subcommand, ValueEnum};

use super::{
    queue::{self, Extent, Place, Wanted, Words},
    screen::{Form, Screen, clean},
};
use crate::{
    admin::{
        client::Client,
        listing::{self, Of},
    },
    clock::Timestamp,
    exit::Failure,
    queue::{id::QueueId, search},
};

/// What to do with the history.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Show what has left the queue, the newest message first.
    ///
    /// What of it, in which order, or how much of it from whom.
    #[command(visible_alias = "search")]
    List(List),
    /// Show messages: every recipient, every attempt, every reply.
    ///
    /// As far as they are kept, and word for word.
    Show {
        /// Ids as `history list` prints them.
        #[arg(required = true)]
        ids: Vec<QueueId>,
    },
    /// Send a relayed message once more; it counts for the budget.
    ///
    /// As a new message. Its octets must be kept: [queue] keep_relayed.
    Resend {
        /// An id as `history list` prints it.
        id: QueueId,
        /// Send to these addresses instead of its recipients.
        #[arg(long, value_name = "ADDRESS", num_args = 1..)]
        to: Vec<String>,
    },
}

/// Which part of the history to list.
#[derive(Clone, Debug, Args)]
pub(super) struct List {
    /// Only messages for which every word holds, such as to:boss 'subject:"toner low"' newer:2d ended:deleted;
    /// docs/operating.md has all keys.
    #[arg(value_name = "WORDS", value_parser = Words, hide_possible_values = true)]
    words: Vec<String>,
    #[command(flatten)]
    extent: Extent,
    /// Another order than the newest message first.
    #[arg(long, value_name = "ORDER", conflicts_with = "all")]
    sort: Option<Sort>,
}

/// In which order, instead of the newest message first.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sort {
    /// What left the queue last.
    Ended,
    /// The oldest first.
    Age,
    /// The largest first.
    Size,
    /// By the sender.
    From,
}

impl From<Sort> for listing::Sort {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Ended => Self::Ended,
            Sort::Age => Self::Age,
            Sort::Size => Self::Size,
            Sort::From => Self::From,
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
        Command::List(list) => queue::print_wanted(out, client, &list.wanted()?, form, now).await,
        Command::Resend { id, to } => {
            let answer = client.resend(id, &to).await?;
            match form {
                Form::Json => writeln!(out, "{}", serde_json::json!(answer))?,
                Form::Text => {
                    let to = clean(&answer.to.join(", "));
                    writeln!(out, "{id} goes to {to} once more as {}", answer.new)?;
                }
            }
            Ok(())
        }
        Command::Show { ids } => queue::show(out, client, Place::History, &ids, form, now).await,
    }
}

impl List {
    fn wanted(self) -> Result<Wanted, Failure> {
        let search = queue::search_of(self.words.into_iter(), search::Place::History)?;
        Ok(self.extent.wanted(Of::History, search, self.sort.map(Into::into)))
    }
}
