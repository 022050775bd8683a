//! A thousand calls, with a daemon that dies in the middle: each message arrives, and none twice.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::daemon::together;
use crate::support::{
    daemon::{Upstream, within},
    gmail::Gmail,
    outage::{PLENTY, budget, tail},
};

const CALLS: usize = 1_000;
const AT_A_TIME: usize = 50;
/// After how many calls the daemon dies, and after how many more it is back.
const DEATHS: [usize; 3] = [200, 450, 700];
const ABSENCE: usize = 60;

#[test]
fn a_thousand_calls_over_a_daemon_that_is_killed_arrive_each_once() {
    let gmail = Gmail::start();
    let (home, stage) = together(&gmail);
    // Nothing leaves before the end, so that a second copy could only come from the hand-over.
    home.configure(&Upstream::nobody(), &budget(PLENTY));
    let mut daemon = Some(home.start());
    let (started, ended, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let most_dropped = std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let number = started.fetch_add(1, Ordering::Relaxed);
                    if number >= CALLS {
                        return;
                    }
                    let mail =
                        format!("Message-ID: <{number}@crowd.example>\nSubject: x\n\n{number}\n");
                    let done = stage.sendmail(&["-f", "joe@x.example", "a@b.example"], mail);
                    if done.code != Some(0) {
                        eprintln!("crowd: call {number}: {done:?}");
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let wait = |count| {
            assert!(within(Duration::from_secs(300), || ended.load(Ordering::Relaxed) >= count));
        };
        let mut most_dropped = 0;
        for calls in DEATHS {
            wait(calls);
            daemon.take().unwrap().kill();
            wait(calls + ABSENCE);
            most_dropped =
                std::fs::read_dir(stage.drop_directory()).unwrap().count().max(most_dropped);
            daemon = Some(home.start());
        }
        most_dropped
    });
    assert_eq!(failed.load(Ordering::Relaxed), 0, "{}", tail(&home.log()));
    assert!(most_dropped > 0, "the daemon was never missed, so nothing was shown");
    let empty = || std::fs::read_dir(stage.drop_directory()).unwrap().count() == 0;
    assert!(
        within(Duration::from_secs(120), empty),
        "{:?}\n{}",
        stage.dropped(),
        tail(&home.log())
    );

    assert!(daemon.take().unwrap().terminate(Duration::from_secs(30)).success());
    home.configure(&gmail.upstream(), &budget(PLENTY));
    let daemon = home.start();
    drop(home.output(["queue", "retry", "--all"]));
    let all_there = within(Duration::from_secs(240), || gmail.recipients() >= CALLS);
    // What would come twice would come now.
    std::thread::sleep(Duration::from_secs(1));
    let mut copies: HashMap<String, usize> = HashMap::new();
    for message in gmail.accepted() {
        *copies.entry(message.message_id.clone().unwrap_or_default()).or_default() += 1;
    }
    let missing: Vec<usize> = (0..CALLS)
        .filter(|number| !copies.contains_key(&format!("<{number}@crowd.example>")))
        .collect();
    assert!(all_there, "missing: {missing:?}\n{}", tail(&home.log()));
    assert_eq!(missing, Vec::<usize>::new());
    assert_eq!(copies.values().filter(|count| **count > 1).count(), 0, "none twice");
    eprintln!(
        "crowd: {CALLS} calls, {} deaths, up to {most_dropped} files in the drop directory",
        DEATHS.len()
    );
    assert!(daemon.terminate(Duration::from_secs(30)).success());
}
