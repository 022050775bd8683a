//! `pillarbox queue retry|delete`, for messages by id or for all of a kind.
//!
//! Rule: one message that cannot be handled does not keep the others from it; the last line says how
//! many were. Must not know what the daemon does with a message.

use std::io::Write;

use super::{
    exit::Failure,
    moment::when,
    queue::long,
    screen::{Form, clean, count},
    selection::{PAGE, Selection, Verb},
};
use crate::{
    admin::{
        api::{Because, Departure, Kind, Retried},
        client::{Client, ClientError},
    },
    clock::{Clock as _, SystemClock, Timestamp},
    queue::{id::QueueId, only::Only},
};

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
fn leaves(departure: Option<&Departure>, now: Timestamp) -> String {
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
                    leaves(departure.as_ref(), self.now)
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
