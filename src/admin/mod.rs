//! The administrator's side: the API on the Unix socket, its client, metrics and probes.
//!
//! Rule: the mode of the socket file is the authorisation. Must not know SMTP.

use std::{net::SocketAddr, path::PathBuf};

pub mod alert;
pub mod api;
mod audience;
mod budget;
pub mod client;
mod clients;
pub mod context;
mod conversation;
mod dead;
pub mod health;
pub mod http;
mod json;
mod metrics;
mod origin;
pub mod outlook;
pub mod redirect;
pub mod server;
pub mod socket;
pub mod survey;
#[cfg(test)]
mod tests;

/// Where the API listens.
#[derive(Clone, Debug)]
pub struct Options {
    /// Path of the Unix socket.
    pub socket: PathBuf,
    /// Where metrics and probes are answered over TCP; `None` is nowhere.
    pub http: Option<SocketAddr>,
}
