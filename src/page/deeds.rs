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
    chosen::{Chosen, Counted},
    layout::{self, said},
    rows,
    site::Site,
    visitor::{self, Form},
};
use crate::{
    admin::{
        api::Kind,
        client::{ClientError, Walk},
        sessions::Visit,
    },
    quantities::count,
    queue::{id::QueueId, only::Only},
};

/// Messages to which nothing is done but by whoever has typed their number.
const UNTYPED_MAX: u64 = 50;
/// Messages of a walk that are asked for at a time.
const PAGE: usize = 250;
/// How long one press may work; what is left then needs another.
const WORK_MAX_MS: u64 = 20_000;
/// Refusals that a report shows.
const REFUSALS_MAX: usize = 20;

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
            Self::Retry => format!("Try {these} now?"),
            Self::Hold => format!("Hold {these} here until somebody releases them?"),
            Self::Release => format!("Let {these} leave that somebody holds here?"),
            Self::Delete => format!(
                "Delete {these} for good? Nothing of them is sent any more, and nobody is told."
            ),
        }
    }

    async fn does(self, site: &Site, id: QueueId, only: &Only) -> Result<(), ClientError> {
        match self {
            Self::Retry => site.client.retry(id, only).await.map(drop),
            Self::Hold => site.client.hold(id, only).await.map(drop),
            Self::Release => site.client.release(id, only).await.map(drop),
            Self::Delete => site.client.delete(id, only).await.map(drop),
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
    let (Some(deed), Some(chosen)) = (deed, Chosen::of(&form)) else {
        return layout::nothing_here().await;
    };
    let visit = &form.visit;
    if matches!(&chosen, Chosen::These(ids) if ids.is_empty()) {
        let body = html! { p { "No message was chosen. Go back and choose some." } };
        return layout::document(visit, "", "Nothing was done", &body).into_response();
    }
    if form.get("sure") == "yes" && is_meant(&form) {
        return carry_out(&site, visit, deed, chosen).await;
    }
    match chosen.counted(&site).await {
        Ok(counted) => question(&site, visit, deed, &counted),
        Err(error) => layout::unanswered(visit, "", &error),
    }
}

/// Whether the number was typed that the question has asked for.
fn is_meant(form: &Form) -> bool {
    let Ok(messages) = form.get("messages").parse::<u64>() else { return false };
    messages <= UNTYPED_MAX || form.get("typed").trim() == messages.to_string()
}

fn question(site: &Site, visit: &Visit, deed: Deed, counted: &Counted) -> Response {
    let number = counted.number;
    let body = html! {
        p.standing { (deed.question(number)) }
        (counted.chosen.description())
        form.deeds method="post" action="/deeds" {
            (visitor::token(visit))
            (counted.chosen.fields())
            input type="hidden" name="sure" value="yes";
            input type="hidden" name="messages" value=(number);
            @if number > UNTYPED_MAX {
                label { "Type " (number) ", the number of messages"
                    input name="typed" inputmode="numeric" autocomplete="off" required;
                }
            }
            @if number > 0 {
                button name="deed" value=(deed.name()) class=[(deed == Deed::Delete).then_some("danger")] { "Yes: " (deed.button()) }
            }
            " "
            a href="/queue" { "No" }
        }
        @if number > counted.first.len() as u64 { p.small { "The first of them:" } }
        (rows::rows(&counted.first, false, site.clock.wall()))
    };
    layout::document(visit, "", deed.button(), &body).into_response()
}

async fn carry_out(site: &Site, visit: &Visit, deed: Deed, chosen: Chosen) -> Response {
    let site = &site.asking_for(visit);
    let only = chosen.only(deed == Deed::Retry);
    let mut report = Report::default();
    let result = match chosen {
        Chosen::These(ids) => {
            for id in ids {
                report.note(visit, deed, id, deed.does(site, id, &only).await);
            }
            Ok(())
        }
        Chosen::Found { of, search, until } => {
            let walk = site.client.walk(of, None).of(search, None).up_to(until);
            all_of(site, visit, deed, walk, &only, &mut report).await
        }
    };
    let body = html! {
        (report.shown())
        @if let Err(error) = result { p.bad role="alert" { (said(&error.to_string())) } }
    };
    layout::document(visit, "", deed.button(), &body).into_response()
}

/// Does it to all of a walk, as far as the time of one press goes.
async fn all_of(
    site: &Site,
    visit: &Visit,
    deed: Deed,
    mut walk: Walk<'_>,
    only: &Only,
    report: &mut Report,
) -> Result<(), ClientError> {
    let end = site.clock.now().since_boot_ms.saturating_add(WORK_MAX_MS);
    while let Some(messages) = walk.page(PAGE).await? {
        for message in messages {
            if site.clock.now().since_boot_ms >= end {
                report.is_cut_short = true;
                return Ok(());
            }
            let result = deed.does(site, message.id, only).await;
            match result.as_ref().err().and_then(ClientError::kind) {
                // It has left, or is none of these any more, since the page of the walk was read.
                Some(Kind::NotFound | Kind::OtherState) => {}
                _ => report.note(visit, deed, message.id, result),
            }
        }
    }
    Ok(())
}

/// What became of them.
#[derive(Debug, Default)]
struct Report {
    done: u64,
    refused: u64,
    refusals: Vec<(QueueId, String)>,
    is_cut_short: bool,
}

impl Report {
    fn note(&mut self, visit: &Visit, deed: Deed, id: QueueId, result: Result<(), ClientError>) {
        let answer = result.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned());
        let (by, deed) = (&visit.person, deed.name());
        tracing::info!(%id, by, deed, answer, "ordered on the page");
        match result {
            Ok(()) => self.done += 1,
            Err(_) => {
                self.refused += 1;
                if self.refusals.len() < REFUSALS_MAX {
                    self.refusals.push((id, answer));
                }
            }
        }
    }

    fn shown(&self) -> Markup {
        html! {
            p.standing role="status" { "Done for " (count(self.done, "message")) "." }
            @if self.is_cut_short {
                p { "That is as much as one press does; there are more. Press again for the rest." }
            }
            @if self.refused > 0 {
                p { (count(self.refused, "message")) " could not be handled:" }
                ul {
                    @for (id, words) in &self.refusals {
                        li { a href={ "/messages/" (id) } { code { (id) } } " " (said(words)) }
                    }
                }
            }
            p { a href="/queue" { "To the queue" } }
        }
    }
}
