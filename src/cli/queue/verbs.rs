//! The deed that is done to each of several messages, and the report of it.
//!
//! Rule: one that cannot be handled does not keep the others from it, and the last line says how many were.

use super::{
    confirmation,
    list::{Listing, PAGE},
    selection::Chosen,
};
use crate::{
    admin::{
        api::{Because, Deleted, Departure, Kind, Retried},
        client::{Client, ClientError},
        counts::CountBy,
        listing::Of,
    },
    cli::{
        progress::Progress,
        screen::{Form, Screen, clean, count, when},
    },
    clock::Timestamp,
    exit::Failure,
    queue::{id::QueueId, only::Only, search::Search},
    smtp::address::Address,
    wording::message::long,
};

/// What is done, and how.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    /// What.
    pub(crate) verb: Verb,
    /// Nothing is done, only shown.
    pub(crate) dry_run: bool,
    /// Somebody has confirmed it.
    pub(crate) yes: bool,
    /// Of each message, this recipient alone.
    pub(crate) recipient: Option<Address>,
}

impl From<Verb> for Deed {
    fn from(verb: Verb) -> Self {
        Self { verb, dry_run: false, yes: true, recipient: None }
    }
}

/// Does it to every chosen message, goes on after a refusal, and fails with the last one.
pub(crate) async fn for_each(
    out: &mut dyn Screen,
    client: &Client,
    chosen: Chosen,
    form: Form,
    deed: Deed,
    now: Timestamp,
) -> Result<(), Failure> {
    let verb = deed.verb;
    if deed.dry_run {
        return show_chosen(out, client, chosen, form, now).await;
    }
    let mut tally = Tally { form, verb, now, done: 0, left_alone: 0, waits: None, refused: None };
    let chosen_only = chosen.only(matches!(verb, Verb::Retry));
    let only = Only { recipient: deed.recipient, ..chosen_only };
    let search = match chosen {
        Chosen::Found(search) => search,
        Chosen::Ids(ids, _) => {
            for id in ids {
                let result = apply(client, verb, id, &only).await;
                tally.note(out, id, result)?;
            }
            return tally.end(out, Summary::Without);
        }
    };
    let until = if deed.yes { None } else { Some(confirmed(client, verb, &search).await?) };
    // On a terminal the lines of the messages themselves show how far it is.
    let progress = Progress::of_silent_work("done", None);
    let mut walk = client.queue(None).of(search, None);
    if let Some(until) = until {
        walk = walk.up_to(until);
    }
    while let Some(messages) = walk.page(PAGE).await? {
        for message in messages {
            let result = apply(client, verb, message.id, &only).await;
            progress.step();
            match result.as_ref().err().and_then(ClientError::kind) {
                // A message that was relayed in the meantime needs nothing any more.
                Some(Kind::NotFound) => {}
                // One that has changed since the page was read is none that was asked for.
                Some(Kind::OtherState) => tally.left_alone += u64::from(only.without.is_some()),
                _ => tally.note(out, message.id, result)?,
            }
        }
    }
    drop(progress);
    tally.end(out, Summary::With)
}

/// Asks whether all that are found are meant; the last of those that were counted.
async fn confirmed(
    client: &Client,
    verb: Verb,
    search: &Search,
) -> Result<Option<QueueId>, Failure> {
    let words = verb.words();
    if !confirmation::can_ask() {
        return Err(confirmation::missing(words, search));
    }
    let counts = client.counts(Of::Queue, CountBy::State, search, 1).await?;
    if counts.messages > 0 {
        confirmation::ask(words, counts.messages, counts.recipients)?;
    }
    Ok(counts.until)
}

/// Shows the messages that are meant, as a list does.
async fn show_chosen(
    out: &mut dyn Screen,
    client: &Client,
    chosen: Chosen,
    form: Form,
    now: Timestamp,
) -> Result<(), Failure> {
    let mut listing = Listing::new(form, out.width());
    let messages = match chosen {
        Chosen::Ids(ids, state) => {
            for id in ids {
                let message = client.message(id).await?;
                if state.is_none_or(|state| state.is_in(&message)) {
                    listing.page(out, &[message], now)?;
                }
            }
            listing.finish(out, None)?
        }
        Chosen::Found(search) => {
            let mut walk = client.queue(None).of(search, None);
            while let Some(messages) = walk.page(PAGE).await? {
                listing.page(out, &messages, now)?;
            }
            listing.finish(out, None)?
        }
    };
    if form == Form::Text {
        writeln!(out, "{} meant; nothing was done.", count(messages, "message"))?;
    }
    Ok(())
}

/// What was done to one message.
#[derive(Debug, Default)]
struct Done {
    /// How many recipients the verb met; of a deletion only where that was not all of the message.
    recipients: u32,
    /// When the message leaves after that.
    departure: Option<Departure>,
}

