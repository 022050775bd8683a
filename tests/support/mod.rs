//! The parts that several tests share.

pub(crate) mod backend;
pub(crate) mod books;
pub(crate) mod browser;
pub(crate) mod captured;
pub(crate) mod client;
pub(crate) mod clocked;
pub(crate) mod daemon;
pub(crate) mod executable;
pub(crate) mod fleet;
pub(crate) mod gmail;
pub(crate) mod hostile;
pub(crate) mod lookalike_clock;
pub(crate) mod loop_disk;
pub(crate) mod network;
pub(crate) mod outage;
pub(crate) mod playground;
pub(crate) mod pooler;
pub(crate) mod postgres;
pub(crate) mod service_account;
pub(crate) mod submitter;
pub(crate) mod syncs;
pub(crate) mod terminal;
