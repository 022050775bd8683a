//! The durable queue: the only place where acceptance and delivery meet.
//!
//! Rule: a message that was acknowledged is in the queue, or in the history, or was deleted by a
//! person; there is no fourth place. Must not know SMTP clients or Gmail.

mod directory_sync;
pub mod draft;
mod engine;
mod frame;
pub mod id;
pub mod memory_store;
pub mod options;
pub mod reader;
pub mod receipt;
pub mod record;
mod spool;
pub mod state;
pub mod store;
mod tables;
