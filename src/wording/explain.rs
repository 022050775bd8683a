//! The reasons of a message: what made it what it is, why it waits, when it leaves, and what would have it leave sooner.
//!
//! Rule: pure; it says nothing of its own: what decides is asked of the daemon. Must not know how a forecast is made.

use super::{
    Lines,
    message::{client_of, long, sender},
};
use crate::{
    admin::{
        api::{Because, Departure, Message},
        forecast::Explained,
    },
    quantities::{count, when},
};

/// All of it; a label without a line is not shown.
pub(crate) fn lines(explained: &Explained) -> Lines {
    let (message, now) = (&explained.message, explained.now);
    let mut lines = vec![
        ("id", vec![message.id.to_string()]),
        ("from", vec![sender(message).to_owned()]),
        ("accepted", vec![when(message.accepted_at, now)]),
        ("client", message.origin.iter().map(client_of).collect()),
    ];
    lines.extend(made(explained));
    lines.extend(leaving(explained));
    lines
}

/// What the configuration has made of it.
pub(crate) fn made(explained: &Explained) -> Lines {
    vec![
        ("network", vec![network(explained)]),
        ("rule", rule(explained).into_iter().collect()),
        ("lane", vec![lane(explained)]),
        ("edits", vec![edits(explained)]),
    ]
}

/// When it leaves, and what a person can do to have it leave sooner.
pub(crate) fn leaving(explained: &Explained) -> Lines {
    let departure = explained.message.departure.as_ref();
    let sooner = departure.and_then(|departure| sooner(departure, explained));
    vec![("leaves", leaves(explained)), ("sooner", sooner.into_iter().collect())]
}

fn network(explained: &Explained) -> String {
    let may = if explained.trusted { "trusted" } else { "not trusted: a login is needed" };
    match (explained.networks.as_slice(), &explained.message.origin) {
        ([], Some(origin)) if origin.user.is_some() => {
            "none: a program of this host is trusted".to_owned()
        }
        ([], Some(origin)) if origin.address.is_none() => "none: a notice of this relay".to_owned(),
        ([], _) => "none that the configuration names".to_owned(),
        (networks, _) => format!("{} ({may})", networks.join(", ")),
    }
}

/// The rule that struck, and what it says now.
fn rule(explained: &Explained) -> Option<String> {
    let name = explained.message.rule.as_ref()?;
    Some(match &explained.effect {
        Some(effect) => format!("{name}: {}", effect.join(", ")),
        None => format!("{name}, which the configuration has no more"),
    })
}

fn lane(explained: &Explained) -> String {
    let lane = &explained.message.lane;
    match &explained.lane {
        // A rule goes before the network.
        _ if explained.message.rule.is_some() => lane.clone(),
        Some(of_network) if of_network != lane => {
            format!("{lane}; new mail of this network would be {of_network}")
        }
        _ => lane.clone(),
    }
}

fn edits(explained: &Explained) -> String {
    match explained.edits.as_str() {
        "" => "none".to_owned(),
        edits => format!("{edits}; pillarbox queue cat --as-sent shows it"),
    }
}

fn leaves(explained: &Explained) -> Vec<String> {
    let Explained { message, now, .. } = explained;
    let Some(departure) = &message.departure else {
        return vec!["never: nothing of it waits".to_owned()];
    };
    let mut lines = vec![long(departure, *now)];
    if let Some(last) = explained.last.filter(|last| departure.at.is_some_and(|at| *last > at)) {
        lines.push(format!("the last of its {} {}", recipients(message), when(last, *now)));
    }
    if let Some(before) = explained.before {
        let others = explained.waiting.saturating_sub(1) as u64;
        lines.push(match others {
            0 => "nothing else waits".to_owned(),
            _ => {
                format!("{before} of {} that wait leave before it", count(others, "other message"))
            }
        });
    }
    lines
}

fn recipients(message: &Message) -> String {
    count(message.recipients.len() as u64, "recipient")
}

/// What a person can do to have it leave sooner.
fn sooner(departure: &Departure, explained: &Explained) -> Option<String> {
    let id = explained.message.id;
    let sooner = match departure.because {
        Because::Budget | Because::Turn => format!(
            "give up or hold what is before it (pillarbox queue list --sort next), raise budget.recipients_per_day if the \
             account has more, or give its network lane = \"urgent\" for the next ones; {id} keeps its lane"
        ),
        Because::Origin => {
            "raise budget.origin_limit, or the origin_limit of the rule that struck".to_owned()
        }
        Because::Due => format!("pillarbox queue retry {id}"),
        Because::Scheduled => format!(
            "pillarbox queue retry {id} sends it now; pillarbox queue schedule {id} --at TIME sets another time"
        ),
        Because::Pace => "raise budget.pace_per_minute".to_owned(),
        Because::Logins => "raise upstream.logins_per_hour, with care".to_owned(),
        Because::Connections => {
            "raise upstream.connections on every host of the fleet, with care".to_owned()
        }
        Because::Account if explained.remedy.is_empty() => "pillarbox resume tries now".to_owned(),
        Because::Account => explained.remedy.clone(),
        Because::Paused => "pillarbox resume ends the administrator's pause".to_owned(),
        Because::Held => {
            format!("pillarbox queue retry {id}; or release, when queue hold has kept it")
        }
        Because::Folded => format!("pillarbox queue release {id} sends it as it is"),
        Because::Empty
        | Because::Now
        | Because::InFlight
        | Because::Probe
        | Because::Store
        | Because::Fleet
        | Because::Stopping => return None,
    };
    Some(departure.addressed(&sooner))
}
