//! The parameters of a structured field, such as the file name in Content-Disposition: read, and put into ASCII (RFC 2231).
//!
//! Rule: only parameters with other characters change; nothing of them is lost, in whichever of the three forms they
//! came (plain, extended, in several sections). Must not know which fields have parameters.

use std::ops::Range;

use super::charset;

/// Characters of one section; with its name it stays within a line (RFC 5322 section 2.1.1).
const SECTION_MAX: usize = 800;
/// Sections of one parameter that are put together.
const SECTIONS_MAX: usize = 100;

/// One `name=value`, or the value in front of all parameters.
struct Part<'a> {
    /// From behind the semicolon before it to the next one.
    at: Range<usize>,
    parameter: Option<Parameter<'a>>,
}

struct Parameter<'a> {
    /// Without the marks of RFC 2231.
    name: &'a str,
    /// The number of the section.
    section: Option<usize>,
    /// `name*=charset'language'...`, with octets as `%xx`.
    extended: bool,
    value: String,
    /// What stands behind a quoted value, such as a comment.
    behind: &'a str,
}

/// The value of the field with its parameters in ASCII; `other` does the same for what is not one.
pub(super) fn in_ascii(text: &str, other: &dyn Fn(&str) -> String) -> String {
    let parts = parts(text);
    let mut done: Vec<String> = Vec::new();
    let mut result = String::with_capacity(text.len() * 2);
    for part in &parts {
        let written = &text[part.at.clone()];
        let Some(parameter) = &part.parameter else {
            push(&mut result, part, &other(written));
            continue;
        };
        let name = parameter.name.to_lowercase();
        if !is_to_change(&parts, &name) {
            push(&mut result, part, &other(written));
        } else if !done.contains(&name) {
            let blank = &written[..written.len() - written.trim_start().len()];
            let new = extended(parameter.name, &whole(&parts, &name));
            push(&mut result, part, &format!("{blank}{new}{}", other(parameter.behind)));
            done.push(name);
        }
    }
    result
}

/// What the parameter of this name says, in whichever form.
pub(super) fn value_of(text: &str, name: &str) -> Option<String> {
    let parts = parts(text);
    named(&parts, name).next()?;
    Some(whole(&parts, name))
}

fn push(result: &mut String, part: &Part<'_>, text: &str) {
    if part.at.start > 0 {
        result.push(';');
    }
    result.push_str(text);
}

/// Whether one of its sections is not ASCII.
fn is_to_change(parts: &[Part<'_>], name: &str) -> bool {
    named(parts, name).any(|parameter| !parameter.value.is_ascii())
}

fn named<'p, 'a>(parts: &'p [Part<'a>], name: &str) -> impl Iterator<Item = &'p Parameter<'a>> {
    let all = parts.iter().filter_map(|part| part.parameter.as_ref());
    all.filter(move |parameter| parameter.name.eq_ignore_ascii_case(name))
}

/// The whole value: of several forms, the extended one says most.
fn whole(parts: &[Part<'_>], name: &str) -> String {
    let single = |extended: bool| {
        named(parts, name).find(|one| one.section.is_none() && one.extended == extended)
    };
    let mut sections: Vec<&Parameter<'_>> =
        named(parts, name).filter(|one| one.section.is_some()).take(SECTIONS_MAX).collect();
    sections.sort_by_key(|one| one.section);
    match (single(true), sections.first(), single(false)) {
        (Some(extended), _, _) => read(&[extended]),
        (None, Some(_), _) => read(&sections),
        (None, None, Some(plain)) => plain.value.clone(),
        (None, None, None) => String::new(),
    }
}

/// Puts sections together; the first extended one names the charset of all octets.
fn read(sections: &[&Parameter<'_>]) -> String {
    let mut encoding = encoding_rs::UTF_8;
    let (mut text, mut octets) = (String::new(), Vec::new());
    for (number, section) in sections.iter().enumerate() {
        let mut value = section.value.as_str();
        if section.extended && number == 0 {
            let mut words = value.splitn(3, '\'');
            if let (Some(name), Some(_language), Some(rest)) =
                (words.next(), words.next(), words.next())
            {
                encoding = charset::known(name.as_bytes()).unwrap_or(encoding);
                value = rest;
            }
        }
        let mut rest = value.char_indices();
        while let Some((at, character)) = rest.next() {
            let digits = value.get(at + 1..at + 3).filter(|_| section.extended && character == '%');
            match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                Some(octet) => {
                    octets.push(octet);
                    rest.nth(1);
                }
                None => {
                    text += &charset::decoded(encoding, &std::mem::take(&mut octets));
                    text.push(character);
                }
            }
        }
    }
    text + &charset::decoded(encoding, &octets)
}

/// `name*=utf-8''...`, in sections when it is long.
fn extended(name: &str, value: &str) -> String {
    let mut sections = vec![String::new()];
    for octet in value.bytes() {
        // attribute-char of RFC 2231 section 7.
        let stays = octet.is_ascii_alphanumeric() || b"!#$&+-.^_`{|}~".contains(&octet);
        let new = if stays { char::from(octet).to_string() } else { format!("%{octet:02X}") };
        if sections.last().is_some_and(|last| last.len() + new.len() > SECTION_MAX) {
            sections.push(String::new());
        }
        if let Some(last) = sections.last_mut() {
            last.push_str(&new);
        }
    }
    if let [only] = sections.as_slice() {
        return format!("{name}*=utf-8''{only}");
    }
    let numbered = sections.iter().enumerate().map(|(number, section)| {
        let charset = if number == 0 { "utf-8''" } else { "" };
        format!("{name}*{number}*={charset}{section}")
    });
    numbered.collect::<Vec<_>>().join(";\r\n\t")
}

/// Splits at the semicolons outside of quotes and comments. A quote that does not end reaches to the end.
fn parts(text: &str) -> Vec<Part<'_>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped, mut comments, mut has_value) = (false, false, 0_u32, false);
    for (position, octet) in text.bytes().enumerate() {
        // In a file name `\` is rarely an escape, but before a quote it is.
        let next = text.as_bytes().get(position + 1);
        let follows_value = has_value;
        has_value |= octet == b'=';
        match octet {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' if quoted || comments > 0 => escaped = matches!(next, Some(b'"' | b'\\')),
            b'"' if comments == 0 => quoted = !quoted,
            _ if quoted => {}
            // Within a value without quotes it is a part of the name: Scan (1).pdf.
            b'(' if !follows_value => comments += 1,
            b')' => comments = comments.saturating_sub(1),
            b';' if comments == 0 => {
                parts.push(part(text, start..position));
                (start, has_value) = (position + 1, false);
            }
            _ => {}
        }
    }
    parts.push(part(text, start..text.len()));
    parts
}

