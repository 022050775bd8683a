//! The door: takes connections and pumps bytes between a client and its [`crate::smtp::server::Session`].
//!
//! Rule: it never talks to Gmail. Must not know what becomes of a message after the receipt.

mod accept;
mod arrival;
mod authentication;
pub mod bind;
pub mod clients;
mod connection;
pub mod dropped;
mod events;
mod expansion;
mod handshake;
mod local;
pub mod local_socket;
mod memory;
pub mod options;
mod places;
mod proxy;
mod rate;
mod seat;
pub mod server;
mod service;
mod site;
mod stream;
pub mod tls;
mod told;
mod turn_away;
mod user;
pub mod users;
pub mod users_file;
mod watchdog;

pub use self::{
    bind::{BindError, bind},
    clients::Clients,
    options::Options,
    server::{Listener, OpenError},
};

#[cfg(test)]
mod tests;
