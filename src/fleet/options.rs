//! The options of a fleet.
//!
//! Rule: a password is not in here, only who can read it. Must not know relay.toml.
#![cfg_attr(
    not(feature = "fleet"),
    allow(
        dead_code,
        reason = "without the feature settings refuse a [fleet], and nobody reads its options"
    )
)]

use std::{fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;

use crate::secret::Secret;

/// What a host of a fleet is told.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// What the others know this host by.
    pub(crate) host: String,
    /// Where the books are kept.
    pub(crate) database: Database,
}

/// A database of PostgreSQL and the way to it.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    /// Where its server listens.
    pub(crate) place: Place,
    /// Its port; that of a socket is a part of its name.
    pub(crate) port: u16,
    /// Its name.
    pub(crate) name: String,
    /// The role that we are there.
    pub(crate) user: String,
    /// `None` where the server knows us otherwise.
    pub(crate) password: Option<Arc<dyn Password>>,
    /// `None` without TLS: sockets and loopback addresses alone.
    pub(crate) tls: Option<TlsFiles>,
}

/// Its address as a person writes it, without what only this host may know.
impl fmt::Display for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, port, name, user, .. } = self;
        match place {
            Place::Host(host) if host.contains(':') => {
                write!(formatter, "postgres://{user}@[{host}]:{port}/{name}")
            }
            Place::Host(host) => write!(formatter, "postgres://{user}@{host}:{port}/{name}"),
            Place::Socket(directory) => {
                write!(formatter, "postgres:///{name}?host={}&user={user}", directory.display())
            }
        }
    }
}

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A name or an address.
    Host(String),
    /// The directory of a Unix socket.
    Socket(PathBuf),
}

/// Files for TLS beside the platform's trust roots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// One more trust root, in PEM.
    pub(crate) ca_file: Option<PathBuf>,
    /// Who we are: a certificate with its key, in PEM.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

/// Who knows a password. It is asked before each login, so that it can be replaced.
#[async_trait]
pub(crate) trait Password: fmt::Debug + Send + Sync {
    /// The password, or why there is none, in words.
    async fn read(&self) -> Result<Secret, String>;
}
