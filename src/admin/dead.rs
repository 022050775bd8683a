//! The part of the API about dead letters.
//!
//! Rule: as in `server.rs`: every answer is JSON of `api.rs`. Must not know what a notice is.

use axum::{
    Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};

use super::{
    api::{Kind, QueuePage},
    context::{Page, Refusal, Sources, page_of, parse},
    json::Json,
    outlook, redirect,
};
use crate::{
    queue::{id::QueueId, store::StoreError},
    smtp::address::Address,
};

/// `POST /v1/dead/{id}/redirect?to=ADDRESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirected {
    /// The dead letter, which is gone.
    pub id: QueueId,
    /// The message that went in its place.
    pub new: QueueId,
}

pub(super) fn router() -> Router<Sources> {
    Router::new().route("/v1/dead", get(list)).route("/v1/dead/{id}/redirect", post(redirect))
}

async fn list(
    State(sources): State<Sources>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<QueuePage>, Refusal> {
    let Query(page) = page.map_err(|error| Refusal::new(Kind::BadRequest, error.body_text()))?;
    let walk = page.walk(&*sources.store).await?;
    let situation = outlook::situation(&sources).await?;
    let messages = sources.store.dead(page.after, page.limit()).await?;
    Ok(Json(page_of(messages, page.limit(), walk, &situation)))
}

/// Where a dead letter goes instead.
#[derive(Debug, Deserialize)]
struct Target {
    to: String,
}

async fn redirect(
    State(sources): State<Sources>,
    Path(id): Path<String>,
    target: Result<Query<Target>, QueryRejection>,
) -> Result<Json<Redirected>, Refusal> {
    let id = parse(&id)?;
    let Query(Target { to }) =
        target.map_err(|error| Refusal::new(Kind::BadRequest, error.body_text()))?;
    let no_address = |reason: String| {
        Refusal::new(Kind::BadRequest, format!("{to:?} is not an address: {reason}"))
    };
    let address: Address = to.parse().map_err(|error| no_address(format!("{error}")))?;
    if address.domain().is_none() {
        return Err(no_address("it has no domain".to_owned()));
    }
    let now = sources.clock.wall();
    let answer =
        redirect::redirect(&*sources.store, id, address, &sources.facts.hostname, now).await;
    let new = answer.map_err(|error| match error {
        StoreError::NotFound(id) => {
            Refusal::new(Kind::NotFound, format!("there is no dead letter {id}; see pillarbox dead list"))
        }
        StoreError::Conflict(id) => Refusal::new(
            Kind::Conflict,
            format!(
                "message {id} is still being tried for other recipients; redirect it when they are done, or \
                 delete it"
            ),
        ),
        error => error.into(),
    })?;
    tracing::info!(%id, new = %new, %to, "redirected");
    Ok(Json(Redirected { id, new }))
}
