//! Postfix's lookup tables, as far as they can hold a login: `hash:/file`, `static:user:password`,
//! `inline:{ host=user:password }` (DATABASE_README).
//!
//! Rule: no argument of a table leaves this file but the path of one that is a file: any other may be a password.
//! Pure. Must not know where the files lie.

use super::draft::{is_path, lines};

/// Tables whose argument is a file with the text of the table beside its index.
const FILES: [&str; 7] = ["hash", "btree", "lmdb", "cdb", "dbm", "texthash", "sdbm"];
/// Words in front of a table, which then means the same.
const WRAPPERS: [&str; 2] = ["proxy", "debug"];
/// Tables within tables; nobody nests them deeper.
const DEPTH_MAX: usize = 4;

/// A login that was found. Not its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    /// "line 2 of /etc/postfix/sasl_passwd"; `None` when it stands in main.cf itself.
    pub(super) place: Option<String>,
}

/// The login for one of `keys` in the first table that has one.
pub(super) fn login(
    maps: &str,
    keys: &[&str],
    other: &dyn Fn(&str) -> Option<String>,
) -> Option<Login> {
    in_maps(maps, keys, other, DEPTH_MAX)
}

fn in_maps(
    maps: &str,
    keys: &[&str],
    other: &dyn Fn(&str) -> Option<String>,
    depth: usize,
) -> Option<Login> {
    split(maps).into_iter().find_map(|map| in_map(map, keys, other, depth.checked_sub(1)?))
}

fn in_map(
    map: &str,
    keys: &[&str],
    other: &dyn Fn(&str) -> Option<String>,
    depth: usize,
) -> Option<Login> {
    let (kind, argument) = map.split_once(':').unwrap_or(("hash", map));
    let written_here = |user: &str| Login { user: user.to_owned(), place: None };
    match kind {
        "static" => user(inside(argument)).map(written_here),
        "inline" => {
            let entries = split(inside(argument));
            let entries = entries.iter().filter_map(|entry| inside(entry).split_once('='));
            let entries: Vec<_> =
                entries.map(|(key, value)| (key.trim(), inside(value.trim()))).collect();
            let found = keys.iter().find_map(|wanted| {
                entries.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted))
            });
            found.and_then(|(_, value)| user(value)).map(written_here)
        }
        "unionmap" | "pipemap" => in_maps(inside(argument), keys, other, depth),
        kind if WRAPPERS.contains(&kind) => in_map(argument, keys, other, depth.checked_sub(1)?),
        kind if FILES.contains(&kind) && is_path(argument) => in_file(argument, keys, other),
        _ => None,
    }
}

/// A line of the table: `[smtp.gmail.com]:587 user:password`.
fn in_file(file: &str, keys: &[&str], other: &dyn Fn(&str) -> Option<String>) -> Option<Login> {
    let text = other(file)?;
    keys.iter().find_map(|wanted| {
        lines(&text).find_map(|(line, content)| {
            let (key, value) = content.split_once(|letter: char| letter.is_whitespace())?;
            let user = user(value.trim()).filter(|_| key.eq_ignore_ascii_case(wanted))?;
            Some(Login { user: user.to_owned(), place: Some(format!("line {line} of {file}")) })
        })
    })
}

/// The file of the first table that is one.
pub(super) fn file(maps: &str) -> Option<&str> {
    split(maps).into_iter().find_map(|map| {
        let (kind, argument) = map.split_once(':').unwrap_or(("hash", map));
        let (kind, argument) = match argument.split_once(':') {
            Some((inner, argument)) if WRAPPERS.contains(&kind) => (inner, argument),
            _ => (kind, argument),
        };
        (FILES.contains(&kind) && is_path(argument)).then_some(argument)
    })
}

/// The user of `user:password`.
fn user(login: &str) -> Option<&str> {
    login.split_once(':').map(|(user, _)| user.trim()).filter(|user| !user.is_empty())
}

/// Without the braces around it.
fn inside(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).map_or(text, str::trim)
}

/// The parts of a list: separated by blanks or commas, but not within braces.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    for (position, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            letter if depth == 0 && (letter == ',' || letter.is_whitespace()) => {
                parts.push(&text[start..position]);
                start = position + letter.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_that_can_hold_a_login_is_read() {
        let other = |file: &str| {
            (file == "/etc/postfix/sasl_passwd")
                .then(|| "# x\n[smtp.gmail.com]:587 me@gmail.com:secret\n".to_owned())
        };
        let keys = ["[smtp.gmail.com]:587", "smtp.gmail.com"];
        for maps in [
            "static:me@gmail.com:secret",
            "static:{me@gmail.com:se cret}",
            "inline:{smtp.gmail.com=me@gmail.com:secret}",
            "inline:{ other=a:b, {[smtp.gmail.com]:587 = me@gmail.com:se cret} }",
            "inline:{ { smtp.gmail.com = {me@gmail.com:secret} } }",
            "hash:/etc/postfix/sasl_passwd",
            "/etc/postfix/sasl_passwd",
            "proxy:lmdb:/etc/postfix/sasl_passwd",
            "hash:/etc/none, texthash:/etc/postfix/sasl_passwd",
            "unionmap:{ hash:/etc/none, static:me@gmail.com:secret }",
        ] {
            let found = login(maps, &keys, &other);
            assert_eq!(
                found.as_ref().map(|login| login.user.as_str()),
                Some("me@gmail.com"),
                "{maps}"
            );
            assert!(!format!("{found:?}").contains("cret"), "{maps}");
        }
        for maps in ["", "static:secret", "regexp:/etc/x", "inline:{a=b:secret}", "hash:secret:x"] {
            assert_eq!(login(maps, &keys, &other), None, "{maps}");
        }
    }
}
