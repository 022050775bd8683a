//! The checks of `[notices]`, `[alert]` and `[log]`: who is told of trouble, and how often.
//!
//! Rule: nobody is told by mail unless there is an account to send it as. Must not know how a notice or an
//! alert looks.

use std::{path::PathBuf, time::Duration};

use super::{
    raw::{Alert, Log, Notices, Told},
    report::{Key, Report, set},
    value::{Command, Parsed, Password, Text},
};
use crate::{
    admin::alert::{self, webhook},
    delivery::oauth::Endpoint,
    notices,
    smtp::address::Address,
    telemetry,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// `notices.delay_after`: how long until it is told that mail waits; `None` for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delay(pub(super) Option<Duration>);

impl Text for Delay {
    const EXPECTED: &'static str = "a duration in quotes such as \"4h\", or \"never\"";

    fn read(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self(None));
        }
        let after = Duration::read(text).map_err(|words| format!("{words}, or \"never\""))?;
        Ok(Self(Some(after)))
    }
}

/// How the log is printed.
pub(super) fn log(raw: &Log) -> telemetry::Options {
    telemetry::Options {
        format: raw.format.as_ref().map_or(telemetry::Format::Auto, |Parsed(format)| *format),
        level: raw.level.as_ref().map_or(tracing::Level::INFO, |Parsed(level)| *level),
    }
}

/// Where the log goes.
pub(super) fn log_output(raw: &Log) -> telemetry::Output {
    raw.output.as_ref().map_or(telemetry::Output::Stderr, |Parsed(output)| *output)
}

pub(super) fn check_notices(
    raw: &Notices,
    hostname: &str,
    account: Option<&Address>,
    admin: Option<&Address>,
    report: &mut Report<'_>,
) -> notices::Options {
    let mut options = notices::Options::new(hostname.to_owned());
    let per_hour =
        Key { section: "notices", key: "per_hour", default: options.per_hour, range: 1..=60 };
    options.per_hour = report.whole(per_hour, raw.per_hour);
    if let Some(Parsed(Delay(after))) = raw.delay_after {
        let key = Key {
            section: "notices",
            key: "delay_after",
            default: 4 * HOUR,
            range: 10 * MINUTE..=90 * DAY,
        };
        options.delay_after = after.map(|after| report.duration(key, Some(&Parsed(after))));
    }
    let to = raw.to.as_ref().map_or(Told::Admin, |Parsed(to)| *to);
    if to != Told::Nobody {
        options.from = account.or(admin).cloned();
        options.admin = admin.cloned();
    }
    options.senders = to == Told::AdminAndSender;
    options
}

/// `ca_file` is the upstream's: one more root for every connection that leaves this host.
pub(super) fn check_alert(
    raw: &Alert,
    hostname: &str,
    ca_file: Option<PathBuf>,
    secret_directories: &[PathBuf],
    report: &mut Report<'_>,
) -> alert::Options {
    let oldest = Key {
        section: "alert",
        key: "oldest_message",
        default: 6 * HOUR,
        range: MINUTE..=90 * DAY,
    };
    let repeat =
        Key { section: "alert", key: "repeat", default: DAY, range: 10 * MINUTE..=30 * DAY };
    alert::Options {
        command: raw.command.as_ref().map_or_else(Vec::new, |Command(words)| words.clone()),
        webhook: check_webhook(raw, secret_directories, report),
        ca_file,
        oldest_message: report.duration(oldest, raw.oldest_message.as_ref()),
        repeat: report.duration(repeat, raw.repeat.as_ref()),
        hostname: hostname.to_owned(),
    }
}

fn check_webhook(
    raw: &Alert,
    secret_directories: &[PathBuf],
    report: &mut Report<'_>,
) -> Option<webhook::Address> {
    let written = raw.webhook.as_ref().and_then(|Password(address)| address.as_ref());
    let file = set(raw.webhook_file.as_ref()).map(|path| {
        let path = report.path("alert", "webhook_file", path);
        let mounted = secret_directories.iter().any(|directory| path.starts_with(directory));
        webhook::Address::File { path, mounted }
    });
    let Some(written) = written else { return file };
    if file.is_some() {
        let what = "the address is given twice, here and as webhook_file";
        report.add("alert", "webhook", what, "Keep the file.");
    }
    match Endpoint::new(written.expose().trim()) {
        Ok(endpoint) => Some(webhook::Address::Written(endpoint)),
        Err(what) => {
            let remedy = "Write for example \"https://alerts.example.org/hook\".";
            report.add("alert", "webhook", what, remedy);
            None
        }
    }
}
