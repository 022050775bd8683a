//! The closing line of a message in the log: its whole story, when it has left the queue.
//!
//! Rule: made from the record alone, after the write. Must not know how the log is printed.

use tracing::info;

use super::{id::QueueId, record::MessageRecord};

/// Says it, where the record has an end.
pub(super) fn line(id: QueueId, record: &MessageRecord) {
    let Some(end) = &record.end else { return };
    let recipients = &record.recipients;
    let from = record.reverse_path.as_ref().map_or("<>", |address| address.as_str());
    let relayed = recipients.iter().filter(|recipient| recipient.state.is_relayed()).count();
    // The most that one of them has taken; each has had one more than it was refused.
    let refusals = recipients.iter().map(|recipient| recipient.attempts).max().unwrap_or(0);
    info!(
        %id,
        client = %record.about.client,
        user = record.about.user,
        from,
        to = recipients.first().map(|recipient| recipient.address.as_str()),
        recipients = recipients.len(),
        relayed,
        size = record.size_bytes,
        lane = record.lane.name(),
        since = %record.accepted_at,
        waited_s = end.at.since(record.accepted_at).as_secs(),
        refusals,
        reply = recipients.iter().rev().find_map(|recipient| recipient.last_reply.as_deref()),
        end = end.how.name(),
        by = end.by,
        "left the queue"
    );
}
