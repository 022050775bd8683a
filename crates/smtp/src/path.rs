//! The text behind the colon of MAIL FROM: and RCPT TO:, split into one address and its parameters.
//!
//! Rule: liberal in form, but never two addresses taken for one: who hears 250 to an RCPT has named exactly one
//! recipient. Must not know which address is acceptable, or what a parameter means.

use super::quirk::{Quirk, Quirks};

/// Brackets within brackets that are looked into: `<Joe <a@b>>` is real, more is noise.
const BRACKETS_DEEP_MAX: usize = 2;

/// The text of an address, and how it stood there: `<>` means something, nothing does not, and neither does a
/// route or a comment without an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path<'a> {
    Null,
    Bracketed(&'a str),
    Bare(&'a str),
}

/// Why a text has no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathError {
    /// A bracket that does not end.
    Unclosed,
    /// What stands before or behind the address may be another one.
    Several,
}

/// Splits `KEYWORD: text`. `None` when it is another keyword.
pub(super) fn behind_colon<'a>(
    rest: &'a str,
    keyword: &str,
    quirks: &mut Quirks,
) -> Option<&'a str> {
    let (word, after) = rest.split_once(':')?;
    if !word.trim_ascii().eq_ignore_ascii_case(keyword) {
        return None;
    }
    let has_blanks = after.starts_with([' ', '\t']) || word.len() != keyword.len();
    quirks.insert_if(has_blanks, Quirk::SpaceAfterColon);
    Some(after.trim_ascii())
}

/// Splits the text behind the colon. A display name before the brackets, comments, a route and an address
/// without brackets are accepted. What stands before the brackets comes along, because a name is not an address.
pub(super) fn split<'a>(
    text: &'a str,
    quirks: &mut Quirks,
) -> Result<(Path<'a>, &'a str, &'a str), PathError> {
    let start = behind_comments(text, quirks).trim_ascii_start();
    let Some(bracket) = opening_bracket(start) else {
        let end = outside(start, |_, character| character == ' ' || character == '\t');
        let (address, parameters) = start.split_at(end.unwrap_or(start.len()));
        quirks.insert_if(!start.is_empty(), Quirk::MissingBrackets);
        let address = without_comment(address, quirks);
        return Ok((Path::Bare(address), "", behind_comments(parameters, quirks)));
    };
    let mut name = &start[..bracket];
    let (mut inside, after) = bracketed(&start[bracket + 1..]).ok_or(PathError::Unclosed)?;
    let mut deep = 1;
    while let Some(bracket) = outside(inside, |_, character| character == '<') {
        let (inner, behind) = bracketed(&inside[bracket + 1..]).ok_or(PathError::Unclosed)?;
        deep += 1;
        let has_two_names = !name.trim_ascii().is_empty() && bracket > 0;
        if deep > BRACKETS_DEEP_MAX || has_two_names || !behind_comments(behind, quirks).is_empty()
        {
            return Err(PathError::Several);
        }
        quirks.insert(Quirk::DisplayName);
        (name, inside) = (if bracket > 0 { &inside[..bracket] } else { name }, inner);
    }
    quirks.insert_if(!name.is_empty(), Quirk::DisplayName);
    let parameters = behind_comments(after, quirks);
    if inside.is_empty() {
        return Ok((Path::Null, name, parameters));
    }
    let address = without_comment(without_route(inside, quirks), quirks);
    Ok((Path::Bracketed(address), name, parameters))
}

/// Whether a display name may be the address of somebody else, or end with one. Within quotes it is a name whatever
/// it looks like; the address itself is often its own name.
pub(super) fn names_another(name: &str, address: &str) -> bool {
    let is_address_itself = name.trim_ascii().eq_ignore_ascii_case(address);
    !is_address_itself && outside(name, |_, character| "@,;:>".contains(character)).is_some()
}

