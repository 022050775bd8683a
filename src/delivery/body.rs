//! The message on its way out, block by block.
//!
//! Rule: exactly one final CRLF is left away, because lettre ends a message with CRLF, dot, CRLF: what
//! arrives is then what was stored. The last block is handed out only after the queue has noted that the
//! final dot is about to be sent. Must not know what is in a message.

use crate::queue::{reader::MessageReader, store::StoreError};

/// Blocks for lettre's `message_iter`, with the note before the last one.
#[derive(Debug)]
pub(super) struct Body<F> {
    reader: MessageReader,
    before_last: Option<F>,
    next: Option<Vec<u8>>,
    failure: Option<StoreError>,
}

impl<F: FnOnce() -> Result<(), StoreError>> Body<F> {
    /// A body whose last block waits for `before_last`.
    pub(super) fn new(reader: MessageReader, before_last: F) -> Self {
        Self { reader, before_last: Some(before_last), next: None, failure: None }
    }

    /// Whether a block may follow; `None` when none does. Check [`Body::failed`] then: the end of a
    /// body that could not be read is not the end of the message.
    pub(super) fn block(&mut self) -> Option<Vec<u8>> {
        match self.advance() {
            Ok(block) => block,
            Err(error) => {
                self.failure = Some(error);
                None
            }
        }
    }

    /// Why the body ended early.
    pub(super) fn failed(&mut self) -> Option<StoreError> {
        self.failure.take()
    }

    fn advance(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(before_last) = self.before_last.take() else { return Ok(None) };
        let mut block = match self.next.take() {
            Some(block) => block,
            None => self.reader.next_block()?.unwrap_or_default(),
        };
        loop {
            match self.reader.next_block()? {
                // A CRLF may lie across two blocks, so the last one must hold it whole.
                Some(next) if next.len() < 2 => block.extend_from_slice(&next),
                Some(next) => {
                    self.next = Some(next);
                    self.before_last = Some(before_last);
                    return Ok(Some(block));
                }
                None => {
                    if block.ends_with(b"\r\n") {
                        block.truncate(block.len() - 2);
                    }
                    before_last()?;
                    return Ok(Some(block));
                }
            }
        }
    }
}
