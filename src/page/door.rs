//! The closed door: what is shown to whoever has no session, and asked of him.
//!
//! Rule: it says the same whether a user is unknown or his password wrong.

use axum::{
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use maud::html;

use super::{layout, site::Site};

/// The fields of the form.
pub(super) const NAME_FIELD: &str = "name";
pub(super) const PASSWORD_FIELD: &str = "password";

/// For whoever has no session, or none any more.
pub(super) fn closed(site: &Site) -> Response {
    answer(site, StatusCode::UNAUTHORIZED, "")
}

/// For whoever was not let in.
pub(super) fn answer(site: &Site, status: StatusCode, why: &str) -> Response {
    let asks = site.users.is_some();
    let body = html! {
        @if !why.is_empty() { p.bad role="alert" { (why) } }
        p { "What this page shows is private." }
        @if asks {
            form method="post" action="/enter" {
                p {
                    label for="name" { "Name" }
                    input #name name=(NAME_FIELD) autocomplete="username" autocapitalize="none" spellcheck="false" required;
                }
                p {
                    label for="password" { "Password" }
                    input #password type="password" name=(PASSWORD_FIELD) autocomplete="current-password" required;
                }
                button.main { "Log in" }
            }
            p { "Without a name and password, make a link to it on the relay's host:" }
        } @else {
            p { "On the relay's host, make a link to it:" }
        }
        pre { code { "pillarbox page" } }
        p { "A session lasts twelve hours, and ends when the relay is restarted." }
    };
    let title = if asks { "Log in" } else { "No session" };
    layout::bare(status, title, &body).into_response()
}
