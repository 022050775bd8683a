//! The forecast over the API: the hours that are to come, and why one message leaves when it does.
//!
//! Rule: as in `server.rs`. What is foretold is `queue/forecast.rs`'s; here it gets the words of version 1 of the API.

use std::net::IpAddr;

use axum::{
    Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    routing::get,
};
use serde::{Deserialize, Serialize};

use super::{
    api::{Message, Origin},
    context::{Json, Refusal, Sources, parse},
    of_account::{Each, OfAccount},
    outlook::{Age, QueueSummary},
    stand::{self, Stand},
};
use crate::{
    budget::{AccountKey, Limit},
    clock::Timestamp,
    listener::options::Network,
    queue::{
        QueueError,
        forecast::Hour,
        id::QueueId,
        record::MessageRecord,
        spool_file::MessageReader,
        waiting::{Departure, Situation},
    },
};

/// Hours that are foretold.
const HOURS: usize = 24;

/// `GET /v1/budget/forecast`: the next 24 hours, when nothing new comes and nothing is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BudgetForecast {
    /// The time of this answer.
    pub(crate) now: Timestamp,
    /// What the relay may spend in 24 hours; null without a limit.
    pub(crate) limit: Limit,
    /// Recipients that are spent now.
    pub(crate) spent: u32,
    /// Recipients that wait to leave now.
    pub(crate) waiting: u64,
    /// When the last of them leaves; null when nothing waits, or nobody can know.
    pub(crate) empty_at: Option<Timestamp>,
    /// Why mail that is due waits just now, or that it does not.
    pub(crate) departure: Departure,
    /// The hours, the present one first; none while nobody can know when mail leaves again.
    pub(crate) hours: Vec<Hour>,
}

/// `GET /v1/queue/{id}/explain`: what made a message what it is, and when it leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Explained {
    /// The time of this answer.
    pub(crate) now: Timestamp,
    /// As `GET /v1/queue/{id}` has it, without its header.
    pub(crate) message: Message,
    /// The networks of the section of the configuration that its client is in; none when it is in no section, or when no
    /// client of a network brought it.
    pub(crate) networks: Vec<String>,
    /// Whether the clients of that section may relay without a login.
    pub(crate) trusted: bool,
    /// The lane of that section; the message keeps the one that it was accepted with.
    pub(crate) lane: Option<String>,
    /// What the rule that struck it says now, in words; null when no rule struck, or the configuration has it no more.
    #[serde(default)]
    pub(crate) effect: Option<Vec<String>>,
    /// What an attempt of this moment would edit in its header, as the log says it.
    pub(crate) edits: String,
    /// When its last recipients leave.
    pub(crate) last: Option<Timestamp>,
    /// Messages that leave before it.
    pub(crate) before: Option<u32>,
    /// Messages that wait to leave.
    pub(crate) waiting: usize,
    /// What the account wants of a person.
    pub(crate) remedy: String,
}

pub(super) fn router() -> Router<Sources> {
    Router::new()
        .route("/v1/budget/forecast", get(budget))
        .route("/v1/queue/{id}/explain", get(explain))
}

async fn budget(
    State(sources): State<Sources>,
    asked: Result<Query<OfAccount>, QueryRejection>,
) -> Result<Json<Each<BudgetForecast>>, Refusal> {
    let (first, others) = asked?.0.each(&sources)?;
    let (_, summary) = sources.counted(Age::Recent).await?;
    let mut all = Each::new(foretold(&sources, first, &summary).await?);
    for account in others {
        all.add(&sources.facts(), account, foretold(&sources, account, &summary).await?);
    }
    Ok(Json(all))
}

async fn foretold(
    sources: &Sources,
    account: AccountKey,
    summary: &QueueSummary,
) -> Result<BudgetForecast, QueueError> {
    let Stand { situation, budget, .. } = stand::stand_of(sources, account, Some(summary)).await?;
    let expected = stand::foretell(sources, account, &situation).await?;
    let situation = Situation { forecast: expected, ..situation };
    let now = situation.now;
    let forecast = &situation.forecast;
    let hours = situation.starts().map_or_else(Vec::new, |_| forecast.hours(now, HOURS));
    Ok(BudgetForecast {
        now,
        limit: budget.limit,
        spent: budget.spent,
        waiting: forecast.waiting(),
        empty_at: forecast.empty_at(),
        departure: budget.departure,
        hours,
    })
}

async fn explain(
    State(sources): State<Sources>,
    Path(id): Path<String>,
) -> Result<Json<Explained>, Refusal> {
    let id = parse(&id)?;
    let message = sources.store.show(id).await?.ok_or(QueueError::NotFound(id))?;
    let situations = stand::situations(&sources).await?;
    let situation = situations.of(&message.record);
    let expected = situation.forecast.of(id);
    // A message that has left has no file any more.
    let reader = sources.store.read_message(id).await.ok();
    let client = reader.as_ref().and_then(|reader| {
        let origin = &reader.envelope().origin;
        origin.local.is_none().then_some(origin.address)
    });
    let networks = sources.facts().networks.clone();
    let network = client.and_then(|client| of_client(&networks, client));
    let origin = reader.as_ref().map(|reader| Origin::from(reader.envelope()));
    let edits = match reader {
        Some(reader) => edits(&sources, id, &message.record, reader).await?,
        None => String::new(),
    };
    let facts = sources.facts();
    let rule = message.record.rule.as_deref().and_then(|name| facts.rules.of_name(name));
    let effect = rule.map(|rule| rule.effect.words());
    let names = network.map(|network| network.networks.iter().map(ToString::to_string).collect());
    Ok(Json(Explained {
        now: situation.now,
        networks: names.unwrap_or_default(),
        trusted: network.is_some_and(|network| network.policy.trusted),
        lane: network.map(|network| network.lane.name().to_owned()),
        effect,
        edits,
        last: expected.map(|expected| expected.last),
        before: expected.map(|expected| expected.before),
        waiting: situation.forecast.messages(),
        remedy: remedy(situation),
        message: Message { origin, ..Message::new(message, &situations) },
    }))
}

fn of_client(networks: &[Network], client: IpAddr) -> Option<&Network> {
    networks.iter().find(|one| one.networks.iter().any(|network| network.contains(&client)))
}

async fn edits(
    sources: &Sources,
    id: QueueId,
    record: &MessageRecord,
    mut reader: MessageReader,
) -> Result<String, QueueError> {
    let upstream = sources.upstream_of(record).await?;
    upstream.rewrite_as_sent(id, record.accepted_at, &mut reader)
}

fn remedy(situation: &Situation) -> String {
    situation.account.remedy.clone()
}
