//! `pillarbox queue list|show|retry|delete`.
//!
//! Rule: any number of messages is handled page by page, never held in memory; one that cannot be
//! handled does not keep the others from it. Must not know how the queue stores them.

use std::io::Write;

use clap::{Args, Subcommand};

use super::{
    exit::{Exit, Failure},
    moment::{local_in_full, relative, when},
    screen::{self, Side, Table, clean, count, labelled},
};
use crate::{
    admin::{
        api::{Kind, Message, Recipient},
        client::{Client, ClientError},
    },
    clock::Timestamp,
    queue::id::QueueId,
};

/// Messages asked for at a time; what a command holds in memory, however long the queue is.
const PAGE: usize = 250;

/// What to do with the queue.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Show what waits, in the order of acceptance.
    List(List),
    /// Show messages with every recipient, its state, last reply and next attempt.
    Show {
        /// Ids as `queue list` prints them; also of messages that were relayed lately.
        #[arg(required = true)]
        ids: Vec<QueueId>,
    },
    /// Try messages again now: waiting, held and dead recipients alike.
    Retry(Selection),
    /// Remove messages for good. They are not sent, and nobody is told.
    Delete {
        #[command(flatten)]
        selection: Selection,
        /// Confirms --all.
        #[arg(long)]
        yes: bool,
    },
}

/// Which part of the queue to list.
#[derive(Clone, Debug, Args)]
pub(super) struct List {
    /// The whole queue, however long.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Messages to show at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only messages after this one.
    #[arg(long, value_name = "ID")]
    after: Option<QueueId>,
}

/// Which messages.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Selection {
    /// Ids as `queue list` prints them.
    ids: Vec<QueueId>,
    /// Every message in the queue.
    #[arg(long)]
    all: bool,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Runs one command against the daemon.
pub(super) async fn run(
    out: &mut dyn Write,
    client: &Client,
    command: Command,
    form: Form,
    now: Timestamp,
) -> Result<(), Failure> {
    match command {
        Command::List(list) => print_list(out, client, &list, form, now).await,
        Command::Show { ids } => show(out, client, &ids, form, now).await,
        Command::Retry(selection) => for_each(out, client, selection, form, Verb::Retry).await,
        Command::Delete { selection, yes } => {
            if selection.all && !yes {
                let message = "this removes every message in the queue for good; add --yes if you mean it";
                return Err(Failure::new(Exit::Usage, message));
            }
            for_each(out, client, selection, form, Verb::Delete).await
        }
    }
}

async fn print_list(
    out: &mut dyn Write,
    client: &Client,
    list: &List,
    form: Form,
    now: Timestamp,
) -> Result<(), Failure> {
    let mut left = if list.all { usize::MAX } else { list.limit as usize };
    let mut listing = Listing::new(form);
    let mut after = list.after;
    let next = loop {
        let page = client.queue(after, left.min(PAGE)).await?;
        listing.page(out, &page.messages, now)?;
        left -= page.messages.len().min(left);
        after = page.next;
        if after.is_none() || left == 0 {
            break after;
        }
    };
    Ok(listing.end(out, next)?)
}

/// A list that is printed while it is read.
#[derive(Debug)]
struct Listing {
    form: Form,
    table: Table<6>,
    printed: u64,
}

impl Listing {
    fn new(form: Form) -> Self {
        let columns = [
            ("ID", Side::Left),
            ("ACCEPTED", Side::Left),
            ("SIZE", Side::Right),
            ("STATE", Side::Left),
            ("NEXT ATTEMPT", Side::Left),
            ("FROM -> TO", Side::Left),
        ];
        Self { form, table: Table::new(columns), printed: 0 }
    }

