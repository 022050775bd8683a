//! relay.toml as a text: which file it is, and where in it a key stands.
//!
//! Rule: an excerpt shows only lines that are known to hold no secret: not the value of `password`, of a command, of
//! the client's secret or of the webhook's address, nor what follows such a key without a value. Must not know what
//! the keys mean.

use std::{collections::BTreeMap, fmt, io::Read, ops::Range, path::Path, path::PathBuf};

use toml::de::{DeTable, DeValue};

use super::{
    problem::{HIDDEN, Place, SettingsError},
    shown::without_credentials,
};
use crate::{
    careful_file::{self, Links},
    text,
};

/// Octets of a configuration file we read; the annotated sample has 10,000.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Characters of a line that an excerpt shows.
const EXCERPT_CHARACTERS_MAX: usize = 120;
/// Lines above a line of a list in which we look for the list's key.
const LIST_LINES_MAX: usize = 256;

/// Sections that may be there several times: this one ...
pub(super) const NETWORK: &str = "listener.network";
/// ... this one ...
pub(super) const SENDER: &str = "identity.sender";
/// ... this one ...
pub(super) const TARGET: &str = "alert.target";
/// ... this one, which stands in no other section ...
pub(super) const RULE: &str = "rule";
/// ... as do this one ...
pub(super) const ACCOUNT: &str = "account";
/// ... and this one.
pub(super) const ROUTE: &str = "route";
/// All of them.
pub(super) const REPEATED: [&str; 6] = [NETWORK, SENDER, TARGET, RULE, ACCOUNT, ROUTE];

