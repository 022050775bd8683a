//! The counts beside a list: what its first messages have in common, each with the search that narrows the list to it.
//!
//! Rule: a named number of messages is looked through for all of them together, so that a list of any length stays quick.
//! Must not know how it is shown.

use std::collections::HashSet;

use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    routing::get,
};
use serde::{Deserialize, Serialize};

use super::{
    api::PAGE_MAX,
    context::{Json, Refusal, Sources},
    counts::{CountBy, Shares, kept_reason},
    listing::Of,
    stand,
};
use crate::queue::{QueuedMessage, search::Search, waiting::Situation};

/// Messages that are looked through.
pub(crate) const LOOKED_THROUGH_MAX: usize = 2_000;
/// Different reasons that are remembered on the way; the most frequent are met early.
const REASONS_MAX: usize = 2_000;
/// Values that are told of each kind.
const VALUES: usize = 6;
/// The kinds, in the order of a screen.
const KINDS: [CountBy; 5] =
    [CountBy::From, CountBy::To, CountBy::Client, CountBy::Subject, CountBy::Reason];

/// `GET /v1/queue/sides`, and the same of `dead` and `history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sides {
    /// Messages that are meant of those that were looked through.
    pub(crate) messages: u64,
    /// Whether the list is longer than what was looked through.
    pub(crate) partial: bool,
    /// One for each kind.
    pub(crate) sides: Vec<Side>,
}

/// The counts of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Side {
    /// As `--count-by` has it.
    pub(crate) by: String,
    /// The values that most messages have, the most frequent first.
    pub(crate) values: Vec<Value>,
    /// Messages with other values.
    pub(crate) others: u64,
}

/// The messages with one value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Value {
    /// The value; in subjects and reasons every number is `#`.
    pub(crate) value: String,
    /// How many messages have it.
    pub(crate) messages: u64,
    /// The words of a search that finds all of them, and perhaps others like them; null where no word does.
    pub(crate) search: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(default)]
    search: String,
}

pub(super) fn router() -> Router<Sources> {
    let of = |of: Of| {
        get(
            async move |State(sources): State<Sources>,
                        asked: Result<Query<Asked>, QueryRejection>| {
                sides(&sources, of, &asked?.0.search).await
            },
        )
    };
    Router::new()
        .route("/v1/queue/sides", of(Of::Queue))
        .route("/v1/dead/sides", of(Of::DeadLetters))
        .route("/v1/history/sides", of(Of::History))
}

async fn sides(sources: &Sources, of: Of, search: &str) -> Result<Json<Sides>, Refusal> {
    let search = of.search(search)?;
    let (store, now) = (&sources.store, sources.clock.wall());
    let situations = stand::situations(sources).await?;
    let mut kinds = KINDS.map(|by| (by, Shares::default()));
    let (mut looked_through, mut messages) = (0, 0);
    let mut found = Found::default();
    let mut walk = of.walk(store, None, None).await?;
    while !walk.is_over() && looked_through < LOOKED_THROUGH_MAX {
        let page = walk.take(of.page(store, walk.after(), PAGE_MAX).await?);
        looked_through += page.len();
        for message in page.iter().filter(|one| search.matches(one.id, &one.record, now)) {
            messages += 1;
            found.add(message, situations.of(&message.record));
            for (by, shares) in &mut kinds {
                by.count(message, situations.of(&message.record), shares);
            }
        }
    }
    let side = |(by, shares): (CountBy, Shares)| {
        let counts = shares.counts(VALUES);
        let values = counts.values.into_iter().map(|share| Value {
            search: narrowing(by, &share.value, &found),
            value: share.value,
            messages: share.messages,
        });
        Side { by: by.name().to_owned(), values: values.collect(), others: counts.other_messages }
    };
    let sides = kinds.into_iter().map(side).collect();
    Ok(Json(Sides { messages, partial: !walk.is_over(), sides }))
}

/// The reasons that lie in records, which a search for replies finds: what was said, by the upstream or by a person.
#[derive(Debug, Default)]
struct Found {
    reasons: HashSet<String>,
}

impl Found {
    fn add(&mut self, message: &QueuedMessage, situation: &Situation) {
        for recipient in message.recipients() {
            if self.reasons.len() >= REASONS_MAX {
                return;
            }
            let said = recipient.last_reply.as_deref();
            self.reasons.extend(kept_reason(&message.record, &recipient.state, situation, said));
        }
    }
}

/// The words of a search that finds every message with this value.
fn narrowing(by: CountBy, value: &str, found: &Found) -> Option<String> {
    let words = match by {
        CountBy::From if value == "<>" => "from:<>".to_owned(),
        CountBy::From => quoted("from", value),
        CountBy::To => quoted("to", value),
        CountBy::Client => format!("client:{value}"),
        CountBy::User => quoted("user", value),
        CountBy::State => format!("state:{value}"),
        CountBy::Subject => parts("subject", value),
        // What the relay itself waits for is in no record.
        CountBy::Reason if !found.reasons.contains(value) => return None,
        CountBy::Reason => parts("reply", value),
    };
    // What would not be understood, such as nothing at all, is no search.
    words.parse::<Search>().ok().filter(|search| !search.is_everything()).map(|_| words)
}

/// The pieces between numbers, each of which must be there.
fn parts(key: &str, value: &str) -> String {
    let parts = value.split('#').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| quoted(key, part)).collect::<Vec<_>>().join(" ")
}

fn quoted(key: &str, value: &str) -> String {
    format!("{key}:\"{}\"", value.replace('\\', r"\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_becomes_the_words_that_find_it() {
        let kept = ["550 5.1.1 gone #", "held by a person: look at it"];
        let found = Found { reasons: kept.map(str::to_owned).into() };
        for (by, value, words) in [
            (CountBy::From, "a@example.org", Some("from:\"a@example.org\"")),
            (CountBy::From, "<>", Some("from:<>")),
            (CountBy::From, "\"a b\"@example.org", Some(r#"from:"\"a b\"@example.org""#)),
            (CountBy::Client, "192.0.2.1", Some("client:192.0.2.1")),
            (CountBy::Client, "local", Some("client:local")),
            (CountBy::Subject, "Backup # of host#", Some("subject:\"Backup\" subject:\"of host\"")),
            (CountBy::Subject, "#", None),
            (CountBy::Subject, "", None),
            (CountBy::Subject, r"a\", Some(r#"subject:"a\\""#)),
            (CountBy::Reason, "550 5.1.1 gone #", Some("reply:\"550 5.1.1 gone\"")),
            (
                CountBy::Reason,
                "held by a person: look at it",
                Some("reply:\"held by a person: look at it\""),
            ),
            (CountBy::Reason, "the account is backing-off", None),
        ] {
            assert_eq!(narrowing(by, value, &found).as_deref(), words, "{value}");
        }
    }
}
