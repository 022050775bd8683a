//! The account: its state and its pauses, and who visits this page.

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header::LOCATION},
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{
    layout,
    site::Site,
    visitor::{self, Form, Visitor},
};
use crate::{
    admin::{
        api::{Account, Status},
        sessions::{Listed, Role, Visit},
    },
    budget::MAIN,
    clock::Timestamp,
    quantities::when,
    wording::status::account,
};

const PATH: &str = "/account";

pub(super) async fn show(State(site): State<Site>, Visitor(visit): Visitor) -> Response {
    match site.client.status().await {
        Ok(status) => {
            let sessions = site.sessions.list(site.clock.now());
            let body = body(&status, &sessions, &visit);
            layout::document(&visit, PATH, "Account", &body).into_response()
        }
        Err(error) => layout::unanswered(&visit, PATH, &error),
    }
}

/// `POST /account`: a pause, its end, or the end of somebody's session.
pub(super) async fn change(State(site): State<Site>, form: Form) -> Response {
    let (by, deed) = (&form.visit.person, form.get("deed"));
    let site = site.asking_for(&form.visit);
    let account = Some(form.get("account")).filter(|name| !name.is_empty());
    let done = match deed {
        "pause" => site.client.pause(None, form.get("reason"), account).await.map(drop),
        "resume" => site.client.resume(account).await.map(drop),
        "end" => {
            if let Ok(number) = form.get("session").parse() {
                site.sessions.end(number);
            }
            Ok(())
        }
        _ => return layout::nothing_here().await,
    };
    tracing::info!(by, deed, "ordered on the page");
    match done {
        Ok(()) => {
            (StatusCode::SEE_OTHER, [(LOCATION, HeaderValue::from_static(PATH))]).into_response()
        }
        Err(error) => layout::unanswered(&form.visit, PATH, &error),
    }
}

fn body(status: &Status, sessions: &[Listed], visit: &Visit) -> Markup {
    html! {
        @if status.others.is_empty() {
            (one(None, &status.upstream, &status.account, status.now, visit))
        } @else {
            h2 { (MAIN) }
            (one(Some(MAIN), &status.upstream, &status.account, status.now, visit))
            @for other in &status.others {
                h2 { (layout::said(&other.name)) }
                (one(Some(&other.name), &other.upstream, &other.account, status.now, visit))
            }
        }
        h2 { "Who visits this page" }
        (visitors(sessions, visit, status.now))
    }
}

/// One account; `name` where there are several.
fn one(
    name: Option<&str>,
    upstream: &str,
    account: &Account,
    now: Timestamp,
    visit: &Visit,
) -> Markup {
    let lines = vec![
        ("upstream", vec![upstream.to_owned()]),
        ("user", account.username.iter().cloned().collect()),
        ("state", self::account(account, name.unwrap_or(MAIN), now)),
    ];
    html! {
        (layout::facts(&lines))
        @if visit.role == Role::Act { (orders(name, account, visit)) }
    }
}

fn orders(name: Option<&str>, account: &Account, visit: &Visit) -> Markup {
    let of = |what: &str| name.map_or_else(|| what.to_owned(), |name| format!("{what} ({name})"));
    html! {
        @if account.pause.is_some() || !account.is_open() {
            form.deeds method="post" action=(PATH) {
                (visitor::token(visit))
                @if let Some(name) = name { input type="hidden" name="account" value=(name); }
                button name="deed" value="resume" { (of("End every pause and try now")) }
            }
        }
        @if account.pause.is_none() {
            form.deeds method="post" action=(PATH) {
                (visitor::token(visit))
                @if let Some(name) = name { input type="hidden" name="account" value=(name); }
                label { (of("Why")) input name="reason" autocomplete="off" maxlength="200"; }
                button name="deed" value="pause" { (of("Send nothing until somebody resumes")) }
            }
        }
    }
}

fn visitors(sessions: &[Listed], visit: &Visit, now: Timestamp) -> Markup {
    html! {
        ul {
            @for session in sessions {
                li {
                    (layout::said(&session.person)) ", since " (when(session.since, now)) ", until " (when(session.until, now))
                    @if session.role == Role::Look { ", may look" }
                    @if session.number == visit.number { ", this session" }
                    @if visit.role == Role::Act && session.number != visit.number {
                        form.inline method="post" action=(PATH) {
                            (visitor::token(visit))
                            input type="hidden" name="session" value=(session.number);
                            button name="deed" value="end" { "End" }
                        }
                    }
                }
            }
        }
    }
}
