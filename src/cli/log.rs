//! `pillarbox log`: the level of the running daemon's log, which comes back by itself.

use std::time::Duration;

use clap::Args;

use super::screen::{Form, Page, json, when};
use crate::{
    admin::{client::Client, log::Log},
    exit::Failure,
    telemetry::{ASKED_MAX, LEVELS},
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
        value_parser = time
    )]
    time: Duration,
}

/// A time such as `10min`.
fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text.trim())
        .map_err(|_| "write a time such as 30s, 10min or 2h".to_owned())?;
    if time.is_zero() || time > ASKED_MAX {
        return Err("it can be a second to a day".to_owned());
    }
    Ok(time)
}

pub(super) async fn run(
    out: &mut dyn Page,
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
