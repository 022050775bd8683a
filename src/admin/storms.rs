//! The storms as the API shows them: what is folded, into which storm, and what of it was told.
//!
//! Rule: from the records of what is folded, as far as they are kept; the storms that are seen last are given out. Must not
//! know how a storm is shown.

use std::collections::BTreeMap;

use axum::{Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};

use super::context::{Json, Refusal, Sources};
use crate::{
    clock::Timestamp,
    message::subject_shape::shape,
    queue::{QueuedMessage, fold::FOLDED, id::QueueId, origin::Origin, storms::SHAPES_MAX},
};

/// Storms that are given out.
const STORMS_MAX: usize = 1_000;

/// `GET /v1/storms`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Storms {
    /// The oldest first.
    pub(crate) storms: Vec<Storm>,
    /// How many more there are.
    pub(crate) more: u64,
    /// Kinds of mail that are remembered at the moment, to find out what is alike.
    pub(crate) kinds: u64,
    /// The most that are; mail of further kinds is not folded.
    pub(crate) kinds_max: u64,
}

/// One storm, and what of it is folded still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Storm {
    /// The id of its first folded message.
    pub(crate) id: QueueId,
    /// Whether mail is still folded into it.
    pub(crate) lasts: bool,
    /// The subject of its first message.
    pub(crate) subject: String,
    /// What is the same in the subjects of all of them.
    pub(crate) shape: String,
    /// Who handed it over.
    pub(crate) client: String,
    /// The same with user and reverse path: who counts as one sender.
    pub(crate) origin: String,
    /// To whom it is addressed.
    pub(crate) to: Vec<String>,
    /// Messages that are folded.
    pub(crate) messages: u64,
    /// Those of which no summary has told yet.
    pub(crate) untold: u64,
    /// When the first and the last of them was accepted.
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
    /// When the last summary was queued.
    pub(crate) told_at: Option<Timestamp>,
    /// When the next summary is, at the latest; `None` while there is nothing to tell.
    pub(crate) next_at: Option<Timestamp>,
}

/// The words of a search for what is folded into a storm still.
pub(crate) fn folded_into(storm: QueueId) -> String {
    format!("storm:{storm} state:{FOLDED}")
}

pub(super) fn router() -> Router<Sources> {
    Router::new().route("/v1/storms", get(storms))
}

async fn storms(State(sources): State<Sources>) -> Result<Json<Storms>, Refusal> {
    let store = &sources.store;
    let (mut found, mut after, mut more) = (BTreeMap::<QueueId, Storm>::new(), None, 0);
    loop {
        let (folded, next) = store.folded(after).await?;
        folded.iter().for_each(|message| add(&mut found, message));
        if found.len() > 2 * STORMS_MAX {
            more += keep_newest(&mut found);
        }
        if next.is_none() {
            break;
        }
        after = next;
    }
    more += keep_newest(&mut found);
    let storms = found.into_values().map(|storm| Storm {
        lasts: store.storm_lasts(storm.id),
        next_at: store.storm_summary_at(storm.id).filter(|_| storm.untold > 0),
        ..storm
    });
    let (kinds, kinds_max) = (store.kinds_of_mail() as u64, SHAPES_MAX as u64);
    Ok(Json(Storms { storms: storms.collect(), more, kinds, kinds_max }))
}

/// One more folded message.
fn add(found: &mut BTreeMap<QueueId, Storm>, message: &QueuedMessage) {
    let record = &message.record;
    let Some(fold) = &record.fold else { return };
    let storm = found.entry(fold.storm).or_insert_with(|| Storm {
        id: fold.storm,
        lasts: false,
        subject: record.about.subject.clone(),
        shape: shape(&record.about.subject),
        client: record.about.client.to_string(),
        origin: Origin::of(record).to_string(),
        to: record.recipients.iter().map(|one| one.address.to_string()).collect(),
        messages: 0,
        untold: 0,
        first_at: record.accepted_at,
        last_at: record.accepted_at,
        told_at: None,
        next_at: None,
    });
    storm.messages += 1;
    storm.untold += u64::from(fold.told.is_none());
    storm.last_at = storm.last_at.max(record.accepted_at);
    storm.told_at = storm.told_at.max(fold.told);
}

/// Drops the oldest of too many, and says how many those were.
fn keep_newest(found: &mut BTreeMap<QueueId, Storm>) -> u64 {
    let mut dropped = 0;
    while found.len() > STORMS_MAX {
        found.pop_first();
        dropped += 1;
    }
    dropped
}
