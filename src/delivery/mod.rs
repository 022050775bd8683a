//! The other half: claims messages from the queue and relays them to the upstream.
//!
//! Rule: it never talks to a client, and never sends a final dot without a reservation on disk.
//! Must not know how a message came in.
//!
//! From the outside in: [`pool`] owns the workers and the waits, `worker` claims and settles, `upstream`
//! carries one message through one connection, `connection` is SMTP or the Gmail API. What a reply means is decided by pure
//! code: `reply_tables` (with Gmail's in `gmail_replies`), `classify`, `outcome` and `account` (the pauses).

mod account;
mod account_failure;
mod answer;
mod api_connection;
mod api_replies;
mod bearer;
mod blame;
mod classify;
mod connection;
mod credential;
#[cfg(test)]
mod fixtures;
mod gmail_replies;
pub(crate) mod https;
mod in_flight;
mod in_step;
pub(crate) mod inspection;
mod interrupted;
mod names;
pub mod oauth;
mod options;
mod outcome;
mod parting;
mod plan;
pub mod pool;
mod port_fallback;
pub(crate) mod ports;
pub(crate) mod provider;
mod reach;
mod replies;
mod reply_row;
mod reply_tables;
mod retry;
mod schedule;
mod seating;
mod shared;
mod sight;
mod smtp_connection;
mod split;
mod status;
mod throttle;
mod tls;
mod together;
mod upstream;
mod verdict;
mod wire;
mod wording;
mod worker;

pub use answer::Stage;
pub(crate) use credential::{StoredPassword, password_fault, password_in, typed_password};
pub(crate) use options::API_HOST;
pub use options::{
    IpFamily, Limits, Login, Options, PasswordSource, Tls, Transport, Uncertain, Way,
};
pub use pool::{Pool, PoolHandle};
pub use provider::Provider;
pub use reply_tables::{KnownReply, known_replies};
pub use status::{Counters, Departure, DepartureReason, InFlight, LastError, PoolStatus};
pub(crate) use tls::ca_file_fault;
pub(crate) use together::AWAY_WAIT_MAX;
pub use verdict::{Action, Growth, Scope, Waits};
