//! The counts beside a list, each a link that narrows it.

use maud::{Markup, html};

use super::layout::said;
use crate::{
    admin::sides::{LOOKED_THROUGH_MAX, Side, Sides},
    quantities::count,
};

/// Beside the list whose search is narrowed by `narrowed`, and counted whole by `counted`.
pub(super) fn sides(
    sides: &Sides,
    narrowed: impl Fn(&str) -> String,
    counted: impl Fn(&str) -> String,
) -> Markup {
    html! {
        aside aria-labelledby="sides" {
            h2 #sides { "Narrow it down" }
            @if sides.partial {
                p.small {
                    "Counted among the first " (LOOKED_THROUGH_MAX) " of the list, of which "
                    (count(sides.messages, "message")) " are meant."
                }
            }
            @for side in sides.sides.iter().filter(|side| !side.values.is_empty()) {
                h3 { a href=(counted(&side.by)) title="Count all of them" { (title(side)) } }
                ul {
                    @for value in &side.values {
                        li {
                            @match &value.search {
                                Some(words) => a href=(narrowed(words)) { (said(&value.value)) },
                                None => (said(&value.value)),
                            }
                            " " span.small { (value.messages) }
                        }
                    }
                    @if side.others > 0 { li.small { "others " (side.others) } }
                }
            }
        }
    }
}

fn title(side: &Side) -> &str {
    match side.by.as_str() {
        "from" => "Senders",
        "to" => "Recipients",
        "client" => "Clients",
        "subject" => "Subjects",
        "reason" => "Reasons",
        by => by,
    }
}
