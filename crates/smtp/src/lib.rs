//! The SMTP protocol as pure code: bytes in, steps out.
//!
//! Rule: nothing in this package does I/O, asks the time or imports a runtime (RFC 5321 is about text). Start at
//! [`server::Session`] for the server's side, at [`client`] for the other.

// Others build on this package without reading it.
#![warn(missing_docs, clippy::missing_errors_doc, clippy::missing_panics_doc)]

pub mod address;
pub mod client;
pub mod dsn;
pub mod field_syntax;
pub mod header_scan;
pub mod host_name;
mod path;
pub mod quirk;
pub mod sanitize;
pub mod secret;
pub mod server;
pub mod text;
