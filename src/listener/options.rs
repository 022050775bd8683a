//! What the listener is told.
//!
//! Rule: each limit has its reason beside it. Must not know relay.toml.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;

use crate::smtp::session;

/// Where and whom the listener serves. `settings` fills it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses to listen on.
    pub addresses: Vec<SocketAddr>,
    /// Networks whose clients may relay without authentication.
    pub trusted_networks: Vec<IpNet>,
    /// Sessions at a time, in all.
    pub max_connections: usize,
    /// Sessions at a time from one client address.
    pub max_connections_per_client: usize,
    /// How long a stop waits for messages in transfer.
    pub drain: Duration,
    /// What each session is told.
    pub session: session::Options,
}

impl Options {
    /// Whether a client may relay. The address must be canonical: an IPv4 client that came through an
    /// IPv6 socket is an IPv4 client.
    #[must_use]
    pub fn trusts(&self, client: IpAddr) -> bool {
        self.trusted_networks.iter().any(|network| network.contains(&client))
    }
}
