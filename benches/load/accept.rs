//! Durable accepts per second and their latency.
//!
//! Rule: the clock of a message runs from before MAIL to after the 250 that follows the final dot; the
//! clock of the rate also covers connecting, EHLO and QUIT. Must not know whether the server relays.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};

use crate::{
    Failure,
    client::{self, Client},
    process::Usage,
};

/// A server that fails this often is not measured any further.
const FAILURES_MAX: u64 = 200;

#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Where the server listens.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// Connections in parallel.
    #[arg(long, default_value_t = 10)]
    pub(crate) connections: u64,
    /// Messages on one connection before QUIT.
    #[arg(long, default_value_t = 20)]
    pub(crate) per_connection: u64,
    /// Stop after this many messages.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) messages: u64,
    /// Stop after this many seconds.
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
    /// Bytes of a message, final dot excluded.
    #[arg(long, default_value_t = 4096)]
    pub(crate) size: usize,
    /// The server's first process: processor time and memory of its tree are reported.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
}

/// What the clients saw.
#[derive(Debug)]
pub(crate) struct Submitted {
    /// Microseconds of each accepted message, sorted.
    latencies: Vec<u32>,
    failures: u64,
    first_failure: Option<String>,
    /// From the first connect to the last 250 or QUIT.
    elapsed: Duration,
    /// Wall time of the start.
    pub(crate) started: SystemTime,
}

impl Submitted {
    /// Messages that were acknowledged.
    pub(crate) fn accepted(&self) -> usize {
        self.latencies.len()
    }

    /// The figures of the report.
    pub(crate) fn figures(&self) -> Value {
        json!({
            "accepted": self.accepted(),
            "failures": self.failures,
            "first_failure": self.first_failure,
            "seconds": self.elapsed.as_secs_f64(),
            "rate": self.accepted() as f64 / self.elapsed.as_secs_f64(),
            "p50_ms": percentile(&self.latencies, 50.0),
            "p99_ms": percentile(&self.latencies, 99.0),
            "max_ms": percentile(&self.latencies, 100.0),
        })
    }
}

/// Runs the `accept` command.
pub(crate) fn measure(options: &Options) -> Result<Value, Failure> {
    let before = Usage::of_tree(options.pid)?;
    let submitted = submit(options);
    if submitted.accepted() == 0 {
        let reason = submitted.first_failure.as_deref().unwrap_or("no reason known");
        return Err(format!("not one message was accepted by {}: {reason}", options.address).into());
    }
    let mut figures = submitted.figures();
    // Work that the server has put off until after the 250 belongs to these messages too.
    let after = Usage::when_quiet(options.pid)?;
    after.describe(&before, submitted.accepted(), &mut figures);
    Ok(figures)
}

/// Submits until the wanted number is reached or the time is over.
pub(crate) fn submit(options: &Options) -> Submitted {
    let shared =
        Shared { tickets: AtomicU64::new(0), failures: AtomicU64::new(0), first: Mutex::new(None) };
    let started = SystemTime::now();
    let start = Instant::now();
    let deadline = start + Duration::from_secs(options.seconds);
    let mut latencies: Vec<u32> = thread::scope(|scope| {
        let shared = &shared;
        let threads: Vec<_> = (0..options.connections)
            .map(|number| scope.spawn(move || connections(options, shared, number, deadline)))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    let elapsed = start.elapsed();
    latencies.sort_unstable();
    let first_failure = shared.first.into_inner().unwrap_or_else(PoisonError::into_inner);
    Submitted { latencies, failures: shared.failures.into_inner(), first_failure, elapsed, started }
}

#[derive(Debug)]
struct Shared {
    tickets: AtomicU64,
    failures: AtomicU64,
    first: Mutex<Option<String>>,
}

/// One connection after the other, until there is nothing left to do.
fn connections(options: &Options, shared: &Shared, number: u64, deadline: Instant) -> Vec<u32> {
    let mut latencies = Vec::new();
    while shared.tickets.load(Ordering::Relaxed) < options.messages
        && Instant::now() < deadline
        && shared.failures.load(Ordering::Relaxed) < FAILURES_MAX
    {
        if let Err(error) = connection(options, shared, number, deadline, &mut latencies) {
            shared.failures.fetch_add(1, Ordering::Relaxed);
            shared
                .first
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error.to_string());
            thread::sleep(Duration::from_millis(10));
        }
    }
    latencies
}

fn connection(
    options: &Options,
    shared: &Shared,
    number: u64,
    deadline: Instant,
    latencies: &mut Vec<u32>,
) -> std::io::Result<()> {
    let mut client = Client::connect(options.address)?;
    for _ in 0..options.per_connection {
        let ticket = shared.tickets.fetch_add(1, Ordering::Relaxed);
        if ticket >= options.messages || Instant::now() >= deadline {
            break;
        }
        let message =
            client::message(options.size, &format!("{number}.{ticket}.{}", std::process::id()));
        let begin = Instant::now();
        client.submit(&message)?;
        latencies.push(u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    client.quit()
}

/// The nearest-rank percentile of sorted microseconds, in milliseconds.
fn percentile(sorted: &[u32], percent: f64) -> f64 {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
}
