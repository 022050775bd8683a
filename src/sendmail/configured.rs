//! The configuration of a call: the few keys of relay.toml that it needs, read cheaply, and variables of the process.
//!
//! Rule: mail is never lost over a configuration: what is missing or faulty leaves the defaults and a line on standard
//! error. The file in the current directory is never looked at, and variables count only while the program has no more
//! rights than its caller: whoever owned them would choose where mail goes. No key is read that holds a secret.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use rustix::process::{getegid, geteuid, getgid, getuid};
use toml::de::{DeTable, DeValue};

use crate::{smtp::server, text::as_utf8, trust::distrust};

/// The file, when nobody names another.
pub(crate) const FILE: &str = "/etc/pillarbox/relay.toml";
/// Octets of it that are read, as many as the daemon takes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Recipients of one transaction, when nothing is configured (RFC 5321 section 4.5.3.1.8).
const RECIPIENTS: usize = 100;

/// What is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Configured {
    /// `[sendmail] socket`.
    pub(crate) socket: Option<PathBuf>,
    /// `[sendmail] drop_directory`.
    pub(crate) drop_directory: Option<PathBuf>,
    /// `[listener] max_message_bytes`.
    pub(crate) max_message_bytes: u64,
    /// `[listener] max_recipients`.
    pub(crate) max_recipients: usize,
    /// `[listener] hostname`, when it is set.
    pub(crate) hostname: Option<String>,
}

/// Where the values came from, and what was wrong with that.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    values: Vec<(String, String)>,
    /// For standard error.
    pub(crate) warning: Option<String>,
}

impl Source {
    /// Reads the file that `named` or the environment name, or else the usual one.
    #[must_use]
    pub(crate) fn read(named: Option<&Path>, environment: &Environment) -> Self {
        let path = named.or_else(|| environment.get("PILLARBOX_CONFIG").map(Path::new));
        let mut source = Self::of_file(path.unwrap_or_else(|| Path::new(FILE)), path.is_some());
        for (section, key) in KEYS {
            let variable = format!("PILLARBOX__{}__{}", section.to_uppercase(), key.to_uppercase());
            if let Some(value) = environment.get(&variable) {
                source.values.insert(0, (format!("{section}.{key}"), value.to_owned()));
            }
        }
        source
    }

    fn of_file(path: &Path, was_named: bool) -> Self {
        if !was_named
            && path.symlink_metadata().is_ok()
            && let Some(reason) = distrust(path, true)
        {
            let path = path.display();
            let warning = format!("{path} does not count, so defaults are used: {reason}");
            return Self { values: Vec::new(), warning: Some(warning) };
        }
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
        let unreadable = |error: &dyn std::fmt::Display| {
            format!("{} cannot be read, so defaults are used: {error}", path.display())
        };
        let none = |warning| Self { values: Vec::new(), warning };
        match (read, String::from_utf8(as_utf8(&bytes).into_owned())) {
            // Most likely there is no file, or it is not for everybody; the defaults are the usual case.
            (Err(error), _) => none(was_named.then(|| unreadable(&error))),
            (Ok(_), Err(error)) => none(Some(unreadable(&error.utf8_error()))),
            (Ok(_), Ok(text)) => Self::of_text(&text, path),
        }
    }

    fn of_text(text: &str, path: &Path) -> Self {
        // The recoverable parse finds keys beside a mistake.
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut values = Vec::new();
        for (section, key) in KEYS {
            let entry = table.get_ref().get(*section).and_then(|content| match content.get_ref() {
                DeValue::Table(entries) => entries.get(*key),
                _ => None,
            });
            let value = match entry.map(|value| value.get_ref()) {
                Some(DeValue::String(value)) if PATHS.contains(key) => beside(path, value),
                Some(DeValue::String(value)) => value.to_string(),
                Some(DeValue::Integer(value)) => value.as_str().to_owned(),
                _ => continue,
            };
            values.push((format!("{section}.{key}"), value));
        }
        let warning = errors.first().map(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at].iter().filter(|octet| **octet == b'\n').count() + 1;
            format!(
                "{} has a mistake in line {line}, which was passed over: {}",
                path.display(),
                error.message()
            )
        });
        Self { values, warning }
    }

    /// The value of a key.
    #[must_use]
    pub(crate) fn get(&self, section: &str, key: &str) -> Option<&str> {
        let name = format!("{section}.{key}");
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The values, with defaults for what is not set or makes no sense.
    #[must_use]
    pub(crate) fn configured(&self) -> Configured {
        let number = |key: &str| self.get("listener", key).and_then(octets);
        let recipients = number("max_recipients").and_then(|count| usize::try_from(count).ok());
        Configured {
            socket: self.path("socket", DEFAULT_SOCKET),
            drop_directory: self.path("drop_directory", DEFAULT_DROP_DIRECTORY),
            max_message_bytes: number("max_message_bytes").unwrap_or(DEFAULT_MESSAGE_BYTES),
            max_recipients: recipients.filter(|count| *count > 0).unwrap_or(RECIPIENTS),
            hostname: self
                .get("listener", "hostname")
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        }
    }

    /// A path; "off" and the empty one are none.
    fn path(&self, key: &str, default: &str) -> Option<PathBuf> {
        let path = self.get("sendmail", key).unwrap_or(default);
        (!path.is_empty() && path != "off").then(|| path.into())
    }
}

