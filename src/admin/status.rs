//! The state of the relay: the situation that decides when mail leaves, and answers with it.
//!
//! Rule: whoever tells of the relay's state (status, lists, probes, alerts, systemd's line) takes it from here.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    routing::{get, post},
};
use serde::Deserialize;

use super::{
    alert::trial,
    api::{Account, Budget, Checkup, Clients, Kind, Status},
    configured::Configured,
    context::{Json, Refusal, Sources},
    early::{Early, Proposed},
    outlook::Age,
    reload::Reload,
};
use crate::{
    budget::{AccountKey, Limit},
    clock::Timestamp,
    delivery::{DepartureReason, PoolStatus, inspection::LoginProof},
    message::envelope::Lane,
    queue::{
        LedgerView, QueueError,
        forecast::{Forecast, Terms},
        waiting::{Because, Brake, Departure, Refusing, Room, Rooms, Situation},
    },
    shutdown::Phase,
};

/// Origins at their limit that one answer names.
const LIMITED_TOLD_MAX: usize = 20;
/// How long a probe waits for the queue; then it says what it knows from memory.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

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
    let Stand { pool, situation, budget } = stand(sources, summary.due).await?;
    let totals = sources.store.totals();
    let facts = sources.facts();
    let local_socket = facts.local_socket.as_ref().map(|path| path.display().to_string());
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: now.wall,
        uptime_seconds: now.since_boot_ms.saturating_sub(facts.started.since_boot_ms) / 1000,
        listening: facts.listening.iter().map(SocketAddr::to_string).chain(local_socket).collect(),
        dropped: sources.dropped.as_ref().map(|tally| tally.state()),
        upstream: facts.upstream.clone(),
        account: Account::new(facts.username.clone(), pool.account, now.wall),
        budget,
        departure: situation.first_departure(summary.next_due.clone()),
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
        in_flight: pool.in_flight,
        refused: summary.refused.clone(),
        errors: pool.errors.into_iter().rev().collect(),
        unknown_replies: pool.counters.unknown_replies,
        checkup: sources.checkups.last().as_deref().map(Checkup::from),
        unreached: trial::states(sources)
            .into_iter()
            .filter(|target| target.failure.is_some())
            .collect(),
    })
}

async fn budget(State(sources): State<Sources>) -> Result<Json<Budget>, Refusal> {
    Ok(Json(stand(&sources, 0).await?.budget))
}

async fn clients(State(sources): State<Sources>) -> Json<Clients> {
    Json(Clients { now: sources.clock.wall(), clients: sources.clients.snapshot() })
}

async fn settings(State(sources): State<Sources>) -> Json<Configured> {
    Json(Configured::clone(&sources.facts().configured))
}

async fn resume(State(sources): State<Sources>) -> Json<Account> {
    let state = sources.upstream.resume().await;
    tracing::info!(account = state.condition.name(), "resumed");
    Json(Account::new(sources.facts().username.clone(), state, sources.clock.wall()))
}

async fn prove_login(State(sources): State<Sources>) -> Json<LoginProof> {
    Json(sources.upstream.prove_login().await)
}

async fn reload(State(sources): State<Sources>) -> Result<Json<Reload>, Refusal> {
    let answer = sources.reloader.order().await;
    answer.map(Json).map_err(|words| Refusal::new(Kind::Configuration, words))
}

/// How things stand at one moment.
#[derive(Debug)]
pub(super) struct Stand {
    pub(super) pool: PoolStatus,
    pub(super) situation: Situation,
    pub(super) budget: Budget,
}

impl Stand {
    /// When mail leaves next as far as the pool knows, which is all that can be said without a walk.
    pub(super) fn next_departure(&self) -> Departure {
        let due = self.pool.next.map(|next| match next.why {
            DepartureReason::Due => next.at,
            _ => self.situation.now,
        });
        self.situation.first_departure(due.map(|due| (Lane::Normal, due.into())))
    }
}

