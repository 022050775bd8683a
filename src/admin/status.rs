//! The state of the relay on one screen, in one line, and in answers about the budget and the accounts.
//!
//! Rule: as in `server.rs`; how things stand is `stand.rs`'s.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    routing::{get, post},
};
use serde::Deserialize;

use super::{
    alert::trial,
    api::{Account, Budget, Checkup, Clients, Kind, OtherAccount, Status},
    configured::Configured,
    context::{Json, Refusal, Sources},
    of_account::{Each, OfAccount, shown},
    outlook::{Age, QueueSummary},
    reload::Reload,
    stand::{self, Stand, refusing},
};
use crate::{
    addressed::addressed,
    budget::AccountKey,
    clock::Timestamp,
    delivery::{InFlight, inspection::LoginProof},
    queue::{
        QueueError,
        situations::{self, Situations},
        waiting::{Departure, Situation},
    },
};

pub(super) fn router() -> Router<Sources> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/budget", get(budget))
        .route("/v1/clients", get(clients))
        .route("/v1/settings", get(settings))
        .route("/v1/resume", post(resume))
        .route("/v1/login", post(prove_login))
        .route("/v1/reload", post(reload))
}

/// The query of `GET /v1/status`.
#[derive(Debug, Deserialize)]
struct Asked {
    /// Somebody looks again and again: the queue may have been counted a while ago.
    #[serde(default)]
    again: bool,
}

async fn status(
    State(sources): State<Sources>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Status>, Refusal> {
    let Query(Asked { again }) = asked?;
    Ok(Json(told(&sources, if again { Age::Cheap } else { Age::New }).await?))
}

/// The one screen, with a queue that was counted so long ago at most.
pub(crate) async fn told(sources: &Sources, age: Age) -> Result<Status, QueueError> {
    let (counted_at, summary) = sources.counted(age).await?;
    let now = sources.clock.now();
    let All { first: Stand { pool, budget, .. }, others, situations, in_flight } =
        all(sources, &summary).await?;
    let totals = sources.store.totals();
    let facts = sources.facts();
    let local_socket = facts.local_socket.as_ref().map(|path| path.display().to_string());
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: now.wall,
        uptime_seconds: now.since_boot_ms.saturating_sub(facts.started.since_boot_ms) / 1000,
        listening: facts.listening.iter().map(SocketAddr::to_string).chain(local_socket).collect(),
        dropped: sources.dropped.as_ref().map(|tally| tally.state()),
        upstream: facts.main().upstream.clone(),
        account: Account::new(facts.main().username.clone(), pool.account, now.wall),
        budget,
        departure: situations.first_departure(&summary.next_due),
        refusing: refusing(sources),
        queue: super::api::Queue {
            messages: totals.messages,
            bytes: totals.bytes,
            set_aside: totals.set_aside,
            set_aside_in: facts.damaged.display().to_string(),
            recipients: summary.recipients,
            oldest: summary.oldest,
            partial: summary.partial,
            counted_at: Some(counted_at),
        },
        in_flight,
        refused: summary.refused.clone(),
        errors: pool.errors.into_iter().rev().collect(),
        unknown_replies: pool.counters.unknown_replies,
        others,
        checkup: sources.checkups.last().as_deref().map(Checkup::from),
        unreached: trial::states(sources)
            .into_iter()
            .filter(|target| target.failure.is_some())
            .collect(),
    })
}

/// How every account stands, for the screen.
struct All {
    /// The main one.
    first: Stand,
    others: Vec<OtherAccount>,
    situations: Situations,
    /// What the workers of all accounts have.
    in_flight: Vec<InFlight>,
}

async fn all(sources: &Sources, summary: &QueueSummary) -> Result<All, QueueError> {
    let mut stands = stand::stands(sources, Some(summary)).await?;
    let known = stands.iter().map(|one| (one.facts.key(), one.situation.clone()));
    let situations = stand::together(sources, known).await?;
    let in_flight = stands.iter().flat_map(|one| one.pool.in_flight.iter().cloned()).collect();
    let others = stands.split_off(1).into_iter().map(|one| other(one, summary)).collect();
    Ok(All { first: stands.remove(0), others, situations, in_flight })
}

