//! The numbers that a page which is open follows: what came in, what is in the queue, how the account is.
//!
//! Rule: whoever asks every other second costs nothing that grows with the queue: the counts by state are those of a walk
//! that is as old as it must be for that. Must not know who follows them.

use axum::{Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};

use super::{
    api::RecipientTotals,
    context::{Json, Refusal, Sources},
    outlook::Age,
};

/// `GET /v1/pulse`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pulse {
    /// Messages that came into the queue since the start of the relay.
    pub(crate) accepted: u64,
    /// Messages that are in the queue.
    pub(crate) messages: u64,
    /// Recipients by state, counted a while ago.
    pub(crate) recipients: RecipientTotals,
    /// The condition of the account, and whether a person has paused it.
    pub(crate) account: String,
}

pub(super) fn router() -> Router<Sources> {
    Router::new().route("/v1/pulse", get(pulse))
}

async fn pulse(State(sources): State<Sources>) -> Result<Json<Pulse>, Refusal> {
    let (_, counted) = sources.counted(Age::Rare).await?;
    let totals = sources.store.totals();
    let (account, now) = (sources.upstream.status().account, sources.clock.wall());
    let paused = if account.pause(now).is_some() { ", paused" } else { "" };
    Ok(Json(Pulse {
        accepted: totals.accepted,
        messages: totals.messages,
        recipients: counted.recipients,
        account: format!("{}{paused}", account.condition.name()),
    }))
}
