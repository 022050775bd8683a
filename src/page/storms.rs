//! The storms: mail that is alike and was folded, when a summary tells of it, and the way to let it leave.
//!
//! Rule: what is folded is found and released as by a search of the queue. Must not know what is alike.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};
use url::form_urlencoded::byte_serialize;

use super::{
    chosen, deeds,
    layout::{self, said, worded},
    site::Site,
    visitor::{self, Visitor},
};
use crate::{
    admin::{
        listing::Of,
        sessions::{Role, Visit},
        storms::{Storm, Storms, folded_into},
    },
    clock::Timestamp,
    quantities::{local, local_in_full},
    wording::storms::{NONE, addressees, remarks, standing, told},
};

const PATH: &str = "/storms";
/// Storms that the document has, the newest.
const SHOWN_MAX: usize = 50;

pub(super) async fn show(State(site): State<Site>, Visitor(visit): Visitor) -> Response {
    match site.client.storms().await {
        Ok(storms) => {
            let body = body(&storms, &visit, site.clock.wall());
            layout::document(&visit, PATH, "Storms", &body).into_response()
        }
        Err(error) => layout::unanswered(&visit, PATH, &error),
    }
}

fn body(answer: &Storms, visit: &Visit, now: Timestamp) -> Markup {
    let shown: Vec<&Storm> = answer.storms.iter().rev().take(SHOWN_MAX).collect();
    html! {
        p {
            "Much mail that is alike is folded: it waits here as it came, and a summary tells of it. "
            a href="/budget" { "What that has saved" }
        }
        @if shown.is_empty() {
            p { (NONE) }
        } @else {
            (table(&shown, visit, now))
        }
        @for remark in remarks(answer, shown.len()) { p { (worded(&remark)) } }
        p.small { "What is alike, and what can be set: docs/storms.md." }
    }
}

fn table(storms: &[&Storm], visit: &Visit, now: Timestamp) -> Markup {
    let visit = Some(visit).filter(|visit| visit.role == Role::Act);
    html! {
        table.storms {
            caption.hidden { "Storms, the newest first" }
            thead { tr {
                th scope="col" { "Storm" }
                th scope="col" { "Now" }
                th scope="col" { "From and to" }
                th scope="col" { "Subjects" }
                th.number scope="col" { "Messages" }
                th.number scope="col" { "Untold" }
                th scope="col" { "First and last" }
                th scope="col" { "Told" }
            } }
            tbody { @for storm in storms { (row(storm, visit, now)) } }
        }
    }
}

fn row(storm: &Storm, visit: Option<&Visit>, now: Timestamp) -> Markup {
    let search = folded_into(storm.id);
    let found: String = byte_serialize(search.as_bytes()).collect();
    html! {
        tr {
            th scope="row" {
                a href={ "/queue?search=" (found) } title="The messages that are folded into it" { code { (storm.id) } }
                @if let Some(visit) = visit {
                    form method="post" action="/deeds" {
                        (visitor::token(visit))
                        (chosen::found(Of::Queue, &search))
                        (deeds::release(&format!("Release storm {}", storm.id)))
                    }
                }
            }
            td data-label="Now" { (standing(storm)) }
            td data-label="From and to" { (said(&storm.origin)) " to " (said(&addressees(storm))) }
            td data-label="Subjects" { (said(&storm.shape)) }
            td.number data-label="Messages" { (storm.messages) }
            td.number data-label="Untold" { (storm.untold) }
            td data-label="First and last" { (time(storm.first_at, now)) " to " (time(storm.last_at, now)) }
            td data-label="Told" { (told(storm, now).join("; ")) }
        }
    }
}

fn time(at: Timestamp, now: Timestamp) -> Markup {
    html! { time title=(local_in_full(at)) { (local(at, now)) } }
}
