//! A relay.toml in the making: what was carried over, from which line, and what was not, and why.
//!
//! Rule: holds no password, so that none can be printed. Pure. Must not know the programs.

use std::fmt::Write as _;

use crate::{
    settings,
    smtp::{address::Address, host_name::is_host_name},
    text,
};

/// Gmail's host.
const GMAIL: &str = "smtp.gmail.com";
/// Characters of the name of a setting; the longest of Postfix has 54.
const NAME_LENGTH_MAX: usize = 64;
/// Why something is left that nobody here knows.
const UNKNOWN: &str = "not known to migrate; docs/migration.md has what there is instead";
/// Where the password goes unless the old program had a command for it.
const PASSWORD_FILE: &str = "/etc/pillarbox/password";

/// How the old program protected the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Protection {
    /// Not at all.
    #[default]
    None,
    /// STARTTLS.
    Starttls,
    /// From the first octet.
    Implicit,
}

/// Where the old program has the password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Password {
    /// Nowhere.
    #[default]
    None,
    /// In a file, at this place ("line 3 of /etc/msmtprc").
    At(String),
    /// A command of the shell prints it.
    Command(String),
}

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct ConfigOutput {
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) protection: Protection,
    pub(super) username: Option<String>,
    pub(super) password: Password,
    pub(super) ca_file: Option<String>,
    pub(super) ehlo_name: Option<String>,
    /// Who gets mail for root.
    pub(super) admin: Option<String>,
    /// What a sender without a domain gets.
    pub(super) domain: Option<String>,
    pub(super) aliases_file: Option<String>,
    /// In the words of relay.toml, such as `5d`.
    pub(super) lifetime: Option<String>,
    pub(super) max_message_bytes: Option<u64>,
    /// What has no counterpart, and why.
    left: Vec<String>,
}

impl ConfigOutput {
    /// A setting that is not carried over, and why, by the program's table. A name that the table has not is told
    /// only if it looks like the name of a setting: a line that lacks its separator is all name, and may be a password.
    pub(super) fn leave(&mut self, table: &[(&str, &str)], name: &str, line: usize) {
        let row = table.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        match row {
            Some((_, why)) => self.left.push(format!("{name} (line {line}): {why}")),
            None if is_name(name) => self.left.push(format!("{name} (line {line}): {UNKNOWN}")),
            None => self.leave_line(line),
        }
    }

    /// A line of which nothing can be told.
    pub(super) fn leave_line(&mut self, line: usize) {
        self.left.push(format!("line {line}: {UNKNOWN}"));
    }

    /// The same for what stands in no line.
    pub(super) fn tell(&mut self, words: &str) {
        self.left.push(one_line(words));
    }

    /// Takes out what is not what its key wants: where a host or a path is expected, a login may stand.
    fn check_values(&mut self) -> Result<(), String> {
        if self.host.as_deref().is_some_and(|host| !is_host(host)) {
            return Err("what it has as the server is not the name of a host".to_owned());
        }
        if let Some(user) = &mut self.username {
            let alone = user_alone(user).to_owned();
            let more = alone.len() < user.len();
            *user = alone;
            if more {
                self.tell("what stands behind the user's name: it may be a password");
            }
        }
        self.username.take_if(|user| user.is_empty());
        for (value, what) in [
            (&mut self.ca_file, "the file of trust roots"),
            (&mut self.aliases_file, "the aliases"),
        ] {
            if value.as_deref().is_some_and(|path| !is_path(path)) {
                *value = None;
                self.left.push(format!("{what}: what stands there is not the name of a file"));
            }
        }
        let is_address =
            |text: &str| text.parse::<Address>().is_ok_and(|one| one.domain().is_some());
        if self.admin.as_deref().is_some_and(|admin| !is_address(admin)) {
            self.admin = None;
            self.tell("who gets mail for root: what stands there is not one address");
        }
        let is_time =
            |text: &str| text.len() < 16 && text.bytes().all(|octet| octet.is_ascii_alphanumeric());
        self.lifetime.take_if(|lifetime| !is_time(lifetime));
        Ok(())
    }

    /// The file; or why there can be none.
    pub(super) fn relay_toml(mut self, source: &str) -> Result<String, String> {
        self.check_values()?;
        let mut text = format!(
            "# Made by pillarbox migrate from {}. Look through it, then try it:\n\
             #   pillarbox --config FILE check\n\n[upstream]\n",
            one_line(source)
        );
        self.upstream(&mut text);
        let identity = [("admin", self.admin.take()), ("domain", self.domain.take())];
        let aliases = self.aliases_file.take();
        if let Some(file) = aliases.as_ref().filter(|_| !has_key("identity", "aliases_file")) {
            self.tell(&format!(
                "the aliases in {file}: mail for local names goes to identity.admin"
            ));
        }
        let aliases = ("aliases_file", aliases.filter(|_| has_key("identity", "aliases_file")));
        section(&mut text, "identity", identity.into_iter().chain([aliases]));
        section(&mut text, "queue", [("lifetime", self.lifetime.take())]);
        if let Some(octets) = self.max_message_bytes {
            let _written = write!(text, "\n[listener]\nmax_message_bytes = {octets}\n");
        }
        if !self.left.is_empty() {
            text += "\n# Not carried over:\n";
        }
        for line in &self.left {
            let _written = writeln!(text, "#   {line}");
        }
        Ok(text)
    }

