//! The frame of every document: head, navigation, and the pieces that documents share.
//!
//! Rule: every text that is not ours stands in a `bdi`, with what could deceive an eye written out; the template escapes
//! the rest.

use axum::{
    http::StatusCode,
    response::{Html, IntoResponse as _, Response},
};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use crate::{
    admin::{
        client::ClientError,
        sessions::{Role, Visit},
    },
    text,
    wording::Lines,
};

/// Of a fleet, which is not shown without one.
pub(super) const HOSTS: &str = "/hosts";
/// The documents with a place in the navigation.
const PLACES: [(&str, &str); 10] = [
    ("/", "Start"),
    ("/queue", "Queue"),
    ("/dead", "Dead letters"),
    ("/history", "History"),
    ("/storms", "Storms"),
    ("/budget", "Budget"),
    ("/clients", "Clients"),
    (HOSTS, "Hosts"),
    ("/account", "Account"),
    ("/settings", "Settings"),
];

/// A document of a session.
pub(super) fn document(visit: &Visit, path: &str, title: &str, body: &Markup) -> Html<String> {
    let navigation = html! {
        nav aria-label="Parts of the page" {
            ul {
                @for (place, name) in PLACES.into_iter().filter(|(place, _)| *place != HOSTS || visit.sees_hosts) {
                    li { a href=(place) aria-current=[(place == path).then_some("page")] { (name) } }
                }
            }
        }
        form.leave method="post" action="/leave" {
            span { (said(&visit.person)) @if visit.role == Role::Look { " may look" } }
            button { "Leave" }
        }
    };
    Html(whole(title, &navigation, body))
}

/// A document without a session.
pub(super) fn bare(status: StatusCode, title: &str, body: &Markup) -> (StatusCode, Html<String>) {
    (status, Html(whole(title, &html! {}, body)))
}

/// The same with one text.
pub(super) fn plain(status: StatusCode, title: &str, words: &str) -> (StatusCode, Html<String>) {
    bare(status, title, &html! { p { (worded(words)) } })
}

/// For a path that there is not.
pub(super) async fn nothing_here() -> Response {
    plain(StatusCode::NOT_FOUND, "Nothing is here", "See the start page.").into_response()
}

/// For a question that the relay has not answered.
pub(super) fn unanswered(visit: &Visit, path: &str, error: &ClientError) -> Response {
    let status = match error {
        ClientError::Refused(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = html! { p.bad role="alert" { (worded(&error.to_string())) } };
    (status, document(visit, path, "The relay says no", &body)).into_response()
}

fn whole(title: &str, navigation: &Markup, body: &Markup) -> String {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " - Pillarbox" }
                link rel="icon" type="image/svg+xml" href=(assets::icon());
                link rel="stylesheet" href=(assets::style());
            }
            body {
                a.skip href="#main" { "To the content" }
                header { a.name href="/" { "Pillarbox" } (navigation) }
                main #main tabindex="-1" { h1 { (title) } (body) }
            }
        }
    };
    document.into_string()
}

/// A text of others, whole and harmless.
pub(super) fn said(words: &str) -> Markup {
    html! { bdi { (text::printable(words)) } }
}

/// Words of ours, which others may have had a part in: a command that stands between backticks, as a terminal shows it, is
/// marked as one instead.
pub(super) fn worded(words: &str) -> Markup {
    let words = text::printable(words);
    html! {
        bdi {
            @for part in parts(&words) {
                @match part {
                    Part::Plain(words) => (words),
                    Part::Command(words) => code { (words) },
                }
            }
        }
    }
}

/// What commands that a person is told to run begin with. Whatever else stands between backticks is as it came.
const COMMANDS: [&str; 2] = ["pillarbox ", "systemctl "];

/// A part of a sentence.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Plain(&'a str),
    Command(&'a str),
}

fn parts(words: &str) -> Vec<Part<'_>> {
    let (mut parts, mut plain_from, mut at) = (Vec::new(), 0, 0);
    while let Some(begin) = words[at..].find('`').map(|found| at + found) {
        let within = &words[begin + 1..];
        at = begin + 1;
        let is_command = COMMANDS.iter().any(|command| within.starts_with(command));
        if let (true, Some(length)) = (is_command, within.find('`')) {
            parts.push(Part::Plain(&words[plain_from..begin]));
            parts.push(Part::Command(&within[..length]));
            at += length + 1;
            plain_from = at;
        }
    }
    parts.push(Part::Plain(&words[plain_from..]));
    parts.retain(|part| *part != Part::Plain(""));
    parts
}

/// Labels with what stands beside them.
pub(super) fn facts(lines: &Lines) -> Markup {
    html! {
        dl {
            @for (label, lines) in lines {
                @if !lines.is_empty() {
                    dt { (label) }
                    @for line in lines { dd { (worded(line)) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_between_backticks_is_marked_as_one_and_nothing_else_is() {
        let shown = |words| worded(words).into_string();
        assert_eq!(
            shown("Correct it; then run `pillarbox resume`, or `systemctl restart pillarbox`."),
            "<bdi>Correct it; then run <code>pillarbox resume</code>, or <code>systemctl restart pillarbox</code>.</bdi>"
        );
        assert_eq!(
            shown("`pillarbox auth google`"),
            "<bdi><code>pillarbox auth google</code></bdi>"
        );
        for plain in [
            "",
            "550 no `user` here",
            "`",
            "``",
            "run `pillarbox resume",
            "a `b` `",
            "`pillarboxes`",
        ] {
            assert_eq!(shown(plain), format!("<bdi>{plain}</bdi>"));
        }
        assert_eq!(
            shown("` <b>`pillarbox <script>`\u{202e}`"),
            "<bdi>` &lt;b&gt;<code>pillarbox &lt;script&gt;</code>\\u{202e}`</bdi>"
        );
    }
}
