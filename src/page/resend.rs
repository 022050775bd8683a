//! A message that a person sends once more: a dead letter to another address, a relayed one to its own or to others.
//!
//! Rule: as in `deeds.rs`: a question first, and the deed is that of the commands.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{
    layout::{self, said},
    site::Site,
    visitor::{self, Form},
};
use crate::{
    admin::{
        api::Message,
        client::ClientError,
        sessions::{Role, Visit},
    },
    quantities::count,
    queue::id::QueueId,
};

/// What of a message can be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// In place of its dead recipients.
    Dead,
    /// A copy that was kept.
    Relayed,
}

impl Way {
    fn of(message: &Message) -> Option<Self> {
        match &message.end {
            Some(end) if end.how == "relayed" => Some(Self::Relayed),
            Some(_) => None,
            None => message.recipients.iter().any(|one| one.state == "dead").then_some(Self::Dead),
        }
    }

    /// Sends it; the new message.
    async fn send(self, site: &Site, id: QueueId, to: &[String]) -> Result<QueueId, ClientError> {
        match self {
            Self::Dead => Ok(site.client.redirect(id, &to.concat()).await?.new),
            Self::Relayed => Ok(site.client.resend(id, to).await?.new),
        }
    }
}

/// The form for a message that can be sent once more.
pub(super) fn form(message: &Message, visit: &Visit) -> Markup {
    let Some(way) = Way::of(message).filter(|_| visit.role == Role::Act) else { return html! {} };
    html! {
        form.deeds method="post" action="/resend" {
            (visitor::token(visit))
            input type="hidden" name="id" value=(message.id);
            label {
                @match way {
                    Way::Dead => "Send to another address instead",
                    Way::Relayed => "Send again, to its own recipients or to these",
                }
                input name="to" autocomplete="off" required[way == Way::Dead];
            }
            button { "Send" }
        }
    }
}

/// `POST /resend`.
pub(super) async fn answer(State(site): State<Site>, form: Form) -> Response {
    let Ok(id) = form.get("id").parse::<QueueId>() else { return layout::nothing_here().await };
    let visit = &form.visit;
    let message = match site.client.message(id).await {
        Ok(message) => message,
        Err(error) => return layout::unanswered(visit, "", &error),
    };
    let to: Vec<String> =
        form.get("to").split([',', ' ']).filter(|to| !to.is_empty()).map(str::to_owned).collect();
    let way = Way::of(&message).filter(|way| match way {
        Way::Dead => to.len() == 1,
        Way::Relayed => true,
    });
    let Some(way) = way else {
        let body = html! { p.bad role="alert" { "A dead letter is sent to one address, a relayed message to any number." } };
        return layout::document(visit, "", "Nothing was done", &body).into_response();
    };
    if form.get("sure") != "yes" {
        return question(visit, &message, &to);
    }
    let sent = way.send(&site.asking_for(visit), id, &to).await;
    let answer = sent.as_ref().map_or_else(ToString::to_string, |new| format!("as {new}"));
    tracing::info!(%id, by = visit.person, deed = "resend", answer, "ordered on the page");
    match sent {
        Ok(new) => {
            let body = html! {
                p.standing role="status" {
                    "It is queued as " a href={ "/messages/" (new) } { code { (new) } } "."
                }
            };
            layout::document(visit, "", "Sent again", &body).into_response()
        }
        Err(error) => layout::unanswered(visit, "", &error),
    }
}

fn question(visit: &Visit, message: &Message, to: &[String]) -> Response {
    let own = message.recipients.len();
    let body = html! {
        p.standing {
            @if to.is_empty() {
                "Send 1 message to its own " (count(own as u64, "recipient")) " once more?"
            } @else {
                "Send 1 message to " (said(&to.join(", "))) "?"
            }
            " It costs the budget once for each recipient."
        }
        form.deeds method="post" action="/resend" {
            (visitor::token(visit))
            input type="hidden" name="id" value=(message.id);
            input type="hidden" name="to" value=(to.join(","));
            input type="hidden" name="sure" value="yes";
            button { "Yes: Send" }
            " "
            a href={ "/messages/" (message.id) } { "No" }
        }
    };
    layout::document(visit, "", "Send again", &body).into_response()
}
