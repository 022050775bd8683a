//! `pillarbox status`, `budget` and `resume`: what waits, what may still be spent, and the account opened again.
//!
//! Rule: one screen; says what of the limit is left to the owner, and when room comes back. Must not know how the ledger
//! counts or why the account was paused.

use std::{
    cmp::Reverse,
    io::{self, Write},
    time::Duration,
};

use super::alert;
use super::screen::{self, clean, count, labelled, phrase, relative, span, when};
use crate::{
    admin::api::{Account, Because, Budget, Checkup, Departure, Queue, Status},
    budget::Limit,
    clock::Timestamp,
    doctor,
    findings::Verdict,
    listener::drop_directory::DropState,
};

/// Checks of the last diagnosis that are named.
const CHECKS_SHOWN: usize = 3;
/// Errors of the upstream on the screen; --json has all that are kept.
const ERRORS_SHOWN: usize = 3;

/// Prints the screen.
pub(super) fn print(out: &mut dyn Write, status: &Status) -> io::Result<()> {
    let now = status.now;
    let uptime = span(Duration::from_secs(status.uptime_seconds));
    writeln!(out, "pillarbox {}, up {uptime}", status.version)?;
    labelled(out, "listening", &[status.listening.join(", ")])?;
    labelled(out, "upstream", &[upstream(status)])?;
    labelled(out, "account", &account(&status.account, now))?;
    let full = full(&status.budget);
    labelled(
        out,
        "budget",
        &[Some(spent(&status.budget)), full].into_iter().flatten().collect::<Vec<_>>(),
    )?;
    labelled(out, "queue", &queue(&status.queue, now))?;
    labelled(out, "left here", &dropped(status.dropped.as_ref()))?;
    labelled(out, "next", &departure(status))?;
    labelled(out, "new mail", &refusing(status))?;
    let in_flight = status.in_flight.iter().map(|attempt| {
        let since = relative(attempt.since, now);
        format!(
            "{} to {}, at {}, begun {since}",
            attempt.id,
            count(attempt.recipients as u64, "recipient"),
            attempt.stage.name()
        )
    });
    labelled(out, "in flight", &in_flight.collect::<Vec<_>>())?;
    let refused = status.refused.iter().map(|recipient| {
        format!(
            "{} to {} is {}: {}",
            recipient.id, recipient.recipient, recipient.state, recipient.reply
        )
    });
    labelled(out, "refused", &refused.collect::<Vec<_>>())?;
    let errors = status.errors.iter().take(ERRORS_SHOWN);
    let errors =
        errors.map(|error| format!("{}: {}: {}", when(error.at, now), error.id, error.text));
    let unknown = (status.unknown_replies > 0).then(|| {
        let number = count(status.unknown_replies, "refusal");
        format!("{number} of the upstream in words that are not known; the log has them in full")
    });
    labelled(out, "errors", &errors.chain(unknown).collect::<Vec<_>>())?;
    let unreached = status.unreached.iter().filter_map(|target| alert::failure(target, now));
    labelled(out, "alerts", &unreached.collect::<Vec<_>>())?;
    labelled(out, "checks", &checkup(status))
}

/// The last look of the relay at itself, what failed before what was warned of.
fn checkup(status: &Status) -> Vec<String> {
    let Some(Checkup { at, passed, troubles }) = &status.checkup else { return Vec::new() };
    let at = when(*at, status.now);
    if troubles.is_empty() {
        return vec![format!("{} well at {at}", count(*passed, "check"))];
    }
    let mut troubles: Vec<_> = troubles.iter().collect();
    troubles.sort_by_key(|finding| Reverse(finding.outcome.verdict));
    let shown = troubles.iter().take(CHECKS_SHOWN).map(|finding| {
        let verb = match finding.outcome.verdict {
            Verdict::Fail => "fails",
            _ => "warns",
        };
        format!("{} {verb}: {}", finding.name, finding.outcome.seen)
    });
    let more = troubles.len().saturating_sub(CHECKS_SHOWN);
    let more = if more > 0 { format!(" and {more} more,") } else { String::new() };
    shown
        .chain([format!("This{more} was found at {at}; look again with: pillarbox doctor")])
        .collect()
}

fn upstream(status: &Status) -> String {
    match &status.account.username {
        Some(username) => format!("{} as {username}", status.upstream),
        None => format!("{} without a login", status.upstream),
    }
}

