//! The server side of one SMTP session as a pure machine: bytes in, steps out (RFC 5321 section 4).
//!
//! Rule: every transition is in one `match (state, command)`; no I/O, no clock, no store. The driver
//! (`listener/connection.rs`) carries out each [`Step`] and answers the ones that ask a question.
//! Must not know how a message is stored or what becomes of it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::address::Address;

/// What the machine is allowed and told. `settings` fills it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Our name in the greeting and in EHLO's reply.
    pub hostname: String,
    /// Largest message, advertised with SIZE (RFC 1870). Gmail takes 35,882,577; we leave room for the
    /// fields we add.
    pub max_message_bytes: u64,
    /// Recipients in one transaction; RFC 5321 section 4.5.3.1.8 asks for at least 100.
    pub max_recipients: usize,
    /// Whether `root` (no domain) or `root@localhost` may be written to, because somebody reads it.
    pub local_recipients: bool,
}

/// The peer, as the listener sees it.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// Whether it may relay.
    pub trusted: bool,
}

/// A mail transaction that has reached DATA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// MAIL FROM; `None` is `<>`.
    pub reverse_path: Option<Address>,
    /// RCPT TO, in order, at least one.
    pub forward_paths: Vec<Address>,
    /// BODY=8BITMIME was declared.
    pub eight_bit: bool,
    /// SMTPUTF8 was asked for.
    pub internationalized: bool,
    /// The HELO or EHLO argument; empty when none was given.
    pub helo: String,
    /// The `with` word of RFC 3848 and RFC 6531: SMTP, ESMTP, UTF8SMTP.
    pub protocol: &'static str,
}

/// What the driver must do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Write these bytes to the client (one or more complete replies).
    Send(Vec<u8>),
    /// Ask the store whether a message of this size may come; answer with `Session::admitted`.
    Admit {
        /// SIZE= of MAIL, or 0 when the client did not say.
        declared_bytes: u64,
    },
    /// DATA: start a draft; answer with `Session::begun`.
    Begin(Transaction),
    /// Decoded message bytes for the draft.
    Body(Vec<u8>),
    /// The message is complete: make it durable; answer with `Session::stored`.
    Store,
    /// The draft is not wanted any more (too large, refused, connection gone): drop it.
    Abandon,
    /// Nothing to do until more bytes come, or the timeout passes.
    NeedInput,
    /// Write nothing more and close.
    Close,
}

/// Why a message cannot be taken just now. The words for the client come from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No room: 452 4.3.1.
    Full,
    /// The queue has failed and is being repaired: 451 4.3.0.
    Unavailable,
}

/// How long the driver waits for the client in the present state (RFC 5321 section 4.5.3.2).
pub type Timeout = Duration;

/// One session. The driver feeds bytes with [`Session::receive`] and carries out what
/// [`Session::step`] returns, until that is [`Step::NeedInput`] or [`Step::Close`].
#[derive(Debug)]
pub struct Session {
    options: Arc<Options>,
    client: Client,
}

impl Session {
    /// A session whose first step is to send the greeting.
    #[must_use]
    pub fn new(options: Arc<Options>, client: Client) -> Self {
        Self { options, client }
    }

    /// Takes bytes from the client. Call it only after `step` returned [`Step::NeedInput`], and with at
    /// most [`INPUT_BYTES_MAX`] at a time: this bounds the memory of a session.
    pub fn receive(&mut self, bytes: &[u8]) {
        let _ = (bytes, &self.options, &self.client);
    }

    /// What to do next. `Admit`, `Begin` and `Store` are questions: the next call is their answer.
    #[must_use = "a step that is not carried out is a reply or a message that gets lost"]
    pub fn step(&mut self) -> Step {
        Step::Close
    }

    /// The answer to [`Step::Admit`].
    pub fn admitted(&mut self, answer: Result<(), Refusal>) {
        let _ = answer;
    }

    /// The answer to [`Step::Begin`]; after a refusal there is no draft.
    pub fn begun(&mut self, answer: Result<(), Refusal>) {
        let _ = answer;
    }

    /// The answer to [`Step::Store`]: the queue id for the 250, or why the message was not taken.
    pub fn stored(&mut self, answer: Result<String, Refusal>) {
        drop(answer);
    }

    /// The draft could not take a [`Step::Body`] and the driver has dropped it: the rest of the message
    /// is read and discarded, then refused. No `Abandon` and no `Store` will come for it.
    pub fn write_failed(&mut self, refusal: Refusal) {
        let _ = refusal;
    }

    /// The client has closed its side: nothing more will be received.
    pub fn closed_by_peer(&mut self) {}

    /// The client was silent for [`Session::timeout`].
    pub fn timed_out(&mut self) {}

    /// The service stops: a message in transfer may finish, then the session ends at the next command.
    pub fn draining(&mut self) {}

    /// How long to wait for the client after [`Step::NeedInput`].
    #[must_use]
    pub fn timeout(&self) -> Timeout {
        Timeout::from_secs(300)
    }

    /// Whether a message is in transfer: from DATA until it is stored, refused or abandoned.
    #[must_use]
    pub fn in_data(&self) -> bool {
        false
    }
}

/// Octets that may be fed to [`Session::receive`] at a time.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;
