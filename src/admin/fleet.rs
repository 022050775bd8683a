//! The hosts of a fleet: this one's signs of life, what is told of all of them, and the orders to drain one.
//!
//! Rule: as in `server.rs`. The database is asked when somebody asks; while it cannot be, what was last known is told with its
//! time. Must not know how the hosts are kept.

use std::sync::Arc;

use axum::{
    Router,
    extract::{ConnectInfo, Query, State, rejection::QueryRejection},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};

use super::{
    api::Kind,
    context::{Json, Refusal, Sources, person},
    outlook::Age,
    socket::Peer,
    stand,
};
use crate::{
    clock::Timestamp,
    fleet::{Fleet, Host, Load, LoggedIn, Members, Standing},
};

/// What is said where there is no fleet.
pub(crate) const NONE: &str = "This relay is in no fleet: it counts for itself. For hosts that share an account's day, write [fleet] in \
                               relay.toml on each of them; docs/fleet.md says how.";

/// `GET /v1/fleet`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FleetView {
    /// The time of this answer.
    pub(crate) now: Timestamp,
    /// `None` where this host counts for itself.
    pub(crate) fleet: Option<Told>,
}

/// What is known of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// What the others know this host by.
    pub(crate) host: String,
    /// The address of the database, without a password.
    pub(crate) database: String,
    /// Why it cannot be asked, while it cannot: then the rest is what was last known.
    pub(crate) away: Option<Unasked>,
    /// When the rest was so; `None` while nothing was ever known.
    pub(crate) known_at: Option<Timestamp>,
    /// The version of the database's program.
    pub(crate) server_version: Option<String>,
    /// That of the fleet's tables.
    pub(crate) schema_version: Option<i32>,
    /// Microseconds that a question to the database took.
    pub(crate) latency_us: Option<u64>,
    /// By name.
    pub(crate) hosts: Vec<HostTold>,
    /// Hosts that are not named.
    pub(crate) more_hosts: u64,
    /// The accounts whose day is shared.
    pub(crate) accounts: Vec<Shared>,
}

/// That the database cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unasked {
    /// Since when, as far as that was noticed.
    pub(crate) since: Option<Timestamp>,
    /// Why.
    pub(crate) reason: String,
    /// The queue of this host is there as well, so that clients keep their mail meanwhile.
    #[serde(default)]
    pub(crate) queue_is_there: bool,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostTold {
    /// What it calls itself.
    pub(crate) name: String,
    /// Whether it is the one that is asked.
    pub(crate) this: bool,
    /// How it is.
    pub(crate) standing: Standing,
    /// The number of its start.
    pub(crate) instance: i64,
    /// The version of its program.
    pub(crate) version: String,
    /// When it was started.
    pub(crate) since: Timestamp,
    /// Its last sign of life.
    pub(crate) seen: Timestamp,
    /// Messages in its queue then, those that are held or dead included.
    pub(crate) messages: u64,
    /// Recipients that waited to be tried, or were being tried.
    pub(crate) recipients: u64,
    /// Since when the one waits that waits for longest.
    pub(crate) oldest: Option<Timestamp>,
    /// Since when it takes no new mail.
    pub(crate) drained_since: Option<Timestamp>,
    /// Whether another living host has its name.
    pub(crate) has_namesake: bool,
}

/// An account of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shared {
    /// As all hosts call it.
    pub(crate) account: String,
    /// Its name in this host's relay.toml, where there are several.
    pub(crate) name: Option<String>,
    /// What this host lets all of them spend in 24 hours; `None` where it has no such account, or no limit.
    pub(crate) limit: Option<u32>,
    /// Recipients of the last 24 hours, by all hosts.
    pub(crate) spent: u64,
    /// The same by each host that has spent any.
    pub(crate) by_host: Vec<SpentBy>,
    /// What this host lets all of them have of connections at a time, and of logins in an hour; `None` where it does not count
    /// them together with the others.
    #[serde(default)]
    pub(crate) connections: Option<u32>,
    #[serde(default)]
    pub(crate) logins_per_hour: Option<u32>,
    /// Logins of the last hour and open connections, by each host that has any or waits for one.
    #[serde(default)]
    pub(crate) logins: Vec<LoginsOf>,
}

