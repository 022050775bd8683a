//! The sight of a server: what it says of itself before it knows who asks.

use crate::smtp::client::capabilities::Capabilities;

/// What a server says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// Its first reply; empty where it says nothing unasked.
    pub(crate) greeting: String,
    /// What it offers to a client that has not logged in.
    pub(crate) capabilities: Capabilities,
    /// Its certificate (DER) and the version of TLS.
    pub(crate) protection: Option<(Vec<u8>, &'static str)>,
}