fn other(stand: Stand, summary: &QueueSummary) -> OtherAccount {
    let Stand { facts, pool, situation, budget } = stand;
    let own = situations::of_account(&summary.next_due, facts.key());
    OtherAccount {
        name: facts.name.to_string(),
        upstream: facts.upstream,
        account: Account::new(facts.username, pool.account, situation.now),
        budget,
        departure: situation.first_departure(own),
        errors: pool.errors.into_iter().rev().collect(),
        unknown_replies: pool.counters.unknown_replies,
    }
}

async fn budget(
    State(sources): State<Sources>,
    asked: Result<Query<OfAccount>, QueryRejection>,
) -> Result<Json<Each<Budget>>, Refusal> {
    let (first, others) = asked?.0.each(&sources)?;
    let facts = sources.facts();
    let mut all = Each::new(stand::stand_of(&sources, first, None).await?.budget);
    for account in others {
        all.add(&facts, account, stand::stand_of(&sources, account, None).await?.budget);
    }
    Ok(Json(all))
}

async fn clients(State(sources): State<Sources>) -> Json<Clients> {
    Json(Clients { now: sources.clock.wall(), clients: sources.clients.snapshot() })
}

async fn settings(State(sources): State<Sources>) -> Json<Configured> {
    Json(Configured::clone(&sources.facts().configured))
}

async fn resume(
    State(sources): State<Sources>,
    asked: Result<Query<OfAccount>, QueryRejection>,
) -> Result<Json<Each<Account>>, Refusal> {
    let (first, others) = asked?.0.each(&sources)?;
    let mut all = Each::new(resumed(&sources, first).await);
    for account in others {
        all.add(&sources.facts(), account, resumed(&sources, account).await);
    }
    Ok(Json(all))
}

async fn resumed(sources: &Sources, account: AccountKey) -> Account {
    let (facts, state) = (sources.facts(), sources.upstreams.of(account).resume().await);
    let condition = state.condition.name();
    match facts.name(account) {
        Some(name) => tracing::info!(account_name = &*name, account = condition, "resumed"),
        None => tracing::info!(account = condition, "resumed"),
    }
    shown(&facts, account, state, sources.clock.wall())
}

async fn prove_login(
    State(sources): State<Sources>,
    asked: Result<Query<OfAccount>, QueryRejection>,
) -> Result<Json<LoginProof>, Refusal> {
    let account = asked?.0.one(&sources)?;
    Ok(Json(sources.upstreams.of(account).prove_login().await))
}

async fn reload(State(sources): State<Sources>) -> Result<Json<Reload>, Refusal> {
    let answer = sources.reloader.order().await;
    answer.map(Json).map_err(|words| Refusal::new(Kind::Configuration, words))
}

/// One line for systemd: what waits and until when, how the account is, and what is refused. It asks the queue, and
/// waits as long as the queue does.
pub(crate) async fn line(sources: &Sources) -> String {
    let messages = sources.store.totals().messages;
    let queue = match messages {
        0 => "the queue is empty".to_owned(),
        1 => "1 message in the queue".to_owned(),
        messages => format!("{messages} messages in the queue"),
    };
    let refusing =
        refusing(sources).map_or_else(String::new, |refusing| format!("; {}", refusing.what));
    let Ok(stands) = stand::stands(sources, None).await else {
        return format!("{queue}, which cannot be read just now{refusing}");
    };
    let accounts: Vec<String> = stands.iter().map(account_line).collect();
    let accounts = accounts.join(", ");
    let departures = stands.iter().map(Stand::next_departure);
    let departure = departures.min_by_key(Departure::rank);
    let departure = departure.filter(|next| messages > 0 && next.is_obstructed());
    let waits = match departure {
        Some(Departure { at: Some(at), why, .. }) => {
            format!("; mail leaves at {}: {why}", utc(at))
        }
        Some(Departure { at: None, why, .. }) => format!("; mail waits: {why}"),
        None => String::new(),
    };
    let held = match sources.outlook.held() {
        0 => String::new(),
        held => format!("; {held} held for a person"),
    };
    format!("{queue}, {accounts}{waits}{held}{refusing}")
}

/// How one account is; its name is said where there are several.
fn account_line(stand: &Stand) -> String {
    let Situation { name, account, now, .. } = &stand.situation;
    let name = name.as_ref().map_or_else(String::new, |name| format!("{name} "));
    let pause = account.pause(*now).map(|pause| format!(", {}", pause.words(utc)));
    let paused = pause.map(|words| addressed(&words, &stand.facts.name));
    format!("account {name}{}{}", account.condition.name(), paused.unwrap_or_default())
}

fn utc(at: Timestamp) -> String {
    at.to_string()
}
