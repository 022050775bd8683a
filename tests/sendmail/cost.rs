//! The cost of a call: processor time and resident memory, with a daemon that takes the mail and with none.
//!
//! The process is looked at when its work is done: with `-v` it then writes one line to a pipe that is full. The
//! kernel's own figures are read, VmHWM (the highest resident memory there was) and the nanoseconds on a processor,
//! start of the program included. `PILLARBOX_MEASURE=target/static/pillarbox` measures that binary against the
//! limits that are promised. Of a debug binary, which is ten times as large, the pages of its file do not count.

use std::{
    fs,
    io::Write as _,
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::{
    stage::{Stage, write_to},
    stand_in::StandIn,
};
use crate::support::daemon::within;

/// Calls that are measured; the cheapest one counts, because every other process of the machine makes them dearer.
const CALLS: usize = 5;

/// What a call may cost.
struct Limits {
    processor: Duration,
    resident_kib: u64,
}

/// What is promised.
const RELEASE: Limits = Limits { processor: Duration::from_millis(5), resident_kib: 8 * 1024 };
/// For a binary that is not optimised, on a machine that is busy with the other tests, beyond the pages of its file.
const DEBUG: Limits = Limits { processor: Duration::from_millis(50), resident_kib: 3 * 1024 };

/// What a message of 12 MiB may take beyond one of 6 KiB: the buffers, and pages of the program that a short one does not need.
const LONGER_KIB_MAX: u64 = 1024;

#[derive(Clone, Copy, Debug)]
struct Cost {
    processor: Duration,
    resident_kib: u64,
}

fn program(stage: &Stage) -> (String, Limits) {
    match std::env::var("PILLARBOX_MEASURE") {
        Ok(path) => (fs::canonicalize(path).unwrap().to_str().unwrap().to_owned(), RELEASE),
        Err(_) => (stage.path("sendmail").to_str().unwrap().to_owned(), DEBUG),
    }
}

/// One call, up to the moment when its work is done.
fn cost(stage: &Stage, program: &str, input: &[u8]) -> Cost {
    let (reader, mut full) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(full.as_fd()).unwrap();
    fcntl_setfl(full.as_fd(), flags | OFlags::NONBLOCK).unwrap();
    while full.write(&[0; 4096]).is_ok() {}
    fcntl_setfl(full.as_fd(), flags).unwrap();
    let mut command = Command::new(program);
    let usual = stage.command("sendmail", &[]);
    command.args(
        ["sendmail", "-v", "-i", "a@b.example"]
            .iter()
            .skip(usize::from(program.ends_with("sendmail"))),
    );
    command.env_clear().envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::from(full))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    write_to(&mut child, input);
    let waits = within(Duration::from_secs(20), || writes_to_a_pipe(&child));
    assert!(waits, "the call does not end: {:?}", wait_channel(&child));
    let cost = measured(&child, std::env::var_os("PILLARBOX_MEASURE").is_none());
    drop(reader);
    assert!(child.wait().unwrap().success());
    cost
}

/// Whether it sleeps in a write: system call 1 on x86-64, 64 on arm64, or, where the kernel does not tell, a pipe's.
fn writes_to_a_pipe(child: &Child) -> bool {
    let call = fs::read_to_string(format!("/proc/{}/syscall", child.id())).unwrap_or_default();
    let number = if cfg!(target_arch = "aarch64") { "64 " } else { "1 " };
    call.starts_with(&format!("{number}0x1 ")) || wait_channel(child).contains("pipe_write")
}

fn wait_channel(child: &Child) -> String {
    fs::read_to_string(format!("/proc/{}/wchan", child.id())).unwrap_or_default()
}

fn measured(child: &Child, is_debug: bool) -> Cost {
    let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap();
    let nanoseconds = read("schedstat").split_whitespace().next().unwrap().parse().unwrap();
    let status = read("status");
    let kib = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let of_files = if is_debug { kib("RssFile:") } else { 0 };
    Cost {
        processor: Duration::from_nanos(nanoseconds),
        resident_kib: kib("VmHWM:").saturating_sub(of_files),
    }
}

#[expect(clippy::print_stderr, reason = "the figures of a run, for whoever asks the test runner")]
fn check(what: &str, prepare: impl Fn(&Stage) -> Option<StandIn>, input: &[u8]) {
    let (mut cheapest, mut limits) = (None::<Cost>, DEBUG);
    for _ in 0..CALLS {
        let stage = Stage::new();
        let daemon = prepare(&stage);
        let (program, those) = program(&stage);
        limits = those;
        let cost = cost(&stage, &program, input);
        assert_eq!(stage.dropped().len(), usize::from(daemon.is_none()));
        let best = cheapest.map_or(cost, |best| Cost {
            processor: best.processor.min(cost.processor),
            resident_kib: best.resident_kib.min(cost.resident_kib),
        });
        cheapest = Some(best);
    }
    let cheapest = cheapest.unwrap();
    eprintln!("cost, {what}: {:?}, {} KiB", cheapest.processor, cheapest.resident_kib);
    assert!(cheapest.processor <= limits.processor, "{what}: {cheapest:?}");
    assert!(cheapest.resident_kib <= limits.resident_kib, "{what}: {cheapest:?}");
}

fn mail(lines: usize) -> Vec<u8> {
    let text = "A line of an ordinary message, as a job of the night prints it.\n".repeat(lines);
    format!("From: root (Cron Daemon)\nTo: root\nSubject: Cron\n\n{text}").into_bytes()
}

#[test]
fn a_call_is_cheap_while_the_daemon_takes_the_mail() {
    check("daemon up, 6 KiB", |stage| Some(StandIn::at(&stage.socket(), &[])), &mail(100));
}

#[test]
fn a_call_is_cheap_while_the_daemon_is_down() {
    check("daemon down, 6 KiB", |_| None, &mail(100));
}

#[test]
fn a_long_message_costs_no_more_memory() {
    let most = |lines: usize| {
        let calls = (0..CALLS).map(|_| {
            let stage = Stage::new();
            let (program, limits) = program(&stage);
            let cost = cost(&stage, &program, &mail(lines));
            assert_eq!(stage.dropped().len(), 1);
            (cost.resident_kib, limits.resident_kib)
        });
        calls.min().expect("calls")
    };
    let ((short, _), (long, limit)) = (most(100), most(200_000));
    assert!(long <= limit, "12 MiB: {long} KiB");
    assert!(long <= short + LONGER_KIB_MAX, "6 KiB took {short} KiB, 12 MiB {long} KiB");
}
