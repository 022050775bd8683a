//! The queue id: the name of a message from acceptance to the end of its history.
//!
//! Rule: ids sort in the order of acceptance, also across restarts, while the wall clock does not step back
//! by more than some minutes. Must not know where a message lies.

use std::{fmt, str::FromStr, sync::Mutex, time::Duration};

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use crate::{clock::Timestamp, sync};

/// Octets of the random part.
pub(crate) const RANDOM_LENGTH: usize = 6;
/// Letters and digits of an id.
pub(super) const ID_LENGTH: usize = 26;
/// How old a proposed id may be: a host that was switched off over the longest holidays still hands over its mail
/// under the id that it was given.
pub(crate) const PROPOSAL_AGE_MAX: Duration = Duration::from_secs(40 * 24 * 3600);
/// How far a proposed id may be ahead of our clock: two readings of one clock, with a correction in between.
pub(crate) const PROPOSAL_AHEAD_MAX: Duration = Duration::from_secs(5 * 60);

/// Milliseconds since 1970 (6 bytes, big endian), a counter (4) and a random part (6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
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

    /// The id that a program of this host proposes for its message before it hands it over, so that it may
    /// hand it over twice. `random` must come from the kernel's generator: nobody may guess it.
    #[must_use]
    pub fn proposed(now: Timestamp, random: [u8; RANDOM_LENGTH]) -> Self {
        Self::of(now.0, 0, random)
    }

    /// Whether a message may have this id because its client says so.
    #[must_use]
    pub(crate) fn is_acceptable_at(&self, now: Timestamp) -> bool {
        self.time() >= now.before(PROPOSAL_AGE_MAX) && !self.is_ahead_of(now)
    }

    /// Whether it claims to come from the future. Such an id would be the newest one for ever, and every id that is
    /// made after a restart would follow it there.
    #[must_use]
    pub fn is_ahead_of(&self, now: Timestamp) -> bool {
        self.time() > now.after(PROPOSAL_AHEAD_MAX)
    }

    fn of(millis: i64, counter: u32, random: [u8; RANDOM_LENGTH]) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        bytes[6..10].copy_from_slice(&counter.to_be_bytes());
        bytes[10..].copy_from_slice(&random);
        Self(bytes)
    }

    /// The millisecond in which it was made.
    #[must_use]
    pub(crate) fn time(&self) -> Timestamp {
        let millis = self.0[..6].iter().fold(0i64, |sum, byte| (sum << 8) | i64::from(*byte));
        Timestamp(millis)
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; ID_LENGTH];
        encoding().encode_mut(&self.0, &mut text);
        formatter.write_str(str::from_utf8(&text).unwrap_or_default())
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

/// As its text.
impl Serialize for QueueId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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
pub(crate) struct QueueIds {
    last: Mutex<(i64, u32)>,
}

impl QueueIds {
    /// A generator whose first id sorts after every id made up to `floor`.
    #[must_use]
    pub(crate) fn new(floor: Timestamp) -> Self {
        Self { last: Mutex::new((floor.0, 0)) }
    }

    /// The next id at `now`. When the clock has stepped back a little the last millisecond is used again; when it was
    /// far ahead, the order begins anew, for nothing may be dated into the future for long.
    #[must_use]
    pub(crate) fn next(&self, now: Timestamp) -> QueueId {
        let (millis, counter) = {
            let mut last = sync::lock(&self.last);
            let far_ahead = last.0 > now.after(PROPOSAL_AHEAD_MAX).0;
            *last = if now.0 > last.0 || far_ahead {
                (now.0, 0)
            } else {
                (last.0, last.1.wrapping_add(1))
            };
            *last
        };
        let [_, _, random @ ..] = fastrand::u64(..).to_be_bytes();
        QueueId::of(millis, counter, random)
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
    fn ids_follow_a_clock_that_was_far_ahead_back_to_the_present() {
        let now = Timestamp(1_800_000_000_000);
        let ahead = now.after(Duration::from_secs(4_000 * 24 * 3600));
        let ids = QueueIds::new(ahead);
        assert_eq!(ids.next(now).time(), now, "also of a run before this one");
        assert_eq!(ids.next(ahead).time(), ahead);
        assert_eq!(ids.next(now).time(), now);
        let corrected = now.before(PROPOSAL_AHEAD_MAX);
        assert_eq!(ids.next(corrected).time(), now, "a correction keeps the order");
    }

    #[test]
    fn the_text_form_reads_back_in_either_case() {
        let id = QueueIds::new(Timestamp(0)).next(Timestamp(1_800_000_000_000));
        assert_eq!(id.to_string().len(), 26);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        assert_eq!(id.time(), Timestamp(1_800_000_000_000));
        assert_eq!("../../etc/passwd".parse::<QueueId>(), Err(NotAQueueId));
    }

    #[test]
    fn a_proposed_id_is_taken_for_forty_days_and_hardly_from_the_future() {
        let now = Timestamp(1_800_000_000_000);
        let id = QueueId::proposed(now, *b"random");
        assert_eq!(
            (id.time(), &id.as_bytes()[6..10], &id.as_bytes()[10..]),
            (now, &[0; 4][..], &b"random"[..])
        );
        let at = |millis| id.is_acceptable_at(Timestamp(now.0 + millis));
        let [day, minute] = [24 * 3_600_000, 60_000];
        assert!(at(0) && at(40 * day) && at(-5 * minute));
        assert!(!at(40 * day + 1) && !at(-5 * minute - 1));
    }
}
