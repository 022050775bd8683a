//! The syntax that RFC 5322 asks of two header fields: Message-ID and Date.
//!
//! Rule: the one judgement of both. It decides at acceptance what is replaced, and names what is odd about a
//! client, so that the two never differ. Takes what Gmail takes. Must not know where the value stood, nor what is
//! put in its place.

use jiff::fmt::rfc2822::DateTimeParser;

/// Octets of a Message-ID: a line of a header has at most 998 (RFC 5322 section 2.1.1).
pub const MESSAGE_ID_LENGTH_MAX: usize = 980;

/// What stands for a zone of which nothing is known (RFC 5322 section 4.3).
const UNKNOWN_ZONE: &str = "-0000";
/// Letters of a zone's name; the longest in use have five.
const ZONE_NAME_MAX: usize = 6;
/// Zones by their names in mail. Names that mean several zones (IST, and all single letters but Z) are not here, but for
/// those of North America, which RFC 5322 section 4.3 defines.
const ZONES: [(&str, &str); 46] = [
    ("UT", "+0000"),
    ("UTC", "+0000"),
    ("GMT", "+0000"),
    ("Z", "+0000"),
    ("WET", "+0000"),
    ("WEST", "+0100"),
    ("BST", "+0100"),
    ("CET", "+0100"),
    ("MET", "+0100"),
    ("MEZ", "+0100"),
    ("CEST", "+0200"),
    ("MEST", "+0200"),
    ("MESZ", "+0200"),
    ("EET", "+0200"),
    ("SAST", "+0200"),
    ("EEST", "+0300"),
    ("MSK", "+0300"),
    ("TRT", "+0300"),
    ("MSD", "+0400"),
    ("PKT", "+0500"),
    ("NPT", "+0545"),
    ("ICT", "+0700"),
    ("WIB", "+0700"),
    ("HKT", "+0800"),
    ("SGT", "+0800"),
    ("AWST", "+0800"),
    ("JST", "+0900"),
    ("KST", "+0900"),
    ("ACST", "+0930"),
    ("ACDT", "+1030"),
    ("AEST", "+1000"),
    ("AEDT", "+1100"),
    ("NZST", "+1200"),
    ("NZDT", "+1300"),
    ("BRT", "-0300"),
    ("ART", "-0300"),
    ("EDT", "-0400"),
    ("EST", "-0500"),
    ("CDT", "-0500"),
    ("CST", "-0600"),
    ("MDT", "-0600"),
    ("MST", "-0700"),
    ("PDT", "-0700"),
    ("PST", "-0800"),
    ("AKDT", "-0800"),
    ("AKST", "-0900"),
];

/// How a date stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DateForm {
    /// In the present form of RFC 5322 section 3.3.
    Present,
    /// It says something, in a form that Gmail replaces; this is the same in the present form.
    Obsolete(String),
    /// It says nothing.
    Invalid,
}

/// One message id (RFC 5322 section 3.6.4): `<left@right>`, possibly with comments around it. Obsolete but common:
/// dots anywhere on the left. Gmail refuses a message with anything else.
#[must_use]
pub fn is_message_id(text: &str, internationalized: bool) -> bool {
    let atom = |character: char| {
        character.is_ascii_alphanumeric()
            || "!#$%&'*+-/=?^_`{|}~".contains(character)
            || (internationalized && !character.is_ascii() && !character.is_control())
    };
    let Some(inside) = between_angle_brackets(text) else { return false };
    let Some((left, right)) = inside.rsplit_once('@') else { return false };
    let quoted = left.len() > 2 && left.starts_with('"') && left.ends_with('"');
    let in_quotes = |character: char| !character.is_control() && !"\"\\<>".contains(character);
    let left_fits = match quoted {
        true => left[1..left.len() - 1].chars().all(in_quotes),
        false => {
            !left.is_empty() && left.chars().all(|character| atom(character) || character == '.')
        }
    };
    let literal = right.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let right_fits = match literal {
        Some(inside) => inside.chars().all(|c| c.is_ascii_graphic() && !"[]\\<>".contains(c)),
        None => right.split('.').all(|label| !label.is_empty() && label.chars().all(atom)),
    };
    text.len() <= MESSAGE_ID_LENGTH_MAX && left_fits && right_fits
}

