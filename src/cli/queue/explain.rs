//! `pillarbox queue explain`: what made a message what it is, why it waits, and when it leaves.

use crate::{
    admin::client::Client,
    cli::screen::{Form, Screen, json, labelled_all},
    exit::Failure,
    queue::id::QueueId,
    wording::explain::lines,
};

pub(super) async fn explain(
    out: &mut dyn Screen,
    client: &Client,
    id: QueueId,
    form: Form,
) -> Result<(), Failure> {
    let explained = client.explain(id).await?;
    match form {
        Form::Json => json(out, &explained)?,
        Form::Text => labelled_all(out, &lines(&explained))?,
    }
    Ok(())
}
