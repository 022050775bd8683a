//! One message: what is known of it, why it waits and when it leaves, and what can be done about it.

use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{
    deeds,
    layout::{self, said},
    resend,
    site::Site,
    visitor::{self, Visitor},
};
use crate::{
    admin::{
        api::Message,
        sessions::{Role, Visit},
    },
    clock::Timestamp,
    queue::id::QueueId,
    wording::{Lines, in_words, message::lines},
};

/// A label with its own place.
const HEADER: &str = "header";

pub(super) async fn show(
    State(site): State<Site>,
    Visitor(visit): Visitor,
    Path(id): Path<String>,
) -> Response {
    let Ok(id) = id.parse::<QueueId>() else { return layout::nothing_here().await };
    match site.client.message(id).await {
        Ok(message) => {
            let body = body(&message, &visit, site.clock.wall());
            let title = format!("Message {id}");
            layout::document(&visit, "", &title, &body).into_response()
        }
        Err(error) => layout::unanswered(&visit, "", &error),
    }
}

fn body(message: &Message, visit: &Visit, now: Timestamp) -> Markup {
    let (header, facts): (Lines, Lines) =
        lines(message, now).into_iter().partition(|(label, _)| *label == HEADER);
    html! {
        p.standing { (said(&in_words(message, now))) }
        @if visit.role == Role::Act && message.end.is_none() {
            form.deeds method="post" action="/deeds" {
                (visitor::token(visit))
                input type="hidden" name="id" value=(message.id);
                (deeds::buttons())
            }
        }
        (resend::form(message, visit))
        (layout::facts(&facts))
        @for (_, lines) in header.iter().filter(|(_, lines)| !lines.is_empty()) {
            h2 { "Header" }
            pre tabindex="0" aria-label="Header" { @for line in lines { (said(line)) "\n" } }
        }
    }
}
