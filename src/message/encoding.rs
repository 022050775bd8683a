//! What a header field may be made of when it leaves: no NUL, no stray CR or LF, no raw 8-bit text where the
//! upstream would refuse it, no line over 998 octets that a blank could break (RFC 5322 section 2.1.1).
//!
//! Rule: a value that is fit to leave stays as it is; of any other only the words that are not are changed.
//! Encoded words are made by a library. Must not know which fields a message should have.

use std::borrow::Cow;

use email_encoding::headers::{rfc2047, writer::EmailWriter};

use super::mailbox;

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
const STRUCTURED_FIELDS: [&str; 13] = [
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Received",
    "Return-Path",
    "MIME-Version",
    "Content-Type",
    "Content-Disposition",
    "Content-Transfer-Encoding",
    "Content-ID",
    "DKIM-Signature",
    "Authentication-Results",
];

/// What a field's grammar allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Mailboxes,
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
            _ if listed(&STRUCTURED_FIELDS) || list_field => Self::Structured,
            _ => Self::Text,
        }
    }
}

/// The value of a field as it may leave; `None` when it may leave as it is.
#[must_use]
pub fn fit_to_leave(name: &str, value: &[u8], internationalized: bool) -> Option<Vec<u8>> {
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

/// Octets as text: UTF-8 when they are that, else Latin-1, which is what old printers send.
fn readable(value: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(value).map_or_else(
        |_| Cow::Owned(value.iter().map(|octet| char::from(*octet)).collect()),
        Cow::Borrowed,
    )
}

/// The value of a field as text to be taken apart: without stray control characters.
#[must_use]
pub fn text_of(value: &[u8]) -> String {
    match without_stray_controls(value) {
        Some(clean) => readable(&clean).into_owned(),
        None => readable(value).into_owned(),
    }
}

/// Text as a phrase of a mailbox (RFC 5322 section 3.2.5): in quotes, or as encoded words. `column` is where
/// it will stand in its line.
#[must_use]
pub fn phrase(text: &str, column: usize, internationalized: bool) -> String {
    if !text.is_ascii() && !internationalized {
        return encoded_words(text, column, 0);
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
    match kind {
        Kind::Text => encoded_text(name.len() + 1, text),
        Kind::Mailboxes => {
            encoded_mailboxes(name.len() + 1, text).unwrap_or_else(|| match set_aside(name) {
                Some(_) => encoded_text(name.len() + 1, text),
                None => marked(text),
            })
        }
        Kind::Structured => marked(text),
    }
}

/// The name of a field that an edit has put aside, as it was before.
fn set_aside(name: &str) -> Option<&str> {
    name.strip_prefix("X-Original-").or_else(|| name.strip_prefix("X-Duplicate-"))
}

/// Where nothing else is allowed, a question mark says that something was there.
fn marked(text: &str) -> String {
    text.chars().map(|character| if character.is_ascii() { character } else { '?' }).collect()
}

/// From the first word with 8-bit text to the last one: what stands between two encoded words would lose its
/// blanks (RFC 2047 section 6.2).
fn encoded_text(column: usize, text: &str) -> String {
    let is_blank = |character: char| matches!(character, ' ' | '\t' | '\r' | '\n');
    let (Some(first), Some(last)) =
        (text.find(|c: char| !c.is_ascii()), text.rfind(|c: char| !c.is_ascii()))
    else {
        return text.to_owned();
    };
    let start = text[..first].rfind(is_blank).map_or(0, |blank| blank + 1);
    let end = text[last..].find(is_blank).map_or(text.len(), |blank| last + blank);
    let before = text[..start].trim_end_matches(is_blank);
    let mut words =
        text[start..end].chars().filter(|c| !matches!(c, '\r' | '\n')).collect::<String>();
    if before.ends_with("?=") {
        // The blank after an encoded word counts only within the next one.
        words.insert(0, ' ');
    }
    let column = before.rfind('\n').map_or(column + before.len(), |fold| before.len() - fold - 1);
    let blanks = usize::from(before.len() < start);
    format!("{before}{}{}", encoded_words(&words, column, blanks), &text[end..])
}

/// The names of a list of mailboxes; an address in 8-bit characters stays, because no encoding would lead
/// anywhere: it needs SMTPUTF8. `None` when the text is no such list.
fn encoded_mailboxes(column: usize, text: &str) -> Option<String> {
    let mut result = String::with_capacity(text.len() * 2);
    let mut copied = 0;
    for found in mailbox::read_list(text)? {
        let comment = found.comment.unwrap_or_default();
        let inside_phrase = found.comment_at.end <= found.phrase_at.end;
        let (at, words) = match (found.phrase.is_ascii(), comment.is_ascii()) {
            (false, _) => (found.phrase_at, mailbox::plain(found.phrase)),
            (true, false) if !inside_phrase || found.phrase.is_empty() => {
                (found.comment_at, mailbox::plain(comment))
            }
            _ => continue,
        };
        result.push_str(&text[copied..at.start]);
        // A blank before the words may become a fold.
        let blanks = usize::from(result.ends_with(' '));
        result.truncate(result.len() - blanks);
        let line = result.rfind('\n').map_or(column + result.len(), |fold| result.len() - fold - 1);
        result.push_str(&encoded_words(&words, line, blanks));
        copied = at.end;
    }
    result.push_str(&text[copied..]);
    Some(result)
}

/// `blanks` stand before the first word, or become a fold.
fn encoded_words(text: &str, column: usize, blanks: usize) -> String {
    let mut words = String::new();
    let mut writer = EmailWriter::new(&mut words, column, blanks, false);
    let written = rfc2047::encode(text, &mut writer);
    drop(writer);
    // Writing to a String cannot fail.
    if written.is_ok() { words } else { marked(text) }
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
        check("Cc", b" J\xfcrg: j@x;", Some(" J?rg: j@x;"));
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
    fn where_encoded_words_are_forbidden_a_question_mark_stands() {
        check(
            "Content-Type",
            b" application/pdf; name=B\xfcro.pdf",
            Some(" application/pdf; name=B?ro.pdf"),
        );
        check("List-Id", b" \xfc <l.x>", Some(" ? <l.x>"));
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
