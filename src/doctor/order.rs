//! The order of the checks, with their stable names, and the first of them: the configuration.
//!
//! Rule: a name is never changed, for scripts and alerts know it; docs/operating.md says what each looks at.

use std::sync::Arc;

use crate::{
    addressed::MAIN,
    findings::Outcome,
    settings::{
        Settings, SettingsError,
        problem::{Place, Problem},
    },
};

/// Every check, in the order in which they are shown: this machine first, then the daemon, then the upstream.
pub(crate) const NAMES: [&str; 34] = [
    "configuration",
    "secret-files",
    "users",
    "store-directory",
    "store-volume",
    "store-space",
    "set-aside-files",
    "listening-addresses",
    "gateway-trust",
    "listener-certificate",
    "local-socket",
    "drop-directory",
    "sendmail-program",
    "aliases",
    "sender",
    "provider",
    "clock",
    "unit",
    "daemon",
    "versions",
    "account",
    "budget",
    "oldest-message",
    "dead-letters",
    "unknown-replies",
    "dns",
    "upstream-ports",
    "upstream-tls",
    "upstream-greeting",
    "login",
    FURTHER_ACCOUNTS,
    "tokens",
    FLEET,
    "alert-path",
];

/// The way of each account besides the main one, where there are any.
pub(crate) const FURTHER_ACCOUNTS: &str = "further-accounts";

/// The database that several hosts share, where there is one.
pub(crate) const FLEET: &str = "fleet";

/// Those on the way to the upstream, each of which needs the one before it.
pub(super) const WAY: [&str; 5] =
    ["dns", "upstream-ports", "upstream-tls", "upstream-greeting", "login"];
/// Those that need no configuration, because the machine or the daemon alone says it.
const WITHOUT_SETTINGS: [&str; 10] = [
    "configuration",
    "sendmail-program",
    "clock",
    "unit",
    "daemon",
    "versions",
    "account",
    "budget",
    "dead-letters",
    "unknown-replies",
];

/// Those that only the running daemon can answer.
const OF_DAEMON: [&str; 7] = [
    "daemon",
    "versions",
    "account",
    "budget",
    "oldest-message",
    "dead-letters",
    "unknown-replies",
];

/// What other commands say when these checks would find out more.
#[must_use]
pub(crate) fn advice(checks: &[&str]) -> String {
    let checks = checks.iter().map(|name| format!(" --check {name}"));
    format!("Run: pillarbox doctor{}", checks.collect::<String>())
}

/// What finds out more of the account with this name in this condition.
#[must_use]
pub(crate) fn advice_for_account(condition: &str, account: &str) -> String {
    match condition {
        "backing-off" | "paused-configuration" if account != MAIN => advice(&[FURTHER_ACCOUNTS]),
        "backing-off" => advice(&["dns", "upstream-ports", "upstream-greeting"]),
        "paused-configuration" => advice(&["upstream-tls", "upstream-greeting"]),
        "paused-quota" => advice(&["budget"]),
        // A login is not tried while the account is paused.
        _ => advice(&["account", "secret-files", "tokens"]),
    }
}

/// Whether a check can say nothing without a daemon.
#[must_use]
pub(crate) fn needs_daemon(name: &str) -> bool {
    OF_DAEMON.contains(&name)
}

/// Whether a check can say nothing without a configuration.
pub(super) fn needs_settings(name: &str) -> bool {
    !WITHOUT_SETTINGS.contains(&name)
}

/// The configuration.
pub(super) fn configuration(settings: &Result<Arc<Settings>, Arc<SettingsError>>) -> Outcome {
    let told = |error: &SettingsError| match error {
        SettingsError::Invalid(problems) => {
            let first = problems.first();
            let more = problems.len().saturating_sub(1);
            let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            let seen = first.map(|problem| format!("{}{}{more}", place(problem), problem.what));
            let remedy = first.and_then(|problem| problem.remedy.clone());
            (seen.unwrap_or_default(), remedy.unwrap_or_else(|| "Run: pillarbox check".into()))
        }
        SettingsError::Unreadable { path, reason, remedy } => {
            (format!("{} cannot be read: {reason}", path.display()), remedy.clone())
        }
        SettingsError::Untrusted { path, reason } => (
            format!("{} does not count: {reason}", path.display()),
            "Name it with --config, or make sure that nobody else may write it".into(),
        ),
        SettingsError::NoAccount(words) => {
            let (what, remedy) = words.split_once("\n\n").unwrap_or((words, ""));
            (what.to_owned(), remedy.to_owned())
        }
    };
    let error = match settings {
        Err(error) => told(error),
        Ok(settings) => match settings.require_account() {
            Ok(()) => return Outcome::pass(format!("complete: {}", settings.source)),
            Err(error) => told(&error),
        },
    };
    Outcome::fail(error.0, error.1)
}

/// Where it is, on one line and without an excerpt.
fn place(problem: &Problem) -> String {
    match &problem.place {
        Place::File { name, line, .. } => format!("{name}, line {line}: "),
        Place::Variable(name) | Place::Unwritten(name) => format!("{name}: "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_one_name_and_every_list_names_checks() {
        let mut names = NAMES.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), NAMES.len());
        for name in WAY.iter().chain(&WITHOUT_SETTINGS).chain(&OF_DAEMON) {
            assert!(NAMES.contains(name), "{name}");
        }
    }

    #[test]
    fn advice_names_checks_that_there_are() {
        for condition in ["backing-off", "paused-configuration", "paused-quota", "paused-login"] {
            let advice = advice_for_account(condition, MAIN);
            let names: Vec<&str> = advice.split(" --check ").skip(1).collect();
            assert!(!names.is_empty() && names.iter().all(|name| NAMES.contains(name)), "{advice}");
        }
    }
}