/// Where the daemon shows users their own mail: beside the local socket, so that whoever can send can ask.
#[must_use]
pub(crate) fn own_mail_socket(submit: &Path) -> PathBuf {
    let mut name = submit.file_stem().unwrap_or_default().to_owned();
    name.push(OWN_MAIL);
    submit.with_file_name(name)
}

/// What the name of that socket ends in.
const OWN_MAIL: &str = "-mailq.sock";
/// `[sendmail] socket`, when it is not set; the daemon's settings have this one, too, as those below.
pub(crate) const DEFAULT_SOCKET: &str = "/run/pillarbox/submit.sock";
/// `[sendmail] drop_directory`, when it is not set.
pub(crate) const DEFAULT_DROP_DIRECTORY: &str = "/var/spool/pillarbox";
/// `[listener] max_message_bytes`, when it is not set: leaves 10,577 octets of Gmail's limit for the fields we add.
pub(crate) const DEFAULT_MESSAGE_BYTES: u64 = 35_872_000;

/// Every key that is read.
const KEYS: &[(&str, &str)] = &[
    ("sendmail", "socket"),
    ("sendmail", "drop_directory"),
    ("listener", "max_message_bytes"),
    ("listener", "max_recipients"),
    ("listener", "hostname"),
    ("identity", "aliases_file"),
    ("identity", "admin"),
    ("admin", "socket"),
];

/// Those of them that are paths.
const PATHS: &[&str] = &["socket", "drop_directory", "aliases_file"];

/// A path as the daemon reads it: a relative one is relative to the file. With a slash, so that nobody takes it for a host.
fn beside(file: &Path, value: &str) -> String {
    if value.is_empty() || value == "off" {
        return value.to_owned();
    }
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new(".")).join(value).to_string_lossy().into_owned()
}

