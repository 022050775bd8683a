//! `pillarbox queue list|show|retry|delete`, for messages by id or for all of a kind.
//!
//! Rule: any number of messages is handled page by page, never held in memory; one that cannot be handled does not keep the
//! others from it, and the last line says how many were. Must not know how the queue stores them.

use std::{fmt, io::Write};

use clap::{Args, Subcommand, ValueEnum};

use super::screen::{
    self, Form, Side, Table, clean, count, labelled, local_in_full, relative, when,
};
use crate::{
    admin::{
        api::{Because, Departure, Kind, Message, Notice, Origin, Recipient, Retried},
        client::{Client, ClientError},
    },
    clock::{Clock as _, SystemClock, Timestamp},
    exit::{Exit, Failure},
    message::envelope::Lane,
    queue::{id::QueueId, only::Only},
    text,
};

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
    /// Try messages again now: waiting, held and dead recipients alike. --all alone leaves messages
    /// with dead recipients as they are; --all --state dead tries those.
    Retry(Selection),
    /// Remove messages for good, with all their recipients. They are not sent, and nobody is told.
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
    /// The largest number of messages to show.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only messages after this one.
    #[arg(long, value_name = "ID")]
    after: Option<QueueId>,
    /// Only messages with a recipient in this state.
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
}

impl List {
    /// The whole queue.
    pub(super) fn everything() -> Self {
        Self { all: true, limit: 0, after: None, state: None }
    }
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
                let which = selection
                    .state
                    .map_or_else(String::new, |state| format!(" with a {state} recipient"));
                let message = format!(
                    "this removes every message{which} in the queue for good; add --yes if you mean it"
                );
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
    let (mut walk, mut cut_at) = (client.queue(list.after), None);
    while left > 0 {
        // How many of a page are wanted is known only when all messages are.
        let limit = if list.state.is_none() { left.min(PAGE) } else { PAGE };
        let Some(messages) = walk.page(limit).await? else { break };
        let is_wanted = |message: &Message| list.state.is_none_or(|state| state.is_in(message));
        let mut wanted: Vec<Message> = messages.into_iter().filter(is_wanted).collect();
        cut_at = (wanted.len() > left).then(|| wanted[left - 1].id);
        wanted.truncate(left);
        listing.page(out, &wanted, now)?;
        left -= wanted.len();
    }
    Ok(listing.end(out, list, cut_at.or_else(|| walk.next()))?)
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
            ("LEAVES", Side::Left),
            ("FROM -> TO", Side::Left),
        ];
        Self { form, table: Table::new(columns), printed: 0 }
    }

    fn page(
        &mut self,
        out: &mut dyn Write,
        messages: &[Message],
        now: Timestamp,
    ) -> std::io::Result<()> {
        if self.form == Form::Text {
            self.printed += messages.len() as u64;
            let rows: Vec<[String; 6]> = messages.iter().map(|message| row(message, now)).collect();
            return self.table.print(out, &rows);
        }
        for message in messages {
            out.write_all(if self.printed == 0 { b"{\"messages\":[\n" } else { b",\n" })?;
            let json = serde_json::to_string(message)?;
            out.write_all(text::printable_json(&json).as_bytes())?;
            self.printed += 1;
        }
        Ok(())
    }

    /// Ends the list; `next` is where it goes on when there is more.
    fn end(self, out: &mut dyn Write, list: &List, next: Option<QueueId>) -> std::io::Result<()> {
        match (self.form, self.printed, next) {
            (Form::Text, 0, None) => writeln!(out, "{}", nothing(list)),
            (Form::Text, _, Some(id)) => {
                let state =
                    list.state.map_or_else(String::new, |state| format!(" --state {state}"));
                writeln!(
                    out,
                    "There is more: `pillarbox queue list{state} --after {id}`, or --all."
                )
            }
            (Form::Text, _, None) => Ok(()),
            (Form::Json, printed, next) => {
                let begin = if printed == 0 { "{\"messages\":[" } else { "" };
                writeln!(out, "{begin}\n],\"next\":{}}}", serde_json::json!(next))
            }
        }
    }
}

