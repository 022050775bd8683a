//! `[alert]` and `[[alert.target]]`: who is told of trouble without mail, of what, and how often.
//!
//! Rule: a target has one way, and no two have one name. Must not know how an alert looks.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    document::{TARGET, numbered},
    report::{Report, in_range},
    value::{Words, command, list, path, secret, section, shown, tables, text, word},
};
use crate::{
    admin::alert::{
        format::Format,
        outputs::{self, Way},
        watch::{self, Kind},
    },
    delivery::oauth::Endpoint,
    secret::Secret,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// Targets in all: each may have a file's worth waiting.
const TARGETS_MAX: usize = 16;
/// Characters of a name.
const NAME_MAX: usize = 32;
/// The names of what `[alert]` itself tells.
const COMMAND: &str = "command";
const WEBHOOK: &str = "webhook";

section! {
    /// `[alert]`: who is told without mail.
    pub(super) struct Alert {
        command: Vec<String> = Vec::new(), "command";
        webhook: Option<Secret> = None, "secret";
        webhook_file: Option<PathBuf> = None, "path";
        format: Format = Format::Json, "text";
        oldest_message: Duration = 6 * HOUR, "text";
        repeat: Duration = DAY, "text";
        heartbeat: Option<Secret> = None, "secret";
        heartbeat_file: Option<PathBuf> = None, "path";
        heartbeat_every: Duration = 5 * MINUTE, "text";
        /// Sections of their own, which are not counted among the keys.
        target: Vec<Target> = Vec::new(), "tables";
    }
}

section! {
    /// `[[alert.target]]`: somebody else who is told.
    pub(super) struct Target {
        name: Option<String> = None, "word";
        command: Vec<String> = Vec::new(), "command";
        webhook: Option<Secret> = None, "secret";
        webhook_file: Option<PathBuf> = None, "path";
        format: Format = Format::Json, "text";
        /// Everything.
        only: Vec<Kind> = Vec::new(), "list";
    }
}

impl Words for Format {
    const WORDS: &'static [(&'static str, Self)] = Self::WORDS;
}

impl Words for Kind {
    const WORDS: &'static [(&'static str, Self)] = Self::WORDS;
}

/// The keys of a web address.
struct Webhook<'a> {
    written: Option<&'a Secret>,
    file: Option<&'a Path>,
    format: Format,
}

impl Alert {
    const SECTION: &str = "alert";

    /// `ca_file` is the upstream's: one more root for every connection that leaves this host.
    pub(super) fn check(
        &self,
        hostname: &str,
        ca_file: Option<PathBuf>,
        secret_directories: &[PathBuf],
        report: &mut Report<'_>,
    ) -> outputs::Options {
        let oldest = MINUTE..=90 * DAY;
        let repeat = 10 * MINUTE..=30 * DAY;
        let webhook = Webhook {
            written: self.webhook.as_ref(),
            file: self.webhook_file.as_deref(),
            format: self.format,
        };
        let own = |name: &str, way| outputs::Target { name: name.into(), way, only: Vec::new() };
        let command = (!self.command.is_empty()).then(|| Way::Command(self.command.clone()));
        let webhook = webhook.check(Self::SECTION, secret_directories, report);
        let command = command.map(|way| own(COMMAND, way));
        let mut targets: Vec<_> =
            command.into_iter().chain(webhook.map(|way| own(WEBHOOK, way))).collect();
        for (index, target) in self.target.iter().enumerate() {
            let section = numbered(TARGET, index);
            if targets.len() == TARGETS_MAX {
                let what = format!("it is one too many: there can be {TARGETS_MAX} targets");
                report.add(&section, "name", what, "Remove it, or let a command tell several.");
                break;
            }
            let checked = target.check(&section, secret_directories, &targets, report);
            targets.extend(checked);
        }
        let heartbeat = self.check_heartbeat(secret_directories, report);
        outputs::Options {
            targets,
            ca_file,
            heartbeat,
            watch: watch::Options {
                oldest_message: in_range!(
                    report.within,
                    Self::SECTION,
                    self.oldest_message,
                    oldest
                ),
                repeat: in_range!(report.within, Self::SECTION, self.repeat, repeat),
                hostname: hostname.to_owned(),
            },
        }
    }
}

