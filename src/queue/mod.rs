//! The durable queue: the only place where acceptance and delivery meet.
//!
//! Rule: a message that was acknowledged is in the queue, or in the history, or was deleted by a
//! person; there is no fourth place. Must not know SMTP clients or Gmail.

pub mod carried;
mod carried_words;
pub mod checkup;
mod committer;
mod directory_sync;
mod doubt;
pub mod draft;
pub mod dropped;
mod engine;
mod faults;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod handling;
pub mod id;
mod in_transfer;
pub mod inspection;
pub mod memory_store;
pub mod only;
pub mod opening;
pub mod options;
mod overlay;
pub mod reader;
pub mod receipt;
mod reconciliation;
pub mod record;
pub mod restored;
mod shared;
mod side_files;
mod sled_dead;
mod sled_parts;
pub mod sled_store;
mod sled_tables;
mod spool;
pub mod state;
pub mod store;
mod tables;
mod times;
mod transition;
pub mod waiting;
pub mod walk;
