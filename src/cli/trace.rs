//! `pillarbox trace`: what the relay and a client, or the relay and its upstream, say to each other as it happens.

use std::time::Duration;

use clap::Args;

use super::screen::{self, Form, Screen, clean, count, local_to_the_millisecond, span};
use crate::{
    admin::{
        client::Client,
        trace::{SHOWN_MAX, Said, Shown, Wanted},
    },
    exit::{Exit, Failure},
    written_time,
};

/// Octets of a line of the answer: one of a dialogue, escaped.
const LINE_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The dialogues with this client, or with the clients of this network; programs of this host are 127.0.0.1.
    #[arg(
        long,
        value_name = "NETWORK",
        required_unless_present = "upstream",
        conflicts_with = "upstream"
    )]
    client: Option<String>,
    /// The dialogues with the upstream; of several accounts with all of theirs, unless one is named.
    #[arg(long)]
    upstream: bool,
    /// Only with the upstream of this account, by its name in relay.toml; `main` is that of `[upstream]`.
    #[arg(long = "account", value_name = "NAME", conflicts_with = "client")]
    account: Option<String>,
    /// How long, at most an hour.
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = written_time::span_up_to(Some(SHOWN_MAX)))]
    time: Duration,
}

pub(super) async fn run(
    out: &mut dyn Screen,
    client: &Client,
    form: Form,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let Arguments { client: network, upstream, account, time } = arguments.clone();
    let wanted = Wanted { client: network, upstream, account, seconds: Some(time.as_secs()) };
    let mut octets = client.trace(&wanted).await?;
    if form == Form::Text {
        let whose = match (&wanted.client, &wanted.account) {
            (Some(network), _) => network.clone(),
            (None, Some(account)) => format!("the upstream of {account}"),
            (None, None) => "the upstream".to_owned(),
        };
        let (whose, time) = (clean(&whose), span(time));
        writeln!(out, "Watching dialogues with {whose} for {time} (Ctrl-C ends it).")?;
        out.flush()?;
    }
    let mut line = Vec::new();
    while let Some(block) = octets.next().await? {
        for piece in block.split_inclusive(|octet| *octet == b'\n') {
            line.extend_from_slice(piece);
            if line.len() > LINE_BYTES_MAX {
                return Err(Failure::new(Exit::Unavailable, "the daemon's answer has no lines"));
            }
            if line.ends_with(b"\n") {
                print(out, form, line.trim_ascii())?;
                line.clear();
            }
        }
        // Whoever watches is to see it now; when he has gone, nothing more is asked of the daemon.
        out.flush()?;
        if !screen::is_read() {
            break;
        }
    }
    Ok(())
}

fn print(out: &mut dyn Screen, form: Form, line: &[u8]) -> Result<(), Failure> {
    if line.is_empty() {
        return Ok(());
    }
    if form == Form::Json {
        out.write_all(line)?;
        return Ok(writeln!(out)?);
    }
    let shown: Shown = serde_json::from_slice(line).map_err(|error| {
        Failure::new(Exit::Unavailable, format!("the daemon's answer is not understood: {error}"))
    })?;
    Ok(writeln!(out, "{}", words(&shown))?)
}

fn words(shown: &Shown) -> String {
    match shown {
        Shown::Missed { missed } => {
            format!("({} left out: too many at once)", count(*missed, "line"))
        }
        Shown::Said(Said { at, connection, client, account, by_client, text }) => {
            let peer = match (client, account) {
                (Some(client), _) => client.to_string(),
                (None, Some(account)) => format!("upstream of {}", clean(account)),
                (None, None) => "upstream".to_owned(),
            };
            let side = if *by_client { "C:" } else { "S:" };
            format!("{} {peer} #{connection} {side} {}", local_to_the_millisecond(*at), clean(text))
        }
    }
}
