//! The lists: queue, dead letters and history, searched, sorted, counted, and chosen from.
//!
//! Rule: a page of a list is a page of the API, so a list of any length costs the same; the search is that of the commands.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::{IntoResponse as _, Response},
};
use clap::ValueEnum as _;
use maud::{Markup, html};
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::{
    chosen, deeds,
    layout::{self, said, worded},
    live::{self, About},
    rows::{self, Order},
    sides,
    site::Site,
    visitor::{self, Visitor},
};
use crate::{
    admin::{
        api::{Counts, Message},
        client::ClientError,
        counts::CountBy,
        listing::{Of, Sort},
        pulse::Pulse,
        sessions::{Role, Visit},
        sides::Sides,
    },
    clock::Timestamp,
    quantities::{count, relative},
    queue::{id::QueueId, search::Search},
};

/// Messages on a page of a list.
const ROWS: usize = 50;
/// Values that are counted apart.
const VALUES: usize = 20;

/// What a list is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    search: String,
    sort: String,
    count: String,
    after: Option<QueueId>,
}

/// A list, and where it is.
struct List {
    of: Of,
    path: &'static str,
    title: &'static str,
    /// What is said of an empty one.
    none: &'static str,
}

type Question = Result<Query<Asked>, QueryRejection>;

pub(super) async fn queue(
    State(site): State<Site>,
    Visitor(visit): Visitor,
    asked: Question,
) -> Response {
    let list = List { of: Of::Queue, path: "/queue", title: "Queue", none: "The queue is empty." };
    list.answer(&site, &visit, asked).await
}

pub(super) async fn dead(
    State(site): State<Site>,
    Visitor(visit): Visitor,
    asked: Question,
) -> Response {
    let none = "There is no dead letter.";
    let list = List { of: Of::DeadLetters, path: "/dead", title: "Dead letters", none };
    list.answer(&site, &visit, asked).await
}

pub(super) async fn history(
    State(site): State<Site>,
    Visitor(visit): Visitor,
    asked: Question,
) -> Response {
    let none = "Nothing has left the queue yet, or it was too long ago.";
    let list = List { of: Of::History, path: "/history", title: "History", none };
    list.answer(&site, &visit, asked).await
}

/// What is shown of a list.
enum Found {
    Messages(Vec<Message>, Option<QueueId>, Sides),
    Counts(CountBy, Counts),
}

impl List {
    async fn answer(&self, site: &Site, visit: &Visit, asked: Question) -> Response {
        let Ok(Query(asked)) = asked else {
            let words = "This address was not made by this page.";
            let status = axum::http::StatusCode::BAD_REQUEST;
            return layout::plain(status, "Not understood", words).into_response();
        };
        let body = match self.of.search(&asked.search) {
            Err(error) => html! {
                (self.form(&asked))
                p.bad role="alert" { (worded(&error.to_string())) }
            },
            Ok(search) => match self.answered(site, &asked, search).await {
                Ok((pulse, found)) => html! {
                    (live::news(self.about(), &pulse))
                    (self.shown(&asked, &found, visit, site.clock.wall()))
                },
                Err(error) => return layout::unanswered(visit, self.path, &error),
            },
        };
        layout::document(visit, self.path, self.title, &body).into_response()
    }

    /// What is found, and the pulse from before it.
    async fn answered(
        &self,
        site: &Site,
        asked: &Asked,
        search: Search,
    ) -> Result<(Pulse, Found), ClientError> {
        let pulse = site.client.pulse().await?;
        Ok((pulse, self.find(site, asked, search).await?))
    }

    fn about(&self) -> About {
        match self.of {
            Of::Queue => About::Queue,
            Of::DeadLetters => About::DeadLetters,
            Of::History => About::History,
        }
    }

    async fn find(&self, site: &Site, asked: &Asked, search: Search) -> Result<Found, ClientError> {
        if let Ok(by) = CountBy::from_str(&asked.count, false) {
            let counts = site.client.counts(self.of, by, &search, VALUES).await?;
            return Ok(Found::Counts(by, counts));
        }
        let sort = Sort::from_str(&asked.sort, false).ok();
        let (found, sides) = tokio::try_join!(
            self.messages(site, asked.after, &search, sort),
            site.client.sides(self.of, &search)
        )?;
        Ok(Found::Messages(found.0, found.1, sides))
    }

    async fn messages(
        &self,
        site: &Site,
        after: Option<QueueId>,
        search: &Search,
        sort: Option<Sort>,
    ) -> Result<(Vec<Message>, Option<QueueId>), ClientError> {
        let mut walk = site.client.walk(self.of, after).of(search.clone(), sort);
        let mut messages = Vec::new();
        // A search may find nothing in a part of a long list, and go on behind it.
        while messages.is_empty() {
            let Some(page) = walk.page(ROWS).await? else { break };
            messages = page;
        }
        Ok((messages, walk.next()))
    }

