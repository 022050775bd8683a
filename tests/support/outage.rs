//! The tests of durability between two lives of a daemon: settings without brakes, timed starts,
//! the emptying of a queue, a seed that can be repeated.
//!
//! Rule: what a person would do, through the real commands. Must not know how a daemon was harmed.

use std::time::Duration;

use pillarbox::clock::{Clock as _, SystemClock};
use serde_json::Value;

use super::{
    daemon::{Daemon, Home, Upstream, within},
    gmail::Gmail,
    submitter::Acknowledged,
};

/// How long a daemon may take from its start to its greeting after a kill.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(2);

/// More recipients a day than these tests send; an upstream that is not Gmail may have so many.
pub(crate) const PLENTY: u32 = 1_000_000;

/// What a message of a long queue may take on a machine that does other things as well.
const DRAIN_EACH: Duration = Duration::from_millis(20);

/// Between two rounds of looking at a queue that empties itself.
const LOOK: Duration = Duration::from_millis(200);

/// A home whose daemon relays as fast as it can, `recipients_per_day` at most.
pub(crate) fn home_without_brakes(upstream: &Upstream, recipients_per_day: u32) -> Home {
    Home::with_sections(upstream, &budget(recipients_per_day))
        .environment("PILLARBOX__UPSTREAM__LOGINS_PER_HOUR", "1000")
        .environment("PILLARBOX__QUEUE__MIN_FREE_BYTES", "8MiB")
}

/// Behind the section of [`budget`]: the relay sends nothing but what is handed in, and logs in for nothing else.
pub(crate) const NOTHING_OF_ITS_OWN: &str =
    "notice_reserve = 0\n\n[notices]\nto = \"nobody\"\n\n[doctor]\nenabled = false\n";

/// The section that limits the day and nothing else.
pub(crate) fn budget(recipients_per_day: u32) -> String {
    format!(
        "[budget]\nrecipients_per_day = {recipients_per_day}\nowner_reserve = 0\npace_per_minute = 0\n"
    )
}

/// Starts a daemon and measures the time to its greeting.
pub(crate) fn start_timed(home: &Home) -> (Daemon, Duration) {
    let clock = SystemClock::new();
    let start = clock.now().since_boot_ms;
    let daemon = home.start();
    (daemon, Duration::from_millis(clock.now().since_boot_ms - start))
}

/// The seed of a random test: `PILLARBOX_TEST_SEED`, or a new one, printed to be repeated.
pub(crate) fn seed(test: &str) -> u64 {
    seed_or(test, fastrand::u64(..))
}

/// The same with `usual` for a test that makes the same choices each time.
pub(crate) fn seed_or(test: &str, usual: u64) -> u64 {
    let chosen = std::env::var("PILLARBOX_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = chosen.unwrap_or(usual);
    show_seed(test, seed);
    seed
}

/// What repeats the choices of a test.
#[expect(clippy::print_stderr, reason = "the test runner shows it when the test fails")]
pub(crate) fn show_seed(test: &str, seed: u64) {
    eprintln!("{test}: PILLARBOX_TEST_SEED={seed}");
}

/// `pillarbox COMMAND --json` as JSON.
pub(crate) fn ask(home: &Home, command: &[&str]) -> Value {
    let output = home.output(command.iter().copied().chain(["--json"]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {} {said}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A message in `queue list`, with the states of its recipients.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) states: Vec<String>,
}

/// Every message in the queue.
pub(crate) fn queue_list(home: &Home) -> Vec<Listed> {
    let page = ask(home, &["queue", "list", "--all"]);
    let messages = page["messages"].as_array().expect("a list of messages");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    messages
        .iter()
        .map(|message| Listed {
            id: text(&message["id"]),
            states: message["recipients"]
                .as_array()
                .expect("a list of recipients")
                .iter()
                .map(|recipient| text(&recipient["state"]))
                .collect(),
        })
        .collect()
}

/// Waits until every promise is kept, as an administrator would: what is held after two uncertain
/// attempts, and what waits for its next attempt, is retried by command. Returns the ids that were held.
pub(crate) fn drain(
    home: &Home,
    gmail: &Gmail,
    promised: &[Acknowledged],
    limit: Duration,
) -> Vec<String> {
    let mut held = Vec::new();
    let mut before = usize::MAX;
    let empty = within(limit, || {
        let listed = queue_list(home);
        // What is dead waits for nothing; a promise among the dead counts as missing below.
        let waits = |message: &&Listed| {
            message.states.iter().any(|state| !["relayed", "dead"].contains(&state.as_str()))
        };
        for message in
            listed.iter().filter(|message| message.states.iter().any(|state| state == "held"))
        {
            if !held.contains(&message.id) {
                held.push(message.id.clone());
            }
        }
        let waiting = listed.iter().filter(waits).count();
        // A long queue empties itself. What left since it was listed needs no retry: an error says nothing.
        if waiting > 0 && waiting >= before {
            drop(home.output(["queue", "retry", "--all"]));
        }
        before = waiting;
        if waiting > 0 {
            std::thread::sleep(LOOK);
        }
        waiting == 0
    });
    let missing = gmail.missing(promised);
    let waiting = queue_list(home);
    assert!(
        missing.is_empty(),
        "{} of {} acknowledged recipients never reached the upstream, such as {:?}; still queued: {waiting:?}\n{}",
        missing.len(),
        promised.iter().map(|message| message.recipients.len()).sum::<usize>(),
        &missing[..missing.len().min(5)],
        tail(&home.log()),
    );
    let log = home.log();
    assert!(
        empty,
        "everything arrived, but the queue is not empty after {limit:?}: {waiting:?}\n{}",
        tail(&log)
    );
    held
}

/// What must hold when a daemon has been harmed `times` times under load and lives again: mail was promised
/// all along, every promise is kept to the letter, and only a lost connection ever made a second copy.
#[expect(clippy::print_stderr, reason = "the figures of a run, for whoever asks the test runner")]
pub(crate) fn expect_promises_kept(
    test: &str,
    times: usize,
    home: &Home,
    gmail: &Gmail,
    promised: &[Acknowledged],
) {
    assert!(promised.len() > times * 5, "only {} messages were acknowledged", promised.len());
    let limit = Duration::from_secs(60) + DRAIN_EACH * u32::try_from(promised.len()).expect("few");
    let held = drain(home, gmail, promised, limit);
    eprintln!(
        "{test}: {times} times, {} acknowledged, {} duplicates, {} held and retried",
        promised.len(),
        gmail.duplicates(),
        held.len(),
    );
    assert_eq!(gmail.unexplained_duplicates(), Vec::<String>::new());
    assert_eq!(gmail.altered(promised), Vec::<String>::new());
}

/// The end of a log, for a failure's text.
pub(crate) fn tail(log: &str) -> &str {
    let start = log.len().saturating_sub(6000);
    let start = (start..log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(start);
    &log[start..]
}
