//! The hosts that share an account's day: who lives, what waits there, and the way to take one out.
//!
//! Rule: worded as `pillarbox fleet` has it. A host is taken out, and taken in again, after a question.

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header::LOCATION},
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{
    layout::{self, said, worded},
    site::Site,
    visitor::{self, Form, Visitor},
};
use crate::{
    admin::{
        fleet::{FleetView, HostTold},
        sessions::{Role, Visit},
    },
    clock::Timestamp,
    quantities::local_in_full,
    wording::fleet,
};

pub(super) const PATH: &str = layout::HOSTS;

/// What can be ordered of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Drain,
    Undrain,
}

impl Order {
    const ALL: [Self; 2] = [Self::Drain, Self::Undrain];

    fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Undrain => "undrain",
        }
    }

    fn button(self) -> &'static str {
        match self {
            Self::Drain => "Take out",
            Self::Undrain => "Take mail again",
        }
    }

    fn question(self, host: &str) -> String {
        match self {
            Self::Drain => format!(
                "Have {host} take no new mail? It relays what it has, and clients hear that they are to go to another host or to try again. That lasts until somebody ends it, also over restarts."
            ),
            Self::Undrain => format!("Have {host} take mail again?"),
        }
    }
}

pub(super) async fn show(State(site): State<Site>, Visitor(visit): Visitor) -> Response {
    match site.client.fleet().await {
        Ok(view) => layout::document(&visit, PATH, "Hosts", &body(&view, &visit)).into_response(),
        Err(error) => layout::unanswered(&visit, PATH, &error),
    }
}

/// `POST /hosts`: the question first, then the order.
pub(super) async fn order(State(site): State<Site>, form: Form) -> Response {
    let (by, host) = (&form.visit.person, form.get("host"));
    let deed = form.get("deed");
    let Some(order) = Order::ALL.into_iter().find(|order| order.name() == deed) else {
        return layout::nothing_here().await;
    };
    if form.get("sure") != "yes" {
        return question(&form.visit, order, host);
    }
    tracing::info!(by, deed, host, "ordered on the page");
    let site = site.asking_for(&form.visit);
    match site.client.drain(Some(host), order == Order::Drain).await {
        Ok(_) => {
            (StatusCode::SEE_OTHER, [(LOCATION, HeaderValue::from_static(PATH))]).into_response()
        }
        Err(error) => layout::unanswered(&form.visit, PATH, &error),
    }
}

fn question(visit: &Visit, order: Order, host: &str) -> Response {
    let body = html! {
        p.standing { (worded(&order.question(host))) }
        form.deeds method="post" action=(PATH) {
            (visitor::token(visit))
            input type="hidden" name="host" value=(host);
            input type="hidden" name="sure" value="yes";
            button name="deed" value=(order.name()) { "Yes: " (order.button()) }
            " "
            a href=(PATH) { "No" }
        }
    };
    layout::document(visit, "", order.button(), &body).into_response()
}

fn body(view: &FleetView, visit: &Visit) -> Markup {
    html! {
        (layout::facts(&fleet::lines(view)))
        @if let Some(told) = view.fleet.as_ref().filter(|told| !told.hosts.is_empty()) {
            (table(&told.hosts, view.now, visit))
        }
        @for remark in fleet::remarks(view) { p { (worded(&remark)) } }
        p.small { "What hosts share, and how one is taken out: docs/fleet.md." }
    }
}

fn table(hosts: &[HostTold], now: Timestamp, visit: &Visit) -> Markup {
    html! {
        table {
            caption.hidden { "Hosts of the fleet, by name" }
            thead { tr {
                th scope="col" { "Host" }
                th scope="col" { "State" }
                th scope="col" { "Version" }
                th scope="col" { "Last seen" }
                th scope="col" { "Queue" }
                th scope="col" { "Oldest" }
            } }
            tbody {
                @for host in hosts {
                    tr {
                        th scope="row" {
                            (said(&host.name)) @if host.this { " (this one)" }
                            @if visit.role == Role::Act { (buttons(host, visit)) }
                        }
                        td data-label="State" { (fleet::standing(host)) }
                        td data-label="Version" { (said(&host.version)) }
                        td data-label="Last seen" { time title=(local_in_full(host.seen)) { (fleet::seen(host, now)) } }
                        td data-label="Queue" { (fleet::queue(host)) }
                        td data-label="Oldest" { (fleet::oldest(host, now)) }
                    }
                }
            }
        }
    }
}

fn buttons(host: &HostTold, visit: &Visit) -> Markup {
    let order = if host.drained_since.is_some() { Order::Undrain } else { Order::Drain };
    let label = format!("{}: {}", order.button(), host.name);
    html! {
        form.inline method="post" action=(PATH) {
            (visitor::token(visit))
            input type="hidden" name="host" value=(host.name);
            button name="deed" value=(order.name()) aria-label=(label) { (order.button()) }
        }
    }
}
