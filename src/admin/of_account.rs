//! The account that a question or an order over the API names, and what an order has made of it.
//!
//! Rule: without a name a question is about the main account, and an order for all of them. Must not know the paths.

use serde::{Deserialize, Serialize};

use super::{
    api::Account,
    context::{Facts, Refusal, Sources},
};
use crate::{budget::AccountKey, clock::Timestamp, queue::state::AccountState};

/// A part of a query.
#[derive(Debug, Default, Deserialize)]
pub(super) struct OfAccount {
    /// Its name.
    pub(super) account: Option<String>,
}

impl OfAccount {
    /// Whom a question is about.
    pub(super) fn one(&self, sources: &Sources) -> Result<AccountKey, Refusal> {
        self.account.as_deref().map_or(Ok(AccountKey::MAIN), |name| sources.facts().named(name))
    }

    /// Whom an order is for.
    pub(super) fn each(&self, sources: &Sources) -> Result<Vec<AccountKey>, Refusal> {
        match &self.account {
            Some(name) => Ok(vec![sources.facts().named(name)?]),
            None => Ok(sources.upstreams.all().map(|(account, _)| account).collect()),
        }
    }
}

/// What an order has made of the account that was named; without a name of the main account, and of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ordered {
    /// The first of them.
    #[serde(flatten)]
    pub(crate) account: Account,
    /// The others, where there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) others: Vec<Named>,
}

/// An account with its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    /// Its name in relay.toml.
    pub(crate) name: String,
    /// How it is.
    #[serde(flatten)]
    pub(crate) account: Account,
}

impl Ordered {
    /// These are the states of whoever the order was for; at least one.
    pub(super) fn new(
        facts: &Facts,
        states: Vec<(AccountKey, AccountState)>,
        now: Timestamp,
    ) -> Self {
        let mut named = states.into_iter().map(|(key, state)| {
            let facts = facts.of(key);
            let account = Account::new(facts.username.clone(), state, now);
            Named { name: facts.name.to_string(), account }
        });
        let first = named.next().map(|first| first.account);
        let account = first.unwrap_or_else(|| Account::new(None, AccountState::open(now), now));
        Self { account, others: named.collect() }
    }
}
