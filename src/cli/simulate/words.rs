//! The comparison for a person: all of it side by side, then each day in two lines, then whose mail waited.
//!
//! Rule: what the figures cannot know is said beneath them. Must not know how they were counted.

use std::{io, time::Duration};

use super::figures::{Compared, Course, MESSAGES_MAX, RECIPIENTS_MAX, Stretch, Waiter};
use crate::{
    budget::Limit,
    cli::screen::{Screen, Side, Table, clean, count, local, span, when},
    clock::Timestamp,
};

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// Prints that of each account, by its name where there are several.
pub(super) fn print_all(out: &mut dyn Screen, all: &[Compared]) -> io::Result<()> {
    for (number, compared) in all.iter().enumerate() {
        if let (Some(name), true) = (&compared.account, all.len() > 1) {
            let gap = if number > 0 { "\n" } else { "" };
            writeln!(out, "{gap}The account {}:\n", clean(name))?;
        }
        print(out, compared)?;
    }
    Ok(())
}

/// Prints it.
pub(super) fn print(out: &mut dyn Screen, compared: &Compared) -> io::Result<()> {
    let Compared { since, until: now, all, .. } = compared;
    let since = when(*since, *now);
    if all.messages == 0 && compared.before == 0 {
        writeln!(out, "Nothing came since {since}, so there is nothing to simulate.")?;
        return of_history(compared).iter().try_for_each(|note| writeln!(out, "{note}"));
    }
    let (messages, recipients) =
        (count(all.messages, "message"), count(all.recipients, "recipient"));
    writeln!(out, "{messages} to {recipients} came since {since}.")?;
    let over = match compared.changes.is_empty() {
        true => String::new(),
        false => format!(", with {}", compared.changes.join(", ")),
    };
    writeln!(out, "Simulated by {}{over}.", clean(&compared.configuration))?;
    writeln!(out)?;
    totals(out, compared)?;
    writeln!(out)?;
    days(out, &compared.days, *now)?;
    waiters(out, "WHOSE MAIL WAITED", &compared.origins)?;
    waiters(out, "LANE", &compared.lanes)?;
    notes(out, compared)
}

fn totals(out: &mut dyn Screen, compared: &Compared) -> io::Result<()> {
    let (was, would) = (&compared.all.was, &compared.all.would);
    let number = |of: fn(&Course) -> u64| (of(was).to_string(), of(would).to_string());
    let time = |of: fn(&Course) -> u64| (shown(of(was)), shown(of(would)));
    let limit = (limit(compared.limit_was), limit(compared.limit_would));
    // What the history has no word of is nothing to compare with.
    let rows = [
        ("may leave in 24 hours", limit, true),
        ("relayed", number(|one| one.relayed), true),
        ("folded", number(|one| one.folded), was.folded + would.folded > 0),
        ("spared by folding", number(spared), was.folded + would.folded > 0),
        ("refused by a rule", ("-".to_owned(), would.refused.to_string()), would.refused > 0),
        ("held by a rule", ("-".to_owned(), would.held.to_string()), would.held > 0),
        ("waited for more than a minute", number(|one| one.waited), true),
        ("half of these up to", time(|one| one.median_ms), was.waited + would.waited > 0),
        ("the longest", time(|one| one.longest_ms), was.waited + would.waited > 0),
        ("still waiting at the end", number(|one| one.waiting), was.waiting + would.waiting > 0),
        ("at the limit for", time(|one| one.at_limit_ms), true),
    ];
    let rows = rows.into_iter().filter(|(.., is_shown)| *is_shown);
    let rows: Vec<[String; 3]> =
        rows.map(|(what, (was, would), _)| [what.to_owned(), was, would]).collect();
    let columns =
        [("RECIPIENTS", Side::Left), ("AS IT WAS", Side::Right), ("SIMULATED", Side::Right)];
    Table::new(columns).print(out, &rows)
}

fn spared(course: &Course) -> u64 {
    course.folded.saturating_sub(course.summaries)
}

