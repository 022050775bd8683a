//! `pillarbox pause`: nothing is sent for a while, and mail is taken all the same.

use std::time::Duration;

use clap::Args;

use super::of_account::OfAccount;
use super::screen::{Form, Screen, clean, json, when};
use crate::{
    addressed::with_account, admin::client::Client, clock::Timestamp, exit::Failure, written_time,
};

#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// When it ends by itself: 14:30, "tomorrow 08:00", "2026-12-24 18:00", or an RFC 3339 time. Without an end it lasts
    /// until `pillarbox resume`.
    #[arg(long, value_name = "TIME", value_parser = written_time::parse)]
    until: Option<Timestamp>,
    /// How long it lasts, such as 2h.
    #[arg(long = "for", value_name = "TIME", conflicts_with = "until", value_parser = written_time::span_up_to(None))]
    span: Option<Duration>,
    #[command(flatten)]
    of: OfAccount,
    /// Why, for everybody who looks at the status.
    #[arg(value_name = "REASON")]
    reason: Vec<String>,
}

pub(super) async fn run(
    out: &mut dyn Screen,
    client: &Client,
    form: Form,
    arguments: &Arguments,
    now: Timestamp,
) -> Result<(), Failure> {
    let until = arguments.span.map(|span| now.after(span)).or(arguments.until);
    let (reason, name) = (arguments.reason.join(" "), arguments.of.name());
    let ordered = client.pause(until, &reason, name).await?;
    match (form, &ordered.first.pause) {
        (Form::Json, _) => json(out, &ordered)?,
        (Form::Text, Some(pause)) => {
            let words = pause.words(|at| when(at, now));
            let who =
                name.map_or_else(|| "The relay".to_owned(), |name| format!("The account {name}"));
            let of =
                |text: &str| name.map_or_else(|| text.to_owned(), |name| with_account(text, name));
            writeln!(out, "{} is {}.", clean(&who), clean(&of(&words)))?;
            writeln!(
                out,
                "{}",
                clean(&of(
                    "Mail is still taken, and kept; what is on its way now ends. `pillarbox resume` ends the pause."
                ))
            )?;
            // Of an open account nothing else has to be done.
            if ordered.first.is_open() && !ordered.first.remedy.is_empty() {
                writeln!(out, "{}", clean(&ordered.first.remedy))?;
            }
        }
        (Form::Text, None) => writeln!(out, "The pause is over already.")?,
    }
    Ok(())
}
