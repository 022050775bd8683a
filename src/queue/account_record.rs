//! The stored record of the account's state, with its versions.
//!
//! Rule: a record that an earlier version of the program wrote is still read, for a pause must outlive an
//! update; what it did not know begins empty. Must not know which store holds it.

use serde::{Deserialize, Serialize};

use super::{
    record::{self, RecordError, Stored},
    state::{AccountCondition, AccountState},
};
use crate::clock::Timestamp;

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

/// Version 2 has the full day, the one connection, spam and logins.
impl Stored for AccountState {
    const VERSION: u8 = 2;

    fn of_version(version: u8, content: &[u8]) -> Result<Self, RecordError> {
        match version {
            1 => record::read::<First>(content).map(Self::from),
            _ => Err(RecordError::Version(version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        record::{decode, encode, seal},
        *,
    };

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
        let bytes = seal(postcard::to_extend(&first, vec![1]).unwrap());
        assert_eq!(decode(&bytes), Ok(paused()));
    }

    #[test]
    fn the_record_of_a_busy_hour_fits_in_a_small_value() {
        let logins = vec![Timestamp(1_800_000_000_000); 1_000];
        assert!(encode(&AccountState { logins, ..paused() }).unwrap().len() < 16 * 1024);
        assert_eq!(decode::<AccountState>(&seal(vec![9, 1])), Err(RecordError::Version(9)));
    }
}
