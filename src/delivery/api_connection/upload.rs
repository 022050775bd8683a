//! The body of a request: a message that is handed over block by block, as fast as the connection takes it.
//!
//! Rule: one block waits at most, so that memory does not grow with the message, and the last one is let go only when whoever
//! sends it has noted that it may be out. Must not know HTTP answers.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::{
    delivery::answer::{Stage, StageCell},
    queue::{QueueError, spool_file::MessageReader},
};

/// The end that the connection reads.
#[derive(Debug)]
pub(super) struct Upload {
    blocks: mpsc::Receiver<Bytes>,
    /// Octets that are still to come.
    left: u64,
    state: State,
}

/// The end that is given the message.
#[derive(Debug)]
pub(super) struct Feed {
    blocks: mpsc::Sender<Bytes>,
    octets: u64,
    state: State,
}

/// Whether the last block has been taken by the connection.
#[derive(Clone, Debug, Default)]
pub(super) struct State(Arc<AtomicBool>);

impl State {
    /// From now on the server may have the whole message.
    pub(super) fn is_out(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// How far the message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fed {
    All,
    /// The connection takes no more of it.
    Refused,
}

/// Both ends for a message of so many octets.
pub(super) fn channel(octets: u64) -> (Feed, Upload) {
    let (sender, receiver) = mpsc::channel(1);
    let state = State::default();
    let feed = Feed { blocks: sender, octets, state: state.clone() };
    (feed, Upload { blocks: receiver, left: octets, state })
}

impl Feed {
    /// What becomes of the last block.
    pub(super) fn state(&self) -> State {
        self.state.clone()
    }

    /// Gives all of the message. `before_last` runs before its last block can leave.
    pub(super) async fn all<F>(
        self,
        mut reader: MessageReader,
        before_last: F,
        stage: &StageCell,
    ) -> Result<Fed, QueueError>
    where
        F: Future<Output = Result<(), QueueError>> + Send,
    {
        let (mut left, mut before_last) = (self.octets, Some(before_last));
        while let Some(block) = reader.next_block()? {
            left = left.saturating_sub(block.len() as u64);
            // Who has room for it takes it at once: what the note is about must be noted before.
            let Ok(place) = self.blocks.reserve().await else { return Ok(Fed::Refused) };
            if left == 0
                && let Some(before_last) = before_last.take()
            {
                before_last.await?;
                stage.enter(Stage::FinalDot);
            }
            place.send(Bytes::from(block));
        }
        Ok(Fed::All)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Poll::Ready(block) = self.blocks.poll_recv(context) else { return Poll::Pending };
        // Without its last block the request is shorter than it says, and the connection ends.
        let Some(block) = block else { return Poll::Ready(None) };
        self.left = self.left.saturating_sub(block.len() as u64);
        if self.left == 0 {
            self.state.0.store(true, Ordering::Release);
        }
        Poll::Ready(Some(Ok(Frame::data(block))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