/// Gathers it; `due` is the number of recipients that are due.
pub(super) async fn stand(sources: &Sources, due: u64) -> Result<Stand, QueueError> {
    let (now, facts) = (sources.clock.now(), sources.facts());
    let pool = sources.upstream.status();
    let limit = facts.limit();
    let early = &pool.account.early;
    let terms = facts.claim_limits().within(early.allowance(limit, now.wall));
    let of = |lane| sources.store.ledger(AccountKey::MAIN, now, terms.limit_of(lane));
    let notices = of(Lane::Notice).await?;
    let urgent = of(Lane::Urgent).await?;
    let others = of(Lane::Normal).await?;
    let full = pool.account.is_day_full(now.wall).then_some(pool.account.until).flatten();
    let is_full = pool.account.is_day_full(now.wall);
    let room = |view: LedgerView| Room {
        recipients: if is_full { 0 } else { view.room },
        // `None` is never, whatever the upstream says.
        frees_at: view.frees_at.map(|at| full.map_or(at, |full| at.max(full))),
    };
    let rooms = Rooms { notices: room(notices), urgent: room(urgent), others: room(others) };
    let situation = Situation {
        now: now.wall,
        stopping: sources.stop.phase() != Phase::Running,
        store_failure: match sources.store.admission(0) {
            Err(QueueError::Unavailable(reason)) => Some(reason),
            _ => None,
        },
        account: pool.account.clone(),
        probing: pool.probing,
        rooms,
        brake: pool.next.and_then(brake),
        due_recipients: due,
        limited: sources.store.limited_origins(now).await?,
        forecast: Arc::default(),
    };
    // Without a limit only the upstream's own word leaves no room.
    let told = |room: Room| (is_full || limit != Limit::NONE).then_some(room.recipients);
    let budget = Budget {
        now: now.wall,
        recipients_per_day: facts.recipients_per_day,
        owner_reserve: facts.owner_reserve,
        limit,
        notice_reserve: facts.notice_reserve,
        urgent_reserve: facts.urgent_reserve,
        spent: others.spent,
        room: told(rooms.others),
        urgent_room: told(rooms.urgent),
        notice_room: told(rooms.notices),
        frees_at: rooms.others.frees_at,
        full_since: pool.account.day_full_since.filter(|_| is_full),
        early: early.in_force(limit, now.wall).map(|day| Early::of(day, limit)),
        proposed: early.proposed(limit, now.wall).map(|it| Proposed::of(it, facts.owner_reserve)),
        limited: situation.limited.values().take(LIMITED_TOLD_MAX).cloned().collect(),
        departure: situation.departure(Lane::Normal, now.wall),
    };
    Ok(Stand { pool, situation, budget })
}

/// The situation of a page of a list: with the number of recipients that are due, counted lately.
pub(super) async fn situation(sources: &Sources) -> Result<Situation, QueueError> {
    situation_by(sources, Age::Recent).await
}

/// The same by a walk of this age.
pub(super) async fn situation_by(sources: &Sources, age: Age) -> Result<Situation, QueueError> {
    let (_, summary) = sources.counted(age).await?;
    let situation = stand(sources, summary.due).await?.situation;
    let forecast = forecast(sources, &situation).await?;
    Ok(Situation { forecast, ..situation })
}

/// When each message leaves, by the last walk; empty while nobody can know.
pub(super) async fn forecast(
    sources: &Sources,
    situation: &Situation,
) -> Result<Arc<Forecast>, QueueError> {
    let Some(starts) = situation.starts() else { return Ok(Arc::default()) };
    let paced = situation.brake.is_some_and(|brake| brake.because == Because::Pace);
    let now = sources.clock.now();
    let gather = || async {
        let (limits, pace_per_minute) = sources.upstream.pacing();
        let footing = sources.store.footing(limits.account, now).await?;
        Ok(Terms { now: now.wall, starts, paced, footing, limits, pace_per_minute })
    };
    sources.outlook.forecast(gather).await
}

/// When mail leaves next, for probes: `None` while the queue does not answer in time.
pub(super) async fn next_departure(sources: &Sources) -> Option<Departure> {
    let stand = tokio::time::timeout(PROBE_PATIENCE, stand(sources, 0)).await;
    Some(stand.ok()?.ok()?.next_departure())
}

/// What only the pool knows; due times, budget and pauses are looked up.
fn brake(next: crate::delivery::Departure) -> Option<Brake> {
    let because = match next.why {
        DepartureReason::Pace => Because::Pace,
        DepartureReason::Logins => Because::Logins,
        DepartureReason::Store => Because::Store,
        DepartureReason::Due | DepartureReason::Budget | DepartureReason::Pause => return None,
    };
    Some(Brake { until: next.at, because })
}

/// Why new mail is refused, or large mail: asked of the store as clients' messages ask it.
pub(super) fn refusing(sources: &Sources) -> Option<Refusing> {
    let largest = sources.facts().largest_message;
    let shown = bytesize::ByteSize::b(largest).display().iec().to_string();
    Refusing::of(sources.store.admission(0), sources.store.admission(largest), &shown)
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
    let Ok(stand) = stand(sources, 0).await else {
        return format!("{queue}, which cannot be read just now{refusing}");
    };
    let Situation { account, now, .. } = &stand.situation;
    let paused = account.pause(*now).map(|pause| format!(", {}", pause.words(utc)));
    let account = format!("account {}{}", account.condition.name(), paused.unwrap_or_default());
    let departure = stand.next_departure();
    let waits = match departure.at.filter(|_| messages > 0 && departure.is_obstructed()) {
        Some(at) => format!("; mail leaves at {}: {}", utc(at), departure.why),
        None if messages > 0 && departure.is_obstructed() => {
            format!("; mail waits: {}", departure.why)
        }
        None => String::new(),
    };
    let held = match sources.outlook.held() {
        0 => String::new(),
        held => format!("; {held} held for a person"),
    };
    format!("{queue}, {account}{waits}{held}{refusing}")
}

fn utc(at: Timestamp) -> String {
    at.to_string()
}
