//! Changes of a relay.toml that leave everything else in it as it is, comments and all.
//!
//! Rule: a key is written where the annotated file explains it; what is taken out stays as a comment, but never a secret.
//! Each change is read back, and one that would say anything else is not made. Pure.

use std::ops::Range;

use ipnet::IpNet;
use toml_edit::{
    Array, ArrayOfTables, Document, DocumentMut, InlineTable, Item, Table, TableLike, Value,
};

/// Keys whose value is a secret: of such a line only the key stays.
const SECRETS: [&str; 2] = ["password", "oauth_client_secret"];
/// The section whose networks may send.
const LISTENER: &str = "listener";
/// Its list of sections.
const NETWORK: &str = "network";

/// What a key is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// A text.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// A number.
    Number(u16),
}

impl Setting {
    fn value(&self) -> Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Number(number) => i64::from(*number).into(),
            Self::List(words) => words.iter().map(String::as_str).collect::<Array>().into(),
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Sets a key.
    Set { section: &'static str, key: &'static str, to: Setting },
    /// Takes a key out.
    Remove { section: &'static str, key: &'static str },
    /// Adds a `[[listener.network]]` whose clients may relay.
    Trust { networks: Vec<IpNet> },
}

impl Change {
    /// Sets a key to a text.
    pub(super) fn text(section: &'static str, key: &'static str, text: impl Into<String>) -> Self {
        Self::Set { section, key, to: Setting::Text(text.into()) }
    }

    /// The change as a person would write it.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Set { section, key, to } => {
                format!("[{section}] {key} = {}", to.value().to_string().trim())
            }
            Self::Remove { section, key } => format!("[{section}] {key} becomes a comment"),
            Self::Trust { networks } => {
                let networks = words(networks).value();
                format!("[[listener.network]] networks = {networks}, trusted = true")
            }
        }
    }
}

fn words(networks: &[IpNet]) -> Setting {
    Setting::List(networks.iter().map(ToString::to_string).collect())
}

/// What a file says.
#[derive(Clone, Debug)]
pub(super) struct Written(DocumentMut);

impl Written {
    /// Reads the text; says what is wrong with it when it is not TOML, without a piece of it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let at = |span: Range<usize>| {
            let before = text.get(..span.start).unwrap_or(text);
            before.matches('\n').count() + 1
        };
        text.parse().map(Self).map_err(|error: toml_edit::TomlError| match error.span() {
            Some(span) => format!("line {} is not TOML", at(span)),
            None => "it is not TOML".to_owned(),
        })
    }

    fn item(&self, section: &str, key: &str) -> Option<&Item> {
        self.0.get(section)?.as_table_like()?.get(key)
    }

    /// Whether the key is there, with anything but the empty text.
    pub(super) fn has(&self, section: &str, key: &str) -> bool {
        self.item(section, key).is_some_and(|item| {
            item.as_str() != Some("") && item.as_array().is_none_or(|list| !list.is_empty())
        })
    }

    /// Whether the key is there, whatever it says.
    pub(super) fn names(&self, section: &str, key: &str) -> bool {
        self.item(section, key).is_some()
    }

    /// A key with a text that is not empty.
    pub(super) fn text(&self, section: &str, key: &str) -> Option<String> {
        let text = self.item(section, key)?.as_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A key with a number, as text.
    pub(super) fn number(&self, section: &str, key: &str) -> Option<String> {
        Some(self.item(section, key)?.as_integer()?.to_string())
    }

    /// A key with a list of texts.
    pub(super) fn list(&self, section: &str, key: &str) -> Option<Vec<String>> {
        let list = self.item(section, key)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// Networks that may relay.
    pub(super) fn trusted(&self) -> Vec<IpNet> {
        let sections = self.item(LISTENER, NETWORK);
        let tables: Vec<&dyn TableLike> = match sections {
            Some(Item::ArrayOfTables(tables)) => {
                tables.iter().map(|table| table as &dyn TableLike).collect()
            }
            Some(Item::Value(Value::Array(list))) => list
                .iter()
                .filter_map(Value::as_inline_table)
                .map(|table| table as &dyn TableLike)
                .collect(),
            _ => Vec::new(),
        };
        let is_trusted =
            |table: &&&dyn TableLike| table.get("trusted").and_then(Item::as_bool).unwrap_or(false);
        let listed = tables.iter().filter(is_trusted).filter_map(|table| table.get("networks"));
        let own = self.item(LISTENER, "trusted_networks");
        let lists = listed.chain(own).filter_map(Item::as_array).flat_map(Array::iter);
        lists.filter_map(Value::as_str).filter_map(network).collect()
    }
}

/// A network, or an address as the network of itself.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))
}

/// The text with all changes.
pub(super) fn apply(text: &str, changes: &[Change]) -> Result<String, String> {
    changes.iter().try_fold(text.to_owned(), |text, change| {
        let changed = match change {
            Change::Set { section, key, to } => set(&text, section, key, to)?,
            Change::Remove { section, key } => without(&text, section, key)?,
            Change::Trust { networks } => with_network(&text, networks)?,
        };
        Ok(changed)
    })
}

