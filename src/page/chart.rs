//! The day's budget as pictures: how it is divided, and the last and the next 24 hours.
//!
//! Rule: made here as SVG, without a script or a style of its own; whoever cannot see it has the same numbers as a table.

use maud::{Markup, html};

use crate::{
    admin::{api::Budget, forecast::BudgetForecast},
    clock::Timestamp,
    quantities::{count, local},
    queue::forecast::Hour,
    wording::status::spent,
};

/// The picture's measures, in its own units.
const WIDTH: u32 = 960;
const BAR_WIDTH: u32 = 20;
const HEIGHT: u32 = 120;
const GAUGE_HEIGHT: u32 = 24;

/// How the day is divided: what is spent, what is free, and what is kept for whom. Nothing without a limit.
pub(super) fn gauge(budget: &Budget) -> Markup {
    let Some(day) = budget.recipients_per_day.recipients().filter(|day| *day > 0) else {
        return html! {};
    };
    let kept = budget.urgent_reserve.saturating_add(budget.notice_reserve);
    let (spent_now, free) = (budget.spent, budget.room.unwrap_or(0));
    let named =
        [spent_now, free, kept, budget.owner_reserve].into_iter().fold(0, u32::saturating_add);
    let parts = [
        ("spent", spent_now),
        ("free", free),
        ("kept for urgent mail and notices", kept),
        ("left for you", budget.owner_reserve),
        // On its way, or spent by others: the upstream has said that the day is full.
        ("not to be had now", day.saturating_sub(named)),
    ];
    let mut from = 0;
    let placed = parts.map(|(name, number)| {
        let (number, begins) = (number.min(day.saturating_sub(from)), from);
        from += number;
        (name, number, scaled(begins, day, WIDTH), scaled(number, day, WIDTH))
    });
    html! {
        svg.gauge viewBox={ "0 0 " (WIDTH) " " (GAUGE_HEIGHT) } role="img" aria-label=(spent(budget))
            preserveAspectRatio="none" {
            @for (place, (_, _, x, width)) in placed.iter().enumerate() {
                rect class={ "part" (place) } x=(x) y="0" width=(width) height=(GAUGE_HEIGHT) {}
            }
        }
        ul.legend {
            @for (place, (name, number, ..)) in placed.iter().enumerate() {
                @if *number > 0 { li { span class={ "key part" (place) } {} (number) " " (name) } }
            }
        }
    }
}

/// An hour of the picture.
struct Bar {
    begins: Timestamp,
    recipients: u32,
    is_past: bool,
}

/// The last 24 hours as they were spent, and the next 24 as they are foretold.
pub(super) fn day(forecast: &BudgetForecast) -> Markup {
    if forecast.hours.is_empty() {
        return html! { p.small { "Nobody can know just now when mail leaves." } };
    }
    let bars: Vec<Bar> = past(&forecast.hours).chain(to_come(&forecast.hours)).collect();
    let most = bars.iter().map(|bar| bar.recipients).max().unwrap_or(0).max(1);
    let past: u32 = bars.iter().filter(|bar| bar.is_past).map(|bar| bar.recipients).sum();
    let leaving: u32 = bars.iter().filter(|bar| !bar.is_past).map(|bar| bar.recipients).sum();
    let past = format!("{} spent in the last 24 hours", count(past.into(), "recipient"));
    let leaving = format!("{leaving} to leave in the next 24 hours");
    html! {
        figure {
            svg.day viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label={ (past) ", " (leaving) } preserveAspectRatio="none" {
                @for (place, bar) in (0..).zip(&bars) {
                    (drawn(place, bar, most))
                }
                line x1=(WIDTH / 2) y1="0" x2=(WIDTH / 2) y2=(HEIGHT) {}
            }
            // No text of the picture: it would shrink with it.
            p.axis aria-hidden="true" { span { "24 hours ago" } span { "now" } span { "in 24 hours" } }
            figcaption {
                span.key.past {} (past) ", " span.key.to-come {} (leaving)
                ". The highest bar is " (count(most.into(), "recipient")) " in an hour."
            }
        }
        details {
            summary { "The hours as a table" }
            (table(&bars, forecast.now))
        }
    }
}

/// What the window forgets in an hour was spent in the same hour a day before.
fn past(hours: &[Hour]) -> impl Iterator<Item = Bar> {
    hours.iter().map(|hour| Bar {
        begins: hour.begins.before(crate::budget::WINDOW),
        recipients: hour.freed,
        is_past: true,
    })
}

fn to_come(hours: &[Hour]) -> impl Iterator<Item = Bar> {
    hours.iter().map(|hour| Bar { begins: hour.begins, recipients: hour.leaving, is_past: false })
}

fn drawn(place: u32, bar: &Bar, most: u32) -> Markup {
    let height = scaled(bar.recipients, most, HEIGHT);
    html! {
        rect class=(if bar.is_past { "past" } else { "to-come" }) x=(place * BAR_WIDTH + 1)
            y=(HEIGHT - height) width=(BAR_WIDTH - 2) height=(height) {}
    }
}

fn table(bars: &[Bar], now: Timestamp) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "Hour from" } th scope="col" { "Spent" } th scope="col" { "To leave" } } }
            tbody {
                @for bar in bars {
                    tr {
                        th scope="row" { (local(bar.begins, now)) }
                        td { @if bar.is_past { (bar.recipients) } }
                        td { @if !bar.is_past { (bar.recipients) } }
                    }
                }
            }
        }
    }
}

/// A part of a whole in units of the picture; what there is at all can be seen.
fn scaled(part: u32, whole: u32, units: u32) -> u32 {
    let scaled = u64::from(part) * u64::from(units);
    u32::try_from(scaled.div_ceil(u64::from(whole.max(1)))).unwrap_or(units).min(units)
}
