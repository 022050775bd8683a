//! The API: one router over the Unix socket, and a smaller one over the TCP port.
//!
//! Rule: every answer is JSON of `api.rs`, also a refusal; whoever may open the socket may do
//! everything. Must not know how commands print.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, Query, Request, State, rejection::QueryRejection},
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;

use super::{
    api::{
        Account, Budget, Client, Clients, Deleted, Kind, Message, Origin, PAGE_DEFAULT, PAGE_MAX,
        Queue, QueuePage, Refused, Retried, Status,
    },
    dead, health,
    http::Port,
    json::Json,
    metrics,
    outlook::{self, Outlook, Stand},
    socket::Socket,
    survey::{MESSAGES_MAX, Survey},
};
use crate::{
    budget::Limit,
    clock::{Clock, Moment},
    delivery::{PoolHandle, PoolStatus},
    listener,
    queue::{
        id::QueueId,
        only::Only,
        state::AccountState,
        store::{LIST_RECIPIENTS_MAX, QueuedMessage, Store, StoreError},
        waiting::Situation,
        walk::Walk,
    },
    shutdown::{Phase, Watch},
    tasks::Mishaps,
};

/// How long one answer may take; a queue that takes longer is in trouble, and says so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// No request of version 1 has a body.
const REQUEST_BODY_MAX: usize = 1024;

/// What the API asks of the delivery half.
#[async_trait]
pub trait Upstream: Send + Sync + fmt::Debug {
    /// The account, what is in flight, what was said last.
    fn status(&self) -> PoolStatus;

    /// Ends every pause of the account; returns what it is then.
    async fn resume(&self) -> AccountState;
}

#[async_trait]
impl Upstream for PoolHandle {
    fn status(&self) -> PoolStatus {
        Self::status(self)
    }

    async fn resume(&self) -> AccountState {
        Self::resume(self).await
    }
}

/// What does not change while the daemon runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When the daemon started.
    pub started: Moment,
    /// Where it takes mail.
    pub listening: Vec<SocketAddr>,
    /// Where it takes mail of this host's programs.
    pub local_socket: Option<PathBuf>,
    /// Host and port it relays to.
    pub upstream: String,
    /// The name of this host.
    pub hostname: String,
    /// The account's user name.
    pub username: Option<String>,
    /// The account's limit of recipients in 24 hours.
    pub recipients_per_day: Limit,
    /// What of it is left to the owner.
    pub owner_reserve: u32,
    /// What of the rest only our own notices may spend.
    pub notice_reserve: u32,
    /// What of the rest only urgent mail may spend.
    pub urgent_reserve: u32,
    /// Where the queue puts damaged files.
    pub damaged: PathBuf,
    /// Octets of the largest message that ought to find room: when it does not, the relay is not ready.
    pub largest_message: u64,
}

impl Facts {
    /// What the relay may spend.
    #[must_use]
    pub fn limit(&self) -> Limit {
        self.recipients_per_day.less(self.owner_reserve)
    }
}

/// Everything the API answers from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The queue.
    pub store: Arc<dyn Store>,
    /// The delivery half.
    pub upstream: Arc<dyn Upstream>,
    /// Who has been at the door.
    pub clients: Arc<listener::clients::Clients>,
    /// What lies in the drop directory.
    pub dropped: Option<Arc<listener::dropped::Tally>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The order to stop.
    pub stop: Watch,
    /// Tasks of the relay that have failed.
    pub mishaps: Mishaps,
    /// What the last walks through the queue have found.
    pub outlook: Arc<Outlook>,
    /// The rest.
    pub facts: Arc<Facts>,
}

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

/// Which page of the queue.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) after: Option<QueueId>,
    pub(super) until: Option<QueueId>,
    pub(super) limit: Option<usize>,
}

impl Page {
    /// How many messages it may have.
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
    }

    /// The walk of which it is the next step.
    pub(super) async fn walk(&self, store: &dyn Store) -> Result<Walk, StoreError> {
        let until = match self.until {
            Some(id) => Some(id),
            None => store.newest().await?,
        };
        Ok(Walk::between(self.after, until))
    }
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

/// A page of a walk that was asked for with `limit`: a full one may have a next, and so has one that was cut for the
/// number of its recipients, unless the walk ends with it.
pub(super) fn page_of(
    messages: Vec<QueuedMessage>,
    limit: usize,
    mut walk: Walk,
    situation: &Situation,
) -> QueuePage {
    let recipients: usize = messages.iter().map(|message| message.recipients().len()).sum();
    let is_cut = messages.len() == limit || recipients >= LIST_RECIPIENTS_MAX;
    let messages: Vec<Message> =
        walk.take(messages).into_iter().map(|message| Message::new(message, situation)).collect();
    let next = walk.after().filter(|_| is_cut && !walk.is_over());
    QueuePage { messages, next, until: walk.until() }
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

pub(super) fn parse(id: &str) -> Result<QueueId, Refusal> {
    id.parse().map_err(|error| Refusal::new(Kind::BadRequest, format!("{id:?} is {error}")))
}

/// An answer that is not a success.
#[derive(Debug)]
pub(super) struct Refusal(Refused);

impl Refusal {
    pub(super) fn new(error: Kind, message: impl Into<String>) -> Self {
        Self(Refused { error, message: message.into() })
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::Full(_) | StoreError::Unavailable(_) => Kind::Unavailable,
            StoreError::Corrupt { .. } => Kind::Corrupt,
            StoreError::NotFound(_) => Kind::NotFound,
            StoreError::Conflict(_) | StoreError::AlreadyKnown(_) => Kind::Conflict,
            StoreError::OtherState(_) => Kind::OtherState,
        };
        Self::new(kind, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.0.error {
            Kind::BadRequest => StatusCode::BAD_REQUEST,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Conflict | Kind::OtherState => StatusCode::CONFLICT,
            Kind::Corrupt => StatusCode::GONE,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(self.0)).into_response()
    }
}