impl From<Deleted> for Done {
    fn from(answer: Deleted) -> Self {
        Self { recipients: answer.recipients.unwrap_or_default(), departure: None }
    }
}

impl From<Retried> for Done {
    fn from(answer: Retried) -> Self {
        Self { recipients: answer.recipients, departure: answer.departure }
    }
}

async fn apply(client: &Client, verb: Verb, id: QueueId, only: &Only) -> Result<Done, ClientError> {
    match verb {
        Verb::Retry => client.retry(id, only).await.map(Done::from),
        Verb::Hold => client.hold(id, only).await.map(Done::from),
        Verb::Release => client.release(id, only).await.map(Done::from),
        Verb::Schedule(at) => client.schedule(id, at, only).await.map(Done::from),
        Verb::Delete => client.delete(id, only).await.map(Done::from),
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

/// `1 recipient scheduled for 2026-11-28 17:36 (in 2 h)`, and what else keeps it.
fn scheduled(done: &Done, at: Timestamp, now: Timestamp) -> String {
    let recipients = match done.recipients {
        0 => {
            return "not scheduled: nothing of it waits; queue retry tries again what is dead"
                .to_owned();
        }
        number => count(number.into(), "recipient"),
    };
    let otherwise = done.departure.iter().filter(|then| then.because != Because::Scheduled);
    let otherwise = otherwise.map(|then| format!("; leaves {}", long(then, now)));
    format!("{recipients} scheduled for {}{}", when(at, now), otherwise.collect::<String>())
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
        out: &mut dyn Screen,
        id: QueueId,
        result: Result<Done, ClientError>,
    ) -> Result<(), Failure> {
        let line = match (self.form, self.verb, &result) {
            (
                Form::Json,
                Verb::Retry | Verb::Hold | Verb::Release | Verb::Schedule(_),
                Ok(Done { recipients, departure }),
            ) => serde_json::json!({"id": id, "recipients": recipients, "departure": departure})
                .to_string(),
            (Form::Json, Verb::Delete, Ok(Done { recipients: 0, .. })) => {
                serde_json::json!({"id": id, "deleted": true}).to_string()
            }
            (Form::Json, Verb::Delete, Ok(Done { recipients, .. })) => {
                serde_json::json!({"id": id, "recipients": recipients, "deleted": true}).to_string()
            }
            (Form::Json, _, Err(error)) => {
                serde_json::json!({"id": id, "error": error.kind(), "message": error.to_string()})
                    .to_string()
            }
            (Form::Text, Verb::Hold, Ok(Done { recipients, .. })) => {
                format!("{id} {} held", count((*recipients).into(), "recipient"))
            }
            (Form::Text, Verb::Schedule(at), Ok(done)) if at > self.now => {
                format!("{id} {}", scheduled(done, at, self.now))
            }
            (
                Form::Text,
                Verb::Retry | Verb::Release | Verb::Schedule(_),
                Ok(Done { recipients, departure }),
            ) => format!(
                "{id} {} due{}",
                count((*recipients).into(), "recipient"),
                leaves_then(departure.as_ref(), self.now)
            ),
            (Form::Text, Verb::Delete, Ok(Done { recipients: 0, .. })) => format!("{id} deleted"),
            (Form::Text, Verb::Delete, Ok(Done { recipients, .. })) => {
                format!("{id} {} deleted", count((*recipients).into(), "recipient"))
            }
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

    fn end(self, out: &mut dyn Screen, summary: Summary) -> Result<(), Failure> {
        if summary == Summary::With && self.form == Form::Text {
            let messages = count(self.done, "message");
            match (self.verb, &self.waits) {
                (Verb::Delete, _) => writeln!(out, "{messages} deleted.")?,
                (Verb::Hold, _) => writeln!(out, "{messages} held.")?,
                (Verb::Schedule(at), _) if at > self.now => {
                    writeln!(out, "{messages} scheduled for {}.", when(at, self.now))?;
                }
                (_, None) => writeln!(out, "{messages} due now.")?,
                (_, Some(departure)) => {
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

/// What is done to each of several messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verb {
    /// Makes them due now.
    Retry,
    /// Keeps them here until they are released.
    Hold,
    /// Lets them leave again.
    Release,
    /// Has them leave at this time and not before.
    Schedule(Timestamp),
    /// Removes them for good.
    Delete,
}

impl Verb {
    /// It in the question whether all of many are meant.
    fn words(self) -> confirmation::Words {
        let counts = ", and each recipient counts for the budget";
        let (order, does, done, consequence) = match self {
            Self::Retry => ("try", "tries", "tried", counts),
            Self::Hold => ("hold", "holds", "held", " until somebody releases them"),
            Self::Release => ("release", "releases", "released", counts),
            Self::Schedule(_) => ("schedule", "schedules", "scheduled", ""),
            Self::Delete => ("remove", "removes", "removed", " for good"),
        };
        confirmation::Words { order, does, done, consequence }
    }
}