fn set(
    text: &str,
    section: &'static str,
    key: &'static str,
    to: &Setting,
) -> Result<String, String> {
    let document = Written::read(text)?.0;
    let wanted = inserted(document.clone(), section, key, to)?;
    let is_new = document.get(section).and_then(|table| table.get(key)).is_none();
    let in_place = is_new.then(|| uncommented(text, section, key, to)).flatten();
    match in_place {
        Some(text) if says_the_same(&text, &wanted) => Ok(text),
        _ => Ok(wanted.to_string()),
    }
}

/// The document with the key at the end of its section, or in the place of its old value.
fn inserted(
    mut document: DocumentMut,
    section: &str,
    key: &str,
    to: &Setting,
) -> Result<DocumentMut, String> {
    let table = table(&mut document, section)?;
    let mut value = to.value();
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        // A remark behind the value stays there.
        *value.decor_mut() = old.decor().clone();
    }
    match table.get_mut(key) {
        Some(item) => *item = Item::Value(value),
        None => drop(table.insert(key, Item::Value(value))),
    }
    Ok(document)
}

fn table<'a>(
    document: &'a mut DocumentMut,
    section: &str,
) -> Result<&'a mut dyn TableLike, String> {
    let is_new = !document.contains_key(section);
    let item = document.entry(section).or_insert_with(|| Item::Table(Table::new()));
    if let (true, Some(table)) = (is_new, item.as_table_mut()) {
        table.decor_mut().set_prefix("\n");
    }
    item.as_table_like_mut().ok_or_else(|| format!("`{section}` is not a section"))
}

/// The text in which the line `#key = ...` of the section, as the annotated file has one for each key, sets it.
fn uncommented(text: &str, section: &str, key: &str, to: &Setting) -> Option<String> {
    let mut begun = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim();
        if bare.starts_with('[') {
            begun = Some(bare == format!("[{section}]"));
        }
        let assigns = |rest: &str| {
            rest.trim_start()
                .strip_prefix(key)
                .is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        if begun == Some(true) && bare.strip_prefix('#').is_some_and(assigns) {
            let end = if line.ends_with("\r\n") { "\r\n" } else { "\n" };
            let new = format!("{key} = {}{end}", to.value().to_string().trim());
            return Some(format!("{}{new}{}", &text[..at], &text[at + line.len()..]));
        }
        // The examples of `[[listener.network]]` have keys of their own.
        if bare.starts_with("#[") {
            begun = Some(false);
        }
        at += line.len();
    }
    None
}

/// Whether both set the same keys to the same values.
fn says_the_same(text: &str, wanted: &DocumentMut) -> bool {
    let meaning = |text: &str| toml::from_str::<toml::Table>(text).ok();
    meaning(text).is_some_and(|found| Some(found) == meaning(&wanted.to_string()))
}

/// The text in which the key is a comment.
fn without(text: &str, section: &str, key: &str) -> Result<String, String> {
    let mut wanted = Written::read(text)?.0;
    let removed = wanted.get_mut(section).and_then(Item::as_table_like_mut);
    if removed.is_none_or(|table| table.remove(key).is_none()) {
        return Ok(text.to_owned());
    }
    let kept = span(text, section, key).map(|span| commented_out(text, &span, key));
    match kept {
        Some(text) if says_the_same(&text, &wanted) => Ok(text),
        _ => Ok(wanted.to_string()),
    }
}

/// From the key to the end of its value.
fn span(text: &str, section: &str, key: &str) -> Option<Range<usize>> {
    let document = Document::parse(text).ok()?;
    let (name, item) = document.get(section)?.as_table_like()?.get_key_value(key)?;
    Some(name.span()?.start..item.span()?.end)
}

fn commented_out(text: &str, span: &Range<usize>, key: &str) -> String {
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |at| span.end + at);
    let lines = &text[start..end];
    let comment = if SECRETS.contains(&key) {
        format!("#{key} = \"\"")
    } else {
        lines.split('\n').map(|line| format!("#{line}")).collect::<Vec<_>>().join("\n")
    };
    format!("{}{comment}{}", &text[..start], &text[end..])
}

