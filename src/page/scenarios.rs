//! The trouble that a visitor of the sandbox's page may order, to see what the relay makes of it.
//!
//! Rule: it is there only where the upstream is the look-alike that this process runs itself, and is a deed like any other.
//! Must not know what a scenario does.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header::LOCATION},
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};
use tokio::task::spawn_blocking;

use super::{
    layout::{self, worded},
    rehearsal::{Rehearsal, Stage},
    site::Site,
    visitor::{self, Form, Visitor},
};
use crate::{
    admin::sessions::{Role, Visit},
    sandbox::Scenario,
};

const PATH: &str = "/scenarios";
/// Messages that are sent for each: those that fit into the day of `daily-limit`, and one more.
const MESSAGES: usize = 3;
/// What the button that ends them all says in the form.
const GOOD_DAY: &str = "good-day";

pub(super) async fn show(State(site): State<Site>, Visitor(visit): Visitor) -> Response {
    match site.stage.get() {
        Some(rehearsal) => {
            layout::document(&visit, PATH, "Scenarios", &body(rehearsal, &visit)).into_response()
        }
        None => layout::nothing_here().await,
    }
}

/// `POST /scenarios`: the look-alike plays it from now on, every pause ends, and some mail is sent.
pub(super) async fn play(State(site): State<Site>, form: Form) -> Response {
    let Some(rehearsal) = site.stage.get() else { return layout::nothing_here().await };
    let name = form.get("scenario");
    let mut known = rehearsal.director.scenarios();
    let scenario = known.find(|scenario| scenario.name == name);
    if scenario.is_none() && name != GOOD_DAY {
        return layout::nothing_here().await;
    }
    rehearsal.director.play(scenario);
    tracing::info!(by = form.visit.person, scenario = name, "ordered on the page");
    let resumed = site.asking_for(&form.visit).client.resume(None).await;
    if let Err(error) = resumed {
        return layout::unanswered(&form.visit, PATH, &error);
    }
    let stage = Arc::clone(&site.stage);
    let sent = spawn_blocking(move || {
        stage.get().map_or(Ok(()), |rehearsal| (0..MESSAGES).try_for_each(|_| (rehearsal.send)()))
    });
    match sent.await {
        Ok(Ok(())) => {
            (StatusCode::SEE_OTHER, [(LOCATION, HeaderValue::from_static("/"))]).into_response()
        }
        Ok(Err(words)) => {
            let body = html! { p.bad role="alert" { (worded(&words)) } };
            layout::document(&form.visit, PATH, "No message was sent", &body).into_response()
        }
        // It has panicked, of which the log tells.
        Err(_) => layout::nothing_here().await,
    }
}

fn body(rehearsal: &Rehearsal, visit: &Visit) -> Markup {
    let playing = rehearsal.director.playing();
    html! {
        p {
            "What Gmail, the network or the account can do. The look-alike plays what you press from then on; every pause ends, and \
             3 messages to 2 recipients each are sent. Then look at the start."
        }
        (told_of(playing))
        form method="post" action=(PATH) {
            (visitor::token(visit))
            @if visit.role == Role::Act {
                p { button.main name="scenario" value=(GOOD_DAY) { "A good day" } " All goes well." }
            }
            dl.scenarios {
                @for scenario in rehearsal.director.scenarios() {
                    dt {
                        @if visit.role == Role::Act {
                            button name="scenario" value=(scenario.name) { (scenario.name) }
                        } @else {
                            (scenario.name)
                        }
                    }
                    dd { (scenario.shows) }
                }
            }
        }
        p.small {
            "Some need another start, because the relay logs in otherwise or the look-alike has another certificate: "
            code { "pillarbox sandbox --scenario list" }
        }
    }
}

/// For the start: that this is the sandbox, and what is played.
pub(super) fn hint(stage: &Stage) -> Markup {
    html! {
        @if let Some(rehearsal) = stage.get() {
            section aria-label="Scenario" {
                p.small { "This is the sandbox: nothing leaves this machine. " a href=(PATH) { "Play a scenario" } }
                (told_of(rehearsal.director.playing()))
            }
        }
    }
}

fn told_of(playing: Option<&Scenario>) -> Markup {
    html! {
        @if let Some(scenario) = playing {
            p { strong { (scenario.name) } " is played: " (worded(scenario.happens)) }
            p { "What to watch for: " (worded(scenario.watch)) }
        }
    }
}
