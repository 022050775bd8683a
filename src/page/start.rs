//! The start: whether mail leaves, and if not why, until when and what to do; the day's budget; what is odd.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{
    chart,
    layout::{self, said},
    site::Site,
    visitor::Visitor,
};
use crate::{
    admin::api::Status,
    wording::{
        Lines,
        status::{account, budget_lines, departure, lines, refusing, title},
    },
};

/// Labels that stand elsewhere on the document.
const SHOWN_ABOVE: [&str; 3] = ["budget", "next", "new mail"];

pub(super) async fn show(State(site): State<Site>, Visitor(visit): Visitor) -> Response {
    let asked = tokio::try_join!(site.client.status(), site.client.budget_forecast());
    let (status, forecast) = match asked {
        Ok(answers) => answers,
        Err(error) => return layout::unanswered(&visit, "/", &error),
    };
    let beside = |all: Lines| -> Lines {
        all.into_iter().filter(|(label, _)| !SHOWN_ABOVE.contains(label)).collect()
    };
    let body = html! {
        (standing(&status))
        (counters(&status))
        section aria-labelledby="budget" {
            h2 #budget { "The day's budget" }
            (chart::gauge(&status.budget))
            (layout::facts(&beside(budget_lines(&status.budget))))
            (chart::day(&forecast))
        }
        section aria-labelledby="relay" {
            h2 #relay { "The relay" }
            (layout::facts(&beside(lines(&status))))
            p.small { (said(&title(&status))) }
        }
    };
    layout::document(&visit, "/", "Start", &body).into_response()
}

/// Whether mail leaves, in the words of `pillarbox status`.
fn standing(status: &Status) -> Markup {
    let mut words = departure(status);
    let is_open = status.account.is_open() && status.account.pause.is_none();
    if !is_open {
        words.splice(..0, account(&status.account, status.now));
    }
    words.extend(refusing(status));
    let is_well = is_open && !status.departure.is_obstructed() && status.refusing.is_none();
    html! {
        div.standing.(if is_well { "good" } else { "bad" }) role="status" {
            @for line in words { p { (said(&line)) } }
        }
    }
}

fn counters(status: &Status) -> Markup {
    let totals = &status.queue.recipients;
    let all = [
        ("waiting", totals.queued + totals.uncertain, "/queue"),
        ("scheduled", totals.scheduled, "/queue?search=state:scheduled"),
        ("on the way", totals.reserved, "/queue?search=state:reserved"),
        ("held", totals.held, "/queue?search=state:held"),
        ("dead", totals.dead, "/dead"),
    ];
    html! {
        ul.counters aria-label="Recipients in the queue" {
            @for (name, number, path) in all {
                li { a href=(path) { b { (number) } " " (name) } }
            }
        }
    }
}
