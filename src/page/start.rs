//! The start: whether mail leaves, and if not why, until when and what to do; the day's budget; what is odd.

use std::time::Duration;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{
    chart, course,
    layout::{self, said, worded},
    live::{self, About},
    scenarios,
    site::Site,
    visitor::Visitor,
};
use crate::{
    addressed::MAIN,
    admin::api::{Account, Clients, OtherAccount, Status},
    quantities::relative,
    wording::{
        Lines,
        clients::odd,
        status::{account, budget_lines, departure, lines, other, refusing, title},
    },
};

/// Labels that stand elsewhere on the document.
const SHOWN_ABOVE: [&str; 6] = ["budget", "next", "new mail", "refused", "errors", "checks"];
/// How long the relay may take to count its queue, which it does not for every visitor.
const PATIENCE: Duration = Duration::from_secs(30);
/// Odd devices that are named.
const ODD_SHOWN: usize = 8;

pub(super) async fn show(State(site): State<Site>, Visitor(visit): Visitor) -> Response {
    let client = &site.client;
    let asked = tokio::try_join!(
        client.pulse(),
        client.status_again(PATIENCE),
        client.budget_forecast(None),
        client.tally(),
        client.clients()
    );
    let (pulse, status, forecast, tally, clients) = match asked {
        Ok(answers) => answers,
        Err(error) => return layout::unanswered(&visit, "/", &error),
    };
    let beside = |all: Lines| -> Lines {
        all.into_iter().filter(|(label, _)| !SHOWN_ABOVE.contains(label)).collect()
    };
    let all = lines(&status);
    let body = html! {
        (standing(&status))
        (scenarios::hint(&site.stage))
        (live::news(About::Start, &pulse))
        (counters(&status))
        (course::courses(&tally))
        section aria-labelledby="budget" {
            h2 #budget { "The day's budget" }
            (chart::gauge(&status.budget))
            (layout::facts(&beside(budget_lines(&status.budget, MAIN))))
            (chart::day(&forecast.first))
            @for one in &status.others {
                h3 { "Account " (said(&one.name)) }
                (chart::gauge(&one.budget))
                @for own in forecast.others.iter().filter(|own| own.name == one.name) {
                    (chart::day(&own.said))
                }
            }
            (course::spent(&tally))
            p.small { a href="/budget" { "On whom the last days were spent" } }
        }
        (failures(&all))
        (examined(&all))
        (odd_devices(&clients))
        section aria-labelledby="relay" {
            h2 #relay { "The relay" }
            (layout::facts(&beside(all)))
            p.small { (said(&title(&status))) }
        }
    };
    layout::document(&visit, "/", "Start", &body).into_response()
}

/// The last failures, each in the words of who has refused it.
fn failures(all: &Lines) -> Markup {
    let both = all.iter().filter(|(label, _)| ["refused", "errors"].contains(label));
    let failures: Vec<&String> = both.flat_map(|(_, lines)| lines).collect();
    html! {
        section aria-labelledby="failures" {
            h2 #failures { "Last failures" }
            @if failures.is_empty() {
                p { "None since the start of the relay, and none among what is in the queue." }
            } @else {
                ul { @for failure in failures { li { (said(failure)) } } }
            }
        }
    }
}

/// What the relay has last found out about itself.
fn examined(all: &Lines) -> Markup {
    html! {
        section aria-labelledby="doctor" {
            h2 #doctor { "Last look at itself" }
            @for (_, lines) in all.iter().filter(|(label, _)| *label == "checks") {
                @if lines.is_empty() { p { "None yet; look now with: pillarbox doctor" } }
                @for line in lines { p { (worded(line)) } }
            }
        }
    }
}

/// Devices with something odd, in the words of `pillarbox clients`.
fn odd_devices(clients: &Clients) -> Markup {
    let odd = odd(&clients.clients);
    html! {
        section aria-labelledby="odd" {
            h2 #odd { "Odd devices" }
            @if odd.is_empty() { p { "None since the start of the relay." } }
            @else {
                ul {
                    @for (client, oddities) in odd.iter().take(ODD_SHOWN) {
                        li { (client.address) ": " (said(oddities)) ", last seen " (relative(client.last_seen, clients.now)) }
                    }
                }
            }
            p.small { a href="/clients" { "All clients" } @if odd.len() > ODD_SHOWN { ", " (odd.len()) " of them odd" } }
        }
    }
}

/// Whether mail leaves, in the words of `pillarbox status`.
fn standing(status: &Status) -> Markup {
    let mut words = departure(status);
    let is_open = works(&status.account);
    if !is_open {
        words.splice(..0, account(&status.account, MAIN, status.now));
    }
    let is_stuck = |one: &&OtherAccount| !works(&one.account) || one.departure.is_obstructed();
    let others: Vec<&OtherAccount> = status.others.iter().filter(is_stuck).collect();
    words.extend(others.iter().flat_map(|one| other(one, status.now)));
    words.extend(refusing(status));
    let is_well = is_open
        && others.is_empty()
        && !status.departure.is_obstructed()
        && status.refusing.is_none();
    html! {
        div.standing.(if is_well { "good" } else { "bad" }) role="status" {
            @for line in words { p { (worded(&line)) } }
        }
    }
}

fn works(account: &Account) -> bool {
    account.is_open() && account.pause.is_none()
}

fn counters(status: &Status) -> Markup {
    let totals = &status.queue.recipients;
    let all = [
        ("waiting", "waiting", totals.queued + totals.uncertain, "/queue"),
        ("scheduled", "scheduled", totals.scheduled, "/queue?search=state:scheduled"),
        ("folded", "folded", totals.folded, "/storms"),
        ("on the way", "reserved", totals.reserved, "/queue?search=state:reserved"),
        ("held", "held", totals.held, "/queue?search=state:held"),
        ("dead", "dead", totals.dead, "/dead"),
    ];
    html! {
        ul.counters aria-label="Recipients in the queue" {
            @for (name, key, number, path) in all {
                li { a href=(path) { b data-number=(key) { (number) } " " (name) } }
            }
        }
    }
}
