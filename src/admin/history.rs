//! The history, as the API shows it: messages that have left the queue, the newest first.
//!
//! Rule: as in `listing.rs`, whose pages and searches these are. Must not know how long it is kept.

use axum::{
    Router,
    extract::{ConnectInfo, Path, Query, RawQuery, State, rejection::QueryRejection},
    routing::{get, post},
};
use url::form_urlencoded;

use super::{
    api::{Attempt, Counts, Kind, Message, QueuePage, Resent},
    context::{Json, Refusal, Sources, parse, person},
    counts::Counted,
    listing::{Of, Page},
    queue::{copy, sent_by_hand, target},
    socket::Peer,
    stand,
};
use crate::{
    message::envelope::Envelope,
    queue::{QueueError, QueuedMessage, id::QueueId, ruled::Ruled},
    smtp::address::Address,
};

/// Addresses that a person may name for one message: as many as Gmail takes in one.
const RESEND_RECIPIENTS_MAX: usize = 100;

pub(super) fn router() -> Router<Sources> {
    Router::new()
        .route("/v1/history", get(list))
        .route("/v1/history/counts", get(counts))
        .route("/v1/history/{id}", get(show))
        .route("/v1/history/{id}/resend", post(resend))
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
    let message = finished(&sources, parse(&id)?).await?;
    let situations = stand::situations(&sources).await?;
    let attempts = Attempt::all(&message.record, situations.has_several_accounts());
    Ok(Json(Message { attempts, ..Message::new(message, &situations) }))
}

async fn finished(sources: &Sources, id: QueueId) -> Result<QueuedMessage, Refusal> {
    if let Some(message) = sources.store.finished(id).await? {
        return Ok(message);
    }
    let words = match sources.store.show(id).await? {
        Some(_) => format!("message {id} is still in the queue; see pillarbox queue show {id}"),
        None => format!("there is no message {id} in the history"),
    };
    Err(Refusal::new(Kind::NotFound, words))
}

/// Sends a relayed message once more, whose body is kept: as a new message with an id of its own, to its recipients or to
/// others.
async fn resend(
    State(sources): State<Sources>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Resent>, Refusal> {
    let message = finished(&sources, parse(&id)?).await?;
    let (id, store) = (message.id, &sources.store);
    let to = recipients(query.as_deref().unwrap_or_default(), &message)?;
    let mut reader = match store.read_message(id).await {
        Err(QueueError::NotFound(id)) => {
            let words = format!(
                "the octets of message {id} are not kept; [queue] keep_relayed in relay.toml says for how long they are \
                 after a message was relayed, and it was off, or that time is over, or their room was needed"
            );
            return Err(Refusal::new(Kind::NotFound, words));
        }
        reader => reader?,
    };
    let shown = to.iter().map(ToString::to_string).collect();
    let hostname = &sources.facts().hostname;
    let envelope = sent_by_hand(reader.envelope(), to, hostname, sources.clock.wall());
    let mut draft = store.begin(Envelope { lane: message.record.lane, ..envelope })?;
    draft.resend(id);
    draft.ruled(Ruled { route: message.record.route.clone(), ..Ruled::default() });
    copy(&mut reader, &mut draft).await?;
    let new = store.enqueue(draft).await?.id();
    let by = person(peer).await.unwrap_or_default();
    sources.outlook.outdate();
    tracing::info!(%id, %new, by, "resent");
    Ok(Json(Resent { id, new, to: shown }))
}

/// Those of the query, or those that it went to before.
fn recipients(query: &str, message: &QueuedMessage) -> Result<Vec<Address>, Refusal> {
    let named = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "to");
    let mut to: Vec<Address> = Vec::new();
    for (_, address) in named.take(RESEND_RECIPIENTS_MAX + 1) {
        let address = target(&address)?;
        if !to.contains(&address) {
            to.push(address);
        }
    }
    if to.len() > RESEND_RECIPIENTS_MAX {
        let words = format!("at most {RESEND_RECIPIENTS_MAX} addresses may be named at a time");
        return Err(Refusal::new(Kind::BadRequest, words));
    }
    if to.is_empty() {
        to = message.recipients().iter().map(|recipient| recipient.address.clone()).collect();
    }
    Ok(to)
}
