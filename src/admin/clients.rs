//! The clients of the listener, as the API shows them.
//!
//! Rule: counts and names of oddities, never what a client has sent. Must not know how they are collected.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, listener::clients::ClientSummary};

/// `GET /v1/clients`: who has been here since the daemon's start, the last one first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clients {
    /// The time of this answer.
    pub now: Timestamp,
    /// The clients; those that came long ago are forgotten when there are very many.
    pub clients: Vec<Client>,
}

/// One client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its address; behind a proxy the one that the proxy named.
    pub address: IpAddr,
    /// When it came first.
    pub first_seen: Timestamp,
    /// When it last did something.
    pub last_seen: Timestamp,
    /// Connections that were served.
    pub connections: u64,
    /// Messages that were accepted.
    pub accepted: u64,
    /// Commands and messages that were refused.
    pub refused: u64,
    /// TLS handshakes that failed.
    #[serde(default)]
    pub failed_handshakes: u64,
    /// Connections to the address of a proxy that began without a PROXY header.
    #[serde(default)]
    pub no_proxy_headers: u64,
    /// Logins that were refused.
    #[serde(default)]
    pub failed_logins: u64,
    /// What is unusual about it, by name, with how often it was met.
    pub quirks: BTreeMap<String, u64>,
}

impl From<ClientSummary> for Client {
    fn from(summary: ClientSummary) -> Self {
        Self {
            address: summary.address,
            first_seen: summary.first_seen,
            last_seen: summary.last_seen,
            connections: summary.connections,
            accepted: summary.accepted,
            refused: summary.refused,
            failed_handshakes: summary.failed_handshakes,
            no_proxy_headers: summary.no_proxy_headers,
            failed_logins: summary.failed_logins,
            quirks: summary.quirks,
        }
    }
}
