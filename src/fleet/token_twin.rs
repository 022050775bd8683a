//! Access tokens in memory, for tests: what PostgreSQL is asked to keep of them.
//!
//! Rule: pure. Must not be what a daemon uses.

use std::{collections::BTreeMap, time::Duration};

use super::vault::{Kept, KeyId};

#[derive(Clone, Debug, Default)]
struct Row {
    number: i64,
    sealed: Option<Vec<u8>>,
    lasts: Duration,
    put_at: Duration,
    /// Who fetches, and until when.
    fetches: Option<(i64, Duration)>,
}

/// The tokens of one account.
#[derive(Debug, Default)]
pub(super) struct TokenRows(BTreeMap<KeyId, Row>);

impl TokenRows {
    pub(super) fn token(&self, now: Duration, key: &KeyId) -> Kept {
        let Some(row) = self.0.get(key) else { return Kept::default() };
        let Row { number, sealed, lasts, put_at, .. } = row.clone();
        Kept { number, sealed, lasts, age: now - put_at }
    }

    pub(super) fn leave_fetching_to(
        &mut self,
        now: Duration,
        key: &KeyId,
        seen: i64,
        (fetcher, time): (i64, Duration),
    ) -> bool {
        let lease = Some((fetcher, now + time));
        let Some(row) = self.0.get_mut(key) else {
            self.0.insert(*key, Row { put_at: now, fetches: lease, ..Row::default() });
            return true;
        };
        let is_free = row.fetches.is_none_or(|(by, until)| by == fetcher || until <= now);
        let is_ours = row.number == seen && is_free;
        if is_ours {
            row.fetches = lease;
        }
        is_ours
    }

    pub(super) fn put(
        &mut self,
        now: Duration,
        key: &KeyId,
        seen: i64,
        (sealed, lasts): (&[u8], Duration),
    ) -> bool {
        if self.0.get(key).is_some_and(|row| row.number != seen) {
            return false;
        }
        let sealed = Some(sealed.to_vec());
        self.0.insert(*key, Row { number: seen + 1, sealed, lasts, put_at: now, fetches: None });
        true
    }

    pub(super) fn refuse(&mut self, key: &KeyId, number: i64) {
        if let Some(row) = self.0.get_mut(key).filter(|row| row.number == number) {
            row.sealed = None;
        }
    }

    /// Somebody who may write the table changes an octet of each token.
    pub(super) fn tamper(&mut self) {
        for octet in self.0.values_mut().filter_map(|row| row.sealed.as_mut()?.last_mut()) {
            *octet ^= 1;
        }
    }
}
