//! The door: takes connections and pumps bytes between a client and its [`crate::smtp::server::Session`].
//!
//! Rule: it never talks to Gmail. Must not know what becomes of a message after the receipt.

mod accept;
mod auth;
pub mod bind;
pub mod client_stats;
mod connection;
pub(crate) mod drop_directory;
mod expand;
pub(crate) mod guesses;
pub(crate) mod limits;
pub mod options;
mod proxy;
pub(crate) mod server;
mod service;
mod stream;
mod terms;
mod throughput;
mod timeouts;
pub(crate) mod tls;
mod transaction_log;
pub mod users;

pub(crate) use self::server::ListenerHandle;
pub use self::{
    bind::{BindError, bind},
    client_stats::Clients,
    options::Options,
    server::Listener,
    terms::OpenError,
};

#[cfg(test)]
mod tests;
