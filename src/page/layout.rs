//! The frame of every document: head, navigation, and the pieces that documents share.
//!
//! Rule: every text that is not ours stands in a `bdi`, with what could deceive an eye written out; the template escapes
//! the rest.

use axum::{
    http::StatusCode,
    response::{Html, IntoResponse as _, Response},
};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use crate::{
    admin::{
        client::ClientError,
        sessions::{Role, Visit},
    },
    text,
    wording::Lines,
};

/// The documents with a place in the navigation.
const PLACES: [(&str, &str); 7] = [
    ("/", "Start"),
    ("/queue", "Queue"),
    ("/dead", "Dead letters"),
    ("/history", "History"),
    ("/clients", "Clients"),
    ("/account", "Account"),
    ("/settings", "Settings"),
];

/// A document of a session.
pub(super) fn document(visit: &Visit, path: &str, title: &str, body: &Markup) -> Html<String> {
    let navigation = html! {
        nav aria-label="Parts of the page" {
            ul {
                @for (place, name) in PLACES {
                    li { a href=(place) aria-current=[(place == path).then_some("page")] { (name) } }
                }
            }
        }
        form.leave method="post" action="/leave" {
            span { (said(&visit.person)) @if visit.role == Role::Look { " may look" } }
            button { "Leave" }
        }
    };
    Html(whole(title, &navigation, body))
}

/// A document without a session.
pub(super) fn bare(status: StatusCode, title: &str, body: &Markup) -> (StatusCode, Html<String>) {
    (status, Html(whole(title, &html! {}, body)))
}

/// The same with one text.
pub(super) fn plain(status: StatusCode, title: &str, words: &str) -> (StatusCode, Html<String>) {
    bare(status, title, &html! { p { (said(words)) } })
}

/// For a path that there is not.
pub(super) async fn nothing_here() -> Response {
    plain(StatusCode::NOT_FOUND, "Nothing is here", "See the start page.").into_response()
}

/// For a question that the relay has not answered.
pub(super) fn unanswered(visit: &Visit, path: &str, error: &ClientError) -> Response {
    let status = match error {
        ClientError::Refused(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = html! { p.bad role="alert" { (said(&error.to_string())) } };
    (status, document(visit, path, "The relay says no", &body)).into_response()
}

fn whole(title: &str, navigation: &Markup, body: &Markup) -> String {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " - Pillarbox" }
                link rel="icon" type="image/svg+xml" href=(assets::icon());
                link rel="stylesheet" href=(assets::style());
            }
            body {
                a.skip href="#main" { "To the content" }
                header { a.name href="/" { "Pillarbox" } (navigation) }
                main #main tabindex="-1" { h1 { (title) } (body) }
            }
        }
    };
    document.into_string()
}

/// A text of others, whole and harmless.
pub(super) fn said(words: &str) -> Markup {
    html! { bdi { (text::printable(words)) } }
}

/// Labels with what stands beside them.
pub(super) fn facts(lines: &Lines) -> Markup {
    html! {
        dl {
            @for (label, lines) in lines {
                @if !lines.is_empty() {
                    dt { (label) }
                    @for line in lines { dd { (said(line)) } }
                }
            }
        }
    }
}
