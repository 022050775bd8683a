//! The way in by a one-time link, and the way out.
//!
//! Rule: a link is used up by a press of a button, not by being fetched: mail scanners and previews fetch what they see.

use axum::{
    extract::{Query, Request, State},
    http::{
        HeaderValue, StatusCode,
        header::{LOCATION, SET_COOKIE},
    },
    response::{IntoResponse as _, Response},
};
use maud::html;
use serde::Deserialize;

use super::{
    layout,
    site::Site,
    visitor::{Fields, Visitor, cookie},
};

/// The field of the link's token.
const LINK_FIELD: &str = "link";

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    link: String,
}

/// `GET /enter`: the button.
pub(super) async fn ask(State(site): State<Site>, Query(asked): Query<Asked>) -> Response {
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
pub(super) async fn enter(State(site): State<Site>, request: Request) -> Response {
    let fields = match Fields::read(request, &site).await {
        Ok(fields) => fields,
        Err(refused) => return refused,
    };
    match site.sessions.enter(fields.get(LINK_FIELD), site.clock.now()) {
        Ok(Some((token, visit))) => {
            tracing::info!(person = visit.person, session = visit.number, "a visitor of the page");
            moved("/", cookie(&site.place, Some(&token)))
        }
        Ok(None) => used_up(),
        Err(_) => {
            let words = "This machine has no randomness for a session just now. Try again.";
            layout::plain(StatusCode::SERVICE_UNAVAILABLE, "Not just now", words).into_response()
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
