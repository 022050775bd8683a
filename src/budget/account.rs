//! The number of an account, by which the budget and the queue know it.
//!
//! Rule: it follows from the name alone. Must not know which accounts there are.

use serde::{Deserialize, Serialize};

use super::MAIN;

/// An account as a number, which is the same in every version of this program: it is stored with what was spent.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct AccountKey(u32);

impl AccountKey {
    /// The account that `[upstream]` describes.
    pub const MAIN: Self = Self(0);

    /// Of an account with this name. Whoever reads names from a person sees to it that no two have the same number.
    #[must_use]
    pub(crate) fn of(name: &str) -> Self {
        if name == MAIN { Self::MAIN } else { Self(crc32fast::hash(name.as_bytes()).max(1)) }
    }

    /// For whoever knows nothing of accounts.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// What [`AccountKey::to_bytes`] gave.
    pub(crate) fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    /// For a key on disk.
    pub(crate) fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_an_account_is_the_same_in_every_version() {
        assert_eq!(AccountKey::of("main").to_bytes(), [0; 4]);
        assert_eq!(AccountKey::of("second").to_bytes(), [0xB6, 0x1F, 0x11, 0x69]);
    }
}
