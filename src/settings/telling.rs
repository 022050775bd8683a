//! The checks of `[notices]` and `[alert]`: who is told of trouble, and how often.
//!
//! Rule: nobody is told by mail unless there is an account to send it as. Must not know how a notice or an
//! alert looks.

use std::{path::PathBuf, time::Duration};

use super::{
    raw::{Alert, Notices, Told},
    report::{Key, Report, set},
    value::{Command, Parsed, Password},
};
use crate::{
    admin::alert::{self, webhook},
    delivery::oauth::Endpoint,
    notices,
    smtp::address::Address,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn check_notices(
    raw: &Notices,
    hostname: &str,
    account: Option<&Address>,
    admin: Option<&Address>,
    report: &mut Report<'_>,
) -> notices::Options {
    let mut options = notices::Options::new(hostname.to_owned());
    let per_hour = Key { section: "notices", key: "per_hour", default: options.per_hour, range: 1..=60 };
    options.per_hour = report.whole(per_hour, raw.per_hour);
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
    let oldest = Key { section: "alert", key: "oldest_message", default: 6 * HOUR, range: MINUTE..=90 * DAY };
    let repeat = Key { section: "alert", key: "repeat", default: DAY, range: 10 * MINUTE..=30 * DAY };
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
