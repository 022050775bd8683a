//! The message and its envelope as pure values.
//!
//! Rule: nothing here does I/O or asks the time; header fields are looked at, added and edited by byte range,
//! the body is never touched. Must not know where a message is stored or sent.

pub mod address_list;
pub mod addressees;
pub mod aliases;
mod author;
mod charset;
pub(crate) mod comparison;
pub(crate) mod encoded_word;
pub(crate) mod encoding;
pub mod envelope;
pub(crate) mod excerpt;
pub mod header;
pub(crate) mod identification;
pub mod identity;
pub(crate) mod mailbox;
pub(crate) mod mbox;
pub(crate) mod notice;
mod parameters;
pub mod parts;
mod raw_octets;
mod recipients;
pub mod rewrite;
pub(crate) mod storm_summary;
pub(crate) mod subject_shape;
pub(crate) mod trace;
mod transfer;
