//! The daemon dies by SIGKILL at random moments under load: what it promised it keeps.
//!
//! The upstream lives in the test, survives every kill and remembers every final dot it saw.

use std::time::Duration;

use crate::support::{
    gmail::Gmail,
    outage::{
        PLENTY, START_WITHIN, budget, drain, expect_promises_kept, home_without_brakes, seed,
        start_timed, tail,
    },
    submitter::{Load, Submitters},
};

/// Kills in an ordinary run; `make test-crash-long` asks for more.
const KILLS: usize = 30;
/// Kills while a small budget is being spent.
const KILLS_WITHIN_BUDGET: usize = 12;
/// Recipients a day in that test.
const SMALL_BUDGET: u32 = 40;

#[test]
fn every_acknowledged_message_survives_kills_at_random_moments() {
    let kills = std::env::var("PILLARBOX_CRASH_KILLS")
        .map_or(KILLS, |text| text.parse().expect("a number"));
    let seed = seed("crash");
    let mut random = fastrand::Rng::with_seed(seed);
    // A short round trip keeps final dots in flight at the kills.
    let gmail = Gmail::with(|options| options.latency = Duration::from_millis(2));
    let home = home_without_brakes(&gmail.upstream(), PLENTY);
    let mut daemon = home.start();
    // A long run must stay within the largest day that can be configured.
    let pause_ms = if kills > 2 * KILLS { 20..120 } else { 5..40 };
    let load = Load { pause_ms, recipients: 1..3, ..Load::default() };
    let clients = Submitters::start(home.smtp, "crash", &load, seed);
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(random.u64(20..700)));
        daemon.kill();
        let (next, took) = start_timed(&home);
        assert!(took < START_WITHIN, "greeting only {took:?} after a kill:\n{}", tail(&home.log()));
        slowest = slowest.max(took);
        daemon = next;
    }
    let promised = clients.finish().acknowledged;
    eprintln!("crash: slowest start {slowest:?}");
    expect_promises_kept("crash", kills, &home, &gmail, &promised);
    assert!(daemon.terminate(Duration::from_secs(20)).success());
}

#[test]
fn kills_never_make_the_budget_of_the_day_larger() {
    let seed = seed("crash within a budget");
    let mut random = fastrand::Rng::with_seed(seed);
    // A round trip long enough that the budget lasts for many kills.
    let gmail = Gmail::with(|options| options.latency = Duration::from_millis(30));
    let home = home_without_brakes(&gmail.upstream(), SMALL_BUDGET);
    let mut daemon = home.start();
    let clients =
        Submitters::start(home.smtp, "budget", &Load { clients: 2, ..Load::default() }, seed);
    for _ in 0..KILLS_WITHIN_BUDGET {
        std::thread::sleep(Duration::from_millis(random.u64(100..500)));
        daemon.kill();
        daemon = start_timed(&home).0;
        assert!(gmail.recipients() <= SMALL_BUDGET as usize, "{} recipients", gmail.recipients());
    }
    let promised = clients.finish().acknowledged;
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
    drain(&home, &gmail, &promised, Duration::from_secs(60));
    assert_eq!(gmail.unexplained_duplicates(), Vec::<String>::new());
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
