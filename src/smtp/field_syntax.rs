//! Whether the value of a header field is what RFC 5322 asks for: Message-ID and Date.
//!
//! Rule: lenient where the meaning is clear (comments, obsolete zones), because the answer leads to a new
//! value in place of the client's. Must not know where the value stood.

/// One message id (RFC 5322 section 3.6.4): `<left@right>` in printable ASCII without blanks. Gmail refuses
/// a message with anything else.
#[must_use]
pub fn is_message_id(value: &[u8]) -> bool {
    let inside =
        value.trim_ascii().strip_prefix(b"<").and_then(|value| value.strip_suffix(b">")).unwrap_or_default();
    let parts: Vec<&[u8]> = inside.split(|octet| *octet == b'@').collect();
    let is_part = |part: &&[u8]| {
        !part.is_empty() && part.iter().all(|octet| octet.is_ascii_graphic() && !b"<>(),;\\".contains(octet))
    };
    parts.len() == 2 && parts.iter().all(is_part)
}

/// A date and time (RFC 5322 sections 3.3 and 4.3), with a year of four digits.
#[must_use]
pub fn is_date(value: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(value) else {
        return false;
    };
    let value = without_comments(value).replace(',', ", ");
    let mut words: Vec<&str> = value.split_ascii_whitespace().collect();
    if let Some(day) = words.first().and_then(|word| word.strip_suffix(',')) {
        if !DAYS.iter().any(|name| name.eq_ignore_ascii_case(day)) {
            return false;
        }
        words.remove(0);
    }
    let [day, month, year, time, zone] = words[..] else {
        return false;
    };
    let number = |text: &str, digits: usize| {
        let are_digits = text.bytes().all(|octet| octet.is_ascii_digit());
        (text.len() <= digits && are_digits).then(|| text.parse::<u32>().ok()).flatten()
    };
    let within = |text: &str, largest: u32| number(text, 2).is_some_and(|number| number <= largest);
    let time: Vec<&str> = time.split(':').collect();
    number(day, 2).is_some_and(|day| (1..=31).contains(&day))
        && MONTHS.iter().any(|name| name.eq_ignore_ascii_case(month))
        && number(year, 4).is_some_and(|year| year >= 1900)
        && matches!(time.len(), 2 | 3)
        && within(time[0], 23)
        // 60 is a leap second.
        && time[1..].iter().zip([59, 60]).all(|(part, largest)| within(part, largest))
        && is_zone(zone)
}

fn is_zone(zone: &str) -> bool {
    match zone.strip_prefix(['+', '-']) {
        Some(digits) => digits.len() == 4 && digits.bytes().all(|octet| octet.is_ascii_digit()),
        None => ZONES.iter().any(|name| name.eq_ignore_ascii_case(zone)),
    }
}

/// Comments in parentheses, which may be nested, say nothing.
fn without_comments(value: &str) -> String {
    let mut depth = 0_usize;
    let outside = |character: &char| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    value.chars().filter(outside).collect()
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// The zones with a name of RFC 5322 section 4.3; the military letters mean nothing.
const ZONES: [&str; 10] = ["UT", "GMT", "EST", "EDT", "CST", "CDT", "MST", "MDT", "PST", "PDT"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_is_one_at_sign_between_angle_brackets() {
        for valid in ["<1@b>", " <20261122.1234$x@printer.lan> ", "<a@[192.0.2.1]>"] {
            assert!(is_message_id(valid.as_bytes()), "{valid}");
        }
        for invalid in
            ["", "<>", "1@b", "<1>", "<@b>", "<a@>", "<a@b@c>", "<a b@c>", "<a@b> <c@d>", "<ü@b>", "<a@b"]
        {
            assert!(!is_message_id(invalid.as_bytes()), "{invalid}");
        }
    }

    #[test]
    fn a_date_has_a_day_a_month_a_year_a_time_and_a_zone() {
        for valid in [
            "Sun, 22 Nov 2026 01:52:03 +0000",
            "22 nov 2026 1:52 GMT",
            "Sun,22 Nov 2026 01:52:60 -0930 (so (they) say)",
            "1 Jan 2026 00:00 EST",
        ] {
            assert!(is_date(valid.as_bytes()), "{valid}");
        }
        for invalid in [
            "",
            "2026-11-22T01:52:03Z",
            "Sun Nov 22 01:52:03 2026",
            "Son, 22 Nov 2026 01:52:03 +0000",
            "32 Nov 2026 01:52:03 +0000",
            "0 Nov 2026 01:52:03 +0000",
            "22 Nov 26 01:52:03 +0000",
            "22 Nov 2026 24:00:00 +0000",
            "22 Nov 2026 01:60 +0000",
            "22 Nov 2026 01 +0000",
            "22 Nov 2026 01:52:03",
            "22 Nov 2026 01:52:03 +00",
            "22 Nov 2026 01:52:03 MEZ",
            "22 Nov 2026 01:52:03:04 +0000",
        ] {
            assert!(!is_date(invalid.as_bytes()), "{invalid}");
        }
    }
}
