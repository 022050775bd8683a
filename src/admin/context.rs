//! The common ground of the API's handlers: what they answer from, pages of messages, and refusals.
//!
//! Rule: as in `server.rs`: every answer is JSON of `api.rs`, also a refusal. Must not know the paths.

use std::{borrow::Cow, fmt, net::SocketAddr, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use axum::{
    extract::rejection::QueryRejection,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    alert::{outputs, post::Post},
    api::{Kind, Refused},
    checkups::Checkups,
    configured::Configured,
    outlook::{Age, Outlook, QueueSummary},
    place::Place,
    reload::Reloader,
    sessions::Sessions,
    socket::Peer,
    weekly::memory::Reports,
};
use crate::{
    budget::{AccountKey, Limit},
    clock::{Clock, Moment, Timestamp},
    delivery::{PoolHandle, PoolStatus, inspection::LoginProof},
    listener::{self, options::Network},
    live::Live,
    passwd,
    queue::{
        ClaimLimits, Queue, QueueError, id::QueueId, pause::Pause, search::SearchError,
        spool_file::MessageReader, state::AccountState,
    },
    rules::Rules,
    shutdown::Watch,
    tasks::Mishaps,
    telemetry::LogLevel,
    text,
};

/// What the API asks of the delivery half.
#[async_trait]
pub(crate) trait Upstream: Send + Sync + fmt::Debug {
    /// The account, what is in flight, what was said last.
    fn status(&self) -> PoolStatus;

    /// On what terms mail is claimed, and at how many recipients a minute; 0 does not pace.
    fn pacing(&self) -> (ClaimLimits, u32);

    /// Ends every pause of the account; returns what it is then.
    async fn resume(&self) -> AccountState;

    /// Begins a pause that a person orders.
    async fn pause(&self, pause: Pause) -> Result<AccountState, QueueError>;

    /// Makes the reader of a message give the octets that an attempt of this moment would send, and says what was edited.
    fn rewrite_as_sent(
        &self,
        id: QueueId,
        accepted_at: Timestamp,
        reader: &mut MessageReader,
    ) -> Result<String, QueueError>;

    /// Logs in once and sends nothing.
    async fn prove_login(&self) -> LoginProof;
}

#[async_trait]
impl Upstream for PoolHandle {
    fn status(&self) -> PoolStatus {
        Self::status(self)
    }

    fn pacing(&self) -> (ClaimLimits, u32) {
        Self::pacing(self)
    }

    async fn resume(&self) -> AccountState {
        Self::resume(self).await
    }

    async fn pause(&self, pause: Pause) -> Result<AccountState, QueueError> {
        Self::pause(self, pause).await
    }

    fn rewrite_as_sent(
        &self,
        id: QueueId,
        accepted_at: Timestamp,
        reader: &mut MessageReader,
    ) -> Result<String, QueueError> {
        Self::rewrite_as_sent(self, id, accepted_at, reader)
    }

    async fn prove_login(&self) -> LoginProof {
        Self::prove_login(self).await
    }
}

/// What does not change while the daemon runs.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// When the daemon started.
    pub(crate) started: Moment,
    /// Where it takes mail.
    pub(crate) listening: Vec<SocketAddr>,
    /// Where it takes mail of this host's programs.
    pub(crate) local_socket: Option<PathBuf>,
    /// Host and port it relays to.
    pub(crate) upstream: String,
    /// The name of this host.
    pub(crate) hostname: String,
    /// The account's user name.
    pub(crate) username: Option<String>,
    /// The account's limit of recipients in 24 hours.
    pub(crate) recipients_per_day: Limit,
    /// What the clients of which network may do.
    pub(crate) networks: Arc<[Network]>,
    /// What becomes of which messages.
    pub(crate) rules: Arc<Rules>,
    /// What of it is left to the owner.
    pub(crate) owner_reserve: u32,
    /// What of the rest only our own notices may spend.
    pub(crate) notice_reserve: u32,
    /// What of the rest only urgent mail may spend.
    pub(crate) urgent_reserve: u32,
    /// Where the queue puts damaged files.
    pub(crate) damaged: PathBuf,
    /// The configuration that holds, to be shown.
    pub(crate) configured: Arc<Configured>,
    /// Octets of the largest message that ought to find room: when it does not, the relay is not ready.
    pub(crate) largest_message: u64,
}

