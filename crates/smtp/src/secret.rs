//! A value that must never be seen: passwords and tokens.
//!
//! Rule: it prints as `***`, is wiped from memory when dropped, and is read only through
//! [`Secret::expose`], which only the files named in tests/tidy/bans.rs may call.
//! Must not know what the secret is for.

use std::fmt;

use zeroize::Zeroizing;

/// Text that never reaches a log, an error or a debug print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of the text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Call it only where it goes on the wire or into a hash.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_stars() {
        assert_eq!(format!("{:?}", Secret::new("abcdefghijklmnop".into())), "***");
    }
}
