//! The client of a session: where it comes from, what its network may do, and what it logs in with.
//!
//! Rule: a [`Policy`] is decided once, when the connection is taken, and only from the client's address.
//! Must not know how networks are configured or where logins are kept.

use std::net::IpAddr;

use crate::secret::Secret;

/// The peer, as the listener sees it.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// Whether the connection was encrypted before the greeting (implicit TLS, RFC 8314).
    pub encrypted: bool,
    /// What its network may do.
    pub policy: Policy,
    /// Whether it is a program of this host whose user the kernel has named: it came through the local
    /// socket or the drop directory, never over the network. Its `address` is 127.0.0.1.
    pub local: bool,
}

/// What the clients of one network may do. `settings` fills it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// May relay without authentication, and is met with patience for old devices.
    pub trusted: bool,
    /// STARTTLS is offered (RFC 3207); only where a certificate is configured.
    pub starttls: bool,
    /// What AUTH is good for (RFC 4954).
    pub authentication: Authentication,
    /// Largest message of this network; at most the limit of the listener.
    pub max_message_bytes: u64,
    /// The priority that a client gives its message is heard (RFC 6710); only from who is trusted.
    pub priorities: bool,
}

/// What AUTH is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// It is not offered.
    Off,
    /// It is offered; a client that is not trusted must use it.
    Optional,
    /// Nobody may send mail without it, not even a trusted client.
    Required,
    /// It is offered, and any login and password will do: for devices that insist on logging in.
    AcceptAny,
}

impl Policy {
    /// A policy without TLS and AUTH.
    #[must_use]
    pub fn plain(trusted: bool, max_message_bytes: u64) -> Self {
        Self {
            trusted,
            starttls: false,
            authentication: Authentication::Off,
            max_message_bytes,
            priorities: false,
        }
    }
}

/// What a client logs in with (RFC 4616 for PLAIN; LOGIN has no standard).
#[derive(Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub login: String,
    /// The password.
    pub password: Secret,
}

/// Why a login is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRefusal {
    /// Name or password are wrong; which of them is not told: 535 5.7.8.
    Wrong,
    /// The users cannot be read just now: 454 4.7.0.
    Unavailable,
}