/// Why a list has no line.
fn nothing(list: &List) -> String {
    let after = list.after.map_or_else(String::new, |id| format!(" after {id}"));
    match list.state {
        Some(state) => format!("There is no message with a {state} recipient{after}."),
        None if list.after.is_some() => format!("There is nothing{after}."),
        None => "The queue is empty.".to_owned(),
    }
}

fn row(message: &Message, now: Timestamp) -> [String; 6] {
    [
        message.id.to_string(),
        local_in_full(message.accepted_at),
        screen::size(message.size_bytes),
        states(message),
        leaves(message, now),
        format!("{} -> {}", sender(message), addressees(message)),
    ]
}

/// `now`, `in 3 h (budget)`, `held`.
fn leaves(message: &Message, now: Timestamp) -> String {
    let Some(departure) = &message.departure else { return "-".to_owned() };
    let short = departure.because.short();
    match (departure.because, departure.at) {
        (Because::Due, Some(at)) => relative(at.max(now), now),
        (because, Some(at)) if because.is_a_wait() => {
            format!("{} ({short})", relative(at.max(now), now))
        }
        _ => short.to_owned(),
    }
}

/// `queued`, or `queued, dead` when recipients differ, and the lane of mail that is not normal.
fn states(message: &Message) -> String {
    let mut names: Vec<&str> = Vec::new();
    for recipient in &message.recipients {
        if !names.contains(&recipient.state.as_str()) {
            names.push(&recipient.state);
        }
    }
    let names = names.join(", ");
    if is_normal(message) { names } else { format!("{names} ({})", message.lane) }
}

