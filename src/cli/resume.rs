//! `pillarbox resume`: opens a paused account again.
//!
//! Rule: says what the account was left in. Must not know why it was paused.

use std::{io, io::Write};

use super::screen::clean;
use crate::admin::api::Account;

/// Prints the account after the order.
pub(super) fn print(out: &mut dyn Write, account: &Account) -> io::Result<()> {
    if account.is_open() {
        writeln!(out, "The account is open; mail that is due is tried now, one message first.")?;
        return match account.remedy.as_str() {
            "" => Ok(()),
            remedy => writeln!(out, "{}", clean(remedy)),
        };
    }
    // The attempt that resume allows has failed already.
    writeln!(out, "The account is {}: {}", account.condition, clean(&account.reason))?;
    writeln!(out, "{}", clean(&account.remedy))
}
