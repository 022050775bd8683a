//! The numbers that a page which is open follows: what came in, what is in the queue, how the account is.
//!
//! Rule: whoever asks every other second costs nothing that grows with the queue: the counts by state are those of a walk
//! that is as old as it must be for that. Must not know who follows them.

use axum::{Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};

use super::{
    accounts::Upstream,
    api::RecipientTotals,
    context::{Json, Refusal, Sources},
    outlook::Age,
};
use crate::budget::AccountKey;

/// `GET /v1/pulse`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pulse {
    /// Messages that came into the queue since the start of the relay.
    pub(crate) accepted: u64,
    /// Messages that are in the queue.
    pub(crate) messages: u64,
    /// Recipients by state, counted a while ago.
    pub(crate) recipients: RecipientTotals,
    /// The condition of the account, and whether a person has paused it; of several, those of all with their names.
    pub(crate) account: String,
}

pub(super) fn router() -> Router<Sources> {
    Router::new().route("/v1/pulse", get(pulse))
}

async fn pulse(State(sources): State<Sources>) -> Result<Json<Pulse>, Refusal> {
    let (_, counted) = sources.counted(Age::Rare).await?;
    let totals = sources.store.totals();
    let (facts, now) = (sources.facts(), sources.clock.wall());
    let account = |(key, upstream): (AccountKey, &dyn Upstream)| {
        let state = upstream.status().account;
        let paused = if state.pause(now).is_some() { ", paused" } else { "" };
        let name = facts.name(key).map_or_else(String::new, |name| format!("{name} "));
        format!("{name}{}{paused}", state.condition.name())
    };
    let accounts: Vec<String> = sources.upstreams.all().map(account).collect();
    Ok(Json(Pulse {
        accepted: totals.accepted,
        messages: totals.messages,
        recipients: counted.recipients,
        account: accounts.join("; "),
    }))
}
