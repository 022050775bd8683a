//! Links to the page and its sessions, over the API.
//!
//! Rule: a link is given out over the Unix socket alone, to whoever may open that. Must not know what the page shows.

use axum::{
    Router,
    extract::{ConnectInfo, Path, Query, State, rejection::QueryRejection},
    routing::{delete, get, post},
};
use serde::{Deserialize, Serialize};

use super::{
    api::Kind,
    context::{Json, Refusal, Sources, person},
    place::Place,
    sessions::{LINK_LIFETIME, Listed, NoRandomness, Role},
    socket::Peer,
};
use crate::clock::Timestamp;

/// `POST /v1/page/links`: a way in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// To be opened in a browser, once.
    pub(crate) url: String,
    /// For so long.
    pub(crate) until: Timestamp,
}

/// `GET /v1/page/sessions`: who is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PageSessions {
    /// The time of this answer.
    pub(crate) now: Timestamp,
    /// The sessions, the oldest first.
    pub(crate) sessions: Vec<Listed>,
}

/// `DELETE /v1/page/sessions/{number}`: who is out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// The session.
    pub(crate) number: u64,
}

#[derive(Debug, Deserialize)]
struct Asked {
    role: Role,
}

pub(super) fn router() -> Router<Sources> {
    Router::new()
        .route("/v1/page/links", post(invite))
        .route("/v1/page/sessions", get(list))
        .route("/v1/page/sessions/{number}", delete(end))
}

fn place(sources: &Sources) -> Result<&Place, Refusal> {
    let words = "the page is off; set page = \"127.0.0.1:8025\" in [admin] of relay.toml and restart the relay";
    sources.page.as_deref().ok_or_else(|| Refusal::new(Kind::NotFound, words))
}

async fn invite(
    State(sources): State<Sources>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Link>, Refusal> {
    let Query(Asked { role }) = asked?;
    let place = place(&sources)?;
    let person = person(peer).await.unwrap_or_default();
    tracing::info!(person, ?role, "a link to the page was given out");
    let link = link(&sources, place, person, role).map_err(|NoRandomness| {
        Refusal::new(Kind::Unavailable, "this machine has no randomness for a link; try again")
    })?;
    Ok(Json(link))
}

/// A link for this person.
pub(crate) fn link(
    sources: &Sources,
    place: &Place,
    person: String,
    role: Role,
) -> Result<Link, NoRandomness> {
    let now = sources.clock.now();
    let token = sources.sessions.invite(person, role, now)?;
    let url = format!("{}/enter?link={}", place.origin, token.expose());
    Ok(Link { url, until: now.wall.after(LINK_LIFETIME) })
}

async fn list(State(sources): State<Sources>) -> Result<Json<PageSessions>, Refusal> {
    place(&sources)?;
    let now = sources.clock.now();
    Ok(Json(PageSessions { now: now.wall, sessions: sources.sessions.list(now) }))
}

async fn end(
    State(sources): State<Sources>,
    Path(number): Path<u64>,
) -> Result<Json<Ended>, Refusal> {
    place(&sources)?;
    if !sources.sessions.end(number) {
        let words = format!("there is no session {number}; see pillarbox page sessions");
        return Err(Refusal::new(Kind::NotFound, words));
    }
    tracing::info!(number, "a session of the page was ended");
    Ok(Json(Ended { number }))
}
