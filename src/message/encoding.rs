//! The octets of a header field when it leaves: no NUL, no stray CR or LF, no raw 8-bit text where the
//! upstream would refuse it, no line over 998 octets that a blank could break (RFC 5322 section 2.1.1).
//!
//! Rule: a value that is fit to leave stays as it is; of any other only the words that are not are changed, and nothing
//! is lost. Encoded words are made by a library. Must not know which fields a message should have.

use std::borrow::Cow;

use email_encoding::headers::{rfc2047, writer::EmailWriter};

use super::{encoded_word, header::Header, mailbox, parameters, raw_octets::Charset};
use crate::smtp::address::Address;

/// Octets of a line without its line end.
const LINE_LENGTH_MAX: usize = 998;

/// Fields that hold mailboxes.
const ADDRESS_FIELDS: [&str; 13] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Resent-From",
    "Resent-Sender",
    "Resent-Reply-To",
    "Resent-To",
    "Resent-Cc",
    "Disposition-Notification-To",
    "Return-Receipt-To",
    "Errors-To",
];
/// Fields with a grammar that has no room for encoded words.
const STRUCTURED_FIELDS: [&str; 11] = [
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Received",
    "Return-Path",
    "MIME-Version",
    "Content-Transfer-Encoding",
    "Content-ID",
    "DKIM-Signature",
    "Authentication-Results",
];

/// Fields with parameters behind semicolons.
const PARAMETER_FIELDS: [&str; 4] =
    ["Content-Type", "Content-Disposition", "Auto-Submitted", "Disposition-Notification-Options"];

/// What a field's grammar allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Mailboxes,
    Parameters,
    Structured,
    Text,
}

impl Kind {
    fn of(name: &str) -> Self {
        let listed = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        if let Some(name) = set_aside(name) {
            // Nobody reads these by their grammar, but names in them are worth reading.
            return if Self::of(name) == Self::Mailboxes { Self::Mailboxes } else { Self::Text };
        }
        let list_field = name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("List-"));
        match name {
            _ if listed(&ADDRESS_FIELDS) => Self::Mailboxes,
            _ if listed(&PARAMETER_FIELDS) => Self::Parameters,
            _ if listed(&STRUCTURED_FIELDS) || list_field => Self::Structured,
            _ => Self::Text,
        }
    }
}

/// The value of a field as it may leave; `None` when it may leave as it is.
#[must_use]
pub(crate) fn fit_to_leave(name: &str, value: &[u8], internationalized: bool) -> Option<Vec<u8>> {
    let mut present = Cow::Borrowed(value);
    if let Some(clean) = without_stray_controls(&present) {
        present = Cow::Owned(clean);
    }
    if !present.is_ascii() && !internationalized {
        let text = readable(&present);
        present = Cow::Owned(encoded(Kind::of(name), name, &text).into_bytes());
    }
    if let Some(folded) = folded(name.len() + 1, &present) {
        present = Cow::Owned(folded);
    }
    match present {
        Cow::Owned(changed) if changed != value => Some(changed),
        Cow::Owned(_) | Cow::Borrowed(_) => None,
    }
}

/// Turns raw octets of every field into UTF-8, so that all that follows reads the same text. Returns whether there were
/// any that are not.
pub(crate) fn read_charsets(header: &mut Header<'_>) -> bool {
    let charset = Charset::declared(header);
    let mut changed = false;
    for field in header.fields_mut().iter_mut().filter(|field| !field.is_removed()) {
        let text = charset.text(field.value()).filter(|text| text.as_bytes() != field.value());
        if let Some(text) = text {
            field.set_value(text);
            changed = true;
        }
    }
    changed
}

/// Octets as text: UTF-8, which [`read_charsets`] has made of all others.
fn readable(value: &[u8]) -> Cow<'_, str> {
    match Charset::default().text(value) {
        Some(text) => Cow::Owned(text),
        None => String::from_utf8_lossy(value),
    }
}

