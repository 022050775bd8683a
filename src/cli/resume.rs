//! `pillarbox resume`: opens a paused account again.
//!
//! Rule: says what the account was left in. Must not know why it was paused.

use std::{io, io::Write};

use super::{moment::when, screen::clean};
use crate::{
    admin::api::{Account, Departure},
    clock::Timestamp,
};

/// Prints the account after the order, and when mail really leaves: an open account is not all it takes.
pub(super) fn print(
    out: &mut dyn Write,
    account: &Account,
    departure: &Departure,
    now: Timestamp,
) -> io::Result<()> {
    if !account.is_open() {
        // The attempt that resume allows has failed already.
        writeln!(out, "The account is {}: {}", account.condition, clean(&account.reason))?;
        return writeln!(out, "{}", clean(&account.remedy));
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
