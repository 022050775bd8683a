//! Pillarbox: a local mail relay for one Gmail account.
//!
//! Rule: a file imports only from layers below its own (tests/tidy.rs enforces the table in
//! ARCHITECTURE.md). The code map, lowest layer first; siblings do not know each other.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "this program's documentation is for who works on it and always has the private items (make doc)"
)]

// What the tests of this package share with those beside it calls it by its name.
#[cfg(test)]
extern crate self as pillarbox;

// Below the layers, a package of its own: the protocol, pure.
pub use pillarbox_smtp::{self as smtp, secret};
// Beside the program, a package of its own: what `pillarbox sandbox` relays to.
pub use pillarbox_sandbox as sandbox;

// 0: time, stopping, events, text to show
mod addressed;
pub mod careful_file;
pub mod clock;
pub mod exit;
pub mod file_stamp;
mod handbook;
mod live;
mod log_limit;
mod reasons;
pub mod shutdown;
mod sync;
pub mod telemetry;
pub mod text;
pub mod trust;
pub mod unix_socket;
// 1: the message and the budget, pure
pub mod budget;
mod findings;
mod kept_file;
pub mod message;
mod quantities;
pub mod tasks;
// 2: the durable queue, who is meant by a name, and the rules for messages
pub mod aliases_file;
mod fleet;
mod passwd;
pub mod queue;
pub mod rules;
mod written_time;
// 3: the two halves, what is told of mail that cannot leave, and the front end of local mail
pub mod delivery;
pub mod listener;
pub mod notices;
pub mod sendmail;
// 4: what the administrator writes and sees, and what the supervisor hears
pub mod admin;
pub mod settings;
pub mod supervision;
// 5: what may be wrong with all of it
mod doctor;
// 6: what is said of all of it
mod wording;
// 7: the same for a browser
mod page;
// 8: the whole
pub mod daemon;
// 9: the command line
pub mod cli;
