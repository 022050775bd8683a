//! The verbs of whoever tells of storms: which are due, what is folded, what was told, and the end of that.
//!
//! Rule: the records say what is folded and what was told, the memory only when it is time to look. Must not know how a
//! summary looks.

use super::{
    Queue,
    error::QueueError,
    folding,
    id::QueueId,
    index::page,
    listing::{LIST_LENGTH_MAX, QueuedMessage},
    storms::{DueStorm, FoundFolded},
};
use crate::clock::Timestamp;

/// Records that are changed in one write.
const CHUNK: usize = 500;

impl Queue {
    /// The storms of which a summary is due, or that are over.
    pub(crate) fn storms_due(&self) -> Vec<DueStorm> {
        self.shared.folding.due(self.shared.clock.now())
    }

    /// A summary of this storm is queued, and what it tells of is marked; `false` when there was nothing to tell.
    pub(crate) fn storm_told(&self, due: DueStorm, is_told: bool) {
        self.shared.folding.told(due, is_told, self.shared.clock.now());
    }

    /// Whether mail is still folded into this storm.
    pub(crate) fn storm_lasts(&self, storm: QueueId) -> bool {
        self.shared.folding.lasts(storm, self.shared.clock.now())
    }

    /// When the next summary of this storm is due; `None` while there is nothing to tell of it.
    pub(crate) fn storm_summary_at(&self, storm: QueueId) -> Option<Timestamp> {
        self.shared.folding.summary_at(storm, self.shared.clock.now())
    }

    /// Kinds of mail that are known, to find out what is alike.
    pub(crate) fn kinds_of_mail(&self) -> usize {
        self.shared.folding.kinds()
    }

    /// Folded messages after `after` in the order of acceptance, of this many that are looked at at most, and where the
    /// next look begins; `None` at the end.
    pub(crate) async fn folded(
        &self,
        after: Option<QueueId>,
    ) -> Result<(Vec<QueuedMessage>, Option<QueueId>), QueueError> {
        let looked_at =
            self.read(move |index| page(index.messages(after), LIST_LENGTH_MAX)).await?;
        let next = looked_at.last().map(|message| message.id);
        let folded = looked_at.into_iter().filter(|message| message.record.is_folded());
        Ok((folded.collect(), next))
    }

    /// Notes that a summary tells of these messages.
    pub(crate) async fn mark_told(&self, ids: &[QueueId], at: Timestamp) -> Result<(), QueueError> {
        for ids in ids.chunks(CHUNK) {
            let ids = ids.to_vec();
            self.commit(move |batch| ids.into_iter().try_for_each(|id| batch.mark_told(id, at)))
                .await?;
        }
        Ok(())
    }

    /// Moves folded messages to the history that were told of before `keep_after`; returns how many went. What nobody was
    /// told of and no storm knows is told of from now on.
    pub(crate) async fn forget_folded(&self, keep_after: Timestamp) -> Result<u32, QueueError> {
        let keep_after = keep_after.before(self.doubt());
        let is_old = |message: &QueuedMessage| {
            let told = message.record.fold.as_ref().and_then(|fold| fold.told);
            told.is_some_and(|told| told < keep_after)
        };
        let (mut after, mut ended) = (None, 0);
        loop {
            let (folded, next) = self.folded(after).await?;
            let untold: Vec<FoundFolded> = folded
                .iter()
                .filter_map(|one| folding::found(&one.record))
                .filter(|one| one.told.is_none())
                .collect();
            self.shared.folding.adopt(&untold, self.shared.clock.now());
            for message in folded.iter().filter(|message| is_old(message)) {
                let id = message.id;
                match self.commit(move |batch| batch.end_folded(id, keep_after)).await {
                    Ok(()) => ended += 1,
                    // A person has released or deleted it meanwhile.
                    Err(QueueError::NotFound(_) | QueueError::Conflict(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            if next.is_none() {
                return Ok(ended);
            }
            after = next;
        }
    }
}

#[cfg(test)]
mod tests;
