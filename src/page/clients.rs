//! The clients: which devices have been here, and what is odd about them.

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
use crate::{admin::api::Clients, quantities::relative, wording::clients::oddities};

pub(super) async fn show(State(site): State<Site>, Visitor(visit): Visitor) -> Response {
    match site.client.clients().await {
        Ok(clients) => {
            layout::document(&visit, "/clients", "Clients", &body(&clients)).into_response()
        }
        Err(error) => layout::unanswered(&visit, "/clients", &error),
    }
}

fn body(answer: &Clients) -> Markup {
    if answer.clients.is_empty() {
        return html! { p { "No client has been here since the daemon started." } };
    }
    html! {
        table {
            caption.hidden { "Clients since the daemon started" }
            thead { tr {
                th scope="col" { "Address" }
                th scope="col" { "First seen" }
                th scope="col" { "Last seen" }
                th.number scope="col" { "Connections" }
                th.number scope="col" { "Messages" }
                th.number scope="col" { "Refused" }
                th scope="col" { "Odd" }
            } }
            tbody {
                @for client in &answer.clients {
                    tr {
                        th scope="row" { (client.address) }
                        td data-label="First seen" { (relative(client.first_seen, answer.now)) }
                        td data-label="Last seen" { (relative(client.last_seen, answer.now)) }
                        td.number data-label="Connections" { (client.connections) }
                        td.number data-label="Messages" { (client.accepted) }
                        td.number data-label="Refused" { (client.refused) }
                        td data-label="Odd" { (said(&oddities(client))) }
                    }
                }
            }
        }
        p.small { "What is odd, and what to do about it: docs/clients.md." }
    }
}
