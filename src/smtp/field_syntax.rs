//! Whether the value of a header field is what RFC 5322 asks for: Message-ID and Date.
//!
//! Rule: the one judgement of both. It decides at acceptance what is replaced, and names what is odd about a
//! client, so that the two never differ. Takes what Gmail takes. Must not know where the value stood, nor what is
//! put in its place.

use jiff::fmt::rfc2822::DateTimeParser;

/// Octets of a Message-ID: a line of a header has at most 998 (RFC 5322 section 2.1.1).
pub const MESSAGE_ID_LENGTH_MAX: usize = 980;

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
    let parsed = DateTimeParser::new().relaxed_weekday(true).parse_zoned(text);
    let Ok(moment) = parsed else { return DateForm::Invalid };
    let words: Vec<&str> =
        text.split('(').next().unwrap_or_default().split_ascii_whitespace().collect();
    let [.., year, _, zone] = words.as_slice() else { return DateForm::Invalid };
    let is_present_form = year.len() >= 4 && zone.len() == 5 && zone.starts_with(['+', '-']);
    if is_present_form && text.is_ascii() {
        return DateForm::Present;
    }
    DateForm::Obsolete(moment.strftime("%a, %d %b %Y %H:%M:%S %z").to_string())
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
