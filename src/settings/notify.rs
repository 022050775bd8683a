//! `[notices]`, `[alert]` and `[log]`: who is told of trouble, how, and how often.
//!
//! Rule: nobody is told by mail unless there is an account to send it as. Must not know how a notice or an
//! alert looks.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{
    report::{Report, in_range},
    value::{Text, choose, command, path, secret, text, whole},
};
use crate::{
    admin::alert::{self, webhook},
    delivery::oauth::Endpoint,
    notices,
    secret::Secret,
    smtp::address::Address,
    telemetry,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// `[notices]`: mail about mail that could not be relayed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Notices {
    #[serde(deserialize_with = "text")]
    to: Told,
    #[serde(deserialize_with = "whole")]
    per_hour: i64,
    #[serde(deserialize_with = "text")]
    delay_after: Option<Duration>,
}

impl Default for Notices {
    fn default() -> Self {
        let usual = notices::Options::new(String::new());
        Self { to: Told::Admin, per_hour: usual.per_hour.into(), delay_after: usual.delay_after }
    }
}

/// Who gets notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nobody,
    Admin,
    AdminAndSender,
}

impl Text for Told {
    const EXPECTED: &'static str = "\"admin\", \"admin-and-sender\" or \"nobody\"";

    fn read(text: &str) -> Result<Self, String> {
        choose(
            text,
            &[
                ("admin", Self::Admin),
                ("admin-and-sender", Self::AdminAndSender),
                ("nobody", Self::Nobody),
            ],
        )
    }
}

impl Notices {
    const SECTION: &str = "notices";

    /// What the notifier is told; the day's limit is not known here.
    pub(super) fn check(
        &self,
        hostname: &str,
        account: Option<&Address>,
        admin: Option<&Address>,
        report: &mut Report<'_>,
    ) -> notices::Options {
        let by_mail = self.to != Told::Nobody;
        let per_hour = in_range!(report.whole, Self::SECTION, self.per_hour, 1..=60);
        let default = Self::default().delay_after;
        let delay_after = self.delay_after.map(|after| {
            let range = 10 * MINUTE..=90 * DAY;
            report.within(Self::SECTION, "delay_after", after, default.unwrap_or(after), range)
        });
        notices::Options {
            from: account.or(admin).filter(|_| by_mail).cloned(),
            admin: admin.filter(|_| by_mail).cloned(),
            senders: self.to == Told::AdminAndSender,
            per_hour,
            delay_after,
            ..notices::Options::new(hostname.to_owned())
        }
    }
}

/// `[alert]`: who is told without mail.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Alert {
    #[serde(deserialize_with = "command")]
    command: Vec<String>,
    #[serde(deserialize_with = "secret")]
    webhook: Option<Secret>,
    #[serde(deserialize_with = "path")]
    webhook_file: Option<PathBuf>,
    #[serde(deserialize_with = "text")]
    oldest_message: Duration,
    #[serde(deserialize_with = "text")]
    repeat: Duration,
}

impl Default for Alert {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            webhook: None,
            webhook_file: None,
            oldest_message: 6 * HOUR,
            repeat: DAY,
        }
    }
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
    ) -> alert::Options {
        let oldest = MINUTE..=90 * DAY;
        let repeat = 10 * MINUTE..=30 * DAY;
        alert::Options {
            command: self.command.clone(),
            webhook: self.check_webhook(secret_directories, report),
            ca_file,
            oldest_message: in_range!(report.within, Self::SECTION, self.oldest_message, oldest),
            repeat: in_range!(report.within, Self::SECTION, self.repeat, repeat),
            hostname: hostname.to_owned(),
        }
    }

    fn check_webhook(
        &self,
        secret_directories: &[PathBuf],
        report: &mut Report<'_>,
    ) -> Option<webhook::Address> {
        let file = self.webhook_file.as_deref().map(|path: &Path| {
            let path = report.path(Self::SECTION, "webhook_file", path);
            let mounted = secret_directories.iter().any(|directory| path.starts_with(directory));
            webhook::Address::File { path, mounted }
        });
        let Some(written) = &self.webhook else { return file };
        if file.is_some() {
            let what = "the address is given twice, here and as webhook_file";
            report.add(Self::SECTION, "webhook", what, "Keep the file.");
        }
        match Endpoint::new(written.expose().trim()) {
            Ok(endpoint) => Some(webhook::Address::Written(endpoint)),
            Err(what) => {
                let remedy = "Write for example \"https://alerts.example.org/hook\".";
                report.add(Self::SECTION, "webhook", what, remedy);
                None
            }
        }
    }
}

/// `[log]`: what is printed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    #[serde(deserialize_with = "text")]
    pub(super) output: telemetry::Output,
    #[serde(deserialize_with = "text")]
    format: telemetry::Format,
    #[serde(deserialize_with = "text")]
    level: tracing::Level,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            output: telemetry::Output::Stderr,
            format: telemetry::Format::Auto,
            level: tracing::Level::INFO,
        }
    }
}

impl Log {
    /// How the log is printed.
    pub(super) fn options(&self) -> telemetry::Options {
        telemetry::Options { format: self.format, level: self.level }
    }
}
