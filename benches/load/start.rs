//! Starts a server and measures the time to its greeting.
//!
//! Rule: the time runs from before the exec to the last byte of the first line that begins with 220.
//! Must not know what is started; it goes on living when this tool has ended.

use std::{
    fs::File,
    io::{self, Read},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::Failure;

/// How often a connect is tried while nobody listens.
const RETRY: Duration = Duration::from_millis(1);
/// How long a server that nobody visits takes to come to rest.
const REST: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Where the server will listen.
    #[arg(long)]
    address: SocketAddr,
    /// Where its standard output and error go (appended).
    #[arg(long)]
    log: PathBuf,
    /// Give up after this many seconds.
    #[arg(long, default_value_t = 30)]
    patience: u64,
    /// Do not connect, only let the server come to rest: a greeting may start processes of its own.
    #[arg(long)]
    unvisited: bool,
    /// The server and its arguments.
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

/// Runs the `start` command.
pub(crate) fn measure(options: &Options) -> Result<Value, Failure> {
    let (program, arguments) = options.command.split_first().ok_or("no command given")?;
    let log = File::options().append(true).create(true).open(&options.log)?;
    let begin = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    if options.unvisited {
        thread::sleep(REST);
        return Ok(json!({ "pid": child.id() }));
    }
    loop {
        if greeted(options.address).is_ok() {
            let milliseconds = begin.elapsed().as_secs_f64() * 1000.0;
            return Ok(json!({ "pid": child.id(), "greeting_ms": milliseconds }));
        }
        // A command that only starts a daemon ends with success before the daemon listens.
        let failed = child.try_wait()?.is_some_and(|status| !status.success());
        if failed || begin.elapsed() > Duration::from_secs(options.patience) {
            return Err(format!(
                "{program} did not greet on {} within {} s: see {}",
                options.address,
                options.patience,
                options.log.display()
            )
            .into());
        }
        thread::sleep(RETRY);
    }
}

fn greeted(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut line = Vec::new();
    while !line.ends_with(b"\n") && line.len() < 1024 {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    if line.starts_with(b"220") { Ok(()) } else { Err(io::Error::other("not a greeting")) }
}