    fn shown(&self, asked: &Asked, found: &Found, visit: &Visit, now: Timestamp) -> Markup {
        html! {
            (self.form(asked))
            @match found {
                Found::Counts(by, counts) => (self.counted(asked, *by, counts, now)),
                Found::Messages(messages, ..) if messages.is_empty() => {
                    p { @if asked.search.trim().is_empty() { (self.none) } @else { "No message is found." } }
                }
                Found::Messages(messages, next, sides) => {
                    div.beside {
                        div { (self.listed(asked, messages, *next, visit, now)) }
                        (self.narrowed(asked, sides))
                    }
                }
            }
        }
    }

    fn listed(
        &self,
        asked: &Asked,
        messages: &[Message],
        next: Option<QueueId>,
        visit: &Visit,
        now: Timestamp,
    ) -> Markup {
        let in_order = |sort: Sort| {
            self.link(&Asked { sort: sort.name().into(), after: None, ..asked.clone() })
        };
        let chosen = Sort::from_str(&asked.sort, false).ok();
        let order = Order { chosen, link: &in_order };
        html! {
            @if visit.role == Role::Act && !matches!(self.of, Of::History) {
                form method="post" action="/deeds" {
                    (visitor::token(visit))
                    (rows::rows(messages, true, now, Some(&order)))
                    input type="hidden" name="of" value=(chosen::name(self.of));
                    input type="hidden" name="search" value=(asked.search);
                    div.bar {
                        label { input type="checkbox" name="all" value="yes"; " All that are found, on every page of the list" }
                        p { (deeds::buttons()) }
                    }
                }
            } @else {
                (rows::rows(messages, false, now, Some(&order)))
            }
            @if let Some(next) = next {
                p { a href=(self.link(&Asked { after: Some(next), ..asked.clone() })) { "The next ones" } }
            }
        }
    }

    /// What the list can be narrowed down to.
    fn narrowed(&self, asked: &Asked, found: &Sides) -> Markup {
        let narrowed = |words: &str| {
            let search = format!("{} {words}", asked.search).trim().to_owned();
            self.link(&Asked { search, after: None, ..asked.clone() })
        };
        let counted =
            |by: &str| self.link(&Asked { count: by.to_owned(), after: None, ..asked.clone() });
        sides::sides(found, narrowed, counted)
    }

    /// Search, order and counts.
    fn form(&self, asked: &Asked) -> Markup {
        html! {
            form.search method="get" action=(self.path) role="search" {
                label { "Search"
                    input type="search" name="search" value=(asked.search)
                        placeholder="from:printer subject:toner age>2h -state:dead" autocomplete="off";
                }
                label { "Order"
                    select name="sort" {
                        option value="" { "of arrival" }
                        (options::<Sort>(&asked.sort, Sort::name))
                    }
                }
                label { "Count by"
                    select name="count" {
                        option value="" { "nothing, list them" }
                        (options::<CountBy>(&asked.count, CountBy::name))
                    }
                }
                button { "Show" }
            }
        }
    }

    fn counted(&self, asked: &Asked, by: CountBy, counts: &Counts, now: Timestamp) -> Markup {
        html! {
            p { (count(counts.messages, "message")) " for " (count(counts.recipients, "recipient")) "." }
            table {
                caption.hidden { "Counted by " (by.name()) }
                thead { tr {
                    th scope="col" { (by.name()) }
                    th.number scope="col" { "Messages" }
                    th.number scope="col" { "Recipients" }
                    th scope="col" { "The oldest" }
                } }
                tbody {
                    @for share in &counts.values {
                        tr {
                            th scope="row" data-label=(by.name()) { (said(&share.value)) }
                            td.number data-label="Messages" { (share.messages) }
                            td.number data-label="Recipients" { (share.recipients) }
                            td data-label="The oldest" { (share.oldest.map_or_else(String::new, |at| relative(at, now))) }
                        }
                    }
                }
            }
            @if counts.other_messages > 0 {
                p.small { (count(counts.other_messages, "message")) " with other values." }
            }
            p { a href=(self.link(&Asked { count: String::new(), ..asked.clone() })) { "List them instead" } }
        }
    }

    fn link(&self, asked: &Asked) -> String {
        let mut query = Serializer::new(String::new());
        for (key, value) in
            [("search", &asked.search), ("sort", &asked.sort), ("count", &asked.count)]
        {
            if !value.is_empty() {
                query.append_pair(key, value);
            }
        }
        if let Some(after) = asked.after {
            query.append_pair("after", &after.to_string());
        }
        format!("{}?{}", self.path, query.finish())
    }
}

fn options<T: clap::ValueEnum>(chosen: &str, name: fn(T) -> &'static str) -> Markup {
    html! {
        @for value in T::value_variants().iter().filter(|value| value.to_possible_value().is_some()) {
            @let name = name(value.clone());
            option value=(name) selected[name == chosen] { (name) }
        }
    }
}
