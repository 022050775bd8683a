//! The history, as the API shows it: messages that have left the queue, the newest first.
//!
//! Rule: as in `listing.rs`, whose pages and searches these are. Must not know how long it is kept.

use axum::{
    Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    routing::get,
};

use super::{
    api::{Attempt, Counts, Kind, Message, QueuePage},
    context::{Json, Refusal, Sources, parse},
    counts::Counted,
    listing::{Of, Page},
    status,
};

pub(super) fn router() -> Router<Sources> {
    Router::new()
        .route("/v1/history", get(list))
        .route("/v1/history/counts", get(counts))
        .route("/v1/history/{id}", get(show))
}

async fn list(
    State(sources): State<Sources>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<QueuePage>, Refusal> {
    let Query(page) = page?;
    page.answer(&sources, Of::History).await
}

async fn counts(
    State(sources): State<Sources>,
    counted: Result<Query<Counted>, QueryRejection>,
) -> Result<Json<Counts>, Refusal> {
    let Query(counted) = counted?;
    counted.answer(&sources, Of::History).await
}

async fn show(
    State(sources): State<Sources>,
    Path(id): Path<String>,
) -> Result<Json<Message>, Refusal> {
    let id = parse(&id)?;
    let Some(message) = sources.store.finished(id).await? else {
        let words = match sources.store.show(id).await? {
            Some(_) => format!("message {id} is still in the queue; see pillarbox queue show {id}"),
            None => format!("there is no message {id} in the history"),
        };
        return Err(Refusal::new(Kind::NotFound, words));
    };
    let situation = status::situation(&sources).await?;
    let attempts = Attempt::all(&message.record);
    Ok(Json(Message { attempts, ..Message::new(message, &situation) }))
}
