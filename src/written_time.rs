//! A time that a person writes: of the day, with a date, or as RFC 3339; or a span.
//!
//! Rule: local time unless an offset says otherwise; whether it may have passed, the caller knows.

use std::time::Duration;

use jiff::{
    Timestamp as Instant, Zoned,
    civil::{Date, Time},
    tz::TimeZone,
};

use crate::{
    clock::{Clock as _, SystemClock, Timestamp},
    quantities,
};

/// The shortest span.
const SHORTEST: Duration = Duration::from_secs(1);

/// What is understood, for whoever wrote something else.
const FORMS: &str = "write a time such as 14:30, \"tomorrow 08:00\", \"2026-12-24 18:00\" or 2026-12-24T18:00:00+01:00";

/// A reader of spans such as `30s`, `10min` or `2h`: of a second at least, and of no more than `longest` where there is one.
pub(crate) fn span_up_to(
    longest: Option<Duration>,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| {
        let span = humantime::parse_duration(text.trim()).ok().filter(|span| !span.is_zero());
        let span = span.ok_or_else(|| "write a time such as 30s, 10min or 2h".to_owned())?;
        match longest {
            _ if span < SHORTEST => Err("it is a second at least".to_owned()),
            Some(longest) if span > longest => {
                Err(format!("it can be a second to {}", quantities::span(longest)))
            }
            _ => Ok(span),
        }
    }
}

/// A time that is still to come.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let at = parse_any(text)?;
    if at <= SystemClock::new().wall() {
        return Err("that time has passed".to_owned());
    }
    Ok(at)
}

/// A time that is still to come, or a span from `now` on.
pub(crate) fn span_or_time(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(span) = span_up_to(None)(text) {
        return Ok(now.after(span));
    }
    let zoned = Instant::from_millisecond(now.0).map_err(|_| "the clock is wrong".to_owned())?;
    let at = read(text.trim(), &zoned.to_zoned(TimeZone::system()));
    match at.map_err(|words| format!("{words}; or a span such as 10min or 2h"))? {
        at if at <= now => Err("that time has passed".to_owned()),
        at => Ok(at),
    }
}

/// The same, also of the past.
pub(crate) fn parse_any(text: &str) -> Result<Timestamp, String> {
    let now = Instant::from_millisecond(SystemClock::new().wall().0);
    let now = now.map_err(|_| "the clock is wrong".to_owned())?;
    read(text.trim(), &now.to_zoned(TimeZone::system()))
}

fn read(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse::<Instant>() {
        return Ok(Timestamp(instant.as_millisecond()));
    }
    let unknown = || FORMS.to_owned();
    let (day, time) = match text.split_once(char::is_whitespace) {
        Some((day, time)) => (Some(day), time.trim_start()),
        None => text.split_once('T').map_or((None, text), |(day, time)| (Some(day), time)),
    };
    let time = time_of_day(time).ok_or_else(unknown)?;
    let today = now.date();
    let date = match day {
        Some(day) if day.eq_ignore_ascii_case("today") => today,
        Some(day) if day.eq_ignore_ascii_case("tomorrow") => {
            today.tomorrow().map_err(|_| unknown())?
        }
        Some(day) => day.parse::<Date>().map_err(|_| unknown())?,
        // The next time that a clock on the wall shows it.
        None if time > now.time() => today,
        None => today.tomorrow().map_err(|_| unknown())?,
    };
    // A time that a change of the clocks leaves out is the same so many minutes later.
    let zoned = date.to_datetime(time).to_zoned(now.time_zone().clone()).map_err(|_| unknown())?;
    Ok(Timestamp(zoned.timestamp().as_millisecond()))
}

/// `14:30` or `14:30:15`.
fn time_of_day(text: &str) -> Option<Time> {
    let is_one = (4..=8).contains(&text.len())
        && text.contains(':')
        && text.bytes().all(|octet| octet.is_ascii_digit() || octet == b':');
    let numbers: Option<Vec<i8>> = text.split(':').map(|number| number.parse().ok()).collect();
    match numbers?.as_slice() {
        _ if !is_one => None,
        [hour, minute] => Time::new(*hour, *minute, 0, 0).ok(),
        [hour, minute, second] => Time::new(*hour, *minute, *second, 0).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

    use super::*;

    /// In a zone an hour ahead of UTC, at 14:00 of a Saturday.
    fn of(text: &str) -> Result<String, String> {
        let now: Instant = "2026-11-28T13:00:00Z".parse().unwrap();
        let now = now.to_zoned(TimeZone::fixed(Offset::constant(1)));
        read(text, &now).map(|at| at.to_string())
    }

    #[test]
    fn a_time_of_the_day_is_the_next_one_and_a_day_may_be_named() {
        for (text, expected) in [
            ("14:30", "2026-11-28T13:30:00Z"),
            ("14:30:15", "2026-11-28T13:30:15Z"),
            ("8:00", "2026-11-29T07:00:00Z"),
            ("14:00", "2026-11-29T13:00:00Z"),
            ("today 23:59", "2026-11-28T22:59:00Z"),
            ("tomorrow 08:00", "2026-11-29T07:00:00Z"),
            ("Tomorrow  08:00", "2026-11-29T07:00:00Z"),
            ("2026-12-24 18:00", "2026-12-24T17:00:00Z"),
            ("2026-12-24T18:00", "2026-12-24T17:00:00Z"),
            ("2026-12-24T18:00:00Z", "2026-12-24T18:00:00Z"),
            ("2026-12-24T18:00:00-05:00", "2026-12-24T23:00:00Z"),
        ] {
            assert_eq!(of(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_span_is_a_second_at_least_and_no_longer_than_it_may_be() {
        let of = span_up_to(Some(Duration::from_secs(3_600)));
        assert_eq!(of(" 10min "), Ok(Duration::from_secs(600)));
        assert_eq!(of("1h"), Ok(Duration::from_secs(3_600)));
        assert_eq!(of("61min"), Err("it can be a second to 1 h".to_owned()));
        assert_eq!(of("10ms"), Err("it is a second at least".to_owned()));
        for text in ["", "0s", "10", "soon", "-1h"] {
            assert!(of(text).unwrap_err().starts_with("write a time such as"), "{text}");
        }
        assert_eq!(span_up_to(None)("400days"), Ok(Duration::from_secs(400 * 86_400)));
    }

    #[test]
    fn a_span_counts_from_now_and_a_time_is_still_to_come() {
        let now = Timestamp(1_800_000_000_000);
        assert_eq!(span_or_time(" 2h ", now), Ok(Timestamp(1_800_007_200_000)));
        let later = span_or_time("2027-01-15T18:00:00Z", now);
        assert_eq!(later, Ok(Timestamp(1_800_036_000_000)));
        assert_eq!(
            span_or_time("2026-11-28T13:00:00Z", now),
            Err("that time has passed".to_owned())
        );
        for text in ["", "0s", "-1h", "soon"] {
            assert!(
                span_or_time(text, now).unwrap_err().ends_with("or a span such as 10min or 2h")
            );
        }
    }

    #[test]
    fn what_is_no_time_is_answered_with_what_is_one() {
        for text in
            ["", "noon", "25:00", "14:60", "14", "+4:30", "friday 10:00", "2026-02-30 10:00"]
        {
            assert_eq!(of(text), Err(FORMS.to_owned()), "{text}");
        }
        assert_eq!(parse("2020-01-01T00:00:00Z"), Err("that time has passed".to_owned()));
    }
}
