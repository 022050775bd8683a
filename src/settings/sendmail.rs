//! The checks of `[sendmail]`: where programs of this host hand mail over.
//!
//! Rule: the defaults are the places where `pillarbox sendmail` looks without a configuration; "off" is how to do
//! without. Whether a place can be used is found out by the daemon, which starts all the same.
//! Must not know what is spoken there.

use std::path::PathBuf;

use super::{raw::Sendmail, report::Report, storage::check_socket_path};
use crate::listener::options::Local;

const SECTION: &str = "sendmail";
/// Where the local socket is when nothing else is configured.
pub const DEFAULT_SUBMIT_SOCKET: &str = "/run/pillarbox/submit.sock";
/// Where mail is left while the daemon does not answer, when nothing else is configured.
pub const DEFAULT_DROP_DIRECTORY: &str = "/var/spool/pillarbox";

pub(super) fn check(raw: &Sendmail, report: &mut Report<'_>) -> Local {
    let socket = place("socket", raw.socket.as_ref(), DEFAULT_SUBMIT_SOCKET, report);
    if let Some(path) = &socket {
        check_socket_path(SECTION, path, report);
    }
    Local {
        socket,
        drop_directory: place(
            "drop_directory",
            raw.drop_directory.as_ref(),
            DEFAULT_DROP_DIRECTORY,
            report,
        ),
    }
}

fn place(key: &str, value: Option<&String>, default: &str, report: &Report<'_>) -> Option<PathBuf> {
    match value.map(|text| text.trim()) {
        None => Some(default.into()),
        Some("" | "off") => None,
        Some(path) => Some(report.path(SECTION, key, path)),
    }
}
