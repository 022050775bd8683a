//! `pillarbox queue show`: a message with everything that is known of it.

use crate::{
    admin::client::Client,
    cli::screen::{self, Form, Screen, labelled_all},
    clock::Timestamp,
    exit::Failure,
    queue::id::QueueId,
    wording::message::lines,
};

/// Where a message is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the queue and in the history.
    Anywhere,
    /// In the history.
    History,
}

pub(crate) async fn show(
    out: &mut dyn Screen,
    client: &Client,
    place: Place,
    ids: &[QueueId],
    form: Form,
    now: Timestamp,
) -> Result<(), Failure> {
    for id in ids {
        let message = match place {
            Place::Anywhere => client.message(*id).await?,
            Place::History => client.finished(*id).await?,
        };
        match form {
            Form::Json => screen::json(out, &message)?,
            Form::Text => labelled_all(out, &lines(&message, now))?,
        }
    }
    Ok(())
}
