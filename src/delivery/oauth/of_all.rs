//! The access token that the hosts of an account have in common: looked for, or fetched by one of them for all.
//!
//! Rule: where it cannot be had from the others, or not be opened, this host fetches one as a host alone does. One that was refused is
//! handed out to nobody again. Must not know what is exchanged for a token, nor where the sealed one lies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tracing::warn;

use super::{
    error::TokenError,
    seal::{About, Seal},
};
use crate::{
    clock::{Clock, Timestamp},
    fleet::{Kept, KeyId, Vault},
    secret::Secret,
};

/// How long it is left to one host to fetch: an answer of the token endpoint may take half a minute.
const FETCH_TIME: Duration = Duration::from_secs(45);
/// How often the others look meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long they wait before each fetches for itself: longer than for one host that has died.
const PATIENCE: Duration = Duration::from_secs(60);

/// A token that all hosts may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OfAll {
    pub(super) secret: Secret,
    pub(super) use_until: Timestamp,
    key: KeyId,
    number: i64,
}

/// Where a token came from.
#[derive(Debug)]
pub(super) enum Had<T> {
    /// All have it.
    OfAll(OfAll),
    /// The others cannot be asked, and this host has one that is good.
    AtHand,
    /// This host has fetched it; for all, where that could be said.
    Fetched(T, Option<OfAll>),
}

/// What this host does with the token of all.
#[derive(Debug)]
pub(super) struct Common {
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    /// That one could not be opened was said.
    is_told: AtomicBool,
}

impl Common {
    pub(super) fn new(vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Self {
        Self { vault, clock, is_told: AtomicBool::new(false) }
    }

    /// A token that was not `refused`. `at_hand` is one that this host has already and may use, `fetch` has a new one, of which `told`
    /// says the token and until when it is used.
    pub(super) async fn have<T>(
        &self,
        seal: &Seal,
        (at_hand, refused): (Option<(Secret, Timestamp)>, Option<&Secret>),
        fetch: impl Future<Output = Result<T, TokenError>>,
        told: fn(&T) -> (Secret, Timestamp),
    ) -> Result<Had<T>, TokenError> {
        let mut waited = Duration::ZERO;
        loop {
            let Some(kept) = self.vault.look(seal.id()).await else {
                return match at_hand {
                    Some(_) => Ok(Had::AtHand),
                    None => Ok(Had::Fetched(fetch.await?, None)),
                };
            };
            let of_all = self.opened(seal, &kept);
            if let Some(token) = of_all.filter(|token| Some(&token.secret) != refused) {
                return Ok(Had::OfAll(token));
            }
            // What this host has had alone so far all may use; of a later number nobody knows whether it was refused.
            if let Some((secret, until)) = at_hand.as_ref().filter(|_| kept.number == 0)
                && let Some(token) = self.put(seal, 0, secret, *until).await
            {
                return Ok(Had::OfAll(token));
            }
            match self.vault.leave_to_us(seal.id(), kept.number, FETCH_TIME).await {
                Some(true) => return self.fetch_for_all(seal, kept.number, fetch, told).await,
                Some(false) if waited < PATIENCE => {
                    self.clock.sleep(LOOK_EVERY).await;
                    waited += LOOK_EVERY;
                }
                Some(false) | None => return Ok(Had::Fetched(fetch.await?, None)),
            }
        }
    }

    async fn fetch_for_all<T>(
        &self,
        seal: &Seal,
        seen: i64,
        fetch: impl Future<Output = Result<T, TokenError>>,
        told: fn(&T) -> (Secret, Timestamp),
    ) -> Result<Had<T>, TokenError> {
        match fetch.await {
            Ok(fetched) => {
                let (secret, until) = told(&fetched);
                let of_all = self.put(seal, seen, &secret, until).await;
                Ok(Had::Fetched(fetched, of_all))
            }
            Err(error) => {
                // What keeps this host from it need not keep the next one.
                self.vault.leave_to_us(seal.id(), seen, Duration::ZERO).await;
                Err(error)
            }
        }
    }

    /// Gives a token to all, upon that of the number `seen`.
    async fn put(
        &self,
        seal: &Seal,
        seen: i64,
        secret: &Secret,
        until: Timestamp,
    ) -> Option<OfAll> {
        let left = until.since(self.clock.wall());
        let lasts = Duration::from_millis(u64::try_from(left.as_millis()).ok()?);
        let (number, account) = (seen + 1, self.vault.account());
        let sealed = seal.seal(About { account, number, lasts }, secret)?;
        let is_put = self.vault.put(seal.id(), seen, (&sealed, lasts)).await?;
        let (secret, key) = (secret.clone(), *seal.id());
        is_put.then_some(OfAll { secret, use_until: until, key, number })
    }

    /// The token of all while it is good.
    fn opened(&self, seal: &Seal, kept: &Kept) -> Option<OfAll> {
        let Kept { number, sealed, lasts, age } = kept;
        let left = lasts.checked_sub(*age).filter(|left| !left.is_zero())?;
        let about = About { account: self.vault.account(), number: *number, lasts: *lasts };
        let secret = seal.open(about, sealed.as_ref()?);
        let was_told = self.is_told.swap(secret.is_none(), Ordering::Relaxed);
        if secret.is_none() && !was_told {
            let remedy = "Find out who may write pillarbox.token in the fleet's database";
            warn!(
                remedy,
                "the access token of all hosts was changed in the database and is not used; a new one is fetched"
            );
        }
        let use_until = self.clock.wall().after(left);
        Some(OfAll { secret: secret?, use_until, key: *seal.id(), number: *number })
    }

    /// No host uses it any more.
    pub(super) async fn refuse(&self, token: &OfAll) {
        self.vault.refuse(&token.key, token.number).await;
    }
}

#[cfg(test)]
mod tests;
