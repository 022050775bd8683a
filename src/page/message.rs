//! One message: its journey, what is known of it besides, and what can be done about it.

use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{
    contents, deeds,
    layout::{self, said, worded},
    resend,
    site::Site,
    visitor::{self, Visitor},
};
use crate::{
    admin::{
        api::Message,
        client::ClientError,
        forecast::Explained,
        sessions::{Role, Visit},
    },
    clock::Timestamp,
    quantities::{local_in_full, relative},
    queue::id::QueueId,
    wording::{
        in_words,
        journey::{Step, journey},
        message::lines,
    },
};

/// Labels of which other parts of the document tell.
const TOLD: [&str; 12] = [
    "accepted",
    "client",
    "size",
    "lane",
    "rule",
    "scheduled",
    "leaves",
    "ended",
    "resend of",
    "notices",
    "attempts",
    "header",
];

pub(super) async fn show(
    State(site): State<Site>,
    Visitor(visit): Visitor,
    Path(id): Path<String>,
) -> Response {
    let Ok(id) = id.parse::<QueueId>() else { return layout::nothing_here().await };
    let client = &site.client;
    let (message, explained, contents) =
        tokio::join!(client.message(id), client.explain(id), client.contents(id));
    match message {
        Ok(message) => {
            let body = html! {
                (body(&message, &explained, &visit, site.clock.wall()))
                (contents::sections(id, &contents))
            };
            let title = format!("Message {id}");
            layout::document(&visit, "", &title, &body).into_response()
        }
        Err(error) => layout::unanswered(&visit, "", &error),
    }
}

fn body(
    message: &Message,
    explained: &Result<Explained, ClientError>,
    visit: &Visit,
    now: Timestamp,
) -> Markup {
    let mut facts = lines(message, now);
    facts.retain(|(label, _)| !TOLD.contains(label));
    html! {
        p.standing { (worded(&in_words(message, now))) }
        @if visit.role == Role::Act && message.end.is_none() {
            form.deeds method="post" action="/deeds" {
                (visitor::token(visit))
                input type="hidden" name="id" value=(message.id);
                (deeds::buttons())
            }
        }
        (resend::form(message, visit))
        (layout::facts(&facts))
        section aria-labelledby="journey" {
            h2 #journey { "Its journey" }
            @if let Err(error) = explained { p.bad role="alert" { (worded(&error.to_string())) } }
            ol.journey {
                @for step in journey(message, explained.as_ref().ok(), now) { (shown(&step, now)) }
            }
        }
    }
}

fn shown(step: &Step, now: Timestamp) -> Markup {
    html! {
        li.future[step.is_to_come] {
            p.what {
                @if let Some(at) = step.at {
                    time { (local_in_full(at)) } " (" (relative(at, now)) ") "
                } @else if step.is_to_come {
                    "To come: "
                }
                (worded(&step.what))
                @if let Some(other) = step.other { " " a href={ "/messages/" (other) } { code { (other) } } }
            }
            @if let Some(reply) = &step.reply { blockquote { (said(reply)) } }
            @if step.lines.iter().any(|(_, lines)| !lines.is_empty()) { (layout::facts(&step.lines)) }
        }
    }
}
