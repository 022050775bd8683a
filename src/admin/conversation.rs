//! One client of the API, for a limited time.
//!
//! Rule: who has come holds a place until the deadline at most, whatever it sends or does not read, and until somebody
//! else needs it while it asks for nothing. Of HTTP it must know no more than where a head ends.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::audience::Place;
use crate::clock::Clock;

/// How long one conversation may last, so that a forgotten client cannot keep its place.
const AGE_MAX: Duration = Duration::from_secs(60);
/// How long the head of the first request may take; a probe sends it at once.
const HEAD_MAX: Duration = Duration::from_secs(5);

/// A stream with a deadline and a place.
#[derive(Debug)]
pub struct Conversation<S> {
    stream: S,
    deadline: Deadline,
    /// Until the first head has come.
    head_deadline: Option<Deadline>,
    place: Place,
    stage: Stage,
    /// Line feeds at the end of what was read, without a character between them.
    line_feeds: u8,
}

/// A moment on the relay's clock.
struct Deadline(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Deadline {
    fn after(duration: Duration, clock: &Arc<dyn Clock>) -> Self {
        let clock = Arc::clone(clock);
        Self(Box::pin(async move { clock.sleep(duration).await }))
    }

    fn has_come(&mut self, context: &mut Context<'_>) -> bool {
        self.0.as_mut().poll(context).is_ready()
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Deadline")
    }
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
    pub(super) fn new(stream: S, place: Place, clock: &Arc<dyn Clock>) -> Self {
        let deadline = Deadline::after(AGE_MAX, clock);
        let head_deadline = Some(Deadline::after(HEAD_MAX, clock));
        Self { stream, deadline, head_deadline, place, stage: Stage::Asking, line_feeds: 0 }
    }

    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        // The other end of `lost` says nothing: it ends when the place is somebody else's.
        let is_lost = Pin::new(&mut self.place.lost).poll(context).is_ready();
        let head = self.head_deadline.as_mut();
        let is_slow = head.is_some_and(|deadline| deadline.has_come(context));
        if is_lost || is_slow || self.deadline.has_come(context) {
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::{
        super::audience::{Audience, Limits, Party},
        *,
    };
    use crate::clock::{ManualClock, Timestamp};

    fn conversation(clock: &ManualClock) -> (DuplexStream, Conversation<DuplexStream>) {
        let audience = Audience::new(Limits { all: 2, of_one: 2, kept: 0 });
        let place = audience.enter(Party::User(1_000)).unwrap();
        let (client, server) = duplex(1024);
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        (client, Conversation::new(server, place, &clock))
    }

    /// What reading ends with at this moment; `None` while it waits.
    async fn ends(conversation: &mut Conversation<DuplexStream>) -> Option<io::ErrorKind> {
        let mut octets = [0; 64];
        loop {
            tokio::select! {
                biased;
                read = conversation.read(&mut octets) => match read {
                    Ok(0) => return Some(io::ErrorKind::UnexpectedEof),
                    Ok(_) => {}
                    Err(error) => return Some(error.kind()),
                },
                () = std::future::ready(()) => return None,
            }
        }
    }

    #[tokio::test]
    async fn a_head_that_has_not_come_after_five_seconds_ends_the_conversation() {
        for said in ["", "GET /health/live HTTP/1.1\r\nHost: relay\r\n"] {
            let clock = ManualClock::new(Timestamp(1_800_000_000_000));
            let (mut client, mut conversation) = conversation(&clock);
            client.write_all(said.as_bytes()).await.unwrap();
            assert_eq!(ends(&mut conversation).await, None, "{said}");
            // A client that says something each second is as slow as one that says nothing.
            for _ in 0..4 {
                client.write_all(b"A").await.unwrap();
                clock.advance(Duration::from_secs(1));
                assert_eq!(ends(&mut conversation).await, None, "{said}");
            }
            clock.advance(Duration::from_secs(1));
            assert_eq!(ends(&mut conversation).await, Some(io::ErrorKind::TimedOut), "{said}");
        }
    }

    #[tokio::test]
    async fn who_has_asked_in_time_is_heard_until_the_whole_conversation_is_too_old() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let (mut client, mut conversation) = conversation(&clock);
        client.write_all(b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n").await.unwrap();
        assert_eq!(ends(&mut conversation).await, None);
        clock.advance(AGE_MAX - Duration::from_secs(1));
        assert_eq!(ends(&mut conversation).await, None);
        clock.advance(Duration::from_secs(1));
        assert_eq!(ends(&mut conversation).await, Some(io::ErrorKind::TimedOut));
    }
}
