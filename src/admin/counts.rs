//! The queue counted by what its messages have in common: senders, clients, subjects, reasons.
//!
//! Rule: one walk over the queue, in bounded memory whatever it holds: what there is no room for is counted together.

use std::collections::{BTreeMap, HashMap};

use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    routing::get,
};
use clap::ValueEnum;
use serde::Deserialize;

use super::{
    api::{Counts, PAGE_DEFAULT, PAGE_MAX, Share},
    context::{Json, Refusal, Sources},
    listing::Of,
    stand,
};
use crate::{
    clock::Timestamp,
    queue::{
        QueuedMessage, id::QueueId, record::MessageRecord, state::RecipientState,
        waiting::Situation,
    },
};

/// Values that are counted apart; what comes later is counted together.
const VALUES_MAX: usize = 10_000;

/// What is counted.
#[derive(Debug, Deserialize)]
pub(super) struct Counted {
    by: CountBy,
    #[serde(default)]
    search: String,
    limit: Option<usize>,
}

/// What messages may have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CountBy {
    /// The sender.
    From,
    /// A recipient.
    To,
    /// Who handed it over.
    Client,
    /// Who had logged in, or whose program it was.
    User,
    /// The subject, with one figure for every number.
    Subject,
    /// The state of a recipient.
    State,
    /// What a recipient waits for, or why it does not.
    Reason,
}

pub(super) fn router() -> Router<Sources> {
    Router::new().route("/v1/queue/counts", get(counts)).route("/v1/dead/counts", get(dead))
}

/// `GET /v1/queue/counts`.
async fn counts(
    State(sources): State<Sources>,
    counted: Result<Query<Counted>, QueryRejection>,
) -> Result<Json<Counts>, Refusal> {
    let Query(counted) = counted?;
    counted.answer(&sources, Of::Queue).await
}

/// `GET /v1/dead/counts`.
async fn dead(
    State(sources): State<Sources>,
    counted: Result<Query<Counted>, QueryRejection>,
) -> Result<Json<Counts>, Refusal> {
    let Query(counted) = counted?;
    counted.answer(&sources, Of::DeadLetters).await
}

impl Counted {
    pub(super) async fn answer(&self, sources: &Sources, of: Of) -> Result<Json<Counts>, Refusal> {
        let search = of.search(&self.search)?;
        let (store, now) = (&sources.store, sources.clock.wall());
        let situations = stand::situations(sources).await?;
        let mut walk = of.walk(store, None, None).await?;
        let mut shares = Shares { until: walk.until(), ..Shares::default() };
        while !walk.is_over() {
            let page = walk.take(of.page(store, walk.after(), PAGE_MAX).await?);
            for message in
                page.iter().filter(|message| search.matches(message.id, &message.record, now))
            {
                shares.messages += 1;
                shares.recipients += message.recipients().len() as u64;
                self.by.count(message, situations.of(&message.record), &mut shares);
            }
        }
        Ok(Json(shares.counts(self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX))))
    }
}

/// What was counted so far.
#[derive(Debug, Default)]
pub(super) struct Shares {
    until: Option<QueueId>,
    messages: u64,
    recipients: u64,
    values: HashMap<String, Part>,
    others: Part,
}

/// Messages and recipients of one value.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    messages: u64,
    recipients: u64,
    oldest: Option<Timestamp>,
}

impl Part {
    fn add(&mut self, recipients: u64, accepted_at: Timestamp) {
        self.messages += 1;
        self.recipients += recipients;
        self.oldest = Some(self.oldest.map_or(accepted_at, |oldest| oldest.min(accepted_at)));
    }
}

impl Shares {
    fn add(&mut self, value: String, recipients: u64, message: &QueuedMessage) {
        let has_room = self.values.len() < VALUES_MAX || self.values.contains_key(&value);
        let part = if has_room { self.values.entry(value).or_default() } else { &mut self.others };
        part.add(recipients, message.record.accepted_at);
    }

    /// The largest ones, and the rest together.
    pub(super) fn counts(self, limit: usize) -> Counts {
        let mut all: Vec<(String, Part)> = self.values.into_iter().collect();
        all.sort_unstable_by(|(a, of_a), (b, of_b)| {
            of_b.messages.cmp(&of_a.messages).then(a.cmp(b))
        });
        let mut others = self.others;
        for (_, part) in all.drain(limit.min(all.len())..) {
            others.messages += part.messages;
            others.recipients += part.recipients;
        }
        let share = |(value, part): (String, Part)| Share {
            value,
            messages: part.messages,
            recipients: part.recipients,
            oldest: part.oldest,
        };
        Counts {
            until: self.until,
            messages: self.messages,
            recipients: self.recipients,
            values: all.into_iter().map(share).collect(),
            other_messages: others.messages,
            other_recipients: others.recipients,
        }
    }
}

