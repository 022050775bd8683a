//! `pillarbox setup`: from nothing to a relay that works, by questions at a terminal, by flags, or as JSON.
//!
//! Rule: first the plan, then a yes, then the deed; interrupted anywhere, the next call goes on. No secret is printed, kept in
//! the draft, or taken from the command line.

mod answers;
mod deed;
mod draft;
mod edit;
mod environment;
mod flow;
mod found;
mod front;
mod given;
mod last_steps;
mod plan;
mod proof;
mod providers;
mod questions;
mod reach;
mod report;
mod service;
mod terminal;
mod transport;

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Args;

use self::last_steps::Taken;
use self::{
    flow::{Setup, Wishes},
    found::Found,
    front::{Front, Silent},
    given::{Flags, Given},
    terminal::Terminal,
};
use super::screen::{Screen, Sheet, json};
use crate::{daemon, exit::Failure};

/// The answers that are given at once, and how it is done.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// Show the plan and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not try the login.
    #[arg(long)]
    no_prove: bool,
    /// Do what the plan says, also where it replaces something.
    #[arg(long)]
    yes: bool,
    /// Ask nothing: what has no flag gets its default, or ends the command with exit code 64.
    #[arg(long)]
    no_input: bool,
    /// Ask everything anew, with the present answers as defaults.
    #[arg(long)]
    again: bool,
    /// Print the questions as JSON; with --answers, the plan and what came of it.
    #[arg(long)]
    json: bool,
    /// Take the answers as a JSON object from this file ("-" is standard input).
    #[arg(long, value_name = "FILE", requires = "json", conflicts_with_all = ["password_file", "password_stdin"])]
    answers: Option<PathBuf>,
    /// Where the facts of the machine are read: what the tests make a machine of.
    #[arg(long, value_name = "DIRECTORY", default_value = "/", hide = true)]
    root: PathBuf,
}

/// Sets up.
pub(super) fn run(
    out: &mut dyn Screen,
    config: Option<&Path>,
    arguments: &Arguments,
) -> Result<(), Failure> {
    daemon::harden();
    let wishes = Wishes {
        config: config.map(Path::to_owned),
        root: arguments.root.clone(),
        dry_run: arguments.dry_run,
        proves: !arguments.no_prove,
        again: arguments.again,
    };
    if arguments.json && arguments.answers.is_none() {
        let found = Found::look(config, &arguments.root)?;
        return Ok(json(out, &report::questions(&found))?);
    }
    let given = match &arguments.answers {
        Some(path) => Given::by_json(path)?.over(Given::by_flags(&arguments.flags)?),
        None => Given::by_flags(&arguments.flags)?,
    };
    if arguments.json {
        let mut nowhere = Sheet { out: io::sink(), width: None };
        let mut setup = Setup::new(&mut nowhere, Box::new(Silent { yes: arguments.yes }), wishes)?;
        let result = whole(&mut setup, given);
        if let Err(failure) = &result {
            setup.document.set("error", failure.message.clone());
        }
        json(out, &setup.document.finished())?;
        return result;
    }
    let asks = !arguments.no_input && terminal::is_there();
    let front: Box<dyn Front> = match asks {
        true => Box::new(Terminal::new(arguments.yes)),
        false => Box::new(Silent { yes: arguments.yes }),
    };
    whole(&mut Setup::new(out, front, wishes)?, given)
}

fn whole(setup: &mut Setup<'_>, given: Given) -> Result<(), Failure> {
    let mut reached = setup.run(given)?;
    while let Some(state) = reached {
        reached = match last_steps::take(setup, &state)? {
            Taken::Enough => None,
            Taken::Back(name) => setup.run_from(name)?,
        };
    }
    Ok(())
}
