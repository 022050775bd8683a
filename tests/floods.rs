//! Floods against the real daemon, while honest clients submit mail: every honest message is accepted, none
//! is lost, the slowest are served in time, and the daemon's memory stays bounded.
//!
//! Each flood ends by itself. `cargo test` runs them small; `make floods` (`PILLARBOX_FLOODS=full`) runs them
//! in full and prints the figures that benches/README.md holds.

mod attacker;
mod honest;

use std::{
    net::Ipv4Addr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::{
    attacker::{Attack, Attackers},
    honest::{Honest, percentile},
};
use crate::support::{
    daemon::{Daemon, Home, Upstream, within},
    outage::ask,
};

/// Resident memory of the daemon, whatever happens.
const MEMORY_KIB_MAX: u64 = 150 * 1024;
/// How long a flood may take to build up, or to end, on a machine under load.
const PATIENCE: Duration = Duration::from_secs(120);
/// Files that this process and the daemon may need each: every connection has an end in both.
const FILES: u64 = 4_096;
/// Octets that were sent and not read as part of the message: what Linux buffers of a connection at most by
/// default (32 MiB at the receiver, 4 MiB at the sender), and what is drained before the connection is closed.
const UNREAD_BYTES_MAX: u64 = 40 << 20;
/// Connections of one client address; the default of the listener.
const PER_ADDRESS: usize = 50;

/// How large the floods are.
struct Scale {
    idle: usize,
    trickles: usize,
    endless_lines: usize,
    noops: u64,
    data_bytes: u64,
    /// Octets of a message that the daemon takes; ten times as much is read of a larger one.
    max_message_bytes: u64,
    honest_messages: usize,
    /// The flood lasts at least so long.
    lasts: Duration,
    p99_ms_max: u64,
}

/// What the issue asks for.
const FULL: Scale = Scale {
    idle: 2_000,
    trickles: 500,
    endless_lines: 50,
    noops: 100_000,
    data_bytes: 1 << 30,
    max_message_bytes: 35_872_000,
    honest_messages: 1_000,
    lasts: Duration::from_secs(15),
    p99_ms_max: 1_000,
};

/// Some seconds in all. The limit of the latency leaves room for the other tests beside it.
const SMALL: Scale = Scale {
    idle: 300,
    trickles: 50,
    endless_lines: 10,
    noops: 5_000,
    data_bytes: 128 << 20,
    max_message_bytes: 1 << 20,
    honest_messages: 60,
    lasts: Duration::from_secs(1),
    p99_ms_max: 5_000,
};

fn scale() -> Scale {
    if std::env::var("PILLARBOX_FLOODS").is_ok_and(|size| size == "full") { FULL } else { SMALL }
}

#[test]
fn idle_connections_keep_nobody_out() {
    let scale = scale();
    under("idle connections", &[(Attack::Idle, scale.idle)], &scale);
}

#[test]
fn one_byte_a_second_keeps_nobody_out() {
    let scale = scale();
    let (commands, data) = (scale.trickles / 2, scale.trickles - scale.trickles / 2);
    let attacks = [(Attack::TrickledCommand, commands), (Attack::TrickledData, data)];
    under("one byte a second", &attacks, &scale);
}

#[test]
fn endless_lines_keep_nobody_out() {
    let scale = scale();
    under("endless lines", &[(Attack::EndlessLine, scale.endless_lines)], &scale);
}

#[test]
fn a_hundred_thousand_noops_keep_nobody_out() {
    let scale = scale();
    let done = under("NOOPs", &[(Attack::Noops { total: scale.noops }, 20)], &scale);
    assert!(done.noops >= scale.noops, "{} NOOPs were sent", done.noops);
}

#[test]
fn a_message_of_a_gigabyte_is_refused_and_read_to_a_limit_only() {
    let scale = scale();
    let done =
        under("one endless message", &[(Attack::LargeData { bytes: scale.data_bytes }, 1)], &scale);
    let read_at_most = 10 * scale.max_message_bytes + UNREAD_BYTES_MAX;
    let sent = done.data_bytes;
    assert!(sent > scale.max_message_bytes && sent <= read_at_most, "{sent} octets were taken");
    let reply = done.data_reply.unwrap_or_default();
    // A client that is cut off while it sends may lose the reply with the connection.
    assert!(reply.is_empty() || reply.starts_with("552 5.3.4"), "{reply:?}");
}

#[test]
fn all_floods_at_once_keep_nobody_out() {
    let scale = scale();
    let attacks = [
        (Attack::Idle, scale.idle * 3 / 4),
        (Attack::TrickledCommand, scale.trickles / 4),
        (Attack::TrickledData, scale.trickles / 4),
        (Attack::EndlessLine, scale.endless_lines / 2),
        (Attack::Noops { total: scale.noops / 4 }, 10),
        (Attack::LargeData { bytes: scale.data_bytes }, 1),
    ];
    under("all of them at once", &attacks, &scale);
}

/// Lets honest clients submit under the attacks, checks what must hold, prints the figures.
#[expect(clippy::print_stderr, reason = "the figures are what a person runs it for")]
fn under(name: &str, attacks: &[(Attack, usize)], scale: &Scale) -> attacker::Done {
    raise_file_limit();
    let connections: usize = attacks.iter().map(|(_, count)| count).sum();
    let home = Home::new(&Upstream::nobody())
        .environment("PILLARBOX__LISTENER__MAX_CONNECTIONS", &(connections + 200).to_string())
        .environment(
            "PILLARBOX__LISTENER__MAX_MESSAGE_BYTES",
            &scale.max_message_bytes.to_string(),
        );
    let daemon = home.start();
    let attackers = Attackers::start(daemon.smtp, attacks);
    let stand = || attackers.done.connected.load(Ordering::Relaxed) >= connections;
    assert!(within(PATIENCE, stand), "{name}: only {:?} stand", attackers.done);
    let honest = Honest::start(
        daemon.smtp,
        scale.honest_messages,
        scale.lasts,
        Arc::clone(&attackers.finished),
    );
    let mut honest = honest.finish();
    let done = attackers.stop();
    let memory_kib = peak_memory_kib(&daemon);
    let (sent, refused) = (honest.latencies_ms.len(), honest.refusals.len());
    let [p50, p99, worst] = [50, 99, 100].map(|part| percentile(&mut honest.latencies_ms, part));
    eprintln!(
        "{name}: {connections} connections, {sent} honest messages, {refused} refused, p50 {p50} ms, \
         p99 {p99} ms, slowest {worst} ms, resident memory at most {} MiB, {done:?}",
        memory_kib / 1024
    );
    assert!(honest.refusals.is_empty(), "{name}: {:?}", honest.refusals);
    assert!(sent >= scale.honest_messages, "{name}: {sent} honest messages");
    assert!(p99 <= scale.p99_ms_max, "{name}: p99 is {p99} ms");
    assert!(memory_kib < MEMORY_KIB_MAX, "{name}: {memory_kib} KiB");
    let queued = ask(&home, &["status"])["queue"]["messages"].as_u64();
    assert_eq!(queued, Some(sent as u64), "{name}: what was promised is queued, and nothing else");
    done
}

/// The largest resident set of the daemon so far.
fn peak_memory_kib(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Both ends of each connection need a file; the daemon inherits our limit.
fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < FILES) {
        let wanted = maximum.map_or(FILES, |maximum| maximum.min(FILES));
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).unwrap();
        assert!(
            wanted >= FILES,
            "this machine lets a process have {wanted} files; the floods need {FILES}"
        );
    }
}

/// The address of the attackers with this number: not that of the honest clients, and each with as many
/// connections as one client may have.
fn source(number: usize) -> Ipv4Addr {
    let address = u32::try_from(number / PER_ADDRESS).unwrap() + 1;
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 0).to_bits() + address)
}
