//! The reasons why the sandbox does not start.

use std::{io, net::SocketAddr, path::PathBuf};

use thiserror::Error;

/// Why a sandbox did not start.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// An address is taken or not ours.
    #[error("the sandbox cannot listen on {address}: {source}; choose another address or port 0")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The journal cannot be opened.
    #[error("the sandbox cannot append to its journal {path}: {source}")]
    Journal {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory for messages cannot be made.
    #[error("the sandbox cannot make its mailbox directory {path}: {source}")]
    Mailbox {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No certificate could be made.
    #[error("the sandbox cannot make its certificates: {0}")]
    Certificate(String),
}
