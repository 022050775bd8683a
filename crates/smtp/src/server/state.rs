//! The states of a session; each owns what is meaningful only there.

use super::{
    auth_exchange::Exchange,
    contract::Transaction,
    receiving::{Afterwards, Receiving, Terms},
    reply::Reply,
};

/// Where the session is. Each variant owns what is meaningful only there.
#[derive(Debug)]
pub(super) enum State {
    /// The greeting is not sent yet.
    Connected,
    /// No mail transaction.
    Ready,
    /// MAIL came and `Admit` was asked.
    Admitting(Transaction),
    /// MAIL was accepted, no recipient yet.
    Mail(Transaction),
    /// At least one recipient was accepted.
    Recipients(Transaction),
    /// DATA or the first BDAT came and `Begin` was asked.
    Beginning(Beginning),
    /// The message is coming, up to a dot.
    Receiving(Box<Receiving>),
    /// A chunk of it is coming.
    Chunk(Box<Chunk>),
    /// A chunk has come, and more will.
    Chunks(Box<Receiving>),
    /// The octets of a chunk that is not wanted are coming.
    Skipping(Box<Skipped>),
    /// It has come; `Store` is to be asked.
    Complete(Afterwards),
    /// `Store` was asked.
    Storing(Afterwards),
    /// STARTTLS was answered and the handshake asked.
    Securing,
    /// AUTH waits for the client's next response.
    LoggingIn(Exchange),
    /// `Authenticate` was asked.
    Authenticating {
        /// Who wants to log in.
        login: String,
    },
    /// Nothing more is read or answered.
    Closed,
}

impl State {
    pub(super) fn after(afterwards: Afterwards) -> Self {
        match afterwards {
            Afterwards::Continue => Self::Ready,
            Afterwards::Close => Self::Closed,
        }
    }
}

/// How the client introduced itself. Nobody is trusted for it.
#[derive(Debug)]
pub(super) enum Hello {
    Missing,
    Basic(String),
    Extended(String),
}

/// `Begin` was asked.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) terms: Terms,
    pub(super) transfer: Transfer,
}

#[derive(Debug)]
pub(super) enum Transfer {
    Data,
    Chunk { size_bytes: u64, last: bool },
}

/// A chunk that is coming.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) receiving: Box<Receiving>,
    pub(super) size_bytes: u64,
    /// Octets that have not come yet.
    pub(super) remaining_bytes: u64,
    pub(super) last: bool,
}

/// A chunk that is not wanted.
#[derive(Debug)]
pub(super) struct Skipped {
    pub(super) remaining_bytes: u64,
    pub(super) reply: Reply,
    pub(super) next: State,
}
