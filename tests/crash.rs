//! The daemon dies by SIGKILL at random moments under load: what it promised it keeps.
//!
//! Nothing that was acknowledged is lost, and nothing is sent twice whose final reply was not just being read, on a disk and
//! in the fleet's database. The upstream lives in the test, survives every kill and remembers every final dot it saw.

mod orders;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use pillarbox::{
    clock::{Clock as _, SystemClock, Timestamp},
    queue::id::QueueId,
};
use serde_json::{Value, json};

use crate::support::{
    backend::Backend,
    daemon::{Home, Upstream, within},
    gmail::Gmail,
    outage::{
        PLENTY, START_WITHIN, budget, drain, expect_promises_kept, home_without_brakes, seed,
        start_timed, tail,
    },
    submitter::{Load, Submitters},
};

/// Kills in an ordinary run; `make test-crash-long` asks for more.
const KILLS: usize = 40;
/// The same where the queue is in a database.
const KILLS_WITH_A_DATABASE: usize = 12;
/// Kills of one queue: each costs a login or two, and an hour has 1,000 of them at most.
const KILLS_PER_ROUND: usize = 250;
/// One message in flight at a kill may be sent again when its reply was as fresh as that.
const FRESH: Duration = Duration::from_millis(50);
/// The same where the reply is known to the next host once it is committed in a database, and not by a note in a file.
const FRESH_WITH_A_DATABASE: Duration = Duration::from_millis(250);
/// Kills while a small budget is being spent.
const KILLS_WITHIN_BUDGET: usize = 12;
/// The same where the queue is in a database.
const KILLS_WITHIN_BUDGET_WITH_A_DATABASE: usize = 6;
/// Recipients a day in that test.
const SMALL_BUDGET: u32 = 40;
/// Kills while weekly reports are queued.
const KILLS_WITHIN_REPORTS: usize = 16;

#[test]
fn every_acknowledged_message_survives_kills_at_random_moments() {
    kill_in_rounds(KILLS, || Backend::Disk);
}

#[test]
fn every_message_that_was_acknowledged_into_the_database_survives_kills_at_random_moments() {
    kill_in_rounds(KILLS_WITH_A_DATABASE, Backend::database);
}

/// So many kills, or as many as the caller of the test asks for.
fn kill_in_rounds(usual: usize, backend: impl Fn() -> Backend) {
    let kills = std::env::var("PILLARBOX_CRASH_KILLS")
        .map_or(usual, |text| text.parse().expect("a number"));
    let seed = seed("crash");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut left = kills;
    while left > 0 {
        let kills = left.min(KILLS_PER_ROUND);
        left -= kills;
        kill_under_load(kills, &mut random, &backend());
    }
}

#[expect(clippy::print_stderr, reason = "the figure of a run, for whoever asks the test runner")]
fn kill_under_load(kills: usize, random: &mut fastrand::Rng, backend: &Backend) {
    // A short round trip keeps final dots in flight at the kills.
    let gmail = Gmail::with(|options| options.latency = Duration::from_millis(2));
    let home = backend.of(home_without_brakes(&gmail.upstream(), PLENTY));
    let mut daemon = home.start();
    // In a long run the queue must not grow all the time.
    let pause_ms = if kills <= KILLS { 5..40 } else { 20..120 };
    let load = Load { pause_ms, recipients: 1..3, ..Load::default() };
    let clients = Submitters::start(home.smtp, "crash", &load, random.u64(..));
    let pulse = Pulse::start();
    let mut slowest = Duration::ZERO;
    let mut killed = Vec::new();
    for number in 0..kills {
        std::thread::sleep(Duration::from_millis(random.u64(20..700)));
        if number % 3 == 0 {
            // The account is looked at anew, and its connections with it.
            drop(home.output(["resume"]));
        }
        let at = SystemClock::new().wall();
        daemon.kill();
        let (next, took) = start_timed(&home);
        killed.push(Kill { at, over: SystemClock::new().wall() });
        assert!(took < START_WITHIN, "greeting only {took:?} after a kill:\n{}", tail(&home.log()));
        slowest = slowest.max(took);
        daemon = next;
    }
    let promised = clients.finish().acknowledged;
    eprintln!("crash: slowest start {slowest:?}");
    backend.until_it_is_taken_over();
    expect_promises_kept("crash", kills, &home, &gmail, &promised);
    let stalls = pulse.finish();
    let fresh = match backend {
        Backend::Disk => FRESH,
        Backend::Database(..) => FRESH_WITH_A_DATABASE,
    };
    assert_eq!(needless_copies(&gmail, &killed, &stalls, fresh), Vec::<String>::new());
    assert!(daemon.terminate(Duration::from_secs(20)).success());
}

#[test]
fn kills_never_make_the_budget_of_the_day_larger() {
    kill_within_a_budget(KILLS_WITHIN_BUDGET, &Backend::Disk);
}

#[test]
fn kills_never_make_the_day_larger_that_the_database_counts() {
    kill_within_a_budget(KILLS_WITHIN_BUDGET_WITH_A_DATABASE, &Backend::database());
}

