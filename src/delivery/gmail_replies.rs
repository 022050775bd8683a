//! The replies of Gmail that are known, each with its meaning and its source.
//!
//! Rule: policy is data, and Gmail's alone: no other server is judged by it. To add a reply, add a row with lines as they were
//! seen: a test proves that each example meets its own row, another sends each of them over a real connection, and
//! `docs/gmail.md` is compared with the table. Must not know what is done with a verdict.

mod content;
mod envelope;
mod login;
mod opening;
mod remedies;

use super::reply_row::Row;

/// Every row, in the order in which they are compared.
pub(super) const ROWS: &[&[Row]] = &[opening::ROWS, login::ROWS, envelope::ROWS, content::ROWS];
