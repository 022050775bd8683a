//! Dialogues as they happen, as lines of JSON for as long as was asked.
//!
//! Rule: what is shown has no secret and no text of a message; that is seen to where it is said. Must not know who reads it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
    routing::get,
};
use hyper::body::Bytes;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    accounts::AccountFacts,
    api::Kind,
    context::{Facts, Refusal, Sources},
    pieces::Pieces,
};
use crate::{
    budget::AccountKey,
    clock::Timestamp,
    shutdown::Phase,
    telemetry::dialogue::{Line, Peer, Seen, WATCHERS_MAX, Watcher},
    text,
};

/// How long dialogues are shown when the question does not say, and at most.
pub(crate) const SHOWN_DEFAULT: Duration = Duration::from_secs(60);
pub(crate) const SHOWN_MAX: Duration = Duration::from_secs(3_600);
/// After so much silence an empty line says that there is nothing to tell.
const SILENCE: Duration = Duration::from_secs(10);

/// The query of `GET /v1/trace`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// Clients of this network, or this one.
    #[serde(default)]
    pub(crate) client: Option<String>,
    /// The upstream.
    #[serde(default)]
    pub(crate) upstream: bool,
    /// That of this account alone.
    #[serde(default)]
    pub(crate) account: Option<String>,
    /// For how long.
    #[serde(default)]
    pub(crate) seconds: Option<u64>,
}

/// One line of the answer; an empty one says that nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Shown {
    /// What was said.
    Said(Said),
    /// It was more than could be shown.
    Missed {
        /// So many lines.
        missed: u64,
    },
}

/// A line of a dialogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    /// When.
    pub(crate) at: Timestamp,
    /// The number of its connection since the start of the relay.
    pub(crate) connection: u64,
    /// The client; null for the upstream.
    pub(crate) client: Option<IpAddr>,
    /// The account whose upstream it is, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    /// Whether the side that sends mail has said it: the client, or the relay to its upstream.
    pub(crate) by_client: bool,
    /// Without its line end.
    pub(crate) text: String,
}

pub(super) fn router() -> Router<Sources> {
    Router::new().route("/v1/trace", get(trace))
}

/// Whose dialogues are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Of this account, or of all.
    Upstream(Option<AccountKey>),
    Clients(IpNet),
}

impl Whose {
    fn of(wanted: &Wanted, facts: &Facts) -> Result<Self, Refusal> {
        let refused = |words: String| Refusal::new(Kind::BadRequest, words);
        match (&wanted.client, wanted.upstream) {
            (None, true) => {
                let account = wanted.account.as_deref().map(|name| facts.named(name));
                Ok(Self::Upstream(account.transpose()?))
            }
            (Some(text), false) => {
                let one = || text.parse().ok().map(|address: IpAddr| IpNet::from(address));
                let network = text.parse().ok().or_else(one);
                network
                    .map(Self::Clients)
                    .ok_or_else(|| refused(format!("{text:?} is not an address or a network")))
            }
            _ => Err(refused("name either a client or the upstream".to_owned())),
        }
    }

    fn holds(self, line: &Line) -> bool {
        match (self, line.peer) {
            (Self::Upstream(None), Peer::Upstream(_)) => true,
            (Self::Upstream(Some(wanted)), Peer::Upstream(account)) => wanted.number() == account,
            (Self::Clients(network), Peer::Client(address)) => {
                network.contains(&address.to_canonical())
            }
            _ => false,
        }
    }
}

async fn trace(
    State(sources): State<Sources>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(wanted) = wanted?;
    let whose = Whose::of(&wanted, &sources.facts())?;
    let Some(watcher) = Watcher::new() else {
        let words = format!("{WATCHERS_MAX} watch already");
        return Err(Refusal::new(Kind::Unavailable, words));
    };
    let shown = wanted.seconds.map_or(SHOWN_DEFAULT, Duration::from_secs).min(SHOWN_MAX);
    let time = u64::try_from(shown.as_millis()).unwrap_or(u64::MAX);
    let until_ms = sources.clock.now().since_boot_ms.saturating_add(time);
    let watch = Watch { watcher, whose, sources, until_ms };
    let lines = Pieces::new(watch, |watch| Box::pin(next(watch)));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::new(lines)).into_response())
}

/// The name of the account whose upstream speaks, where there are several.
fn account_of(peer: Peer, facts: &Facts) -> Option<String> {
    let Peer::Upstream(number) = peer else { return None };
    let key = facts.accounts.iter().map(AccountFacts::key).find(|key| key.number() == number)?;
    facts.name(key).map(|name| name.to_string())
}

/// Somebody who watches.
struct Watch {
    watcher: Watcher,
    whose: Whose,
    sources: Sources,
    until_ms: u64,
}

/// The next octets of the answer, and who goes on; `None` at the end.
async fn next(mut watch: Watch) -> Option<(Watch, Bytes)> {
    let clock = Arc::clone(&watch.sources.clock);
    let quiet = clock.sleep(SILENCE);
    tokio::pin!(quiet);
    loop {
        let left = watch.until_ms.saturating_sub(clock.now().since_boot_ms);
        let mut stop = watch.sources.stop.clone();
        let seen = tokio::select! {
            biased;
            () = stop.reached(Phase::Draining) => return None,
            () = clock.sleep(Duration::from_millis(left)) => return None,
            seen = watch.watcher.next() => seen,
            () = &mut quiet => {
                return Some((watch, Bytes::from_static(b"\n")));
            }
        };
        let shown = match seen {
            Seen::Missed(missed) => Shown::Missed { missed },
            Seen::Line(line) if watch.whose.holds(&line) => {
                let at = clock.wall();
                let (connection, text) = (line.connection, line.text.clone());
                let (client, by_client) = match line.peer {
                    Peer::Client(address) => (Some(address), !line.ours),
                    Peer::Upstream(_) => (None, line.ours),
                };
                let account = account_of(line.peer, &watch.sources.facts());
                Shown::Said(Said { at, connection, client, account, by_client, text })
            }
            Seen::Line(_) => continue,
        };
        let json = serde_json::to_string(&shown).unwrap_or_default();
        let line = format!("{}\n", text::printable_json(&json));
        return Some((watch, line.into()));
    }
}
