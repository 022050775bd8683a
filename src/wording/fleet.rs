//! The words of a fleet: its database, its hosts, and who has spent what of an account's day.

use std::time::Duration;

use super::Lines;
use crate::{
    admin::fleet::{DrainOrdered, FleetView, HostTold, LoginsOf, NONE, Shared, Told},
    clock::Timestamp,
    fleet::{FORGOTTEN_AFTER, REMEDY, Standing},
    quantities::{count, relative, span, when},
};

/// What stands above the hosts; a label without a line is not shown.
pub(crate) fn lines(view: &FleetView) -> Lines {
    let Some(fleet) = &view.fleet else { return vec![("fleet", vec![NONE.to_owned()])] };
    vec![
        ("this host", vec![fleet.host.clone()]),
        ("database", database(fleet, view.now)),
        ("spent", fleet.accounts.iter().map(shared).collect()),
        ("logins", fleet.accounts.iter().filter_map(|shared| logins(shared, view.now)).collect()),
    ]
}

fn database(fleet: &Told, now: Timestamp) -> Vec<String> {
    let mut lines = vec![fleet.database.clone()];
    if let Some(away) = &fleet.away {
        let since =
            away.since.map_or_else(String::new, |since| format!(" since {}", when(since, now)));
        lines.push(format!("it cannot be asked{since}: {}. {REMEDY}; `pillarbox doctor --check fleet` finds out more", away.reason));
        let meanwhile = match away.queue_is_there {
            true => {
                "this host takes no mail meanwhile: its queue is in the database, and clients hear 451 and keep theirs"
            }
            false => "this host takes mail meanwhile",
        };
        lines.push(meanwhile.to_owned());
    }
    match (fleet.known_at, &fleet.server_version, fleet.schema_version) {
        (Some(at), _, _) if fleet.away.is_some() => {
            lines.push(format!("what follows was so {}", when(at, now)));
        }
        (_, Some(server), Some(schema)) => {
            let answered = fleet.latency_us.map_or_else(String::new, |span| {
                format!(", answered within {}", milliseconds(span))
            });
            lines.push(format!(
                "PostgreSQL {server}{answered}; the fleet's tables are of version {schema}"
            ));
        }
        _ => lines
            .push("nothing was known of the other hosts since the start of the daemon".to_owned()),
    }
    lines
}

/// `0.8 ms`.
fn milliseconds(microseconds: u64) -> String {
    format!("{}.{} ms", microseconds / 1_000, microseconds / 100 % 10)
}

/// Of an account that nobody logs in to there is nothing to be said.
fn logins(shared: &Shared, now: Timestamp) -> Option<String> {
    if shared.logins.is_empty() {
        return None;
    }
    let logins = shared.logins.iter().map(|one| one.logins).sum();
    let open: u64 = shared.logins.iter().map(|one| one.connections).sum();
    let holders = shared.logins.iter().filter(|one| one.connections > 0);
    let holders: Vec<String> =
        holders.map(|one| format!("{} {}", one.host, one.connections)).collect();
    let open = match (shared.connections.map(u64::from), open) {
        (Some(most), 1) => format!("1 of {} is open", count(most, "connection")),
        (Some(most), _) => format!("{open} of {} are open", count(most, "connection")),
        (None, 0) => "no connection is open".to_owned(),
        (None, 1) => "1 connection is open".to_owned(),
        (None, _) => format!("{open} connections are open"),
    };
    let holders =
        if holders.is_empty() { String::new() } else { format!(": {}", holders.join(", ")) };
    let wait =
        |one: &LoginsOf| Some(format!("{} for {}", one.host, span(now.since(one.waits_since?))));
    let waiting: Vec<String> = shared.logins.iter().filter_map(wait).collect();
    let waiting = match waiting.is_empty() {
        true => String::new(),
        false => format!("; waiting for one: {}", waiting.join(", ")),
    };
    let logins = match shared.logins_per_hour {
        Some(most) => format!("{logins} of {}", count(u64::from(most), "login")),
        None => count(logins, "login"),
    };
    Some(format!("{}: {logins} in the last hour; {open}{holders}{waiting}", name(shared)))
}

fn name(shared: &Shared) -> String {
    let Shared { account, name, .. } = shared;
    name.as_ref().map_or_else(|| account.clone(), |name| format!("{name} ({account})"))
}

