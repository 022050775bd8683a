//! The message and its envelope as pure values.
//!
//! Rule: nothing here does I/O or asks the time; header fields are looked at and added by byte range,
//! the body is never touched. Must not know where a message is stored or sent.

pub mod envelope;
pub mod header;
pub mod notice;
mod notice_text;
pub mod trace;
