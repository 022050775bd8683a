//! `pillarbox queue list`: the queue page by page, searched, sorted, or counted.
//!
//! Rule: any number of messages is printed while it is read, never held in memory. On a terminal a message takes two lines
//! that fit it; elsewhere one line, of which nothing is cut.

use clap::Args;

use super::{
    query::{self, Words},
    state::State,
};
use crate::{
    admin::{
        api::{Counts, Message},
        client::Client,
        counts::CountBy,
        listing::{Of, Sort},
    },
    cli::{
        fitting::{age, fitted},
        screen::{self, Form, Screen, Side, Table, clean, count, local_in_full},
    },
    clock::Timestamp,
    exit::Failure,
    queue::{
        id::QueueId,
        search::{self, Search},
    },
    text,
    wording::{
        in_words,
        message::{addressees, sender},
    },
};

/// Messages asked for at a time; what a command holds in memory, however long the queue is.
pub(crate) const PAGE: usize = 250;

/// Which part of the queue to list.
#[derive(Clone, Debug, Args)]
pub(crate) struct List {
    /// Only messages for which every word holds, such as from:printer 'subject:"toner low"' older:2h -state:dead;
    /// docs/operating.md has all keys.
    #[arg(value_name = "WORDS", value_parser = Words, hide_possible_values = true)]
    words: Vec<String>,
    #[command(flatten)]
    extent: Extent,
    /// Only messages with a recipient in this state.
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    /// Another order than that of acceptance.
    #[arg(long, value_name = "ORDER", conflicts_with = "all")]
    sort: Option<Sort>,
}

/// How much of a list is shown, or counted.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct Extent {
    /// All of it, however long.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// The largest number of messages, or of values with --count-by, to show.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only messages behind this one in the list.
    #[arg(long, value_name = "ID")]
    after: Option<QueueId>,
    /// Count the messages by what they have in common instead.
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["sort", "after", "all"])]
    count_by: Option<CountBy>,
}

impl Extent {
    /// So much of what the search finds.
    pub(crate) fn wanted(&self, of: Of, search: Search, sort: Option<Sort>) -> Wanted {
        Wanted {
            of,
            search,
            limit: (!self.all).then_some(self.limit as usize),
            after: self.after,
            sort,
            count_by: self.count_by,
            nothing: None,
        }
    }
}

impl List {
    fn wanted(&self) -> Result<Wanted, Failure> {
        let state = self.state.map(|state| format!("state:{state}"));
        let search = query::read(self.words.iter().cloned().chain(state), search::Place::Queue)?;
        let nothing = match self.state {
            Some(state) if self.words.is_empty() => {
                Some(format!("There is no message with a {state} recipient"))
            }
            _ => None,
        };
        Ok(Wanted { nothing, ..self.extent.wanted(Of::Queue, search, self.sort) })
    }
}

/// What a list is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Which messages.
    pub(crate) of: Of,
    /// Which of them.
    pub(crate) search: Search,
    /// How many at most.
    pub(crate) limit: Option<usize>,
    /// Behind which one.
    pub(crate) after: Option<QueueId>,
    /// In which order.
    pub(crate) sort: Option<Sort>,
    /// What is counted instead.
    pub(crate) count_by: Option<CountBy>,
    /// What is said where there is none, in other words than usual.
    pub(crate) nothing: Option<String>,
}

pub(super) async fn print_list(
    out: &mut dyn Screen,
    client: &Client,
    list: &List,
    form: Form,
    now: Timestamp,
) -> Result<(), Failure> {
    print_wanted(out, client, &list.wanted()?, form, now).await
}

pub(crate) async fn print_wanted(
    out: &mut dyn Screen,
    client: &Client,
    wanted: &Wanted,
    form: Form,
    now: Timestamp,
) -> Result<(), Failure> {
    let (of, search) = (wanted.of, &wanted.search);
    if let Some(by) = wanted.count_by {
        let most = wanted.limit.unwrap_or(usize::MAX);
        let counts = client.counts(of, by, search, most).await?;
        return match form {
            Form::Json => Ok(screen::json(out, &counts)?),
            Form::Text => Ok(print_counts(out, &counts, by, now)?),
        };
    }
    let mut left = wanted.limit.unwrap_or(usize::MAX);
    let mut listing = Listing::new(form, out.width());
    let mut walk = client.walk(of, wanted.after).of(search.clone(), wanted.sort);
    let mut page = walk.page(left.min(PAGE)).await?;
    while let Some(messages) = page {
        left -= messages.len();
        // The daemon gathers the next ones while these are printed.
        let next = async { if left > 0 { walk.page(left.min(PAGE)).await } else { Ok(None) } };
        let (next, printed) = tokio::join!(next, async { listing.page(out, &messages, now) });
        printed?;
        page = next?;
    }
    Ok(listing.end(out, wanted, walk.next())?)
}

/// A list that is printed while it is read.
#[derive(Debug)]
pub(super) struct Listing {
    form: Form,
    /// Columns of the terminal.
    width: Option<usize>,
    table: Table<6>,
    printed: u64,
}

impl Listing {
    pub(super) fn new(form: Form, width: Option<usize>) -> Self {
        let columns = [
            ("ID", Side::Left),
            ("ACCEPTED", Side::Left),
            ("SIZE", Side::Right),
            ("STATE", Side::Left),
            ("FROM -> TO", Side::Left),
            ("SUBJECT", Side::Left),
        ];
        Self { form, width, table: Table::new(columns), printed: 0 }
    }

