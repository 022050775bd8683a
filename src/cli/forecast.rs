//! `pillarbox budget forecast`: the next 24 hours of the budget, hour by hour, with a bar for what leaves.

use std::io;

use super::screen::{Screen, Side, Table, clean, count, local, when};
use crate::{
    admin::{forecast::BudgetForecast, of_account::Each},
    budget::MAIN,
    clock::Timestamp,
    queue::forecast::Hour,
};

/// Columns of a bar at most, and where nobody knows how many there are.
const BAR_MAX: usize = 40;
const BAR_DEFAULT: usize = 30;
/// Columns of the table beside the bar.
const BESIDE: usize = 48;

/// Prints that of the account that was asked for, or of each.
pub(super) fn print(out: &mut dyn Screen, each: &Each<BudgetForecast>) -> io::Result<()> {
    if each.others.is_empty() {
        return print_one(out, &each.first);
    }
    for (number, (name, forecast)) in each.named(MAIN).enumerate() {
        let gap = if number == 0 { "" } else { "\n" };
        writeln!(out, "{gap}The account {}:\n", clean(name))?;
        print_one(out, forecast)?;
    }
    Ok(())
}

fn print_one(out: &mut dyn Screen, forecast: &BudgetForecast) -> io::Result<()> {
    let now = forecast.now;
    for line in summary(forecast) {
        writeln!(out, "{line}")?;
    }
    if forecast.hours.is_empty() {
        return Ok(());
    }
    let most = forecast.hours.iter().map(|hour| hour.leaving).max().unwrap_or(0);
    let columns =
        out.width().map_or(BAR_DEFAULT, |columns| columns.saturating_sub(BESIDE).min(BAR_MAX));
    let rows: Vec<[String; 6]> =
        forecast.hours.iter().map(|hour| row(*hour, now, most, columns)).collect();
    let mut table = Table::new([
        ("HOUR FROM", Side::Left),
        ("LEAVE", Side::Right),
        ("FREED", Side::Right),
        ("SPENT", Side::Right),
        ("WAIT", Side::Right),
        ("", Side::Left),
    ]);
    table.print(out, &rows)
}

fn summary(forecast: &BudgetForecast) -> Vec<String> {
    let now = forecast.now;
    let of = forecast.limit.recipients().map_or_else(String::new, |limit| format!(" of {limit}"));
    let spent = forecast.spent;
    let waiting = match forecast.waiting {
        0 => "nothing waits to leave".to_owned(),
        1 => "1 recipient waits to leave".to_owned(),
        waiting => format!("{} wait to leave", count(waiting, "recipient")),
    };
    let first = format!("{spent}{of} recipients spent; {waiting}.");
    let second = match (forecast.hours.is_empty(), forecast.waiting, forecast.empty_at) {
        (true, ..) => Some(forecast.departure.sentence(|at| when(at, now))),
        (_, 0, _) => None,
        (_, _, Some(at)) => Some(format!(
            "If nothing new comes and nothing is refused, all of it has left by {}.",
            when(at.max(now), now)
        )),
        (_, _, None) => Some(forecast.departure.sentence(|at| when(at, now))),
    };
    [Some(first), second].into_iter().flatten().collect()
}

fn row(hour: Hour, now: Timestamp, most: u32, columns: usize) -> [String; 6] {
    let length = match most {
        0 => 0,
        most => (u64::from(hour.leaving) * columns as u64).div_ceil(u64::from(most)),
    };
    [
        local(hour.begins, now),
        hour.leaving.to_string(),
        hour.freed.to_string(),
        hour.spent.to_string(),
        hour.waiting.to_string(),
        "#".repeat(usize::try_from(length).unwrap_or(columns)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_of_the_largest_and_never_missing_for_one_recipient() {
        let hour = |leaving| Hour { begins: Timestamp(0), leaving, freed: 0, spent: 0, waiting: 0 };
        let bar = |leaving, most| row(hour(leaving), Timestamp(0), most, 30)[5].len();
        assert_eq!(
            [bar(470, 470), bar(235, 470), bar(1, 470), bar(0, 470), bar(0, 0)],
            [30, 15, 1, 0, 0]
        );
    }
}