fn account(account: &Account, now: Timestamp) -> Vec<String> {
    let pause = account.pause.as_ref().map(|pause| pause.words(|at| when(at, now)));
    if account.is_open() {
        return vec![pause.unwrap_or_else(|| "open".to_owned())];
    }
    let mut lines: Vec<String> = pause.into_iter().collect();
    lines.push(format!(
        "{} since {}: {}",
        account.condition,
        when(account.since, now),
        account.reason
    ));
    lines.extend((!account.remedy.is_empty()).then(|| format!("What to do: {}", account.remedy)));
    lines.push(doctor::advice_for_account(&account.condition));
    lines
}

/// `120 of 475 recipients spent in the last 24 hours (500 a day, 25 left for you, 5 for notices)`, and how many are
/// for urgent mail only.
pub(super) fn spent(budget: &Budget) -> String {
    let (limit, day, reserve) = (budget.limit, budget.recipients_per_day, budget.owner_reserve);
    let notices = match budget.notice_reserve {
        0 => String::new(),
        notices => format!(", {notices} for notices"),
    };
    let urgent = match budget.urgent_reserve {
        0 => String::new(),
        urgent => format!(", {urgent} for urgent mail only"),
    };
    if limit == Limit::NONE {
        return format!(
            "{} spent in the last 24 hours (no limit)",
            count(budget.spent.into(), "recipient")
        );
    }
    format!(
        "{} of {limit} recipients spent in the last 24 hours ({day} a day, {reserve} left for you{notices}{urgent})",
        budget.spent
    )
}

/// The upstream's own word about the day.
pub(super) fn full(budget: &Budget) -> Option<String> {
    let since = budget.full_since?;
    Some(format!(
        "the upstream says since {} that the day is full; other programs use the account, too",
        when(since, budget.now)
    ))
}

fn queue(queue: &Queue, now: Timestamp) -> Vec<String> {
    if queue.messages == 0 && queue.set_aside == 0 {
        return vec!["empty".into()];
    }
    let totals = &queue.recipients;
    let states = [
        (totals.queued, "waiting"),
        (totals.uncertain, "uncertain"),
        (totals.reserved, "in flight"),
        (totals.relayed, "relayed"),
        (totals.held, "held"),
        (totals.dead, "dead"),
    ];
    let states = states.iter().filter(|(number, _)| *number > 0);
    let states: Vec<String> = states.map(|(number, state)| format!("{number} {state}")).collect();
    let part = if queue.partial { " (counted in part)" } else { "" };
    let mut lines = vec![format!(
        "{}, {}; recipients: {}{part}",
        count(queue.messages, "message"),
        screen::size(queue.bytes),
        if states.is_empty() { "none".to_owned() } else { states.join(", ") },
    )];
    lines.extend(queue.oldest.map(|oldest| {
        format!(
            "the oldest that waits is {}, accepted {}",
            oldest.id,
            when(oldest.accepted_at, now)
        )
    }));
    lines.extend((totals.held > 0).then(|| {
        format!(
            "{} held for a person: pillarbox queue list --state held, then queue retry or delete",
            count(totals.held, "recipient")
        )
    }));
    lines.extend((queue.set_aside > 0).then(|| {
        format!(
            "{} damaged and set aside in {}",
            count(queue.set_aside, "file"),
            queue.set_aside_in
        )
    }));
    lines
}

/// Files of the drop directory, where there are any.
fn dropped(state: Option<&DropState>) -> Vec<String> {
    let Some(DropState { directory, waiting, set_aside }) = state else { return Vec::new() };
    let waiting = (*waiting > 0)
        .then(|| format!("{} in {directory} to be taken", count(*waiting, "message")));
    let set_aside = (*set_aside > 0).then(|| {
        let files = count(*set_aside, "file");
        format!("{files} set aside as {directory}/bad.*: the log says why; rename one back to be tried again, or delete it")
    });
    waiting.into_iter().chain(set_aside).collect()
}

/// When mail leaves, why not before, and what to do.
fn departure(status: &Status) -> Vec<String> {
    let departure = &status.departure;
    let is_sending = status.queue.recipients.reserved > 0;
    let line = match departure.because {
        Because::Empty if is_sending => {
            "Nothing more waits; what is in flight is being sent now.".to_owned()
        }
        _ => departure.sentence(|at| when(at, status.now)),
    };
    let advice = departure.advice(&status.account.remedy, status.refusing.is_none());
    std::iter::once(line).chain(advice.map(str::to_owned)).collect()
}

/// Whether clients are turned away, and what to do.
fn refusing(status: &Status) -> Vec<String> {
    let Some(refusing) = &status.refusing else { return Vec::new() };
    let (what, remedy) = (phrase(&refusing.what), phrase(&refusing.remedy));
    vec![format!("{what}."), format!("What to do: {remedy}.")]
}

/// Prints the budget.
pub(super) fn print_budget(out: &mut dyn Write, budget: &Budget) -> io::Result<()> {
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
