//! One client of the API, for a limited time.
//!
//! Rule: who has come holds a place until the deadline at most, whatever it sends or does not read, and until somebody
//! else needs it while it asks for nothing. Of HTTP it must know no more than where a head ends.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::audience::Place;

/// How long one conversation may last, so that a forgotten client cannot keep its place.
const AGE_MAX: Duration = Duration::from_secs(60);
/// How long the head of the first request may take; a probe sends it at once.
const HEAD_MAX: Duration = Duration::from_secs(5);

/// A stream with a deadline and a place.
#[derive(Debug)]
pub struct Conversation<S> {
    stream: S,
    deadline: Pin<Box<Sleep>>,
    /// Until the first head has come.
    head_deadline: Option<Pin<Box<Sleep>>>,
    place: Place,
    stage: Stage,
    /// Line feeds at the end of what was read, without a character between them.
    line_feeds: u8,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its head has not come completely.
    Asking,
    /// It has, and nothing is written yet.
    Asked,
    /// The answer is being written.
    Answering,
}

impl<S> Conversation<S> {
    /// Begins now.
    pub(super) fn new(stream: S, place: Place) -> Self {
        let deadline = Box::pin(tokio::time::sleep(AGE_MAX));
        let head_deadline = Some(Box::pin(tokio::time::sleep(HEAD_MAX)));
        Self { stream, deadline, head_deadline, place, stage: Stage::Asking, line_feeds: 0 }
    }

    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        // The other end of `lost` says nothing: it ends when the place is somebody else's.
        let is_lost = Pin::new(&mut self.place.lost).poll(context).is_ready();
        let head = self.head_deadline.as_mut();
        let is_slow = head.is_some_and(|deadline| deadline.as_mut().poll(context).is_ready());
        if is_lost || is_slow || self.deadline.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    /// Looks for the empty line that ends a head.
    fn heard(&mut self, bytes: &[u8]) {
        for octet in bytes {
            match octet {
                b'\n' => self.line_feeds += 1,
                b'\r' => {}
                _ => self.line_feeds = 0,
            }
            if self.line_feeds == 2 && self.stage == Stage::Asking {
                self.stage = Stage::Asked;
                self.place.answered(true);
                self.head_deadline = None;
            }
            self.line_feeds = self.line_feeds.min(1);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Conversation<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.heard(&buffer.filled()[before..]);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Conversation<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        if self.stage == Stage::Asked {
            self.stage = Stage::Answering;
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() && self.stage == Stage::Answering {
            self.stage = Stage::Asking;
            self.line_feeds = 0;
            self.place.answered(false);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
