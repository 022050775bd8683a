//! The programs that look after this machine: systemd's view of the unit, and whoever sets the clock.
//!
//! Rule: they are asked once, with a limit in time and in output, and changed in nothing. A machine without them is
//! another kind of machine, and no fault.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};

use super::machine::Machine;
use crate::{
    clock::{EARLIEST, Timestamp},
    findings::Outcome,
    quantities::local_in_full,
};

/// How long a program may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Octets of its answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// There where systemd is the first process (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// Made by systemd-timesyncd when the clock is right.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
/// What is asked of the unit.
const PROPERTIES: &str =
    "LoadState,ActiveState,SubState,UnitFileState,DropInPaths,NeedDaemonReload,NRestarts,Result";
const UNIT: &str = "pillarbox.service";

/// Whether the clock of this machine can be relied on.
pub(super) async fn clock(machine: &Machine, now: Timestamp) -> Outcome {
    if now < EARLIEST {
        return Outcome::fail(
            format!("the clock says {}, which is before this program was made", local_in_full(now)),
            "Set the clock, for example with: timedatectl set-ntp true",
        );
    }
    if machine.has(SYNCHRONIZED) {
        return Outcome::pass("synchronised");
    }
    if !machine.has(BOOTED) {
        return Outcome::skipped("nothing here says whether the clock is synchronised");
    }
    let answer = answer("timedatectl", &["show", "--property=NTPSynchronized,NTP"]).await;
    let said = |key: &str| answer.as_ref().and_then(|answer| answer.get(key)).map(String::as_str);
    match said("NTPSynchronized") {
        Some("yes") => Outcome::pass("synchronised"),
        Some(_) => Outcome::warn(
            "the clock is not synchronised: budgets, waits and certificates count by it",
            "Run: timedatectl set-ntp true; or see what is wrong with it: timedatectl timesync-status",
        ),
        None => Outcome::skipped("timedatectl does not say whether the clock is synchronised"),
    }
}

/// The state of our unit.
pub(super) async fn unit(machine: &Machine, has_daemon: bool) -> Outcome {
    if !machine.has(BOOTED) {
        return Outcome::skipped("systemd does not run this machine");
    }
    let property = format!("--property={PROPERTIES}");
    let Some(answer) = answer("systemctl", &["show", UNIT, &property]).await else {
        return Outcome::skipped("systemctl does not answer");
    };
    of_unit(&answer, has_daemon)
}

fn of_unit(answer: &BTreeMap<String, String>, has_daemon: bool) -> Outcome {
    let said = |key: &str| answer.get(key).map_or("", String::as_str);
    if said("LoadState") != "loaded" {
        return match said("LoadState") {
            "masked" => {
                Outcome::warn(format!("{UNIT} is masked"), format!("Run: systemctl unmask {UNIT}"))
            }
            _ => Outcome::skipped(format!("there is no {UNIT}")),
        };
    }
    let state = format!("{UNIT} is {} ({})", said("ActiveState"), said("SubState"));
    if said("ActiveState") == "failed" {
        return Outcome::fail(
            format!("{state}: {}", said("Result")),
            format!("See why: journalctl -u {UNIT}; then: systemctl restart {UNIT}"),
        );
    }
    if said("NeedDaemonReload") == "yes" {
        return Outcome::warn(
            format!("{state}, and its files have changed since systemd read them"),
            format!("Run: systemctl daemon-reload && systemctl restart {UNIT}"),
        );
    }
    if said("UnitFileState") == "disabled" {
        return Outcome::warn(
            format!("{state}, and does not start with the machine"),
            "Run: systemctl enable pillarbox.service pillarbox.socket",
        );
    }
    if said("ActiveState") != "active" && !has_daemon {
        return Outcome::warn(state, format!("Run: systemctl start {UNIT}"));
    }
    let drop_ins = match said("DropInPaths") {
        "" => String::new(),
        paths => format!(", changed by {paths}"),
    };
    let restarts = match said("NRestarts") {
        "" | "0" => String::new(),
        number => format!(", restarted {number} times"),
    };
    Outcome::pass(format!("{state}{restarts}{drop_ins}"))
}

/// What a program says in lines of `KEY=VALUE`.
async fn answer(program: &str, arguments: &[&str]) -> Option<BTreeMap<String, String>> {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.ok()?;
    let mut bytes = Vec::new();
    let asked = async {
        child.stdout.take()?.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await.ok()?;
        child.wait().await.ok().filter(std::process::ExitStatus::success)
    };
    timeout(PATIENCE, asked).await.ok()??;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().filter_map(|line| line.split_once('='));
    Some(lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Verdict;

    #[test]
    fn a_clock_before_the_program_was_made_cannot_be_right() {
        let machine = Machine::below(std::path::Path::new("/nowhere"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let judged = |now| runtime.block_on(clock(&machine, now)).verdict;
        assert_eq!(judged(Timestamp(0)), Verdict::Fail);
        assert_eq!(judged(EARLIEST), Verdict::Skipped);
    }
}
