//! `pillarbox report`: the weekly report as it would be now, and the order to send it.

use clap::Args;

use super::screen::{Form, Screen, json};
use crate::{admin::client::Client, exit::Failure};

#[derive(Clone, Copy, Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// Queue it as mail as well, to whom report.to names; costs one recipient of the budget.
    #[arg(long)]
    send: bool,
}

pub(super) async fn run(
    out: &mut dyn Screen,
    client: &Client,
    form: Form,
    asked: Arguments,
) -> Result<(), Failure> {
    let answer = if asked.send { client.send_report().await? } else { client.report().await? };
    if form == Form::Json {
        return Ok(json(out, &answer)?);
    }
    write!(out, "{}", answer.text)?;
    if let Some(sent) = &answer.sent {
        writeln!(
            out,
            "\nQueued for {} as {}; see `pillarbox queue show {}`.",
            sent.to, sent.id, sent.id
        )?;
    }
    Ok(())
}