/// A section and its keys.
pub(super) type Section = (&'static str, &'static [&'static str]);

/// The file.
#[derive(Clone)]
pub(super) struct Document {
    path: PathBuf,
    text: String,
    /// Where each `section.key` stands, as octets of the text. A section that is there several times is
    /// called `listener.network[0]`, `listener.network[1]` ...; its header has the empty key.
    keys: BTreeMap<(String, String), Range<usize>>,
    /// Everything that keeps the text from being TOML, in the order of the text, one a line.
    syntax_errors: Vec<toml::de::Error>,
    /// Every key that there is.
    known: Vec<&'static str>,
}

/// Without the text: it may hold a password.
impl fmt::Debug for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Document").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Document {
    /// Reads the file, which may have these sections.
    pub(super) fn read(path: &Path, sections: &[Section]) -> Result<Self, SettingsError> {
        let unreadable = |reason: String| {
            SettingsError::Unreadable {
            path: path.to_owned(),
            reason,
            remedy: "Name another file with --config FILE or PILLARBOX_CONFIG, or make this one readable."
                .into(),
        }
        };
        // Anything else than a file, such as a pipe, could make the start wait for ever.
        let file = careful_file::open(path, Links::Followed)
            .map_err(|error| unreadable(error.to_string()))?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(error.to_string()))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(unreadable(format!("it is longer than {FILE_BYTES_MAX} octets")));
        }
        let text = String::from_utf8(text::as_utf8(&bytes).into_owned()).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            unreadable(format!("line {line} is not UTF-8"))
        })?;
        Ok(Self::new(path.to_owned(), text, sections))
    }

    /// The file as it is, or as it would be.
    pub(super) fn new(path: PathBuf, text: String, sections: &[Section]) -> Self {
        // The recoverable parse finds the keys of a file that has a mistake elsewhere.
        let (table, errors) = DeTable::parse_recoverable(&text);
        let mut keys = BTreeMap::new();
        for (section, content) in table.get_ref() {
            let section = section.get_ref();
            match content.get_ref() {
                DeValue::Table(entries) => {
                    for (key, value) in entries {
                        let name = key.get_ref().to_string();
                        keys.insert((section.to_string(), name), key.span());
                        let list = format!("{section}.{}", key.get_ref());
                        keys.extend(keys_of_list(&list, value.get_ref()));
                    }
                }
                list => keys.extend(keys_of_list(section, list)),
            }
        }
        let known = sections.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
        let syntax_errors = one_a_line(&text, errors);
        Self { path, text, keys, syntax_errors, known }
    }

    pub(super) fn syntax_errors(&self) -> &[toml::de::Error] {
        &self.syntax_errors
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where the key stands, when it does.
    pub(super) fn place_of(&self, section: &str, key: &str) -> Option<Place> {
        let span = self.keys.get(&(section.to_owned(), key.to_owned()))?;
        Some(self.place(span.clone()))
    }

    /// The section whose table holds this position, by the key nearest before it.
    pub(super) fn section_at(&self, position: usize) -> Option<&str> {
        let before = self.keys.iter().filter(|(_, span)| span.start <= position);
        before.max_by_key(|(_, span)| span.start).map(|((section, _), _)| section.as_str())
    }

    /// The place of these octets.
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        let start = floor_boundary(&self.text, span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_text = self.text[line_start..].lines().next().unwrap_or("");
        let line = self.text[..line_start].matches('\n').count() + 1;
        let column = self.text[line_start..start].chars().count() + 1;
        let end = floor_boundary(&self.text, span.end.min(line_start + line_text.len()));
        let width = if end > start { self.text[start..end].chars().count() } else { 1 };
        let number = line.to_string();
        let excerpt = if self.may_show(line_start, line_text) {
            excerpt(&number, column, width, line_text)
        } else {
            format!("  {number} | {HIDDEN}")
        };
        Place::File { name: self.path.display().to_string(), line, column, excerpt }
    }

    /// The place of a key that does not exist, without its value: it may be a misspelt password.
    pub(super) fn place_of_unknown(&self, span: Range<usize>) -> Place {
        let word = self.text.get(span.clone()).unwrap_or("").to_owned();
        let bracket = if self.text.get(..span.start).is_some_and(|before| before.ends_with('[')) {
            "["
        } else {
            ""
        };
        match self.place(span) {
            Place::File { name, line, column, .. } => {
                let width = word.chars().count();
                let blanks = " ".repeat(column.min(EXCERPT_CHARACTERS_MAX) - 1 - bracket.len());
                let shown = format!("{blanks}{bracket}{word} ...");
                let excerpt = excerpt(&line.to_string(), column, width, &shown);
                Place::File { name, line, column, excerpt }
            }
            place => place,
        }
    }

    /// Whether an excerpt may show the line that begins at this octet: only what is known to hold no secret is
    /// shown. A line belongs to the key or the header that it begins with, else to the nearest one above; an
    /// assignment that is left open (`password =`, and the password in the next line) reaches further than its line.
    fn may_show(&self, line_start: usize, line: &str) -> bool {
        // A password in several lines could reach any later line.
        let several_lines = |line: &str| line.contains("\"\"\"") || line.contains("'''");
        if self.text.lines().any(|line| sets_secret(line) && several_lines(line)) {
            return false;
        }
        if sets_secret(line) || has_credentials(line) {
            return false;
        }
        if self.begins_known(line) {
            return true;
        }
        // A later line of a list.
        for above in self.text[..line_start].lines().rev().take(LIST_LINES_MAX) {
            if sets_secret(above) || above.contains(']') && !self.begins_known(above) {
                return false;
            }
            if self.begins_known(above) {
                let list = above.split_once('=').map_or("", |(_, value)| value.trim_start());
                return list.starts_with('[') && !list.contains(']');
            }
        }
        line.trim().is_empty()
    }

    /// Whether the line begins with a header, or with a key of ours that holds no secret, possibly misspelt.
    fn begins_known(&self, line: &str) -> bool {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let (name, rest) = header.rsplit_once(']').unwrap_or((header, ""));
            let is_name =
                name.chars().all(|letter| letter.is_ascii_alphabetic() || "._[] ".contains(letter));
            return is_name && (rest.trim().is_empty() || rest.trim_start().starts_with('#'));
        }
        if line.starts_with('#') {
            return true;
        }
        let is_key = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
        let word = line.split(|letter| !is_key(letter)).next().unwrap_or("");
        let key = word.rsplit('.').next().unwrap_or("");
        let known = || self.known.iter().copied();
        known().any(|known| known == key)
            || (line[word.len()..].trim_start().starts_with('=')
                && text::nearest(key, known()).is_some())
    }
}

/// Errors in the order of the text, the first of each line.
fn one_a_line(text: &str, mut errors: Vec<toml::de::Error>) -> Vec<toml::de::Error> {
    let line = |error: &toml::de::Error| {
        let start = floor_boundary(text, error.span().unwrap_or_default().start);
        text[..start].matches('\n').count()
    };
    errors.sort_by_key(line);
    errors.dedup_by_key(|error| line(error));
    errors
}

/// A key of a section, and where it stands.
type Spot = ((String, String), Range<usize>);

/// Where the keys of sections of one name stand, those of a table in them as `key.inner`.
fn keys_of_list(name: &str, list: &DeValue<'_>) -> Vec<Spot> {
    let DeValue::Array(tables) = list else { return Vec::new() };
    let mut spots = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let DeValue::Table(entries) = table.get_ref() else { continue };
        let section = numbered(name, index);
        spots.push(((section.clone(), String::new()), table.span()));
        for (key, value) in entries {
            let name = key.get_ref();
            spots.push(((section.clone(), name.to_string()), key.span()));
            let DeValue::Table(inner) = value.get_ref() else { continue };
            spots.extend(
                inner.keys().map(|key| {
                    ((section.clone(), format!("{name}.{}", key.get_ref())), key.span())
                }),
            );
        }
    }
    spots
}

