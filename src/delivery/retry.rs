//! The times at which a deferred recipient is tried again: 1 m, 5 m, 15 m, 1 h, then every 4 h (docs/gmail.md section 3.1).
//!
//! Rule: pure; the random part comes in as an argument. The jitter keeps a batch that was deferred
//! together from coming back together. Must not know why something was deferred.

use std::time::Duration;

use super::verdict::Growth;

const STEPS_MINUTES: [u64; 5] = [1, 5, 15, 60, 240];
/// Which step is an hour, counted from 1.
const AN_HOUR_STEP: u32 = 4;
/// The hours of a lifetime whose attempts must have been made, and the least number of them.
const FIRST_HOURS: Duration = Duration::from_secs(8 * 3_600);
const ATTEMPTS_MIN: u32 = 2;
/// The jitter: a wait is lengthened by up to this part of itself.
const JITTER: f64 = 0.2;

/// The wait after `attempts` charged attempts (the first one is 1). `random` is in 0.0..1.0.
pub(super) fn delay(attempts: u32, random: f64) -> Duration {
    let step = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let minutes = STEPS_MINUTES[step.min(STEPS_MINUTES.len() - 1)];
    lengthened(Duration::from_secs(minutes * 60), random)
}

/// The wait as a verdict asks for it: some replies want patience although they do not refuse for good.
pub(super) fn growing(growth: Growth, attempts: u32, random: f64) -> Duration {
    match growth {
        Growth::FromAMinute => delay(attempts, random),
        Growth::FromAnHour => delay(attempts.saturating_add(AN_HOUR_STEP - 1), random),
        Growth::Hourly => delay(AN_HOUR_STEP, random),
    }
}

/// How many attempts the first hours of a lifetime have at least while the account is open. No message is given up
/// before them: its lifetime may have passed while the account was paused.
pub(super) fn attempts_within(lifetime: Duration, growth: Growth) -> u32 {
    let (span, mut at, mut attempts) = (lifetime.min(FIRST_HOURS), Duration::ZERO, 1);
    loop {
        at += growing(growth, attempts, 1.0);
        if at >= span {
            return attempts.max(ATTEMPTS_MIN);
        }
        attempts += 1;
    }
}

/// The wait before an uncertain recipient is sent once more: one to three times `least`.
pub(super) fn resend_delay(least: Duration, random: f64) -> Duration {
    least.mul_f64(1.0 + 2.0 * random.clamp(0.0, 1.0))
}

fn lengthened(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(1.0 + JITTER * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_grow_from_a_minute_to_four_hours() {
        let minutes: Vec<u64> =
            (1..=7).map(|attempts| delay(attempts, 0.0).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 5, 15, 60, 240, 240, 240]);
        assert_eq!(delay(0, 0.0), delay(1, 0.0));
        let hours =
            |growth| [1, 2, 3].map(|attempts| growing(growth, attempts, 0.0).as_secs() / 3_600);
        assert_eq!(hours(Growth::FromAnHour), [1, 4, 4]);
        assert_eq!(hours(Growth::Hourly), [1, 1, 1]);
        assert_eq!(growing(Growth::FromAMinute, 2, 0.0), delay(2, 0.0));
    }

    #[test]
    fn a_lifetime_has_the_attempts_of_hours_of_an_open_account() {
        let within =
            |minutes| attempts_within(Duration::from_secs(60u64 * minutes), Growth::FromAMinute);
        assert_eq!([1, 10, 60, 240, 5 * 24 * 60].map(within), [2, 3, 4, 5, 6]);
        let five_days = Duration::from_secs(5 * 24 * 3_600);
        assert_eq!(attempts_within(five_days, Growth::Hourly), 7);
        assert_eq!(attempts_within(five_days, Growth::FromAnHour), 3);
    }

    #[test]
    fn jitter_only_lengthens_and_by_a_fifth_at_most() {
        assert_eq!(delay(1, 1.0), Duration::from_secs(72));
        let least = Duration::from_secs(300);
        assert_eq!(resend_delay(least, 0.0), least);
        assert_eq!(resend_delay(least, 1.0), 3 * least);
    }
}