/// A number of octets, with or without a unit, as relay.toml writes it.
fn octets(text: &str) -> Option<u64> {
    let text = text.trim().replace('_', "");
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// The session of `-bs` and of the listener have the same limits, when nothing is configured.
#[must_use]
pub(crate) fn session_options(configured: &Configured, host: &str) -> server::Options {
    server::Options {
        hostname: configured.hostname.clone().unwrap_or_else(|| host.to_owned()),
        max_message_bytes: configured.max_message_bytes,
        max_recipients: configured.max_recipients,
        // Whether somebody reads mail to root is asked of the daemon.
        local_recipients: true,
    }
}

/// The entry of the auxiliary vector that the kernel sets for a program with more rights than its caller: by setuid,
/// setgid, capabilities of the file, or a security module (getauxval(3)).
const AT_SECURE: usize = 23;
/// Octets of the vector that are read; it has some 400.
const VECTOR_BYTES_MAX: u64 = 16 * 1024;

/// Whether this process has rights that its caller has not. Then nothing counts that he could have set.
#[must_use]
pub(crate) fn has_foreign_rights() -> bool {
    let mut vector = Vec::new();
    if let Ok(file) = File::open("/proc/self/auxv") {
        // What was read before an error is as good as it is.
        drop(file.take(VECTOR_BYTES_MAX).read_to_end(&mut vector));
    }
    getuid() != geteuid() || getgid() != getegid() || is_secure(&vector)
}

/// What the auxiliary vector says: pairs of a type and a value, each a machine word.
fn is_secure(vector: &[u8]) -> bool {
    let (words, _) = vector.as_chunks::<{ size_of::<usize>() }>();
    let (pairs, _) = words.as_chunks::<2>();
    pairs.iter().any(|[kind, value]| {
        usize::from_ne_bytes(*kind) == AT_SECURE && usize::from_ne_bytes(*value) != 0
    })
}

/// Names and values.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

/// The variables that are kept besides those that begin with `PILLARBOX`.
const KEPT: [&str; 4] = ["NAME", "LOGNAME", "USER", "TMPDIR"];

impl Environment {
    /// Those of this process. A value that is not text is none.
    #[must_use]
    pub(crate) fn of_this_process() -> Self {
        if has_foreign_rights() {
            return Self::default();
        }
        let text = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self(
            text.filter(|(name, _)| name.starts_with("PILLARBOX") || KEPT.contains(&name.as_str()))
                .collect(),
        )
    }

    /// These.
    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        Self(
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    /// The value, when it says something.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, variables: &[(&str, &str)]) -> (Configured, Option<String>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.toml");
        std::fs::write(&path, text).unwrap();
        let source = Source::read(Some(&path), &Environment::of(variables));
        (source.configured(), source.warning)
    }

    #[test]
    fn the_keys_come_from_the_file_and_over_it_from_the_environment() {
        let text = "[sendmail]\nsocket = \"/a\"\ndrop_directory = \"off\"\n\
                    [listener]\nmax_message_bytes = \"2MiB\"\nmax_recipients = 5\nhostname = \"h.example\"\n";
        let (configured, warning) = read(text, &[]);
        assert_eq!((configured.socket, configured.drop_directory), (Some("/a".into()), None));
        assert_eq!((configured.max_message_bytes, configured.max_recipients), (2 << 20, 5));
        assert_eq!((configured.hostname.as_deref(), warning), (Some("h.example"), None));
        let variables = [
            ("PILLARBOX__SENDMAIL__SOCKET", "off"),
            ("PILLARBOX__SENDMAIL__DROP_DIRECTORY", "/d"),
            ("PILLARBOX__LISTENER__MAX_MESSAGE_BYTES", "1_000"),
        ];
        let (configured, _) = read(text, &variables);
        assert_eq!((configured.socket, configured.drop_directory), (None, Some("/d".into())));
        assert_eq!(configured.max_message_bytes, 1_000);
    }

    #[test]
    fn a_relative_path_is_relative_to_the_file() {
        let path = Path::new("/etc/pillarbox/relay.toml");
        let source =
            Source::of_text("[sendmail]\nsocket = \"run/s\"\ndrop_directory = \"off\"\n", path);
        let configured = source.configured();
        assert_eq!(
            (configured.socket, configured.drop_directory),
            (Some("/etc/pillarbox/run/s".into()), None)
        );
        let text = "[sendmail]\nsocket = \"s\"\ndrop_directory = \"drop\"\n";
        for (file, directory) in
            [("/etc/pillarbox/relay.toml", "/etc/pillarbox"), ("relay.toml", ".")]
        {
            let configured = Source::of_text(text, Path::new(file)).configured();
            let [socket, dropped] = ["s", "drop"].map(|name| Some(Path::new(directory).join(name)));
            assert_eq!((configured.socket, configured.drop_directory), (socket, dropped));
        }
    }

    #[test]
    fn a_faulty_file_is_told_and_what_can_be_read_of_it_counts() {
        let (configured, warning) = read("[sendmail]\nsocket = \"/a\"\nx = = 1\n", &[]);
        assert_eq!(configured.socket, Some("/a".into()));
        assert!(warning.unwrap().contains("line 3"));
        let (configured, warning) =
            read("[sendmail]\nsocket = 1\n[listener]\nmax_recipients = \"many\"\n", &[]);
        assert_eq!((configured.max_recipients, warning), (RECIPIENTS, None));
    }

    #[test]
    fn a_missing_file_leaves_the_defaults_and_is_told_only_when_it_was_named() {
        let missing = Path::new("/nonexistent/relay.toml");
        let source = Source::read(Some(missing), &Environment::default());
        assert_eq!(source.configured().socket, Some(DEFAULT_SOCKET.into()));
        assert!(source.warning.is_some());
        assert_eq!(Source::of_file(missing, false).warning, None);
    }

    #[test]
    fn the_kernel_tells_of_rights_that_the_caller_has_not() {
        let vector = |pairs: &[(usize, usize)]| -> Vec<u8> {
            pairs
                .iter()
                .flat_map(|(kind, value)| [kind.to_ne_bytes(), value.to_ne_bytes()].concat())
                .collect()
        };
        assert!(is_secure(&vector(&[(6, 4_096), (AT_SECURE, 1), (0, 0)])));
        assert!(!is_secure(&vector(&[(6, AT_SECURE), (AT_SECURE, 0), (0, 0)])));
        assert!(!is_secure(b"") && !has_foreign_rights());
    }
}
