//! The table of messages, in lists and in questions.

use maud::{Markup, html};

use super::layout::said;
use crate::{
    admin::api::Message,
    clock::Timestamp,
    quantities::{local_in_full, relative, size},
    wording::{
        in_words,
        message::{addressees, sender},
    },
};

/// A row for each message.
pub(super) fn rows(messages: &[Message], can_choose: bool, now: Timestamp) -> Markup {
    html! {
        table {
            caption.hidden { "Messages" }
            thead { tr {
                @if can_choose { th scope="col" { span.hidden { "Chosen" } } }
                th scope="col" { "Message" }
                th scope="col" { "Accepted" }
                th scope="col" { "State" }
                th scope="col" { "From and to" }
                th scope="col" { "Subject" }
                th.number scope="col" { "Size" }
            } }
            tbody {
                @for message in messages {
                    tr {
                        @if can_choose {
                            td { input type="checkbox" name="id" value=(message.id) aria-label={ "Choose " (message.id) }; }
                        }
                        th scope="row" { a href={ "/messages/" (message.id) } { code { (message.id) } } }
                        td data-label="Accepted" { time title=(local_in_full(message.accepted_at)) { (relative(message.accepted_at, now)) } }
                        td.wide.bad[is_dead(message)] data-label="State" { (said(&in_words(message, now))) }
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