fn kill_within_a_budget(kills: usize, backend: &Backend) {
    let seed = seed("crash within a budget");
    let mut random = fastrand::Rng::with_seed(seed);
    // A round trip long enough that the budget lasts for many kills.
    let gmail = Gmail::with(|options| options.latency = Duration::from_millis(30));
    let home = backend.of(home_without_brakes(&gmail.upstream(), SMALL_BUDGET));
    let mut daemon = home.start();
    let clients =
        Submitters::start(home.smtp, "budget", &Load { clients: 2, ..Load::default() }, seed);
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(random.u64(100..500)));
        daemon.kill();
        daemon = start_timed(&home).0;
        assert!(gmail.recipients() <= SMALL_BUDGET as usize, "{} recipients", gmail.recipients());
    }
    let promised = clients.finish().acknowledged;
    backend.until_it_is_taken_over();
    // What is left of the budget may still go out now; then nothing more.
    let spent = settled(&gmail);
    assert!(spent <= SMALL_BUDGET as usize, "{spent} recipients with a budget of {SMALL_BUDGET}");
    assert!(spent > 0, "the kills wasted the whole budget:\n{}", tail(&home.log()));
    let arrived = gmail.copies();
    for message in &promised {
        let all_arrived = message
            .recipients
            .iter()
            .all(|to| arrived.contains_key(&(message.message_id.clone(), to.clone())));
        let known =
            all_arrived || home.output(["queue", "show", message.queue_id()]).status.success();
        assert!(known, "{} is neither relayed nor queued", message.reply);
    }
    assert!(daemon.terminate(Duration::from_secs(20)).success());

    home.configure(&gmail.upstream(), &budget(PLENTY));
    let daemon = home.start();
    backend.until_it_is_taken_over();
    drain(&home, &gmail, &promised, Duration::from_secs(60));
    assert_eq!(gmail.unexplained_duplicates(), Vec::<String>::new());
    assert!(daemon.terminate(Duration::from_secs(20)).success());
}

#[test]
fn a_weekly_report_that_was_begun_is_queued_once_whenever_the_relay_is_killed() {
    let mut random = fastrand::Rng::with_seed(seed("weekly report"));
    let sections = "[report]\nenabled = true\nto = \"admin@example.org\"\n";
    let home = Home::with_sections(&Upstream::nobody(), sections);
    let path = home.state().join("report.json");
    let kept = || -> Value {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    };
    assert!(home.start().terminate(Duration::from_secs(20)).success());
    let mut begun = Vec::new();
    for number in 0..KILLS_WITHIN_REPORTS {
        if kept()["pending"].is_null() {
            // As the relay keeps it before it queues it.
            let now = SystemClock::new().wall();
            let id = QueueId::proposed(now, [u8::try_from(number).unwrap(); 6]);
            let pending = json!({ "id": id, "at": now });
            let text = json!({ "version": 1, "counts_since": now, "pending": pending });
            std::fs::write(&path, text.to_string()).unwrap();
            begun.push(id.to_string());
        }
        let daemon = home.spawn();
        std::thread::sleep(Duration::from_millis(random.u64(50..600)));
        daemon.kill();
    }
    let daemon = home.start();
    assert!(within(Duration::from_secs(20), || kept()["pending"].is_null()), "{}", kept());
    let list = home.output(["queue", "list", "--json"]).stdout;
    let list: Value = serde_json::from_slice(&list).unwrap();
    let queued = list["messages"].as_array().unwrap().iter();
    let queued: Vec<&str> = queued.map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(queued, begun);
    assert!(begun.len() > 2, "only {} were begun", begun.len());
    assert!(daemon.terminate(Duration::from_secs(20)).success());
}

/// The number of recipients once it has not changed for a while.
fn settled(gmail: &Gmail) -> usize {
    let mut before = gmail.recipients();
    loop {
        std::thread::sleep(Duration::from_millis(1500));
        let now = gmail.recipients();
        if now == before {
            return now;
        }
        before = now;
    }
}

/// One death of the daemon.
struct Kill {
    /// The signal was about to be sent.
    at: Timestamp,
    /// The next daemon served.
    over: Timestamp,
}

/// How late the threads of this machine run, as a thread sees it that wants to run every few milliseconds.
struct Pulse {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(Timestamp, Duration)>>,
}

impl Pulse {
    const BEAT: Duration = Duration::from_millis(5);

    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let clock = SystemClock::new();
            let mut stalls = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let before = clock.now().since_boot_ms;
                std::thread::sleep(Self::BEAT);
                let took = Duration::from_millis(clock.now().since_boot_ms - before);
                if took > 2 * Self::BEAT {
                    stalls.push((clock.wall(), took));
                }
            }
            stalls
        });
        Self { stop, thread }
    }

    fn finish(self) -> Vec<(Timestamp, Duration)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it only sleeps")
    }
}

/// Copies of messages whose final reply had left the upstream long before the kill: by then the relay had
/// read and noted it. What the machine itself was late is not the relay's.
fn needless_copies(
    gmail: &Gmail,
    kills: &[Kill],
    stalls: &[(Timestamp, Duration)],
    fresh: Duration,
) -> Vec<String> {
    let mut needless = Vec::new();
    for ((message_id, recipient), copies) in gmail.copies() {
        for copy in copies[..copies.len() - 1].iter().filter(|copy| copy.answered) {
            // An upstream that is a moment behind answers a daemon that is dead already.
            let Some(kill) = kills.iter().find(|kill| kill.over >= Timestamp(copy.at.0)) else {
                continue;
            };
            let kill = kill.at;
            let during = stalls.iter().filter(|(at, took)| {
                at.after(*took) >= Timestamp(copy.at.0) && *at <= kill.after(*took)
            });
            let late: Duration = during.map(|(_, took)| *took).sum();
            let age = kill.since(Timestamp(copy.at.0));
            if age > fresh + late {
                needless.push(format!(
                    "{message_id} to {recipient}: answered {age:?} before the kill, and the machine was {late:?} late"
                ));
            }
        }
    }
    needless
}
