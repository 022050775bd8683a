//! The sharing of the day: what accounts have spent and how they stand, what is fair, who waits for his limit, and how a
//! forecast begins.
//!
//! Rule: what is fair may change while the queue runs; whoever waited by the old rules is judged anew.

use std::sync::Arc;

use super::{
    Queue, QueueError,
    forecast::Footing,
    listing::{LedgerView, Limited},
    options::Fairness,
    order::ServedBy,
    routes::Accounts,
    state::AccountState,
};
use crate::{
    budget::{AccountKey, Limit},
    clock::Moment,
};

impl Queue {
    /// What the ledger says at `now` about `limit` of an account.
    pub async fn ledger(
        &self,
        account: AccountKey,
        now: Moment,
        limit: Limit,
    ) -> Result<LedgerView, QueueError> {
        self.commit(move |batch| Ok(batch.engine.view(account, now, limit))).await
    }

    /// The stored state of an account; `None` before the first [`Queue::set_account_state`].
    pub async fn account_state(
        &self,
        account: AccountKey,
    ) -> Result<Option<AccountState>, QueueError> {
        self.read(move |index| Ok(index.accounts()?.remove(&account))).await
    }

    /// Stores it.
    pub async fn set_account_state(
        &self,
        account: AccountKey,
        state: AccountState,
    ) -> Result<(), QueueError> {
        self.commit(move |batch| {
            batch.stands(account, state);
            Ok(())
        })
        .await
    }

    /// Shares by these rules from now on.
    pub(crate) fn set_fairness(&self, fairness: Fairness) {
        self.shared.fairness.set(fairness);
        self.shared.changed.send_replace(());
    }

    /// These are the accounts and routes from now on.
    pub(crate) fn set_accounts(&self, accounts: Accounts) {
        self.shared.accounts.set(accounts);
        self.shared.changed.send_replace(());
    }

    /// What is fair at this moment.
    pub(crate) fn fairness(&self) -> Arc<Fairness> {
        self.shared.fairness.get()
    }

    /// Which account has which mail at `now`.
    pub(crate) async fn served_by(&self, now: Moment) -> Result<ServedBy, QueueError> {
        if self.shared.accounts.get().accounts.is_empty() {
            return Ok(ServedBy::default());
        }
        self.commit(move |batch| Ok(batch.engine.served_by(now))).await
    }

    /// Which origins wait for their limit at `now`.
    pub(crate) async fn limited_origins(&self, now: Moment) -> Result<Limited, QueueError> {
        self.commit(move |batch| Ok(batch.engine.limited_origins(now))).await
    }

    /// How an account stands at `now`, besides what waits for it.
    pub(crate) async fn footing(
        &self,
        account: AccountKey,
        now: Moment,
    ) -> Result<Footing, QueueError> {
        self.commit(move |batch| Ok(batch.engine.footing(account, now))).await
    }
}

#[cfg(test)]
mod tests;
