//! The time at which the weekly report is due.
//!
//! Rule: pure. Once in each week, in a minute of the hour that depends on the host's name; later when the relay was down
//! then, and never right after a start. Two are six days apart at least, whatever is configured meanwhile.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use crate::clock::{Moment, Timestamp};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const WEEK_MS: i64 = 7 * DAY_MS;
/// From 1970-01-01, a Thursday, to the first Monday.
const FIRST_MONDAY_MS: i64 = 4 * DAY_MS;
/// How long after a start it comes at the soonest: the clock may not be set before.
pub(super) const AFTER_START: Duration = Duration::from_secs(10 * 60);
/// Between two of them at the least.
const APART: Duration = Duration::from_secs(6 * 86_400);

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Weekday {
    /// As it is written in relay.toml.
    pub(crate) const WORDS: &'static [(&'static str, Self)] = &[
        ("monday", Self::Monday),
        ("tuesday", Self::Tuesday),
        ("wednesday", Self::Wednesday),
        ("thursday", Self::Thursday),
        ("friday", Self::Friday),
        ("saturday", Self::Saturday),
        ("sunday", Self::Sunday),
    ];
}

/// The hour of the week in which it comes, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hour {
    pub(crate) day: Weekday,
    /// 0 to 23.
    pub(crate) hour: u8,
}

/// Milliseconds after an hour's beginning, so that many relays do not do at once what each does in that hour.
#[must_use]
pub(crate) fn spread_over_an_hour(hostname: &str) -> i64 {
    let mut hasher = DefaultHasher::new();
    hostname.hash(&mut hasher);
    i64::try_from(hasher.finish() % HOUR_MS.unsigned_abs()).unwrap_or(0)
}

/// How long until the next one: in the first hour after `since`, the time since when hours count, and not too soon after the
/// last one, which was `queued`.
pub(super) fn due_in(
    hour: Hour,
    spread: i64,
    (since, queued): (Timestamp, Option<Timestamp>),
    (started, now): (Moment, Moment),
) -> Duration {
    let begins = FIRST_MONDAY_MS
        + DAY_MS * i64::from(hour.day as u8)
        + HOUR_MS * i64::from(hour.hour)
        + spread;
    let this_week = (now.wall.0 - begins).div_euclid(WEEK_MS) * WEEK_MS + begins;
    let next = if since.0 < this_week { this_week } else { this_week + WEEK_MS };
    let next = queued.map_or(next, |queued| next.max(queued.after(APART).0));
    let up = Duration::from_millis(now.since_boot_ms.saturating_sub(started.since_boot_ms));
    Timestamp(next).since(now.wall).max(AFTER_START.saturating_sub(up))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock};

    const AN_HOUR: Duration = Duration::from_secs(3_600);
    const DAY: Duration = Duration::from_secs(86_400);
    /// 2027-01-15T08:00:00Z, a Friday.
    const FRIDAY: Timestamp = Timestamp(1_800_000_000_000);
    const MONDAY_AT_6: Hour = Hour { day: Weekday::Monday, hour: 6 };

    #[test]
    fn it_is_due_once_a_week_and_a_missed_one_is_made_up_for_soon_after_the_start() {
        let clock = ManualClock::new(FRIDAY);
        let started = clock.now();
        let due = |told, now| due_in(MONDAY_AT_6, 0, told, (started, now));
        assert_eq!(due((FRIDAY, None), clock.now()), 2 * DAY + 22 * AN_HOUR, "until Monday, 06:00");
        clock.advance(2 * DAY + 22 * AN_HOUR);
        let monday = clock.now().wall;
        assert_eq!(due((FRIDAY, None), clock.now()), Duration::ZERO);
        assert_eq!(due((monday, Some(monday)), clock.now()), 7 * DAY);
        clock.advance(DAY);
        let restarted = due_in(MONDAY_AT_6, 0, (FRIDAY, None), (clock.now(), clock.now()));
        assert_eq!(restarted, AFTER_START, "the relay was down on Monday");
    }

    #[test]
    fn two_are_six_days_apart_although_the_day_was_changed_or_one_came_late() {
        let clock = ManualClock::new(FRIDAY);
        let started = clock.now();
        clock.advance(AN_HOUR);
        let told = (clock.now().wall, Some(clock.now().wall));
        assert_eq!(due_in(MONDAY_AT_6, 0, told, (started, clock.now())), 6 * DAY);
    }

    #[test]
    fn every_day_of_the_week_has_its_own_time_and_the_names_of_hosts_spread_over_the_hour() {
        let clock = ManualClock::new(FRIDAY);
        let waits = Weekday::WORDS.iter().map(|(_, day)| {
            let hour = Hour { day: *day, hour: 8 };
            due_in(hour, 1, (FRIDAY, None), (clock.now(), clock.now())).as_secs() / 86_400
        });
        assert_eq!(waits.collect::<Vec<_>>(), [3, 4, 5, 6, 0, 1, 2]);
        let spreads = (0..100).map(|number| spread_over_an_hour(&format!("web{number:02}")));
        let spreads: Vec<i64> = spreads.collect();
        assert!(spreads.iter().all(|spread| (0..HOUR_MS).contains(spread)));
        let late = spreads.iter().filter(|spread| **spread >= HOUR_MS / 2).count();
        assert!((20..=80).contains(&late), "{late} of 100 are in the second half");
    }
}
