//! The message and its envelope as pure values.
//!
//! Rule: nothing here does I/O or asks the time; header fields are looked at, added and edited by byte range,
//! the body is never touched. Must not know where a message is stored or sent.

pub mod address_list;
pub mod aliases;
mod author;
mod charset;
pub mod encoded_word;
pub mod encoding;
pub mod envelope;
pub mod header;
pub mod identification;
pub mod identity;
pub mod mailbox;
pub mod mbox;
pub mod notice;
mod parameters;
mod raw_octets;
mod recipients;
pub mod rewrite;
pub mod trace;