    fn page(&mut self, out: &mut dyn Write, messages: &[Message], now: Timestamp) -> std::io::Result<()> {
        if self.form == Form::Text {
            self.printed += messages.len() as u64;
            let rows: Vec<[String; 6]> = messages.iter().map(|message| row(message, now)).collect();
            return self.table.print(out, &rows);
        }
        for message in messages {
            out.write_all(if self.printed == 0 { b"{\"messages\":[\n" } else { b",\n" })?;
            serde_json::to_writer(&mut *out, message)?;
            self.printed += 1;
        }
        Ok(())
    }

    /// Ends the list; `next` is the last id when there is more.
    fn end(self, out: &mut dyn Write, next: Option<QueueId>) -> std::io::Result<()> {
        match (self.form, self.printed, next) {
            (Form::Text, 0, _) => writeln!(out, "The queue is empty."),
            (Form::Text, _, Some(id)) => {
                writeln!(out, "There is more: `pillarbox queue list --after {id}`, or --all.")
            }
            (Form::Text, _, None) => Ok(()),
            (Form::Json, printed, next) => {
                let begin = if printed == 0 { "{\"messages\":[" } else { "" };
                writeln!(out, "{begin}\n],\"next\":{}}}", serde_json::json!(next))
            }
        }
    }
}

fn row(message: &Message, now: Timestamp) -> [String; 6] {
    let next = message.recipients.iter().filter_map(|recipient| recipient.next_attempt).min();
    [
        message.id.to_string(),
        local_in_full(message.accepted_at),
        screen::size(message.size_bytes),
        states(message),
        next.map_or_else(|| "-".to_owned(), |next| relative(next.max(now), now)),
        format!("{} -> {}", sender(message), addressees(message)),
    ]
}

/// `queued`, or `queued, dead` when recipients differ.
fn states(message: &Message) -> String {
    let mut names: Vec<&str> = Vec::new();
    for recipient in &message.recipients {
        if !names.contains(&recipient.state.as_str()) {
            names.push(&recipient.state);
        }
    }
    names.join(", ")
}

fn sender(message: &Message) -> &str {
    message.from.as_deref().unwrap_or("<>")
}

/// The first recipient, and how many more.
fn addressees(message: &Message) -> String {
    let first = message.recipients.first().map_or("nobody", |recipient| &recipient.address);
    match message.recipients.len() {
        0 | 1 => first.to_owned(),
        more => format!("{first} and {} more", more - 1),
    }
}

async fn show(
    out: &mut dyn Write,
    client: &Client,
    ids: &[QueueId],
    form: Form,
    now: Timestamp,
) -> Result<(), Failure> {
    for id in ids {
        let message = client.message(*id).await?;
        match form {
            Form::Json => screen::json(out, &message)?,
            Form::Text => print_message(out, &message, now)?,
        }
    }
    Ok(())
}

fn print_message(out: &mut dyn Write, message: &Message, now: Timestamp) -> std::io::Result<()> {
    let kind = match (message.eight_bit, message.internationalized) {
        (false, false) => "",
        (true, false) => ", 8BITMIME",
        (false, true) => ", SMTPUTF8",
        (true, true) => ", 8BITMIME, SMTPUTF8",
    };
    labelled(out, "id", &[message.id.to_string()])?;
    let accepted = format!("{} ({})", local_in_full(message.accepted_at), relative(message.accepted_at, now));
    labelled(out, "accepted", &[accepted])?;
    labelled(out, "from", &[sender(message).to_owned()])?;
    labelled(out, "size", &[format!("{}{kind}", screen::size(message.size_bytes))])?;
    message.recipients.iter().try_for_each(|recipient| labelled(out, "to", &recipient_lines(recipient, now)))
}