fn days(out: &mut dyn Screen, days: &[Stretch], now: Timestamp) -> io::Result<()> {
    let mut table = Table::new([
        ("DAY FROM", Side::Left),
        ("", Side::Left),
        ("CAME", Side::Right),
        ("RELAYED", Side::Right),
        ("FOLDED", Side::Right),
        ("WAITED", Side::Right),
        ("LONGEST", Side::Right),
        ("AT LIMIT", Side::Left),
    ]);
    let row = |day: &Stretch, which: &str, course: &Course| {
        [
            if which == "was" { local(day.begins, now) } else { String::new() },
            which.to_owned(),
            if which == "was" { day.recipients.to_string() } else { String::new() },
            course.relayed.to_string(),
            course.folded.to_string(),
            course.waited.to_string(),
            shown(course.longest_ms),
            limited(course),
        ]
    };
    let rows =
        days.iter().flat_map(|day| [row(day, "was", &day.was), row(day, "would", &day.would)]);
    table.print(out, &rows.collect::<Vec<_>>())
}

/// From when on, by the clock of its day, and how long in all, to the hour.
fn limited(course: &Course) -> String {
    match &course.at_limit[..] {
        [] => "-".to_owned(),
        [first, ..] => {
            let from = local(first.begins, first.begins);
            let hours = (course.at_limit_ms + HOUR_MS / 2) / HOUR_MS;
            format!(
                "{from}, {}",
                if hours == 0 { "< 1 h".to_owned() } else { format!("{hours} h") }
            )
        }
    }
}

fn waiters(out: &mut dyn Screen, title: &'static str, all: &[Waiter]) -> io::Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let columns = [
        ("WAITED", Side::Right),
        ("LONGEST", Side::Right),
        ("WOULD", Side::Right),
        ("LONGEST", Side::Right),
        (title, Side::Left),
    ];
    let row = |one: &Waiter| {
        [
            one.was.recipients.to_string(),
            shown(one.was.longest_ms),
            one.would.recipients.to_string(),
            shown(one.would.longest_ms),
            clean(&one.by),
        ]
    };
    Table::new(columns).print(out, &all.iter().map(row).collect::<Vec<_>>())
}

fn notes(out: &mut dyn Screen, compared: &Compared) -> io::Result<()> {
    let mut notes = vec![
        "A simulation knows no refusal, no pause, no lost connection and no retry: what of the waits had these reasons \
         is in none of its figures."
            .to_owned(),
    ];
    if compared.folds {
        notes.push(
            "What is alike is folded whatever its From field says, which the history does not keep.".to_owned(),
        );
    }
    for open in &compared.open {
        let as_then = match open.as_then {
            0 => String::new(),
            number => {
                format!(", and {} that it struck then as if it did", count(number, "message"))
            }
        };
        notes.push(format!(
            "The rule {} asks for {}, which the history does not keep: {} that it may fit counted as if it did \
             not{as_then}.",
            open.rule,
            open.asks,
            count(open.unfit, "message")
        ));
    }
    if compared.before > 0 {
        notes
            .push(format!("{} waited already when it began.", count(compared.before, "recipient")));
    }
    if compared.left_out > 0 {
        let left_out = count(compared.left_out, "recipient");
        notes.push(format!("{left_out} left out: refused for good, held, or deleted."));
    }
    notes.extend(of_history(compared));
    writeln!(out)?;
    notes.iter().try_for_each(|note| writeln!(out, "{}", clean(note)))
}

/// What of the past is not there.
fn of_history(compared: &Compared) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(kept) = compared.history_kept_ms {
        let kept = span(Duration::from_millis(kept));
        notes.push(format!(
            "The history is kept for {kept} ([queue] history_lifetime): what left before is not in it."
        ));
    }
    if compared.partial {
        notes.push(format!(
            "Only the newest messages of the history, or the oldest of the queue, were played through: there are more than \
             {MESSAGES_MAX}, or more than {RECIPIENTS_MAX} recipients."
        ));
    }
    notes
}

fn limit(limit: Limit) -> String {
    limit.recipients().map_or_else(|| "none".to_owned(), |limit| limit.to_string())
}

/// A time in milliseconds.
fn shown(ms: u64) -> String {
    if ms == 0 { "-".to_owned() } else { span(Duration::from_millis(ms)) }
}
