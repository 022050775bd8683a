//! `pillarbox budget`: how many recipients may still be written to, and when more.
//!
//! Rule: says the limit, what of it is left to the owner, and when room comes back. Must not know how
//! the ledger counts.

use std::{io, io::Write};

use super::{
    moment::when,
    screen::{count, labelled},
    status::{full, spent},
};
use crate::admin::api::Budget;

/// Prints the budget.
pub(super) fn print(out: &mut dyn Write, budget: &Budget) -> io::Result<()> {
    labelled(out, "spent", &[spent(budget)])?;
    labelled(out, "upstream", &full(budget).into_iter().collect::<Vec<_>>())?;
    let room = match (budget.room, budget.frees_at) {
        (0, Some(at)) => format!("none: the next recipient may leave at {}", when(at, budget.now)),
        (0, None) => "none, ever: the limit is 0; raise budget.recipients_per_day".to_owned(),
        (room, _) => format!("{} may leave now", count(room.into(), "more recipient")),
    };
    let urgent = match (budget.urgent_reserve, budget.urgent_room) {
        (0, _) => None,
        (_, 0) => Some("for urgent mail: none".to_owned()),
        (_, room) => Some(format!("for urgent mail: {room}")),
    };
    let lines: Vec<String> = std::iter::once(room).chain(urgent).collect();
    labelled(out, "room", &lines)
}
