//! `pillarbox status`, `budget` and `resume`: what waits, what may still be spent, and the account opened again.
//!
//! Rule: prints what `wording/` says.

use std::{io, ops::RangeInclusive, time::Duration};

use clap::Args;

use super::screen::{Screen, Side, Table, clean, labelled_all, when};
use crate::{
    admin::{
        api::{Account, Budget, Departure, Status},
        of_account::Each,
    },
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

/// Prints the budget of the account that was named, or of the only one; of several a line each.
pub(super) fn print_budgets(
    out: &mut dyn Screen,
    budgets: &Each<Budget>,
    name: Option<&str>,
) -> io::Result<()> {
    let name = name.unwrap_or(MAIN);
    if budgets.others.is_empty() {
        return labelled_all(out, &status::budget_lines(&budgets.first, name));
    }
    let rows: Vec<_> =
        budgets.named(name).map(|(name, budget)| status::budget_row(name, budget)).collect();
    let columns = [
        ("ACCOUNT", Side::Left),
        ("SPENT", Side::Right),
        ("OF", Side::Right),
        ("ROOM", Side::Right),
        ("NEXT", Side::Left),
    ];
    Table::new(columns).print(out, &rows)?;
    writeln!(out, "\nMore of one: pillarbox budget --account NAME")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        admin::of_account::Named,
        budget::Limit,
        cli::printed::{canned, compare_at_every_width},
    };

    #[test]
    fn the_budgets_of_several_accounts_are_a_table_at_every_width() {
        let full: Budget = canned("GET /v1/budget");
        let mut free = Budget { spent: 7, limit: Limit::of(50), room: Some(43), ..full.clone() };
        let departure = serde_json::json!({ "at": 0, "because": "now", "why": "it is due" });
        free.departure = serde_json::from_value(departure).expect("a departure");
        let unlimited = Budget { spent: 1_234, limit: Limit::NONE, room: None, ..free.clone() };
        let named = |(name, said): (&str, Budget)| Named { name: name.to_owned(), said };
        let others = [("shop\u{202e}\u{1b}[2J", free), ("reports", unlimited)].map(named).into();
        let budgets = Each { first: full, others };
        compare_at_every_width("budget_accounts", |out| print_budgets(out, &budgets, None));
    }
}
