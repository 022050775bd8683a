//! A message in words: everything that is known of it, and its parts in short.
//!
//! Rule: pure; says what a person can act on.

use super::Lines;
use crate::{
    admin::api::{Attempt, Because, Departure, End, Message, Notice, Origin, Recipient},
    clock::Timestamp,
    quantities::{count, local_in_full, relative, size, when},
};

/// Everything that is known of a message; a label without a line is not shown.
pub(crate) fn lines(message: &Message, now: Timestamp) -> Lines {
    let accepted =
        format!("{} ({})", local_in_full(message.accepted_at), relative(message.accepted_at, now));
    let leaves = message.departure.iter().map(|departure| long(departure, now));
    let ended = message.end.iter().map(|end| format!("{}: {}", when(end.at, now), in_short(end)));
    let notice = |notice: &Notice| {
        format!("{}, {} to {} as {}", when(notice.at, now), notice.kind, notice.to, notice.id)
    };
    let attempts = message.attempts.iter().map(|attempt| attempted(attempt, message, now));
    let header = message.header.iter().flat_map(|header| header.lines());
    let mut lines = vec![
        ("id", vec![message.id.to_string()]),
        ("accepted", vec![accepted]),
        ("from", vec![sender(message).to_owned()]),
        ("client", message.origin.iter().map(client_of).collect()),
        ("size", vec![size_and_kind(message)]),
        ("lane", vec![message.lane.clone()]),
        ("rule", message.rule.iter().cloned().collect()),
        ("account", message.account.iter().cloned().collect()),
        ("subject", subject(message)),
        ("scheduled", message.scheduled_for.iter().map(|at| when(*at, now)).collect()),
        ("leaves", leaves.collect()),
        ("ended", ended.collect()),
        ("resend of", message.resend_of.iter().map(ToString::to_string).collect()),
    ];
    lines.extend(message.recipients.iter().map(|one| ("to", recipient_lines(one, now))));
    lines.extend([
        ("notices", message.notices.iter().map(notice).collect()),
        ("attempts", attempts.collect()),
        // A tab folds a field, and would be written out as what could deceive.
        ("header", header.map(|line| line.replace('\t', "    ")).collect()),
    ]);
    lines
}

/// `12.3 KiB, 8BITMIME`.
pub(super) fn size_and_kind(message: &Message) -> String {
    let kind = match (message.eight_bit, message.internationalized) {
        (false, false) => "",
        (true, false) => ", 8BITMIME",
        (false, true) => ", SMTPUTF8",
        (true, true) => ", 8BITMIME, SMTPUTF8",
    };
    format!("{}{kind}", size(message.size_bytes))
}

/// `relayed`, `deleted by alice (user 1000)`, `redirected as 06hhgq2g000000005jfavybr78 by ...`.
pub(super) fn in_short(end: &End) -> String {
    let new = end.new.map_or_else(String::new, |id| format!(" as {id}"));
    let by = end.by.as_ref().map_or_else(String::new, |person| format!(" by {person}"));
    format!("{}{new}{by}", end.how)
}

fn subject(message: &Message) -> Vec<String> {
    if message.subject.is_empty() { Vec::new() } else { vec![message.subject.clone()] }
}

/// `2026-11-28 09:10 (in 2 h), a@b.example and 2 more: 451 4.3.0 try again`.
fn attempted(attempt: &Attempt, message: &Message, now: Timestamp) -> String {
    let whom = whom(attempt, message).map_or_else(String::new, |whom| format!(", {whom}"));
    let by = attempt.account.as_ref().map(|name| format!(", by {name}")).unwrap_or_default();
    format!("{}{whom}{by}: {}", when(attempt.at, now), attempt.reply)
}

/// `a@b.example and 2 more`; nothing where all recipients are meant.
pub(super) fn whom(attempt: &Attempt, message: &Message) -> Option<String> {
    match attempt.recipients.as_slice() {
        all if all.len() == message.recipients.len() => None,
        [] => None,
        [only] => Some(only.clone()),
        [first, rest @ ..] => Some(format!("{first} and {} more", rest.len())),
    }
}

pub(crate) fn sender(message: &Message) -> &str {
    message.from.as_deref().unwrap_or("<>")
}

/// The first recipient, and how many more.
pub(crate) fn addressees(message: &Message) -> String {
    let first = message.recipients.first().map_or("nobody", |recipient| &recipient.address);
    match message.recipients.len() {
        0 | 1 => first.to_owned(),
        more => format!("{first} and {} more", more - 1),
    }
}

/// `2026-11-28 17:36 (in 22 h): the 24 h budget is spent`.
pub(crate) fn long(departure: &Departure, now: Timestamp) -> String {
    match (departure.because, departure.at) {
        (Because::Now, _) => "now".to_owned(),
        (because, Some(at)) if because.is_a_wait() => {
            format!("{}: {}", when(at.max(now), now), departure.why)
        }
        (Because::Held, _) => {
            format!("never by itself: {}; pillarbox queue retry or delete", departure.why)
        }
        (Because::Folded, _) => {
            format!("in a summary, not by itself: {}; pillarbox queue release", departure.why)
        }
        (Because::Turn, Some(at)) => {
            format!("about {}, in its turn: {}", when(at, now), departure.why)
        }
        (Because::Turn, None) => format!("in its turn: {}", departure.why),
        _ => format!("{}: {}", departure.because.short(), departure.why),
    }
}

/// `printer.lan [192.0.2.7], logged in as printer (ESMTPSA)`.
pub(crate) fn client_of(origin: &Origin) -> String {
    let Some(address) = &origin.address else { return "none: a notice of this relay".to_owned() };
    if let Some(user) = &origin.user {
        return format!("a program of userid {user} on this host");
    }
    let login =
        origin.login.as_ref().map_or_else(String::new, |login| format!(", logged in as {login}"));
    // A client that calls itself by its address literal is named once.
    let literal = origin.helo.trim_start_matches('[').trim_end_matches(']');
    let literal = literal.strip_prefix("IPv6:").unwrap_or(literal);
    let name = match origin.helo.as_str() {
        "" => String::new(),
        _ if literal == address => String::new(),
        name => format!("{name} "),
    };
    format!("{name}[{address}]{login} ({})", origin.protocol)
}

fn recipient_lines(recipient: &Recipient, now: Timestamp) -> Vec<String> {
    let since =
        recipient.since.map_or_else(String::new, |since| format!(" since {}", when(since, now)));
    let attempts = match recipient.attempts {
        0 => String::new(),
        // Refused, or without an answer.
        attempts => format!(", after {}", count(attempts.into(), "failed attempt")),
    };
    let mut lines = vec![format!("{}: {}{since}{attempts}", recipient.address, recipient.state)];
    lines.extend(
        recipient.next_attempt.filter(|at| *at > now).map(|at| format!("due {}", when(at, now))),
    );
    lines.extend(recipient.reason.as_ref().map(|reason| format!("reason: {reason}")));
    let reply =
        recipient.last_reply.as_ref().filter(|reply| recipient.reason.as_ref() != Some(reply));
    lines.extend(reply.map(|reply| format!("last reply: {reply}")));
    lines
}