fn is_normal(message: &Message) -> bool {
    message.lane == Lane::Normal.name()
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

pub(super) async fn show(
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
    let accepted =
        format!("{} ({})", local_in_full(message.accepted_at), relative(message.accepted_at, now));
    labelled(out, "accepted", &[accepted])?;
    labelled(out, "from", &[sender(message).to_owned()])?;
    labelled(out, "client", &message.origin.iter().map(client).collect::<Vec<_>>())?;
    labelled(out, "size", &[format!("{}{kind}", screen::size(message.size_bytes))])?;
    labelled(out, "lane", std::slice::from_ref(&message.lane))?;
    let leaves = message.departure.iter().map(|departure| long(departure, now));
    labelled(out, "leaves", &leaves.collect::<Vec<_>>())?;
    message
        .recipients
        .iter()
        .try_for_each(|recipient| labelled(out, "to", &recipient_lines(recipient, now)))?;
    let notice = |notice: &Notice| {
        format!("{}, {} to {} as {}", when(notice.at, now), notice.kind, notice.to, notice.id)
    };
    labelled(out, "notices", &message.notices.iter().map(notice).collect::<Vec<_>>())
}

/// `2026-11-28 17:36 (in 22 h): the 24 h budget is spent`.
pub(super) fn long(departure: &Departure, now: Timestamp) -> String {
    match (departure.because, departure.at) {
        (Because::Now, _) => "now".to_owned(),
        (because, Some(at)) if because.is_a_wait() => {
            format!("{}: {}", when(at.max(now), now), departure.why)
        }
        (Because::Held, _) => {
            format!("never by itself: {}; pillarbox queue retry or delete", departure.why)
        }
        (Because::Turn, _) => format!("in its turn: {}", departure.why),
        _ => format!("{}: {}", departure.because.short(), departure.why),
    }
}

/// `printer.lan [192.0.2.7], logged in as printer (ESMTPSA)`.
fn client(origin: &Origin) -> String {
    let Some(address) = &origin.address else { return "none: a notice of this relay".to_owned() };
    if let Some(user) = &origin.user {
        return format!("a program of userid {user} on this host");
    }
    let login =
        origin.login.as_ref().map_or_else(String::new, |login| format!(", logged in as {login}"));
    // A client that calls itself by its address literal is named once.
    let literal = origin.helo.trim_start_matches('[').trim_end_matches(']');
    let literal = literal.strip_prefix("IPv6:").unwrap_or(literal);
    let name = match origin.helo.as_str() {
        "" => String::new(),
        _ if literal == address => String::new(),
        name => format!("{name} "),
    };
    format!("{name}[{address}]{login} ({})", origin.protocol)
}

fn recipient_lines(recipient: &Recipient, now: Timestamp) -> Vec<String> {
    let since =
        recipient.since.map_or_else(String::new, |since| format!(" since {}", when(since, now)));
    let attempts = match recipient.attempts {
        0 => String::new(),
        // Refused, or without an answer.
        attempts => format!(", after {}", count(attempts.into(), "failed attempt")),
    };
    let mut lines = vec![format!("{}: {}{since}{attempts}", recipient.address, recipient.state)];
    lines.extend(
        recipient.next_attempt.filter(|at| *at > now).map(|at| format!("due {}", when(at, now))),
    );
    lines.extend(recipient.reason.as_ref().map(|reason| format!("reason: {reason}")));
    let reply =
        recipient.last_reply.as_ref().filter(|reply| recipient.reason.as_ref() != Some(reply));
    lines.extend(reply.map(|reply| format!("last reply: {reply}")));
    lines
}

/// Does `verb` to every selected message, goes on after a refusal, and fails with the last one.
pub(super) async fn for_each(
    out: &mut dyn Write,
    client: &Client,
    selection: Selection,
    form: Form,
    verb: Verb,
) -> Result<(), Failure> {
    let now = SystemClock::new().wall();
    let mut tally = Tally { form, verb, now, done: 0, left_alone: 0, waits: None, refused: None };
    let only = selection.only(verb);
    if !selection.all {
        for id in selection.ids {
            let result = apply(client, verb, id, &only).await;
            tally.note(out, id, result)?;
        }
        return tally.end(out, Summary::Without);
    }
    let mut walk = client.queue(None);
    while let Some(messages) = walk.page(PAGE).await? {
        for message in messages.iter().filter(|message| selection.state_fits(message)) {
            let result = apply(client, verb, message.id, &only).await;
            match result.as_ref().err().and_then(ClientError::kind) {
                // A message that was relayed in the meantime needs nothing any more.
                Some(Kind::NotFound) => {}
                // One that has changed its state since the page was read is none that was asked for.
                Some(Kind::OtherState) => tally.left_alone += u64::from(only.without.is_some()),
                _ => tally.note(out, message.id, result)?,
            }
        }
    }
    tally.end(out, Summary::With)
}

/// What was done to one message.
#[derive(Debug, Default)]
struct Done {
    /// How many recipients the verb met.
    recipients: u32,
    /// When the message leaves after that.
    departure: Option<Departure>,
}

async fn apply(client: &Client, verb: Verb, id: QueueId, only: &Only) -> Result<Done, ClientError> {
    match verb {
        Verb::Retry => client
            .retry(id, only)
            .await
            .map(|Retried { recipients, departure, .. }| Done { recipients, departure }),
        Verb::Delete => client.delete(id, only).await.map(|_| Done::default()),
    }
}

/// Whether nothing keeps it.
fn is_leaving(departure: &Departure) -> bool {
    matches!(departure.because, Because::Now | Because::InFlight)
}

/// ` now`, `; leaves 17:36 (in 22 h): the 24 h budget is spent`.
fn leaves_then(departure: Option<&Departure>, now: Timestamp) -> String {
    match departure {
        // It has left already, or leaves this moment.
        None => " now".to_owned(),
        Some(departure) if is_leaving(departure) => " now".to_owned(),
        Some(departure) => format!("; leaves {}", long(departure, now)),
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
    now: Timestamp,
    done: u64,
    /// Messages with dead recipients that nobody asked for.
    left_alone: u64,
    /// What keeps the last of them here.
    waits: Option<Departure>,
    refused: Option<Failure>,
}

impl Tally {
    fn note(
        &mut self,
        out: &mut dyn Write,
        id: QueueId,
        result: Result<Done, ClientError>,
    ) -> Result<(), Failure> {
        let line = match (self.form, self.verb, &result) {
            (Form::Json, Verb::Retry, Ok(Done { recipients, departure })) => {
                serde_json::json!({"id": id, "recipients": recipients, "departure": departure})
                    .to_string()
            }
            (Form::Json, Verb::Delete, Ok(_)) => {
                serde_json::json!({"id": id, "deleted": true}).to_string()
            }
            (Form::Json, _, Err(error)) => {
                serde_json::json!({"id": id, "error": error.kind(), "message": error.to_string()})
                    .to_string()
            }
            (Form::Text, Verb::Retry, Ok(Done { recipients, departure })) => {
                format!(
                    "{id} {} due{}",
                    count((*recipients).into(), "recipient"),
                    leaves_then(departure.as_ref(), self.now)
                )
            }
            (Form::Text, Verb::Delete, Ok(_)) => format!("{id} deleted"),
            (Form::Text, _, Err(error)) => format!("{id} {}", clean(&error.to_string())),
        };
        writeln!(out, "{line}")?;
        match result {
            Ok(done) => {
                self.done += 1;
                self.waits = done.departure.filter(|departure| !is_leaving(departure));
            }
            // Without a daemon the others will not fare better.
            Err(error) if error.kind().is_none() => return Err(error.into()),
            Err(error) => self.refused = Some(Failure { message: String::new(), ..error.into() }),
        }
        Ok(())
    }

    fn end(self, out: &mut dyn Write, summary: Summary) -> Result<(), Failure> {
        if summary == Summary::With && self.form == Form::Text {
            let messages = count(self.done, "message");
            match (self.verb, &self.waits) {
                (Verb::Delete, _) => writeln!(out, "{messages} deleted.")?,
                (Verb::Retry, None) => writeln!(out, "{messages} due now.")?,
                (Verb::Retry, Some(departure)) => {
                    let sentence = departure.sentence(|at| when(at, self.now));
                    writeln!(out, "{messages} due. {}", clean(&sentence))?;
                }
            }
            if self.left_alone > 0 {
                let left_alone = count(self.left_alone, "message");
                let how = "to try those too: pillarbox queue retry --all --state dead";
                writeln!(out, "{left_alone} with dead recipients left as they are; {how}")?;
            }
        }
        self.refused.map_or(Ok(()), Err)
    }
}

/// Messages asked for at a time; what a command holds in memory, however long the queue is.
pub(super) const PAGE: usize = 250;

/// Which messages.
#[derive(Clone, Debug, Args)]
pub(super) struct Selection {
    /// Ids as `queue list` prints them.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(super) ids: Vec<QueueId>,
    /// Every message in the queue.
    #[arg(long)]
    pub(super) all: bool,
    /// Of all messages, those with at least one recipient in this state.
    #[arg(long, requires = "all", conflicts_with = "ids", value_name = "STATE")]
    pub(super) state: Option<State>,
}

/// What is done to each of several messages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    /// Makes them due now.
    Retry,
    /// Removes them for good.
    Delete,
}

impl Selection {
    /// Whether the message has a recipient in the wanted state, if one is wanted.
    pub(super) fn state_fits(&self, message: &Message) -> bool {
        self.state.is_none_or(|state| state.is_in(message))
    }

    /// What must be so at the moment of the deed, whatever a page has shown before. What was refused for good is not
    /// tried again along with the rest: it needs to be asked for by state or id.
    pub(super) fn only(&self, verb: Verb) -> Only {
        match (self.state, verb) {
            (Some(state), _) => Only::with(state.name()),
            (None, Verb::Retry) if self.all => Only::without(State::Dead.name()),
            (None, _) => Only::default(),
        }
    }
}

/// A recipient's state, in the words of `queue list`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum State {
    /// Waits for its next attempt.
    Queued,
    /// Waits to be sent once more, because no answer to the final dot came.
    Uncertain,
    /// In flight.
    Reserved,
    /// Waits for a person.
    Held,
    /// Refused for good, or given up.
    Dead,
}

impl State {
    /// Whether a recipient of the message is in this state.
    pub(super) fn is_in(self, message: &Message) -> bool {
        message.recipients.iter().any(|recipient| recipient.state == self.name())
    }

    /// The name, as in records.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Uncertain => "uncertain",
            Self::Reserved => "reserved",
            Self::Held => "held",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
