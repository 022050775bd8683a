//! One message between 354, or its first BDAT, and its end: decoded, measured, and kept or discarded.
//!
//! Rule: a message that is refused is still read to its end, because a client does not look for a reply
//! before it has sent everything (RFC 5321 section 4.2.5 and 4.5.3.1.7, RFC 3030 section 2).
//! Must not know commands or the store.

use memchr::memchr_iter;

use super::{
    chunk,
    data::{self, Decoded},
    reply::{self, Reply},
};
use crate::{
    quirk::{Quirk, Quirks},
    sanitize::Sanitizer,
};

/// Received fields of a message that is still accepted. RFC 5321 section 6.3 asks for a large number,
/// at least 100 where loops are found by counting alone; nothing that is handed to a local relay has
/// travelled that far, and a loop through this relay costs budget each time.
pub(super) const RECEIVED_FIELDS_MAX: u32 = 30;

/// How many times the size limit is read of one message, wanted or not; then the connection is closed,
/// so that nobody can send for ever.
pub(super) const READ_SIZES_MAX: u64 = 10;

/// Octets that are read of any message before that, however small the size limit is.
pub(super) const READ_BYTES_MIN: u64 = 64 * 1024;

/// What decides about a message.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Octets that it may have.
    pub size_bytes_max: u64,
    /// The client's network is trusted: oddities are put right.
    pub trusted: bool,
    /// BODY=8BITMIME was declared.
    pub eight_bit: bool,
    /// SMTPUTF8 was asked for.
    pub internationalized: bool,
}

impl Terms {
    /// Octets that are read of a message, wanted or not.
    #[must_use]
    pub fn read_bytes_max(&self) -> u64 {
        Self::read_bytes_max_of(self.size_bytes_max)
    }

    /// The same for a size limit.
    #[must_use]
    pub fn read_bytes_max_of(size_bytes_max: u64) -> u64 {
        size_bytes_max.saturating_mul(READ_SIZES_MAX).max(READ_BYTES_MIN)
    }
}

/// The message in transfer.
#[derive(Debug)]
pub(super) struct Receiving {
    terms: Terms,
    decoder: Decoder,
    sanitizer: Sanitizer,
    /// Octets from the client.
    read_bytes: u64,
    /// Octets of the decoded message, which is what the size limit is about. Those that are dropped from it
    /// count: a message is as large as it was sent.
    size_bytes: u64,
    fate: Fate,
}

#[derive(Debug)]
enum Decoder {
    Data(data::Decoder),
    Chunks(chunk::Decoder),
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
pub(super) struct Taken {
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
pub(super) enum Ending {
    /// It is complete: make it durable.
    Store(Afterwards),
    /// Only answer.
    Refuse(Reply, Afterwards),
}

/// What becomes of the session after the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// It goes on.
    Continue,
    /// It ends: what follows in the input may have been smuggled, or never ends.
    Close,
}

impl Receiving {
    /// Before the first byte behind 354.
    #[must_use]
    pub(super) fn of_data(terms: Terms) -> Self {
        let decoder = if terms.trusted { data::Decoder::lenient() } else { data::Decoder::new() };
        Self::new(terms, Decoder::Data(decoder))
    }

    /// Before the first octet of the first chunk.
    #[must_use]
    pub(super) fn of_chunks(terms: Terms) -> Self {
        Self::new(terms, Decoder::Chunks(chunk::Decoder::default()))
    }

    fn new(terms: Terms, decoder: Decoder) -> Self {
        Self {
            terms,
            decoder,
            sanitizer: Sanitizer::new(),
            read_bytes: 0,
            size_bytes: 0,
            fate: Fate::Kept,
        }
    }

    /// Takes the next bytes of the client: of DATA, or of one chunk.
    pub(super) fn take(&mut self, input: &[u8]) -> Taken {
        let limit = self.terms.read_bytes_max();
        let allowed = usize::try_from(limit - self.read_bytes).unwrap_or(usize::MAX);
        let input = &input[..input.len().min(allowed)];
        let Decoded { message, consumed, ended } = match &mut self.decoder {
            Decoder::Data(decoder) => decoder.decode(input),
            Decoder::Chunks(decoder) => {
                Decoded { message: decoder.decode(input), consumed: input.len(), ended: false }
            }
        };
        self.read_bytes += consumed as u64;
        let (body, refused_now) = self.keep(message);
        if ended {
            return Taken { consumed, body, refused_now, ending: Some(self.complete()) };
        }
        if self.read_bytes < limit {
            return Taken { consumed, body, refused_now, ending: None };
        }
        // Reading is given up: what was kept so far is not a message.
        let refused_now = refused_now || self.is_kept();
        Taken { consumed, body: Vec::new(), refused_now, ending: Some(self.give_up()) }
    }

