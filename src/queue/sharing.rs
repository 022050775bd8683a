//! The sharing of the day: what is fair, who waits for his limit, and how a forecast begins.
//!
//! Rule: what is fair may change while the queue runs; whoever waited by the old rules is judged anew.

use std::sync::Arc;

use super::{Queue, QueueError, forecast::Footing, listing::Limited, options::Fairness};
use crate::clock::Moment;

impl Queue {
    /// Shares by these rules from now on.
    pub(crate) fn set_fairness(&self, fairness: Fairness) {
        self.shared.fairness.set(fairness);
        self.shared.changed.notify_one();
    }

    /// What is fair at this moment.
    pub(crate) fn fairness(&self) -> Arc<Fairness> {
        self.shared.fairness.get()
    }

    /// Which origins wait for their limit at `now`.
    pub(crate) async fn limited_origins(&self, now: Moment) -> Result<Limited, QueueError> {
        self.commit(move |batch| Ok(batch.engine.limited_origins(now))).await
    }

    /// How the queue stands at `now`, besides what waits in it.
    pub(crate) async fn footing(&self, now: Moment) -> Result<Footing, QueueError> {
        self.commit(move |batch| Ok(batch.engine.footing(now))).await
    }
}

#[cfg(test)]
mod tests;
