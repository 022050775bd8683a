//! The spending: on whom the budget of the last days was spent, and what folding has spared.
//!
//! Rule: counted and worded as `pillarbox budget report` has it.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    layout::{self, said},
    site::Site,
    visitor::Visitor,
};
use crate::{
    admin::spending::{BudgetReport, DAYS, DAYS_MAX, PARTIAL, Share, Spent},
    quantities::{count, when},
};

const PATH: &str = "/budget";
/// Periods that one can choose.
const PERIODS: [u32; 3] = [1, DAYS, DAYS_MAX];

/// Of how many days.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    days: Option<u32>,
}

pub(super) async fn show(
    State(site): State<Site>,
    Visitor(visit): Visitor,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let Ok(Query(Asked { days })) = asked else {
        let words = "This address was not made by this page.";
        return layout::plain(StatusCode::BAD_REQUEST, "Not understood", words).into_response();
    };
    let days = days.unwrap_or(DAYS);
    match site.client.budget_report(days, None).await {
        Ok(report) => {
            layout::document(&visit, PATH, "Budget", &body(&report, days)).into_response()
        }
        Err(error) => layout::unanswered(&visit, PATH, &error),
    }
}

fn body(report: &BudgetReport, days: u32) -> Markup {
    html! {
        p.standing { (report.all.sentence(&when(report.since, report.now))) }
        @if report.partial { p { (PARTIAL) } }
        p {
            "Counted for the last"
            @for period in PERIODS {
                " "
                a href={ (PATH) "?days=" (period) } aria-current=[(period == days).then_some("true")] { (count(period.into(), "day")) }
            }
        }
        @if report.all != Spent::default() {
            (table("Day from", &report.days_by_name()))
            (table("Origin", &report.all_origins()))
            (table("Lane", &report.lanes))
            @if !report.rules.is_empty() { (table("Rule", &report.rules)) }
            @if !report.accounts.is_empty() { (table("Account", &report.accounts)) }
        }
        p.small {
            "What is spent and left at the moment: " a href="/" { "the start" } ". What is folded: "
            a href="/storms" { "the storms" } ". How the budget is shared: docs/budget.md."
        }
    }
}

fn table(by: &str, shares: &[Share]) -> Markup {
    html! {
        table {
            caption.hidden { "Recipients by " (by.to_lowercase()) }
            thead { tr {
                th scope="col" { (by) }
                th.number scope="col" { "Spent" }
                th.number scope="col" { "Folded" }
            } }
            tbody {
                @for Share { by, spent } in shares {
                    tr {
                        th scope="row" { (said(by)) }
                        td.number data-label="Spent" { (spent.recipients) }
                        td.number data-label="Folded" { (spent.folded) }
                    }
                }
            }
        }
    }
}