    pub(super) fn page(
        &mut self,
        out: &mut dyn Screen,
        messages: &[Message],
        now: Timestamp,
    ) -> std::io::Result<()> {
        if self.form == Form::Text {
            if let Some(width) = self.width {
                return messages
                    .iter()
                    .try_for_each(|message| self.lines(out, message, width, now));
            }
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

    /// Two lines that fit a terminal.
    fn lines(
        &mut self,
        out: &mut dyn Screen,
        message: &Message,
        width: usize,
        now: Timestamp,
    ) -> std::io::Result<()> {
        if self.printed == 0 {
            writeln!(out, "{:<26}  {:<6}  STATE", "ID", "AGE")?;
            writeln!(out, "    {:>9}  FROM -> TO: SUBJECT", "SIZE")?;
        }
        self.printed += 1;
        let age = age(now.since(message.accepted_at));
        let first = format!("{:<26}  {age:<6}  {}", message.id.to_string(), in_words(message, now));
        writeln!(out, "{}", fitted(&clean(&first), width))?;
        let subject = match message.subject.as_str() {
            "" => String::new(),
            subject => format!(": {subject}"),
        };
        let size = screen::size(message.size_bytes);
        let way = format!("{} -> {}", sender(message), addressees(message));
        writeln!(out, "{}", fitted(&clean(&format!("    {size:>9}  {way}{subject}")), width))
    }

    /// Ends a list that nothing else is said of, and says how many messages it had.
    pub(super) fn finish(
        self,
        out: &mut dyn Screen,
        next: Option<QueueId>,
    ) -> std::io::Result<u64> {
        if self.form == Form::Json {
            let begin = if self.printed == 0 { "{\"messages\":[" } else { "" };
            writeln!(out, "{begin}\n],\"next\":{}}}", serde_json::json!(next))?;
        }
        Ok(self.printed)
    }

    /// Ends the list; `next` is where it goes on when there is more.
    fn end(
        self,
        out: &mut dyn Screen,
        wanted: &Wanted,
        next: Option<QueueId>,
    ) -> std::io::Result<()> {
        match (self.form, self.printed, next) {
            (Form::Text, 0, None) => writeln!(out, "{}", wanted.nothing()),
            (Form::Text, _, Some(id)) => {
                let words = query::for_a_shell(&wanted.search);
                let (sort, all) = match wanted.sort {
                    Some(sort) => (format!(" --sort {}", sort.name()), ""),
                    None => (String::new(), ", or --all"),
                };
                let list = wanted.command();
                writeln!(out, "There is more: `pillarbox {list}{words}{sort} --after {id}`{all}.")
            }
            (Form::Text, _, None) => Ok(()),
            (Form::Json, _, next) => self.finish(out, next).map(drop),
        }
    }
}

impl Wanted {
    /// The command that asks for it.
    fn command(&self) -> &'static str {
        match self.of {
            Of::Queue => "queue list",
            Of::DeadLetters => "dead list",
            Of::History => "history list",
        }
    }

    /// Why a list has no line.
    fn nothing(&self) -> String {
        let after = self.after.map_or_else(String::new, |id| format!(" after {id}"));
        match (&self.nothing, self.of) {
            (Some(words), _) => format!("{words}{after}."),
            _ if !self.search.is_everything() => {
                format!("No message is found by{}{after}.", query::for_a_shell(&self.search))
            }
            _ if self.after.is_some() => format!("There is nothing{after}."),
            (None, Of::Queue) => "The queue is empty.".to_owned(),
            (None, Of::DeadLetters) => "There are no dead letters.".to_owned(),
            (None, Of::History) => "The history is empty.".to_owned(),
        }
    }
}

fn row(message: &Message, now: Timestamp) -> [String; 6] {
    [
        message.id.to_string(),
        local_in_full(message.accepted_at),
        screen::size(message.size_bytes),
        in_words(message, now),
        format!("{} -> {}", sender(message), addressees(message)),
        message.subject.clone(),
    ]
}

/// Prints what was counted.
fn print_counts(
    out: &mut dyn Screen,
    counts: &Counts,
    by: CountBy,
    now: Timestamp,
) -> std::io::Result<()> {
    if counts.messages == 0 {
        return writeln!(out, "There is nothing to count.");
    }
    let mut table = Table::new([
        ("MESSAGES", Side::Right),
        ("RECIPIENTS", Side::Right),
        ("OLDEST", Side::Left),
        (by.title(), Side::Left),
    ]);
    let oldest = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| age(now.since(at)));
    let shown = |value: &str| if value.is_empty() { "(none)".to_owned() } else { value.to_owned() };
    let mut rows: Vec<[String; 4]> = counts
        .values
        .iter()
        .map(|share| {
            [
                share.messages.to_string(),
                share.recipients.to_string(),
                oldest(share.oldest),
                shown(&share.value),
            ]
        })
        .collect();
    if counts.other_messages > 0 {
        let (messages, recipients) = (counts.other_messages, counts.other_recipients);
        rows.push([messages.to_string(), recipients.to_string(), "-".into(), "(others)".into()]);
    }
    table.print(out, &rows)?;
    let messages = count(counts.messages, "message");
    writeln!(out, "{messages} to {} in all.", count(counts.recipients, "recipient"))
}

#[cfg(test)]
mod tests;
