//! `[notices]`, `[alert]`, `[doctor]` and `[log]`: who is told of trouble, how, and how often.
//!
//! Rule: nobody is told by mail unless there is an account to send it as. Must not know how a notice or an
//! alert looks.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    report::{Report, in_range},
    value::{Words, command, path, secret, section, switch, text, whole},
};
use crate::{
    admin::alert::{self, outputs, watch},
    delivery::oauth::Endpoint,
    notices,
    secret::Secret,
    smtp::address::Address,
    telemetry,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

section! {
    /// `[notices]`: mail about mail that could not be relayed.
    pub(super) struct Notices {
        to: Told = Told::Admin, "text";
        per_hour: i64 = usual().per_hour.into(), "whole";
        delay_after: Option<Duration> = usual().delay_after, "text";
    }
}

/// The notifier's own defaults.
fn usual() -> notices::Options {
    notices::Options::new(String::new())
}

/// Who gets notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nobody,
    Admin,
    AdminAndSender,
}

impl Words for Told {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("admin", Self::Admin),
        ("admin-and-sender", Self::AdminAndSender),
        ("nobody", Self::Nobody),
    ];
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

section! {
    /// `[alert]`: who is told without mail.
    pub(super) struct Alert {
        command: Vec<String> = Vec::new(), "command";
        webhook: Option<Secret> = None, "secret";
        webhook_file: Option<PathBuf> = None, "path";
        format: alert::format::Format = alert::format::Format::Json, "text";
        oldest_message: Duration = 6 * HOUR, "text";
        repeat: Duration = DAY, "text";
    }
}

impl Words for alert::format::Format {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("json", Self::Json),
        ("ntfy", Self::Ntfy),
        ("gotify", Self::Gotify),
        ("slack", Self::Slack),
        ("discord", Self::Discord),
    ];
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
            format: self.format,
            ca_file,
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

    fn check_webhook(
        &self,
        secret_directories: &[PathBuf],
        report: &mut Report<'_>,
    ) -> Option<outputs::Address> {
        let file = self.webhook_file.as_deref().map(|path: &Path| {
            let path = report.path(Self::SECTION, "webhook_file", path);
            let mounted = secret_directories.iter().any(|directory| path.starts_with(directory));
            outputs::Address::File { path, mounted }
        });
        let Some(written) = &self.webhook else {
            if file.is_none() && self.format != alert::format::Format::Json {
                let what = "there is no webhook that it could be the form of";
                report.add(Self::SECTION, "format", what, "Set webhook_file, or remove this line.");
            }
            return file;
        };
        if file.is_some() {
            let what = "the address is given twice, here and as webhook_file";
            report.add(Self::SECTION, "webhook", what, "Keep the file.");
        }
        let endpoint = Endpoint::new(written.expose().trim())
            .and_then(|endpoint| self.format.fits(&endpoint).map(|()| endpoint));
        match endpoint {
            Ok(endpoint) => Some(outputs::Address::Written(endpoint)),
            Err(what) => {
                let remedy = "Write for example \"https://alerts.example.org/hook\".";
                report.add(Self::SECTION, "webhook", what, remedy);
                None
            }
        }
    }
}

section! {
    /// `[doctor]`: the relay's own look at itself.
    pub(super) struct Doctor {
        pub(super) enabled: bool = true, "switch";
    }
}

section! {
    /// `[log]`: what is printed.
    pub(super) struct Log {
        pub(super) output: telemetry::Output = telemetry::Output::Stderr, "text";
        format: telemetry::Format = telemetry::Format::Auto, "text";
        level: tracing::Level = tracing::Level::INFO, "text";
    }
}

impl Log {
    /// How the log is printed.
    pub(super) fn options(&self) -> telemetry::Options {
        telemetry::Options { format: self.format, level: self.level }
    }
}
