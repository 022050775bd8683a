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
    layout::{self, worded},
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
    clock::Timestamp,
    quantities::{count, when},
    queue::{id::QueueId, only::Only, schedule::too_far},
    written_time::span_or_time,
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
    /// They leave at this time and not before.
    Schedule(Timestamp),
}

impl Deed {
    /// Those that need no time.
    const PLAIN: [Self; 4] = [Self::Retry, Self::Hold, Self::Release, Self::Delete];

    /// The one that a form orders; words where its time cannot be.
    fn of(form: &Form, now: Timestamp) -> Option<Result<Self, String>> {
        let name = form.get("deed");
        if name != SCHEDULE {
            return Self::PLAIN.into_iter().find(|deed| deed.name() == name).map(Ok);
        }
        // The time of the question holds, not that of the answer.
        let asked = form.get("at").parse().ok().map(Timestamp);
        let at = asked.map_or_else(|| span_or_time(form.get("when"), now), Ok);
        Some(at.and_then(|at| match too_far(at, now) {
            Some(words) => Err(format!("that is {words}")),
            None => Ok(Self::Schedule(at)),
        }))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Delete => "delete",
            Self::Schedule(_) => SCHEDULE,
        }
    }

    fn button(self) -> &'static str {
        match self {
            Self::Retry => "Try now",
            Self::Hold => "Hold",
            Self::Release => "Release",
            Self::Delete => "Delete",
            Self::Schedule(_) => "Schedule",
        }
    }

    /// What it means for these.
    fn question(self, messages: u64, recipients: u64, now: Timestamp) -> String {
        let these = count(messages, "message");
        match self {
            Self::Retry => format!("Try {these} now?"),
            Self::Hold => format!("Hold {these} here until somebody releases them?"),
            Self::Release => {
                let recipients = count(recipients, "recipient");
                format!(
                    "Let {these} to {recipients} leave that are held or folded here? Each recipient counts for the budget."
                )
            }
            Self::Delete => format!(
                "Delete {these} for good? Nothing of them is sent any more, and nobody is told."
            ),
            Self::Schedule(at) => format!("Have {these} leave {} and not before?", when(at, now)),
        }
    }

    /// Does it; how many recipients it has met.
    async fn does(self, site: &Site, id: QueueId, only: &Only) -> Result<u32, ClientError> {
        let retried = match self {
            Self::Retry => site.client.retry(id, only).await,
            Self::Hold => site.client.hold(id, only).await,
            Self::Release => site.client.release(id, only).await,
            Self::Schedule(at) => site.client.schedule(id, at, only).await,
            Self::Delete => return site.client.delete(id, only).await.map(|_| 1),
        };
        retried.map(|retried| retried.recipients)
    }
}

/// The name of the deed that needs a time.
const SCHEDULE: &str = "schedule";

/// A button for each deed.
pub(super) fn buttons() -> Markup {
    html! {
        @for deed in Deed::PLAIN {
            button name="deed" value=(deed.name()) class=[(deed == Deed::Delete).then_some("danger")] { (deed.button()) }
            " "
        }
        label { "Time to leave, such as 2h or tomorrow 08:00" input name="when" autocomplete="off"; }
        button name="deed" value=(SCHEDULE) { "Schedule" }
    }
}

/// The button that releases, with the words for who cannot see what it stands beside.
pub(super) fn release(label: &str) -> Markup {
    let deed = Deed::Release;
    html! { button name="deed" value=(deed.name()) aria-label=(label) { (deed.button()) } }
}

/// `POST /deeds`: the question first, then the deed.
pub(super) async fn answer(State(site): State<Site>, form: Form) -> Response {
    let deed = Deed::of(&form, site.clock.wall());
    let (Some(deed), Some(chosen)) = (deed, Chosen::of(&form)) else {
        return layout::nothing_here().await;
    };
    let visit = &form.visit;
    let deed = match deed {
        Ok(deed) => deed,
        Err(words) => {
            let body =
                html! { p.bad role="alert" { (worded(&format!("No time to leave: {words}."))) } };
            return layout::document(visit, "", "Nothing was done", &body).into_response();
        }
    };
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
        p.standing { (deed.question(number, counted.recipients, site.clock.wall())) }
        @if counted.gone > 0 {
            p { (count(counted.gone, "chosen message")) " left meanwhile." }
        }
        (counted.chosen.description())
        form.deeds method="post" action="/deeds" {
            (visitor::token(visit))
            (counted.chosen.fields())
            input type="hidden" name="sure" value="yes";
            @if let Deed::Schedule(at) = deed { input type="hidden" name="at" value=(at.0); }
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
        (rows::rows(&counted.first, false, site.clock.wall(), None))
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
        @if let Err(error) = result { p.bad role="alert" { (worded(&error.to_string())) } }
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
    fn note(&mut self, visit: &Visit, deed: Deed, id: QueueId, result: Result<u32, ClientError>) {
        let is_done = result.as_ref().is_ok_and(|met| *met > 0);
        let answer = match result {
            Ok(0) => "nothing of it is so that this could be done".to_owned(),
            Ok(_) => "done".to_owned(),
            Err(error) => error.to_string(),
        };
        let (by, deed) = (&visit.person, deed.name());
        tracing::info!(%id, by, deed, answer, "ordered on the page");
        if is_done {
            self.done += 1;
            return;
        }
        self.refused += 1;
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push((id, answer));
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
                        li { a href={ "/messages/" (id) } { code { (id) } } " " (worded(words)) }
                    }
                }
            }
            p { a href="/queue" { "To the queue" } }
        }
    }
}
