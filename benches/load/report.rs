//! The report: every figure beside the target it is held against.
//!
//! Rule: a missing figure is shown as missing and a missed target as missed. Must not know how a figure
//! was measured; it only names the keys under which `benches/run` recorded it.

use std::{fmt::Write as _, fs, path::PathBuf};

use serde_json::Value;

use crate::Failure;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The collected results, one JSON object on a line.
    #[arg(long)]
    results: PathBuf,
    /// Where the Markdown goes, besides standard output.
    #[arg(long)]
    markdown: PathBuf,
    /// Where the results go as one JSON array.
    #[arg(long)]
    json: PathBuf,
}

/// Runs the `report` command.
pub(crate) fn write(options: &Options) -> Result<(), Failure> {
    let text = fs::read_to_string(&options.results)?;
    let results = Results(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?);
    let markdown = results.markdown()?;
    fs::write(&options.markdown, &markdown)?;
    fs::write(&options.json, serde_json::to_string_pretty(&results.0)?)?;
    println!("{markdown}");
    Ok(())
}

/// What Pillarbox's figure must be.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// At least this many times Postfix's figure.
    Times(f64),
    /// At most this part of Postfix's figure.
    Part(f64),
    /// At most this much.
    Most(f64),
    /// At least this part of another of Pillarbox's own figures, named by measure.
    OfOwn(f64, &'static str),
    /// Shown for the reader.
    Shown,
}

/// One line of the table: what it says, the measure, the key within it, the unit, the target.
#[derive(Clone, Copy, Debug)]
struct Line(&'static str, &'static str, &'static str, &'static str, Target);

