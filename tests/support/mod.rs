//! What several tests share.

pub(crate) mod client;
pub(crate) mod daemon;
