//! The durable queue: the only place where acceptance and delivery meet.
//!
//! Rule: a message that was acknowledged is in the queue, or in the history, or was deleted by a
//! person; there is no fourth place. Must not know SMTP clients or Gmail.

pub mod draft;
pub mod id;
pub mod options;
pub mod receipt;
pub mod record;
pub mod state;
pub mod store;