    /// The last chunk is complete: the rest of the body, and what is to be done.
    pub(super) fn finish_chunks(&mut self) -> Taken {
        let rest = match &mut self.decoder {
            Decoder::Data(_) => Vec::new(),
            Decoder::Chunks(decoder) => decoder.finish().to_vec(),
        };
        let (body, refused_now) = self.keep(rest);
        Taken { consumed: 0, body, refused_now, ending: Some(self.complete()) }
    }

    /// Whether a chunk of this size can be part of a message that is accepted.
    #[must_use]
    pub(super) fn has_room_for(&self, chunk_bytes: u64) -> bool {
        self.read_bytes.saturating_add(chunk_bytes) <= self.terms.size_bytes_max
    }

    /// Discards the rest and answers with `reply` at the end. The first reason is the one that counts.
    pub(super) fn refuse(&mut self, reply: Reply) {
        if self.is_kept() {
            self.fate = Fate::Refused(reply);
        }
    }

    /// Whether there is a draft that takes its bytes.
    #[must_use]
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.fate, Fate::Kept)
    }

    /// Why it is refused, if it is.
    #[must_use]
    pub(super) fn refusal(&self) -> Option<&Reply> {
        match &self.fate {
            Fate::Kept => None,
            Fate::Refused(reply) => Some(reply),
        }
    }

    /// What was unusual about it; asked when it is complete.
    pub(super) fn quirks(&mut self) -> Quirks {
        let mut quirks = self.sanitizer.finish(self.terms.eight_bit, self.terms.internationalized);
        quirks.extend(self.octet_quirks());
        quirks
    }

    /// What was unusual about its octets so far, also of a message that is refused.
    #[must_use]
    pub(super) fn octet_quirks(&self) -> Quirks {
        let mut quirks = self.sanitizer.octet_quirks();
        quirks.insert_if(self.has_lone_dot(), Quirk::LoneDot);
        let bare_line_feed = match &self.decoder {
            Decoder::Data(decoder) => decoder.has_bare_line_feed(),
            Decoder::Chunks(decoder) => decoder.has_bare_line_feed(),
        };
        quirks.insert_if(bare_line_feed, Quirk::BareLf);
        quirks
    }

    /// The bytes for the draft, and whether the message is refused from here on.
    fn keep(&mut self, decoded: Vec<u8>) -> (Vec<u8>, bool) {
        if !self.is_kept() {
            return (Vec::new(), false);
        }
        let dropped_bytes = memchr_iter(0, &decoded).count();
        let body = self.sanitizer.sanitize(decoded);
        self.size_bytes += (body.len() + dropped_bytes) as u64;
        match self.objection() {
            Some(reply) => {
                self.refuse(reply);
                (Vec::new(), true)
            }
            None => (body, false),
        }
    }

    /// Its end has come. Only here a message is stored.
    fn complete(&self) -> Ending {
        let afterwards = if self.has_lone_dot() { Afterwards::Close } else { Afterwards::Continue };
        match &self.fate {
            Fate::Kept => Ending::Store(afterwards),
            Fate::Refused(reply) => Ending::Refuse(reply.clone(), afterwards),
        }
    }

    /// Its end has not come, and nobody waits for it any more.
    fn give_up(&mut self) -> Ending {
        let reply = match &self.fate {
            Fate::Refused(reply) => reply.clone(),
            Fate::Kept => reply::too_large(self.terms.size_bytes_max),
        };
        self.fate = Fate::Refused(reply.clone());
        Ending::Refuse(reply, Afterwards::Close)
    }

    fn objection(&self) -> Option<Reply> {
        if self.size_bytes > self.terms.size_bytes_max {
            return Some(reply::too_large(self.terms.size_bytes_max));
        }
        if self.sanitizer.received_count() > RECEIVED_FIELDS_MAX {
            return Some(reply::loop_detected());
        }
        if self.terms.trusted {
            return None;
        }
        if self.has_lone_dot() {
            return Some(reply::wrong_line_ends());
        }
        self.sanitizer.has_forbidden_octets().then(reply::forbidden_octets)
    }

    /// In a chunk a dot means nothing.
    fn has_lone_dot(&self) -> bool {
        matches!(&self.decoder, Decoder::Data(decoder) if decoder.has_lone_dot())
    }
}
