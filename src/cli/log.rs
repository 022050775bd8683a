//! `pillarbox log`: the level of the running daemon's log, which comes back by itself.

use std::time::Duration;

use clap::Args;

use super::screen::{Form, Screen, json, when};
use crate::{
    admin::{client::Client, log::Log},
    exit::Failure,
    telemetry::{ASKED_MAX, LEVELS},
    written_time,
};

#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// What is printed from now on; without it nothing changes. The configured level ends what was asked for before.
    #[arg(value_name = "LEVEL", value_parser = LEVELS.iter().map(|(name, _)| *name).collect::<Vec<_>>())]
    level: Option<String>,
    /// How long, at most a day; then the configured level is back.
    #[arg(
        long = "for",
        value_name = "TIME",
        default_value = "10min",
        requires = "level",
        value_parser = written_time::span_up_to(Some(ASKED_MAX))
    )]
    time: Duration,
}

pub(super) async fn run(
    out: &mut dyn Screen,
    client: &Client,
    form: Form,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let log = match &arguments.level {
        Some(level) => client.set_log(level, arguments.time).await?,
        None => client.log().await?,
    };
    match form {
        Form::Json => json(out, &log)?,
        Form::Text => writeln!(out, "{}", words(&log))?,
    }
    Ok(())
}

fn words(log: &Log) -> String {
    match log.until {
        Some(until) => format!(
            "The log is at {} until {}, then at {} again.",
            log.level,
            when(until, log.now),
            log.configured
        ),
        None => format!("The log is at {}, as configured.", log.level),
    }
}