    fn upstream(&mut self, text: &mut String) {
        let mut key = |name: &str, value: &str| {
            let _written = writeln!(text, "{name} = {value}");
        };
        let host = self.host.take().unwrap_or_default();
        key("host", &quoted(&host));
        let port = self.port.unwrap_or(match self.protection {
            Protection::Implicit => 465,
            Protection::Starttls | Protection::None => 587,
        });
        let is_here = ["localhost", "127.0.0.1", "::1"].contains(&host.as_str());
        let (tls, remark) = match self.protection {
            Protection::Implicit => ("implicit", None),
            Protection::Starttls => ("starttls", None),
            Protection::None if is_here && self.username.is_none() => ("off", None),
            Protection::None => (
                "starttls",
                Some("the connection was not protected before; now it always is, or there is none"),
            ),
        };
        key("port", &port.to_string());
        key("tls", &quoted(tls));
        match self.username.take() {
            None => key("auth", &quoted("none")),
            Some(name) if host == GMAIL && !name.contains('@') => {
                key("username", &quoted(&(name + "@gmail.com")))
            }
            Some(name) => key("username", &quoted(&name)),
        }
        let mut place = None;
        match std::mem::take(&mut self.password) {
            Password::None => {}
            Password::Command(command) => {
                key("password_command", &format!("[\"sh\", \"-c\", {}]", quoted(&command)))
            }
            Password::At(found) => {
                key("password_file", &quoted(PASSWORD_FILE));
                place = Some(found);
            }
        }
        if let Some(file) = self.ca_file.take() {
            key("ca_file", &quoted(&file));
        }
        if let Some(name) = self.ehlo_name.take() {
            key("ehlo_name", &quoted(&name));
        }
        remark.into_iter().for_each(|remark| self.tell(remark));
        if let Some(place) = place {
            self.tell(&format!(
                "the password, which is in {place}: put it on the first line of {PASSWORD_FILE} with \
                 install -m 0600 /dev/stdin {PASSWORD_FILE}; Gmail wants an app password"
            ));
        }
    }
}

fn has_key(section: &str, key: &str) -> bool {
    settings::keys().contains(&(section, key))
}

/// A section with those keys that have a value.
fn section(
    text: &mut String,
    name: &str,
    keys: impl IntoIterator<Item = (&'static str, Option<String>)>,
) {
    let keys: Vec<_> = keys.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    if !keys.is_empty() {
        *text += &format!("\n[{name}]\n");
    }
    for (key, value) in keys {
        *text += &format!("{key} = {}\n", quoted(&value));
    }
}

/// A basic string of TOML.
fn quoted(value: &str) -> String {
    let escaped =
        value.chars().filter(|character| !text::is_deceptive(*character)).flat_map(|character| {
            let escape = matches!(character, '"' | '\\').then_some('\\');
            escape.into_iter().chain([character])
        });
    format!("\"{}\"", escaped.collect::<String>())
}

fn one_line(text: &str) -> String {
    text::printable(text).into_owned()
}

/// A name with a dot that is not an address: what relay.toml takes for the name of a host.
pub(super) fn host_name(text: &str) -> Option<String> {
    Some(text.trim())
        .filter(|text| text.contains('.') && is_host_name(text))
        .filter(|text| text.chars().any(|letter| letter.is_ascii_alphabetic()))
        .map(str::to_owned)
}

/// The lines of a file that say something, with their numbers.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(place, line)| (place + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// `yes`, `on`, `true`, in any case.
pub(super) fn is_on(value: &str) -> bool {
    ["yes", "on", "true"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Whether the text is made like the name of a setting.
pub(super) fn is_name(text: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && text.chars().all(letter)
        && text.len() <= NAME_LENGTH_MAX
}

/// Whether the text is the name of a file, and cannot be a login.
pub(super) fn is_path(text: &str) -> bool {
    let letter = |letter: char| letter.is_alphanumeric() || "/._-+~ ".contains(letter);
    !text.is_empty()
        && text.chars().all(letter)
        && (text.contains(['/', '.']) || text == "sasl_passwd")
}

/// A user's name or address, without what may stand behind it: `me@gmail.com:secret`.
fn user_alone(text: &str) -> &str {
    let ends =
        |letter: char| letter.is_whitespace() || letter.is_control() || ":|,;\"'".contains(letter);
    text.split(ends).next().unwrap_or_default()
}

/// A host's name or address.
fn is_host(text: &str) -> bool {
    is_host_name(text) || text.parse::<std::net::IpAddr>().is_ok()
}
