//! The lists of the API: pages of the queue and of the dead letters, searched and sorted.
//!
//! Rule: a page of any queue is looked for in bounded time and memory; what was looked through without finding enough
//! ends it, and it says where the next one goes on.

use std::collections::BTreeMap;

use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    routing::get,
};
use clap::ValueEnum;
use serde::Deserialize;

use super::{
    api::{Message, PAGE_DEFAULT, PAGE_MAX, QueuePage},
    context::{Json, Refusal, Sources},
    outlook::Age,
    stand,
};
use crate::{
    clock::Timestamp,
    queue::{
        LIST_RECIPIENTS_MAX, Queue, QueueError, QueuedMessage,
        id::QueueId,
        record::MessageRecord,
        search::{Place, Search, SearchError},
        situations::Situations,
        walk::Walk,
    },
};

/// Messages that are looked through for one page: a search that finds little asks again.
const LOOKED_THROUGH_MAX: usize = 20_000;

pub(super) fn router() -> Router<Sources> {
    Router::new().route("/v1/queue", get(list)).route("/v1/dead", get(dead))
}

/// Which page.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    after: Option<QueueId>,
    until: Option<QueueId>,
    limit: Option<usize>,
    #[serde(default)]
    search: String,
    sort: Option<Sort>,
}

/// Looks at each message of the queue and of the history, at most `most` of either; of the history those that were
/// accepted since `oldest`. Returns whether there are more.
pub(super) async fn look_back(
    store: &Queue,
    oldest: Timestamp,
    most: usize,
    mut look: impl FnMut(&QueuedMessage),
) -> Result<bool, QueueError> {
    let (mut walk, mut seen) = (Of::Queue.walk(store, None, None).await?, 0);
    while !walk.is_over() && seen < most {
        let page = walk.take(Of::Queue.page(store, walk.after(), PAGE_MAX).await?);
        seen += page.len();
        page.iter().for_each(&mut look);
    }
    let partial = look_back_at_history(store, oldest, most, look).await?;
    Ok(partial || !walk.is_over())
}

/// The same at the history alone.
pub(super) async fn look_back_at_history(
    store: &Queue,
    oldest: Timestamp,
    most: usize,
    mut look: impl FnMut(&QueuedMessage),
) -> Result<bool, QueueError> {
    let (mut walk, mut seen) = (Of::History.walk(store, None, None).await?, 0);
    while !walk.is_over() && seen < most {
        let page = walk.take(Of::History.page(store, walk.after(), PAGE_MAX).await?);
        seen += page.len();
        page.iter().for_each(&mut look);
        // The newest come first, in the order of their acceptance.
        if page.last().is_some_and(|last| last.record.accepted_at < oldest) {
            return Ok(false);
        }
    }
    Ok(!walk.is_over())
}

/// In which order, instead of that of acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sort {
    /// The oldest first.
    Age,
    /// The largest first.
    Size,
    /// By the sender.
    From,
    /// What leaves first.
    Next,
    /// What left the queue last.
    #[value(skip)]
    Ended,
}

/// The messages that a list is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    /// What is in the queue, the oldest first.
    Queue,
    /// What of it has dead recipients.
    DeadLetters,
    /// Finished messages, the newest first.
    History,
}

impl Of {
    /// Where the API has them.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Queue => "/v1/queue",
            Self::DeadLetters => "/v1/dead",
            Self::History => "/v1/history",
        }
    }

    /// The search with these words, when each of them can be said of such a message.
    pub(crate) fn search(self, words: &str) -> Result<Search, SearchError> {
        let place = match self {
            Self::Queue | Self::DeadLetters => Place::Queue,
            Self::History => Place::History,
        };
        Search::read(words, place)
    }

    /// A walk over them, behind a message and up to one, or to the last one of now.
    pub(super) async fn walk(
        self,
        store: &Queue,
        after: Option<QueueId>,
        until: Option<QueueId>,
    ) -> Result<Walk, QueueError> {
        Ok(match self {
            Self::Queue | Self::DeadLetters => {
                Walk::between(after, until.or(store.newest().await?))
            }
            Self::History => Walk::back(after, until.or(store.oldest_finished().await?)),
        })
    }

    /// The next of them behind a message.
    pub(super) async fn page(
        self,
        store: &Queue,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, QueueError> {
        match self {
            Self::Queue => store.list(after, limit).await,
            Self::DeadLetters => store.dead(after, limit).await,
            Self::History => store.history(after, limit).await,
        }
    }
}

