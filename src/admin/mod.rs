//! The administrator's side: the API on the Unix socket, its client, metrics and probes.
//!
//! Rule: the mode of the socket file is the authorisation. Must not know SMTP.

use std::{net::SocketAddr, path::PathBuf};

pub(crate) mod accounts;
pub(crate) mod alert;
pub(crate) mod api;
mod audience;
pub(crate) mod checkups;
pub(crate) mod client;
pub(crate) mod configured;
pub(crate) mod contents;
pub(crate) mod context;
pub(crate) mod counts;
pub(crate) mod early;
pub(crate) mod fleet;
pub(crate) mod forecast;
pub(crate) mod health;
pub(crate) mod heartbeat;
mod history;
pub(crate) mod listing;
pub(crate) mod log;
mod metrics;
mod octets;
pub(crate) mod of_account;
pub(crate) mod outlook;
pub(crate) mod own_mail;
pub(crate) mod page;
mod pause;
pub(crate) mod pieces;
pub(crate) mod place;
pub(crate) mod pulse;
pub(crate) mod queue;
pub(crate) mod reload;
pub(crate) mod server;
pub(crate) mod sessions;
pub(crate) mod sides;
pub(crate) mod socket;
pub(crate) mod spending;
mod stand;
pub mod status;
pub(crate) mod storms;
pub(crate) mod tally;
#[cfg(test)]
mod tests;
pub(crate) mod trace;
pub(crate) mod weekly;

/// Where the API listens.
#[derive(Clone, Debug)]
pub struct Options {
    /// Path of the Unix socket.
    pub socket: PathBuf,
    /// Where metrics and probes are answered over TCP; `None` is nowhere.
    pub http: Option<SocketAddr>,
    /// The page for browsers; `None` is none.
    pub(crate) page: Option<place::Options>,
}