fn with_network(text: &str, networks: &[IpNet]) -> Result<String, String> {
    let mut document = Written::read(text)?.0;
    let listener = table(&mut document, LISTENER)?;
    let mut section = InlineTable::new();
    section.insert("networks", words(networks).value());
    section.insert("trusted", true.into());
    match listener.get_mut(NETWORK) {
        Some(Item::Value(Value::Array(list))) => list.push(section),
        Some(Item::ArrayOfTables(tables)) => tables.push(section.into_table()),
        Some(_) => return Err(format!("`{LISTENER}.{NETWORK}` is not a list of sections")),
        None => {
            let tables = ArrayOfTables::from_iter([section.into_table()]);
            listener.insert(NETWORK, Item::ArrayOfTables(tables));
        }
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNOTATED: &str = include_str!("../../../relay.toml");

    fn account() -> [Change; 2] {
        [
            Change::text("upstream", "username", "me@gmail.com"),
            Change::text("upstream", "password_file", "/etc/pillarbox/password"),
        ]
    }

    /// Lines that the new text has and the old one has not, and the other way round.
    fn difference<'a>(old: &'a str, new: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
        let only = |these: &'a str, those: &str| {
            let those: Vec<&str> = those.lines().collect();
            these.lines().filter(|line| !those.contains(line)).collect()
        };
        (only(new, old), only(old, new))
    }

    #[test]
    fn a_key_of_the_annotated_file_is_set_where_it_is_explained_and_no_other_line_changes() {
        let addresses = ["127.0.0.1:25", "192.168.1.10:25"].map(str::to_owned).to_vec();
        let addresses =
            Change::Set { section: "listener", key: "addresses", to: Setting::List(addresses) };
        let changes = [&account()[..], &[addresses, Change::text("identity", "admin", "a@b.org")]];
        let new = apply(ANNOTATED, &changes.concat()).unwrap();
        let (added, gone) = difference(ANNOTATED, &new);
        assert_eq!(
            added,
            [
                "username = \"me@gmail.com\"",
                "password_file = \"/etc/pillarbox/password\"",
                "addresses = [\"127.0.0.1:25\", \"192.168.1.10:25\"]",
                "admin = \"a@b.org\""
            ]
        );
        assert_eq!(gone.len(), 4);
        assert!(gone.iter().all(|line| line.starts_with('#')), "{gone:?}");
    }

    #[test]
    fn comments_spaces_and_line_ends_of_a_file_stay_whatever_its_form() {
        for old in [
            "# mine\n[upstream] # there\n  # about it\n  username = \"old@gmail.com\" # remark\n\n# end\n",
            "# mine\r\n[upstream]\r\n# about it\r\nusername = \"old@gmail.com\"\r\n# end\r\n",
            "upstream = { username = \"old@gmail.com\" } # mine\n# end\n",
            "upstream.username = \"old@gmail.com\" # mine\n# end\n",
        ] {
            let new = apply(old, &account()).unwrap();
            let written = Written::read(&new).unwrap();
            let [username, file] =
                ["username", "password_file"].map(|key| written.text("upstream", key).unwrap());
            assert_eq!([username.as_str(), &file], ["me@gmail.com", "/etc/pillarbox/password"]);
            let comments = |text: &str| {
                text.lines()
                    .filter_map(|line| Some(line.split_once('#')?.1.trim().to_owned()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(comments(old), comments(&new), "{new}");
        }
    }

    #[test]
    fn what_is_taken_out_stays_as_a_comment_but_for_its_secret() {
        let old = "[upstream]\n# why\npassword = \"\"\"\ngeheim\n\"\"\" # remark\n# the other\npassword_command = [\n  \
                   \"pass\",\n]\nport = 465\n";
        let remove =
            ["password", "password_command"].map(|key| Change::Remove { section: "upstream", key });
        let new = apply(old, &remove).unwrap();
        let expected = "[upstream]\n# why\n#password = \"\"\n# the other\n#password_command = [\n#  \"pass\",\n#]\nport = 465\n";
        assert_eq!(new, expected);
        assert_eq!(apply(&new, &remove).unwrap(), new);
    }

    #[test]
    fn a_network_is_added_behind_those_that_are_there() {
        let networks = vec!["192.168.1.0/24".parse().unwrap()];
        for old in [
            "",
            ANNOTATED,
            "[listener]\n[[listener.network]]\nnetworks = [\"10.0.0.1\"]\ntrusted = true\n[log]\nlevel = \"info\"\n",
            "[listener]\nnetwork = [{ networks = [\"10.0.0.1\"], trusted = true }]\n",
        ] {
            let new = apply(old, &[Change::Trust { networks: networks.clone() }]).unwrap();
            let written = Written::read(&new).unwrap();
            assert_eq!(written.trusted().last(), networks.last(), "{new}");
            assert_eq!(written.trusted().len(), 1 + Written::read(old).unwrap().trusted().len());
            let (_, gone) = difference(old, &new);
            assert!(gone.iter().all(|line| line.starts_with("network =")), "{gone:?}");
        }
    }

    #[test]
    fn a_comment_in_a_text_of_several_lines_is_not_taken_for_a_key() {
        let old = "[upstream]\nhost = \"\"\"\n#username = \"x\"\n\"\"\"\n";
        let new = apply(old, &account()[..1]).unwrap();
        let written = Written::read(&new).unwrap();
        assert_eq!(written.text("upstream", "host").unwrap(), "#username = \"x\"\n");
        assert_eq!(written.text("upstream", "username").unwrap(), "me@gmail.com");
    }

    #[test]
    fn what_is_not_toml_is_named_by_its_line_and_never_shown() {
        let error = Written::read("[upstream]\npassword = geheim\n").unwrap_err();
        assert_eq!(error, "line 2 is not TOML");
    }
}
