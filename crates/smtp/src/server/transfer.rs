//! A message in transfer: with DATA up to the dot, or with BDAT chunk by chunk (RFC 3030).
//!
//! Rule: octets of a message are never read as commands, whatever became of the message: those of a chunk
//! that is not wanted are skipped, and a session that cannot skip them ends.
//! Must not know how octets are decoded.

use super::{
    Refusal, Session, Step, Transaction,
    receiving::{Ending, Receiving, Taken, Terms},
    reply::{self, Reply},
    state::{Beginning, Chunk, Skipped, State, Transfer},
};

impl Session {
    /// DATA with at least one recipient.
    pub(super) fn data(&mut self, transaction: Transaction) -> State {
        let terms = self.terms(&transaction);
        self.due = Some(Step::Begin(transaction));
        State::Beginning(Beginning { terms, transfer: Transfer::Data })
    }

    /// BDAT, in any state.
    pub(super) fn chunk(&mut self, state: State, size_bytes: u64, last: bool) -> State {
        match state {
            State::Recipients(transaction) => {
                let terms = self.terms(&transaction);
                if size_bytes > terms.size_bytes_max {
                    return self.skip(
                        size_bytes,
                        reply::too_large(terms.size_bytes_max),
                        State::Ready,
                    );
                }
                self.due = Some(Step::Begin(transaction));
                State::Beginning(Beginning {
                    terms,
                    transfer: Transfer::Chunk { size_bytes, last },
                })
            }
            State::Chunks(receiving) if !receiving.has_room_for(size_bytes) => {
                self.due = Some(Step::Abandon);
                let reply = reply::too_large(self.client.policy.max_message_bytes);
                self.skip(size_bytes, reply, State::Ready)
            }
            State::Chunks(receiving) => State::Chunk(Box::new(Chunk {
                receiving,
                size_bytes,
                remaining_bytes: size_bytes,
                last,
            })),
            state @ State::Mail(_) => {
                self.skip_error(size_bytes, reply::no_valid_recipients(), state)
            }
            state => self.skip_error(size_bytes, reply::mail_first(), state),
        }
    }

    /// The draft is there.
    pub(super) fn transfer(&mut self, beginning: Beginning) -> State {
        let terms = beginning.terms;
        match beginning.transfer {
            Transfer::Data => self.answer(
                &reply::start_data(),
                State::Receiving(Box::new(Receiving::of_data(terms))),
            ),
            Transfer::Chunk { size_bytes, last } => State::Chunk(Box::new(Chunk {
                receiving: Box::new(Receiving::of_chunks(terms)),
                size_bytes,
                remaining_bytes: size_bytes,
                last,
            })),
        }
    }

    /// There is no draft.
    pub(super) fn refuse_beginning(&mut self, beginning: &Beginning, refusal: Refusal) -> State {
        match beginning.transfer {
            Transfer::Data => {
                self.state = State::Ready;
                self.refuse_data(&reply::refused(refusal));
                self.take_state()
            }
            Transfer::Chunk { size_bytes, .. } => {
                self.skip(size_bytes, reply::refused(refusal), State::Ready)
            }
        }
    }

    pub(super) fn next_data(&mut self) -> bool {
        let State::Receiving(receiving) = &mut self.state else {
            return false;
        };
        if self.input.pending().is_empty() {
            return false;
        }
        let taken = receiving.take(self.input.pending());
        self.input.consume(taken.consumed);
        self.note_ending(&taken);
        self.carry_on(taken);
        true
    }

    pub(super) fn next_in_chunk(&mut self) -> bool {
        let State::Chunk(chunk) = &mut self.state else {
            return false;
        };
        if chunk.remaining_bytes == 0 {
            self.end_chunk();
            return true;
        }
        let pending = self.input.pending();
        let count = usize::try_from(chunk.remaining_bytes).unwrap_or(usize::MAX).min(pending.len());
        if count == 0 {
            return false;
        }
        let taken = chunk.receiving.take(&pending[..count]);
        chunk.remaining_bytes -= taken.consumed as u64;
        self.input.consume(taken.consumed);
        self.carry_on(taken);
        true
    }

    /// Every octet of the chunk has come, and the draft has taken them.
    fn end_chunk(&mut self) {
        let State::Chunk(mut chunk) = self.take_state() else {
            return;
        };
        if chunk.last {
            let taken = chunk.receiving.finish_chunks();
            self.state = State::Chunk(chunk);
            self.note_ending(&taken);
            self.carry_on(taken);
            return;
        }
        self.message_ended = true;
        self.state = match chunk.receiving.refusal() {
            // The message has failed; RFC 3030 section 2 wants RSET or MAIL next.
            Some(reply) => self.answer(&reply.clone(), State::Ready),
            None => self
                .answer(&reply::chunk_received(chunk.size_bytes), State::Chunks(chunk.receiving)),
        };
    }

    fn carry_on(&mut self, taken: Taken) {
        if taken.refused_now {
            self.due = Some(Step::Abandon);
        } else if !taken.body.is_empty() {
            self.due = Some(Step::Body(taken.body));
        }
        self.message_ended |= taken.ending.is_some();
        match taken.ending {
            Some(Ending::Store(afterwards)) => self.state = State::Complete(afterwards),
            Some(Ending::Refuse(reply, afterwards)) => {
                self.state = self.answer(&reply, State::after(afterwards));
            }
            None => {}
        }
    }

    /// Notes what was unusual about a message that has ended.
    fn note_ending(&mut self, taken: &Taken) {
        let receiving = match &mut self.state {
            State::Receiving(receiving) => receiving,
            State::Chunk(chunk) => &mut chunk.receiving,
            _ => return,
        };
        match taken.ending {
            Some(Ending::Store(_)) => self.quirk_log.record_all(receiving.quirks()),
            Some(Ending::Refuse(..)) => self.quirk_log.record_all(receiving.octet_quirks()),
            None => {}
        }
    }

    /// The octets of a chunk that should not have come are skipped before the reply.
    fn skip_error(&mut self, size_bytes: u64, reply: Reply, next: State) -> State {
        self.errors += 1;
        self.skip(size_bytes, reply, next)
    }

    fn skip(&mut self, size_bytes: u64, reply: Reply, next: State) -> State {
        if size_bytes > Terms::read_bytes_max_of(self.client.policy.max_message_bytes) {
            // Nobody skips that much; what comes can only be the rest of the chunk.
            return self.answer(&reply, State::Closed);
        }
        State::Skipping(Box::new(Skipped { remaining_bytes: size_bytes, reply, next }))
    }

    pub(super) fn skip_next(&mut self) -> bool {
        let State::Skipping(skipped) = &mut self.state else {
            return false;
        };
        let pending = self.input.pending().len();
        let count = usize::try_from(skipped.remaining_bytes).unwrap_or(usize::MAX).min(pending);
        if count == 0 && skipped.remaining_bytes > 0 {
            return false;
        }
        self.input.consume(count);
        skipped.remaining_bytes -= count as u64;
        if skipped.remaining_bytes == 0
            && let State::Skipping(skipped) = self.take_state()
        {
            self.state = self.answer(&skipped.reply, skipped.next);
            self.message_ended = true;
            self.enforce_limits();
        }
        true
    }

    fn terms(&self, transaction: &Transaction) -> Terms {
        Terms {
            size_bytes_max: self.client.policy.max_message_bytes,
            trusted: self.client.policy.trusted,
            eight_bit: transaction.eight_bit,
            internationalized: transaction.internationalized,
        }
    }
}
