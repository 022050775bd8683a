//! The settings: the configuration that holds, and where each value comes from.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{
    layout::{self, said},
    site::Site,
    visitor::Visitor,
};
use crate::{
    admin::configured::{Configured, Setting},
    wording::settings::{header, origin, sections, value},
};

const PATH: &str = "/settings";

pub(super) async fn show(State(site): State<Site>, Visitor(visit): Visitor) -> Response {
    match site.client.settings().await {
        Ok(configured) => {
            layout::document(&visit, PATH, "Settings", &body(&configured)).into_response()
        }
        Err(error) => layout::unanswered(&visit, PATH, &error),
    }
}

fn body(configured: &Configured) -> Markup {
    html! {
        p { "The configuration that holds, from " (said(&configured.source)) "." }
        p.small {
            "It is changed in the file: edit it, look at it with pillarbox check, and then: pillarbox reload. "
            "What is secret is never shown here."
        }
        @for keys in sections(&configured.settings) {
            @if let Some(first) = keys.first() {
                h2 { (header(&first.section)) }
                (table(keys, &header(&first.section)))
            }
        }
    }
}

fn table(keys: &[Setting], section: &str) -> Markup {
    html! {
        table {
            caption.hidden { (section) }
            thead { tr {
                th scope="col" { "Key" }
                th.wide scope="col" { "Value" }
                th.wide scope="col" { "From" }
            } }
            tbody {
                @for setting in keys {
                    tr {
                        th scope="row" { (setting.key) }
                        td.wide data-label="Value" { (said(value(setting))) }
                        td.wide data-label="From" { (said(&origin(setting))) }
                    }
                }
            }
        }
    }
}