/// The targets of the project, in the order in which they are promised.
const LINES: &[Line] = &[
    Line("accepts, 1 connection, 1 message each", "accept-1x1", "rate", "/s", Target::Times(1.5)),
    Line(
        "accepts, 1 connection, 20 messages each",
        "accept-1x20",
        "rate",
        "/s",
        Target::Times(1.5),
    ),
    Line(
        "accepts, 10 connections, 1 message each",
        "accept-10x1",
        "rate",
        "/s",
        Target::Times(3.0),
    ),
    Line(
        "accepts, 10 connections, 20 messages each",
        "accept-10x20",
        "rate",
        "/s",
        Target::Times(3.0),
    ),
    Line(
        "accepts, 50 connections, 1 message each",
        "accept-50x1",
        "rate",
        "/s",
        Target::Times(3.0),
    ),
    Line(
        "accepts, 50 connections, 20 messages each",
        "accept-50x20",
        "rate",
        "/s",
        Target::Times(3.0),
    ),
    Line("p50, 1 connection, 20 messages each", "accept-1x20", "p50_ms", "ms", Target::Shown),
    Line("p99, 1 connection, 20 messages each", "accept-1x20", "p99_ms", "ms", Target::Shown),
    Line("p50, 10 connections, 20 messages each", "accept-10x20", "p50_ms", "ms", Target::Shown),
    Line("p99, 10 connections, 20 messages each", "accept-10x20", "p99_ms", "ms", Target::Shown),
    Line("p50, 50 connections, 1 message each", "accept-50x1", "p50_ms", "ms", Target::Shown),
    Line("p99, 50 connections, 1 message each", "accept-50x1", "p99_ms", "ms", Target::Most(50.0)),
    Line("p50, 50 connections, 20 messages each", "accept-50x20", "p50_ms", "ms", Target::Shown),
    Line(
        "p99, 50 connections, 20 messages each",
        "accept-50x20",
        "p99_ms",
        "ms",
        Target::Most(50.0),
    ),
    Line("accepts, syncs 5 ms slower, 1 connection", "slow-1x20", "rate", "/s", Target::Times(1.0)),
    Line(
        "accepts, syncs 5 ms slower, 10 connections",
        "slow-10x20",
        "rate",
        "/s",
        Target::Times(1.0),
    ),
    Line(
        "accepts, syncs 5 ms slower, 50 connections",
        "slow-50x20",
        "rate",
        "/s",
        Target::Times(1.0),
    ),
    Line("p99, syncs 5 ms slower, 50 connections", "slow-50x20", "p99_ms", "ms", Target::Shown),
    Line("relayed end to end, 0 ms round trip", "relay-0", "rate", "/s", Target::Times(2.0)),
    Line("relayed end to end, 30 ms round trip", "relay-30", "rate", "/s", Target::Times(2.0)),
    Line("relayed from a filled queue, 0 ms", "drain-0", "rate", "/s", Target::Times(2.0)),
    Line("relayed from a filled queue, 30 ms", "drain-30", "rate", "/s", Target::Times(2.0)),
    Line(
        "connections at once to the upstream, 30 ms",
        "relay-30",
        "connections_peak",
        "",
        Target::Most(10.0),
    ),
    Line("logins, 0 ms round trip", "relay-0", "logins", "", Target::Shown),
    Line("logins for each connection", "relay-0", "logins_per_connection", "", Target::Most(1.0)),
    Line(
        "processor time to accept 1000",
        "accept-10x20",
        "cpu_seconds_per_1000",
        "s",
        Target::Part(1.0 / 3.0),
    ),
    Line(
        "processor time to accept and relay 1000",
        "relay-0",
        "cpu_seconds_per_1000",
        "s",
        Target::Part(1.0 / 3.0),
    ),
    Line(
        "processor time to relay 1000 queued",
        "drain-0",
        "cpu_seconds_per_1000",
        "s",
        Target::Part(1.0 / 3.0),
    ),
    Line(
        "allocations to accept a message",
        "allocations-accept",
        "allocations",
        "",
        Target::Most(120.0),
    ),
    Line(
        "allocations to accept and relay a message",
        "allocations-relay",
        "allocations",
        "",
        Target::Most(200.0),
    ),
    Line("memory, idle", "idle", "memory_mib", "MiB", Target::Most(8.0)),
    Line(
        "memory after 50 connections accepting",
        "accept-50x20",
        "memory_mib",
        "MiB",
        Target::Most(24.0),
    ),
    Line("memory after relaying", "relay-0", "memory_mib", "MiB", Target::Most(24.0)),
    Line("memory with the backlog", "backlog-accept", "memory_mib", "MiB", Target::Most(24.0)),
    Line(
        "memory at its peak, accepting (one process only)",
        "accept-50x20",
        "memory_peak_mib",
        "MiB",
        Target::Most(24.0),
    ),
    Line(
        "more memory with ten further accounts, idle",
        "accounts",
        "idle_mib",
        "MiB",
        Target::Most(1.0),
    ),
    Line("the same when each has sent", "accounts", "used_mib", "MiB", Target::Most(2.0)),
    Line("time to greeting", "greeting", "greeting_ms", "ms", Target::Most(30.0)),
    Line(
        "accepts with the backlog queued, 10 connections",
        "backlog-accept",
        "rate",
        "/s",
        Target::OfOwn(0.9, "accept-10x20"),
    ),
    Line("messages in the backlog", "backlog", "queued", "", Target::Shown),
    Line("messages queued at the restart", "backlog", "queued_at_restart", "", Target::Shown),
    Line("disk for the backlog", "backlog", "disk_mib", "MiB", Target::Shown),
    Line("time to stop with the backlog", "backlog", "stop_ms", "ms", Target::Shown),
    Line(
        "restart with the backlog, to the greeting",
        "backlog",
        "greeting_ms",
        "ms",
        Target::Most(500.0),
    ),
    Line("messages in the queue for these", "listings-fill", "accepted", "", Target::Shown),
    Line("queue list", "listings-list", "took_ms", "ms", Target::Most(1_000.0)),
    Line("queue list --sort next", "listings-sort", "took_ms", "ms", Target::Most(1_000.0)),
    Line(
        "queue list, a search that finds nothing",
        "listings-search",
        "took_ms",
        "ms",
        Target::Most(1_000.0),
    ),
    Line("queue list --count-by reason", "listings-count", "took_ms", "ms", Target::Most(1_000.0)),
    Line("queue show", "listings-show", "took_ms", "ms", Target::Most(1_000.0)),
    Line("queue explain", "listings-explain", "took_ms", "ms", Target::Most(1_000.0)),
    Line("queue list --all", "listings-all", "took_ms", "ms", Target::Shown),
    Line("mailq", "listings-mailq", "took_ms", "ms", Target::Most(1_000.0)),
    Line("status", "listings-status", "took_ms", "ms", Target::Most(1_000.0)),
    Line("budget forecast", "listings-forecast", "took_ms", "ms", Target::Most(1_000.0)),
    Line("memory before these", "listings-fill", "memory_mib", "MiB", Target::Shown),
    Line("memory after these", "listings-forecast", "daemon_mib", "MiB", Target::Shown),
    Line("ban notices of a storm", "storm", "notices", "", Target::Shown),
    Line("recipients spent on them", "storm", "notices_relayed", "", Target::Most(5.0)),
    Line("an alarm among them, to the upstream", "storm", "alarm_ms", "ms", Target::Most(10_000.0)),
    Line("of them that cannot be found afterwards", "storm", "missing", "", Target::Most(0.0)),
    Line("who leaves next, of 100,000 of 1,000 origins", "decision", "ns", "ns", Target::Most(1e6)),
    Line("memory for each of them", "decision", "octets", "octets", Target::Shown),
    Line("100 rules, for each message", "rules", "us", "us", Target::Most(20.0)),
    Line("fleet of one host, claims settled", "fleet-1", "rate", "/s", Target::Shown),
    Line("fleet of 5 hosts", "fleet-5", "rate", "/s", Target::Shown),
    Line("fleet of 20 hosts", "fleet-20", "rate", "/s", Target::Shown),
    Line("one claim and its settlement, one host", "fleet-1", "each_ms", "ms", Target::Shown),
    Line("the same of 20 hosts at once", "fleet-20", "each_ms", "ms", Target::Shown),
    Line("messages that wait in the database", "fleet-rows", "waiting", "", Target::Shown),
    Line("and that have left", "fleet-rows", "left", "", Target::Shown),
    Line("a start that takes them over", "fleet-rows", "start_s", "s", Target::Shown),
    Line("accept one into the database", "fleet-rows", "accept_ms", "ms", Target::Shown),
    Line("claim one", "fleet-rows", "claim_ms", "ms", Target::Shown),
    Line("note its final dot", "fleet-rows", "dot_ms", "ms", Target::Shown),
    Line("settle it", "fleet-rows", "settle_ms", "ms", Target::Shown),
    Line("messages of the fleet", "fleet-growth", "messages", "", Target::Shown),
    Line("its tables after them", "fleet-growth", "kib", "KiB", Target::Most(4_096.0)),
    Line(
        "more memory with a page that nobody visits",
        "page-memory",
        "more_mib",
        "MiB",
        Target::Most(0.5),
    ),
    Line("messages in the queue for its documents", "page-fill", "accepted", "", Target::Shown),
    Line("the start, to its first octet", "page-start", "median_ms", "ms", Target::Most(20.0)),
    Line("the start after a while, the same", "page-start", "first_ms", "ms", Target::Shown),
    Line("the start, in full", "page-start", "kib", "KiB", Target::Most(100.0)),
    Line("the queue, to its first octet", "page-queue", "median_ms", "ms", Target::Most(20.0)),
    Line("the queue, in full", "page-queue", "kib", "KiB", Target::Most(100.0)),
    Line(
        "a search that finds nothing, to its first octet",
        "page-search",
        "median_ms",
        "ms",
        Target::Shown,
    ),
    Line("ten open pages", "page-open", "percent_of_a_core", "% of a core", Target::Most(2.0)),
    Line(
        "accepts with ten open pages, 10 connections",
        "page-accept-open",
        "rate",
        "/s",
        Target::OfOwn(0.95, "page-accept-alone"),
    ),
];