fn recipient_lines(recipient: &Recipient, now: Timestamp) -> Vec<String> {
    let since = recipient.since.map_or_else(String::new, |since| format!(" since {}", when(since, now)));
    let attempts = match recipient.attempts {
        0 => String::new(),
        attempts => format!(", {} refused", count(attempts.into(), "attempt")),
    };
    let mut lines = vec![format!("{}: {}{since}{attempts}", recipient.address, recipient.state)];
    lines.extend(recipient.next_attempt.map(|at| format!("next attempt {}", when(at.max(now), now))));
    lines.extend(recipient.reason.as_ref().map(|reason| format!("reason: {reason}")));
    let reply = recipient.last_reply.as_ref().filter(|reply| recipient.reason.as_ref() != Some(reply));
    lines.extend(reply.map(|reply| format!("last reply: {reply}")));
    lines
}

/// What is done to each of several messages.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Retry,
    Delete,
}

/// Does `verb` to every selected message, goes on after a refusal, and fails with the last one.
async fn for_each(
    out: &mut dyn Write,
    client: &Client,
    selection: Selection,
    form: Form,
    verb: Verb,
) -> Result<(), Failure> {
    let mut tally = Tally { form, verb, done: 0, refused: None };
    if !selection.all {
        for id in selection.ids {
            let result = apply(client, verb, id).await;
            tally.note(out, id, result)?;
        }
        return tally.end(out, Summary::Without);
    }
    let mut after = None;
    loop {
        let page = client.queue(after, PAGE).await?;
        for message in &page.messages {
            let result = apply(client, verb, message.id).await;
            // A message that was relayed in the meantime needs nothing any more.
            if result.as_ref().is_err_and(|error| error.kind() == Some(Kind::NotFound)) {
                continue;
            }
            tally.note(out, message.id, result)?;
        }
        let Some(next) = page.next else { return tally.end(out, Summary::With) };
        after = Some(next);
    }
}

/// Returns how many recipients the verb met.
async fn apply(client: &Client, verb: Verb, id: QueueId) -> Result<u32, ClientError> {
    match verb {
        Verb::Retry => client.retry(id).await.map(|retried| retried.recipients),
        Verb::Delete => client.delete(id).await.map(|_| 0),
    }
}

/// Whether a last line says how many messages there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Summary {
    With,
    Without,
}

/// What became of the messages so far.
#[derive(Debug)]
struct Tally {
    form: Form,
    verb: Verb,
    done: u64,
    refused: Option<Failure>,
}

impl Tally {
    fn note(
        &mut self,
        out: &mut dyn Write,
        id: QueueId,
        result: Result<u32, ClientError>,
    ) -> Result<(), Failure> {
        let line = match (self.form, self.verb, &result) {
            (Form::Json, Verb::Retry, Ok(recipients)) => {
                serde_json::json!({"id": id, "recipients": recipients}).to_string()
            }
            (Form::Json, Verb::Delete, Ok(_)) => serde_json::json!({"id": id, "deleted": true}).to_string(),
            (Form::Json, _, Err(error)) => {
                serde_json::json!({"id": id, "error": error.kind(), "message": error.to_string()}).to_string()
            }
            (Form::Text, Verb::Retry, Ok(recipients)) => {
                format!("{id} {} due now", count((*recipients).into(), "recipient"))
            }
            (Form::Text, Verb::Delete, Ok(_)) => format!("{id} deleted"),
            (Form::Text, _, Err(error)) => format!("{id} {}", clean(&error.to_string())),
        };
        writeln!(out, "{line}")?;
        match result {
            Ok(_) => self.done += 1,
            // Without a daemon the others will not fare better.
            Err(error) if error.kind().is_none() => return Err(error.into()),
            Err(error) => self.refused = Some(Failure { message: String::new(), ..error.into() }),
        }
        Ok(())
    }

    fn end(self, out: &mut dyn Write, summary: Summary) -> Result<(), Failure> {
        if summary == Summary::With && self.form == Form::Text {
            let verb = match self.verb {
                Verb::Retry => "due now",
                Verb::Delete => "deleted",
            };
            writeln!(out, "{} {verb}.", count(self.done, "message"))?;
        }
        self.refused.map_or(Ok(()), Err)
    }
}
