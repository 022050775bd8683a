//! One message between 354 and its last line: decoded, measured, and kept or discarded.
//!
//! Rule: a message that is refused is still read to its end, because a client does not look for a reply
//! before it has sent everything (RFC 5321 section 4.2.5 and 4.5.3.1.7).
//! Must not know commands or the store.

use super::{
    data::Decoder,
    header_scan::HeaderScan,
    reply::{self, Reply},
    session::{Client, Options},
};

/// Received fields of a message that is still accepted. RFC 5321 section 6.3 asks for a large number,
/// at least 100 where loops are found by counting alone; nothing that is handed to a local relay has
/// travelled that far, and a loop through this relay costs budget each time.
pub const RECEIVED_FIELDS_MAX: u32 = 30;

/// How many times the size limit is read of one message, wanted or not; then the connection is closed,
/// so that nobody can send for ever.
pub const READ_SIZES_MAX: u64 = 10;

/// Octets that are read of any message before that, however small the size limit is.
pub const READ_BYTES_MIN: u64 = 64 * 1024;

/// The message in transfer.
#[derive(Debug)]
pub struct Receiving {
    decoder: Decoder,
    header: HeaderScan,
    /// Octets from the client.
    read_bytes: u64,
    /// Octets of the decoded message, which is what the size limit is about.
    size_bytes: u64,
    fate: Fate,
}

#[derive(Debug)]
enum Fate {
    /// Its bytes go to the draft.
    Kept,
    /// They go nowhere; the reply waits for the end.
    Refused(Reply),
}

/// What one call of [`Receiving::take`] made of its input.
#[derive(Debug)]
pub struct Taken {
    /// Octets of the input that were used.
    pub consumed: usize,
    /// Bytes for the draft.
    pub body: Vec<u8>,
    /// From here on the message is refused, and the draft is not wanted any more.
    pub refused_now: bool,
    /// What is to be done with the message, once it is complete or reading it was given up.
    pub ending: Option<Ending>,
}

/// What is to be done with a message that has ended.
#[derive(Debug)]
pub enum Ending {
    /// Make it durable.
    Store(Afterwards),
    /// Only answer.
    Refuse(Reply, Afterwards),
}

/// What becomes of the session after the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It goes on.
    Continue,
    /// It ends: what follows in the input may have been smuggled, or never ends.
    Close,
}

impl Default for Receiving {
    fn default() -> Self {
        Self::new()
    }
}

impl Receiving {
    /// Before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self {
            decoder: Decoder::new(),
            header: HeaderScan::new(),
            read_bytes: 0,
            size_bytes: 0,
            fate: Fate::Kept,
        }
    }

    /// Takes the next bytes of the client.
    pub fn take(&mut self, input: &[u8], options: &Options, client: Client) -> Taken {
        let limit = options.max_message_bytes.saturating_mul(READ_SIZES_MAX).max(READ_BYTES_MIN);
        let allowed = usize::try_from(limit - self.read_bytes).unwrap_or(usize::MAX);
        let decoded = self.decoder.decode(&input[..input.len().min(allowed)]);
        self.read_bytes += decoded.consumed as u64;
        let given_up = self.read_bytes == limit;
        let mut taken =
            Taken { consumed: decoded.consumed, body: Vec::new(), refused_now: false, ending: None };
        if self.is_kept() {
            self.size_bytes += decoded.message.len() as u64;
            self.header.feed(&decoded.message);
            if let Some(reply) = self.objection(options, client) {
                self.refuse(reply);
                taken.refused_now = true;
            } else {
                taken.body = decoded.message;
            }
        }
        if decoded.ended || given_up {
            taken.ending = Some(self.ending(decoded.ended));
        }
        taken
    }

    /// Discards the rest and answers with `reply` at the end. The first reason is the one that counts.
    pub fn refuse(&mut self, reply: Reply) {
        if self.is_kept() {
            self.fate = Fate::Refused(reply);
        }
    }

    /// Whether there is a draft that takes its bytes.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        matches!(self.fate, Fate::Kept)
    }

    fn ending(&self, complete: bool) -> Ending {
        let afterwards =
            if complete && !self.decoder.has_lone_dot() { Afterwards::Continue } else { Afterwards::Close };
        match &self.fate {
            Fate::Kept => Ending::Store(afterwards),
            Fate::Refused(reply) => Ending::Refuse(reply.clone(), afterwards),
        }
    }

    fn objection(&self, options: &Options, client: Client) -> Option<Reply> {
        if self.size_bytes > options.max_message_bytes {
            return Some(reply::too_large(options.max_message_bytes));
        }
        if self.header.received_count() > RECEIVED_FIELDS_MAX {
            return Some(reply::loop_detected());
        }
        (self.decoder.has_lone_dot() && !client.policy.trusted).then(reply::wrong_line_ends)
    }
}
