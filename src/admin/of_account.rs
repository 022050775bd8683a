//! The account that a question or an order over the API names, and an answer about each.
//!
//! Rule: without a name it is about all of them, the main one first; a login alone is tried of one. Must not know the paths.

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

    /// Whom a question or an order is about: the first, and all others.
    pub(super) fn each(&self, sources: &Sources) -> Result<(AccountKey, Vec<AccountKey>), Refusal> {
        match &self.account {
            Some(name) => Ok((sources.facts().named(name)?, Vec::new())),
            None => {
                let others = sources.upstreams.all().skip(1).map(|(account, _)| account);
                Ok((AccountKey::MAIN, others.collect()))
            }
        }
    }
}

/// The same of the account that was named; without a name of the main account, and of each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Each<T> {
    /// The first of them.
    #[serde(flatten)]
    pub(crate) first: T,
    /// The others, where there are any.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub(crate) others: Vec<Named<T>>,
}

/// What is said of an account, with its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named<T> {
    /// Its name in relay.toml.
    pub(crate) name: String,
    /// What is said.
    #[serde(flatten)]
    pub(crate) said: T,
}

impl<T> Each<T> {
    /// Of the first alone.
    pub(super) fn new(first: T) -> Self {
        Self { first, others: Vec::new() }
    }

    /// Of one more.
    pub(super) fn add(&mut self, facts: &Facts, account: AccountKey, said: T) {
        self.others.push(Named { name: facts.of(account).name.to_string(), said });
    }

    /// Each with its name; the first one is called so.
    pub(crate) fn named<'a>(&'a self, first: &'a str) -> impl Iterator<Item = (&'a str, &'a T)> {
        let others = self.others.iter().map(|one| (one.name.as_str(), &one.said));
        [(first, &self.first)].into_iter().chain(others)
    }
}

/// An account as the API shows it.
pub(super) fn shown(
    facts: &Facts,
    key: AccountKey,
    state: AccountState,
    now: Timestamp,
) -> Account {
    Account::new(facts.of(key).username.clone(), state, now)
}
