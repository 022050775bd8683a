//! Processor time and memory of a process and all its descendants, from `/proc`.
//!
//! Rule: the time of children that have ended counts too, as their parent waited for them; memory is
//! the proportional set size, so that pages shared by many processes count once. Must not know whose
//! processes they are.

use std::{
    collections::HashMap,
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::Failure;

/// Ticks of `/proc/PID/stat` in a second: USER_HZ, 100 on every Linux that Debian runs on but one.
const TICKS_PER_SECOND: f64 = 100.0;
/// The tree is quiet when it used no more than this much of a window.
const QUIET_WINDOW: Duration = Duration::from_millis(300);
const QUIET_SECONDS_MAX: f64 = 0.02;
/// A server that never becomes quiet is measured as it is after this time.
const QUIET_TIMEOUT: Duration = Duration::from_secs(6);

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The first process of the tree.
    #[arg(long)]
    pid: u32,
}

/// What a tree has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    cpu_seconds: f64,
    memory_kib: u64,
    processes: usize,
    peak_kib: u64,
}

/// Runs the `tree` command.
pub(crate) fn measure(options: &Options) -> Result<Value, Failure> {
    let usage = Usage::of_tree(Some(options.pid))?;
    Ok(json!({
        "cpu_seconds": usage.cpu_seconds,
        "memory_mib": mib(usage.memory_kib),
        "processes": usage.processes,
    }))
}

impl Usage {
    /// The usage of `pid` and its descendants; zero when no process is named.
    pub(crate) fn of_tree(pid: Option<u32>) -> Result<Self, Failure> {
        let Some(root) = pid else { return Ok(Self::default()) };
        let processes = read_all();
        if !processes.contains_key(&root) {
            return Err(format!("process {root} is gone: see its log").into());
        }
        let tree: Vec<u32> =
            processes.keys().copied().filter(|pid| descends_from(*pid, root, &processes)).collect();
        let ticks: u64 =
            tree.iter().filter_map(|pid| processes.get(pid)).map(|process| process.ticks).sum();
        Ok(Self {
            cpu_seconds: ticks as f64 / TICKS_PER_SECOND,
            memory_kib: tree.iter().map(|pid| field_kib(*pid, "smaps_rollup", "Pss:")).sum(),
            processes: tree.len(),
            peak_kib: field_kib(root, "status", "VmHWM:"),
        })
    }

    /// The usage after the tree has finished what it was doing.
    pub(crate) fn when_quiet(pid: Option<u32>) -> Result<Self, Failure> {
        let give_up = Instant::now() + QUIET_TIMEOUT;
        let mut usage = Self::of_tree(pid)?;
        while pid.is_some() && Instant::now() < give_up {
            thread::sleep(QUIET_WINDOW);
            let next = Self::of_tree(pid)?;
            let used = next.cpu_seconds - usage.cpu_seconds;
            usage = next;
            if used <= QUIET_SECONDS_MAX {
                break;
            }
        }
        Ok(usage)
    }

    /// Adds what was used since `before` for `messages` to the figures of a measurement.
    pub(crate) fn describe(&self, before: &Self, messages: usize, figures: &mut Value) {
        if self.processes == 0 {
            return;
        }
        let used = self.cpu_seconds - before.cpu_seconds;
        figures["cpu_seconds"] = json!(used);
        figures["cpu_seconds_per_1000"] = json!(used * 1000.0 / messages as f64);
        figures["memory_mib"] = json!(mib(self.memory_kib));
        figures["processes"] = json!(self.processes);
        if self.processes == 1 {
            figures["memory_peak_mib"] = json!(mib(self.peak_kib));
        }
    }
}

#[derive(Debug)]
struct Process {
    parent: u32,
    /// User and system time, also of the children it has waited for.
    ticks: u64,
}

fn read_all() -> HashMap<u32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    let pids =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, read(pid)?))).collect()
}

/// Fields of proc_pid_stat(5): 4 is the parent, 14 to 17 are utime, stime, cutime and cstime. The name
/// in parentheses may contain anything, so counting starts after the last one.
fn read(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat[stat.rfind(')')? + 2..].split(' ').collect();
    let parent = fields.get(1)?.parse().ok()?;
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Process { parent, ticks })
}

fn descends_from(pid: u32, root: u32, processes: &HashMap<u32, Process>) -> bool {
    let mut present = pid;
    while present != root {
        match processes.get(&present) {
            Some(process) if process.parent != 0 => present = process.parent,
            _ => return false,
        }
    }
    true
}

/// A line such as `Pss:    123 kB`; zero for a process that has just ended.
fn field_kib(pid: u32, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
