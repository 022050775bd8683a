//! A program that goes wild: thousands of notices of one kind, and one alarm in the middle of them.
//!
//! Rule: the notices differ in an address, as those of real ban notices do; the alarm's clock runs from before its connect to
//! its arrival at the upstream. Must not know what the server makes of mail that is alike.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};

use crate::{
    Failure,
    client::{self, Client},
    control::{self, Counts, wall_seconds},
};

/// How often the upstream is asked.
const POLL: Duration = Duration::from_millis(5);
/// How long the alarm may take before it counts as lost, and how long nothing may come before nothing more does.
const PATIENCE: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_secs(3);
/// Connections by which the notices come.
const CONNECTIONS: u64 = 4;
/// Notices of a kind that leave before the others are folded.
const UNTOUCHED: u64 = 5;

#[derive(Clone, Copy, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Where the server listens.
    #[arg(long)]
    address: SocketAddr,
    /// The upstream's control port.
    #[arg(long)]
    control: SocketAddr,
    /// Notices.
    #[arg(long, default_value_t = 5_000)]
    notices: u64,
    /// Seconds over which they are spread.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// The server's first process; it is not looked at.
    #[arg(long)]
    pid: Option<u32>,
}

/// Runs the `storm` command.
pub(crate) fn measure(options: &Options) -> Result<Value, Failure> {
    control::ask(options.control, "latency 0")?;
    control::ask(options.control, "release")?;
    control::ask(options.control, "reset")?;
    let begun = Instant::now();
    let half = options.notices / 2;
    let mut taken = hand_in(options, 0..half)?;
    let before = arrived(options, |counts| counts.messages >= UNTOUCHED)?.messages;
    let raised = SystemTime::now();
    let mut monitor = Client::connect(options.address)?;
    monitor.submit(&client::message_about("DegradedArray event on /dev/md0:nas", 600, "alarm"))?;
    let alarm = arrived(options, |counts| counts.messages > before)?;
    taken += hand_in(options, half..options.notices)?;
    let mut last = alarm.messages;
    let mut since = Instant::now();
    while since.elapsed() < QUIET {
        let counts = control::ask(options.control, "counts")?;
        if counts.messages > last {
            (last, since) = (counts.messages, Instant::now());
        }
        thread::sleep(POLL);
    }
    let at = alarm.last.filter(|_| alarm.messages > before);
    Ok(json!({
        "notices": options.notices,
        "accepted": taken,
        "notices_relayed": last.saturating_sub(u64::from(at.is_some())),
        "alarm_ms": at.map(|at| (at - wall_seconds(raised)).max(0.0) * 1_000.0),
        "seconds": begun.elapsed().as_secs_f64(),
    }))
}

/// Waits for what the upstream has, and returns it as it is when it does not come.
fn arrived(options: &Options, is_there: impl Fn(&Counts) -> bool) -> Result<Counts, Failure> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let counts = control::ask(options.control, "counts")?;
        if is_there(&counts) || Instant::now() > give_up {
            return Ok(counts);
        }
        thread::sleep(POLL);
    }
}

/// Hands in the notices with these numbers at their times; how many were taken.
fn hand_in(options: &Options, numbers: std::ops::Range<u64>) -> Result<u64, Failure> {
    let each = Duration::from_secs(options.seconds) / u32::try_from(options.notices.max(1))?;
    let begun = Instant::now();
    let taken: Result<Vec<u64>, String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|first| {
                let numbers = numbers.clone();
                scope.spawn(move || {
                    let mut client = Client::connect(options.address)?;
                    let mut taken = 0;
                    for number in numbers.clone().skip(first as usize).step_by(CONNECTIONS as usize)
                    {
                        let place = u32::try_from(number - numbers.start).unwrap_or(u32::MAX);
                        thread::sleep((each * place).saturating_sub(begun.elapsed()));
                        let (high, low) = (number / 250, number % 250 + 1);
                        let subject =
                            format!("[Fail2Ban] sshd: banned 198.51.{high}.{low} from nas");
                        client.submit(&client::message_about(
                            &subject,
                            600,
                            &number.to_string(),
                        ))?;
                        taken += 1;
                    }
                    client.quit()?;
                    std::io::Result::Ok(taken)
                })
            })
            .collect();
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(taken) => taken.map_err(|error| error.to_string()),
            Err(_) => Err("a client panicked".to_owned()),
        });
        ended.collect()
    });
    Ok(taken?.into_iter().sum())
}
