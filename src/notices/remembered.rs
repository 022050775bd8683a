//! The notices of before a start: what was told within the last day is not told again because the relay was restarted.
//!
//! Rule: it is read from queue and history, once; bounded, so that a long queue costs a start little. Must not know what a
//! notice says, but its subject.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    message::envelope::Lane,
    queue::{LIST_LENGTH_MAX, Queue, QueueError, QueuedMessage, about::Client, id::QueueId},
};

/// How far back it is looked. Nothing is told more often than once in it for ever.
const BACK: Duration = Duration::from_secs(24 * 3_600);
/// Pages of the queue, and of the history, that are looked through.
const PAGES_MAX: usize = 10;

/// A notice of the last day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) at: Timestamp,
    /// Its beginning.
    pub(super) subject: String,
}

/// The notices of the last day, the oldest first.
///
/// # Errors
/// When the queue does not answer.
pub(super) async fn told(store: &Queue, now: Timestamp) -> Result<Vec<Told>, QueueError> {
    let mut told = Vec::new();
    let since = now.before(BACK);
    let mut after = Some(QueueId::proposed(since, [0; _]));
    for _ in 0..PAGES_MAX {
        let page = store.list(after, LIST_LENGTH_MAX).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        told.extend(page.iter().filter_map(|message| notice(message, since, now)));
    }
    let mut before = None;
    for _ in 0..PAGES_MAX {
        let page = store.history(before, LIST_LENGTH_MAX).await?;
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        told.extend(page.iter().filter_map(|message| notice(message, since, now)));
        if last.id.time() < since {
            break;
        }
    }
    told.sort_by_key(|told| told.at);
    Ok(told)
}

/// What a message tells, when it is a notice of ours and of that time.
fn notice(message: &QueuedMessage, since: Timestamp, now: Timestamp) -> Option<Told> {
    let (record, at) = (&message.record, message.record.accepted_at);
    let about = &record.about;
    let is_notice = about.client == Client::Relay && record.lane == Lane::Notice;
    (is_notice && at > since && at <= now).then(|| Told { at, subject: about.subject.clone() })
}
