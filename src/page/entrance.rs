//! The ways in, by a one-time link or by name and password, and the way out.
//!
//! Rule: a link is used up by a press of a button, not by being fetched: mail scanners and previews fetch what they see.

use std::net::IpAddr;

use axum::{
    extract::{ConnectInfo, Query, Request, State},
    http::{
        HeaderValue, StatusCode,
        header::{LOCATION, SET_COOKIE},
    },
    response::{IntoResponse as _, Response},
};
use maud::html;
use serde::Deserialize;

use super::{
    door::{self, NAME_FIELD, PASSWORD_FIELD},
    layout,
    port::Peer,
    site::Site,
    visitor::{Fields, Visitor, cookie},
};
use crate::{admin::sessions::NoRandomness, listener::users::Known, secret::Secret, text};

/// The field of the link's token.
const LINK_FIELD: &str = "link";

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    link: String,
}

/// `GET /enter`: the button.
pub(super) async fn ask(State(site): State<Site>, Query(asked): Query<Asked>) -> Response {
    if asked.link.is_empty() {
        return door::closed(&site);
    }
    if !site.sessions.is_invited(&asked.link, site.clock.now()) {
        return used_up();
    }
    let body = html! {
        p { "This link opens the page of this relay, once, for twelve hours." }
        form method="post" action="/enter" {
            input type="hidden" name=(LINK_FIELD) value=(asked.link);
            button.main { "Open the page" }
        }
    };
    layout::bare(StatusCode::OK, "Open the page", &body).into_response()
}

/// `POST /enter`: the session.
pub(super) async fn enter(
    State(site): State<Site>,
    ConnectInfo(Peer(address)): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let fields = match Fields::read(request, &site).await {
        Ok(fields) => fields,
        Err(refused) => return refused,
    };
    let now = site.clock.now();
    let entered = match fields.get(LINK_FIELD) {
        "" => match known(&site, address, &fields).await {
            Ok(known) => site.sessions.log_in(known, now).map(Some),
            Err(refused) => return refused,
        },
        link => site.sessions.enter(link, now),
    };
    match entered {
        Ok(Some((token, visit))) => {
            let (person, session) = (text::printable(&visit.person), visit.number);
            tracing::info!(%person, session, role = visit.role.name(), "a visitor of the page");
            moved("/", cookie(&site.place, Some(&token)))
        }
        Ok(None) => used_up(),
        Err(NoRandomness) => {
            let words = "This machine has no randomness for a session just now. Try again.";
            layout::plain(StatusCode::SERVICE_UNAVAILABLE, "Not just now", words).into_response()
        }
    }
}

/// The user whose name and password a form has; guesses take as long as those at the listener.
async fn known(site: &Site, address: IpAddr, fields: &Fields) -> Result<Known, Response> {
    let Some(users) = &site.users else { return Err(door::closed(site)) };
    let Some(attempt) = site.guesses.turn(address).await else {
        let why = "Too many wrong passwords have come from your address. Wait ten minutes, or use a link.";
        return Err(door::answer(site, StatusCode::TOO_MANY_REQUESTS, why));
    };
    let name = fields.get(NAME_FIELD);
    match users.identify(name, &Secret::new(fields.get(PASSWORD_FIELD).to_owned())).await {
        Ok(Some(known)) => Ok(known),
        Ok(None) => {
            tracing::warn!(client = %address, "a wrong name or password for the page");
            site.guesses.refuse(attempt, address).await;
            let why = "The name or the password is wrong.";
            Err(door::answer(site, StatusCode::UNAUTHORIZED, why))
        }
        Err(error) => {
            tracing::error!(%error, "nobody can log in to the page");
            let why = "Nobody can log in just now; the log of the relay says why. A link opens the page all the same.";
            Err(door::answer(site, StatusCode::SERVICE_UNAVAILABLE, why))
        }
    }
}

/// `POST /leave`: the end of the session.
pub(super) async fn leave(
    State(site): State<Site>,
    Visitor(visit): Visitor,
    request: Request,
) -> Response {
    // Who may only look may leave.
    if let Err(refused) = Fields::read(request, &site).await {
        return refused;
    }
    site.sessions.end(visit.number);
    moved("/", cookie(&site.place, None))
}

fn moved(to: &'static str, cookie: HeaderValue) -> Response {
    let head = [(LOCATION, HeaderValue::from_static(to)), (SET_COOKIE, cookie)];
    (StatusCode::SEE_OTHER, head).into_response()
}

fn used_up() -> Response {
    let words = "A link can be used once, within five minutes. On the relay's host, make a new one: pillarbox page";
    layout::plain(StatusCode::GONE, "This link is used up", words).into_response()
}