impl CountBy {
    /// The title of a column.
    #[must_use]
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::From => "FROM",
            Self::To => "TO",
            Self::Client => "CLIENT",
            Self::User => "USER",
            Self::Subject => "SUBJECT",
            Self::State => "STATE",
            Self::Reason => "REASON",
        }
    }

    /// As in a query, and as an option.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
            Self::Client => "client",
            Self::User => "user",
            Self::Subject => "subject",
            Self::State => "state",
            Self::Reason => "reason",
        }
    }

    pub(super) fn count(self, message: &QueuedMessage, situation: &Situation, shares: &mut Shares) {
        let (record, all) = (&message.record, message.recipients().len() as u64);
        let about = &record.about;
        let of_message = match self {
            Self::From => {
                record.reverse_path.as_ref().map_or_else(|| "<>".to_owned(), ToString::to_string)
            }
            Self::Client => about.client.to_string(),
            Self::User => about.user.clone().unwrap_or_default(),
            Self::Subject => alike(&about.subject),
            Self::To | Self::State | Self::Reason => {
                let mut values: BTreeMap<String, u64> = BTreeMap::new();
                for recipient in message.recipients() {
                    let value = match self {
                        Self::To => recipient.address.to_string(),
                        Self::State => {
                            record.state_name(&recipient.state, situation.now).to_owned()
                        }
                        _ => reason(
                            record,
                            &recipient.state,
                            situation,
                            recipient.last_reply.as_deref(),
                        ),
                    };
                    *values.entry(value).or_default() += 1;
                }
                for (value, recipients) in values {
                    shares.add(value, recipients, message);
                }
                return;
            }
        };
        shares.add(of_message, all, message);
    }
}

/// Why a recipient is where it is: its reason, the last refusal, or what keeps it. Figures are alike, since replies have
/// numbers of sessions in them.
fn reason(
    record: &MessageRecord,
    state: &RecipientState,
    situation: &Situation,
    last_reply: Option<&str>,
) -> String {
    kept_reason(record, state, situation, last_reply).unwrap_or_else(|| {
        let departure = situation.departure_of(record, [state]);
        departure.map_or_else(|| state.name().to_owned(), |departure| departure.why)
    })
}

/// The reason that lies in the record, where it is one: what a search for replies finds.
pub(super) fn kept_reason(
    record: &MessageRecord,
    state: &RecipientState,
    situation: &Situation,
    last_reply: Option<&str>,
) -> Option<String> {
    match (state, last_reply) {
        (RecipientState::Held { reason, .. } | RecipientState::Dead { reason, .. }, _) => {
            Some(alike(reason))
        }
        (RecipientState::Queued { due, .. }, Some(reply))
            if *due > situation.now && record.scheduled_for(situation.now).is_none() =>
        {
            Some(alike(reply))
        }
        _ => None,
    }
}

/// A text in which every number but the code of a reply is one `#`: thousands of messages differ in nothing else.
pub(super) fn alike(text: &str) -> String {
    let kept = code_length(text);
    let (mut result, mut in_number) = (text[..kept].to_owned(), false);
    for character in text[kept..].chars() {
        let is_figure = character.is_ascii_digit();
        if !(is_figure && in_number) {
            result.push(if is_figure { '#' } else { character });
        }
        in_number = is_figure;
    }
    result
}

/// Octets of the code of a reply, with its enhanced status code; 0 without one.
pub(super) fn code_length(text: &str) -> usize {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|one| one.is_ascii_digit());
    let code = text.split([' ', '-']).next().unwrap_or_default();
    if code.len() != 3 || !is_number(code) {
        return 0;
    }
    let status = text.get(4..).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let parts = status.split('.');
    if parts.clone().count() == 3 && parts.clone().all(is_number) { 4 + status.len() } else { 3 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_differ_in_numbers_only_are_counted_together_and_codes_stay() {
        for (text, shown) in [
            ("Backup 12 of host7", "Backup # of host#"),
            ("550 5.1.1 gone 77-abc", "550 5.1.1 gone #-abc"),
            ("550-5.1.1 gone", "550-5.1.1 gone"),
            ("451 later 9", "451 later #"),
            ("4512", "#"),
            ("45", "#"),
            ("2026-11-28", "#-#-#"),
            ("550 \u{e9}1", "550 \u{e9}#"),
            ("550-", "550-"),
            ("", ""),
            ("550", "550"),
        ] {
            assert_eq!(alike(text), shown, "{text}");
        }
    }
}
