//! The API: one router over the Unix socket, and a smaller one over the TCP port.
//!
//! Rule: every answer is JSON of `api.rs`, also a refusal; whoever may open the socket may do
//! everything. Must not know how commands print.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, Query, Request, State, rejection::QueryRejection},
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};

use super::{
    api::{
        Account, Budget, Client, Clients, Deleted, Kind, Message, Origin, Queue, QueuePage,
        Retried, Status,
    },
    context::{Page, Refusal, Sources, page_of, parse},
    dead, health,
    http::Port,
    json::Json,
    metrics,
    outlook::{self, Stand},
    socket::Socket,
    survey::{MESSAGES_MAX, Survey},
};
use crate::{
    queue::{only::Only, store::StoreError},
    shutdown::{Phase, Watch},
};

/// How long one answer may take; a queue that takes longer is in trouble, and says so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// No request of version 1 has a body.
const REQUEST_BODY_MAX: usize = 1024;

/// Serves until the stop is ordered. A conversation in progress is finished first.
pub async fn serve(socket: Socket, port: Option<Port>, sources: Sources, stop: Watch) {
    let reached = |mut stop: Watch| async move { stop.reached(Phase::Draining).await };
    let over_tcp = async {
        if let Some(port) = port {
            let server = axum::serve(port, read_only(sources.clone()));
            drop(server.with_graceful_shutdown(reached(stop.clone())).await);
        }
    };
    let over_socket =
        axum::serve(socket, router(sources.clone())).with_graceful_shutdown(reached(stop.clone()));
    // Accepting never fails for good: the listeners wait and try again.
    drop(tokio::join!(over_tcp, over_socket));
}

fn router(sources: Sources) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/queue", get(list))
        .route("/v1/queue/{id}", get(show).delete(delete))
        .route("/v1/queue/{id}/retry", post(retry))
        .route("/v1/budget", get(show_budget))
        .route("/v1/clients", get(show_clients))
        .route("/v1/resume", post(resume))
        .merge(dead::router())
        .merge(health::router())
        .merge(health::probes())
        .merge(metrics::router())
        .fallback(|| async {
            Refusal::new(Kind::NotFound, "there is no such path in version 1 of the API")
        })
        .layer(from_fn(in_time))
        .layer(DefaultBodyLimit::max(REQUEST_BODY_MAX))
        .with_state(sources)
}

/// What anybody who reaches the TCP port may see.
fn read_only(sources: Sources) -> Router {
    Router::new()
        .merge(health::probes())
        .merge(metrics::router())
        .fallback(|| async {
            Refusal::new(Kind::NotFound, "here are /metrics, /health/live and /health/ready")
        })
        .layer(from_fn(in_time))
        .layer(DefaultBodyLimit::max(REQUEST_BODY_MAX))
        .with_state(sources)
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Refusal::new(Kind::Unavailable, "the queue took too long to answer").into_response()
        }
    }
}

async fn status(State(sources): State<Sources>) -> Result<Json<Status>, Refusal> {
    let now = sources.clock.now();
    let survey = Survey::of(sources.store.as_ref(), now.wall, MESSAGES_MAX).await?;
    sources.outlook.keep(now, &survey).await;
    let Stand { pool, situation, budget } = outlook::stand(&sources, survey.due).await?;
    let totals = sources.store.totals();
    let facts = &sources.facts;
    let local_socket = facts.local_socket.as_ref().map(|path| path.display().to_string());
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: now.wall,
        uptime_seconds: now.since_boot_ms.saturating_sub(facts.started.since_boot_ms) / 1000,
        listening: facts.listening.iter().map(SocketAddr::to_string).chain(local_socket).collect(),
        dropped: sources.dropped.as_ref().map(|tally| tally.state()),
        upstream: facts.upstream.clone(),
        account: Account::new(facts.username.clone(), pool.account),
        budget,
        departure: situation.first_departure(survey.next_due),
        refusing: outlook::refusing(&sources),
        queue: Queue {
            messages: totals.messages,
            bytes: totals.bytes,
            set_aside: totals.set_aside,
            set_aside_in: facts.damaged.display().to_string(),
            recipients: survey.recipients,
            oldest: survey.oldest,
            partial: survey.partial,
        },
        in_flight: pool.in_flight,
        refused: survey.refused,
        errors: pool.errors.into_iter().rev().collect(),
        unknown_replies: pool.counters.unknown_replies,
    }))
}

async fn show_budget(State(sources): State<Sources>) -> Result<Json<Budget>, Refusal> {
    Ok(Json(outlook::stand(&sources, 0).await?.budget))
}

async fn show_clients(State(sources): State<Sources>) -> Json<Clients> {
    let clients = sources.clients.snapshot().into_iter().map(Client::from).collect();
    Json(Clients { now: sources.clock.wall(), clients })
}

async fn list(
    State(sources): State<Sources>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<QueuePage>, Refusal> {
    let Query(page) = page.map_err(|error| Refusal::new(Kind::BadRequest, error.body_text()))?;
    let walk = page.walk(&*sources.store).await?;
    let situation = outlook::situation(&sources).await?;
    let messages = sources.store.list(page.after, page.limit()).await?;
    Ok(Json(page_of(messages, page.limit(), walk, &situation)))
}

async fn show(
    State(sources): State<Sources>,
    Path(id): Path<String>,
) -> Result<Json<Message>, Refusal> {
    let id = parse(&id)?;
    let message = sources.store.show(id).await?.ok_or(StoreError::NotFound(id))?;
    // A message of the history has no file any more, and a damaged one is reported when a worker meets it.
    let origin =
        sources.store.read_message(id).await.ok().map(|reader| Origin::from(reader.envelope()));
    let situation = outlook::situation(&sources).await?;
    Ok(Json(Message { origin, ..Message::new(message, &situation) }))
}

async fn retry(
    State(sources): State<Sources>,
    Path(id): Path<String>,
    only: Result<Query<Only>, QueryRejection>,
) -> Result<Json<Retried>, Refusal> {
    let id = parse(&id)?;
    let Query(only) = only.map_err(|error| Refusal::new(Kind::BadRequest, error.body_text()))?;
    let recipients = sources.store.retry_only(id, sources.clock.wall(), &only).await?;
    tracing::info!(%id, recipients, "retry");
    let situation = outlook::situation(&sources).await?;
    let message = sources.store.show(id).await?;
    let departure = message.and_then(|message| Message::new(message, &situation).departure);
    Ok(Json(Retried { id, recipients, departure }))
}

async fn delete(
    State(sources): State<Sources>,
    Path(id): Path<String>,
    only: Result<Query<Only>, QueryRejection>,
) -> Result<Json<Deleted>, Refusal> {
    let id = parse(&id)?;
    let Query(only) = only.map_err(|error| Refusal::new(Kind::BadRequest, error.body_text()))?;
    sources.store.delete_only(id, &only).await?;
    tracing::warn!(%id, "deleted");
    Ok(Json(Deleted { id }))
}

async fn resume(State(sources): State<Sources>) -> Json<Account> {
    let state = sources.upstream.resume().await;
    tracing::info!(account = state.condition.name(), "resumed");
    Json(Account::new(sources.facts.username.clone(), state))
}
