//! The order to send nothing for a while, over the API.
//!
//! Rule: as in `server.rs`; the words are of version 1 of the API.

use axum::{
    Router,
    extract::{ConnectInfo, Query, State, rejection::QueryRejection},
    routing::post,
};
use serde::Deserialize;

use super::{
    api::{Account, Kind},
    context::{Json, Refusal, Sources, person},
    of_account::{Each, OfAccount, shown},
    socket::Peer,
};
use crate::{
    addressed::with_account,
    clock::Timestamp,
    queue::pause::{PAUSE_MAX, Pause},
    text,
};

/// The query of `POST /v1/pause`.
#[derive(Debug, Deserialize)]
struct Asked {
    /// Milliseconds since 1970; without it a person ends the pause.
    until: Option<Timestamp>,
    #[serde(default)]
    reason: String,
    /// Of which account; without it of all.
    #[serde(flatten)]
    of: OfAccount,
}

pub(super) fn router() -> Router<Sources> {
    Router::new().route("/v1/pause", post(pause))
}

async fn pause(
    State(sources): State<Sources>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Each<Account>>, Refusal> {
    let Query(Asked { until, reason, of }) = asked?;
    let (first, others) = of.each(&sources)?;
    let now = sources.clock.wall();
    if let Some(until) = until {
        let wrong = match until {
            until if until <= now => "is over already",
            until if until > now.after(PAUSE_MAX) => "is more than a year ahead",
            _ => "",
        };
        if !wrong.is_empty() {
            let words = format!("the end of the pause, {until}, {wrong}; nothing was changed");
            return Err(Refusal::new(Kind::BadRequest, words));
        }
    }
    let order = Pause::new(now, until, text::printable(reason.trim()).as_ref());
    let words = order.words(|at| at.to_string());
    let facts = sources.facts();
    let paused = async |account| {
        let state = sources.upstreams.of(account).pause(order.clone()).await?;
        Ok::<_, Refusal>(shown(&facts, account, state, now))
    };
    let mut all = Each::new(paused(first).await?);
    for account in others {
        all.add(&facts, account, paused(account).await?);
    }
    let by = person(peer).await.unwrap_or_default();
    match of.account.filter(|_| facts.has_several_accounts()) {
        Some(account_name) => {
            let words = with_account(&words, &account_name);
            tracing::warn!(by, account_name, "{words}");
        }
        None => tracing::warn!(by, "{words}"),
    }
    Ok(Json(all))
}