/// The name of one of several sections of the same name.
pub(super) fn numbered(section: &str, index: usize) -> String {
    format!("{section}[{index}]")
}

/// The name of a section without its number.
pub(super) fn without_number(section: &str) -> &str {
    section.split('[').next().unwrap_or(section)
}

/// A section as its header is written.
pub(super) fn header(section: &str) -> String {
    match without_number(section) {
        name if REPEATED.contains(&name) => format!("[[{name}]]"),
        name => format!("[{name}]"),
    }
}

/// Whether the line gives a key that holds a secret (`password`, a command's words, `webhook`, not a file's name) a
/// value, also when it is misspelt, when the equals sign is missing, or within an inline table.
fn sets_secret(line: &str) -> bool {
    const NOT_SECRET: [&str; 6] = [
        "password_file",
        "webhook_file",
        "heartbeat_file",
        "heartbeat_every",
        "oauth_client_secret_file",
        "oauth_client_file",
    ];
    let is_word = |character: char| character.is_alphanumeric() || "_-".contains(character);
    let mut words = line.split(|character| !is_word(character)).filter(|word| !word.is_empty());
    let first =
        words.find(|word| !["upstream", "account", "alert", "target"].contains(word)).unwrap_or("");
    let resembles = |word: &str| {
        let word = &*word.to_lowercase();
        (word.starts_with("pass")
            || strsim::damerau_levenshtein(word, "password") <= 3
            || strsim::damerau_levenshtein(word, "oauth_client_secret") <= 3
            || strsim::damerau_levenshtein(word, "webhook") <= 2
            || strsim::damerau_levenshtein(word, "heartbeat") <= 2
            || strsim::damerau_levenshtein(word, "command") <= 2)
            && !NOT_SECRET.contains(&word)
    };
    let assigned = |secret: &str| {
        line.match_indices(secret).any(|(position, word)| {
            line[position + word.len()..]
                .trim_start_matches(['"', '\'', ' ', '\t'])
                .starts_with('=')
        })
    };
    resembles(first)
        || ["password", "secret", "webhook", "heartbeat", "command"].into_iter().any(assigned)
}

/// Whether a word of the line has a user name and a password before its host, as web addresses may.
fn has_credentials(line: &str) -> bool {
    let mut words = line.split([' ', '\t', '"', '\'', ',']);
    words.any(|word| without_credentials(word) != word || names_a_password(word))
}

/// Whether this is `name:password@host`, as some programs want their login in one word.
pub(super) fn names_a_password(word: &str) -> bool {
    let behind_the_name = word.split_once(':').map(|(_, rest)| rest);
    !word.contains("://") && behind_the_name.is_some_and(|rest| rest.contains('@'))
}

fn excerpt(number: &str, column: usize, width: usize, line: &str) -> String {
    let margin = " ".repeat(number.len());
    let shown: String = line
        .chars()
        .take(EXCERPT_CHARACTERS_MAX)
        // One character for one, so that the caret stays below its word.
        .map(|character| match character {
            '\t' => ' ',
            deceptive if text::is_deceptive(deceptive) => char::REPLACEMENT_CHARACTER,
            character => character,
        })
        .collect();
    if column > EXCERPT_CHARACTERS_MAX {
        return format!("  {number} | {shown}");
    }
    let blanks = " ".repeat(column - 1);
    let carets = "^".repeat(width.min(EXCERPT_CHARACTERS_MAX + 1 - column));
    format!("  {number} | {shown}\n  {margin} | {blanks}{carets}")
}

/// The text with blanks in the place of the key whose name or value is at `position`, or of the section whose header is
/// there; everything else stays where it was.
pub(super) fn without(text: &str, position: usize) -> Option<String> {
    let start = floor_boundary(text, position);
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let range = if text[line_start..].trim_start().starts_with('[') {
        // A header: up to the next one.
        let mut end = line_start + text[line_start..].lines().next().unwrap_or("").len();
        for line in text[end..].split_inclusive('\n') {
            if line.trim_start().starts_with('[') {
                break;
            }
            end += line.len();
        }
        line_start..end
    } else {
        key_at(DeTable::parse(text).ok()?.get_ref(), start)?
    };
    let blanks: String = text
        .get(range.clone())?
        .bytes()
        .map(|octet| if octet == b'\n' { '\n' } else { ' ' })
        .collect();
    Some([text.get(..range.start)?, &blanks, text.get(range.end..)?].concat())
}

/// The octets of the innermost key with its value, in a table and its sections, that hold this position.
fn key_at(table: &DeTable<'_>, position: usize) -> Option<Range<usize>> {
    for (key, value) in table {
        let inner = match value.get_ref() {
            DeValue::Table(entries) => key_at(entries, position),
            DeValue::Array(values) => values.iter().find_map(|value| match value.get_ref() {
                DeValue::Table(entries) => key_at(entries, position),
                _ => None,
            }),
            _ => None,
        };
        let own = key.span().start..value.span().end;
        if inner.is_some() || own.contains(&position) {
            return inner.or(Some(own));
        }
    }
    None
}

