//! The fleet's contract: of the books in PostgreSQL, of the way to them, of a host's share, and of the protocol as a whole.

#[cfg(feature = "fleet")]
mod figures;
#[cfg(feature = "fleet")]
mod hosts;
mod login_model;
mod logins;
pub(crate) mod memory;
mod model;
#[cfg(feature = "fleet")]
mod processes;
#[cfg(feature = "fleet")]
mod rights;
mod roll;
#[cfg(feature = "fleet")]
pub(crate) mod scene;
mod search;
mod seats;
mod share;
#[cfg(feature = "fleet")]
mod store;
#[cfg(feature = "fleet")]
mod tokens;
#[cfg(feature = "fleet")]
mod way;
mod words;
