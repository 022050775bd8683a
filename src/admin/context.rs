//! The common ground of the API's handlers: what they answer from, pages of messages, and refusals.
//!
//! Rule: as in `server.rs`: every answer is JSON of `api.rs`, also a refusal. Must not know the paths.

use std::{borrow::Cow, net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{
    extract::rejection::QueryRejection,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    accounts::{AccountFacts, Upstream, Upstreams},
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
    budget::AccountKey,
    clock::{Clock, Moment, Timestamp},
    fleet::Fleet,
    listener::{self, options::Network},
    live::Live,
    passwd,
    queue::{Queue, QueueError, id::QueueId, record::MessageRecord, search::SearchError, way::Way},
    rules::Rules,
    shutdown::Watch,
    tasks::Mishaps,
    telemetry::LogLevel,
    text,
};

/// What the account is called where there is only one.
pub(super) const ACCOUNT: &str = "the account";

/// What does not change while the daemon runs.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// When the daemon started.
    pub(crate) started: Moment,
    /// Where it takes mail.
    pub(crate) listening: Vec<SocketAddr>,
    /// Where it takes mail of this host's programs.
    pub(crate) local_socket: Option<PathBuf>,
    /// The accounts it relays by, the main one first.
    pub(crate) accounts: Vec<AccountFacts>,
    /// The name of this host.
    pub(crate) hostname: String,
    /// What the clients of which network may do.
    pub(crate) networks: Arc<[Network]>,
    /// What becomes of which messages.
    pub(crate) rules: Arc<Rules>,
    /// Where the queue puts damaged files.
    pub(crate) damaged: PathBuf,
    /// The configuration that holds, to be shown.
    pub(crate) configured: Arc<Configured>,
    /// Octets of the largest message that ought to find room: when it does not, the relay is not ready.
    pub(crate) largest_message: u64,
}

impl Facts {
    /// The account of `[upstream]`.
    #[must_use]
    pub(crate) fn main(&self) -> &AccountFacts {
        self.of(AccountKey::MAIN)
    }

    /// One of the accounts that the relay runs.
    #[must_use]
    pub(crate) fn of(&self, account: AccountKey) -> &AccountFacts {
        let found = self.accounts.iter().find(|facts| facts.limits.account == account);
        found.unwrap_or(&self.accounts[0])
    }

    /// The account with this name.
    pub(super) fn named(&self, name: &str) -> Result<AccountKey, Refusal> {
        let found = self.accounts.iter().find(|facts| &*facts.name == name);
        found.map(AccountFacts::key).ok_or_else(|| {
            let names: Vec<&str> = self.accounts.iter().map(|facts| &*facts.name).collect();
            let words =
                format!("there is no account called {name:?}; there is {}", names.join(", "));
            Refusal::new(Kind::NotFound, words)
        })
    }

    /// What an account is called in a sentence.
    pub(crate) fn called(&self, account: AccountKey) -> String {
        self.name(account).map_or_else(|| ACCOUNT.to_owned(), |name| format!("the account {name}"))
    }

    /// The name of an account, where there are several.
    pub(crate) fn name(&self, account: AccountKey) -> Option<Arc<str>> {
        self.has_several_accounts().then(|| Arc::clone(&self.of(account).name))
    }

    /// Whether there is more than one account, so that each is called by its name.
    #[must_use]
    pub(crate) fn has_several_accounts(&self) -> bool {
        self.accounts.len() > 1
    }
}

/// Everything the API answers from.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// The queue.
    pub(crate) store: Arc<Queue>,
    /// The delivery half.
    pub(crate) upstreams: Upstreams,
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
    /// The other hosts; `None` where this one counts alone.
    pub(crate) fleet: Option<Arc<Fleet>>,
}

impl Sources {
    /// What does not change while the daemon runs, but by a new configuration.
    pub(crate) fn facts(&self) -> Arc<Facts> {
        self.facts.get()
    }

    /// The delivery half that has a message at the moment.
    pub(super) async fn upstream_of(
        &self,
        record: &MessageRecord,
    ) -> Result<&dyn Upstream, QueueError> {
        let served_by = self.store.served_by(self.clock.now()).await?;
        Ok(self.upstreams.of(served_by.account_of(Way::of(record))))
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
            QueueError::Full(_) | QueueError::Drained(_) | QueueError::Unavailable(_) => {
                Kind::Unavailable
            }
            QueueError::Corrupt { .. } => Kind::Corrupt,
            QueueError::NotFound(_) => Kind::NotFound,
            QueueError::Conflict(_) | QueueError::AlreadyKnown(_) => Kind::Conflict,
            QueueError::OtherState(_) => Kind::OtherState,
            QueueError::NotAlone { .. } => Kind::BadRequest,
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
