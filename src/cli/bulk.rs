//! `pillarbox queue retry|delete`, for messages by id or for all of a kind.
//!
//! Rule: one message that cannot be handled does not keep the others from it; the last line says how
//! many were. Must not know what the daemon does with a message.

use std::io::Write;

use super::{
    exit::Failure,
    screen::{Form, clean, count},
    selection::{PAGE, Selection, State},
};
use crate::{
    admin::{
        api::{Kind, Message},
        client::{Client, ClientError},
    },
    queue::id::QueueId,
};

/// What is done to each of several messages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    /// Makes them due now.
    Retry,
    /// Removes them for good.
    Delete,
}

/// Does `verb` to every selected message, goes on after a refusal, and fails with the last one.
pub(super) async fn for_each(
    out: &mut dyn Write,
    client: &Client,
    selection: Selection,
    form: Form,
    verb: Verb,
) -> Result<(), Failure> {
    let mut tally = Tally { form, verb, done: 0, left_alone: 0, refused: None };
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
        for message in page.messages.iter().filter(|message| selection.state_fits(message)) {
            if is_left_alone(verb, selection.state, message) {
                tally.left_alone += 1;
                continue;
            }
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

/// Whether the message needs to be asked for by state or id: what was refused for good is not tried
/// again along with the rest.
fn is_left_alone(verb: Verb, state: Option<State>, message: &Message) -> bool {
    matches!(verb, Verb::Retry) && state.is_none() && State::Dead.is_in(message)
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
    /// Messages with dead recipients that nobody asked for.
    left_alone: u64,
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
            (Form::Json, Verb::Delete, Ok(_)) => {
                serde_json::json!({"id": id, "deleted": true}).to_string()
            }
            (Form::Json, _, Err(error)) => {
                serde_json::json!({"id": id, "error": error.kind(), "message": error.to_string()})
                    .to_string()
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
            if self.left_alone > 0 {
                let left_alone = count(self.left_alone, "message");
                let how = "to try those too: pillarbox queue retry --all --state dead";
                writeln!(out, "{left_alone} with dead recipients left as they are; {how}")?;
            }
        }
        self.refused.map_or(Ok(()), Err)
    }
}
