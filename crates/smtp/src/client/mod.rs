//! The client's side of SMTP as pure code: replies, what EHLO offers, the commands of an envelope, dots.
//!
//! Rule: every limit holds before anything is kept or parsed. Must not know connections, nor who relays.

pub mod capabilities;
pub mod commands;
pub mod reply;
pub mod stuffing;
