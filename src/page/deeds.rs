//! The deeds: what is done to chosen messages, after a question that says to how many.
//!
//! Rule: every deed is that of the commands, logged with who did it; one message that cannot be handled keeps no other
//! from it.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{
    layout::{self, said},
    rows,
    site::Site,
    visitor::{self, Form},
};
use crate::{
    admin::{api::Message, client::ClientError, sessions::Visit},
    quantities::count,
    queue::{id::QueueId, only::Only},
};

/// Messages that are shown in a question.
const SHOWN_MAX: usize = 50;

/// What can be done to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Retry,
    Hold,
    Release,
    Delete,
}

impl Deed {
    const ALL: [Self; 4] = [Self::Retry, Self::Hold, Self::Release, Self::Delete];

    fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Delete => "delete",
        }
    }

    fn button(self) -> &'static str {
        match self {
            Self::Retry => "Try now",
            Self::Hold => "Hold",
            Self::Release => "Release",
            Self::Delete => "Delete",
        }
    }

    /// What it means for these.
    fn question(self, messages: u64) -> String {
        let these = count(messages, "message");
        match self {
            Self::Retry => format!("Try {these} now, dead and held recipients included?"),
            Self::Hold => format!("Hold {these} here until somebody releases them?"),
            Self::Release => format!("Let {these} leave that somebody holds here?"),
            Self::Delete => format!(
                "Delete {these} for good? Nothing of them is sent any more, and nobody is told."
            ),
        }
    }

    async fn does(self, site: &Site, id: QueueId) -> Result<(), ClientError> {
        let any = Only::default();
        match self {
            Self::Retry => site.client.retry(id, &any).await.map(drop),
            Self::Hold => site.client.hold(id, &any).await.map(drop),
            Self::Release => site.client.release(id, &any).await.map(drop),
            Self::Delete => site.client.delete(id, &any).await.map(drop),
        }
    }
}

/// A button for each deed.
pub(super) fn buttons() -> Markup {
    html! {
        @for deed in Deed::ALL {
            button name="deed" value=(deed.name()) class=[(deed == Deed::Delete).then_some("danger")] { (deed.button()) }
            " "
        }
    }
}

/// `POST /deeds`: the question first, then the deed.
pub(super) async fn answer(State(site): State<Site>, form: Form) -> Response {
    let deed = Deed::ALL.into_iter().find(|deed| deed.name() == form.get("deed"));
    let ids: Result<Vec<QueueId>, _> = form.all("id").map(str::parse).collect();
    let (Some(deed), Ok(ids)) = (deed, ids) else { return layout::nothing_here().await };
    let visit = &form.visit;
    if ids.is_empty() {
        let body = html! { p { "No message was chosen. Go back and choose some." } };
        return layout::document(visit, "", "Nothing was done", &body).into_response();
    }
    if form.get("sure") != "yes" {
        return question(&site, visit, deed, &ids).await;
    }
    let mut done = Vec::with_capacity(ids.len());
    for id in ids {
        let result = deed.does(&site, id).await;
        let answer = result.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned());
        let (by, deed) = (&visit.person, deed.name());
        tracing::info!(%id, by, deed, answer, "ordered on the page");
        done.push((id, result));
    }
    layout::document(visit, "", deed.button(), &report(&done)).into_response()
}

async fn question(site: &Site, visit: &Visit, deed: Deed, ids: &[QueueId]) -> Response {
    let mut messages: Vec<Message> = Vec::new();
    for id in ids.iter().take(SHOWN_MAX) {
        match site.client.message(*id).await {
            Ok(message) => messages.push(message),
            Err(error) => return layout::unanswered(visit, "", &error),
        }
    }
    let body = html! {
        p.standing { (deed.question(ids.len() as u64)) }
        form.deeds method="post" action="/deeds" {
            (visitor::token(visit))
            @for id in ids { input type="hidden" name="id" value=(id); }
            input type="hidden" name="sure" value="yes";
            button name="deed" value=(deed.name()) class=[(deed == Deed::Delete).then_some("danger")] { "Yes: " (deed.button()) }
            " "
            a href="/queue" { "No" }
        }
        (rows::rows(&messages, false, site.clock.wall()))
    };
    layout::document(visit, "", deed.button(), &body).into_response()
}

/// What became of each.
fn report(done: &[(QueueId, Result<(), ClientError>)]) -> Markup {
    let well = done.iter().filter(|(_, result)| result.is_ok()).count() as u64;
    html! {
        p.standing role="status" { "Done for " (count(well, "message")) "." }
        ul {
            @for (id, result) in done {
                li {
                    a href={ "/messages/" (id) } { code { (id) } } " "
                    @match result {
                        Ok(()) => "done",
                        Err(error) => (said(&error.to_string())),
                    }
                }
            }
        }
        p { a href="/queue" { "To the queue" } }
    }
}
