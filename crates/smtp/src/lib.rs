//! The SMTP protocol as pure code: bytes in, steps out.
//!
//! Rule: nothing in this package does I/O, asks the time or imports a runtime (RFC 5321 is about text). Start at
//! [`session::Session`] for the server's side, at [`client`] for the other.

pub mod address;
pub mod authentication;
pub mod chunk;
pub mod client;
pub mod command;
pub mod data;
pub mod dsn;
pub mod extension;
pub mod field_syntax;
pub mod header_scan;
pub mod line;
mod path;
pub mod peer;
pub mod quirk;
pub mod receiving;
pub mod reply;
pub mod sanitize;
pub mod secret;
mod sender;
pub mod session;
pub mod text;
