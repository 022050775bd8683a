//! Dialogues as they happen, for whoever watches: each line with the connection it belongs to.
//!
//! Rule: while nobody watches, a line costs one look at a number. Whoever speaks leaves secrets and the text of messages
//! out, before a line comes here. A watcher that is slow misses lines and hears how many; nobody waits for him.

use std::{
    net::IpAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::broadcast::{self, error::RecvError};

use super::VALUE_BYTES_MAX;

/// Who watch at a time.
pub(crate) const WATCHERS_MAX: usize = 4;
/// Lines that wait for a slow watcher.
const LINES_MAX: usize = 1_024;

/// All dialogues of this process.
static DIALOGUES: LazyLock<Dialogues> = LazyLock::new(|| Dialogues {
    lines: broadcast::Sender::new(LINES_MAX),
    watchers: AtomicUsize::new(0),
    connections: AtomicU64::new(0),
});

struct Dialogues {
    lines: broadcast::Sender<Arc<Line>>,
    watchers: AtomicUsize,
    connections: AtomicU64,
}

/// With whom the relay speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A client at this address; programs of this host have that of loopback.
    Client(IpAddr),
    /// The upstream of the account with this number.
    Upstream(u32),
}

/// A line of a dialogue.
#[derive(Debug)]
pub(crate) struct Line {
    /// The number of its connection since the start of the process.
    pub(crate) connection: u64,
    pub(crate) peer: Peer,
    /// Whether the relay has said it.
    pub(crate) ours: bool,
    /// Without its line end, at most [`VALUE_BYTES_MAX`] octets.
    pub(crate) text: String,
}

/// One end of a connection, through which its lines are told.
#[derive(Debug)]
pub(crate) struct Speaker {
    connection: u64,
    peer: Peer,
}

impl Speaker {
    /// That of a new connection.
    pub(crate) fn new(peer: Peer) -> Self {
        Self { connection: DIALOGUES.connections.fetch_add(1, Ordering::Relaxed) + 1, peer }
    }

    /// Whether anybody watches.
    pub(crate) fn is_watched(&self) -> bool {
        DIALOGUES.watchers.load(Ordering::Relaxed) > 0
    }

    /// Tells what the relay says, line by line.
    pub(crate) fn says(&self, text: &str) {
        self.tell(true, text);
    }

    /// Tells what the other side has said.
    pub(crate) fn hears(&self, text: &str) {
        self.tell(false, text);
    }

    fn tell(&self, ours: bool, text: &str) {
        if !self.is_watched() {
            return;
        }
        for text in text.lines() {
            let text = text[..text.floor_char_boundary(VALUE_BYTES_MAX)].to_owned();
            let line = Line { connection: self.connection, peer: self.peer, ours, text };
            // Nobody may be left to hear it.
            drop(DIALOGUES.lines.send(Arc::new(line)));
        }
    }
}

/// Who watches, from now on until it is dropped.
#[derive(Debug)]
pub(crate) struct Watcher(broadcast::Receiver<Arc<Line>>);

/// What a watcher gets.
#[derive(Debug)]
pub(crate) enum Seen {
    Line(Arc<Line>),
    /// So many lines were told too fast.
    Missed(u64),
}

impl Watcher {
    /// `None` when [`WATCHERS_MAX`] watch already.
    pub(crate) fn new() -> Option<Self> {
        let one_more = |watchers: usize| (watchers < WATCHERS_MAX).then_some(watchers + 1);
        let order = Ordering::Relaxed;
        DIALOGUES.watchers.fetch_update(order, order, one_more).ok()?;
        Some(Self(DIALOGUES.lines.subscribe()))
    }

    /// The next line. Whoever stops waiting misses nothing.
    pub(crate) async fn next(&mut self) -> Seen {
        match self.0.recv().await {
            Ok(line) => Seen::Line(line),
            Err(RecvError::Lagged(lines)) => Seen::Missed(lines),
            // The sender is never dropped.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        DIALOGUES.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test for all of it: the dialogues are those of the process.
    #[tokio::test]
    async fn watchers_see_what_is_said_while_they_watch_and_hear_what_they_have_missed() {
        let speaker = Speaker::new(Peer::Client([192, 0, 2, 7].into()));
        speaker.hears("NOOP before anybody watches");
        let mut watcher = Watcher::new().expect("the first one");
        speaker.hears("EHLO x");
        speaker.says(&format!("250-y\r\n250 {}\r\n", "z".repeat(2 * VALUE_BYTES_MAX)));
        let mut seen = Vec::new();
        while seen.len() < 3 {
            let Seen::Line(line) = watcher.next().await else { panic!("nothing was missed") };
            if line.connection == speaker.connection {
                seen.push((line.ours, line.text.len(), line.text[..5].to_owned()));
            }
        }
        let cut = VALUE_BYTES_MAX;
        let expected = [(false, 6, "EHLO "), (true, 5, "250-y"), (true, cut, "250 z")];
        assert_eq!(seen, expected.map(|(ours, length, text)| (ours, length, text.to_owned())));

        (0..LINES_MAX + 10).for_each(|_| speaker.hears("NOOP"));
        assert!(matches!(watcher.next().await, Seen::Missed(10..)));

        let others: Vec<Watcher> = (1..WATCHERS_MAX).filter_map(|_| Watcher::new()).collect();
        assert_eq!((others.len(), Watcher::new().is_none()), (WATCHERS_MAX - 1, true));
        drop((others, watcher));
        assert!(!speaker.is_watched() && Watcher::new().is_some());
    }
}
