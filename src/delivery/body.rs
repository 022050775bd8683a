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

#[cfg(test)]
mod tests {
    use std::{cell::Cell, net::IpAddr, sync::Arc};

    use super::*;
    use crate::{
        clock::{ManualClock, Timestamp},
        message::envelope::{BodyKind, Envelope, Origin},
        queue::{draft::BUFFER_BYTES, memory_store::MemoryStore, store::Store},
    };

    const HEAD: &[u8] =
        b"Message-ID: <1@example.org>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n";

    async fn reader(text: &[u8]) -> MessageReader {
        let store = MemoryStore::new(Arc::new(ManualClock::new(Timestamp(0))), 1 << 30);
        let envelope = Envelope {
            reverse_path: None,
            forward_paths: vec!["ok@example.net".parse().unwrap()],
            body: BodyKind::SevenBit,
            internationalized: false,
            dsn: crate::smtp::dsn::Dsn::default(),
            lane: crate::message::envelope::Lane::Normal,
            origin: Origin {
                address: IpAddr::from([127, 0, 0, 1]),
                helo: String::new(),
                protocol: "SMTP".into(),
                login: None,
                local: None,
            },
            accepted_at: Timestamp(0),
        };
        let mut draft = store.begin(envelope).unwrap();
        draft.write(HEAD).await.unwrap();
        draft.write(text).await.unwrap();
        let id = store.enqueue(draft).await.unwrap().id();
        store.open_message(id).await.unwrap()
    }

    #[tokio::test]
    async fn exactly_one_final_line_end_is_left_away_wherever_the_blocks_end() {
        for length in (BUFFER_BYTES - 400..BUFFER_BYTES + 4).chain([1, 3 * BUFFER_BYTES]) {
            let text = [vec![b'x'; length], b"\r\n\r\n".to_vec()].concat();
            let noted = Cell::new(0);
            let mut body = Body::new(reader(&text).await, || {
                noted.set(noted.get() + 1);
                Ok(())
            });
            let mut sent = Vec::new();
            while let Some(block) = body.block() {
                sent.extend_from_slice(&block);
            }
            assert!(sent.ends_with(&text[..text.len() - 2]), "{length}");
            assert!(!sent.ends_with(b"\r\n\r\n\r\n") && body.failed().is_none());
            assert_eq!(noted.get(), 1, "the final dot is noted once");
        }
    }

    #[tokio::test]
    async fn the_last_block_is_kept_back_when_the_final_dot_cannot_be_noted() {
        let text = vec![b'x'; 2 * BUFFER_BYTES];
        let reader = reader(&text).await;
        let size_bytes = reader.size_bytes();
        let mut body =
            Body::new(reader, || Err(StoreError::Unavailable("the disk is gone".into())));
        let mut sent = 0;
        while let Some(block) = body.block() {
            sent += block.len() as u64;
        }
        assert!(sent < size_bytes);
        assert_eq!(body.failed(), Some(StoreError::Unavailable("the disk is gone".into())));
        assert_eq!(body.block(), None, "a body that failed gives nothing more");
    }
}
