//! The machine of the bench: what it is, what a sync costs on it, and small services.
//!
//! Rule: everything the reader of a report needs to judge its figures. Must not know any server.

use std::{
    fs::{self, File},
    io::Write,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use serde_json::{Value, json};

use crate::Failure;

/// Files written and synced to find out what a sync costs.
const SYNC_SAMPLES: u32 = 100;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// A directory on the file system that holds the queues.
    #[arg(long)]
    directory: PathBuf,
}

/// Runs the `machine` command.
pub(crate) fn measure(options: &Options) -> Result<Value, Failure> {
    let mut sync = Vec::new();
    for number in 0..SYNC_SAMPLES {
        sync.push(sync_once(&options.directory.join(format!("sync-{number}")))?);
    }
    sync.sort_by(f64::total_cmp);
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(json!({
        "cores": thread::available_parallelism()?.get(),
        "processor": processor(),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        "load_average": load.split(' ').next().and_then(|value| value.parse::<f64>().ok()),
        "sync_p50_ms": sync[sync.len() / 2],
        "sync_p99_ms": sync[sync.len() - 2],
    }))
}

/// Milliseconds to make one new file of 4 KiB durable.
fn sync_once(path: &Path) -> Result<f64, Failure> {
    let mut file = File::create(path)?;
    file.write_all(&[b'x'; 4096])?;
    let begin = Instant::now();
    file.sync_all()?;
    let milliseconds = begin.elapsed().as_secs_f64() * 1000.0;
    fs::remove_file(path)?;
    Ok(milliseconds)
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    line.and_then(|rest| rest.split_once(':'))
        .map_or_else(String::new, |(_, name)| name.trim().to_owned())
}

/// Runs the `free-port` command.
pub(crate) fn free_port() -> Result<Value, Failure> {
    Ok(json!(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port()))
}

/// Takes system log lines from a datagram socket and appends them to a file, in a thread of its own.
pub(crate) fn syslog(socket: &Path, file: &Path) -> Result<(), Failure> {
    if socket.exists() {
        fs::remove_file(socket)?;
    }
    let datagrams = UnixDatagram::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o666))?;
    let mut output = File::options().append(true).create(true).open(file)?;
    thread::spawn(move || {
        let mut buffer = vec![0; 8192];
        while let Ok(count) = datagrams.recv(&mut buffer) {
            let line = buffer[..count].trim_ascii_end();
            // A log that cannot be written must not end the measurement.
            drop(output.write_all(&[line, b"\n"].concat()));
        }
    });
    Ok(())
}
