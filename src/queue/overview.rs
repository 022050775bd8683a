//! The queue at a glance: what its digests say, brought up to what has been accepted, without reading it from the disk.
//!
//! Rule: records are read only behind the last digest, a few at a time, and by the committer, so that no write comes between
//! a record and its digest; it goes on with that while it has nothing else to do. Must not know what is made of it.

use std::sync::Arc;

use super::{
    Queue, QueueError,
    digest::{Digest, Digests},
    forecast::Waiting,
    id::QueueId,
    index::{Index, readable},
    listing::{LIST_LENGTH_MAX, QueuedMessage},
    spool::blocking,
};
use crate::{budget::AccountKey, clock::Moment, sync};

/// Digests that are handed out at once, and messages in one page of a forecast.
const PAGE: usize = 1_000;

impl Queue {
    /// Shows each message of the queue to `look`, in the order of the ids, and says whether there are no others.
    pub(crate) async fn look_through<T: Send + 'static>(
        &self,
        mut found: T,
        mut look: impl FnMut(&mut T, Digest) + Send + 'static,
    ) -> Result<(T, bool), QueueError> {
        loop {
            let shared = Arc::clone(&self.shared);
            if self.commit(move |batch| Ok(shared.read_on(batch.index)?)).await? {
                break;
            }
        }
        let shared = Arc::clone(&self.shared);
        let looking = move || {
            let end = |digests: &Digests| (digests.last(), digests.is_whole());
            let (mut after, (until, is_whole)) = (None, end(&sync::lock(&shared.digests)));
            while after < until {
                let page = sync::lock(&shared.digests).after(after, PAGE);
                after = page.last().map_or(until, |last| Some(last.id));
                // What comes meanwhile is behind the end.
                let page = page.into_iter().take_while(|digest| Some(digest.id) <= until);
                page.for_each(|digest| look(&mut found, digest));
            }
            (found, is_whole)
        };
        blocking(looking).await
    }

    /// These messages, as far as they are still in the queue: their records are read.
    pub(crate) async fn messages(&self, ids: &[QueueId]) -> Result<Vec<QueuedMessage>, QueueError> {
        let mut all = Vec::with_capacity(ids.len());
        for ids in ids.chunks(LIST_LENGTH_MAX) {
            let ids = ids.to_vec();
            let read =
                |index: &dyn Index| readable(index.entries(ids)).collect::<Result<Vec<_>, _>>();
            all.extend(self.read(read).await?);
        }
        Ok(all)
    }

    /// What waits for an account at `now`, page by page.
    pub(crate) async fn waiting_for(
        &self,
        account: AccountKey,
        now: Moment,
    ) -> Result<Vec<Vec<Waiting>>, QueueError> {
        let (served_by, fairness) = (self.served_by(now).await?, self.fairness());
        let look = move |pages: &mut Vec<Vec<Waiting>>, digest: Digest| {
            if served_by.account_of(digest.rare().way) != account {
                return;
            }
            let Some(waiting) = Waiting::of(&digest, &fairness) else { return };
            match pages.last_mut().filter(|page| page.len() < PAGE) {
                Some(page) => page.push(waiting),
                None => pages.push(vec![waiting]),
            }
        };
        Ok(self.look_through(Vec::new(), look).await?.0)
    }
}

#[cfg(test)]
impl Queue {
    /// Records of messages that a queue in memory has read so far.
    pub(crate) fn records_read(&self) -> u64 {
        self.memory.as_ref().expect("a queue in memory").records_read()
    }
}

#[cfg(test)]
mod tests;
