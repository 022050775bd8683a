//! `load`: the measuring tool of `benches/run`.
//!
//! Rule: it is light (blocking threads, one read for one reply), because it shares the processors with
//! the server it measures, and it treats every server alike: it sees an address and a process id.
//! Must not know how a server is configured or started; that is the business of `benches/*.sh`.
#![expect(
    clippy::disallowed_methods,
    reason = "a measuring tool reads the clock; nothing here is under test"
)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is its result")]

mod accept;
mod client;
mod control;
mod machine;
mod process;
mod relay;
mod report;
mod start;
mod storm;
mod tls;
mod upstream;

use clap::{Parser, Subcommand};
use serde_json::Value;

/// Any failure: a sentence for the person who started the bench.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(about = "The measuring tool of benches/run")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Submit messages and measure the latency from MAIL to the 250 after the final dot.
    Accept(accept::Options),
    /// Submit messages and measure until the last of them is at the upstream.
    Relay(relay::Options),
    /// Run the upstream that every measured server relays to, until the standard input ends.
    Upstream(upstream::Options),
    /// Start a server and measure the time to its greeting.
    Start(start::Options),
    /// Submit thousands of notices of one kind and an alarm in the middle, and see what of them leaves.
    Storm(storm::Options),
    /// Print processor time and memory of a process and its descendants.
    Tree(process::Options),
    /// Print what machine this is and what a sync costs.
    Machine(machine::Options),
    /// Print a free port of 127.0.0.1.
    FreePort,
    /// Turn the collected results into the report.
    Report(report::Options),
}

fn main() -> Result<(), Failure> {
    let result: Value = match Arguments::parse().command {
        Command::Accept(options) => accept::measure(&options)?,
        Command::Relay(options) => relay::measure(&options)?,
        Command::Upstream(options) => return upstream::run(&options),
        Command::Start(options) => start::measure(&options)?,
        Command::Storm(options) => storm::measure(&options)?,
        Command::Tree(options) => process::measure(&options)?,
        Command::Machine(options) => machine::measure(&options)?,
        Command::FreePort => machine::free_port()?,
        Command::Report(options) => return report::write(&options),
    };
    println!("{result}");
    Ok(())
}
