//! The door: takes connections and pumps bytes between a client and its [`crate::smtp::session`].
//!
//! Rule: it never talks to Gmail. Must not know what becomes of a message after the receipt.

use std::{net::SocketAddr, time::Duration};

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
