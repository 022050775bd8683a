//! The number of recipients that may be written to in any 24 hours, or no limit.
//!
//! Rule: that there is none is said by this type alone, never by a number.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

/// How many recipients may be written to in any 24 hours. In JSON a number, or null where there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Limit(Option<u32>);

impl Limit {
    /// There is none.
    pub const NONE: Self = Self(None);

    /// So many, which may be none at all.
    #[must_use]
    pub const fn of(recipients: u32) -> Self {
        Self(Some(recipients))
    }

    /// How many; `None` where there is no limit.
    #[must_use]
    pub(crate) const fn recipients(self) -> Option<u32> {
        self.0
    }

    /// What is left of it without a reserve.
    #[must_use]
    pub(crate) fn less(self, reserve: u32) -> Self {
        Self(self.0.map(|limit| limit.saturating_sub(reserve)))
    }

    /// The limit of which a reserve was taken.
    #[must_use]
    pub(crate) fn with(self, reserve: u32) -> Self {
        Self(self.0.map(|limit| limit.saturating_add(reserve)))
    }

    /// How many more may be written to after `spent`: any number that can be counted where there is no limit.
    #[must_use]
    pub(crate) fn room_after(self, spent: u64) -> u32 {
        let spent = u32::try_from(spent).unwrap_or(u32::MAX);
        self.0.map_or(u32::MAX, |limit| limit.saturating_sub(spent))
    }
}

impl Default for Limit {
    /// Of what nobody has configured nothing is spent.
    fn default() -> Self {
        Self::of(0)
    }
}

impl From<u32> for Limit {
    fn from(recipients: u32) -> Self {
        Self::of(recipients)
    }
}

impl Display for Limit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(limit) => limit.fmt(f),
            None => f.write_str("no limit"),
        }
    }
}
