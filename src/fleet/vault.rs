//! The access token that the hosts of an account have in common: where it lies sealed, and who fetches the next one.
//!
//! Rule: a token is replaced upon the number that was seen, and no other. Whatever goes wrong here is no trouble of the account: the host
//! fetches a token for itself. Must not know what a sealed token says.
#![cfg_attr(
    not(feature = "fleet"),
    allow(dead_code, reason = "without the feature there are no hosts to share a token with")
)]

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tracing::{debug, warn};

use super::{books::Trouble, reach::Reach};

/// Of the key with which a token is sealed: hosts that know the same secrets have the same one.
pub(crate) type KeyId = [u8; 16];

/// Octets of a sealed token: many times what any provider gives.
#[cfg(any(feature = "fleet", test))]
pub(super) const SEALED_MAX: usize = 64 * 1024;

/// A token as the books have it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Rises with each; 0 before there is one.
    pub(crate) number: i64,
    /// `None` where there is none, or where it was refused.
    pub(crate) sealed: Option<Vec<u8>>,
    /// How long it is good from the moment on in which it was put here; in whole milliseconds.
    pub(crate) lasts: Duration,
    /// How long ago that was.
    pub(crate) age: Duration,
}

/// Even sealed it is nobody's business.
impl fmt::Debug for Kept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = if self.sealed.is_some() { "a token" } else { "no token" };
        write!(formatter, "Kept({}, {has}, {:?} of {:?})", self.number, self.age, self.lasts)
    }
}

/// Books with the tokens of accounts, one for each key that it is sealed with.
#[async_trait]
pub(super) trait TokenBooks: fmt::Debug + Send + Sync {
    /// The token of an account; that of number 0 where there is none.
    async fn token(&self, account: &str, key: &KeyId) -> Result<Kept, Trouble>;

    /// Leaves it to a fetcher, for so long, to have the token that comes after that of the number `seen`; false where it is another's, or
    /// where there is a newer one.
    async fn leave_fetching_to(
        &self,
        (account, key): (&str, &KeyId),
        seen: i64,
        (fetcher, time): (i64, Duration),
    ) -> Result<bool, Trouble>;

    /// Puts a token in the place of that of the number `seen`; false where there is a newer one. Nobody fetches any more.
    async fn put_token(
        &self,
        (account, key): (&str, &KeyId),
        seen: i64,
        (sealed, lasts): (&[u8], Duration),
    ) -> Result<bool, Trouble>;

    /// Takes away the token of this number, which was refused.
    async fn refuse_token(&self, account: &str, key: &KeyId, number: i64) -> Result<(), Trouble>;

    /// Removes what has long been over.
    async fn forget_tokens(&self) -> Result<(), Trouble>;
}

/// An account's token, for one of its hosts.
#[derive(Debug)]
pub(crate) struct Vault {
    books: Arc<dyn TokenBooks>,
    reach: Arc<Reach>,
    account: String,
    /// By which the books know this host when it fetches.
    fetcher: i64,
    /// That they give no answer was said.
    is_told: AtomicBool,
}

impl Vault {
    pub(super) fn new(books: Arc<dyn TokenBooks>, reach: Arc<Reach>, account: String) -> Self {
        let (fetcher, is_told) = (fastrand::i64(1..), AtomicBool::new(false));
        Self { books, reach, account, fetcher, is_told }
    }

    /// As all hosts call it.
    pub(crate) fn account(&self) -> &str {
        &self.account
    }

    /// The token of all; `None` where nobody can be asked.
    pub(crate) async fn look(&self, key: &KeyId) -> Option<Kept> {
        if self.reach.away().is_some() {
            return None;
        }
        self.heard(self.books.token(&self.account, key).await)
    }

    /// Leaves it to this host, for so long, to fetch the one after that of the number `seen`. With no time it is another's turn.
    pub(crate) async fn leave_to_us(&self, key: &KeyId, seen: i64, time: Duration) -> Option<bool> {
        let (of, by) = ((&*self.account, key), (self.fetcher, time));
        self.heard(self.books.leave_fetching_to(of, seen, by).await)
    }

    /// Gives all hosts this token in the place of that of the number `seen`.
    pub(crate) async fn put(
        &self,
        key: &KeyId,
        seen: i64,
        token: (&[u8], Duration),
    ) -> Option<bool> {
        self.heard(self.books.put_token((&self.account, key), seen, token).await)
    }

    /// No host uses the token of this number any more.
    pub(crate) async fn refuse(&self, key: &KeyId, number: i64) {
        self.heard(self.books.refuse_token(&self.account, key, number).await);
    }

    fn heard<T>(&self, answer: Result<T, Trouble>) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.is_told.store(false, Ordering::Relaxed);
                Some(answer)
            }
            Err(reason) if self.is_told.swap(true, Ordering::Relaxed) => {
                debug!(%reason, "the access token of all hosts cannot be had");
                None
            }
            Err(reason) => {
                let remedy = "Nothing has to be done. If it goes on, look at the database and at the rights of its role to pillarbox.token (docs/fleet.md)";
                warn!(%reason, remedy, "the access token of all hosts cannot be had; this host fetches its own");
                None
            }
        }
    }
}