async fn list(
    State(sources): State<Sources>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<QueuePage>, Refusal> {
    let Query(page) = page?;
    page.answer(&sources, Of::Queue).await
}

async fn dead(
    State(sources): State<Sources>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<QueuePage>, Refusal> {
    let Query(page) = page?;
    page.answer(&sources, Of::DeadLetters).await
}

impl Page {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
    }

    /// The page in its order.
    pub(super) async fn answer(
        &self,
        sources: &Sources,
        of: Of,
    ) -> Result<Json<QueuePage>, Refusal> {
        match self.sort {
            None => self.read(sources, of).await.map(Json),
            Some(sort) => self.sorted(sources, of, sort).await.map(Json),
        }
    }

    async fn read(&self, sources: &Sources, of: Of) -> Result<QueuePage, Refusal> {
        let search = of.search(&self.search)?;
        let (store, now, limit) = (&sources.store, sources.clock.wall(), self.limit());
        let mut walk = of.walk(store, self.after, self.until).await?;
        // A long list that is read on does not have the queue walked over again and again.
        let age = if self.after.is_some() { Age::Cheap } else { Age::Recent };
        let situations = stand::situations_by(sources, age).await?;
        let (mut found, mut recipients, mut looked_through) = (Vec::new(), 0, 0);
        let mut next = None;
        while next.is_none() && !walk.is_over() {
            let wanted = if search.is_everything() { limit } else { PAGE_MAX };
            let page = walk.take(of.page(store, walk.after(), wanted).await?);
            looked_through += page.len();
            for message in page {
                if !search.matches(message.id, &message.record, now) {
                    continue;
                }
                recipients += message.recipients().len();
                let id = message.id;
                found.push(Message::new(message, &situations));
                if found.len() == limit || recipients >= LIST_RECIPIENTS_MAX {
                    next = Some(id);
                    break;
                }
            }
            if looked_through >= LOOKED_THROUGH_MAX {
                next = next.or_else(|| walk.after());
            }
        }
        let next = next.filter(|id| walk.goes_on_behind(*id));
        Ok(QueuePage { messages: found, next, until: walk.until() })
    }

    /// The first messages in another order, behind the one that is named. Every message is looked at, and no more than
    /// a page of them kept.
    async fn sorted(&self, sources: &Sources, of: Of, sort: Sort) -> Result<QueuePage, Refusal> {
        let search = of.search(&self.search)?;
        let (store, now, limit) = (&sources.store, sources.clock.wall(), self.limit());
        let situations = stand::situations(sources).await?;
        let behind = match self.after {
            Some(id) => {
                let message = store.show(id).await?.ok_or(QueueError::NotFound(id))?;
                Some((sort.key(id, &message.record, &situations), id))
            }
            None => None,
        };
        let (mut first, mut is_more) = (BTreeMap::new(), false);
        let mut walk = of.walk(store, None, self.until).await?;
        while !walk.is_over() {
            for message in walk.take(of.page(store, walk.after(), PAGE_MAX).await?) {
                let key = (sort.key(message.id, &message.record, &situations), message.id);
                if Some(&key) <= behind.as_ref()
                    || !search.matches(message.id, &message.record, now)
                {
                    continue;
                }
                if first.len() == limit {
                    is_more = true;
                    if first.last_key_value().is_some_and(|(last, _)| *last < key) {
                        continue;
                    }
                    first.pop_last();
                }
                first.insert(key, message);
            }
        }
        let next = first.last_key_value().map(|((_, id), _)| *id).filter(|_| is_more);
        let messages = first.into_values().map(|message| Message::new(message, &situations));
        Ok(QueuePage { messages: messages.collect(), next, until: walk.until() })
    }
}

/// The place of a message in an order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    At(i64),
    Octets(std::cmp::Reverse<u64>),
    Text(String),
    Never,
}

impl Sort {
    /// As in a query, and as an option.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Size => "size",
            Self::From => "from",
            Self::Next => "next",
            Self::Ended => "ended",
        }
    }

    fn key(self, id: QueueId, record: &MessageRecord, situations: &Situations) -> Key {
        match self {
            Self::Age => Key::At(record.accepted_at.0),
            Self::Ended => {
                record.end.as_ref().map_or(Key::Never, |end| Key::At(end.at.0.saturating_neg()))
            }
            Self::Size => Key::Octets(std::cmp::Reverse(record.size_bytes)),
            Self::From => Key::Text(
                record
                    .reverse_path
                    .as_ref()
                    .map_or_else(String::new, |at| at.as_str().to_lowercase()),
            ),
            Self::Next => {
                let departure = situations.of(record).departure_of_message(id, record);
                departure.and_then(|departure| departure.at).map_or(Key::Never, |at| Key::At(at.0))
            }
        }
    }
}
