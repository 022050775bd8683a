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
use crate::admin::api::{Because, Budget};

/// Prints the budget.
pub(super) fn print(out: &mut dyn Write, budget: &Budget) -> io::Result<()> {
    labelled(out, "spent", &[spent(budget)])?;
    labelled(out, "upstream", &full(budget).into_iter().collect::<Vec<_>>())?;
    let room = match (budget.room, budget.frees_at) {
        (None, _) => "no limit".to_owned(),
        (Some(0), Some(at)) => {
            format!("none: the next recipient may leave at {}", when(at, budget.now))
        }
        (Some(0), None) => "none, ever: the limit is 0; raise budget.recipients_per_day".to_owned(),
        (Some(room), _) => format!("for {}", count(room.into(), "more recipient")),
    };
    let of = |name: &str, reserve: u32, room: Option<u32>| match (reserve, room) {
        (0, _) | (_, None) => None,
        (_, Some(0)) => Some(format!("for {name}: none")),
        (_, Some(room)) => Some(format!("for {name}: {room}")),
    };
    let urgent = of("urgent mail", budget.urgent_reserve, budget.urgent_room);
    let notices = of("notices of this relay", budget.notice_reserve, budget.notice_room);
    let lines: Vec<String> = std::iter::once(room).chain(urgent).chain(notices).collect();
    labelled(out, "room", &lines)?;
    let departure = match budget.departure.because {
        Because::Now | Because::Turn => "Mail that is due leaves now.".to_owned(),
        _ => budget.departure.sentence(|at| when(at, budget.now)),
    };
    labelled(out, "next", &[departure])
}
