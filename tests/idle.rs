//! The disk and processor use of a relay: nothing while it is idle, and one commit for a message that it relays.

use std::{fs, time::Duration};

use crate::support::{
    client::Client,
    daemon::{Daemon, Home, Upstream, within},
    gmail::Gmail,
    syncs::Syncs,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Several times as long as anything that would keep a disk awake.
const IDLE: Duration = Duration::from_secs(5);
/// Voluntary context switches a second, besides those of sled's pool, which waits a second at a time.
const WAKE_UPS_MAX: u64 = 3;
const MESSAGES: usize = 200;
/// For 200 messages: 1.03 each.
const COMMITS_MAX: usize = 206;

/// How often the threads of a process gave the processor away by themselves, sled's pool apart.
fn wake_ups(daemon: &Daemon) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.process_id())).unwrap();
    let mut sum = 0;
    for task in tasks {
        // A thread may end meanwhile.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        if !field("Name:").trim().starts_with("sled-io") {
            sum += field("voluntary_ctxt_switches:").trim().parse::<u64>().unwrap();
        }
    }
    sum
}

#[test]
fn an_idle_relay_syncs_nothing_and_hardly_wakes() {
    let gmail = Gmail::start();
    let (home, syncs) = Syncs::of(Home::new(&gmail.upstream()));
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    let reply = client.mail("me@example.org", &["you@example.net"], "Subject: one\n\nHello.\n");
    assert!(reply.starts_with("250 "), "{reply}");
    drop(client);
    assert!(within(PATIENCE, || gmail.accepted().len() == 1), "{}", home.log());
    // What follows from the message, and the ends of threads that wait for more of it.
    let quiet = |before: usize| !within(IDLE, || syncs.all().len() != before);
    assert!(within(PATIENCE, || quiet(syncs.all().len())), "{:?}", syncs.all());
    let before = (syncs.all().len(), wake_ups(&daemon));
    assert!(before.0 > 3 && before.1 > 10, "what is counted is there: {before:?}");
    assert!(quiet(before.0), "{:?}", &syncs.all()[before.0..]);
    let woken = wake_ups(&daemon) - before.1;
    assert!(woken <= WAKE_UPS_MAX * IDLE.as_secs(), "{woken} times in {IDLE:?}");
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn one_worker_pays_one_commit_for_each_message() {
    let settings = "[budget]\nrecipients_per_day = 2000\npace_per_minute = 10000\n";
    let home = Home::with_sections(&Upstream::nobody(), settings);
    let (home, syncs) = Syncs::of(home);
    let home = home.environment("PILLARBOX__UPSTREAM__CONNECTIONS", "1");
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    for number in 0..MESSAGES {
        let text = format!("Subject: {number}\n\nHello.\n");
        let reply = client.mail("me@example.org", &["you@example.net"], &text);
        assert!(reply.starts_with("250 "), "{number}: {reply}");
    }
    drop(client);
    assert!(daemon.terminate(PATIENCE).success());

    let gmail = Gmail::start();
    home.configure(&gmail.upstream(), settings);
    let daemon = home.start();
    let before = syncs.commits();
    assert!(home.output(["resume"]).status.success());
    let arrived = || gmail.accepted().len();
    assert!(within(PATIENCE, || arrived() == MESSAGES), "{} arrived:\n{}", arrived(), home.log());
    assert!(daemon.terminate(PATIENCE).success());
    let commits = syncs.commits() - before;
    assert!((MESSAGES / 2..=COMMITS_MAX).contains(&commits), "{commits} for {MESSAGES} messages");
}
