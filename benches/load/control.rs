//! The upstream's control port: one line asked, one JSON line answered.
//!
//! Rule: the counts that the clients of the control port see were taken at the upstream, at the moment
//! a message was complete. Must not know SMTP.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::Failure;

/// What has arrived since the last reset.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Messages answered with 250 after the final dot.
    pub(crate) messages: u64,
    /// TCP connections.
    pub(crate) connections: u64,
    /// Successful AUTH commands.
    pub(crate) logins: u64,
    /// Most connections at one time.
    pub(crate) connections_peak: u64,
    /// Wall time in seconds of the first message.
    pub(crate) first: Option<f64>,
    /// Wall time in seconds of the last message.
    pub(crate) last: Option<f64>,
    /// Commands that were refused.
    pub(crate) refused: u64,
}

/// What the control port changes and the sessions obey.
#[derive(Debug, Default)]
pub(crate) struct State {
    counts: Mutex<Counts>,
    open: AtomicU64,
    /// No session is greeted while this is set.
    pub(crate) held: AtomicBool,
    latency_ms: AtomicU64,
}

impl State {
    /// Changes the counts; `open` is the number of connections that are open now.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A message is complete.
    pub(crate) fn arrived(&self) {
        let now = wall_seconds(SystemTime::now());
        self.count(|counts| {
            counts.messages += 1;
            counts.first.get_or_insert(now);
            counts.last = Some(now);
        });
    }

    /// A connection opened.
    pub(crate) fn opened(&self) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.count(|counts| {
            counts.connections += 1;
            counts.connections_peak = counts.connections_peak.max(open);
        });
    }

    /// A connection ended.
    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The round trip that is being simulated.
    pub(crate) fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms.load(Ordering::Relaxed))
    }

    fn obey(&self, line: &str) -> Result<(), Failure> {
        match line.trim().split_once(' ').unwrap_or_else(|| (line.trim(), "")) {
            ("counts", _) => {}
            ("reset", _) => self.count(|counts| {
                let open = self.open.load(Ordering::Relaxed);
                *counts = Counts { connections: open, connections_peak: open, ..Counts::default() };
            }),
            ("hold", _) => self.held.store(true, Ordering::Relaxed),
            ("release", _) => self.held.store(false, Ordering::Relaxed),
            ("latency", ms) => self.latency_ms.store(ms.parse()?, Ordering::Relaxed),
            (other, _) => return Err(format!("unknown control line {other:?}").into()),
        }
        Ok(())
    }
}

/// Answers control connections for as long as the process lives.
pub(crate) fn serve(listener: &TcpListener, state: &State) {
    for stream in listener.incoming().flatten() {
        if let Err(error) = answer(stream, state) {
            eprintln!("upstream: control: {error}");
        }
    }
}

fn answer(mut stream: TcpStream, state: &State) -> Result<(), Failure> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut line = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut line)?;
    state.obey(&line)?;
    let counts = state.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
    writeln!(stream, "{}", serde_json::to_string(&counts)?)?;
    Ok(())
}

/// Sends one line to the control port at `address` and returns the counts.
pub(crate) fn ask(address: SocketAddr, line: &str) -> Result<Counts, Failure> {
    let mut stream = TcpStream::connect(address)?;
    writeln!(stream, "{line}")?;
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply)?;
    Ok(serde_json::from_str(&reply)?)
}

/// Seconds since 1970.
pub(crate) fn wall_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
