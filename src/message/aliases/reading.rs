//! The lines of an aliases file, and what stands in one.
//!
//! Rule: one pass over the text, whatever it holds; what cannot be used is an error with what to write
//! instead. Must not know the other lines.

use super::{Target, normalized, shown};
use crate::{
    message::address_list::Found,
    smtp::address::AddressError,
    text::{as_utf8, without_hidden},
};

/// What is wrong, and how to write it.
pub(super) type Trouble = (String, String);

/// A name with all that belongs to it, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it begins, counted from 1.
    pub(super) number: usize,
    pub(super) text: String,
}

/// Joins continuation lines (they begin with a blank, or the line before ends with a backslash) and leaves
/// out remarks and empty lines. A remark or an empty line between does not end an entry.
pub(super) fn logical_lines(bytes: &[u8]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut goes_on = false;
    for (index, physical) in as_utf8(bytes).split(|octet| *octet == b'\n').enumerate() {
        let text = String::from_utf8_lossy(physical.strip_suffix(b"\r").unwrap_or(physical));
        let text = without_hidden(&text);
        let continued = std::mem::take(&mut goes_on) || text.starts_with([' ', '\t']);
        let content = text.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let (content, backslash) = content
            .strip_suffix('\\')
            .map_or((content, false), |content| (content.trim_end(), true));
        goes_on = backslash;
        match lines.last_mut().filter(|_| continued) {
            Some(line) => {
                line.text.push(' ');
                line.text.push_str(content);
            }
            None => lines.push(Line { number: index + 1, text: content.to_owned() }),
        }
    }
    lines
}

/// The name of a line, normalized, and what stands behind its colon.
pub(super) fn name_of(line: &str) -> Result<(String, &str), Trouble> {
    let mut marks = Marks::default();
    let colon =
        line.char_indices().find(|(_, character)| marks.step(*character) && *character == ':');
    let form = "a line is name: address, address";
    let Some((colon, _)) = colon else {
        return Err((format!("{} has no colon", shown(line)), form.to_owned()));
    };
    let name = line[..colon].trim();
    let quoted = name.len() > 1 && name.starts_with('"') && name.ends_with('"');
    if name.is_empty() || name == "\"\"" {
        return Err(("there is no name before the colon".to_owned(), form.to_owned()));
    }
    if name.contains('\u{fffd}') {
        return Err((format!("{} is not UTF-8", shown(name)), "save the file as UTF-8".to_owned()));
    }
    if name.chars().any(char::is_control) {
        return Err((format!("{} holds a control character", shown(name)), "remove it".to_owned()));
    }
    if !quoted && name.contains(char::is_whitespace) {
        return Err((format!("{} has a blank", shown(name)), "put the name in quotes".to_owned()));
    }
    if !quoted && name.contains('@') {
        let remedy = "aliases are for names of this host; write the name without @ and a domain";
        return Err((format!("{} is an address", shown(name)), remedy.to_owned()));
    }
    // msmtp's word for the same; a quoted one is a name.
    if name == "*" || name.eq_ignore_ascii_case("default") {
        let remedy = "mail for unknown names goes to identity.admin of relay.toml";
        let what =
            format!("{} would be an entry for all other names, and there is none", shown(name));
        return Err((what, remedy.to_owned()));
    }
    Ok((normalized(name), &line[colon + 1..]))
}

/// Splits at the commas; a `#` behind a blank begins a remark.
pub(super) fn elements(rest: &str) -> Result<Vec<&str>, Trouble> {
    let mut marks = Marks::default();
    let (mut found, mut start, mut end, mut blank) = (Vec::new(), 0, rest.len(), true);
    for (position, character) in rest.char_indices() {
        let outside = marks.step(character);
        if outside && character == '#' && blank {
            end = position;
            break;
        }
        if outside && character == ',' {
            found.push(&rest[start..position]);
            start = position + 1;
        }
        blank = character.is_whitespace();
    }
    if marks.quoted {
        return Err(("a quote does not end".to_owned(), "close it, or remove it".to_owned()));
    }
    found.push(&rest[start..end]);
    found.iter_mut().for_each(|element| *element = element.trim());
    found.retain(|element| !element.is_empty());
    Ok(found)
}

/// One of those behind the colon, or those whom somebody has written without a comma between them.
pub(super) fn targets(element: &str) -> Result<Vec<Target>, Trouble> {
    let bare = unquoted(element);
    let skipped = |kind: &str| {
        let remedy = "it is skipped; what has no other recipient goes to identity.admin";
        Err((format!("{} {kind}", shown(element)), remedy.to_owned()))
    };
    if bare.starts_with('|') {
        return skipped("is a command, and none is run");
    }
    if bare.starts_with('/') {
        return skipped("is a file, and none is written");
    }
    if bare.to_lowercase().starts_with(":include:") {
        return skipped("includes a file, and none is read");
    }
    if bare.starts_with(':') {
        return skipped("is a word of another mail program");
    }
    let no_address = |reason: &str| {
        let remedy = "write addresses or names, with commas between them".to_owned();
        (format!("{} is not an address: {reason}", shown(element)), remedy)
    };
    if element.contains('\u{fffd}') {
        return Err(no_address("it is not UTF-8"));
    }
    let (is_final, text) = match element.strip_prefix('\\') {
        Some(name) => (true, name),
        // Quotes around a whole address are quotes of the file; around a name with blanks they belong to it.
        None => (false, if bare.contains('@') { bare } else { element }),
    };
    let error: AddressError = match text.strip_suffix('.').unwrap_or(text).parse() {
        Ok(address) => return Ok(vec![Target { address, is_final }]),
        Err(error) => error,
    };
    let mut found = Found::default();
    if !is_final && text.contains(['@', '<']) {
        found.read(text);
    }
    if found.addresses.is_empty() || !found.unreadable.is_empty() {
        return Err(no_address(&error.to_string()));
    }
    Ok(found.addresses.into_iter().map(|address| Target { address, is_final }).collect())
}

fn unquoted(element: &str) -> &str {
    let inside = element.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inside.map_or(element, str::trim)
}

/// Where we are while a line is read from left to right.
#[derive(Default)]
struct Marks {
    quoted: bool,
    escaped: bool,
}

impl Marks {
    /// Steps over a character. Whether it stands outside of quotes.
    fn step(&mut self, character: char) -> bool {
        if std::mem::take(&mut self.escaped) {
            return false;
        }
        match character {
            '\\' if self.quoted => self.escaped = true,
            '"' => self.quoted = !self.quoted,
            _ => return !self.quoted,
        }
        false
    }
}
