//! The pause that the administrator orders: a fact beside the account's condition, so that neither hides or ends the other.
//!
//! Rule: it is over at its time or when a person resumes, whatever the upstream says meanwhile.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The longest pause with an end. One that ends later was stored by a clock that was wrong.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);
/// Octets of a reason that are kept.
const REASON_LENGTH_MAX: usize = 400;

/// A pause that the administrator has ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub(crate) since: Timestamp,
    /// Until when; `None` when only a person ends it.
    pub(crate) until: Option<Timestamp>,
    /// Why, in the administrator's words; empty when he gave none.
    pub(crate) reason: String,
}

impl Pause {
    /// A pause from now on. What does not fit of a reason is cut.
    #[must_use]
    pub fn new(now: Timestamp, until: Option<Timestamp>, reason: &str) -> Self {
        let reason = reason[..reason.floor_char_boundary(REASON_LENGTH_MAX)].to_owned();
        Self { since: now, until, reason }
    }

    /// Whether it is not over.
    #[must_use]
    pub(crate) fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    /// `paused by the administrator until 14:30: new mail server`; `when` puts a time into words.
    #[must_use]
    pub(crate) fn words(&self, when: impl Fn(Timestamp) -> String) -> String {
        let end = match self.until {
            Some(until) => format!(" until {}", when(until)),
            None => " until `pillarbox resume`".to_owned(),
        };
        let reason = self.reason.trim_end_matches('.');
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        format!("paused by the administrator{end}{reason}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{
        record::{decode, encode},
        state::AccountState,
    };

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_pause_is_over_at_its_time_and_one_without_a_time_is_not() {
        let paused = |until| AccountState {
            pause: Some(Pause::new(NOW, until, "")),
            ..AccountState::open(NOW)
        };
        let end = NOW.after(HOUR);
        let hour = paused(Some(end));
        assert_eq!(hour.shut_until(NOW), Some(end));
        assert_eq!((hour.pause(end), hour.shut_until(end)), (None, None));
        let endless = paused(None);
        let years = NOW.after(10 * PAUSE_MAX);
        assert!(endless.pause(years).is_some() && endless.shut_until(years) > Some(years));
    }

    #[test]
    fn the_pause_that_ends_last_decides_when_an_attempt_may_begin() {
        let pause = Some(Pause::new(NOW, Some(NOW.after(2 * HOUR)), ""));
        for (until, hours) in [(1, 2), (2, 2), (3, 3)] {
            let until = Some(NOW.after(until * HOUR));
            let state = AccountState { until, pause: pause.clone(), ..AccountState::open(NOW) };
            assert_eq!(state.shut_until(NOW), Some(NOW.after(hours * HOUR)));
        }
    }

    #[test]
    fn its_words_tell_the_end_and_the_reason() {
        let words = |until, reason| Pause::new(NOW, until, reason).words(|_| "14:30".into());
        assert_eq!(
            words(Some(NOW), "new server."),
            "paused by the administrator until 14:30: new server"
        );
        assert_eq!(words(None, ""), "paused by the administrator until `pillarbox resume`");
    }

    #[test]
    fn it_is_stored_with_the_account_and_a_long_reason_is_cut() {
        let pause = Pause::new(NOW, Some(NOW.after(HOUR)), &"ä".repeat(1_000));
        assert!(pause.reason.len() <= 400);
        let state = AccountState { pause: Some(pause), ..AccountState::open(NOW) };
        assert_eq!(decode(&encode(&state).unwrap()), Ok(state));
    }
}
