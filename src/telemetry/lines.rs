//! The queue of log lines, and the thread that writes them.
//!
//! Rule: whoever logs never waits. A reader that stands still (a stalled log driver, Ctrl-S) fills the queue; what
//! comes then is dropped and counted, and the count is told once there is a reader again. Must not know what a line
//! says.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
    os::fd::AsFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};
use tracing_subscriber::fmt::MakeWriter;

use crate::sync;

/// Octets of lines that wait: some seconds of the busiest relay.
pub(super) const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// What a line costs besides its octets.
const LINE_BYTES: usize = 64;
/// Stack of the thread, which only writes.
const STACK_BYTES: usize = 64 * 1024;

/// Where lines go: anything that may block for as long as it likes.
pub(super) trait Sink: Send + 'static {
    /// Writes whole lines; an error means that nobody will ever read them.
    fn write_lines(&mut self, lines: &[u8]) -> io::Result<()>;
}

/// A standard stream. Other programs may have made it non-blocking: then it is waited for.
pub(super) struct Stream<S>(pub(super) S);

impl<S: Write + AsFd + Send + 'static> Sink for Stream<S> {
    fn write_lines(&mut self, mut lines: &[u8]) -> io::Result<()> {
        while !lines.is_empty() {
            match self.0.write(lines) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => lines = &lines[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A signal ends the wait early, which costs one more attempt.
                    let mut ready = [PollFd::new(&self.0, PollFlags::OUT)];
                    poll(&mut ready, None).ok();
                }
                Err(error) => return Err(error),
            }
        }
        self.0.flush()
    }
}

/// The end that loggers hold.
#[derive(Clone)]
pub(super) struct Lines {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Something has come, or everything has gone.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
    /// The thread has lines in its hands.
    writing: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can leave the state half done.
        sync::lock(&self.state)
    }
}

impl Lines {
    /// Starts the thread. `told` makes the line that says how many were dropped.
    pub(super) fn start(
        sink: impl Sink,
        told: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { state: Mutex::new(State::default()), changed: Condvar::new() });
        let lines = Self { shared: Arc::clone(&shared) };
        let thread = thread::Builder::new().name("log".into()).stack_size(STACK_BYTES);
        thread.spawn(move || write(&shared, sink, &told))?;
        Ok(lines)
    }

    /// Puts a line into the queue, or counts it when there is no room.
    pub(super) fn push(&self, line: Vec<u8>) {
        let mut state = self.shared.lock();
        let bytes = line.len() + LINE_BYTES;
        if state.bytes + bytes > WAITING_BYTES_MAX {
            state.dropped += 1;
            return;
        }
        state.bytes += bytes;
        state.waiting.push_back(line);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Waits until everything is written, but no longer than this. Returns whether it is.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let is_busy =
            |state: &mut State| !state.waiting.is_empty() || state.writing || state.dropped > 0;
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), limit, is_busy);
        let (_state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }
}

impl<'writer> MakeWriter<'writer> for Lines {
    type Writer = Self;

    fn make_writer(&'writer self) -> Self {
        self.clone()
    }
}

/// One call is one line: tracing formats an event in memory.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(shared: &Shared, mut sink: impl Sink, told: &dyn Fn(u64) -> Vec<u8>) {
    loop {
        let is_idle = |state: &mut State| state.waiting.is_empty() && state.dropped == 0;
        let waited = shared.changed.wait_while(shared.lock(), is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let waiting = mem::take(&mut state.waiting);
        let dropped = mem::take(&mut state.dropped);
        state.writing = true;
        drop(state);
        for line in waiting {
            // Room for a new line is there when this one is written, not before. An output that was closed takes
            // nothing any more; the relay goes on without it.
            let bytes = line.len() + LINE_BYTES;
            sink.write_lines(&line).ok();
            shared.lock().bytes -= bytes;
        }
        if dropped > 0 {
            sink.write_lines(&told(dropped)).ok();
        }
        shared.lock().writing = false;
        shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// An output that takes a line for each permit.
    struct Gated {
        permits: mpsc::Receiver<()>,
        written: mpsc::Sender<String>,
    }

    impl Sink for Gated {
        fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
            let _permit = self.permits.recv();
            let text = String::from_utf8(lines.to_vec()).unwrap();
            self.written.send(text).map_err(|_| io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn lines_that_nobody_reads_are_dropped_and_counted_and_nobody_waits() {
        let (permit, permits) = mpsc::channel();
        let (written, read) = mpsc::channel();
        let told = |number| format!("{number} dropped").into_bytes();
        let lines = Lines::start(Gated { permits, written }, told).unwrap();
        let line = vec![b'x'; 1000];
        let room = WAITING_BYTES_MAX / (1000 + LINE_BYTES);
        for _ in 0..room + 500 {
            lines.push(line.clone());
        }
        assert!(!lines.flush(Duration::from_millis(1)), "the reader stands still");
        drop(permit);
        assert!(lines.flush(Duration::from_secs(60)));
        let all: Vec<String> = read.try_iter().collect();
        assert_eq!(all.iter().filter(|line| line.starts_with('x')).count(), room);
        // In one line, or in two when the thread first looks while the queue is already full.
        let told = all.iter().filter_map(|line| line.strip_suffix(" dropped"));
        assert_eq!(told.map(|number| number.parse::<u32>().unwrap()).sum::<u32>(), 500);
        assert!(all.last().unwrap().ends_with(" dropped"), "{:?}", all.last());
        lines.push(b"after".to_vec());
        assert!(lines.flush(Duration::from_secs(60)));
        assert_eq!(read.try_iter().collect::<Vec<_>>(), ["after"]);
    }

    #[test]
    fn an_output_that_was_closed_or_does_not_block_costs_nothing_but_its_lines() {
        let told = |_| Vec::new();
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let lines = Lines::start(Stream(writer), told).unwrap();
        lines.push(b"into the void\n".to_vec());
        assert!(lines.flush(Duration::from_secs(60)));

        let (mut reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let lines = Lines::start(Stream(writer), told).unwrap();
        let much = vec![b'x'; 500_000];
        lines.push(much.clone());
        let mut read = vec![0; much.len()];
        io::Read::read_exact(&mut reader, &mut read).unwrap();
        assert!(read == much);
    }
}
