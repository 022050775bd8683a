//! `pillarbox status`, `budget` and `resume`: what waits, what may still be spent, and the account opened again.
//!
//! Rule: prints what `wording/` says.

use std::io::{self, Write};

use super::screen::{clean, labelled_all, when};
use crate::{
    admin::api::{Account, Budget, Departure, Status},
    clock::Timestamp,
    doctor,
    wording::status,
};

/// Prints the screen.
pub(super) fn print(out: &mut dyn Write, state: &Status) -> io::Result<()> {
    writeln!(out, "{}", status::title(state))?;
    labelled_all(out, &status::lines(state))
}

/// Prints the budget.
pub(super) fn print_budget(out: &mut dyn Write, budget: &Budget) -> io::Result<()> {
    labelled_all(out, &status::budget_lines(budget))
}

/// Prints the account after the order, and when mail really leaves: an open account is not all it takes.
pub(super) fn print_resumed(
    out: &mut dyn Write,
    account: &Account,
    departure: &Departure,
    now: Timestamp,
) -> io::Result<()> {
    if !account.is_open() {
        // The attempt that resume allows has failed already.
        writeln!(out, "The account is {}: {}", account.condition, clean(&account.reason))?;
        writeln!(out, "{}", clean(&account.remedy))?;
        return writeln!(out, "{}", doctor::advice_for_account(&account.condition));
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
