//! The table of messages, in lists and in questions.

use maud::{Markup, html};

use super::layout::{said, worded};
use crate::{
    admin::{api::Message, listing::Sort},
    clock::Timestamp,
    quantities::{local_in_full, relative, size},
    wording::{
        in_words,
        message::{addressees, sender},
    },
};

/// The orders that the heads of a list's columns lead to.
pub(super) struct Order<'a> {
    pub(super) chosen: Option<Sort>,
    /// Where the same list is in this order.
    pub(super) link: &'a dyn Fn(Sort) -> String,
}

/// The head of a column, with its order where there is one.
fn head(name: &str, sort: Sort, order: Option<&Order<'_>>) -> Markup {
    html! {
        @match order {
            None => { (name) }
            Some(order) if order.chosen == Some(sort) => { (name) span.hidden { " (the list is in this order)" } }
            Some(order) => a href=((order.link)(sort)) title={ "In the order: " (sort.name()) } { (name) }
        }
    }
}

/// A row for each message.
pub(super) fn rows(
    messages: &[Message],
    can_choose: bool,
    now: Timestamp,
    order: Option<&Order<'_>>,
) -> Markup {
    html! {
        table {
            caption.hidden { "Messages" }
            thead { tr {
                @if can_choose { th scope="col" { span.hidden { "Chosen" } } }
                th scope="col" { "Message" }
                th scope="col" { (head("Accepted", Sort::Age, order)) }
                th scope="col" { (head("State", Sort::Next, order)) }
                th scope="col" { (head("From and to", Sort::From, order)) }
                th scope="col" { "Subject" }
                th.number scope="col" { (head("Size", Sort::Size, order)) }
            } }
            tbody {
                @for message in messages {
                    tr {
                        @if can_choose {
                            td { input type="checkbox" name="id" value=(message.id) aria-label={ "Choose " (message.id) }; }
                        }
                        th scope="row" { a href={ "/messages/" (message.id) } { code { (message.id) } } }
                        td data-label="Accepted" { time title=(local_in_full(message.accepted_at)) { (relative(message.accepted_at, now)) } }
                        td.wide.bad[is_dead(message)] data-label="State" { (worded(&in_words(message, now))) }
                        td.wide data-label="From and to" { (said(sender(message))) " to " (said(&addressees(message))) }
                        td.wide data-label="Subject" { (said(&message.subject)) }
                        td.number data-label="Size" { (size(message.size_bytes)) }
                    }
                }
            }
        }
    }
}

/// Whether it needs somebody.
fn is_dead(message: &Message) -> bool {
    message.end.is_none() && message.recipients.iter().any(|one| one.state == "dead")
}
