//! BDAT: message data in counted chunks instead of lines (RFC 3030).
//!
//! Rule: the octets of a chunk are always taken, also when the command was refused, because the client
//! sends them without waiting; what is refused is thrown away. Must not know sockets.

use super::{
    body::Body,
    command::ChunkSize,
    replies,
    script::Stage,
    session::{Flow, Session, State},
    transaction::Transaction,
};
use crate::clock::Moment;

/// A chunk whose octets are coming.
#[derive(Debug)]
pub(super) struct Chunk {
    remaining: u64,
    last: bool,
    destination: Destination,
    /// What the command's own stage has ordered for the reply.
    flow: Flow,
}

#[derive(Debug)]
enum Destination {
    Message(Box<Transaction>, Box<Body>),
    /// Nowhere; the session goes on from this state.
    Nowhere(Box<State>),
}

impl Chunk {
    /// Takes what belongs to the chunk; returns how much.
    pub(super) fn receive(&mut self, input: &[u8]) -> usize {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let octets = &input[..input.len().min(wanted)];
        if let Destination::Message(_, body) = &mut self.destination {
            body.receive_counted(octets);
        }
        self.remaining -= octets.len() as u64;
        octets.len()
    }
}

impl Session {
    /// The BDAT command.
    pub(super) fn bdat(&mut self, rest: &str, now: Moment) -> Flow {
        let Some(size) = ChunkSize::parse(rest) else {
            // Nobody knows where the next command begins.
            return self.violation(&replies::SYNTAX_ERROR).then(Flow::Close);
        };
        if size.octets > self.size_max() {
            return self.refuse(Stage::Data, &replies::TOO_LARGE, "").then(Flow::Close);
        }
        let (destination, flow) = match self.chunk_may_come(size, now) {
            Ok((transaction, body, flow)) => (Destination::Message(transaction, body), flow),
            Err(Flow::Continue) => {
                let state = std::mem::replace(&mut self.state, State::Idle);
                (Destination::Nowhere(Box::new(state)), Flow::Continue)
            }
            Err(flow) => return flow,
        };
        self.state =
            State::Chunk(Chunk { remaining: size.octets, last: size.last, destination, flow });
        // A chunk without octets has arrived already.
        if size.octets == 0 { self.chunk_arrived(now) } else { Flow::Continue }
    }

    /// Whether the chunk belongs to a message; `Err` when the refusal has been written.
    fn chunk_may_come(
        &mut self,
        size: ChunkSize,
        now: Moment,
    ) -> Result<(Box<Transaction>, Box<Body>, Flow), Flow> {
        let (transaction, body, flow) = match std::mem::replace(&mut self.state, State::Idle) {
            State::Chunked(transaction, body) => (transaction, body, Flow::Continue),
            State::Mail(transaction) if transaction.has_recipients() => {
                let flow = self.may_send(&transaction, now)?;
                (transaction, self.empty_body(), flow)
            }
            State::Mail(transaction) => {
                self.state = State::Mail(transaction);
                return Err(self.violation(&replies::RCPT_FIRST));
            }
            State::Idle | State::Challenged(_) | State::Data(..) | State::Chunk(_) => {
                return Err(self.violation(&replies::MAIL_FIRST));
            }
        };
        if body.size.saturating_add(size.octets) > self.size_max() {
            return Err(self.refuse(Stage::Dot, &replies::TOO_LARGE, ""));
        }
        Ok((transaction, body, flow))
    }

    /// Some octets of a chunk have arrived, perhaps all of them.
    pub(super) fn chunk_arrived(&mut self, now: Moment) -> Flow {
        let State::Chunk(mut chunk) = std::mem::replace(&mut self.state, State::Idle) else {
            return Flow::Continue;
        };
        if let Destination::Message(transaction, body) = &mut chunk.destination
            && let Err(flow) = self.body_begins(transaction, body, now)
        {
            return flow;
        }
        if chunk.remaining > 0 {
            self.state = State::Chunk(chunk);
            return Flow::Continue;
        }
        let (transaction, body) = match chunk.destination {
            Destination::Message(transaction, body) => (transaction, body),
            Destination::Nowhere(state) => {
                self.state = *state;
                return Flow::Continue;
            }
        };
        if chunk.last {
            let flow = self.message_arrived(*transaction, *body, now);
            return if flow == Flow::Continue { chunk.flow } else { flow };
        }
        self.state = State::Chunked(transaction, body);
        self.reply(&replies::CHUNK_OK, "").then(chunk.flow)
    }
}
