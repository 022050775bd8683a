//! `pillarbox queue`: what waits, and what is done about it, for messages by id or for all that a search finds.
//!
//! Rule: any number of messages is handled page by page, never held in memory. Must not know how the queue stores them.

mod cat;
mod confirmation;
mod explain;
mod list;
mod query;
mod selection;
mod show;
mod state;
mod verbs;

use std::time::Duration;

use clap::{Args, Subcommand};

pub(super) use self::{
    list::{Extent, List, PAGE, Wanted, print_wanted},
    query::{Words, as_word, read as search_of},
    selection::{Chosen, Selection},
    show::{Place, show},
    state::State,
    verbs::{Deed, Verb, for_each},
};
use super::screen::{Form, Screen};
use crate::{
    admin::client::Client,
    clock::Timestamp,
    exit::{Exit, Failure},
    queue::id::QueueId,
    smtp::address::Address,
    written_time,
};

/// What to do with the queue.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what waits, in the order of acceptance.
    ///
    /// What of it, in which order, or how much of it from whom.
    List(List),
    /// Show messages: every recipient, every attempt, the header.
    Show {
        /// Ids as `queue list` prints them; also of messages that were relayed lately.
        #[arg(required = true)]
        ids: Vec<QueueId>,
    },
    /// Say why a message waits, when it leaves, and what would hasten it.
    ///
    /// Also what made it what it is: network, lane, edits.
    Explain {
        /// An id as `queue list` prints it.
        id: QueueId,
    },
    /// Print a message as it was taken, or as the upstream gets it.
    ///
    /// Octet by octet; a terminal gets it without what could steer it.
    Cat(cat::Cat),
    /// Try messages again now.
    ///
    /// Waiting, held and dead recipients alike. --all alone leaves messages with dead recipients as they are; --all --state
    /// dead tries those.
    Retry(Selection),
    /// Keep messages here until `queue release`, also over restarts.
    ///
    /// What waits of them is not tried.
    Hold {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        alone: Alone,
    },
    /// Let messages leave that `queue hold` keeps here.
    ///
    /// What is held for another reason stays; see `queue retry`.
    Release(Selection),
    /// Have messages leave at a time and not before.
    ///
    /// What waits, and what `queue hold` keeps once it is released. `queue retry` sends them now.
    Schedule {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        time: Time,
    },
    /// Remove messages for good, with all their recipients.
    ///
    /// They are not sent, and nobody is told. With --recipient the others still get theirs.
    Delete {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        alone: Alone,
        /// Confirms --all and a search.
        #[arg(long)]
        yes: bool,
    },
}

/// A part of a message.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct Alone {
    /// Only this recipient of the message, as `queue show` prints it; the others are left as they are.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "all")]
    recipient: Option<Address>,
}

/// When something leaves.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Time {
    /// 14:30 (the next one), "tomorrow 08:00", "2026-12-24 18:00", or an RFC 3339 time; a year ahead at most.
    #[arg(long, value_name = "TIME", value_parser = written_time::parse_any)]
    at: Option<Timestamp>,
    /// So long from now, such as 2h.
    #[arg(long = "in", visible_alias = "for", value_name = "TIME", value_parser = written_time::span_up_to(None))]
    span: Option<Duration>,
}

/// Runs one command against the daemon.
pub(super) async fn run(
    out: &mut dyn Screen,
    client: &Client,
    command: Command,
    form: Form,
    now: Timestamp,
) -> Result<(), Failure> {
    let mut recipient = None;
    let (selection, verb, yes) = match command {
        Command::List(list) => return list::print_list(out, client, &list, form, now).await,
        Command::Cat(cat) => return cat::print(out, client, cat, form).await,
        Command::Explain { id } => return explain::explain(out, client, id, form).await,
        Command::Show { ids } => return show(out, client, Place::Anywhere, &ids, form, now).await,
        Command::Retry(selection) => (selection, Verb::Retry, true),
        Command::Hold { selection, alone } => {
            recipient = alone.recipient;
            (selection, Verb::Hold, true)
        }
        Command::Release(selection) => (selection, Verb::Release, true),
        Command::Schedule { selection, time } => {
            let at = time.span.map(|span| now.after(span)).or(time.at).unwrap_or(now);
            if at <= now && form == Form::Text && !selection.dry_run {
                writeln!(out, "That time has passed: what waits is due now.")?;
            }
            (selection, Verb::Schedule(at), true)
        }
        Command::Delete { selection, alone, yes } => {
            recipient = alone.recipient;
            (selection, Verb::Delete, yes)
        }
    };
    let deed = Deed { verb, dry_run: selection.dry_run, yes, recipient };
    let chosen = selection.chosen()?;
    if deed.recipient.is_some() && matches!(chosen, Chosen::Found(_)) {
        let words = "--recipient is for messages that are named by their ids, not for a search";
        return Err(Failure::new(Exit::Usage, words));
    }
    for_each(out, client, chosen, form, deed, now).await
}