/// The inside of the only angle brackets, when nothing but one comment on either side stands around them.
fn between_angle_brackets(text: &str) -> Option<&str> {
    let (before, rest) = text.split_once('<')?;
    let (inside, after) = rest.split_once('>')?;
    let is_comment = |text: &str| {
        let text = text.trim();
        let inside = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        text.is_empty() || inside.is_some_and(|inside| !inside.contains(['(', ')', '<', '>', '\\']))
    };
    (is_comment(before) && is_comment(after)).then_some(inside)
}

/// A date and time (RFC 5322 sections 3.3 and 4.3). Gmail replaces dates with named zones (`GMT`) by a date of its
/// own; the same moment in the present form keeps what the client meant. A wrong day of the week is nobody's
/// concern.
#[must_use]
pub fn date_form(text: &str) -> DateForm {
    // A zone in letters that the parser does not know would count as +0000: another moment.
    let numbered = with_numbered_zone(text);
    let text = numbered.as_deref().unwrap_or(text);
    let parsed = DateTimeParser::new().relaxed_weekday(true).parse_zoned(text);
    let Ok(moment) = parsed else { return DateForm::Invalid };
    let mut words = text.split('(').next().unwrap_or_default().split_ascii_whitespace().rev();
    let (Some(zone), Some(_), Some(year)) = (words.next(), words.next(), words.next()) else {
        return DateForm::Invalid;
    };
    let is_present_form = year.len() >= 4 && zone.len() == 5 && zone.starts_with(['+', '-']);
    if is_present_form && text.is_ascii() && numbered.is_none() {
        return DateForm::Present;
    }
    // RFC 5322 section 4.3: of a zone that nobody knows, the time of day is all that is known.
    let zone = if zone == UNKNOWN_ZONE {
        UNKNOWN_ZONE.to_owned()
    } else {
        moment.strftime("%z").to_string()
    };
    DateForm::Obsolete(format!("{} {zone}", moment.strftime("%a, %d %b %Y %H:%M:%S")))
}

/// The date with its zone as a number, when it is a name or has another form: `CET`, `GMT+01:00`, `+01:00`.
fn with_numbered_zone(text: &str) -> Option<String> {
    let text = text.split('(').next().unwrap_or_default().trim_end();
    // The zone is what stands behind the time of day, which has the first colon.
    let time = text.find(':')?;
    let behind = text[time..].find(|letter: char| letter.is_ascii_whitespace())? + time;
    let zone = text[behind..].trim();
    let is_present = zone.len() == 5
        && zone.starts_with(['+', '-'])
        && zone.bytes().skip(1).all(|octet| octet.is_ascii_digit());
    if is_present {
        return None;
    }
    let offset = offset(zone)?;
    Some(format!("{} {offset}", text[..behind].trim_end()))
}