fn floor_boundary(text: &str, position: usize) -> usize {
    let mut position = position.min(text.len());
    while !text.is_char_boundary(position) {
        position -= 1;
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTIONS: [Section; 3] = [
        ("upstream", &["host", "port", "username", "password_file", "password"]),
        ("listener", &["addresses"]),
        ("alert", &["oauth_client_secret_file"]),
    ];

    fn excerpt_of(text: &str, word: &str) -> String {
        let start = text.find(word).unwrap();
        let document = Document::new("relay.toml".into(), text.into(), &SECTIONS);
        let Place::File { excerpt, .. } = document.place(start..start + word.len()) else {
            return String::new();
        };
        excerpt
    }

    #[test]
    fn a_pipe_is_refused_in_words_and_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.toml");
        let (pipe, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &path, pipe, mode, 0).unwrap();
        for path in [path.as_path(), Path::new("/dev/null"), directory.path()] {
            let words = Document::read(path, &SECTIONS).unwrap_err().to_string();
            assert!(words.contains("it is not a regular file"), "{words}");
        }
    }

    #[test]
    fn an_excerpt_marks_the_words() {
        let text = "[upstream]\nhost = \"ä\" # here\n";
        assert_eq!(excerpt_of(text, "here"), "  2 | host = \"ä\" # here\n    |              ^^^^");
    }

    #[test]
    fn an_excerpt_never_shows_a_password() {
        for line in [
            "password = \"hunter2",
            "password=hunter2",
            "password: hunter2",
            "passwd = \"hunter2",
            "\"password\" = 2 # hunter2",
            "upstream.password = hunter2",
            "oauth_client_secret = \"hunter2",
            "oauth_client_secert: hunter2",
            "webhook = 3 # hunter2",
            "webhok = \"https://hunter2",
            "alert.webhook = \"https://hunter2",
            "upstream = { auth = \"oauth\", oauth_client_secret = \"hunter2",
            "upstream = { host = \"a\", password = \"hunter2",
        ] {
            let excerpt = excerpt_of(&format!("[upstream]\n{line}\n"), "hunter2");
            assert!(!excerpt.contains("hunter"), "{line}: {excerpt}");
        }
        assert!(!excerpt_of("password = \"\"\"\nhunter2\"\"\"\n", "hunter2").contains("hunter"));
        assert!(excerpt_of("password_file = 3 # hunter2\n", "3").contains("hunter"));
        assert!(excerpt_of("oauth_client_secret_file = 3 # hunter2\n", "3").contains("hunter"));
    }

    #[test]
    fn an_assignment_of_a_secret_that_is_left_open_hides_what_follows() {
        for text in [
            "[upstream]\npassword =\nhunter2\n",
            "[upstream]\npassword =\nhunter2==\n",
            "[upstream]\npassword =\n\n# the password\n  hunter2 = x\n",
            "[upstream]\npassword\n\"hunter2\"\n",
            "[upstream]\nPassword = \\\nhunter2\n",
            "[upstream]\npasswrd =\nhunter2\n",
            "[alert]\nwebhook =\nhttps://hooks.example/hunter2\n",
            "[upstream]\npassword_command = [\n  \"echo\",\n  \"hunter2\n]\n",
            "[upstream]\npassword_command = \"echo hunter2\n",
            "[alert]\ncommand = [\"curl\", \"-H\", \"Authorization: hunter2\n",
            "[upstream]\nhost = \"smtps://me:hunter2@smtp.gmail.com\n",
            "[upstream]\nusername = \"me@gmail.com\"\nhunter2\n",
            // Not a configuration at all, but a password file that was named instead.
            "hunter2\n",
            "\"hunter2\n",
            "hunter2 hunter2 hunter2\n",
            "machine smtp.gmail.com login me password hunter2\n",
        ] {
            let excerpt = excerpt_of(text, "hunter2");
            assert!(!excerpt.contains("hunter"), "{text}: {excerpt}");
        }
    }

    #[test]
    fn a_line_of_a_list_and_a_misspelt_key_are_shown() {
        let list = "[listener]\naddresses = [\n  \"127.0.0.1:25\",\n  \"nowhere\n]\n";
        assert!(excerpt_of(list, "nowhere").contains("\"nowhere"));
        assert!(excerpt_of("[upstream]\nhots = \"smtp.gmail.com\n", "smtp").contains("gmail"));
        assert!(excerpt_of("[upstraem\nhost = \"a\"\n", "upstraem").contains("upstraem"));
    }
}