/// Splits the text of a sender that is not a path into what it says and the parameters at its end.
pub(super) fn parameters_behind(text: &str) -> (&str, &str) {
    let mut end = text.len();
    loop {
        let before = text[..end].trim_ascii_end();
        let word = before.rfind([' ', '\t']).map_or(0, |blank| blank + 1);
        if before.is_empty() || !is_parameter(&before[word..]) {
            return (before, &text[end..]);
        }
        end = word;
    }
}

/// Whether a word is clearly a parameter, wherever it stands.
pub(super) fn is_parameter(word: &str) -> bool {
    let has_value = |(keyword, _): (&str, &str)| is_keyword(keyword);
    word.eq_ignore_ascii_case("SMTPUTF8") || word.split_once('=').is_some_and(has_value)
}

/// Whether a text is a keyword of RFC 5321 section 4.1.2 (esmtp-keyword).
pub(super) fn is_keyword(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
}

/// The bracket that opens the path. `a@b AUTH=<>` has none.
fn opening_bracket(text: &str) -> Option<usize> {
    outside(text, |before, character| character == '<' && before != Some('='))
}

/// What is between the opening bracket before the text and its closing one, and what is behind that.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let mut open = 1_usize;
    let end = outside(text, |_, character| {
        match character {
            '<' => open += 1,
            '>' => open -= 1,
            _ => {}
        }
        open == 0
    })?;
    Some((text[..end].trim_ascii(), &text[end + 1..]))
}

/// The text behind blanks and comments at its beginning.
fn behind_comments<'a>(text: &'a str, quirks: &mut Quirks) -> &'a str {
    let mut rest = text;
    // The blanks belong to what follows: a parameter must be behind one.
    while let Some(comment) = rest.trim_ascii_start().strip_prefix('(') {
        let Some(end) = end_of_comment(comment) else { return rest };
        quirks.insert(Quirk::DisplayName);
        rest = &comment[end..];
    }
    rest
}

/// The length of a comment behind its opening parenthesis; comments nest (RFC 5322 section 3.2.2).
fn end_of_comment(text: &str) -> Option<usize> {
    let (mut open, mut escaped) = (1_usize, false);
    for (position, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(position + 1);
        }
    }
    None
}

/// Drops a comment before or behind an address: `a@b(Joe)`, `(Joe)a@b`.
fn without_comment<'a>(address: &'a str, quirks: &mut Quirks) -> &'a str {
    let start = behind_comments(address, quirks).trim_ascii_start();
    let mut quoted = Quoted::default();
    let mut opens = |character| quoted.is_outside(character) && character == '(';
    match start.char_indices().find(|(_, character)| opens(*character)).map(|(open, _)| open) {
        Some(open) if end_of_comment(&start[open + 1..]) == Some(start.len() - open - 1) => {
            quirks.insert(Quirk::DisplayName);
            start[..open].trim_ascii_end()
        }
        _ => start,
    }
}

/// Drops a source route such as `@one,@two:` (RFC 5321 appendix C). Anything else is not a route.
fn without_route<'a>(path: &'a str, quirks: &mut Quirks) -> &'a str {
    match path.split_once(':') {
        Some((route, address)) if is_route(route) => {
            quirks.insert(Quirk::SourceRoute);
            address.trim_ascii()
        }
        _ => path,
    }
}

fn is_route(text: &str) -> bool {
    let is_hop = |hop: &str| {
        let domain = hop.trim_ascii().strip_prefix('@');
        domain.is_some_and(|domain| {
            !domain.is_empty() && !domain.contains(['@', ' ', '\t', '<', '>', '"', ';'])
        })
    };
    text.split(',').all(is_hop)
}

/// The position of the first character outside of quotes and comments for which `found` holds, given the one before.
fn outside(text: &str, mut found: impl FnMut(Option<char>, char) -> bool) -> Option<usize> {
    let (mut quoted, mut before, mut behind) = (Quoted::default(), None, 0);
    for (position, character) in text.char_indices() {
        if position < behind {
            continue;
        }
        if quoted.is_outside(character) {
            if character == '('
                && let Some(length) = end_of_comment(&text[position + 1..])
            {
                (behind, before) = (position + 1 + length, Some(')'));
                continue;
            }
            if found(before, character) {
                return Some(position);
            }
        }
        before = Some(character);
    }
    None
}

