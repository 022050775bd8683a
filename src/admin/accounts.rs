//! The accounts that the relay sends by: what the API asks of the delivery half of each, and what is known of each.
//!
//! Rule: the main account, which `[upstream]` describes, is always there and comes first. Must not know the paths.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    budget::{AccountKey, Limit},
    clock::Timestamp,
    delivery::{self, PoolHandle, PoolStatus, inspection::LoginProof},
    queue::{
        ClaimLimits, QueueError, id::QueueId, pause::Pause, spool_file::MessageReader,
        state::AccountState,
    },
};

/// What the API asks of the delivery half.
#[async_trait]
pub(crate) trait Upstream: Send + Sync + fmt::Debug {
    /// The account, what is in flight, what was said last.
    fn status(&self) -> PoolStatus;

    /// On what terms mail is claimed, and at how many recipients a minute; 0 does not pace.
    fn pacing(&self) -> (ClaimLimits, u32);

    /// Ends every pause of the account; returns what it is then.
    async fn resume(&self) -> AccountState;

    /// Begins a pause that a person orders.
    async fn pause(&self, pause: Pause) -> Result<AccountState, QueueError>;

    /// Makes the reader of a message give the octets that an attempt of this moment would send, and says what was edited.
    fn rewrite_as_sent(
        &self,
        id: QueueId,
        accepted_at: Timestamp,
        reader: &mut MessageReader,
    ) -> Result<String, QueueError>;

    /// Logs in once and sends nothing.
    async fn prove_login(&self) -> LoginProof;
}

#[async_trait]
impl Upstream for PoolHandle {
    fn status(&self) -> PoolStatus {
        Self::status(self)
    }

    fn pacing(&self) -> (ClaimLimits, u32) {
        Self::pacing(self)
    }

    async fn resume(&self) -> AccountState {
        Self::resume(self).await
    }

    async fn pause(&self, pause: Pause) -> Result<AccountState, QueueError> {
        Self::pause(self, pause).await
    }

    fn rewrite_as_sent(
        &self,
        id: QueueId,
        accepted_at: Timestamp,
        reader: &mut MessageReader,
    ) -> Result<String, QueueError> {
        Self::rewrite_as_sent(self, id, accepted_at, reader)
    }

    async fn prove_login(&self) -> LoginProof {
        Self::prove_login(self).await
    }
}

/// The delivery halves of all accounts.
#[derive(Clone, Debug)]
pub(crate) struct Upstreams {
    main: Arc<dyn Upstream>,
    others: Vec<(AccountKey, Arc<dyn Upstream>)>,
}

impl Upstreams {
    /// That of the main account alone.
    pub(crate) fn new(main: Arc<dyn Upstream>) -> Self {
        Self { main, others: Vec::new() }
    }

    /// The same with those of further accounts.
    #[must_use]
    pub(crate) fn with(mut self, others: Vec<(AccountKey, Arc<dyn Upstream>)>) -> Self {
        self.others = others;
        self
    }

    /// That of an account; of one that there is none of, the main one's, which has its mail.
    pub(crate) fn of(&self, account: AccountKey) -> &dyn Upstream {
        let found = self.others.iter().find(|(key, _)| *key == account);
        found.map_or(&*self.main, |(_, upstream)| &**upstream)
    }

    /// All of them, the main one first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (AccountKey, &dyn Upstream)> {
        let others = self.others.iter().map(|(key, upstream)| (*key, &**upstream));
        [(AccountKey::MAIN, &*self.main)].into_iter().chain(others)
    }
}

/// What does not change of an account while the daemon runs, but by a changed configuration.
#[derive(Clone, Debug)]
pub(crate) struct AccountFacts {
    /// Its name in relay.toml.
    pub(crate) name: Arc<str>,
    /// Host and port it relays to.
    pub(crate) upstream: String,
    /// The user name of its login.
    pub(crate) username: Option<String>,
    /// What all hosts of a fleet call it.
    pub(crate) in_fleet: String,
    /// Its limit of recipients in 24 hours, with what is left to the owner.
    pub(crate) recipients_per_day: Limit,
    /// What of it is left to the owner.
    pub(crate) owner_reserve: u32,
    /// What the relay may spend, and who of that how much.
    pub(crate) limits: ClaimLimits,
    /// Connections at a time that all hosts of a fleet share, and their logins of an hour; `None` where they are not counted.
    pub(crate) connections: Option<u32>,
    pub(crate) logins_per_hour: Option<u32>,
}

impl AccountFacts {
    /// What delivery is told of an account, for whoever asks about it.
    pub(crate) fn new(name: &str, delivery: &delivery::Options, owner_reserve: u32) -> Self {
        let terms = delivery.seating_terms();
        Self {
            name: name.into(),
            upstream: format!("{}:{}", delivery.host, delivery.port),
            username: delivery.login.as_ref().map(|login| login.username.clone()),
            in_fleet: delivery.name_in_fleet(),
            recipients_per_day: delivery.recipients_per_day.with(owner_reserve),
            owner_reserve,
            limits: delivery.claim_limits(),
            connections: (!delivery.is_api()).then_some(terms.connections),
            logins_per_hour: terms.logins,
        }
    }

    /// Which account it is.
    pub(crate) fn key(&self) -> AccountKey {
        self.limits.account
    }

    /// What the relay may spend.
    pub(crate) fn limit(&self) -> Limit {
        self.limits.limit
    }
}

#[cfg(test)]
mod tests;
