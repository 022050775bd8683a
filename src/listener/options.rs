//! The options of the listener.
//!
//! Rule: each limit has its reason beside it. Must not know relay.toml.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use crate::{
    aliases_file::AliasesFile,
    message::envelope::Lane,
    rules::Rules,
    smtp::server::{self, Policy},
};

/// Where and whom the listener serves. `settings` fills it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses to listen on.
    pub addresses: Vec<Endpoint>,
    /// What the clients of a network may do; the first one that holds a client counts.
    pub networks: Vec<Network>,
    /// What everybody else may do; never trusted.
    pub default_policy: Policy,
    /// The certificate for STARTTLS and implicit TLS.
    pub tls: Option<TlsFiles>,
    /// The file of logins and hashed passwords.
    pub users_file: Option<PathBuf>,
    /// Sessions at a time, in all.
    pub max_connections: usize,
    /// Sessions at a time from one client address.
    pub max_connections_per_client: usize,
    /// How programs of this host come in without the network.
    pub local: Local,
    /// How long a stop waits for messages in transfer.
    pub drain: Duration,
    /// What holds against floods.
    pub limits: Limits,
    /// What each session is told.
    pub session: server::Options,
    /// Who is meant by a recipient on this host.
    pub recipients: Arc<AliasesFile>,
    /// What becomes of which messages.
    pub rules: Arc<Rules>,
    /// Whether a trusted client may say how urgent its mail is.
    pub priority_hints: bool,
}

/// Where programs of this host hand mail over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// The local socket.
    pub(crate) socket: Option<PathBuf>,
    /// Where they leave mail while the daemon does not answer.
    pub(crate) drop_directory: Option<PathBuf>,
}

/// What holds against floods, beyond the numbers of connections. The defaults suit every installation
/// that was measured; nobody needs a key for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory for messages in transfer, in octets; who finds none waits for it. 64 MiB are 455 messages
    /// at a time, each with 144 KiB at its worst: more than the default number of connections.
    pub message_memory_bytes: u64,
    /// Sessions at a time on the local socket, beside those of the network. Whoever finds no place leaves a file.
    pub local_connections: usize,
    /// Sessions at a time of one user there: a quarter, so that it takes four of them to keep the others out, and nobody
    /// keeps root out.
    pub local_connections_per_user: usize,
    /// Octets a second that a client must send within a message, averaged over the time that it may be
    /// silent. The slowest modem is ten times as fast.
    pub min_bytes_per_second: u32,
    /// How long a session may last without a message: beyond any client's pause between two, so that
    /// nobody keeps a place with a NOOP every few minutes.
    pub session_without_message: Duration,
    /// How long one message may take: 36 MB at the speed of a modem.
    pub message: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_memory_bytes: 64 * 1024 * 1024,
            local_connections: 200,
            local_connections_per_user: 50,
            min_bytes_per_second: 100,
            session_without_message: Duration::from_secs(60 * 60),
            message: Duration::from_secs(3 * 60 * 60),
        }
    }
}

/// One address to listen on, and how its clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address and port.
    pub address: SocketAddr,
    /// TLS from the first byte (RFC 8314).
    pub implicit_tls: bool,
    /// Every connection begins with a PROXY protocol header that names the real client.
    pub proxy: bool,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { address, implicit_tls: false, proxy: false }
    }
}

/// What the clients of some networks may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The networks.
    pub networks: Vec<IpNet>,
    /// What a session is told.
    pub policy: Policy,
    /// Messages a minute of the whole section; `None` is no limit.
    pub messages_per_minute: Option<NonZeroU32>,
    /// The lane of their mail.
    pub lane: Lane,
}

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl Options {
    /// What a client may do, and the index of its network. The address must be canonical: an IPv4
    /// client that came through an IPv6 socket is an IPv4 client. A client of no network may do nothing
    /// but log in, where that is offered.
    #[must_use]
    pub fn network_of(&self, client: IpAddr) -> Option<(usize, &Network)> {
        let holds =
            |network: &&Network| network.networks.iter().any(|network| network.contains(&client));
        let index = self.networks.iter().position(|network| holds(&network))?;
        Some((index, &self.networks[index]))
    }

    /// What a client may do.
    #[must_use]
    pub fn policy_of(&self, client: IpAddr) -> Policy {
        self.network_of(client).map_or(self.default_policy, |(_, network)| network.policy)
    }

    /// Networks whose clients may relay without authentication.
    pub(crate) fn trusted_networks(&self) -> impl Iterator<Item = &IpNet> {
        self.networks
            .iter()
            .filter(|network| network.policy.trusted)
            .flat_map(|network| &network.networks)
    }
}