fn shared(shared: &Shared) -> String {
    let Shared { limit, spent, by_host, .. } = shared;
    let name = name(shared);
    let of_limit = match limit {
        Some(limit) => format!("{spent} of {}", count(u64::from(*limit), "recipient")),
        None => count(*spent, "recipient"),
    };
    let hosts: Vec<String> =
        by_host.iter().map(|one| format!("{} {}", one.host, one.recipients)).collect();
    let hosts = if hosts.is_empty() { String::new() } else { format!(": {}", hosts.join(", ")) };
    format!("{name}: {of_limit} of the last 24 hours{hosts}")
}

/// `living`, `drained, gone`.
pub(crate) fn standing(host: &HostTold) -> String {
    let standing = match host.standing {
        Standing::Living => "living",
        Standing::Stopped => "stopped",
        Standing::Gone => "gone",
    };
    match host.drained_since {
        Some(_) => format!("{standing}, drained"),
        None => standing.to_owned(),
    }
}

/// Its last sign of life.
pub(crate) fn seen(host: &HostTold, now: Timestamp) -> String {
    relative(host.seen, now)
}

/// What it had in its queue then.
pub(crate) fn queue(host: &HostTold) -> String {
    if host.messages == 0 {
        return "empty".to_owned();
    }
    let messages = count(host.messages, "message");
    match host.recipients {
        0 => format!("{messages}, none to be sent"),
        recipients => format!("{messages}, {} to be sent", count(recipients, "recipient")),
    }
}

/// For how long the one waits that waits for longest.
pub(crate) fn oldest(host: &HostTold, now: Timestamp) -> String {
    host.oldest.map_or_else(|| "-".to_owned(), |since| span(now.since(since)))
}

/// What is said below the hosts, with what to do.
pub(crate) fn remarks(view: &FleetView) -> Vec<String> {
    let Some(fleet) = &view.fleet else { return Vec::new() };
    let more = (fleet.more_hosts > 0)
        .then(|| format!("{} more that are not named.", count(fleet.more_hosts, "host")));
    let is_gone = |host: &HostTold| host.standing == Standing::Gone;
    let has_left_mail = |host: &HostTold| host.standing == Standing::Stopped && host.messages > 0;
    let gone = fleet.hosts.iter().any(|host| is_gone(host) || has_left_mail(host)).then(|| {
        let days = span(Duration::from_secs(FORGOTTEN_AFTER.as_secs()));
        let look = match fleet.hosts.iter().any(is_gone) {
            true => " Look at the machine of one that is gone: `systemctl status pillarbox` there.",
            false => "",
        };
        format!("A host that is gone or stopped is shown with what it had at its last sign of life. What it has on its disk leaves when it is back; what it had in the database ([queue] backend = \"postgres\") another host takes over.{look} A host is forgotten {days} after its last sign of life.")
    });
    let each = fleet.hosts.iter().filter_map(|host| remark(host, view.now));
    each.chain(gone).chain(more).collect()
}

fn remark(host: &HostTold, now: Timestamp) -> Option<String> {
    let name = &host.name;
    if host.has_namesake {
        return Some(format!(
            "Two living hosts are called {name}. Give each a name of its own: host under [fleet] in relay.toml."
        ));
    }
    let since = when(host.drained_since?, now);
    let what = match (host.messages, host.recipients, host.standing) {
        (0, _, Standing::Living) => "its queue is empty, so it can be stopped",
        (_, 0, Standing::Living) => {
            "nothing of its queue is to be sent any more; what is held or dead stays there"
        }
        (_, _, Standing::Living) => "it relays what it has",
        (_, _, Standing::Stopped | Standing::Gone) => "so it will be when it is back",
    };
    Some(format!(
        "{name} takes no new mail since {since}: {what}. `pillarbox fleet undrain {name}` ends that."
    ))
}

/// What came of an order.
pub(crate) fn ordered(order: &DrainOrdered) -> Vec<String> {
    let DrainOrdered { host, this, drained } = order;
    let soon = if *this { "" } else { " It hears of it within some seconds, when it lives." };
    match drained {
        true => vec![
            format!("The host {host} takes no new mail, also after a restart.{soon}"),
            format!(
                "What it has is relayed. Clients hear 421 and go to another host or try again; `pillarbox fleet` shows when its queue is empty, and `pillarbox fleet undrain {host}` ends it."
            ),
        ],
        false => vec![format!("The host {host} takes mail again.{soon}")],
    }
}