/// What one host has of an account's logins and connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoginsOf {
    /// Its name.
    pub(crate) host: String,
    /// Logins that count for the last hour.
    pub(crate) logins: u64,
    /// Connections that are open.
    pub(crate) connections: u64,
    /// Since when it waits for one more, while others have all.
    #[serde(default)]
    pub(crate) waits_since: Option<Timestamp>,
}

/// What one host has spent of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpentBy {
    /// Its name.
    pub(crate) host: String,
    /// Recipients of the last 24 hours.
    pub(crate) recipients: u64,
}

/// `POST /v1/fleet/drain` and `/v1/fleet/undrain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DrainOrdered {
    /// Which host.
    pub(crate) host: String,
    /// Whether it is the one that was asked, which hears of it at once.
    pub(crate) this: bool,
    /// Whether it is drained now.
    pub(crate) drained: bool,
}

/// Which host an order is for; without a name it is this one.
#[derive(Debug, Deserialize)]
struct OfHost {
    host: Option<String>,
}

pub(super) fn router() -> Router<Sources> {
    let order = |drains| {
        post(
            async move |State(sources): State<Sources>,
                        ConnectInfo(peer): ConnectInfo<Peer>,
                        asked: Result<Query<OfHost>, QueryRejection>| {
                let Query(OfHost { host }) = asked?;
                drain(&sources, peer, host, drains).await
            },
        )
    };
    Router::new()
        .route("/v1/fleet", get(async |State(sources): State<Sources>| Json(view(&sources).await)))
        .route("/v1/fleet/drain", order(true))
        .route("/v1/fleet/undrain", order(false))
}

async fn view(sources: &Sources) -> FleetView {
    let fleet = match &sources.fleet {
        Some(fleet) => Some(told(sources, fleet).await),
        None => None,
    };
    FleetView { now: sources.clock.wall(), fleet }
}

async fn told(sources: &Sources, fleet: &Fleet) -> Told {
    let hosts = fleet.hosts();
    let (members, away) = match hosts.ask().await {
        Ok(members) => (Some(members), None),
        Err(trouble) => {
            let since = stand::away(sources).map(|away| away.since);
            let reason = trouble.to_string();
            let queue_is_there = sources.store.is_in_a_database();
            (hosts.known(), Some(Unasked { since, reason, queue_is_there }))
        }
    };
    let (own, members) = (hosts.own(), members.as_ref());
    Told {
        host: own.to_owned(),
        database: fleet.place().to_owned(),
        away,
        known_at: members.map(|known| known.at),
        server_version: members.map(|known| known.server.clone()),
        schema_version: members.map(|known| known.schema),
        latency_us: members
            .map(|known| u64::try_from(known.latency.as_micros()).unwrap_or(u64::MAX)),
        hosts: members.map_or_else(Vec::new, |known| {
            known.hosts.iter().map(|host| HostTold::of(host, own, known.at)).collect()
        }),
        more_hosts: members.map_or(0, |known| known.more),
        accounts: members.map_or_else(Vec::new, |known| shared(sources, known)),
    }
}

impl HostTold {
    fn of(host: &Host, own: &str, at: Timestamp) -> Self {
        let Host { name, instance, version, standing, since, seen, load, .. } = host.clone();
        Self {
            this: name == own,
            name,
            standing,
            instance,
            version,
            since,
            seen,
            messages: load.messages,
            recipients: load.recipients,
            oldest: load.oldest.map(|span| at.before(span)),
            drained_since: host.drained_since,
            has_namesake: host.has_namesake,
        }
    }
}

