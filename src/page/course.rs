//! The last hours and days in small charts: what came in, left, was given up, and waited; and on whom the day was spent.
//!
//! Rule: made here as SVG; each bar has a title, and whoever cannot see them has the same numbers as a table.

use maud::{Markup, html};

use super::layout::said;
use crate::{
    admin::tally::{Span, Spent, Tally},
    clock::Timestamp,
    quantities::{count, local},
};

/// The measures of a chart, in its own units.
const WIDTH: usize = 240;
const HEIGHT: u64 = 40;

/// A number that has a course.
struct Course {
    name: &'static str,
    of: fn(&Span) -> u64,
    /// Whether the numbers of several hours are one, or the last one counts.
    adds_up: bool,
}

const COURSES: [Course; 4] = [
    Course { name: "accepted", of: |span| span.accepted, adds_up: true },
    Course { name: "relayed", of: |span| span.relayed, adds_up: true },
    Course { name: "waiting", of: |span| span.waiting, adds_up: false },
    Course { name: "dead", of: |span| span.dead, adds_up: true },
];

/// All of them.
pub(super) fn courses(tally: &Tally) -> Markup {
    html! {
        div.courses {
            @for course in &COURSES {
                figure {
                    figcaption { (sum(course, &tally.hours, "24 hours")) }
                    (chart(course, &tally.hours, "24 hours", tally.now))
                    (chart(course, &tally.days, "14 days", tally.now))
                }
            }
        }
        @if tally.partial {
            p.small { "Queue or history are too long to be counted whole: the older bars are too low." }
        }
        @for (spans, name) in [(&tally.hours, "The hours as a table"), (&tally.days, "The days as a table")] {
            details {
                summary { (name) }
                (table(spans, name, tally.now))
            }
        }
    }
}

/// `12 recipients relayed in the last 24 hours`, `3 recipients waiting now`.
fn sum(course: &Course, spans: &[Span], time: &str) -> String {
    if course.adds_up {
        let all = count(spans.iter().map(course.of).sum(), "recipient");
        return format!("{all} {} in the last {time}", course.name);
    }
    format!("{} {} now", count(spans.last().map_or(0, course.of), "recipient"), course.name)
}

fn chart(course: &Course, spans: &[Span], time: &str, now: Timestamp) -> Markup {
    let most = spans.iter().map(course.of).max().unwrap_or(0).max(1);
    let width = WIDTH / spans.len().max(1);
    html! {
        svg.course viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" preserveAspectRatio="none"
            aria-label={ (sum(course, spans, time)) ", at most " (most) " in one bar of the last " (time) } {
            @for (place, span) in spans.iter().enumerate() {
                @let number = (course.of)(span);
                @let height = (number * HEIGHT).div_ceil(most);
                rect.past x=(place * width) y=(HEIGHT - height) width=(width - 1) height=(height) {
                    title { (local(span.begins, now)) ": " (number) }
                }
            }
        }
    }
}

fn table(spans: &[Span], name: &str, now: Timestamp) -> Markup {
    html! {
        table {
            caption.hidden { (name) }
            thead { tr {
                th scope="col" { "From" }
                @for course in &COURSES { th.number scope="col" { (course.name) } }
            } }
            tbody {
                @for span in spans {
                    tr {
                        th scope="row" { (local(span.begins, now)) }
                        @for course in &COURSES {
                            td.number data-label=(course.name) { ((course.of)(span)) }
                        }
                    }
                }
            }
        }
    }
}

/// On whom the last day was spent.
pub(super) fn spent(tally: &Tally) -> Markup {
    let all: u64 = tally.lanes.iter().map(|lane| lane.recipients).sum();
    html! {
        @if all > 0 {
            h3 { "Relayed in the last 24 hours" }
            div.shares {
                (shares("By lane", &tally.lanes, 0, all))
                (shares("By client", &tally.clients, tally.other_clients, all))
            }
        }
    }
}

fn shares(name: &str, parts: &[Spent], others: u64, all: u64) -> Markup {
    html! {
        table {
            caption { (name) }
            thead { tr {
                th scope="col" { (name) }
                th.number scope="col" { "Recipients" }
                th.number scope="col" { "Share" }
            } }
            tbody {
                @for part in parts {
                    tr {
                        th scope="row" { (said(&part.by)) }
                        td.number data-label="Recipients" { (part.recipients) }
                        td.number data-label="Share" { (part.recipients * 100 / all.max(1)) " %" }
                    }
                }
                @if others > 0 {
                    tr {
                        th scope="row" { "all others" }
                        td.number data-label="Recipients" { (others) }
                        td.number data-label="Share" { (others * 100 / all.max(1)) " %" }
                    }
                }
            }
        }
    }
}
