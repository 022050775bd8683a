//! The level of the log, over the API.
//!
//! Rule: as in `server.rs`; the words are of version 1 of the API.

use std::time::Duration;

use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    routing::get,
};
use serde::{Deserialize, Serialize};

use super::{
    api::Kind,
    context::{Json, Refusal, Sources},
};
use crate::{
    clock::Timestamp,
    telemetry::{ASKED_MAX, LEVELS, level_name},
};

/// How long a level is kept when the question does not say.
const ASKED_DEFAULT: Duration = Duration::from_secs(600);

/// `GET` and `POST /v1/log`: how much is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Log {
    /// The time of this answer.
    pub(crate) now: Timestamp,
    /// What is printed now: `error`, `warn`, `info`, `debug` or `trace`.
    pub(crate) level: String,
    /// What the configuration says.
    pub(crate) configured: String,
    /// When it is that again; null when it is.
    pub(crate) until: Option<Timestamp>,
}

/// The query of `POST /v1/log`.
#[derive(Debug, Deserialize)]
struct Asked {
    level: String,
    /// For how long.
    seconds: Option<u64>,
}

pub(super) fn router() -> Router<Sources> {
    Router::new().route("/v1/log", get(show).post(ask))
}

async fn show(State(sources): State<Sources>) -> Json<Log> {
    let now = sources.clock.now();
    let stand = sources.log_level.stand(now);
    Json(Log {
        now: now.wall,
        level: level_name(stand.level).to_owned(),
        configured: level_name(stand.configured).to_owned(),
        until: stand.until,
    })
}

async fn ask(
    State(sources): State<Sources>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Log>, Refusal> {
    let Query(asked) = asked?;
    let known = LEVELS.iter().find(|(name, _)| *name == asked.level);
    let Some((name, level)) = known else {
        let names: Vec<&str> = LEVELS.iter().map(|(name, _)| *name).collect();
        return Err(Refusal::new(
            Kind::BadRequest,
            format!("there is no such level; there are {}", names.join(", ")),
        ));
    };
    let time = asked.seconds.map_or(ASKED_DEFAULT, Duration::from_secs).min(ASKED_MAX);
    sources.log_level.ask(*level, time, sources.clock.now());
    tracing::warn!(
        level = name,
        for_s = time.as_secs(),
        "a person has asked for another level of the log"
    );
    Ok(show(State(sources)).await)
}
