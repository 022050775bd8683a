//! The kept bodies of relayed messages as the queue gives them out, and the end of their time.
//!
//! Rule: a body without an entry in the history is nobody's: nobody could say what it is, and it goes. Must not know how
//! long they are wanted.

use std::{io, time::Duration};

use super::{
    Queue,
    error::QueueError,
    id::QueueId,
    index::{Index, IndexError},
    spool::{blocking, refused},
    spool_file::{MessageReader, ReadError},
};
use crate::clock::Timestamp;

/// Bodies that are looked up in the history in one go.
const LOOKED_UP_MAX: usize = 1_000;

impl Queue {
    /// Opens the octets of a message for whoever wants to look at them, without any consequence: of one in the queue, or
    /// of a relayed one that is kept. [`QueueError::NotFound`] when there are none.
    pub async fn read_message(&self, id: QueueId) -> Result<MessageReader, QueueError> {
        let spool = self.shared.spool.clone();
        let is_gone = |problem: &ReadError| matches!(problem, ReadError::Io(error) if error.kind() == io::ErrorKind::NotFound);
        let read = move || match spool.read(id) {
            Err(problem) if is_gone(&problem) => spool.read_kept(id),
            read => read,
        };
        blocking(read).await?.map_err(|problem| match problem {
            problem if is_gone(&problem) => QueueError::NotFound(id),
            ReadError::Io(error) => refused(&error),
            ReadError::Frame(_) => QueueError::Corrupt { id, reason: problem.to_string() },
        })
    }

    /// Removes kept bodies of messages that were relayed longer ago than `time`; all of them without one. Returns how
    /// many went.
    pub(crate) async fn prune_kept(&self, time: Option<Duration>) -> Result<u32, QueueError> {
        let now = self.shared.clock.wall();
        let keep_after = time.map(|time| now.before(time).before(self.doubt()));
        let mut pruned = 0;
        for ids in self.shared.spool.kept.ids().chunks(LOOKED_UP_MAX) {
            let ids = ids.to_vec();
            let over = self.read(move |index| over(index, ids, keep_after)).await?;
            pruned += u32::try_from(over.len()).unwrap_or(u32::MAX);
            let spool = self.shared.spool.clone();
            let removed = move || over.into_iter().try_for_each(|id| spool.kept.remove(id));
            blocking(removed).await?.map_err(|error| refused(&error))?;
        }
        Ok(pruned)
    }
}

/// Those whose time is over.
fn over(
    index: &dyn Index,
    ids: Vec<QueueId>,
    keep_after: Option<Timestamp>,
) -> Result<Vec<QueueId>, IndexError> {
    let mut over = Vec::new();
    for id in ids {
        let is_wanted = match (keep_after, index.finished(id)) {
            (None, _) | (Some(_), Ok(None) | Err(IndexError::Damaged { .. })) => false,
            (Some(_), Err(error)) => return Err(error),
            (Some(time), Ok(Some(record))) => record.end.is_some_and(|end| end.at >= time),
        };
        if !is_wanted {
            over.push(id);
        }
    }
    Ok(over)
}

#[cfg(test)]
mod tests;
