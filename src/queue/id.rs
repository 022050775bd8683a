//! The queue id: the name of a message from acceptance to the end of its history.
//!
//! Rule: ids sort in the order of acceptance, also across restarts while the wall clock does not step
//! back. Must not know where a message lies.

use std::{
    fmt,
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::clock::Timestamp;

/// Length of the text form.
pub const TEXT_LENGTH: usize = 26;

/// Milliseconds since 1970 (6 bytes, big endian), a counter (4) and a random part (6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueId([u8; 16]);

impl QueueId {
    /// The 16 bytes, which sort as the ids do.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The millisecond in which it was made.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        let millis = self.0[..6].iter().fold(0i64, |sum, byte| (sum << 8) | i64::from(*byte));
        Timestamp(millis)
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&encoding().encode(&self.0))
    }
}

impl fmt::Debug for QueueId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for QueueId {
    type Err = NotAQueueId;

    fn from_str(text: &str) -> Result<Self, NotAQueueId> {
        let bytes = encoding().decode(text.as_bytes()).map_err(|_| NotAQueueId)?;
        bytes.try_into().map(Self).map_err(|_| NotAQueueId)
    }
}

impl TryFrom<String> for QueueId {
    type Error = NotAQueueId;

    fn try_from(text: String) -> Result<Self, NotAQueueId> {
        text.parse()
    }
}

impl From<QueueId> for String {
    fn from(id: QueueId) -> Self {
        id.to_string()
    }
}

/// The text is not a queue id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a queue id: an id has 26 letters and digits, as `pillarbox queue list` prints it")]
pub struct NotAQueueId;

/// Base32 in the alphabet that keeps the order of the bytes and leaves out i, l, o and u, which are
/// misread over the telephone. Upper case is understood as well.
fn encoding() -> &'static Encoding {
    static ENCODING: std::sync::LazyLock<Encoding> = std::sync::LazyLock::new(|| {
        let mut specification = Specification::new();
        specification.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
        specification.translate.from.push_str("ABCDEFGHJKMNPQRSTVWXYZ");
        specification.translate.to.push_str("abcdefghjkmnpqrstvwxyz");
        // The constants above are a valid specification: the tests encode with it.
        specification.encoding().unwrap_or(data_encoding::BASE32_DNSCURVE)
    });
    &ENCODING
}

/// Makes ids that never sort before an earlier one of the same process.
#[derive(Debug)]
pub struct QueueIds {
    last: Mutex<(i64, u32)>,
}

impl QueueIds {
    /// A generator whose first id sorts after every id made up to `floor`.
    #[must_use]
    pub fn new(floor: Timestamp) -> Self {
        Self { last: Mutex::new((floor.0, 0)) }
    }

    /// The next id at `now`. When the clock has stepped back the last millisecond is used again.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> QueueId {
        let (millis, counter) = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = if now.0 > last.0 { (now.0, 0) } else { (last.0, last.1.wrapping_add(1)) };
            *last
        };
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        bytes[6..10].copy_from_slice(&counter.to_be_bytes());
        bytes[10..].copy_from_slice(&fastrand::u64(..).to_be_bytes()[2..]);
        QueueId(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_in_the_order_they_were_made_also_when_the_clock_steps_back() {
        let ids = QueueIds::new(Timestamp(0));
        let made: Vec<QueueId> = [5, 5, 9, 3, 3, 10].map(|now| ids.next(Timestamp(now))).into();
        assert!(made.is_sorted());
        let texts: Vec<String> = made.iter().map(QueueId::to_string).collect();
        assert!(texts.is_sorted(), "the text form keeps the order: {texts:?}");
    }

    #[test]
    fn the_text_form_reads_back_in_either_case() {
        let id = QueueIds::new(Timestamp(0)).next(Timestamp(1_800_000_000_000));
        assert_eq!(id.to_string().len(), TEXT_LENGTH);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        assert_eq!(id.time(), Timestamp(1_800_000_000_000));
        assert_eq!("../../etc/passwd".parse::<QueueId>(), Err(NotAQueueId));
    }
}
