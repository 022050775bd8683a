//! `pillarbox alert`: who is told without mail, what waits for them, and a trial of the way to each.
//!
//! Rule: the daemon sends, because its user and its sandbox decide what gets out. Must not know how an alert is sent.

use std::io;

use clap::Subcommand;

use super::screen::{Form, Screen, Side, Table, clean, json, relative};
use crate::{
    admin::{
        alert::answers::{TargetState, Targets, Trial},
        client::Client,
    },
    exit::{Exit, Failure},
    wording::status::unreached,
};

const NO_TARGET: &str = "Nobody is told without mail: set webhook_file or command under [alert] (docs/dead-letters.md).";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List who is told, what waits for each, and what failed last.
    List,
    /// Send a test alert, and show what each receiver answers.
    ///
    /// Exit code 0 when all have taken it, 1 when not.
    Test {
        /// Only to this one; a name that `alert list` shows.
        target: Option<String>,
    },
}

pub(super) async fn run(
    out: &mut dyn Screen,
    client: &Client,
    command: Command,
    form: Form,
) -> Result<(), Failure> {
    match command {
        Command::List => {
            let answer = client.alerts().await?;
            match form {
                Form::Json => json(out, &answer)?,
                Form::Text => print(out, &answer)?,
            }
            Ok(())
        }
        Command::Test { target } => {
            let answer = client.test_alerts(target.as_deref()).await?;
            match form {
                Form::Json => json(out, &answer)?,
                Form::Text => print_trials(out, &answer.trials)?,
            }
            let all = !answer.trials.is_empty() && answer.trials.iter().all(|trial| trial.taken);
            if all { Ok(()) } else { Err(Failure::new(Exit::Unhealthy, "")) }
        }
    }
}

fn print(out: &mut dyn Screen, answer: &Targets) -> io::Result<()> {
    if answer.targets.is_empty() {
        return writeln!(out, "{NO_TARGET}");
    }
    let mut table = Table::new([
        ("NAME", Side::Left),
        ("GOES TO", Side::Left),
        ("TOLD OF", Side::Left),
        ("WAITING", Side::Right),
        ("LAST SENT", Side::Left),
    ]);
    let rows: Vec<_> = answer
        .targets
        .iter()
        .map(|target| {
            [
                target.name.clone(),
                match &target.format {
                    Some(format) => format!("{} ({format})", target.goes_to),
                    None => target.goes_to.clone(),
                },
                kinds(target),
                target.waiting.to_string(),
                target.last_sent.map_or_else(|| "-".to_owned(), |at| relative(at, answer.now)),
            ]
        })
        .collect();
    table.print(out, &rows)?;
    let failures: Vec<String> =
        answer.targets.iter().filter_map(|target| unreached(target, answer.now)).collect();
    if !failures.is_empty() {
        writeln!(out)?;
    }
    failures.iter().try_for_each(|line| writeln!(out, "{}", clean(line)))
}

fn kinds(target: &TargetState) -> String {
    let words = target.only.iter().map(|kind| kind.name());
    if target.only.is_empty() {
        "everything".to_owned()
    } else {
        words.collect::<Vec<_>>().join(", ")
    }
}

fn print_trials(out: &mut dyn Screen, trials: &[Trial]) -> io::Result<()> {
    if trials.is_empty() {
        return writeln!(out, "{NO_TARGET}");
    }
    for Trial { target, goes_to, taken, answer } in trials {
        let verb = if *taken { "has taken it" } else { "has not taken it" };
        let line = format!("{target} ({goes_to}) {verb}: {answer}");
        writeln!(out, "{}", clean(&line))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
