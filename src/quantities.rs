//! Quantities in words for people: numbers of things, sizes, spans, and times with how far away they are.
//!
//! Rule: a time is never shown without saying how long that is from now.

use std::time::Duration;

use jiff::{Timestamp as Instant, Zoned, tz::TimeZone};

use crate::clock::Timestamp;

/// `1 message`, `2 messages`.
#[must_use]
pub(crate) fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// `1.2 MiB`.
#[must_use]
pub(crate) fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

/// `14:05`, or with the date when that is another day than `now`.
#[must_use]
pub(crate) fn local(at: Timestamp, now: Timestamp) -> String {
    let (Some(zoned), today) = (zoned(at), zoned(now)) else { return format!("{} ms", at.0) };
    let same_day = today.is_some_and(|today| today.date() == zoned.date());
    zoned.strftime(if same_day { "%H:%M" } else { "%Y-%m-%d %H:%M" }).to_string()
}

/// The hour of the local day, 0 to 23.
#[must_use]
pub(crate) fn hour(at: Timestamp) -> u8 {
    zoned(at).and_then(|at| u8::try_from(at.hour()).ok()).unwrap_or_default()
}

/// `2026-11-21 14:05:09`.
#[must_use]
pub(crate) fn local_in_full(at: Timestamp) -> String {
    zoned(at)
        .map_or_else(|| format!("{} ms", at.0), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// `Sat Nov 21 14:05:09`, as mailq(1) has it.
#[must_use]
pub(crate) fn local_as_mailq(at: Timestamp) -> String {
    zoned(at)
        .map_or_else(|| format!("{} ms", at.0), |at| at.strftime("%a %b %e %H:%M:%S").to_string())
}

/// `14:05 (in 3 h 12 min)`, `14:05 (3 h 12 min ago)`.
#[must_use]
pub(crate) fn when(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", local(at, now), relative(at, now))
}

/// `in 3 h 12 min`, `3 h 12 min ago`, `now`.
#[must_use]
pub(crate) fn relative(at: Timestamp, now: Timestamp) -> String {
    let (ahead, behind) = (at.since(now), now.since(at));
    if ahead.as_secs() > 0 {
        format!("in {}", span(ahead))
    } else if behind.as_secs() > 0 {
        format!("{} ago", span(behind))
    } else {
        "now".to_owned()
    }
}

/// `1.2 s`.
#[must_use]
pub(crate) fn tenths(duration: Duration) -> String {
    format!("{}.{} s", duration.as_secs(), duration.subsec_millis() / 100)
}

/// `45 s`, `12 min`, `3 h 12 min`, `2 d 4 h`: two units at most.
#[must_use]
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => two(hours, "h", minutes % 60, "min"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// `14:32:07.012`.
#[must_use]
pub(crate) fn local_to_the_millisecond(at: Timestamp) -> String {
    zoned(at).map_or_else(|| format!("{} ms", at.0), |at| at.strftime("%H:%M:%S%.3f").to_string())
}

fn zoned(at: Timestamp) -> Option<Zoned> {
    Some(Instant::from_millisecond(at.0).ok()?.to_zoned(zone()))
}

/// That of the machine; in unit tests the same on each.
fn zone() -> TimeZone {
    if cfg!(test) { TimeZone::UTC } else { TimeZone::system() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        let check = |seconds, text: &str| assert_eq!(span(Duration::from_secs(seconds)), text);
        check(0, "0 s");
        check(59, "59 s");
        check(60, "1 min");
        check(3_599, "59 min");
        check(3_600, "1 h");
        check(3 * 3_600 + 12 * 60 + 40, "3 h 12 min");
        check(2 * 86_400 + 4 * 3_600, "2 d 4 h");
    }

    #[test]
    fn the_distance_says_its_direction() {
        let now = Timestamp(1_700_000_000_000);
        assert_eq!(relative(now.after(Duration::from_secs(90)), now), "in 1 min");
        assert_eq!(relative(now.before(Duration::from_secs(90)), now), "1 min ago");
        assert_eq!(relative(now.after(Duration::from_millis(300)), now), "now");
    }

    #[test]
    fn another_day_is_shown_with_its_date() {
        let now = Timestamp(1_700_000_000_000);
        assert_eq!(local(now, now).len(), "14:05".len());
        assert_eq!(
            local(now.after(Duration::from_secs(3 * 86_400)), now).len(),
            "2026-11-24 14:05".len()
        );
    }
}
