//! The header section of a message, seen while it passes by.
//!
//! Rule: looked at, never changed. The scanner itself lives in the layer below, because the session
//! counts Received fields with it; this is its name for everybody who works on messages.
//! Must not know what is added in front of a message: that is [`super::trace`].

pub use crate::smtp::header_scan::{HeaderFindings, HeaderScan};