/// The accounts of this host first, whether or not anything was spent of them.
fn shared(sources: &Sources, known: &Members) -> Vec<Shared> {
    let facts = sources.facts();
    let of = |account: &str| {
        let spent = known.spent.iter().filter(|(name, _, _)| name == account);
        let by_host: Vec<SpentBy> = spent
            .map(|(_, host, recipients)| SpentBy { host: host.clone(), recipients: *recipients })
            .collect();
        let (account, spent) = (account.to_owned(), by_host.iter().map(|one| one.recipients).sum());
        let logins = known.logins.iter().filter(|one| one.account == account);
        let logins = logins.map(|one| {
            let LoggedIn { host, logins, open: connections, waits, .. } = one.clone();
            let waits_since = waits.map(|span| known.at.before(span));
            LoginsOf { host, logins, connections, waits_since }
        });
        let logins = logins.collect();
        Shared {
            account,
            name: None,
            limit: None,
            spent,
            by_host,
            connections: None,
            logins_per_hour: None,
            logins,
        }
    };
    let own = facts.accounts.iter().filter_map(|account| {
        let limit = Some(account.limit().recipients()?);
        let name = facts.name(account.key()).map(|name| name.to_string());
        let (connections, logins_per_hour) = (account.connections, account.logins_per_hour);
        Some(Shared { name, limit, connections, logins_per_hour, ..of(&account.in_fleet) })
    });
    let mut all: Vec<Shared> = own.collect();
    for (account, _, _) in &known.spent {
        if !all.iter().any(|one| one.account == *account) {
            all.push(of(account));
        }
    }
    all
}

async fn drain(
    sources: &Sources,
    peer: Peer,
    host: Option<String>,
    drains: bool,
) -> Result<Json<DrainOrdered>, Refusal> {
    let fleet = fleet_of(sources)?;
    let hosts = fleet.hosts();
    let host = host.unwrap_or_else(|| hosts.own().to_owned());
    let unasked = |trouble| {
        let words =
            format!("the fleet's database cannot be asked, so nothing was changed: {trouble}");
        Refusal::new(Kind::Unavailable, words)
    };
    if !hosts.drain(&host, drains).await.map_err(unasked)? {
        let known = hosts.ask().await.map_err(unasked)?;
        let names: Vec<&str> = known.hosts.iter().map(|host| host.name.as_str()).collect();
        let words = format!("there is no host called {host:?}; there is {}", names.join(", "));
        return Err(Refusal::new(Kind::NotFound, words));
    }
    let by = person(peer).await.unwrap_or_default();
    tracing::warn!(
        by,
        host,
        "{}",
        if drains { "a host is to be drained" } else { "a host is to take mail again" }
    );
    Ok(Json(DrainOrdered { this: host == hosts.own(), host, drained: drains }))
}

fn fleet_of(sources: &Sources) -> Result<&Arc<Fleet>, Refusal> {
    sources.fleet.as_ref().ok_or_else(|| Refusal::new(Kind::NotFound, NONE))
}

/// Gives signs of life; without end.
pub(crate) async fn live(sources: Sources) {
    let Some(fleet) = &sources.fleet else { return std::future::pending().await };
    loop {
        fleet.hosts().beat(load(&sources).await).await;
        sources.clock.sleep(fleet.hosts().pause()).await;
    }
}

async fn load(sources: &Sources) -> Load {
    let messages = sources.store.totals().messages;
    // A queue that does not answer is told of elsewhere; the host lives.
    let Ok((_, summary)) = sources.counted(Age::Rare).await else {
        return Load { messages, ..Load::default() };
    };
    let totals = &summary.recipients;
    let recipients = totals.queued + totals.scheduled + totals.uncertain + totals.reserved;
    let now = sources.clock.wall();
    let oldest =
        summary.oldest.map(|oldest| now.since(oldest.waits_since.unwrap_or(oldest.accepted_at)));
    Load { messages, recipients, oldest }
}
