//! Messages relayed: end to end, and out of a queue that was filled before.
//!
//! Rule: the end is the arrival of the last message at the upstream, taken there. End to end the start
//! is the first connect of the clients; for a filled queue it is the first arrival. Must not know how
//! a server holds its queue: the upstream holds it, by not greeting.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    Failure, accept,
    control::{self, Counts, wall_seconds},
    process::Usage,
};

/// How often the upstream is asked how far it is.
const POLL: Duration = Duration::from_millis(20);

#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    #[command(flatten)]
    submission: accept::Options,
    /// The upstream's control port.
    #[arg(long)]
    control: SocketAddr,
    /// The round trip that the upstream simulates, in milliseconds.
    #[arg(long, default_value_t = 0)]
    latency: u64,
    /// Fill the queue first, then let the upstream greet and measure how the queue empties.
    #[arg(long)]
    prefill: bool,
    /// Give up this many seconds after the last 250.
    #[arg(long, default_value_t = 90)]
    patience: u64,
}

/// Runs the `relay` command.
pub(crate) fn measure(options: &Options) -> Result<Value, Failure> {
    control::ask(options.control, &format!("latency {}", options.latency))?;
    control::ask(options.control, if options.prefill { "hold" } else { "release" })?;
    control::ask(options.control, "reset")?;
    let before = Usage::of_tree(options.submission.pid)?;
    let submitted = accept::submit(&options.submission);
    let drain_before =
        if options.prefill { Usage::when_quiet(options.submission.pid)? } else { before };
    control::ask(options.control, "release")?;
    let counts = wait(options, submitted.accepted() as u64)?;
    let after = Usage::when_quiet(options.submission.pid)?;

    let first =
        if options.prefill { counts.first.unwrap_or(0.0) } else { wall_seconds(submitted.started) };
    let seconds = counts.last.unwrap_or(first) - first;
    let mut figures = json!({
        "accepted": submitted.accepted(),
        "submission": submitted.figures(),
        "arrived": counts.messages,
        "seconds": seconds,
        "rate": counts.messages as f64 / seconds,
        "connections_peak": counts.connections_peak,
        "connections": counts.connections,
        "logins": counts.logins,
        "logins_per_connection": counts.logins as f64 / counts.connections.max(1) as f64,
        "refused": counts.refused,
    });
    after.describe(&drain_before, submitted.accepted(), &mut figures);
    Ok(figures)
}

/// Waits until everything has arrived; less than everything is reported as it is, not hidden.
fn wait(options: &Options, expected: u64) -> Result<Counts, Failure> {
    let give_up = Instant::now() + Duration::from_secs(options.patience);
    loop {
        let counts = control::ask(options.control, "counts")?;
        if counts.messages >= expected || Instant::now() > give_up {
            return Ok(counts);
        }
        thread::sleep(POLL);
    }
}