#[derive(Debug)]
struct Results(Vec<Value>);

impl Results {
    fn markdown(&self) -> Result<String, Failure> {
        let other = if self.is_beside_itself() { "before" } else { "Postfix" };
        let mut text = format!("# Bench: Pillarbox beside {other}\n\n");
        self.machine(&mut text)?;
        writeln!(text, "\n| | {other} | Pillarbox | Pillarbox / {other} | target | |")?;
        text.push_str("|---|--:|--:|--:|---|---|\n");
        let (mut met, mut missed) = (0, 0);
        for line in LINES.iter().copied() {
            let verdict = self.line(&mut text, line)?;
            met += u32::from(verdict == Some(true));
            missed += u32::from(verdict == Some(false));
        }
        writeln!(text, "\n{met} targets met, {missed} missed.\n")?;
        self.notes(&mut text)?;
        Ok(text)
    }

    /// Whether another build was measured in the place of Postfix.
    fn is_beside_itself(&self) -> bool {
        self.0.iter().any(|one| one["server"] == "before")
    }

    /// The figure that `server` reached, the last one if it was measured again.
    fn figure(&self, server: &str, measure: &str, key: &str) -> Option<f64> {
        let found =
            self.0.iter().rev().find(|one| one["server"] == server && one["measure"] == measure)?;
        found[key].as_f64()
    }

