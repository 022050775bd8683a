//! The state of a message in the words of a list: what it waits for and until when, or what became of it.
//!
//! Rule: pure; "now" is said only of mail that nothing keeps. Must not know tables.

use super::phrase;
use crate::{
    admin::api::{Because, Departure, End, Message, Recipient},
    clock::Timestamp,
    message::envelope::Lane,
    quantities::{count, local},
};

/// `waits for the budget until 14:32`, `tried 3 times, next 09:10`, `dead: 550 5.1.1 no such user`.
pub(crate) fn in_words(message: &Message, now: Timestamp) -> String {
    let standing = match (&message.end, &message.departure) {
        (Some(end), _) => left(message, end, now),
        (None, None) => ended(message),
        (None, Some(departure)) => waits(message, departure, now),
    };
    let lane = if message.lane == Lane::Normal.name() {
        String::new()
    } else {
        format!(" ({})", message.lane)
    };
    format!("{standing}{}{lane}", others(message))
}

/// Of a message that has left the queue: `relayed 09:12`, `expired 09:12: 550 5.1.1 no such user`.
fn left(message: &Message, end: &End, now: Timestamp) -> String {
    let at = local(end.at, now);
    // The id comes first of what may be cut.
    let new = end.new.map_or_else(String::new, |id| format!(" as {id}"));
    let by = end.by.as_ref().map_or_else(String::new, |person| format!(" by {person}"));
    let dead = message.recipients.iter().filter(|_| end.how == "expired");
    let why = dead.filter_map(|one| one.reason.as_deref()).next();
    let why = why.map_or_else(String::new, |why| format!(": {}", phrase(why)));
    format!("{}{new} {at}{by}{why}", end.how)
}

/// Of a message that nothing will happen to by itself.
fn ended(message: &Message) -> String {
    let dead = message.recipients.iter().find(|one| one.state == "dead");
    dead.map_or_else(|| "relayed".to_owned(), |one| with_reason("dead", one))
}

fn with_reason(state: &str, recipient: &Recipient) -> String {
    match &recipient.reason {
        Some(reason) if reason.starts_with(state) => phrase(reason).to_owned(),
        Some(reason) if !reason.is_empty() => format!("{state}: {}", phrase(reason)),
        _ => state.to_owned(),
    }
}

fn waits(message: &Message, departure: &Departure, now: Timestamp) -> String {
    let waiting = || message.recipients.iter().filter(|one| one.next_attempt.is_some());
    let attempts = waiting().map(|one| one.attempts).max().unwrap_or(0);
    let tried = match attempts {
        0 if waiting().any(|one| one.state == "uncertain") => "no answer came, ".to_owned(),
        0 => String::new(),
        1 => "tried once, ".to_owned(),
        _ => format!("tried {}, ", count(attempts.into(), "time")),
    };
    let until = departure.at.filter(|at| *at > now);
    let until = until.map_or_else(String::new, |at| format!(" until {}", local(at, now)));
    let name = departure.account_name.as_ref();
    let [name, of_name] =
        ["", "of "].map(|of| name.map_or_else(String::new, |name| format!(" {of}{name}")));
    match departure.because {
        Because::Empty => "-".to_owned(),
        Because::InFlight => "is being sent".to_owned(),
        Because::Now => format!("{tried}leaves now"),
        Because::Turn => {
            let scheduled = message.scheduled_for;
            let scheduled = scheduled.map(|at| format!("is scheduled for {}, ", local(at, now)));
            let about = departure.at.filter(|at| *at > now);
            let about = about.map(|at| format!(", about {}", local(at, now)));
            let [scheduled, about] = [scheduled, about].map(Option::unwrap_or_default);
            format!("{scheduled}waits for its turn{about}")
        }
        Because::Probe => "waits for another message, which is tried first".to_owned(),
        Because::Due => {
            let at = local(departure.at.unwrap_or(now), now);
            if tried.is_empty() { format!("leaves {at}") } else { format!("{tried}next {at}") }
        }
        Because::Scheduled => {
            let at = departure.at.or(message.scheduled_for).unwrap_or(now);
            format!("{tried}is scheduled for {}", local(at, now))
        }
        Because::Pace => format!("waits for the pace{until}"),
        Because::Logins => format!("waits for the logins of the hour{until}"),
        Because::Connections => "waits for a connection, which other hosts have".to_owned(),
        Because::Budget if departure.at.is_none() => "never leaves: the budget is 0".to_owned(),
        Because::Budget => format!("waits for the budget{of_name}{until}"),
        Because::Origin => format!("waits for its origin's limit{until}"),
        Because::Paused => format!("waits{until}: {}", departure.why),
        Because::Account => match departure.account {
            Some(condition) => format!("waits for the account{name}{until}: {}", condition.cause()),
            None => format!("waits for the account{name}{until}"),
        },
        Because::Store => "waits for the queue, which has failed".to_owned(),
        Because::Fleet => "waits for the fleet's database".to_owned(),
        Because::Stopping => "waits for the next start".to_owned(),
        Because::Folded => "folded: a summary tells of it".to_owned(),
        Because::Held => {
            let held = message.recipients.iter().find(|one| one.state == "held");
            let held = held.map_or_else(|| "held".to_owned(), |one| with_reason("held", one));
            let then = message.scheduled_for.map(|at| format!(", then for {}", local(at, now)));
            held + &then.unwrap_or_default()
        }
    }
}

/// What became of other recipients than those the rest is about: `; 1 of 3 dead`.
fn others(message: &Message) -> String {
    let all = message.recipients.len();
    let number = |state: &str| message.recipients.iter().filter(|one| one.state == state).count();
    let ended = ["relayed", "held", "dead"].map(|state| (state, number(state)));
    let ended = ended.into_iter().filter(|(_, number)| (1..all).contains(number));
    let ended: Vec<String> = ended.map(|(state, number)| format!("{number} {state}")).collect();
    if ended.is_empty() { String::new() } else { format!("; of {all}: {}", ended.join(", ")) }
}
