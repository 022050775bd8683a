//! The things that are diagnosed: a configuration, a daemon, a machine, at one time.

use std::{net::SocketAddr, path::Path, sync::Arc};

use super::machine::Machine;
use crate::{
    admin::{accounts::Upstreams, api::Status, client::Client},
    budget::AccountKey,
    clock::{Clock, Timestamp},
    delivery::inspection::LoginProof,
    findings::Outcome,
    settings::{Settings, SettingsError},
};

/// The daemon, as whoever asks for the diagnosis reaches it.
#[derive(Clone, Debug)]
pub(crate) enum Daemon {
    /// It answers, and this is what it says.
    Answers(Box<Status>, Client),
    /// It is the one that asks.
    Asks(Box<Status>, Upstreams),
    /// It does not answer, for this reason; whether there is none at all.
    Silent { why: String, is_absent: bool },
}

impl Daemon {
    /// What it says.
    pub(super) fn status(&self) -> Option<&Status> {
        match self {
            Self::Answers(status, _) | Self::Asks(status, _) => Some(status),
            Self::Silent { .. } => None,
        }
    }

    /// Has it log in, by the main account or the one with this name; `None` without it.
    pub(super) async fn prove_login(
        &self,
        account: Option<&str>,
    ) -> Option<Result<LoginProof, String>> {
        match self {
            Self::Answers(_, client) => {
                Some(client.prove_login(account).await.map_err(|error| error.to_string()))
            }
            Self::Asks(_, upstreams) => {
                let account = account.map(AccountKey::of).unwrap_or_default();
                Some(Ok(upstreams.of(account).prove_login().await))
            }
            Self::Silent { .. } => None,
        }
    }
}

/// What is diagnosed.
#[derive(Clone, Debug)]
pub(crate) struct Patient {
    /// The configuration, or what is wrong with it.
    pub(crate) settings: Result<Arc<Settings>, Arc<SettingsError>>,
    /// The daemon.
    pub(crate) daemon: Daemon,
    /// The machine.
    pub(crate) machine: Arc<Machine>,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
}

/// A configuration that is right, and all else: what most checks look at.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) settings: Arc<Settings>,
    pub(super) daemon: Daemon,
    pub(super) machine: Arc<Machine>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) now: Timestamp,
}

impl Scene {
    /// The addresses that mail is taken on, as they are configured.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.settings.listener.addresses.iter().map(|endpoint| endpoint.address).collect()
    }

    /// The queue's directory.
    pub(super) fn store(&self) -> &Path {
        &self.settings.queue.directory
    }
}

/// What several checks have found, by their names.
pub(super) type Found = Vec<(&'static str, Outcome)>;
