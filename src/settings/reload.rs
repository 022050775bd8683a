//! A changed configuration for a daemon that runs: what it can take at once, and what waits for a restart.
//!
//! Rule: the file is checked whole, as at a start, before anything of it is taken. A key that waits for a restart keeps its
//! running value, also for what follows from it, so that no half of a changed account is used with the other half.

use std::{collections::BTreeSet, path::Path};

use thiserror::Error;

use super::{Settings, SettingsError, Surroundings, check, effective, load_in, report::Report};

/// What a running daemon cannot exchange: its sockets and files, and the account with the way to it, whose state would be
/// another's. A key, or all of a section.
const AT_A_START: &[&str] = &[
    "upstream.provider",
    "upstream.host",
    "upstream.port",
    "upstream.transport",
    "upstream.tls",
    "upstream.other_port",
    "upstream.username",
    "upstream.password_file",
    "upstream.password_command",
    "upstream.password",
    "upstream.auth",
    "upstream.oauth_tenant",
    "upstream.oauth_client_file",
    "upstream.oauth_client_id",
    "upstream.oauth_client_secret_file",
    "upstream.oauth_client_secret",
    "upstream.oauth_client_certificate_file",
    "upstream.oauth_token_file",
    "upstream.service_account_file",
    "upstream.oauth_authorization_endpoint",
    "upstream.oauth_token_endpoint",
    "upstream.oauth_revocation_endpoint",
    "upstream.ca_file",
    "fleet.database",
    "fleet.host",
    "fleet.password_file",
    "fleet.password_command",
    "fleet.ca_file",
    "fleet.client_certificate",
    "fleet.client_key",
    "listener.hostname",
    "listener.addresses",
    "listener.tls_addresses",
    "listener.proxy_addresses",
    "sendmail.socket",
    "sendmail.drop_directory",
    "queue.backend",
    "queue.directory",
    "queue.uncertain",
    "admin.socket",
    "admin.http",
    "admin.page",
    "admin.page_url",
    "admin.page_tls",
    "admin.page_users_file",
    "log.output",
    "log.format",
];

/// Whether a key waits for a restart. Of a further account the same keys do as of the main one, and which ones there are.
fn waits(key: &str) -> bool {
    let of_account = key.strip_prefix("account.");
    let of_main = of_account.map(|key| format!("upstream.{key}"));
    of_account == Some("name") || AT_A_START.contains(&of_main.as_deref().unwrap_or(key))
}

/// Why nothing of a configuration can be taken.
#[derive(Debug, Error)]
pub(crate) enum ReloadError {
    /// It would not start a daemon either.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// The rest does not go together with the running values of these keys.
    #[error(
        "the configuration is good, but not without its changes of {}, which take effect at a restart; until then everything \
         stays as it is",
        .0.join(", ")
    )]
    AtAStart(Vec<String>),
}

/// A changed configuration.
#[derive(Clone, Debug)]
pub(crate) struct Reloaded {
    /// What the daemon is told from now on.
    pub(crate) settings: Settings,
    /// The keys that have changed with that: `section.key`.
    pub(crate) applied: Vec<String>,
    /// The keys whose new values wait for a restart.
    pub(crate) at_a_start: Vec<String>,
}

impl Settings {
    /// Reads the configuration anew, from where the running one came.
    ///
    /// # Errors
    /// As at a start; the running configuration stays.
    pub(crate) fn reloaded(
        &self,
        explicit: Option<&Path>,
        surroundings: &Surroundings,
    ) -> Result<Reloaded, ReloadError> {
        let fresh = load_in(explicit, surroundings)?;
        fresh.require_account()?;
        let changed = fresh.sections.changed(&self.sections);
        let (at_a_start, applied): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|key| waits(key));
        if at_a_start.is_empty() {
            return Ok(Reloaded { settings: fresh, applied, at_a_start });
        }
        let written = effective::holding(&fresh.written, &self.written, &at_a_start);
        let mut sections = fresh.sections;
        for key in &at_a_start {
            sections.keep(key, &self.sections);
        }
        let all_read = BTreeSet::new();
        let mut report = Report::new(None, &surroundings.variables, &all_read);
        let settings = check(sections, fresh.source, surroundings, &mut report);
        let problems = report.finish();
        if !problems.is_empty() {
            return Err(ReloadError::AtAStart(at_a_start));
        }
        Ok(Reloaded { settings: Self { written, ..settings }, applied, at_a_start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::keys;

    #[test]
    fn what_waits_for_a_restart_is_a_key_each() {
        let keys: Vec<String> =
            keys().into_iter().map(|(section, key)| format!("{section}.{key}")).collect();
        for key in AT_A_START {
            assert!(keys.iter().any(|known| known == key), "there is no key {key}");
        }
    }
}
