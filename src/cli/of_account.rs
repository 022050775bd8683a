//! `--account`: which of several accounts a command is about.
//!
//! Rule: whether there is one of that name says whoever is asked.

use clap::Args;

/// Which account.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(super) struct OfAccount {
    /// Only this account, by its name in relay.toml; `main` is that of `[upstream]`.
    #[arg(long = "account", value_name = "NAME")]
    pub(super) account: Option<String>,
}

impl OfAccount {
    pub(super) fn name(&self) -> Option<&str> {
        self.account.as_deref()
    }
}
