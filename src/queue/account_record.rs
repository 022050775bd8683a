//! The stored record of the account's state, with its versions.
//!
//! Rule: a record that an earlier version of the program wrote is still read, for a pause must outlive an
//! update; what it did not know begins empty. Must not know which store holds it.

use serde::{Deserialize, Serialize};

use super::{
    record::{self, RecordError},
    state::{AccountCondition, AccountState},
};
use crate::clock::Timestamp;

/// The version that this program writes. 1 ended after `remedy`.
const VERSION: u8 = 2;

/// What version 1 held.
#[derive(Serialize, Deserialize)]
struct First {
    condition: AccountCondition,
    since: Timestamp,
    until: Option<Timestamp>,
    strikes: u32,
    reason: String,
    remedy: String,
}

impl From<First> for AccountState {
    fn from(first: First) -> Self {
        let First { condition, since, until, strikes, reason, remedy } = first;
        Self { condition, until, strikes, reason, remedy, ..Self::open(since) }
    }
}

/// The stored form.
pub(super) fn encode(state: &AccountState) -> Result<Vec<u8>, RecordError> {
    let bytes = postcard::to_extend(state, vec![VERSION]);
    bytes.map(record::seal).map_err(|error| RecordError::Content(error.to_string()))
}

/// Reads what [`encode`] wrote, in this version or an earlier one.
pub(super) fn decode(bytes: &[u8]) -> Result<AccountState, RecordError> {
    match record::unseal(bytes)? {
        (1, content) => record::read::<First>(content).map(AccountState::from),
        (VERSION, content) => record::read(content),
        (version, _) => Err(RecordError::Version(version)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paused() -> AccountState {
        AccountState {
            condition: AccountCondition::PausedQuota,
            until: Some(Timestamp(5_000)),
            strikes: 2,
            reason: "550 5.4.5".into(),
            remedy: "Nothing.".into(),
            ..AccountState::open(Timestamp(1_000))
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let stamps = vec![Timestamp(1), Timestamp(2)];
        let state = AccountState {
            day_full_since: Some(Timestamp(7)),
            alone_until: Some(Timestamp(8)),
            spam: stamps.clone(),
            logins: stamps,
            ..paused()
        };
        assert_eq!(decode(&encode(&state).unwrap()), Ok(state));
    }

    #[test]
    fn a_pause_that_the_first_version_stored_is_still_a_pause() {
        let AccountState { condition, since, until, strikes, reason, remedy, .. } = paused();
        let first = First { condition, since, until, strikes, reason, remedy };
        assert_eq!(decode(&record::encode(&first).unwrap()), Ok(paused()));
    }

    #[test]
    fn the_record_of_a_busy_hour_fits_in_a_small_value() {
        let logins = vec![Timestamp(1_800_000_000_000); 1_000];
        assert!(encode(&AccountState { logins, ..paused() }).unwrap().len() < 16 * 1024);
        assert_eq!(decode(&record::seal(vec![9, 1])), Err(RecordError::Version(9)));
    }
}