/// The offset of a zone.
fn offset(zone: &str) -> Option<String> {
    let upper = zone.to_ascii_uppercase();
    if let Some((_, offset)) = ZONES.iter().find(|(name, _)| *name == upper) {
        return Some((*offset).to_owned());
    }
    let bare =
        ["GMT", "UTC", "UT"].iter().find_map(|name| upper.strip_prefix(name)).unwrap_or(&upper);
    let bare = bare.trim();
    if let Some(sign @ ('+' | '-')) = bare.chars().next() {
        // `+0100` is read as it is; other forms only behind the name of Greenwich's time.
        let digits = &bare[1..];
        let (hours, minutes) = match (digits.split_once(':'), digits.len()) {
            (Some((hours, minutes)), _) => (hours, minutes),
            (None, 4) => digits.split_at_checked(2)?,
            (None, 1 | 2) if bare.len() < upper.len() => (digits, "00"),
            _ => return None,
        };
        let number = |text: &str| text.parse::<u8>().ok().filter(|_| text.len() <= 2);
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        return (hours < 24 && minutes < 60).then(|| format!("{sign}{hours:02}{minutes:02}"));
    }
    let is_name = (1..=ZONE_NAME_MAX).contains(&upper.len())
        && upper.bytes().all(|octet| octet.is_ascii_alphabetic());
    is_name.then(|| UNKNOWN_ZONE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_is_one_at_sign_between_angle_brackets() {
        for valid in ["<1@b>", " <20261122.1234$x@printer.lan> ", "<a@[192.0.2.1]>", "(seen) <a@b>"]
        {
            assert!(is_message_id(valid, false), "{valid}");
        }
        for invalid in [
            "",
            "<>",
            "1@b",
            "<1>",
            "<@b>",
            "<a@>",
            "<a@b@c>",
            "<a b@c>",
            "<a@b> <c@d>",
            "<a@b",
            "<a@b.>",
        ] {
            assert!(!is_message_id(invalid, true), "{invalid}");
        }
        assert!(!is_message_id("<\u{fc}@b>", false));
        assert!(is_message_id("<\u{fc}@b>", true), "SMTPUTF8 allows it");
    }

    #[test]
    fn a_zone_in_letters_is_the_moment_that_it_names_or_none() {
        for (zone, expected) in [
            ("CET", "+0100"),
            ("cest", "+0200"),
            ("JST", "+0900"),
            ("GMT", "+0000"),
            ("UTC (UTC)", "+0000"),
            ("EST", "-0500"),
            ("GMT+0100", "+0100"),
            ("GMT +01:00", "+0100"),
            ("UTC+1", "+0100"),
            ("UTC-03:30", "-0330"),
            ("+01:00", "+0100"),
            ("XYZ", "-0000"),
            ("IST", "-0000"),
            ("A", "-0000"),
        ] {
            let date = format!("Fri, 15 Jan 2027 18:00:00 {zone}");
            let restated = format!("Fri, 15 Jan 2027 18:00:00 {expected}");
            assert_eq!(date_form(&date), DateForm::Obsolete(restated), "{zone}");
        }
        assert_eq!(date_form("Fri, 15 Jan 2027 18:00:00 -0000"), DateForm::Present);
    }

    #[test]
    fn a_date_has_a_day_a_month_a_year_a_time_and_a_zone() {
        for present in
            ["Sun, 22 Nov 2026 01:52:03 +0000", "22 Nov 2026 01:52 -0930 (so (they) say)"]
        {
            assert_eq!(date_form(present), DateForm::Present, "{present}");
        }
        for obsolete in
            ["22 nov 2026 01:52 GMT", "1 Jan 2026 00:00 EST", "22 Nov 26 01:52:03 +0000"]
        {
            assert!(matches!(date_form(obsolete), DateForm::Obsolete(_)), "{obsolete}");
        }
        for invalid in [
            "",
            "2026-11-22T01:52:03Z",
            "Sun Nov 22 01:52:03 2026",
            "Son, 22 Nov 2026 01:52:03 +0000",
            "32 Nov 2026 01:52:03 +0000",
            "0 Nov 2026 01:52:03 +0000",
            "22 Nov 2026 24:00:00 +0000",
            "22 Nov 2026 01:60 +0000",
            "22 Nov 2026 01 +0000",
            "22 Nov 2026 1:52 +0000",
            "22 Nov 2026 01:52:03",
            "22 Nov 2026 01:52:03 +00",
            "22 Nov 2026 01:52:03:04 +0000",
        ] {
            assert_eq!(date_form(invalid), DateForm::Invalid, "{invalid}");
        }
    }
}