    fn line(
        &self,
        text: &mut String,
        Line(title, measure, key, unit, target): Line,
    ) -> Result<Option<bool>, Failure> {
        let is_beside_itself = self.is_beside_itself();
        let postfix =
            self.figure(if is_beside_itself { "before" } else { "postfix" }, measure, key);
        let ours = self.figure("pillarbox", measure, key);
        if postfix.is_none() && ours.is_none() {
            return Ok(None);
        }
        // What is promised in the terms of Postfix is no promise about another build.
        let target = match target {
            Target::Times(_) | Target::Part(_) if is_beside_itself => Target::Shown,
            target => target,
        };
        let (wanted, verdict) = match target {
            Target::Times(factor) => {
                (format!("at least {factor} x"), both(ours, postfix).map(|(a, b)| a >= b * factor))
            }
            Target::Part(part) => {
                (format!("at most {part:.2} x"), both(ours, postfix).map(|(a, b)| a <= b * part))
            }
            Target::Most(limit) => {
                (format!("at most {limit} {unit}"), ours.map(|value| value <= limit))
            }
            Target::OfOwn(part, other) => {
                let own = self.figure("pillarbox", other, key);
                (
                    format!("at least {part} x own {other}"),
                    both(ours, own).map(|(a, b)| a >= b * part),
                )
            }
            Target::Shown => (String::new(), None),
        };
        let word = match (verdict, target) {
            (Some(true), _) => "met",
            (Some(false), _) => "**missed**",
            (None, Target::Shown) => "",
            (None, _) => "not measured",
        };
        let ratio = both(ours, postfix).map_or_else(String::new, |(a, b)| format!("{:.2}", a / b));
        writeln!(
            text,
            "| {title} | {} | {} | {ratio} | {} | {word} |",
            number(postfix, unit),
            number(ours, unit),
            wanted.trim_end()
        )?;
        Ok(verdict)
    }

    fn machine(&self, text: &mut String) -> Result<(), Failure> {
        for one in self.0.iter().filter(|one| one["measure"] == "machine") {
            writeln!(
                text,
                "{} cores ({}), Linux {}, queues on {}, {}; a sync of 4 KiB takes {:.2} ms (p99 {:.2} ms); \
                 load average at the start {:.2}{}.",
                one["cores"],
                one["processor"].as_str().unwrap_or("unknown"),
                one["kernel"].as_str().unwrap_or("unknown"),
                one["file_system"].as_str().unwrap_or("an unknown file system"),
                one["run"].as_str().unwrap_or(""),
                one["sync_p50_ms"].as_f64().unwrap_or(0.0),
                one["sync_p99_ms"].as_f64().unwrap_or(0.0),
                one["load_average"].as_f64().unwrap_or(0.0),
                if one["load_average"].as_f64() > Some(0.5) {
                    ": **the machine was not idle, the figures are too low**"
                } else {
                    ""
                },
            )?;
        }
        Ok(())
    }

    /// What a reader must know before believing a figure.
    fn notes(&self, text: &mut String) -> Result<(), Failure> {
        for one in &self.0 {
            let name = format!(
                "{} {}",
                one["server"].as_str().unwrap_or(""),
                one["measure"].as_str().unwrap_or("")
            );
            if let Some(reason) = one["skipped"].as_str() {
                writeln!(text, "- {name}: not measured: {reason}")?;
            }
            let failures = one["failures"]
                .as_u64()
                .or_else(|| one["submission"]["failures"].as_u64())
                .unwrap_or(0);
            if failures > 0 {
                let first = one["first_failure"]
                    .as_str()
                    .or_else(|| one["submission"]["first_failure"].as_str());
                writeln!(
                    text,
                    "- {name}: {failures} submissions failed, the first with: {}",
                    first.unwrap_or("?")
                )?;
            }
            let (accepted, arrived) = (one["accepted"].as_u64(), one["arrived"].as_u64());
            if arrived.is_some() && arrived != accepted {
                writeln!(
                    text,
                    "- {name}: {accepted:?} accepted but {arrived:?} arrived: **the rate is not valid**"
                )?;
            }
            // One client waits for at least one sync per message, so more than this cannot be true.
            let added_ms = one["sync_added_ms"].as_f64().unwrap_or(0.0);
            if one["measure"] == "slow-1x20" && one["rate"].as_f64() > Some(1000.0 / added_ms) {
                writeln!(
                    text,
                    "- {name}: faster than its syncs: **they bypassed the slow-sync library, or there were none**"
                )?;
            }
        }
        Ok(())
    }
}

fn both(a: Option<f64>, b: Option<f64>) -> Option<(f64, f64)> {
    Some((a?, b?))
}

/// Three significant digits or so, with the unit.
fn number(value: Option<f64>, unit: &str) -> String {
    let Some(value) = value else { return "-".to_owned() };
    let digits = if value >= 100.0 || value.fract() == 0.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}").trim_end().to_owned()
}
