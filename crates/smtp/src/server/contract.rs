//! The contract between a session and its driver, and the limits of a session.
//!
//! Rule: every question is a [`Step`], every answer a method of `Session` that the step names.
//! Must not know how a session decides.

use std::time::Duration;

use super::peer::Credentials;
use crate::{address::Address, dsn::Dsn};

/// What the machine is allowed and told. `settings` fills it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Our name in the greeting and in EHLO's reply.
    pub hostname: String,
    /// Largest message of the listener. Gmail takes 35,882,577; we leave room for the fields we add. A
    /// session goes by the limit of its client's network, which is at most this.
    pub max_message_bytes: u64,
    /// Recipients in one transaction; RFC 5321 section 4.5.3.1.8 asks for at least 100.
    pub max_recipients: usize,
    /// Whether `root` (no domain) or `root@localhost` may be written to, because somebody reads it.
    pub local_recipients: bool,
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
    /// What was asked of delivery status notifications.
    pub dsn: Dsn,
    /// MT-PRIORITY of MAIL, -9 to 9 (RFC 6710). Always `None` where it is not offered.
    pub priority: Option<i8>,
    /// Who has logged in, if somebody has.
    pub login: Option<String>,
    /// The HELO or EHLO argument; empty when none was given.
    pub helo: String,
    /// The id that a program of this host proposes for the message. Always `None` for other clients.
    pub proposed_id: Option<String>,
    /// The number of the user whose program it is, as that program says. Always `None` for other clients.
    pub claimed_user: Option<u32>,
    /// The `with` word of RFC 3848 and RFC 6531: SMTP, ESMTP, ESMTPSA, UTF8SMTP ...; `local` for a program
    /// of this host.
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
    /// DATA, or the first BDAT: start a draft; answer with `Session::begun`.
    Begin(Transaction),
    /// Decoded message bytes for the draft.
    Body(Vec<u8>),
    /// The message is complete: make it durable; answer with `Session::stored`.
    Store,
    /// The 220 is sent: do the TLS handshake, then call `Session::secured`; if it fails, close.
    StartTls,
    /// Check a login; answer with `Session::authenticated`.
    Authenticate(Credentials),
    /// The draft is not wanted any more (too large, refused, connection gone): drop it.
    Abandon,
    /// Nothing to do until more bytes come, or the timeout passes.
    NeedInput,
    /// Write nothing more and close.
    Close,
}

/// Why a message cannot be taken. The words for the client come from the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No room: 452 4.3.1.
    Full,
    /// The queue has failed and is being repaired: 451 4.3.0.
    Unavailable,
    /// The administrator has the service take nothing new: 421 4.3.2, and the session ends.
    Drained,
    /// Whoever takes the message behind us has refused it for good: 554 5.0.0. Only `sendmail -bs` has somebody
    /// behind it.
    Rejected,
    /// The client's network sends too fast: 450 4.7.1 with the time to wait.
    TooFast {
        /// When the next message may come.
        retry_after: Duration,
    },
    /// A recipient is a name of this host that nobody reads mail for: 550 5.1.3.
    NobodyReads,
    /// The recipients stand for too many addresses: 550 5.5.3.
    TooManyAddresses {
        /// How many a message may have.
        limit: usize,
    },
    /// A rule of the administrator does not want it: 550 5.7.1 with this text, which is one line and, unless the client
    /// has asked for SMTPUTF8, ASCII.
    Unwanted {
        /// For whoever reads the client's log.
        text: String,
    },
}

/// How long the driver waits for the client in the present state (RFC 5321 section 4.5.3.2).
pub type Timeout = Duration;

/// Octets that may be fed to `Session::receive` at a time: what a message in transfer may hold is a
/// multiple of it, and larger pieces are not faster.
pub const INPUT_BYTES_MAX: usize = 16 * 1024;

/// Octets of replies that are collected for one write; pipelined commands wait while more are due.
pub const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// How long a client may think before the next command (RFC 5321 section 4.5.3.2.7).
pub const COMMAND_TIMEOUT: Timeout = Timeout::from_secs(5 * 60);

/// How long a client may pause within a message. RFC 5321 section 4.5.3.2.5 gives a data block three
/// minutes; scanners that send while they scan need some of it.
pub const DATA_TIMEOUT: Timeout = Timeout::from_secs(3 * 60);

/// Octets of the recipients of one transaction, with ORCPT and [`RECIPIENT_BYTES`] for each: 1,000 recipients of 190
/// octets. It bounds what a session holds before its message has a share of the memory.
pub const ENVELOPE_BYTES_MAX: usize = 256 * 1024;

/// Octets that a recipient takes besides its texts.
pub const RECIPIENT_BYTES: usize = 64;

/// Refused recipients since the last message, beyond [`Options::max_recipients`]. They are not errors, because a
/// client that sends to a long list at once is told 452 for its end and goes on; who asks for more names than
/// this asks who lives here.
pub const REFUSED_RECIPIENTS_MAX: usize = 1_000;

/// Errors since the last message: a client that makes more of them does not speak SMTP.
pub const ERRORS_MAX: u32 = 20;

/// Commands other than RCPT and DATA since the last message: more than any client needs between two messages, and
/// few enough that nobody keeps a connection for nothing but NOOP.
pub const COMMANDS_WITHOUT_MESSAGE_MAX: u32 = 100;

/// Messages in one session: far beyond a day's budget of the account, so only a runaway gets there.
pub const MESSAGES_MAX: u32 = 10_000;

/// Logins that are refused in one session: enough for a mistyped password, too few for guessing.
pub const LOGIN_FAILURES_MAX: u32 = 3;
