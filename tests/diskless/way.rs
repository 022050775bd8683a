//! A way to the database that is slow, or loses what it answers.

use std::thread;

use super::*;
use crate::support::network::{Loss, Network, Way};

const COMMIT: &str = "COMMIT\0";
/// What is said before the commit of a message that comes in, of a note that the final dot is about to be sent, and of a
/// settlement.
const KEEP: &str = "INSERT INTO pillarbox.body";
const DOT: &str = "SET dot = true";
const SETTLE: &str = "INSERT INTO pillarbox.history";

/// What takes ten seconds on a slow way.
const LARGE: usize = 8_000_000;
/// More than may come in at a time.
const LARGE_ONES: usize = 4;
const SMALL_ONES: usize = 12;

#[test]
fn large_messages_on_a_slow_way_keep_neither_small_ones_nor_what_leaves_waiting() {
    let scene = Scene::new();
    let network = Network::before(scene.server.port);
    let mut host = scene.host_by(network.port, "a");
    let daemon = host.home.start();
    network.set(Way::Slow);
    let smtp = host.home.smtp;
    let large: Vec<_> = (0..LARGE_ONES)
        .map(|number| thread::spawn(move || try_submit(smtp, ("large", number), LARGE)))
        .collect();
    let under_way = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND xact_start < clock_timestamp() - interval '1 s' AND query LIKE '%INTO pillarbox.body%'";
    assert!(within(PATIENCE, || scene.sql(under_way) == "2"), "{}", scene.sql(under_way));
    host.submit(SMALL_ONES, 500);
    let left = within(PATIENCE, || scene.gmail.recipients() >= SMALL_ONES);
    assert!(left, "{}", tail(&host.home.log()));
    let done = large.iter().filter(|one| one.is_finished()).count();
    assert_eq!(done, 0, "the small ones came and left meanwhile");
    for one in large {
        host.acknowledged.push(one.join().expect("no panic").expect("it is taken in its turn"));
    }
    network.set(Way::Open);
    scene.expect_all(&[&host]);
    assert_eq!(scene.gmail.duplicates(), 0);
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn a_client_that_comes_again_because_an_answer_was_lost_has_its_message_relayed_once() {
    let scene = Scene::new();
    let network = Network::before(scene.server.port);
    let mut host = scene.host_by(network.port, "a");
    let daemon = host.home.start();
    network.lose((KEEP, COMMIT), Loss::Cut);
    let refused = try_submit(host.home.smtp, ("a", 0), 500).expect_err("nobody knows");
    assert!(refused.starts_with("451 4.3.0") && network.has_lost(), "{refused}");
    assert_eq!(scene.sql("SELECT count(*) FROM pillarbox.message"), "1", "the database has it");
    host.submit(1, 500);
    scene.expect_all(&[&host]);
    // The same of what became of a message.
    network.lose((SETTLE, COMMIT), Loss::Cut);
    host.submit(1, 500);
    scene.expect_all(&[&host]);
    assert!(network.has_lost() && scene.gmail.duplicates() == 0, "{}", tail(&host.home.log()));
    let ends = "SELECT count(*) FROM pillarbox.history";
    assert!(within(PATIENCE, || scene.sql(ends) == "2"), "{}", scene.sql(ends));
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn a_message_whose_final_dot_could_not_be_noted_for_a_moment_waits_for_no_minute() {
    let scene = Scene::new();
    let network = Network::before(scene.server.port);
    let mut host = scene.host_by(network.port, "a");
    let daemon = host.home.start();
    network.lose((DOT, COMMIT), Loss::Cut);
    host.submit(1, 500);
    let has_left = within(Duration::from_secs(45), || scene.gmail.recipients() == 1);
    assert!(has_left && network.has_lost(), "{}", tail(&host.home.log()));
    scene.expect_all(&[&host]);
    assert_eq!(scene.gmail.duplicates(), 0);
    assert!(daemon.terminate(PATIENCE).success());
}
