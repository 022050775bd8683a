//! The door: takes connections and pumps bytes between a client and its [`crate::smtp::session`].
//!
//! Rule: it never talks to Gmail. Must not know what becomes of a message after the receipt.

pub mod bind;
pub mod clients;
mod connection;
mod events;
pub mod options;
mod places;
pub mod server;
pub mod users;
pub mod users_file;

pub use self::{
    bind::{BindError, bind},
    clients::Clients,
    options::Options,
    server::Listener,
};

#[cfg(test)]
mod tests;
