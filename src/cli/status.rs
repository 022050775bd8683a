//! `pillarbox status`, `budget` and `resume`: what waits, what may still be spent, and the account opened again.
//!
//! Rule: prints what `wording/` says.

use std::{io, ops::RangeInclusive, time::Duration};

use clap::Args;

use super::screen::{Screen, clean, labelled_all, when};
use crate::{
    admin::api::{Account, Budget, Departure, Status},
    budget::MAIN,
    clock::Timestamp,
    doctor,
    wording::status,
};

/// Seconds between two looks that can be asked for: fewer show nothing more, and after an hour nobody watches.
const SECONDS: RangeInclusive<u64> = 1..=3_600;

/// How the screen is shown.
#[derive(Clone, Copy, Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// Show it again and again, every 2 s or so many seconds (1 to 3600), until q or Ctrl-C: exit code 0. A daemon that
    /// goes away is waited for.
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(SECONDS)
    )]
    watch: Option<u64>,
}

impl Arguments {
    /// Between two looks, where there is more than one.
    pub(super) fn every(self) -> Option<Duration> {
        self.watch.map(Duration::from_secs)
    }
}

/// Prints the screen.
pub(super) fn print(out: &mut dyn Screen, state: &Status) -> io::Result<()> {
    writeln!(out, "{}", status::title(state))?;
    labelled_all(out, &status::lines(state))
}

/// Prints the budget of the account with this name.
pub(super) fn print_budget(out: &mut dyn Screen, budget: &Budget, name: &str) -> io::Result<()> {
    labelled_all(out, &status::budget_lines(budget, name))
}

/// Prints what the accounts besides the main one have spent; nothing where there are none.
pub(super) fn print_other_budgets(out: &mut dyn Screen, state: &Status) -> io::Result<()> {
    let lines = status::other_budgets(state);
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nThat is the account {MAIN}. The others (pillarbox budget --account NAME):")?;
    lines.iter().try_for_each(|line| writeln!(out, "  {}", clean(line)))
}

/// Prints the account after the order, and when mail really leaves: an open account is not all it takes.
pub(super) fn print_resumed(
    out: &mut dyn Screen,
    (name, account): (&str, &Account),
    departure: &Departure,
    now: Timestamp,
) -> io::Result<()> {
    if !account.is_open() {
        // The attempt that resume allows has failed already.
        writeln!(out, "The account is {}: {}", account.condition, clean(&account.reason))?;
        writeln!(out, "{}", clean(&account.remedy))?;
        return writeln!(out, "{}", doctor::advice_for_account(&account.condition, name));
    }
    if departure.is_obstructed() {
        let sentence = departure.sentence(|at| when(at, now));
        writeln!(out, "The account was opened. {}", clean(&sentence))?;
    } else {
        writeln!(out, "The account is open; mail that is due is tried now, one message first.")?;
    }
    if !account.remedy.is_empty() {
        writeln!(out, "{}", clean(&account.remedy))?;
    }
    Ok(())
}