impl Facts {
    /// What the relay may spend.
    #[must_use]
    pub(crate) fn limit(&self) -> Limit {
        self.recipients_per_day.less(self.owner_reserve)
    }

    /// Who may spend how much of it.
    #[must_use]
    pub(crate) fn claim_limits(&self) -> ClaimLimits {
        ClaimLimits {
            account: AccountKey::MAIN,
            limit: self.limit(),
            notice_reserve: self.notice_reserve,
            urgent_reserve: self.urgent_reserve,
            recipients_max: u32::MAX,
        }
    }
}

/// Everything the API answers from.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// The queue.
    pub(crate) store: Arc<Queue>,
    /// The delivery half.
    pub(crate) upstream: Arc<dyn Upstream>,
    /// Who has been at the door.
    pub(crate) clients: Arc<listener::client_stats::Clients>,
    /// What lies in the drop directory.
    pub(crate) dropped: Option<Arc<listener::drop_directory::Tally>>,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// The order to stop.
    pub(crate) stop: Watch,
    /// Tasks of the relay that have failed.
    pub(crate) mishaps: Mishaps,
    /// What the last walks through the queue have found.
    pub(crate) outlook: Arc<Outlook>,
    /// The weekly reports.
    pub(crate) reports: Arc<Reports>,
    /// The diagnoses of itself.
    pub(crate) checkups: Arc<Checkups>,
    /// How much is logged.
    pub(crate) log_level: LogLevel,
    /// The rest.
    pub(crate) facts: Live<Facts>,
    /// Who reads the configuration anew.
    pub(crate) reloader: Reloader,
    /// Who is told without mail.
    pub(crate) alert: Live<outputs::Options>,
    /// What waits for them.
    pub(crate) post: Arc<Post>,
    /// Where the page is; `None` without one.
    pub(crate) page: Option<Arc<Place>>,
    /// Who visits it.
    pub(crate) sessions: Arc<Sessions>,
}

impl Sources {
    /// What does not change while the daemon runs, but by a new configuration.
    pub(crate) fn facts(&self) -> Arc<Facts> {
        self.facts.get()
    }

    /// When the queue was counted, and what was found; it is counted now where that was too long ago.
    pub(crate) async fn counted(
        &self,
        age: Age,
    ) -> Result<(Timestamp, Arc<QueueSummary>), QueueError> {
        self.outlook.of(&self.store, self.clock.as_ref(), age).await
    }
}

/// Who asks, in words that last longer than the user may.
pub(super) async fn person(peer: Peer) -> Option<String> {
    if let Some(visitor) = peer.visitor {
        return Some(visitor.to_string());
    }
    let user = passwd::named(peer.uid, None).await;
    Some(match user.name {
        Some(name) => format!("{name} (user {})", user.uid),
        None => format!("user {}", user.uid),
    })
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

impl From<QueryRejection> for Refusal {
    fn from(error: QueryRejection) -> Self {
        Self::new(Kind::BadRequest, error.body_text())
    }
}

impl From<SearchError> for Refusal {
    fn from(error: SearchError) -> Self {
        Self::new(Kind::BadRequest, error.to_string())
    }
}

impl From<QueueError> for Refusal {
    fn from(error: QueueError) -> Self {
        let kind = match &error {
            QueueError::Full(_) | QueueError::Unavailable(_) => Kind::Unavailable,
            QueueError::Corrupt { .. } => Kind::Corrupt,
            QueueError::NotFound(_) => Kind::NotFound,
            QueueError::Conflict(_) | QueueError::AlreadyKnown(_) => Kind::Conflict,
            QueueError::OtherState(_) => Kind::OtherState,
        };
        Self::new(kind, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.0.error {
            Kind::BadRequest => StatusCode::BAD_REQUEST,
            Kind::Configuration => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::Conflict | Kind::OtherState => StatusCode::CONFLICT,
            Kind::Corrupt => StatusCode::GONE,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(self.0)).into_response()
    }
}

/// A value as the body of an answer.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_string(&self.0) {
            Ok(json) => {
                let body = match text::printable_json(&json) {
                    Cow::Borrowed(_) => json,
                    Cow::Owned(shown) => shown,
                };
                ([(CONTENT_TYPE, "application/json")], body).into_response()
            }
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}
