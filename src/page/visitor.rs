//! The visitor of a request: his session's cookie, and the forms that he sends.
//!
//! Rule: a form counts only with the token of the session that it was made for, and from the page itself; whatever
//! another site lets a browser send has neither.

use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{COOKIE, ORIGIN},
        request::Parts,
    },
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};
use url::form_urlencoded;

use super::{
    door,
    guard::only,
    layout,
    site::{FORM_BYTES_MAX, Site},
};
use crate::{
    admin::{
        place::Place,
        sessions::{Role, SESSION_LIFETIME, Visit},
    },
    secret::Secret,
};

/// The field of a form that has the session's token.
const TOKEN_FIELD: &str = "token";

/// A session.
#[derive(Debug)]
pub(super) struct Visitor(pub(super) Visit);

impl FromRequestParts<Site> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Response> {
        of(&parts.headers, site).await.map(Self).ok_or_else(|| door::closed(site))
    }
}

/// A form that a session has sent, and may send.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) visit: Visit,
    fields: Fields,
}

impl FromRequest<Site> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, site: &Site) -> Result<Self, Response> {
        let visit = of(request.headers(), site).await;
        let fields = Fields::read(request, site).await?;
        let visit = visit.ok_or_else(|| door::closed(site))?;
        if !visit.is_its_form(fields.get(TOKEN_FIELD)) {
            let words =
                "It was made for another session. Go back, load the page again, and try once more.";
            return Err(refused("This form is not of this session", words));
        }
        if visit.role != Role::Act {
            let words = if visit.known.is_some() {
                "Its user was added with --look. pillarbox user add --admin gives a user the right to act."
            } else {
                "Its link was made with --look. pillarbox page makes one that may act."
            };
            return Err(refused("This session may only look", words));
        }
        Ok(Self { visit, fields })
    }
}

impl Form {
    /// The value of a field; empty without one.
    pub(super) fn get(&self, name: &str) -> &str {
        self.fields.get(name)
    }

    /// All values of a field.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The fields of a form that comes from the page itself.
#[derive(Debug)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads them.
    pub(super) async fn read(request: Request, site: &Site) -> Result<Self, Response> {
        let origin = only(request.headers(), &ORIGIN);
        if !origin.is_some_and(|origin| site.place.is_own_origin(origin)) {
            let words =
                "Another site has made your browser send it, or a program did. Nothing was done.";
            return Err(refused("This form does not come from this page", words));
        }
        let body = to_bytes(request.into_body(), FORM_BYTES_MAX).await;
        let body = body.map_err(|_| {
            let words = "Choose fewer messages, or all that a search finds.";
            layout::plain(StatusCode::PAYLOAD_TOO_LARGE, "The form is too long", words)
                .into_response()
        })?;
        Ok(Self(form_urlencoded::parse(&body).into_owned().collect()))
    }

    /// The value of a field; empty without one.
    pub(super) fn get(&self, name: &str) -> &str {
        let field = self.0.iter().find(|(key, _)| key == name);
        field.map_or("", |(_, value)| value.as_str())
    }
}

fn refused(title: &str, words: &str) -> Response {
    layout::plain(StatusCode::FORBIDDEN, title, words).into_response()
}

/// The session that the cookie of a request names. That of a user who has been removed, or has another password or
/// other rights by now, is over.
async fn of(headers: &HeaderMap, site: &Site) -> Option<Visit> {
    let visit = named(headers, site)?;
    let (Some(users), Some(known)) = (&site.users, &visit.known) else { return Some(visit) };
    if users.still_has(known).await {
        return Some(visit);
    }
    site.sessions.end(visit.number);
    tracing::info!(person = visit.person, session = visit.number, "a session ended with its user");
    None
}

fn named(headers: &HeaderMap, site: &Site) -> Option<Visit> {
    let name = cookie_name(&site.place);
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| {
        pair.trim().split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value)
    });
    let now = site.clock.now();
    // A cookie of another program on this host may have the same name.
    let visit = pairs.filter_map(|token| site.sessions.visit(token, now)).next();
    visit.map(|visit| Visit { sees_hosts: site.has_fleet, ..visit })
}

fn cookie_name(place: &Place) -> &'static str {
    // A browser takes this name over TLS alone, and from this host alone.
    if place.is_encrypted { "__Host-pillarbox" } else { "pillarbox" }
}

/// The cookie of a new session, or one that removes it.
pub(super) fn cookie(place: &Place, token: Option<&Secret>) -> HeaderValue {
    let seconds = token.map_or(0, |_| SESSION_LIFETIME.as_secs());
    let value = token.map_or("", Secret::expose);
    let secure = if place.is_encrypted { "; Secure" } else { "" };
    let name = cookie_name(place);
    let cookie =
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    let mut cookie = HeaderValue::from_str(&cookie).unwrap_or(HeaderValue::from_static(""));
    cookie.set_sensitive(true);
    cookie
}

/// What a form of this session has to say.
pub(super) fn token(visit: &Visit) -> Markup {
    html! { input type="hidden" name=(TOKEN_FIELD) value=(visit.form_token.expose()); }
}