fn part(text: &str, at: Range<usize>) -> Part<'_> {
    // What stands before the first semicolon is not a parameter, whatever it looks like.
    let parameter = if at.start == 0 { None } else { parameter(&text[at.clone()]) };
    Part { at, parameter }
}

fn parameter(text: &str) -> Option<Parameter<'_>> {
    let (name, written) = text.split_once('=')?;
    let name = name.trim();
    let (name, extended) = name.strip_suffix('*').map_or((name, false), |name| (name, true));
    let (name, section) = match name.split_once('*') {
        Some((name, number)) => (name, Some(number.parse().ok()?)),
        None => (name, None),
    };
    let is_token =
        |octet: u8| octet.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=*'%".contains(&octet);
    if name.is_empty() || !name.bytes().all(is_token) {
        return None;
    }
    let written = written.trim();
    let (value, behind) = match written.strip_prefix('"') {
        Some(inside) => unquoted(inside),
        None => (written.to_owned(), ""),
    };
    let value = value.chars().filter(|character| !matches!(character, '\r' | '\n')).collect();
    Some(Parameter { name, section, extended, value, behind })
}

/// The value up to the closing quote, and what stands behind it.
fn unquoted(inside: &str) -> (String, &str) {
    let (mut value, mut letters) = (String::with_capacity(inside.len()), inside.char_indices());
    while let Some((at, letter)) = letters.next() {
        let next = inside[at + letter.len_utf8()..].chars().next();
        match (letter, next) {
            ('\\', Some(escaped @ ('"' | '\\'))) => {
                value.push(escaped);
                letters.next();
            }
            ('"', _) => return (value, &inside[at + 1..]),
            _ => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let marked = |text: &str| text.replace(|c: char| !c.is_ascii(), "@");
        assert_eq!(in_ascii(text, &marked), expected);
    }

    #[test]
    fn every_form_of_a_parameter_keeps_what_it_says() {
        for (text, expected) in [
            (
                " attachment; filename=\"Gr\u{f6}\u{df}e.pdf\"",
                " attachment; filename*=utf-8''Gr%C3%B6%C3%9Fe.pdf",
            ),
            (
                " attachment; filename=Gr\u{f6}\u{df}e (1).pdf; size=7",
                " attachment; filename*=utf-8''Gr%C3%B6%C3%9Fe%20%281%29.pdf; size=7",
            ),
            (
                " application/pdf;\r\n\tname=\"\u{e4};\\\"b\\\\.pdf\"; x=\"a;b\"",
                " application/pdf;\r\n\tname*=utf-8''%C3%A4%3B%22b%5C.pdf; x=\"a;b\"",
            ),
            (" a; filename=\"\u{f6}", " a; filename*=utf-8''%C3%B6"),
            (
                " a; filename=\"C:\\Gr\u{f6}\u{df}e.pdf\"",
                " a; filename*=utf-8''C%3A%5CGr%C3%B6%C3%9Fe.pdf",
            ),
            (" a; filename*=utf-8''Gr\u{f6}%C3%9Fe", " a; filename*=utf-8''Gr%C3%B6%C3%9Fe"),
            (" a; filename*=iso-8859-1'de'Gr\u{f6}%DFe", " a; filename*=utf-8''Gr%C3%B6%C3%9Fe"),
            (
                " a; filename=\"Gr\u{f6}\"; filename*=utf-8''Gr%C3%B6",
                " a; filename*=utf-8''Gr%C3%B6",
            ),
            (
                " a; filename*0=\"Gr\"; filename*1=\"\u{f6}.pdf\"; x=1",
                " a; filename*=utf-8''Gr%C3%B6.pdf; x=1",
            ),
            (
                " a; filename*1*=%C3%9F; filename*0*=utf-8''Gr\u{f6}",
                " a; filename*=utf-8''Gr%C3%B6%C3%9F",
            ),
            (" a; name=\"x\" (\u{f6}); y=\u{f6}", " a; name=\"x\" (@); y*=utf-8''%C3%B6"),
            (" te\u{f6}t; charset=utf-8", " te@t; charset=utf-8"),
        ] {
            check(text, expected);
        }
        let long = format!(" a; name=\"{}\"", "\u{f6}".repeat(300));
        let written = in_ascii(&long, &str::to_owned);
        assert!(written.split("\r\n").all(|line| line.len() < 998) && written.contains("name*2*="));
        assert_eq!(written.matches("%C3%B6").count(), 300);
    }
}
