//! `pillarbox doctor`: every check of the relay and of what is around it, each with what was seen and what mends it.
//!
//! Rule: it goes on past the first failure, shows no secret and spends no budget unless it is told to send. Warnings fail it
//! only when they are asked to. Must not know what is checked.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, builder::PossibleValuesParser};
use serde_json::{Value, json};

use super::{
    fitting::{beside, line_width},
    remote,
    runtime::Runtime,
    screen::{self, Screen, count, tenths},
    send,
};
use crate::{
    admin::{
        alert::{answers::Trial, trial},
        client::{Client, ClientError},
    },
    clock::{Clock, SystemClock},
    daemon,
    doctor::{self, Daemon, Machine, NAMES, Patient},
    exit::{Exit, Failure},
    findings::{Finding, Outcome, Report, Verdict},
    settings::{self, Settings},
};

/// How long the daemon may take to say how it is; the checks go on without it then.
const DAEMON_PATIENCE: Duration = Duration::from_secs(10);
/// How long a test message may take to be relayed.
const SEND_PATIENCE: Duration = Duration::from_secs(60);
/// The longest name of a check.
const NAME_WIDTH: usize = 20;
/// Verdict, name and the gaps behind them.
const MARGIN: usize = 4 + 2 + NAME_WIDTH + 2;

/// What is checked, and what may be done.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// Run this check alone; may be given several times.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(NAMES), hide_possible_values = true)]
    check: Vec<String>,
    /// Warnings fail, too.
    #[arg(long)]
    strict: bool,
    /// Send a message to root through the running daemon and wait for the upstream's reply: costs one recipient of the
    /// budget.
    #[arg(long)]
    send: bool,
    /// Send an alert by every way that the configuration names.
    #[arg(long)]
    alert: bool,
    /// Where the facts of the machine are read: what the tests make a machine of.
    #[arg(long, value_name = "DIRECTORY", default_value = "/", hide = true)]
    root: PathBuf,
    #[command(flatten)]
    remote: remote::Arguments,
}

/// Checks and prints.
pub(super) fn run(
    out: &mut dyn Screen,
    config: Option<&Path>,
    arguments: &Arguments,
) -> Result<(), Failure> {
    daemon::harden();
    let settings = settings::load(config);
    let wanted: Vec<&'static str> = match arguments.check.is_empty() {
        true => NAMES.to_vec(),
        false => {
            NAMES.into_iter().filter(|name| arguments.check.iter().any(|one| one == name)).collect()
        }
    };
    let socket = arguments.remote.socket.clone().unwrap_or_else(|| {
        let configured = settings.as_ref().map(|settings| settings.admin.socket.clone());
        configured.unwrap_or_else(|_| settings::DEFAULT_SOCKET.into())
    });
    let settings = settings.map(Arc::new).map_err(Arc::new);
    let runtime = Runtime::of_a_question()?;
    let (report, is_absent) = runtime.block_on(async {
        let daemon = reach(Client::new(socket)).await;
        let is_absent = matches!(daemon, Daemon::Silent { is_absent: true, .. });
        let patient = Patient {
            settings: settings.clone(),
            daemon: daemon.clone(),
            machine: Arc::new(Machine::below(&arguments.root)),
            clock: Arc::new(SystemClock::new()),
        };
        let mut report = doctor::examine(patient, &wanted).await;
        if arguments.alert {
            report.findings.push(try_alert(settings.as_deref().ok(), &daemon).await);
        }
        if arguments.send {
            report.findings.push(try_mail(config, &arguments.remote, &daemon).await);
        }
        (report, is_absent)
    });
    // A check that hangs on a disk keeps nobody.
    runtime.stop();
    if arguments.remote.json {
        screen::json(out, &document(&report))?;
    } else {
        print(out, &report, line_width())?;
    }
    let asks_the_daemon =
        is_absent && (arguments.send || wanted.iter().any(|name| doctor::needs_daemon(name)));
    match (asks_the_daemon, report.count(Verdict::Fail), report.count(Verdict::Warn)) {
        (true, _, _) => Err(Failure::new(Exit::Unavailable, "")),
        (false, 0, 0) => Ok(()),
        (false, 0, _) if !arguments.strict => Ok(()),
        _ => Err(Failure::new(Exit::Unhealthy, "")),
    }
}

async fn reach(client: Client) -> Daemon {
    let silent = |why: String, is_absent| Daemon::Silent { why, is_absent };
    match tokio::time::timeout(DAEMON_PATIENCE, client.status()).await {
        Ok(Ok(status)) => Daemon::Answers(Box::new(status), client),
        Ok(Err(error)) => silent(error.to_string(), matches!(error, ClientError::NoDaemon(_))),
        Err(_) => silent(
            format!(
                "the daemon does not answer within {} s; see its log",
                DAEMON_PATIENCE.as_secs()
            ),
            false,
        ),
    }
}

