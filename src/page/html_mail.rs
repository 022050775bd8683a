//! HTML mail, shown when somebody asks for it: a document of ours with a frame, and what stands in the frame.
//!
//! Rule: the frame is sandboxed with nothing allowed, once by its element and once by its own answer; and what stands in it
//! is written anew by `harmless.rs`, so that each of the three would be enough.

use axum::{
    Extension,
    extract::{Path, State},
    response::{Html, IntoResponse as _, Response},
};
use maud::html;

use super::{
    guard::Framing,
    harmless::harmless,
    layout::{self, said},
    site::Site,
    visitor::Visitor,
};
use crate::{admin::client::ClientError, message::parts::PartText, queue::id::QueueId};

/// What stands in front of the mail in its frame: it is read as the text that it is, on white as its author has seen it.
const HEAD: &str = "<!DOCTYPE html><meta charset=\"utf-8\"><title>HTML mail</title>\
    <style>:root{color-scheme:light;background:#fff;color:#000;font-family:sans-serif}</style>";

/// The type of what is shown so.
pub(super) const HTML: &str = "text/html";

/// `GET /messages/{id}/html/{part}`: the document with the frame.
pub(super) async fn show(
    State(site): State<Site>,
    Visitor(visit): Visitor,
    Path((id, number)): Path<(String, String)>,
) -> Response {
    let part = match read(&site, &id, &number).await {
        Some(Ok(part)) => part,
        Some(Err(error)) => return layout::unanswered(&visit, "", &error),
        None => return layout::nothing_here().await,
    };
    let number = &part.part.number;
    let title = format!("HTML of message {id}");
    let body = html! {
        p { a href={ "/messages/" (id) } { "Back to the message" } }
        p.small {
            "Part " (said(number)) ", without its pictures, links, forms and scripts: nothing is fetched, and nobody is told that you \
             have read it."
            @if part.is_cut { " Only its beginning is shown." }
        }
        iframe.mail sandbox="" referrerpolicy="no-referrer" title={ "Part " (number) } src={ "/messages/" (id) "/frame/" (number) } {}
    };
    (Extension(Framing::Frames), layout::document(&visit, "", &title, &body)).into_response()
}

/// `GET /messages/{id}/frame/{part}`: what stands in the frame.
pub(super) async fn framed(
    State(site): State<Site>,
    Visitor(visit): Visitor,
    Path((id, number)): Path<(String, String)>,
) -> Response {
    match read(&site, &id, &number).await {
        Some(Ok(part)) => {
            let document = format!("{HEAD}{}", harmless(&part.text));
            (Extension(Framing::IsFramed), Html(document)).into_response()
        }
        Some(Err(error)) => layout::unanswered(&visit, "", &error),
        None => layout::nothing_here().await,
    }
}

/// The part, when it is one of HTML.
async fn read(site: &Site, id: &str, number: &str) -> Option<Result<PartText, ClientError>> {
    let id: QueueId = id.parse().ok()?;
    let part = site.client.part(id, number).await;
    Some(part).filter(|part| part.as_ref().map_or(true, |part| part.part.media_type == HTML))
}