/// The value of a field as text to be taken apart: without stray control characters.
#[must_use]
pub(crate) fn text_of(value: &[u8]) -> String {
    match without_stray_controls(value) {
        Some(clean) => readable(&clean).into_owned(),
        None => readable(value).into_owned(),
    }
}

/// Text as a phrase of a mailbox (RFC 5322 section 3.2.5): in quotes, or as encoded words. `column` is where
/// it will stand in its line.
#[must_use]
pub(crate) fn phrase(text: &str, column: usize, internationalized: bool) -> String {
    if !text.is_ascii() && !internationalized {
        let mut words = String::new();
        encode_pieces(&mut words, text, column, 0, true);
        return words;
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// NUL vanishes, a CR alone becomes a blank, an LF alone a whole line end (it can only begin a fold here).
fn without_stray_controls(value: &[u8]) -> Option<Vec<u8>> {
    let follows = |position: usize, wanted: u8| value.get(position + 1) == Some(&wanted);
    let precedes = |position: usize| position > 0 && value[position - 1] == b'\r';
    let stray = |(position, octet): (usize, &u8)| match octet {
        b'\0' => true,
        b'\r' => !follows(position, b'\n'),
        b'\n' => !precedes(position),
        _ => false,
    };
    value.iter().enumerate().find(|item| stray(*item))?;
    let mut clean = Vec::with_capacity(value.len() + 8);
    for (position, octet) in value.iter().enumerate() {
        match octet {
            _ if !stray((position, octet)) => clean.push(*octet),
            b'\0' => {}
            b'\r' => clean.push(b' '),
            _ => clean.extend_from_slice(b"\r\n"),
        }
    }
    Some(clean)
}

fn encoded(kind: Kind, name: &str, text: &str) -> String {
    let column = name.len() + 1;
    match kind {
        Kind::Text => encoded_text(column, text),
        Kind::Mailboxes => {
            encoded_mailboxes(column, text).unwrap_or_else(|| match set_aside(name) {
                Some(_) => encoded_text(column, text),
                None => encoded_tokens(text),
            })
        }
        Kind::Parameters => parameters::in_ascii(text, &encoded_tokens),
        Kind::Structured => encoded_tokens(text),
    }
}

/// The name of a field that an edit has put aside, as it was before.
fn set_aside(name: &str) -> Option<&str> {
    name.strip_prefix("X-Original-").or_else(|| name.strip_prefix("X-Duplicate-"))
}

/// Where the grammar has no room for text, words that are not ASCII become encoded words all the same: these are made
/// of what an atom is made of, so what was a word stays one. A domain has a form of its own, a web address as well.
fn encoded_tokens(text: &str) -> String {
    let separates = |character: char| "<>()[],;:\"".contains(character);
    let mut result = String::with_capacity(text.len() * 2);
    for piece in text.split_inclusive(separates) {
        let words = piece.trim_end_matches(separates);
        let mut separator = &piece[words.len()..];
        if words.is_ascii() {
            result.push_str(words);
        } else if is_within_web_address(&result) {
            result.push_str(&percent_encoded(words));
        } else {
            // Within quotes encoded words would mean nothing.
            if separator == "\"" && result.ends_with('"') {
                result.pop();
                separator = "";
            }
            let mut encoded = String::new();
            encode_token(&mut encoded, words, result.ends_with('<'));
            result.push_str(&encoded);
        }
        result.push_str(separator);
    }
    result
}

fn encode_token(result: &mut String, words: &str, in_brackets: bool) {
    let address = words.trim().parse::<Address>().ok();
    if let Some(address) = address.filter(|found| found.domain().is_some()) {
        let at = words.len() - words.trim_start().len();
        let new = address.in_ascii().map_or_else(String::new, String::from);
        if !new.is_empty() {
            result.push_str(&words[..at]);
            result.push_str(&new);
            result.push_str(&words[at + words.trim().len()..]);
            return;
        }
    }
    // A fold within an atom would end it.
    let mut encoded = String::new();
    encode_pieces(&mut encoded, words, 0, 0, false);
    result.push_str(&if in_brackets { encoded.replace("\r\n ", " ") } else { encoded });
}

/// Whether an angle bracket with a scheme is open.
fn is_within_web_address(before: &str) -> bool {
    let inside = before.rfind('<').map_or("", |bracket| &before[bracket + 1..]);
    inside.contains(':') && !inside.contains('>')
}

/// The rest of a web address (RFC 3987 section 3.1).
fn percent_encoded(text: &str) -> String {
    let octets = text.bytes().map(|octet| match octet {
        octet if octet.is_ascii() => char::from(octet).to_string(),
        octet => format!("%{octet:02X}"),
    });
    octets.collect()
}

/// From the first word with 8-bit text to the last one: what stands between two encoded words would lose its
/// blanks (RFC 2047 section 6.2).
fn encoded_text(column: usize, text: &str) -> String {
    let mut result = String::with_capacity(text.len() * 2);
    encode_pieces(&mut result, text, column, 0, false);
    result
}

/// Appends the text with encoded words in the places of what is not ASCII; with `whole`, of everything, as in a phrase.
/// Words that are encoded already stay. `blanks` stand before the first word, or become a fold.
fn encode_pieces(result: &mut String, text: &str, column: usize, blanks: usize, whole: bool) {
    let words = encoded_word::places(text);
    let mut start = 0;
    let mut blanks = blanks;
    for number in 0..=words.len() {
        let word = words.get(number);
        let piece = &text[start..word.map_or(text.len(), |word| word.start)];
        let neighbours = Neighbours { before: number > 0, behind: word.is_some() };
        encode_piece(result, piece, column, std::mem::take(&mut blanks), neighbours, whole);
        if let Some(word) = word {
            result.push_str(&text[word.clone()]);
            start = word.end;
        }
    }
}

/// Whether there is an encoded word on either side.
#[derive(Clone, Copy)]
struct Neighbours {
    before: bool,
    behind: bool,
}

fn encode_piece(
    result: &mut String,
    text: &str,
    column: usize,
    mut blanks: usize,
    neighbours: Neighbours,
    whole: bool,
) {
    let is_blank = |character: char| matches!(character, ' ' | '\t' | '\r' | '\n');
    let to_encode = |character: char| !character.is_ascii() || (whole && !is_blank(character));
    let (Some(first), Some(last)) = (text.find(to_encode), text.rfind(to_encode)) else {
        return result.push_str(text);
    };
    let start = text[..first].rfind(is_blank).map_or(0, |blank| blank + 1);
    let end = text[last..].find(is_blank).map_or(text.len(), |blank| last + blank);
    let (before, behind) = (text[..start].trim_end_matches(is_blank), &text[end..]);
    let mut words =
        text[start..end].chars().filter(|c| !matches!(c, '\r' | '\n')).collect::<String>();
    result.push_str(before);
    // A blank beside an encoded word counts only within the next one, and between two of them there must be one.
    if neighbours.before && before.is_empty() {
        if start > 0 {
            words.insert(0, ' ');
        } else {
            blanks = 1;
        }
    }
    let meets = neighbours.behind && behind.trim_matches(is_blank).is_empty();
    if meets && !behind.is_empty() {
        words.push(' ');
    }
    if start > before.len() {
        blanks = 1;
    }
    let line = result.rfind('\n').map_or(column + result.len(), |fold| result.len() - fold - 1);
    result.push_str(&encoded_words(&words, line, blanks));
    result.push_str(if meets && behind.is_empty() { " " } else { behind });
}

/// The names of a list of mailboxes, and the domains of its addresses; an address with other characters before the `@`
/// stays, because no encoding would lead anywhere: it needs SMTPUTF8. `None` when the text is no such list.
fn encoded_mailboxes(column: usize, text: &str) -> Option<String> {
    let mut result = String::with_capacity(text.len() * 2);
    let mut copied = 0;
    for found in mailbox::read_list(text)? {
        let phrase = (!found.phrase.is_ascii()).then_some((found.phrase_at, None));
        let address = found.address.in_ascii().unwrap_or_else(|| found.address.clone());
        let address = (!found.address.as_str().is_ascii())
            .then(|| (found.address_at, Some(String::from(address))));
        // In this order they stand, for a phrase is before the brackets.
        for (at, new) in phrase.into_iter().chain(address) {
            // What stands between is commas, brackets and comments.
            result.push_str(&encoded_tokens(&text[copied..at.start]));
            copied = at.end;
            let Some(new) = new else {
                // A blank before the words may become a fold.
                let blanks = usize::from(result.ends_with(' '));
                result.truncate(result.len() - blanks);
                let fold = result.rfind('\n');
                let line = fold.map_or(column + result.len(), |fold| result.len() - fold - 1);
                let mut words = String::new();
                encode_pieces(&mut words, &mailbox::plain(&text[at]), line, blanks, true);
                result.push_str(&words);
                continue;
            };
            result.push_str(&new);
        }
    }
    result.push_str(&encoded_tokens(&text[copied..]));
    Some(result)
}

/// `blanks` stand before the first word, or become a fold.
fn encoded_words(text: &str, column: usize, blanks: usize) -> String {
    let mut words = String::new();
    let mut writer = EmailWriter::new(&mut words, column, blanks, false);
    let written = rfc2047::encode(text, &mut writer);
    drop(writer);
    // Writing to a String cannot fail.
    if written.is_ok() { words } else { percent_encoded(text) }
}

/// Breaks lines that are too long at their blanks; `column` is where the value begins.
fn folded(column: usize, value: &[u8]) -> Option<Vec<u8>> {
    let too_long = |(number, line): (usize, &[u8])| {
        line.len() + if number == 0 { column } else { 0 } > LINE_LENGTH_MAX + 1
    };
    value.split(|octet| *octet == b'\n').enumerate().find(|line| too_long(*line))?;
    let mut result = Vec::with_capacity(value.len() + value.len() / 200);
    for (number, line) in value.split(|octet| *octet == b'\n').enumerate() {
        if number > 0 {
            result.push(b'\n');
        }
        fold_line(if number == 0 { column } else { 0 }, line, &mut result);
    }
    Some(result)
}

fn fold_line(mut column: usize, mut line: &[u8], result: &mut Vec<u8>) {
    let is_blank = |octet: &u8| matches!(octet, b' ' | b'\t');
    while column + line.len() > LINE_LENGTH_MAX {
        // Neither part may consist of blanks alone: a line of blanks is obsolete, and odd to many readers.
        let Some(first_word) = line.iter().position(|octet| !is_blank(octet)) else { break };
        let last_word = line.trim_ascii_end().len();
        let room = LINE_LENGTH_MAX.saturating_sub(column).min(line.len());
        let before_limit =
            line[..room].iter().rposition(is_blank).filter(|blank| *blank > first_word);
        let after_first =
            || line[first_word..].iter().position(is_blank).map(|blank| blank + first_word);
        let Some(blank) = before_limit.or_else(after_first).filter(|blank| *blank < last_word)
        else {
            break;
        };
        result.extend_from_slice(&line[..blank]);
        result.extend_from_slice(b"\r\n");
        (column, line) = (0, &line[blank..]);
    }
    result.extend_from_slice(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, value: &[u8], expected: Option<&str>) {
        let fitted = fit_to_leave(name, value, false);
        let shown = fitted.as_deref().map(|value| value.escape_ascii().to_string());
        assert_eq!(shown.as_deref(), expected, "{name}:{}", value.escape_ascii());
        if let Some(fitted) = fitted {
            assert_eq!(fit_to_leave(name, &fitted, false), None, "what was fitted is fit");
        }
    }

    #[test]
    fn what_is_fit_to_leave_stays() {
        check("Subject", b" plain\r\n\tand folded", None);
        check("X", b"", None);
        assert_eq!(fit_to_leave("Subject", " f\u{fc}r".as_bytes(), true), None);
    }

    #[test]
    fn text_is_encoded_from_the_first_8_bit_word_to_the_last() {
        check(
            "Subject",
            " Scan f\u{fc}r B\u{fc}ro 7".as_bytes(),
            Some(" Scan =?utf-8?b?ZsO8ciBCw7xybw==?= 7"),
        );
        // Latin-1, as old printers send it.
        check("Subject", b" Scan f\xfcr B\xfcro 7", Some(" Scan =?utf-8?b?ZsO8ciBCw7xybw==?= 7"));
        check("Subject", b"\xfc", Some("=?utf-8?b?w7w=?="));
        // The blank between two encoded words is invisible, so it moves into the second.
        check("Subject", b" =?utf-8?q?a?= \xfc", Some(" =?utf-8?q?a?= =?utf-8?b?IMO8?="));
    }

    #[test]
    fn long_8_bit_text_becomes_several_folded_words() {
        let fitted = fit_to_leave("Subject", " \u{fc}".repeat(100).as_bytes(), false).unwrap();
        let text = String::from_utf8(fitted).unwrap();
        assert!(
            text.split("\r\n").all(|line| line.len() <= 78 && line.starts_with(" =?utf-8?b?")),
            "{text}"
        );
    }

    #[test]
    fn of_a_mailbox_only_the_name_is_encoded() {
        check(
            "From",
            b" \"J\xfcrg M\" <j@x>, K <k@x>",
            Some(" =?utf-8?b?SsO8cmcgTQ==?= <j@x>, K <k@x>"),
        );
        check("To", b" j@x (J\xfcrg)", Some(" j@x (=?utf-8?b?SsO8cmc=?=)"));
        check("Cc", b" J\xfcrg: j@x;", Some(" =?utf-8?b?SsO8cmc=?=: j@x;"));
        check(
            "Cc",
            b" \"J\xfcrg M\xfc\" T\xfc: j@x;",
            Some(" =?utf-8?b?SsO8cmcgTcO8?= =?utf-8?b?VMO8?=: j@x;"),
        );
        check(
            "To",
            b" J\xfc <j@x> (B\xfc) (C\xfc), k@y",
            Some(" =?utf-8?b?SsO8?= <j@x> (=?utf-8?b?QsO8?=) (=?utf-8?b?Q8O8?=), k@y"),
        );
        check("X-Original-From", b" \"J\xfcrg\" <j@x>", Some(" =?utf-8?b?SsO8cmc=?= <j@x>"));
        check("X-Original-From", b" J\xfcrg: j@x;", Some(" =?utf-8?b?SsO8cmc6?= j@x;"));
        let many =
            fit_to_leave("To", " J\u{fc}rg <j@x.example>,".repeat(9).as_bytes(), false).unwrap();
        let many = String::from_utf8(many).unwrap();
        assert_eq!(many.matches("=?utf-8?b?SsO8cmc=?=").count(), 9, "{many}");
        assert!(many.split("\r\n").all(|line| line.len() <= 90), "{many}");
        // This needs SMTPUTF8.
        assert_eq!(fit_to_leave("To", " <j\u{fc}@x>".as_bytes(), false), None);
    }

    #[test]
    fn where_encoded_words_have_no_room_nothing_is_lost() {
        check(
            "Content-Type",
            b" application/pdf; name=B\xfcro.pdf",
            Some(" application/pdf; name*=utf-8\\'\\'B%C3%BCro.pdf"),
        );
        check(
            "Content-Disposition",
            b" attachment; filename=\"Gr\xf6\xdfe.pdf\"",
            Some(" attachment; filename*=utf-8\\'\\'Gr%C3%B6%C3%9Fe.pdf"),
        );
        check("List-Id", b" \xfc <l.x>", Some(" =?utf-8?b?w7w=?= <l.x>"));
        check("List-Post", b" <mailto:a@x?subject=\xfc>", Some(" <mailto:a@x?subject=%C3%BC>"));
        check("References", b" <\xfc@x>", Some(" <=?utf-8?b?w7xAeA==?=>"));
        check("Return-Path", b" <a@b\xfccher.example>", Some(" <a@xn--bcher-kva.example>"));
        check("Received", b" from x (B\xfcro) by y", Some(" from x (=?utf-8?b?QsO8cm8=?=) by y"));
    }

    #[test]
    fn words_that_are_encoded_stay_and_keep_their_blanks() {
        for value in [
            "[B\u{fc}ro] =?utf-8?q?caf=C3=A9?=",
            "B\u{fc}ro =?utf-8?q?x?= B\u{fc}ro",
            "=?utf-8?q?x?= 7 B\u{fc}ro 8 =?utf-8?q?y?=",
            "B\u{fc}ro=?utf-8?q?x?=B\u{fc}ro",
            "=?utf-8?q?x?= =?utf-8?q?y?= B\u{fc}ro",
            "B\u{fc}ro (=?utf-8?q?x?=) \u{fc}",
        ] {
            let fitted = fit_to_leave("Subject", value.as_bytes(), false).unwrap();
            let fitted = String::from_utf8(fitted).unwrap();
            assert_eq!(encoded_word::decoded(&fitted), encoded_word::decoded(value), "{fitted}");
            assert!(!fitted.contains("PT9"), "an encoded word was encoded: {fitted}");
            let phrase = phrase(value, 6, false);
            assert_eq!(encoded_word::decoded(&phrase), encoded_word::decoded(value), "{phrase}");
            assert!(!phrase.contains("PT9"), "{phrase}");
        }
    }

    #[test]
    fn a_domain_in_other_characters_has_a_form_that_every_server_takes() {
        check("To", " R <r@b\u{fc}cher.example>".as_bytes(), Some(" R <r@xn--bcher-kva.example>"));
        check(
            "To",
            " r@b\u{fc}cher.example (J\u{fc}rg), x@y".as_bytes(),
            Some(" r@xn--bcher-kva.example (=?utf-8?b?SsO8cmc=?=), x@y"),
        );
    }

    #[test]
    fn stray_controls_never_leave() {
        check("Subject", b" a\0b\rBcc: c\n d\r", Some(" ab Bcc: c\\r\\n d "));
        check("Subject", b" a\r\r\n b", Some(" a \\r\\n b"));
    }

    #[test]
    fn long_lines_are_folded_at_blanks_and_at_no_other_place() {
        let value = format!(" {}", "<reference@host.example> ".repeat(200));
        let fitted =
            String::from_utf8(fit_to_leave("References", value.as_bytes(), false).unwrap())
                .unwrap();
        assert_eq!(fitted.replace("\r\n", ""), value);
        assert!(
            fitted
                .split("\r\n")
                .all(|line| line.len() <= LINE_LENGTH_MAX && !line.trim().is_empty())
        );
        assert!(fitted.split("\r\n").count() <= 7);
        assert_eq!(fit_to_leave("X", &[b'x'; 5_000], false), None, "there is no blank");
        let fits = format!(" {}", "x ".repeat(496));
        assert_eq!(fit_to_leave("X", fits.as_bytes(), false), None);
    }

    #[test]
    fn no_value_makes_it_panic_and_what_comes_out_stays() {
        let mut random = fastrand::Rng::with_seed(17);
        let alphabet = b"ab \t\r\n\0<>@\",()=?\xc3\xa9\xff";
        let names = ["Subject", "From", "Content-Type"];
        for _ in 0..20_000 {
            let length = if random.u8(..10) == 0 { 3_000 } else { 40 };
            let value: Vec<u8> = (0..random.usize(0..length))
                .map(|_| alphabet[random.usize(..alphabet.len())])
                .collect();
            let name = names[random.usize(..names.len())];
            let Some(fitted) = fit_to_leave(name, &value, random.bool()) else { continue };
            assert!(!fitted.contains(&0));
            let text = fitted.escape_ascii().to_string().replace(r"\r\n", "");
            assert!(!text.contains(r"\r") && !text.contains(r"\n"), "{text}");
        }
    }
}