/// Where quoted strings begin and end.
#[derive(Default)]
struct Quoted {
    inside: bool,
    escaped: bool,
}

impl Quoted {
    /// Whether the next character is outside of quotes and no quote itself.
    fn is_outside(&mut self, character: char) -> bool {
        if self.escaped {
            self.escaped = false;
            return false;
        }
        match character {
            '\\' if self.inside => self.escaped = true,
            '"' => self.inside = !self.inside,
            _ => return !self.inside,
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Result<(Path<'_>, &str, &str), PathError> {
        split(text, &mut Quirks::default())
    }

    #[test]
    fn a_path_is_found_in_every_form_that_clients_write() {
        for (text, path, parameters) in [
            ("<a@b>", Path::Bracketed("a@b"), ""),
            ("<a@b> X=1", Path::Bracketed("a@b"), " X=1"),
            ("a@b X=<>", Path::Bare("a@b"), " X=<>"),
            ("Joe <a@b>", Path::Bracketed("a@b"), ""),
            ("Joe<a@b>", Path::Bracketed("a@b"), ""),
            ("<Joe <a@b>>", Path::Bracketed("a@b"), ""),
            ("<<a@b>>", Path::Bracketed("a@b"), ""),
            ("<a@b> (Joe) X=1", Path::Bracketed("a@b"), " X=1"),
            ("a@b (Joe (Doe)) X=1", Path::Bare("a@b"), " X=1"),
            ("(Joe) a@b", Path::Bare("a@b"), ""),
            ("<a@b (x > y)>", Path::Bracketed("a@b"), ""),
            ("<@one,@two:a@b>", Path::Bracketed("a@b"), ""),
            ("<a@[IPv6:::1]>", Path::Bracketed("a@[IPv6:::1]"), ""),
            ("<\"a>b\"@c>", Path::Bracketed("\"a>b\"@c"), ""),
            ("< >", Path::Null, ""),
            ("", Path::Bare(""), ""),
        ] {
            let (read, _, behind) = found(text).unwrap();
            assert_eq!((read, behind), (path, parameters), "{text}");
        }
    }

    #[test]
    fn what_stands_around_an_address_and_may_be_another_is_not_passed_over() {
        for text in ["<a@b <c@d> e@f>", "<a@b <c@d>, <e@f>>", "<<<a@b>>>", "x <y <c@d>>"] {
            assert_eq!(found(text), Err(PathError::Several), "{text}");
        }
        assert_eq!(found("<a@b"), Err(PathError::Unclosed));
        // Neither is a route, so it stays where no address can have it.
        for text in ["<@ann@x:b@c>", "<@x <y:b@c>", "<ann@x,@y:b@c>"] {
            let kept = found(text);
            assert!(!matches!(kept, Ok((Path::Bracketed("b@c"), ..))), "{text} became {kept:?}");
        }
        for (name, address, another) in [
            ("Joe ", "a@b", false),
            ("A@b ", "a@b", false),
            ("\"c@d\" ", "a@b", false),
            ("(c@d) ", "a@b", false),
            ("c@d ", "a@b", true),
            ("root, Joe ", "a@b", true),
            ("root; ", "a@b", true),
            ("Friends: ", "a@b", true),
        ] {
            assert_eq!(names_another(name, address), another, "{name}");
        }
    }

    #[test]
    fn parameters_are_found_at_the_end_of_anything() {
        for (text, said, parameters) in [
            ("My Printer@office SIZE=5 smtputf8", "My Printer@office", "SIZE=5 smtputf8"),
            ("<a@b SIZE=5", "<a@b", "SIZE=5"),
            ("SIZE=5", "", "SIZE=5"),
            ("a b", "a b", ""),
            ("", "", ""),
        ] {
            assert_eq!(parameters_behind(text), (said, parameters), "{text}");
        }
    }
}