impl Alert {
    fn check_heartbeat(
        &self,
        secret_directories: &[PathBuf],
        report: &mut Report<'_>,
    ) -> Option<outputs::Heartbeat> {
        let range = MINUTE..=DAY;
        let every = in_range!(report.within, Self::SECTION, self.heartbeat_every, range);
        let address = Webhook {
            written: self.heartbeat.as_ref(),
            file: self.heartbeat_file.as_deref(),
            format: Format::Json,
        };
        let keys = ["heartbeat", "heartbeat_file"];
        let address = address.address(Self::SECTION, keys, secret_directories, report)?;
        Some(outputs::Heartbeat { address, every })
    }
}

impl Target {
    fn check(
        &self,
        section: &str,
        secret_directories: &[PathBuf],
        others: &[outputs::Target],
        report: &mut Report<'_>,
    ) -> Option<outputs::Target> {
        let name = self.check_name(section, others, report);
        let webhook = Webhook {
            written: self.webhook.as_ref(),
            file: self.webhook_file.as_deref(),
            format: self.format,
        };
        let has_webhook = webhook.written.is_some() || webhook.file.is_some();
        let webhook = webhook.check(section, secret_directories, report);
        let way = match (self.command.is_empty(), has_webhook) {
            (true, true) => webhook,
            (false, false) => Some(Way::Command(self.command.clone())),
            (false, true) => {
                let what = "a target has one way, and this one has a web address as well";
                report.add(section, "command", what, "Make two of it, each with a name.");
                None
            }
            (true, false) => {
                let remedy = "Set webhook_file or command.";
                report.add_lack(section, "webhook_file", "nothing says how it is told", remedy);
                None
            }
        };
        Some(outputs::Target { name: name?, way: way?, only: self.only.clone() })
    }

    fn check_name(
        &self,
        section: &str,
        others: &[outputs::Target],
        report: &mut Report<'_>,
    ) -> Option<String> {
        let Some(name) = &self.name else {
            let remedy = "Write for example name = \"phone\".";
            report.add_lack(section, "name", "the target has no name", remedy);
            return None;
        };
        if !crate::text::is_plain_name(name, NAME_MAX) {
            let what = format!(
                "{} is not a name of at most {NAME_MAX} letters (a to z), digits and -",
                shown(name)
            );
            report.add(section, "name", what, "Write for example \"phone\".");
            return None;
        }
        let taken = [COMMAND, WEBHOOK].contains(&name.as_str());
        if taken || others.iter().any(|other| other.name == *name) {
            let what = match taken {
                true => format!("{name} is the name of what [alert] itself sets"),
                false => format!("another target is called {name}"),
            };
            report.add(section, "name", what, "Choose another name.");
            return None;
        }
        Some(name.clone())
    }
}

impl Webhook<'_> {
    fn check(
        &self,
        section: &str,
        secret_directories: &[PathBuf],
        report: &mut Report<'_>,
    ) -> Option<Way> {
        if self.written.is_none() && self.file.is_none() && self.format != Format::Json {
            let what = "there is no webhook that it could be the form of";
            report.add(section, "format", what, "Set webhook_file, or remove this line.");
        }
        let keys = ["webhook", "webhook_file"];
        let address = self.address(section, keys, secret_directories, report)?;
        Some(Way::Webhook { address, format: self.format })
    }

    /// `keys` are those of the address itself and of its file.
    fn address(
        &self,
        section: &str,
        keys: [&str; 2],
        secret_directories: &[PathBuf],
        report: &mut Report<'_>,
    ) -> Option<outputs::Address> {
        let file = self.file.map(|path| {
            let path = report.path(section, keys[1], path);
            let mounted = secret_directories.iter().any(|directory| path.starts_with(directory));
            outputs::Address::File { path, mounted }
        });
        let Some(written) = self.written else { return file };
        if file.is_some() {
            let what = format!("the address is given twice, here and as {}", keys[1]);
            report.add(section, keys[0], what, "Keep the file.");
        }
        let endpoint = Endpoint::new(written.expose().trim())
            .and_then(|endpoint| self.format.fits(&endpoint).map(|()| endpoint));
        match endpoint {
            Ok(endpoint) => Some(outputs::Address::Written(endpoint)),
            Err(what) => {
                let remedy = "Write for example \"https://alerts.example.org/hook\".";
                report.add(section, keys[0], what, remedy);
                None
            }
        }
    }
}