/// The daemon sends it, where one answers: what it may reach is what counts.
async fn try_alert(settings: Option<&Settings>, daemon: &Daemon) -> Finding {
    let trials = match (daemon, settings) {
        (Daemon::Answers(_, client), _) => client.test_alerts(None).await.map_or_else(
            |error| Err(Outcome::fail(error.to_string(), "See the daemon's log")),
            |answer| Ok(answer.trials),
        ),
        (_, Some(settings)) => {
            Ok(trial::try_targets(&settings.alert, None, SystemClock::new().wall()).await)
        }
        (_, None) => Err(Outcome::skipped("the configuration cannot be used; see configuration")),
    };
    let outcome = trials.map_or_else(|outcome| outcome, |trials| judged(&trials));
    Finding::new("test-alert", outcome)
}

fn judged(trials: &[Trial]) -> Outcome {
    let failures = trials.iter().filter(|trial| !trial.taken);
    let failures: Vec<String> =
        failures.map(|trial| format!("{}: {}", trial.goes_to, trial.answer)).collect();
    let ways = count(trials.len() as u64, "way");
    match trials {
        [] => Outcome::skipped("no way is set under [alert]"),
        _ if failures.is_empty() => Outcome::pass(format!("sent by {ways}")),
        _ => Outcome::fail(failures.join("; "), format!("Correct [alert]; {ways} tried")),
    }
}

async fn try_mail(config: Option<&Path>, remote: &remote::Arguments, daemon: &Daemon) -> Finding {
    let outcome = match daemon {
        Daemon::Answers(_, client) => match send::hand_over_to_root(config, remote) {
            Ok(id) => send::outcome(client, id, SEND_PATIENCE).await,
            Err(failure) => {
                Outcome::fail(failure.message, "See: pillarbox doctor --check local-socket")
            }
        },
        Daemon::Asks(..) | Daemon::Silent { .. } => {
            Outcome::skipped("without a daemon nothing can be sent; see daemon")
        }
    };
    Finding::new("test-mail", outcome)
}

/// For programs.
fn document(report: &Report) -> Value {
    let Report { at, took_ms, findings } = report;
    json!({
        "at": at,
        "took_ms": took_ms,
        "passed": report.count(Verdict::Pass),
        "warned": report.count(Verdict::Warn),
        "failed": report.count(Verdict::Fail),
        "skipped": report.count(Verdict::Skipped),
        "findings": findings,
    })
}

fn print(out: &mut dyn Screen, report: &Report, width: usize) -> std::io::Result<()> {
    for Finding { name, outcome, .. } in &report.findings {
        let verdict = match outcome.verdict {
            Verdict::Pass => "pass",
            Verdict::Skipped => "skip",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        };
        let head = format!("{verdict}  {name:<NAME_WIDTH$}  ");
        let mut lines = beside(&head, &screen::clean(&outcome.seen), width);
        if !outcome.remedy.is_empty() {
            let arrow = format!("{:MARGIN$}-> ", "");
            lines.extend(beside(&arrow, &screen::clean(&outcome.remedy), width));
        }
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    }
    writeln!(
        out,
        "\n{}: {} passed, {}, {} failed, {} skipped, in {}",
        count(report.findings.len() as u64, "check"),
        report.count(Verdict::Pass),
        count(report.count(Verdict::Warn) as u64, "warning"),
        report.count(Verdict::Fail),
        report.count(Verdict::Skipped),
        tenths(Duration::from_millis(report.took_ms)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn report() -> Report {
        let finding = Finding::new;
        let long = "https://support.example.org/mail/".to_owned() + &"a1".repeat(40);
        let findings = vec![
            finding("configuration", Outcome::pass("complete: /etc/pillarbox/relay.toml")),
            finding(
                "store-volume",
                Outcome::warn(
                    "the queue's directory /var/lib/pillarbox is on a volume without a name, of which a new container \
                     gets a new one: mail that was accepted would be lost",
                    "Give the volume a name when the container is made: --volume pillarbox:/var/lib/pillarbox",
                ),
            ),
            finding(
                "clock",
                Outcome::skipped("nothing here says whether the clock is synchronised"),
            ),
            finding(
                "login",
                Outcome::fail(
                    format!(
                        "localhost port 587: 535 5.7.8 \u{1b}[31mBadCredentials\u{202e} {long}"
                    ),
                    "Make a new app password at https://myaccount.google.com/apppasswords, store it in the password \
                     file, and run: pillarbox resume",
                ),
            ),
        ];
        Report { at: Timestamp(1_800_000_000_000), took_ms: 1_234, findings }
    }

    /// `BLESS=1 cargo test doctor` writes the files anew; review the difference like code.
    fn golden(name: &str, printed: Vec<u8>) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/doctor").join(name);
        let text = String::from_utf8(printed).unwrap();
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{}", path.display());
        text
    }

    #[test]
    fn the_table_fits_the_terminal_and_nothing_in_it_steers_one() {
        for width in [80, 120] {
            let mut out = Vec::new();
            print(&mut out, &report(), width).unwrap();
            let text = golden(&format!("{width}.txt"), out);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
        }
    }

    #[test]
    fn programs_get_every_finding_with_its_name_verdict_words_and_remedy() {
        let mut out = Vec::new();
        screen::json(&mut out, &document(&report())).unwrap();
        golden("report.json", out);
    }

    #[test]
    fn every_name_has_room_in_its_column() {
        assert!(NAMES.iter().all(|name| name.len() <= NAME_WIDTH));
    }
}
