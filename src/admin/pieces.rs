//! The body of an answer that comes piece by piece, as its maker has something to say.
//!
//! Rule: one piece is made at a time, when the one before is on its way. Must not know what is said.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame};

/// The next piece, and who makes the one after it; `None` at the end.
type Next<S> = Pin<Box<dyn Future<Output = Option<(S, Bytes)>> + Send>>;

/// The body.
pub(crate) struct Pieces<S> {
    next: Next<S>,
    step: fn(S) -> Next<S>,
}

impl<S> Pieces<S> {
    /// What `step` makes of `start`, and so on.
    pub(crate) fn new(start: S, step: fn(S) -> Next<S>) -> Self {
        Self { next: step(start), step }
    }
}

impl<S> fmt::Debug for Pieces<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pieces")
    }
}

impl<S> Body for Pieces<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.next.as_mut().poll(context).map(|next| {
            let (state, octets) = next?;
            self.next = (self.step)(state);
            Some(Ok(Frame::data(octets)))
        })
    }
}
